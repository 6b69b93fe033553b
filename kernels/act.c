#include "kernels/act.h"

#include "proto/bytes.h"

/* Rows of an act start on a cache line and fast rows may read a whole K step past the end. */
#define LD_STEP 64

typedef struct {
    uint64_t values, scales, sums;
} act_bytes;

/* An odd number of lines: with an even one, the rows of a register or AMX tile would fall into a
 * few sets of the cache and push each other out. */
static int64_t leading(const shoal_linear *like)
{
    const int64_t lines = shoal_ceil_div(like->spec.k, LD_STEP);
    return (lines | 1) * LD_STEP;
}

/* Both factors are below 2^31, so no product of this file overflows 64 bits. */
static act_bytes measure(const shoal_linear *like, int64_t rows_max)
{
    const bool int8 = like->spec.act == SHOAL_ACT_INT8;
    const uint64_t rows = (uint64_t)rows_max, ld = (uint64_t)leading(like);
    act_bytes b = {0, 0, 0};
    (void)shoal_pad_u64(rows * ld * (int8 ? 1 : 4), 64, &b.values);
    if (int8) {
        (void)shoal_pad_u64(rows * (uint64_t)like->size.act_groups * 4, 64, &b.scales);
        (void)shoal_pad_u64(rows * (uint64_t)like->size.segments * 4, 64, &b.sums);
    }
    return b;
}

uint64_t shoal_act_bytes(const shoal_linear *like, int64_t rows_max)
{
    const act_bytes b = measure(like, rows_max);
    return b.values + b.scales + b.sums;
}

static shoal_status take(shoal_arena *arena, uint64_t bytes, void **out)
{
    *out = NULL;
    return bytes ? shoal_arena_alloc(arena, bytes, out) : SHOAL_OK;
}

shoal_status shoal_act_create(const shoal_linear *like, const int32_t *perm, int64_t rows_max,
                              shoal_arena *arena, shoal_act *out)
{
    if (rows_max < 0 || rows_max > INT32_MAX)
        return shoal_fail(SHOAL_ERR_USAGE, "an act of %lld rows; the limit is %d",
                          (long long)rows_max, INT32_MAX);
    const act_bytes b = measure(like, rows_max);
    void *values, *scales, *sums;
    SHOAL_TRY(take(arena, b.values, &values));
    SHOAL_TRY(take(arena, b.scales, &scales));
    SHOAL_TRY(take(arena, b.sums, &sums));
    const bool int8 = like->spec.act == SHOAL_ACT_INT8;
    *out = (shoal_act){
        .like = like,
        .perm = perm,
        .rows_max = rows_max,
        .ld = leading(like),
        .f32 = int8 ? NULL : values,
        .q = int8 ? values : NULL,
        .scales = scales,
        .sums = sums,
    };
    return SHOAL_OK;
}

bool shoal_act_shared(const shoal_linear *a, const shoal_linear *b)
{
    if (a->spec.act != b->spec.act || a->spec.k != b->spec.k || a->spec.k_begin != b->spec.k_begin)
        return false;
    if (a->spec.act == SHOAL_ACT_F32)
        return true; /* no groups, no sums: the row itself */
    return a->spec.act_group == b->spec.act_group && a->spec.group == b->spec.group &&
           a->spec.unit == b->spec.unit;
}
