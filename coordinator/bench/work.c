#include "coordinator/bench/work.h"

#include "worker/blueprint.h"

static shoal_peak_product product_of(const shoal_linear_spec *spec)
{
    if (spec->act == SHOAL_ACT_F32)
        return SHOAL_PEAK_F32;
    if (spec->act == SHOAL_ACT_BF16)
        return SHOAL_PEAK_BF16;
    return spec->kind == SHOAL_WEIGHT_INT4 ? SHOAL_PEAK_INT4 : SHOAL_PEAK_INT8;
}

/* Of several kinds of products, the one that most operations are of. */
static void note_product(shoal_peak_product product, double operations, shoal_bench_work *work)
{
    int most = 0;
    work->operations_of[__builtin_ctz((unsigned)product)] += operations;
    for (int i = 1; i < SHOAL_BENCH_PRODUCTS; i++)
        if (work->operations_of[i] > work->operations_of[most])
            most = i;
    work->product = (shoal_peak_product)(1 << most);
}

/* The share of tokens that a weight works for. */
static double share_of_tokens(const shoal_model *model, const shoal_weight *weight)
{
    if (weight->expert <= 0)
        return 1;
    const shoal_layer *layer = &model->layers[weight->layer];
    return (double)layer->experts_per_token / (double)layer->experts;
}

static shoal_status add_linear(const shoal_blueprint *b, int rank, const shoal_weight *weight,
                               shoal_bench_work *work)
{
    shoal_linear_spec spec;
    shoal_linear_size size;
    if (!shoal_slice_spec_of(&b->slicing, rank, weight, &spec))
        return SHOAL_OK;
    SHOAL_TRY(shoal_linear_measure(&spec, &size));
    const double share = share_of_tokens(b->model, weight);
    const double operations = share * 2.0 * (double)spec.n * (double)spec.k;
    const uint64_t bytes = size.codes_bytes + size.scales_bytes + size.zeros_bytes +
                           size.mins_bytes + size.steps_bytes + size.min_steps_bytes;
    work->weight_bytes += share * (double)bytes;
    if (weight->layer < 0) {
        work->head_operations += operations;
        return SHOAL_OK;
    }
    work->layer_operations += operations;
    note_product(product_of(&spec), operations, work);
    return SHOAL_OK;
}

/* Add a role of rank 0 to the shape it belongs to. */
static void add_shape(const shoal_blueprint *b, shoal_role role, shoal_bench_linear_shape *shape)
{
    shoal_linear_spec spec;
    if (!shoal_slice_spec_of(&b->slicing, 0, shoal_manifest_example(b->manifest, role), &spec))
        return;
    shape->n += spec.n;
    shape->k = spec.k;
}

static void find_shapes(const shoal_blueprint *b, shoal_bench_linear_shape *shapes)
{
    static const struct {
        const char *name, *op;
        shoal_role first, last;
    } calls[SHOAL_BENCH_SHAPES] = {
        {"qkv", "whole", SHOAL_ROLE_Q, SHOAL_ROLE_V},
        {"o", "cut", SHOAL_ROLE_O, SHOAL_ROLE_O},
        {"gate_up", "gated", SHOAL_ROLE_GATE, SHOAL_ROLE_UP},
        {"down", "cut", SHOAL_ROLE_DOWN, SHOAL_ROLE_DOWN},
        {"lm_head", "whole", SHOAL_ROLE_LM_HEAD, SHOAL_ROLE_LM_HEAD},
    };
    for (int i = 0; i < SHOAL_BENCH_SHAPES; i++) {
        shapes[i] = (shoal_bench_linear_shape){.name = calls[i].name, .op = calls[i].op};
        for (shoal_role role = calls[i].first; role <= calls[i].last; role++)
            add_shape(b, role, &shapes[i]);
    }
}

static shoal_status add_rank(const shoal_blueprint *b, int rank, shoal_bench_work *work)
{
    for (size_t i = 0; i < shoal_manifest_count(b->manifest); i++)
        SHOAL_TRY(add_linear(b, rank, shoal_manifest_at(b->manifest, i), work));
    return SHOAL_OK;
}

shoal_status shoal_bench_work_of(const shoal_worker_settings *settings, int ranks,
                                 shoal_bench_work *out)
{
    shoal_status st = SHOAL_OK;
    shoal_bench_work work = {0};
    shoal_blueprint *blueprint;
    SHOAL_TRY(shoal_blueprint_open(settings, settings->model, ranks, &blueprint));
    for (int r = 0; r < ranks && st == SHOAL_OK; r++)
        st = add_rank(blueprint, r, &work);
    find_shapes(blueprint, work.shapes);
    shoal_blueprint_close(blueprint);
    if (st == SHOAL_OK)
        *out = work;
    return st;
}
