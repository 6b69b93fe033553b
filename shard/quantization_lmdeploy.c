/* shard/quantization_lmdeploy.c - what lmdeploy's SmoothQuant config says. */
#include <string.h>
#include <strings.h>

#include "shard/quantization_method.h"

/* What migration_scale tensors mean cannot be seen from them. They divide unless the key says
 * otherwise. */
static shoal_status parse_input_rule(const json_t *root, shoal_input_rule *out)
{
    static const char *const names[] = {
        [SHOAL_INPUT_DIVIDE] = "divide",
        [SHOAL_INPUT_MULTIPLY] = "multiply",
        [SHOAL_INPUT_IGNORE] = "ignore",
    };
    const char *said = names[SHOAL_INPUT_DIVIDE];
    SHOAL_TRY(shoal_quantization_string(root, "migration_scale", NULL, &said));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(said, names[i]) == 0) {
            *out = (shoal_input_rule)i;
            return SHOAL_OK;
        }
    return shoal_fail(SHOAL_ERR_DATA,
                      SHOAL_QUANTIZATION_WHERE
                      ": migration_scale is '%s'; divide, multiply and ignore are read",
                      said);
}

shoal_status shoal_quantization_parse_lmdeploy(const json_t *root, shoal_quantization_config *out)
{
    shoal_quantization *q = &out->general;
    const char *dtype = "int8";
    SHOAL_TRY(shoal_quantization_string(root, "quant_dtype", NULL, &dtype));
    if (strcasecmp(dtype, "int8") != 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE ": smooth_quant with quant_dtype '%s'; int8 is "
                                                   "read",
                          dtype);
    q->bits = 8;
    q->group = -1;
    q->symmetric = true;
    return parse_input_rule(root, &q->input_rule);
}
