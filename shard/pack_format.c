#include "shard/pack_format.h"

/* Groups that a run has room for: as many as the luckiest cut can touch. */
static int64_t groups_room(const shoal_pack_linear *l)
{
    if (!l->along_k)
        return shoal_ceil_div(l->k, l->group);
    if (l->step % l->group == 0 || l->group % l->step == 0)
        return shoal_ceil_div(l->step, l->group);
    return l->step / l->group + 2;
}

shoal_pack_run shoal_pack_run_at(const shoal_pack_linear *l, int64_t index)
{
    const int64_t begin = index * l->step;
    const int64_t end = shoal_min_i64(begin + l->step, l->along_k ? l->k : l->n);
    shoal_pack_run r = {.n_end = l->n, .k_end = l->k};
    if (l->along_k) {
        r.k_begin = begin;
        r.k_end = end;
    } else {
        r.n_begin = begin;
        r.n_end = end;
    }
    const uint64_t n = (uint64_t)(r.n_end - r.n_begin), k = (uint64_t)(r.k_end - r.k_begin);
    if (l->kind == SHOAL_WEIGHT_FLOAT) {
        r.bytes = n * k * shoal_dtype_bytes(l->dtype);
    } else {
        r.group_begin = r.k_begin / l->group;
        r.groups = shoal_ceil_div(r.k_end, l->group) - r.group_begin;
        const uint64_t scales = n * (uint64_t)groups_room(l);
        r.scales = 4 * n * (uint64_t)shoal_ceil_div((int64_t)k, shoal_pack_fields(l));
        r.zeros = r.scales + scales * shoal_dtype_bytes(l->dtype);
        r.mins = r.zeros + (l->has_zeros ? scales * sizeof(int16_t) : 0);
        r.bytes = r.mins + (l->has_mins ? scales * sizeof(float) : 0);
    }
    r.bytes = (r.bytes + SHOAL_PACK_ALIGN - 1) / SHOAL_PACK_ALIGN * SHOAL_PACK_ALIGN;
    return r;
}

/* A linear that fits into 2^56 bytes however it is stored cannot overflow above. */
static bool is_measurable(const shoal_pack_linear *l)
{
    uint64_t cells;
    return l->n > 0 && l->k > 0 && l->step > 0 && l->step <= INT32_MAX &&
           shoal_mul_u64((uint64_t)l->n, (uint64_t)l->k, &cells) && cells < 1ull << 50 &&
           (l->kind == SHOAL_WEIGHT_FLOAT || (l->group > 0 && l->group <= l->k));
}

bool shoal_pack_measure(const shoal_pack_linear *l, uint64_t *run_bytes, uint64_t *bytes)
{
    if (!is_measurable(l))
        return false;
    const int64_t runs = shoal_pack_runs(l);
    *run_bytes = shoal_pack_run_at(l, 0).bytes;
    *bytes = (uint64_t)(runs - 1) * *run_bytes + shoal_pack_run_at(l, runs - 1).bytes;
    return true;
}
