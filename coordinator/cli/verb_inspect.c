#include "coordinator/cli/inspection.h"
#include "coordinator/cli/report.h"
#include "coordinator/cli/verbs.h"
#include "shard/dequant.h"

static shoal_status dequantize(const shoal_inspection *i, const char *path)
{
    shoal_progress progress;
    SHOAL_TRY(shoal_inspection_need(i));
    shoal_progress_begin(&progress, "dequant");
    const shoal_status st = shoal_dequant_file(i->manifest, path, shoal_progress_show, &progress);
    shoal_progress_end(&progress);
    SHOAL_TRY(st);
    if (!shoal_option_bool(i->options, SHOAL_OPT_JSON))
        return shoal_report_text("%s: all weights as fp32\n", path);
    return shoal_report_json(json_pack("{s:s, s:s, s:o}", "dequant", path, "format", "safetensors",
                                       "quant", shoal_inspect_quantization(i)));
}

static shoal_status compare(const shoal_inspection *first, const char *path)
{
    shoal_inspection second = {0};
    shoal_status st = shoal_inspection_open(first->options, path, &second);
    if (st == SHOAL_OK)
        st = shoal_inspect_compare(first, &second);
    shoal_inspection_close(&second);
    return st;
}

static shoal_status list(const shoal_inspection *i)
{
    const shoal_options *o = i->options;
    if (shoal_option_bool(o, SHOAL_OPT_JSON))
        SHOAL_TRY(shoal_inspect_json(i));
    else
        SHOAL_TRY(shoal_option_bool(o, SHOAL_OPT_TENSORS) ? shoal_inspect_table(i)
                                                          : shoal_inspect_page(i));
    return shoal_inspection_need(i);
}

static shoal_status inspect(const shoal_inspection *i)
{
    const shoal_options *o = i->options;
    if (shoal_option_bool(o, SHOAL_OPT_COMPARE)) {
        if (o->operand_count < 2)
            return shoal_fail(SHOAL_ERR_USAGE, "--compare takes two models");
        return compare(i, o->operands[1]);
    }
    if (shoal_option_given(o, SHOAL_OPT_DEQUANT))
        return dequantize(i, shoal_option_text(o, SHOAL_OPT_DEQUANT));
    return o->operand_count > 1 ? shoal_inspect_tensor(i, o->operands[1]) : list(i);
}

shoal_status shoal_verb_inspect(const shoal_options *options)
{
    shoal_inspection i = {0};
    shoal_status st = shoal_inspection_open(options, options->operands[0], &i);
    if (st == SHOAL_OK)
        st = inspect(&i);
    shoal_inspection_close(&i);
    return st;
}
