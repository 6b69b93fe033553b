/* shard/dialect_order.c - the order of an act-order weight: a tensor g_idx [k] holds the group of
 * each input. Declared in shard/dialect.h. */
#include "proto/bytes.h"
#include "shard/dialect.h"
#include "shard/packed.h"

shoal_status shoal_dialect_expect_order(const shoal_module *module, const shoal_tensor *g_idx)
{
    char shape[160];
    SHOAL_TRY(shoal_dialect_expect_dtype(g_idx, SHOAL_I32));
    if (g_idx->rank == 1 && g_idx->shape[0] == module->k)
        return SHOAL_OK;
    shoal_tensor_shape_text(g_idx, shape, sizeof shape);
    return shoal_fail(SHOAL_ERR_DATA, "tensor %s has shape %s; expected [%lld]", g_idx->name, shape,
                      (long long)module->k);
}

/* Counting sort of inputs by group; `begin` [groups + 1] is scratch, all zero. */
static shoal_status sort_by_group(const shoal_weight *weight, const shoal_tensor *tensor,
                                  const uint8_t *g_idx, int64_t groups, int64_t *begin,
                                  int32_t *order)
{
    const char *name = tensor->name;
    for (int64_t k = 0; k < weight->k; k++) {
        const int32_t group = (int32_t)shoal_load_le32(g_idx + k * SHOAL_WORD_BYTES);
        if (group < 0 || group >= groups)
            return shoal_fail(SHOAL_ERR_DATA, "tensor %s: input %lld is in group %d of %lld", name,
                              (long long)k, (int)group, (long long)groups);
        begin[group + 1]++;
    }
    for (int64_t g = 0; g < groups; g++) {
        const int64_t right = shoal_min_i64(weight->group, weight->k - g * weight->group);
        if (begin[g + 1] != right)
            return shoal_fail(SHOAL_ERR_DATA, "tensor %s: group %lld has %lld inputs, not %lld",
                              name, (long long)g, (long long)begin[g + 1], (long long)right);
        begin[g + 1] += begin[g];
    }
    for (int64_t k = 0; k < weight->k; k++)
        order[begin[shoal_load_le32(g_idx + k * SHOAL_WORD_BYTES)]++] = (int32_t)k;
    return SHOAL_OK;
}

static bool is_unset(const uint8_t *g_idx, int64_t count)
{
    for (int64_t k = 0; k < count; k++)
        if ((int32_t)shoal_load_le32(g_idx + k * SHOAL_WORD_BYTES) == -1)
            return true;
    return false;
}

shoal_status shoal_dialect_read_order(const shoal_manifest *manifest, const shoal_weight *weight,
                                      const shoal_tensor *tensor, bool may_be_unset, int32_t *order)
{
    const int64_t groups = shoal_ceil_div(weight->k, weight->group);
    const uint64_t bytes = (uint64_t)weight->k * SHOAL_WORD_BYTES;
    void *g_idx = NULL, *begin = NULL;
    shoal_status st;
    SHOAL_TRY_GOTO(shoal_alloc(SHOAL_MEM_CHECKPOINT, bytes, &g_idx), done);
    SHOAL_TRY_GOTO(
        shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)groups + 1, sizeof(int64_t), &begin),
        done);
    SHOAL_TRY_GOTO(shoal_checkpoint_read(manifest->checkpoint, tensor, 0, bytes, g_idx), done);
    if (may_be_unset && is_unset(g_idx, weight->k)) {
        for (int64_t k = 0; k < weight->k; k++)
            order[k] = (int32_t)k;
        goto done;
    }
    st = sort_by_group(weight, tensor, g_idx, groups, begin, order);
done:
    shoal_free(g_idx);
    shoal_free(begin);
    return st;
}
