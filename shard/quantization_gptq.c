/* shard/quantization_gptq.c - what a GPTQ config says (AutoGPTQ, GPTQModel). */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/log.h"
#include "shard/quantization_method.h"

/* Does one "gptqmodel:x.y.z" say 0.9.0 or later? */
static bool is_gptqmodel_09(const json_t *entry)
{
    static const char head[] = "gptqmodel:";
    const char *text = json_string_value(entry);
    int major, minor;
    if (!text || strncasecmp(text, head, sizeof head - 1) != 0)
        return false;
    if (sscanf(text + sizeof head - 1, "%5d.%5d", &major, &minor) != 2)
        return false;
    return major > 0 || minor >= 9;
}

static bool written_by_gptqmodel_09(const json_t *meta)
{
    const json_t *quantizer = json_object_get(meta, "quantizer");
    if (json_is_string(quantizer))
        return is_gptqmodel_09(quantizer);
    for (size_t i = 0; i < json_array_size(quantizer); i++)
        if (is_gptqmodel_09(json_array_get(quantizer, i)))
            return true;
    return false;
}

static shoal_status check_bits(const shoal_quantization *q)
{
    const bool marlin = q->layout == SHOAL_LAYOUT_MARLIN;
    if (marlin && (q->bits != 4 || !q->symmetric || q->act_order))
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE
                          ": marlin with %d bits%s%s; 4 bits, symmetric and in order are read",
                          q->bits, q->symmetric ? "" : ", sym false",
                          q->act_order ? ", desc_act true" : "");
    if (q->bits != 2 && q->bits != 3 && q->bits != 4 && q->bits != 8)
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE ": gptq with %d bits; 2, 3, 4 and 8 are read",
                          q->bits);
    return SHOAL_OK;
}

/* What follows from bits, group, symmetry and order; `v2`: zeros are stored as they are. */
static shoal_status conclude(const json_t *root, bool v2, shoal_quantization *q)
{
    const json_t *meta = json_object_get(root, "meta");
    bool static_groups = false;
    SHOAL_TRY(shoal_quantization_bool(meta, "static_groups", &static_groups));
    SHOAL_TRY(shoal_quantization_bool(root, "static_groups", &static_groups));
    q->act_order = q->desc_act && q->group > 0 && !static_groups;
    q->zeros = v2                                              ? SHOAL_ZEROS_PLAIN
               : q->bits != 3 && written_by_gptqmodel_09(meta) ? SHOAL_ZEROS_MINUS_ONE_WORD
                                                               : SHOAL_ZEROS_MINUS_ONE;
    return check_bits(q);
}

static shoal_status override(const json_t *root, const json_t *change, shoal_quantization *says)
{
    const bool v2 = says->zeros == SHOAL_ZEROS_PLAIN;
    if (json_object_get(change, "bits"))
        SHOAL_TRY(shoal_quantization_int(change, "bits", NULL, &says->bits));
    if (json_object_get(change, "group_size"))
        SHOAL_TRY(shoal_quantization_group(change, &says->group));
    SHOAL_TRY(shoal_quantization_bool(change, "sym", &says->symmetric));
    SHOAL_TRY(shoal_quantization_bool(change, "desc_act", &says->desc_act));
    return conclude(root, v2, says);
}

/* How codes are stored: "gptq", "gptq_v2" or "marlin", also by its old flag. */
static shoal_status get_format(const json_t *root, const char **format)
{
    const char *pack = "int32";
    bool marlin = false;
    *format = "gptq";
    SHOAL_TRY(shoal_quantization_string(root, "checkpoint_format", "format", format));
    SHOAL_TRY(shoal_quantization_string(root, "pack_dtype", NULL, &pack));
    SHOAL_TRY(shoal_quantization_bool(root, "is_marlin_format", &marlin));
    if (marlin)
        *format = "marlin";
    if (strcmp(*format, "gptq") != 0 && strcmp(*format, "gptq_v2") != 0 &&
        strcmp(*format, "marlin") != 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE
                          ": gptq stored as '%s'; 'gptq', 'gptq_v2' and 'marlin' are read",
                          *format);
    if (strcmp(pack, "int32") != 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE ": pack_dtype is '%s'; int32 is read", pack);
    return SHOAL_OK;
}

shoal_status shoal_quantization_parse_gptq(const json_t *root, shoal_quantization_config *out)
{
    shoal_quantization *q = &out->general;
    const char *format;
    SHOAL_TRY(get_format(root, &format));
    SHOAL_TRY(shoal_quantization_int(root, "bits", "w_bit", &q->bits));
    SHOAL_TRY(shoal_quantization_group(root, &q->group));
    if (!json_object_get(root, "sym"))
        shoal_log(SHOAL_LOG_WARN, "model",
                  SHOAL_QUANTIZATION_WHERE ": sym is missing, taken as true");
    q->symmetric = true;
    SHOAL_TRY(shoal_quantization_bool(root, "sym", &q->symmetric));
    SHOAL_TRY(shoal_quantization_bool(root, "desc_act", &q->desc_act));
    q->layout = strcmp(format, "marlin") == 0 ? SHOAL_LAYOUT_MARLIN : SHOAL_LAYOUT_PLAIN;
    SHOAL_TRY(conclude(root, strcmp(format, "gptq_v2") == 0, q));
    return shoal_quantization_add_dynamic(root, out, override);
}

/* quant_method "marlin", of Marlin's own converter: bits may be missing, all else is fixed. */
shoal_status shoal_quantization_parse_marlin(const json_t *root, shoal_quantization_config *out)
{
    shoal_quantization *q = &out->general;
    q->bits = 4;
    q->symmetric = true;
    q->layout = SHOAL_LAYOUT_MARLIN;
    if (json_object_get(root, "bits"))
        SHOAL_TRY(shoal_quantization_int(root, "bits", NULL, &q->bits));
    SHOAL_TRY(shoal_quantization_group(root, &q->group));
    return conclude(root, false, q);
}
