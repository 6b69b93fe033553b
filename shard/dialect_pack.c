/* shard/dialect_pack.c - linears of a pack file: MODULE.pack, runs as shard/pack_format.h has them.
 *
 * Whole runs are read, each with its digest compared; a rectangle that begins inside a run reads
 * all of it and keeps its own part. Runs that begin where a rank's share does go to panels as the
 * words they are. */
#include <math.h>
#include <string.h>

#include "proto/bytes.h"
#include "shard/dialect.h"
#include "shard/pack_format.h"

enum { RUNS, ORDER };

static bool claims(const shoal_module *module)
{
    const shoal_tensor *pack = shoal_module_tensor(module, "pack");
    return pack && pack->packed;
}

static shoal_status check_order(const shoal_module *module, const shoal_weight *weight)
{
    const shoal_tensor *order = weight->parts[ORDER];
    if (!weight->parts[RUNS]->packed->act_order)
        return SHOAL_OK;
    if (!order || order->dtype != SHOAL_I32 || order->rank != 1 || order->shape[0] != module->k)
        return shoal_fail(SHOAL_ERR_DATA, "tensor %s.pack_order is missing, or not I32 [%lld]",
                          module->name, (long long)module->k);
    return SHOAL_OK;
}

static shoal_status describe(const shoal_module *module, shoal_weight *weight)
{
    const shoal_pack_linear *l = weight->parts[RUNS]->packed;
    if (l->n != module->n || l->k != module->k)
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s holds %lld outputs and %lld inputs; config.json makes it %lld "
                          "and %lld",
                          weight->parts[RUNS]->name, (long long)l->n, (long long)l->k,
                          (long long)module->n, (long long)module->k);
    SHOAL_TRY(check_order(module, weight));
    weight->kind = l->kind;
    weight->dtype = l->dtype;
    weight->group = l->group;
    weight->has_zeros = l->has_zeros;
    weight->has_mins = l->has_mins;
    weight->zero_const = l->zero_const;
    weight->act_order = l->act_order;
    weight->per_token = l->per_token;
    weight->bits = l->bits;
    weight->source_group = (int)l->source_group;
    return SHOAL_OK;
}

static const shoal_pack_linear *linear_of(const shoal_weight *weight)
{
    return weight->parts[RUNS]->packed;
}

/* The rectangle in rows of the module. */
static shoal_rect in_module(const shoal_weight *weight, const shoal_rect *rect)
{
    shoal_rect r = *rect;
    r.n_begin += weight->row_offset;
    r.n_end += weight->row_offset;
    return r;
}

/* Runs [*begin, *end) that a rectangle touches. */
static void runs_of(const shoal_pack_linear *l, const shoal_rect *rect, int64_t *begin,
                    int64_t *end)
{
    const int64_t first = l->along_k ? rect->k_begin : rect->n_begin;
    const int64_t last = l->along_k ? rect->k_end : rect->n_end;
    *begin = first / l->step;
    *end = shoal_rect_empty(rect) ? *begin : shoal_ceil_div(last, l->step);
}

static uint64_t read_bytes(const shoal_weight *weight, const shoal_rect *rect)
{
    const shoal_rect r = in_module(weight, rect);
    const shoal_pack_linear *l = linear_of(weight);
    int64_t begin, end;
    uint64_t bytes = 0;
    runs_of(l, &r, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        bytes += shoal_pack_run_at(l, i).bytes;
    return bytes;
}

static shoal_status read_run(const shoal_manifest *manifest, const shoal_weight *weight,
                             int64_t index, const shoal_pack_run *run, void *out)
{
    const shoal_tensor *tensor = weight->parts[RUNS];
    return shoal_checkpoint_read(manifest->checkpoint, tensor, (uint64_t)index * tensor->run_bytes,
                                 run->bytes, out);
}

/* ---- a run to its part of a canonical block ---- */

/* What of a run a rectangle wants, in the module's outputs and inputs. */
typedef struct {
    const shoal_pack_linear *linear;
    const shoal_pack_run *run;
    const uint8_t *data;
    const shoal_rect *rect;
    int64_t n_begin, n_end, k_begin, k_end;
} share;

static void place_floats(const share *s, shoal_canonical *out)
{
    const size_t size = shoal_dtype_bytes(s->linear->dtype);
    const size_t stride = (size_t)(s->run->k_end - s->run->k_begin) * size;
    for (int64_t n = s->n_begin; n < s->n_end; n++)
        memcpy((char *)out->dense +
                   (size_t)((n - s->rect->n_begin) * out->k + s->k_begin - s->rect->k_begin) * size,
               s->data + (size_t)(n - s->run->n_begin) * stride +
                   (size_t)(s->k_begin - s->run->k_begin) * size,
               (size_t)(s->k_end - s->k_begin) * size);
}

static void place_codes(const share *s, shoal_canonical *out)
{
    const int64_t fields = shoal_pack_fields(s->linear), columns = s->run->n_end - s->run->n_begin;
    const int bits = (int)(32 / fields);
    for (int64_t n = s->n_begin; n < s->n_end; n++)
        for (int64_t k = s->k_begin; k < s->k_end; k++) {
            const int64_t at = k - s->run->k_begin;
            const uint8_t *word = s->data + 4 * (at / fields * columns + n - s->run->n_begin);
            out->codes[(n - s->rect->n_begin) * out->k + k - s->rect->k_begin] =
                (uint8_t)(shoal_load_le32(word) >> (bits * (at % fields)) & ((1u << bits) - 1));
        }
}

/* The zero point of a group and output; `at` counts those of its run. */
static shoal_status load_zero(const shoal_weight *weight, const uint8_t *zeros, int64_t at,
                              int64_t group, int64_t output, int16_t *out)
{
    const int zero = shoal_load_le16(zeros + 2 * at);
    const shoal_status st = shoal_linear_check_zero(linear_of(weight)->kind, zero);
    if (st != SHOAL_OK)
        return shoal_fail_within(st, "tensor %s, group %lld, output %lld",
                                 weight->parts[RUNS]->name, (long long)group, (long long)output);
    *out = (int16_t)zero;
    return SHOAL_OK;
}

static shoal_status place_groups(const share *s, const shoal_weight *weight, shoal_canonical *out)
{
    const int64_t columns = s->run->n_end - s->run->n_begin, group = s->linear->group;
    for (int64_t g = s->k_begin / group; g < shoal_ceil_div(s->k_end, group); g++)
        for (int64_t n = s->n_begin; n < s->n_end; n++) {
            const int64_t from = (g - s->run->group_begin) * columns + n - s->run->n_begin;
            const int64_t at = (n - s->rect->n_begin) * out->groups + g - s->rect->k_begin / group;
            out->scales[at] =
                shoal_load_f32(s->data + s->run->scales, s->linear->dtype, (size_t)from);
            if (!isfinite(out->scales[at]))
                return shoal_fail(SHOAL_ERR_DATA,
                                  "tensor %s: the scale of group %lld, output %lld is no number",
                                  weight->parts[RUNS]->name, (long long)g, (long long)n);
            if (out->zeros)
                SHOAL_TRY(load_zero(weight, s->data + s->run->zeros, from, g, n, &out->zeros[at]));
            if (out->mins)
                out->mins[at] = shoal_load_f32(s->data + s->run->mins, SHOAL_F32, (size_t)from);
        }
    return SHOAL_OK;
}

static shoal_status place_run(const shoal_weight *weight, const shoal_rect *rect,
                              const shoal_pack_run *run, const uint8_t *data, shoal_canonical *out)
{
    const share s = {linear_of(weight),
                     run,
                     data,
                     rect,
                     shoal_max_i64(rect->n_begin, run->n_begin),
                     shoal_min_i64(rect->n_end, run->n_end),
                     shoal_max_i64(rect->k_begin, run->k_begin),
                     shoal_min_i64(rect->k_end, run->k_end)};
    if (weight->kind == SHOAL_WEIGHT_FLOAT) {
        place_floats(&s, out);
        return SHOAL_OK;
    }
    if (out->codes)
        place_codes(&s, out);
    return place_groups(&s, weight, out);
}

static shoal_status read_pack(const shoal_manifest *manifest, const shoal_weight *weight,
                              const shoal_rect *rect, shoal_canonical *out)
{
    const shoal_rect r = in_module(weight, rect);
    int64_t begin, end;
    shoal_status st = SHOAL_OK;
    void *data;
    runs_of(linear_of(weight), &r, &begin, &end);
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, weight->parts[RUNS]->run_bytes, &data));
    for (int64_t i = begin; i < end && st == SHOAL_OK; i++) {
        const shoal_pack_run run = shoal_pack_run_at(linear_of(weight), i);
        st = read_run(manifest, weight, i, &run, data);
        if (st == SHOAL_OK)
            st = place_run(weight, &r, &run, data, out);
    }
    shoal_free(data);
    return st;
}

/* ---- a run as the words it is ---- */

static void tile(const shoal_weight *weight, const shoal_rect *rect, int64_t *columns,
                 int64_t *inputs)
{
    const shoal_pack_linear *l = linear_of(weight);
    int64_t whole = l->step; /* of runs and of panels */
    while (whole % SHOAL_PANEL != 0)
        whole += l->step;
    *columns = l->along_k ? shoal_max_i64(rect->n_end - rect->n_begin, 1) : whole;
    *inputs = l->along_k ? l->step : shoal_max_i64(rect->k_end - rect->k_begin, 1);
}

static bool storable(const shoal_weight *weight, const shoal_rect *rect)
{
    const shoal_pack_linear *l = linear_of(weight);
    const shoal_rect r = in_module(weight, rect);
    const bool zeros_fit = !l->has_zeros || l->kind == SHOAL_WEIGHT_INT4;
    if (l->kind == SHOAL_WEIGHT_FLOAT || l->has_mins || !zeros_fit || weight->run)
        return false;
    if (!l->along_k)
        return l->step % SHOAL_PANEL == 0 && r.n_begin % l->step == 0 && r.k_begin == 0 &&
               r.k_end == l->k;
    return l->step % 8 == 0 && r.k_begin % l->step == 0 && r.n_begin == 0 && r.n_end == l->n;
}

static shoal_status check_finite(const shoal_weight *weight, const uint8_t *scales, int64_t count)
{
    if (shoal_dialect_all_finite(scales, weight->dtype, count))
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, "tensor %s: a scale is no number", weight->parts[RUNS]->name);
}

static shoal_status read_stored(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_tile *want, shoal_staging *staging, shoal_stored *out)
{
    const shoal_rect r = in_module(weight, &want->rect);
    const shoal_pack_linear *l = linear_of(weight);
    const int64_t index = (l->along_k ? r.k_begin : r.n_begin) / l->step;
    const shoal_pack_run run = shoal_pack_run_at(l, index);
    const int64_t columns = run.n_end - run.n_begin, n = r.n_end - r.n_begin;
    const int64_t groups = want->group_end - want->group_begin;
    const int64_t skipped = (want->group_begin - run.group_begin) * columns;
    uint8_t *data, *scales, *points;
    SHOAL_TRY(shoal_staging_take(staging, SHOAL_STAGE_CODES, run.bytes, &data));
    SHOAL_TRY(read_run(manifest, weight, index, &run, data));
    const uint64_t size = shoal_dtype_bytes(l->dtype);
    SHOAL_TRY(
        shoal_staging_take(staging, SHOAL_STAGE_SCALES, (uint64_t)(groups * n) * size, &scales));
    SHOAL_TRY(shoal_staging_take(staging, SHOAL_STAGE_POINTS, (uint64_t)(groups * n), &points));
    for (int64_t g = 0; g < groups; g++) {
        const uint64_t from = (uint64_t)(skipped + g * columns);
        memcpy(scales + (uint64_t)(g * n) * size, data + run.scales + from * size,
               (uint64_t)n * size);
        for (int64_t c = 0; l->has_zeros && c < n; c++) {
            int16_t zero = 0;
            SHOAL_TRY(load_zero(weight, data + run.zeros, (int64_t)from + c, want->group_begin + g,
                                r.n_begin + c, &zero));
            points[g * n + c] = (uint8_t)zero;
        }
    }
    SHOAL_TRY(check_finite(weight, scales, groups * n));
    *out = (shoal_stored){
        SHOAL_WORDS_ALONG_K,         n, r.k_end - r.k_begin, data, columns * 4, groups, scales,
        l->has_zeros ? points : NULL};
    return SHOAL_OK;
}

static shoal_status read_order(const shoal_manifest *manifest, const shoal_weight *weight,
                               int32_t *order)
{
    const shoal_tensor *tensor = weight->parts[ORDER];
    SHOAL_TRY(shoal_checkpoint_read(manifest->checkpoint, tensor, 0, tensor->bytes, order));
    for (int64_t i = 0; i < weight->k; i++) {
        order[i] = (int32_t)shoal_load_le32(&order[i]);
        if (order[i] < 0 || order[i] >= weight->k)
            return shoal_fail(SHOAL_ERR_DATA, "tensor %s: element %lld is %d; inputs are 0 to %lld",
                              tensor->name, (long long)i, (int)order[i], (long long)weight->k - 1);
    }
    return SHOAL_OK;
}

const shoal_dialect shoal_dialect_pack = {
    .name = "shoal-pack",
    .parts = {"pack", "pack_order"},
    .claims = claims,
    .describe = describe,
    .read_bytes = read_bytes,
    .read = read_pack,
    .storable = storable,
    .read_stored = read_stored,
    .tile = tile,
    .order = read_order,
};
