#include "worker/probe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "proto/bytes.h"
#include "proto/log.h"
#include "worker/sampler.h"

#define WINDOW  64
#define WINDOWS 3

/* Allowed error, as a share of the sum of |w * x| (and of the bias): far above fp32 rounding of
 * long sums, far below any mistake worth the name. */
#define TOLERANCE 2e-5

/* What windows of outputs should be: computed from the checkpoint alone, before anything runs. */
typedef struct {
    int count;
    int64_t first[WINDOWS]; /* local column at which a window begins */
    int64_t width[WINDOWS];
    double want[WINDOWS][WINDOW], size[WINDOWS][WINDOW];
} expectation;

typedef struct {
    shoal_assembly *a;
    shoal_comm *comm;
    shoal_weights_progress progress;
    void *progress_context;
    shoal_arena *arena; /* of one linear */
    const shoal_weight *weight;
    const shoal_linear *linear;
    shoal_act *act; /* its input */
    float *out;     /* of the linear */
    double *got;    /* what to compare  */
    shoal_rect slice;
    expectation own;   /* of the slice */
    expectation whole; /* of a cut linear over all of K, on rank 0 */
    double worst;
} probe;

/* Element k of the probe vector; the same on every rank, and a bf16 number. */
static float element(int layer, shoal_role role, int64_t k)
{
    const uint32_t bits = shoal_philox((uint64_t)(layer + 1), (uint32_t)role, (uint64_t)k);
    const float sign = bits & 1u ? 1.0f : -1.0f;
    const float size = bits & 6u ? 127.0f : (float)(bits >> 8 & 127u);
    return sign * size / 4096.0f;
}

/* What an act must be given so that the linear sees element k: an input scale is undone, and what
 * is left of that rounding is far below the tolerance. */
static float source_element(const probe *p, int64_t i)
{
    const float x = element(p->weight->layer, p->weight->role, p->linear->spec.k_begin + i);
    if (!p->act->input_scale)
        return x;
    return p->act->input_multiply ? x / p->act->input_scale[i] : x * p->act->input_scale[i];
}

/* Everything that can still fail on one rank alone: buffers, and the part of the vector that this
 * rank's linear takes as an act. For a linear cut along k the vector counts in the order in which
 * k is walked. */
static shoal_status make_input(probe *p)
{
    const int64_t k = p->linear->spec.k;
    const uint64_t n = (uint64_t)p->linear->spec.n;
    void *source, *joined, *out, *got;
    SHOAL_TRY(shoal_arena_array(p->arena, (uint64_t)k, sizeof(float), &source));
    SHOAL_TRY(shoal_arena_array(p->arena, (uint64_t)k, sizeof(float), &joined));
    SHOAL_TRY(shoal_arena_array(p->arena, n, sizeof(float), &out));
    SHOAL_TRY(shoal_arena_array(p->arena, n, sizeof(double), &got));
    p->out = out;
    p->got = got;
    for (int64_t i = 0; i < k; i++)
        ((float *)source)[i] = source_element(p, i);
    const float *sources[1] = {source};
    const shoal_quantize_args args = {
        .sources = sources,
        .widths = &k,
        .source_count = 1,
        .rows = 1,
        .scratch = joined,
        .acts = p->act,
        .act_count = 1,
        .pending = p->a->scratch.pending,
    };
    p->a->scratch.pending[0] = 0;
    return p->a->backend->ops->quantize(p->a->backend, &args);
}

static double dequantized(const shoal_canonical *b, int64_t n, int64_t k, int64_t group)
{
    const int64_t at = n * b->k + k;
    if (b->kind == SHOAL_WEIGHT_FLOAT)
        return (double)shoal_load_f32(b->dense, b->dtype, (size_t)at);
    const int64_t scale = n * b->groups + group;
    const int zero = b->zeros ? b->zeros[scale] : b->zero_const;
    const double min = b->mins ? (double)b->mins[scale] : 0.0;
    return (double)(b->codes[at] - zero) * (double)b->scales[scale] + min;
}

/* The weight as this rank multiplies with it. */
static double weight_value(const probe *p, const shoal_canonical *b, int64_t n, int64_t k,
                           int64_t group)
{
    const double value = dequantized(b, n, k, group);
    if (p->linear->spec.act != SHOAL_ACT_BF16)
        return value;
    return (double)shoal_bf16_weight(p->linear->bf16, (float)value);
}

/* Expected values of output columns [rect->n_begin, rect->n_end) and the sums of magnitudes. */
static shoal_status expect(const probe *p, const shoal_rect *rect, bool with_bias, double *want,
                           double *size)
{
    const shoal_manifest *manifest = p->a->blueprint->manifest;
    const shoal_weight *weight = p->weight;
    shoal_canonical block;
    const int64_t count = rect->n_end - rect->n_begin;
    SHOAL_TRY(shoal_weight_read(manifest, weight, rect, p->arena, &block));
    float bias[WINDOW] = {0};
    if (with_bias && weight->bias)
        SHOAL_TRY(shoal_vector_read(manifest, weight->bias, rect->n_begin, rect->n_end,
                                    rect->columns, bias));
    for (int64_t n = 0; n < count; n++) {
        want[n] = (double)bias[n];
        size[n] = fabs((double)bias[n]);
        for (int64_t k = 0; k < block.k; k++) {
            const int64_t at = rect->k_begin + k;
            const int64_t group = at / weight->group - rect->k_begin / weight->group;
            const bool permuted = rect->order && p->linear->spec.unit == 0;
            const double x =
                (double)element(p->weight->layer, p->weight->role, permuted ? rect->order[at] : at);
            const double term = x * weight_value(p, &block, n, k, group);
            want[n] += term;
            size[n] += fabs(term);
        }
    }
    return SHOAL_OK;
}

/* "layer 3 down_proj", "layer 3 down_proj of expert 7". */
static void describe(const shoal_weight *weight, char *out, size_t room)
{
    char expert[32] = "";
    if (weight->expert > 0)
        snprintf(expert, sizeof expert, " of expert %d", weight->expert - 1);
    else if (weight->expert == SHOAL_EXPERT_SHARED)
        snprintf(expert, sizeof expert, " of the shared expert");
    snprintf(out, room, "layer %d %s%s", weight->layer, shoal_role_name(weight->role), expert);
}

static shoal_status check(probe *p, int64_t column, double got, double want, double size,
                          const char *what)
{
    const double error = fabs(got - want);
    if (size > 0.0 && error / size > p->worst)
        p->worst = error / size;
    if (error <= TOLERANCE * size + 1e-7)
        return SHOAL_OK;
    char name[96];
    describe(p->weight, name, sizeof name);
    return shoal_fail(SHOAL_ERR_DATA,
                      "probe: %s, %s of rank %d: output %lld is %.7g, the dequantized product is "
                      "%.7g",
                      name, what, p->comm->rank, (long long)column, got, want);
}

/* First columns of the windows of a range of n; returns how many. */
static int windows(int64_t n, int64_t *first)
{
    const int64_t middle = n / 2 / WINDOW * WINDOW;
    int count = 0;
    first[count++] = 0;
    if (n > WINDOW)
        first[count++] = n - WINDOW;
    if (middle > 0 && middle + WINDOW < n)
        first[count++] = middle;
    return count;
}

static shoal_status expect_windows(const probe *p, const shoal_rect *slice, bool with_bias,
                                   expectation *out)
{
    const int64_t n = slice->n_end - slice->n_begin;
    out->count = n > 0 ? windows(n, out->first) : 0;
    for (int i = 0; i < out->count; i++) {
        shoal_rect rect = *slice;
        rect.n_begin = slice->n_begin + out->first[i];
        rect.n_end = shoal_min_i64(rect.n_begin + WINDOW, slice->n_end);
        rect.columns = slice->columns ? slice->columns + out->first[i] : NULL;
        out->width[i] = rect.n_end - rect.n_begin;
        SHOAL_TRY(expect(p, &rect, with_bias, out->want[i], out->size[i]));
    }
    return SHOAL_OK;
}

/* Compare p->got, the local outputs, with what was expected. */
static shoal_status compare(probe *p, const expectation *e, const char *what)
{
    for (int i = 0; i < e->count; i++)
        for (int64_t j = 0; j < e->width[i]; j++)
            SHOAL_TRY(check(p, p->slice.n_begin + e->first[i] + j, p->got[e->first[i] + j],
                            e->want[i][j], e->size[i][j], what));
    return SHOAL_OK;
}

static shoal_status run_whole(probe *p)
{
    const int64_t n = p->linear->spec.n;
    const shoal_whole_job job = {.linear = p->linear, .act = p->act, .out = p->out, .ld = n};
    SHOAL_TRY(p->a->backend->ops->whole(p->a->backend, &job, 1, 1));
    for (int64_t i = 0; i < n; i++)
        p->got[i] = (double)p->out[i];
    return compare(p, &p->own, "slice");
}

static double from_fixed(int64_t sum)
{
    return (double)sum / (double)SHOAL_UNIT_SCALE;
}

/* The rank's own unit sums first, which blames the rank; then the reduced sums with the bias. */
static shoal_status run_cut(probe *p)
{
    const int64_t n = p->linear->spec.n;
    const int64_t *parts[SHOAL_RANKS_MAX];
    int part_count = 0;
    int64_t *slot = shoal_comm_slot(p->comm);
    const shoal_cut_args args = {.linear = p->linear,
                                 .act = p->act,
                                 .rows = 1,
                                 .slot = slot,
                                 .pending = p->a->scratch.pending};
    shoal_status mine = p->a->backend->ops->cut(p->a->backend, &args);
    for (int64_t i = 0; i < n; i++)
        p->got[i] = from_fixed(slot[i]);
    if (mine == SHOAL_OK)
        mine = compare(p, &p->own, "partial sum");
    SHOAL_TRY(shoal_comm_agree(p->comm, mine));
    SHOAL_TRY(shoal_comm_reduce(p->comm, (uint64_t)n + 1, parts, &part_count));
    for (int64_t i = 0; i < n; i++) {
        int64_t sum = 0;
        for (int r = 0; r < part_count; r++)
            sum += parts[r][i];
        p->got[i] = from_fixed(sum) + (p->linear->bias ? (double)p->linear->bias[i] : 0.0);
    }
    return compare(p, &p->whole, "reduced sum");
}

/* The order and the permuted columns of a slice, read afresh. */
static shoal_status complete_rect(const probe *p, shoal_rect *rect)
{
    const shoal_manifest *manifest = p->a->blueprint->manifest;
    const shoal_weight *weight = p->weight;
    void *order;
    if (weight->act_order) {
        SHOAL_TRY(shoal_arena_array(p->arena, (uint64_t)weight->k, sizeof(int32_t), &order));
        SHOAL_TRY(shoal_weight_order(manifest, weight, order));
        rect->order = order;
    }
    if (shoal_slice_in_down_order_of(manifest, weight)) {
        const shoal_weight *down = shoal_manifest_sibling(manifest, weight, SHOAL_ROLE_DOWN);
        SHOAL_TRY(shoal_arena_array(p->arena, (uint64_t)down->k, sizeof(int32_t), &order));
        SHOAL_TRY(shoal_weight_order(manifest, down, order));
        rect->columns = (const int32_t *)order + rect->n_begin;
    }
    return SHOAL_OK;
}

/* Everything that reads the checkpoint; under --load push it runs in this rank's turn. */
static shoal_status read_expectations(void *context)
{
    probe *p = context;
    const bool cut = p->linear->spec.unit > 0;
    if (!shoal_slice_rect_of(&p->a->blueprint->slicing, p->comm->rank, p->weight, &p->slice))
        return shoal_fail(SHOAL_ERR_INTERNAL, "layer %d has no %s", p->weight->layer,
                          shoal_role_name(p->weight->role));
    SHOAL_TRY(complete_rect(p, &p->slice));
    SHOAL_TRY(expect_windows(p, &p->slice, !cut, &p->own));
    if (!cut || p->comm->rank != 0)
        return SHOAL_OK;
    shoal_rect whole = p->slice;
    whole.k_begin = 0;
    whole.k_end = p->weight->k;
    return expect_windows(p, &whole, true, &p->whole);
}

static shoal_status probe_own(probe *p)
{
    char name[96];
    shoal_status st = shoal_arena_create(SHOAL_MEM_CHECKPOINT, &p->arena);
    SHOAL_TRY_GOTO(shoal_comm_agree(p->comm, st), destroy);
    st = p->a->pushed ? shoal_push_turns(p->comm, p->a->blueprint->checkpoint, read_expectations, p)
                      : read_expectations(p);
    if (st == SHOAL_OK)
        st = make_input(p);
    SHOAL_TRY_GOTO(shoal_comm_agree(p->comm, st), destroy);
    st = p->linear->spec.unit > 0 ? run_cut(p) : run_whole(p);
    describe(p->weight, name, sizeof name);
    shoal_log(SHOAL_LOG_INFO, "probe", "%s: error %.1e of the sum of magnitudes", name, p->worst);

destroy:
    shoal_arena_destroy(p->arena);
    return st;
}

static shoal_status probe_linear(const probe *start, const shoal_weight *weight,
                                 const shoal_linear *linear, shoal_act *act)
{
    probe p = *start;
    p.weight = weight;
    p.linear = linear;
    p.act = act;
    SHOAL_TRY(shoal_comm_agree(p.comm, probe_own(&p)));
    if (p.progress)
        p.progress(p.progress_context);
    return SHOAL_OK;
}

static shoal_status probe_stage(const probe *start, int layer, shoal_stage stage)
{
    const shoal_assembly *a = start->a;
    const bool head = stage == SHOAL_STAGE_LM_HEAD;
    const int64_t index = head ? a->weights.layer_count : layer;
    shoal_stage_view *view = shoal_scratch_view(&a->scratch, index, stage);
    shoal_role first;
    int count;
    shoal_stage_roles(stage, &first, &count);
    for (int i = 0; i < count; i++) {
        const shoal_role role = (shoal_role)((int)first + i);
        const shoal_linear *linear =
            head ? &a->weights.lm_head : &a->weights.layers[layer].linear[role];
        SHOAL_TRY(probe_linear(start, shoal_manifest_weight(a->blueprint->manifest, layer, role),
                               linear, &view->acts[view->of_linear[i]]));
    }
    return SHOAL_OK;
}

/* One expert; its inputs are placed where a step places them. */
static shoal_status probe_expert(const probe *start, int layer, int expert)
{
    const shoal_assembly *a = start->a;
    const shoal_expert_set *set = &a->blueprint->manifest->experts[layer];
    const shoal_expert_weights *w = &a->weights.layers[layer].experts[expert];
    for (int i = 0; i < SHOAL_EXPERT_LINEARS; i++) {
        const shoal_role role = (shoal_role)((int)SHOAL_ROLE_GATE + i);
        const bool down = role == SHOAL_ROLE_DOWN;
        shoal_act act;
        shoal_act_place(&w->linear[i], w->order[i], 1,
                        down ? a->scratch.experts.gated : a->scratch.experts.inputs, &act);
        SHOAL_TRY(probe_linear(start, shoal_expert_weight(set, expert, role), &w->linear[i], &act));
    }
    return SHOAL_OK;
}

static shoal_status probe_experts(const probe *start, int layer)
{
    const shoal_assembly *a = start->a;
    const shoal_layer_weights *w = &a->weights.layers[layer];
    const shoal_expert_set *set = &a->blueprint->manifest->experts[layer];
    shoal_act *act = shoal_scratch_view(&a->scratch, layer, SHOAL_STAGE_GATE_UP)->acts;
    SHOAL_TRY(probe_linear(start, &set->router, &w->router, act));
    if (w->has_shared)
        SHOAL_TRY(probe_linear(start, &set->shared_router, &w->shared_router, act));
    for (int expert = 0; expert < w->expert_count; expert++)
        SHOAL_TRY(probe_expert(start, layer, expert));
    return SHOAL_OK;
}

/* A place that is streamed. */
static shoal_status fetch(const probe *start, int64_t place)
{
    shoal_stream *stream = start->a->weights.stream;
    SHOAL_TRY(shoal_stream_fetch(stream, place));
    return shoal_stream_fetch_experts(stream, place, NULL);
}

static shoal_status probe_layer(const probe *start, int layer)
{
    const bool experts = start->a->weights.layers[layer].experts != NULL;
    SHOAL_TRY(shoal_comm_agree(start->comm, fetch(start, layer)));
    SHOAL_TRY(probe_stage(start, layer, SHOAL_STAGE_QKV));
    SHOAL_TRY(probe_stage(start, layer, SHOAL_STAGE_O));
    if (experts)
        return probe_experts(start, layer);
    SHOAL_TRY(probe_stage(start, layer, SHOAL_STAGE_GATE_UP));
    return probe_stage(start, layer, SHOAL_STAGE_DOWN);
}

shoal_status shoal_probe_run(shoal_assembly *assembly, shoal_comm *comm,
                             shoal_weights_progress progress, void *context)
{
    const probe start = {
        .a = assembly, .comm = comm, .progress = progress, .progress_context = context};
    shoal_fp_reset();
    for (int layer = 0; layer < (int)assembly->weights.layer_count; layer++)
        SHOAL_TRY(probe_layer(&start, layer));
    SHOAL_TRY(shoal_comm_agree(comm, fetch(&start, assembly->weights.layer_count)));
    return probe_stage(&start, -1, SHOAL_STAGE_LM_HEAD);
}
