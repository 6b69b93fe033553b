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

shoal_status shoal_quantization_parse_gptq(const json_t *root, shoal_quantization *q)
{
    const char *format = "gptq", *pack = "int32";
    bool marlin = false, static_groups = false;
    const json_t *meta = json_object_get(root, "meta");
    SHOAL_TRY(shoal_quantization_int(root, "bits", "w_bit", &q->bits));
    if (q->bits != 2 && q->bits != 3 && q->bits != 4 && q->bits != 8)
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE ": gptq with %d bits; 2, 3, 4 and 8 are read",
                          q->bits);
    SHOAL_TRY(shoal_quantization_group(root, &q->group));
    SHOAL_TRY(shoal_quantization_string(root, "checkpoint_format", "format", &format));
    SHOAL_TRY(shoal_quantization_string(root, "pack_dtype", NULL, &pack));
    SHOAL_TRY(shoal_quantization_bool(root, "is_marlin_format", &marlin));
    if (marlin)
        format = "marlin";
    if (strcmp(format, "gptq") != 0 && strcmp(format, "gptq_v2") != 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE
                          ": gptq stored as '%s'; 'gptq' and 'gptq_v2' are read",
                          format);
    if (strcmp(pack, "int32") != 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE ": pack_dtype is '%s'; int32 is read", pack);
    if (!json_object_get(root, "sym"))
        shoal_log(SHOAL_LOG_WARN, "model",
                  SHOAL_QUANTIZATION_WHERE ": sym is missing, taken as true");
    q->symmetric = true;
    SHOAL_TRY(shoal_quantization_bool(root, "sym", &q->symmetric));
    SHOAL_TRY(shoal_quantization_bool(root, "desc_act", &q->desc_act));
    SHOAL_TRY(shoal_quantization_bool(meta, "static_groups", &static_groups));
    SHOAL_TRY(shoal_quantization_bool(root, "static_groups", &static_groups));
    q->act_order = q->desc_act && q->group > 0 && !static_groups;
    if (strcmp(format, "gptq_v2") == 0)
        q->zeros = SHOAL_ZEROS_PLAIN;
    else
        q->zeros = q->bits != 3 && written_by_gptqmodel_09(meta) ? SHOAL_ZEROS_MINUS_ONE_WORD
                                                                 : SHOAL_ZEROS_MINUS_ONE;
    return shoal_quantization_check_dynamic(root);
}
