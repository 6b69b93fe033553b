/* shard/quantization_awq.c - what an AWQ config says (AutoAWQ, GPTQModel).
 *
 * modules_to_not_convert names parts of module names ("gate" also means gate_proj): whether a
 * module is dense is therefore left to its tensors. */
#include <string.h>
#include <strings.h>

#include "shard/quantization_method.h"

static shoal_status check_bits(const shoal_quantization *q)
{
    if (q->bits == 4)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE ": awq with %d bits; 4 are read",
                      q->bits);
}

static shoal_status override(const json_t *root, const json_t *change, shoal_quantization *says)
{
    (void)root;
    if (json_object_get(change, "bits"))
        SHOAL_TRY(shoal_quantization_int(change, "bits", NULL, &says->bits));
    if (json_object_get(change, "group_size"))
        SHOAL_TRY(shoal_quantization_group(change, &says->group));
    return check_bits(says);
}

static shoal_status get_layout(const json_t *root, shoal_quantization *q)
{
    static const char *const names[] = {"gemm", "marlin", "gemv", "gemv_fast"};
    static const shoal_stored_layout layouts[] = {SHOAL_LAYOUT_PLAIN, SHOAL_LAYOUT_MARLIN,
                                                  SHOAL_LAYOUT_GEMV, SHOAL_LAYOUT_GEMV_FAST};
    const char *version = "gemm";
    bool zero_point = true;
    SHOAL_TRY(shoal_quantization_string(root, "checkpoint_format", "format", &version));
    SHOAL_TRY(shoal_quantization_string(root, "version", NULL, &version));
    SHOAL_TRY(shoal_quantization_bool(root, "zero_point", &zero_point));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcasecmp(version, names[i]) != 0)
            continue;
        q->layout = layouts[i];
        q->symmetric = q->layout == SHOAL_LAYOUT_MARLIN;
        if (q->symmetric && zero_point && json_object_get(root, "zero_point"))
            return shoal_fail(SHOAL_ERR_DATA, SHOAL_QUANTIZATION_WHERE
                              ": awq version 'marlin' stores no zeros, but zero_point is true");
        return SHOAL_OK;
    }
    return shoal_fail(SHOAL_ERR_DATA,
                      SHOAL_QUANTIZATION_WHERE
                      ": awq version '%s'; gemm, gemv, gemv_fast and marlin are read",
                      version);
}

shoal_status shoal_quantization_parse_awq(const json_t *root, shoal_quantization_config *out)
{
    shoal_quantization *q = &out->general;
    SHOAL_TRY(shoal_quantization_int(root, "bits", "w_bit", &q->bits));
    SHOAL_TRY(check_bits(q));
    SHOAL_TRY(shoal_quantization_group(root, &q->group));
    SHOAL_TRY(get_layout(root, q));
    q->zeros = SHOAL_ZEROS_PLAIN;
    return shoal_quantization_add_dynamic(root, out, override);
}
