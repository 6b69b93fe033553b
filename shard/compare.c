/* shard/compare.c - see compare.h. */
#include "shard/compare.h"

#include <math.h>

#include "proto/bytes.h"
#include "shard/dialect.h"

/* One of the two, and the strip of columns that is looked at. */
typedef struct {
    const shoal_manifest *manifest;
    const shoal_weight *weight;
    void *order;    /* sorted position -> input, for reading; NULL: natural      */
    void *position; /* input -> sorted position, for finding an element          */
    shoal_canonical block;
} side;

static shoal_status open_side(side *s)
{
    const int64_t k = s->weight->k;
    if (!s->weight->act_order)
        return SHOAL_OK;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)k, sizeof(int32_t), &s->order));
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)k, sizeof(int32_t), &s->position));
    SHOAL_TRY(shoal_weight_order(s->manifest, s->weight, s->order));
    for (int64_t i = 0; i < k; i++)
        ((int32_t *)s->position)[((const int32_t *)s->order)[i]] = (int32_t)i;
    return SHOAL_OK;
}

static void close_side(side *s)
{
    shoal_free(s->order);
    shoal_free(s->position);
}

typedef struct {
    int q;
    float scale, min, value;
} element;

static element element_at(const side *s, int64_t n, int64_t k)
{
    const shoal_canonical *b = &s->block;
    const int64_t at = s->position ? ((const int32_t *)s->position)[k] : k;
    if (b->kind == SHOAL_WEIGHT_FLOAT)
        return (element){.value = shoal_load_f32(b->dense, b->dtype, (size_t)(n * b->k + at))};
    const int64_t g = n * b->groups + at / s->weight->group;
    element e = {.q = b->codes[n * b->k + at] - (b->zeros ? b->zeros[g] : b->zero_const),
                 .scale = b->scales[g],
                 .min = b->mins ? b->mins[g] : 0};
    e.value = b->mins ? fmaf((float)e.q, e.scale, e.min) : (float)e.q * e.scale;
    return e;
}

static void count_value(shoal_difference *d, float a, float b)
{
    d->count++;
    if (a == b)
        return;
    d->values++;
    d->max_abs_error = fmax(d->max_abs_error, fabs((double)a - (double)b));
}

static void count_strip(const side *a, const side *b, shoal_difference *d)
{
    for (int64_t n = 0; n < a->block.n; n++)
        for (int64_t k = 0; k < a->block.k; k++) {
            const element x = element_at(a, n, k), y = element_at(b, n, k);
            count_value(d, x.value, y.value);
            d->codes += d->integers && x.q != y.q;
            d->scales += d->integers && x.scale != y.scale;
            d->minimums += d->integers && x.min != y.min;
        }
}

static shoal_status read_strip(side *s, int64_t begin, int64_t end, shoal_arena *arena)
{
    const shoal_rect rect = {
        .n_begin = begin, .n_end = end, .k_end = s->weight->k, .order = s->order};
    return shoal_weight_read(s->manifest, s->weight, &rect, arena, &s->block);
}

static shoal_status compare_strip(side *a, side *b, int64_t begin, int64_t end, shoal_difference *d)
{
    shoal_arena *arena;
    shoal_status st;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &arena));
    SHOAL_TRY_GOTO(read_strip(a, begin, end, arena), done);
    SHOAL_TRY_GOTO(read_strip(b, begin, end, arena), done);
    count_strip(a, b, d);
done:
    shoal_arena_destroy(arena);
    return st;
}

static shoal_status compare_matrices(side *a, side *b, shoal_difference *d)
{
    const shoal_rect all = {.n_end = a->weight->n, .k_end = a->weight->k};
    const int64_t step = shoal_rect_staging_columns(a->weight, &all);
    d->integers = a->weight->kind != SHOAL_WEIGHT_FLOAT && b->weight->kind != SHOAL_WEIGHT_FLOAT;
    SHOAL_TRY(open_side(a));
    SHOAL_TRY(open_side(b));
    for (int64_t n = 0; n < a->weight->n; n += step)
        SHOAL_TRY(compare_strip(a, b, n, shoal_min_i64(n + step, a->weight->n), d));
    return SHOAL_OK;
}

static shoal_status read_vector(const side *s, const shoal_tensor *tensor, shoal_arena *arena,
                                const float **out)
{
    void *values;
    const int64_t count = tensor->shape[0];
    SHOAL_TRY(shoal_arena_array(arena, (uint64_t)count, sizeof(float), &values));
    SHOAL_TRY(shoal_vector_read(s->manifest, tensor, 0, count, NULL, values));
    *out = values;
    return SHOAL_OK;
}

static shoal_status compare_vectors(const side *a, const shoal_tensor *x, const side *b,
                                    const shoal_tensor *y, shoal_difference *d)
{
    shoal_arena *arena;
    shoal_status st;
    const float *left, *right;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &arena));
    SHOAL_TRY_GOTO(read_vector(a, x, arena, &left), done);
    SHOAL_TRY_GOTO(read_vector(b, y, arena, &right), done);
    for (int64_t i = 0; i < a->weight->n; i++)
        count_value(d, left[shoal_weight_row(a->weight, i)], right[shoal_weight_row(b->weight, i)]);
done:
    shoal_arena_destroy(arena);
    return st;
}

static shoal_status compare_sides(side *a, side *b, shoal_difference *d)
{
    if (a->weight->dialect)
        SHOAL_TRY(compare_matrices(a, b, d));
    else
        SHOAL_TRY(compare_vectors(a, a->weight->parts[0], b, b->weight->parts[0], d));
    if (a->weight->bias)
        SHOAL_TRY(compare_vectors(a, a->weight->bias, b, b->weight->bias, d));
    return SHOAL_OK;
}

shoal_status shoal_weight_compare(const shoal_manifest *first, const shoal_weight *a,
                                  const shoal_manifest *second, const shoal_weight *b,
                                  shoal_difference *out)
{
    shoal_difference d = {0};
    side x = {.manifest = first, .weight = a}, y = {.manifest = second, .weight = b};
    shoal_status st = SHOAL_OK;
    d.presence = a->present != b->present || a->n != b->n || a->k != b->k || !a->bias != !b->bias ||
                 !a->dialect != !b->dialect;
    if (!d.presence && a->present)
        st = compare_sides(&x, &y, &d);
    close_side(&x);
    close_side(&y);
    if (st == SHOAL_OK)
        *out = d;
    return st;
}
