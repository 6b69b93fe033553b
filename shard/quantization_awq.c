/* shard/quantization_awq.c - what an AWQ config says (AutoAWQ, GPTQModel). */
#include <string.h>
#include <strings.h>

#include "shard/quantization_method.h"

shoal_status shoal_quantization_parse_awq(const json_t *root, shoal_quantization *q)
{
    const char *version = "gemm";
    SHOAL_TRY(shoal_quantization_int(root, "bits", "w_bit", &q->bits));
    if (q->bits != 4)
        return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": awq with %d bits; 4 are read",
                          q->bits);
    SHOAL_TRY(shoal_quantization_group(root, &q->group));
    SHOAL_TRY(shoal_quantization_string(root, "checkpoint_format", "format", &version));
    SHOAL_TRY(shoal_quantization_string(root, "version", NULL, &version));
    if (strcasecmp(version, "gemm") != 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          SHOAL_QUANTIZATION_WHERE ": awq version '%s'; 'gemm' is read", version);
    q->zeros = SHOAL_ZEROS_PLAIN;
    return shoal_quantization_check_dynamic(root);
}
