/* shard/quantization_torchao.c - what a torchao config says: what is read is described beside the
 * tensors, so only how a CPU packed int4 weights may have to be told. */
#include "shard/quantization_method.h"

shoal_status shoal_quantization_parse_torchao(const json_t *root, shoal_quantization_config *out)
{
    shoal_quantization *q = &out->general;
    const char *order = NULL;
    q->group = -1;
    SHOAL_TRY(shoal_quantization_string(root, "int4_cpu_layout", NULL, &order));
    if (!order)
        return SHOAL_OK;
    q->cpu_order = shoal_int4_order_find(order);
    if (q->cpu_order == SHOAL_INT4_AVX512 || q->cpu_order == SHOAL_INT4_AVX2 ||
        q->cpu_order == SHOAL_INT4_GENERIC)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA,
                      SHOAL_QUANTIZATION_WHERE
                      ": int4_cpu_layout is '%s'; avx512, avx2 and generic are read",
                      order);
}
