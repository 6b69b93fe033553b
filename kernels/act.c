#include "kernels/act.h"

#include "proto/bytes.h"

/* Rows of an act start on a cache line and fast rows may read a whole K step past the end. */
#define LD_STEP      64
#define LD_STEP_BF16 32

typedef struct {
    uint64_t values, scales, sums;
} act_bytes;

/* An odd number of lines: with an even one, the rows of a register or AMX tile would fall into a
 * few sets of the cache and push each other out. */
static int64_t leading(const shoal_linear *like)
{
    const int64_t step = like->spec.act == SHOAL_ACT_BF16 ? LD_STEP_BF16 : LD_STEP;
    return (shoal_ceil_div(like->spec.k, step) | 1) * step;
}

int64_t shoal_act_value_bytes(shoal_act_form form)
{
    return form == SHOAL_ACT_INT8 ? 1 : form == SHOAL_ACT_BF16 ? 2 : 4;
}

/* Both factors are below 2^31, so no product of this file overflows 64 bits. */
static act_bytes measure(const shoal_linear *like, int64_t rows_max)
{
    const uint64_t rows = (uint64_t)rows_max, ld = (uint64_t)leading(like);
    act_bytes b = {0, 0, 0};
    (void)shoal_pad_u64(rows * ld * (uint64_t)shoal_act_value_bytes(like->spec.act), 64, &b.values);
    if (like->spec.act == SHOAL_ACT_INT8) {
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

void shoal_act_place(const shoal_linear *like, const int32_t *perm, int64_t rows_max, void *memory,
                     shoal_act *out)
{
    const act_bytes b = measure(like, rows_max);
    const shoal_act_form form = like->spec.act;
    uint8_t *values = b.values ? memory : NULL;
    *out = (shoal_act){
        .like = like,
        .perm = perm,
        .rows_max = rows_max,
        .ld = leading(like),
        .f32 = form == SHOAL_ACT_F32 ? (float *)(void *)values : NULL,
        .q = form == SHOAL_ACT_INT8 ? (int8_t *)values : NULL,
        .bf16 = form == SHOAL_ACT_BF16 ? (uint16_t *)(void *)values : NULL,
        .scales = b.scales ? (float *)(void *)(values + b.values) : NULL,
        .sums = b.sums ? (int32_t *)(void *)(values + b.values + b.scales) : NULL,
    };
}

shoal_status shoal_act_create(const shoal_linear *like, const int32_t *perm, int64_t rows_max,
                              shoal_arena *arena, shoal_act *out)
{
    if (rows_max < 0 || rows_max > INT32_MAX)
        return shoal_fail(SHOAL_ERR_USAGE, "an act of %lld rows; the limit is %d",
                          (long long)rows_max, INT32_MAX);
    const uint64_t bytes = shoal_act_bytes(like, rows_max);
    void *memory = NULL;
    if (bytes)
        SHOAL_TRY(shoal_arena_alloc(arena, bytes, &memory));
    shoal_act_place(like, perm, rows_max, memory, out);
    return SHOAL_OK;
}

shoal_act shoal_act_from(const shoal_act *act, int64_t row)
{
    shoal_act a = *act;
    a.rows_max -= row;
    if (a.f32)
        a.f32 += row * a.ld;
    if (a.bf16)
        a.bf16 += row * a.ld;
    if (a.q) {
        a.q += row * a.ld;
        a.scales += row * a.like->size.act_groups;
        a.sums += row * a.like->size.segments;
    }
    return a;
}

bool shoal_act_shared(const shoal_linear *a, const shoal_linear *b)
{
    if (a->spec.act != b->spec.act || a->spec.k != b->spec.k || a->spec.k_begin != b->spec.k_begin)
        return false;
    if (a->spec.act != SHOAL_ACT_INT8)
        return true; /* no groups, no sums: the row itself */
    return a->spec.act_group == b->spec.act_group && a->spec.group == b->spec.group &&
           a->spec.unit == b->spec.unit;
}
