#include "shard/budget.h"

#include <stdio.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"
#include "shard/dialect.h"
#include "shard/offload.h"

#define ARENA_STEP 64

/* How many times as many ranks are tried when a plan does not fit. */
#define RANKS_TRIED 4

typedef struct {
    shoal_weight_bytes sum;
    int64_t place;   /* whose linears are being added (shoal_offload_place) */
    uint64_t in_use; /* of the buffer, by that place                        */
} tally;

/* A block of an arena of weights. */
static void hold(tally *t, uint64_t bytes)
{
    t->sum.held += (bytes + ARENA_STEP - 1) / ARENA_STEP * ARENA_STEP;
}

/* One of those that are filled from the files. */
static void hold_filled(tally *t, uint64_t bytes)
{
    const uint64_t before = t->sum.held;
    hold(t, bytes);
    t->sum.filled += t->sum.held - before;
}

/* `count` elements of a vector, held as fp32. */
static void hold_vector(tally *t, int64_t count)
{
    hold(t, (uint64_t)count * sizeof(float));
}

/* The packed arrays of a linear: in the arena, or in the buffer when its layer's turn comes. */
static void add_packed(const shoal_slicing *slicing, int rank, const shoal_weight *weight,
                       const shoal_linear_size *size, tally *t)
{
    const uint64_t bytes = shoal_linear_packed_bytes(size);
    const int64_t place = shoal_offload_place(slicing->manifest, weight);
    hold(t, size->segments_bytes);
    if (!shoal_offload_streams(slicing, rank, weight)) {
        *(weight->placement == SHOAL_PLACED_PINNED ? &t->sum.linears.pinned
                                                   : &t->sum.linears.host) += 1;
        hold_filled(t, bytes);
        return;
    }
    t->in_use = (place == t->place ? t->in_use : 0) + bytes;
    t->place = place;
    t->sum.linears.streamed++;
    t->sum.streamed += bytes;
    if (t->in_use > t->sum.buffer)
        t->sum.buffer = t->in_use;
}

/* A linear's slice with its bias and permutation. */
static shoal_status add_linear(const shoal_slicing *slicing, int rank, const shoal_weight *weight,
                               tally *t)
{
    static const int32_t some_order = 0; /* read bytes do not depend on which */
    shoal_linear_spec spec;
    shoal_linear_size size;
    shoal_rect rect;

    if (!shoal_slice_spec_of(slicing, rank, weight, &spec) ||
        !shoal_slice_rect_of(slicing, rank, weight, &rect))
        return SHOAL_OK;
    SHOAL_TRY(shoal_linear_measure(&spec, &size));
    t->sum.read += shoal_slice_read_bytes_of(slicing, rank, weight);
    add_packed(slicing, rank, weight, &size, t);
    if (shoal_slice_in_down_order_of(slicing->manifest, weight))
        rect.columns = &some_order;
    t->sum.read += shoal_weight_bias_bytes(weight, &rect);
    if (weight->bias && rect.n_end > rect.n_begin)
        hold_vector(t, rect.n_end - rect.n_begin);
    t->sum.read += shoal_weight_input_scale_bytes(weight, &rect);
    if (weight->input_scale && rect.k_end > rect.k_begin)
        hold_vector(t, rect.k_end - rect.k_begin);
    const uint64_t order_bytes = (uint64_t)weight->k * sizeof(int32_t);
    if (shoal_slice_reads_order_of(slicing, rank, weight))
        t->sum.read += order_bytes;
    if (shoal_slice_keeps_order_of(slicing, rank, weight) ||
        shoal_offload_keeps_order(slicing, rank, weight))
        hold(t, order_bytes);
    return SHOAL_OK;
}

static void add_vector(const shoal_weight *weight, tally *t)
{
    t->sum.read += shoal_vector_read_bytes(weight->parts[0], 0, weight->n, NULL);
    hold_vector(t, weight->n);
}

static void add_embedding(const shoal_slicing *slicing, int rank, tally *t)
{
    const shoal_weight *weight = shoal_manifest_weight(slicing->manifest, -1, SHOAL_ROLE_EMBEDDING);
    shoal_rect rect;

    if (!shoal_slice_rect(slicing, rank, -1, SHOAL_ROLE_EMBEDDING, &rect) ||
        shoal_rect_empty(&rect))
        return;
    t->sum.read += weight->dialect->read_bytes(weight, &rect);
    hold_filled(t, (uint64_t)(rect.n_end - rect.n_begin) * (uint64_t)rect.k_end *
                       shoal_dtype_bytes(weight->dtype));
}

static shoal_status add_weight(const shoal_slicing *slicing, int rank, const shoal_weight *weight,
                               tally *t)
{
    if (!weight->present)
        return SHOAL_OK;
    if (weight->role == SHOAL_ROLE_EMBEDDING)
        add_embedding(slicing, rank, t);
    else if (weight->dialect)
        return add_linear(slicing, rank, weight, t);
    else
        add_vector(weight, t);
    return SHOAL_OK;
}

shoal_status shoal_budget_weights(const shoal_slicing *slicing, int rank, shoal_weight_bytes *out)
{
    const shoal_manifest *manifest = slicing->manifest;
    tally t = {.place = -1};
    for (size_t i = 0; i < shoal_manifest_count(manifest); i++)
        SHOAL_TRY(add_weight(slicing, rank, shoal_manifest_at(manifest, i), &t));
    hold(&t, t.sum.buffer);
    *out = t.sum;
    return SHOAL_OK;
}

uint64_t shoal_budget_page_bytes(const shoal_slicing *slicing, int rank, shoal_kv_type kv)
{
    const shoal_model *model = slicing->manifest->model;
    const int64_t heads = shoal_range_size(slicing->plan->rank[rank].kv_heads);

    return (uint64_t)(model->layer_count * heads) * shoal_kv_head_bytes(kv, model->head_dim);
}

/* Bytes per token that a rank puts into the two exchanges of every layer: int64 rows with the
 * count of bad units, or fp32 columns where an act-order o is gathered (twice). */
static uint64_t reduce_bytes(const shoal_manifest *manifest)
{
    const shoal_model *model = manifest->model;
    const uint64_t row = (uint64_t)(model->hidden + 1) * sizeof(int64_t);
    const uint64_t gathered =
        (uint64_t)(model->heads * model->head_dim + model->hidden) * sizeof(float);
    uint64_t bytes = 0;

    for (int layer = 0; layer < model->layer_count; layer++)
        bytes += row + (shoal_slice_o_gathered(manifest, layer) ? gathered : row);
    return bytes;
}

static shoal_status budget_rank(const shoal_budget_request *request, int rank,
                                shoal_rank_budget *out)
{
    const uint64_t page = shoal_budget_page_bytes(&request->slicing, rank, request->kv);
    const uint64_t pages = (uint64_t)shoal_ceil_div(request->context, SHOAL_PAGE);
    shoal_rank_budget budget = {.kv_tokens = request->context, .fits = true};
    shoal_weight_bytes weights;

    SHOAL_TRY(shoal_budget_weights(&request->slicing, rank, &weights));
    budget.read_bytes = weights.read;
    budget.streamed_bytes = weights.streamed;
    budget.buffer_bytes = weights.buffer;
    budget.linears = weights.linears;
    budget.memory.weight_bytes = weights.held;
    if (!shoal_mul_u64(page, pages, &budget.memory.kv_bytes) ||
        budget.memory.kv_bytes > INT64_MAX) /* sums with the rest must not wrap */
        return shoal_fail(SHOAL_ERR_USAGE, "a context of %lld tokens is too long to count",
                          (long long)request->context);
    budget.memory.other_bytes = request->other_bytes ? request->other_bytes[rank] : 0;
    budget.resident_bytes = shoal_rank_layout_bytes(&budget.memory);
    if (request->memory) {
        const uint64_t fixed = budget.memory.weight_bytes + budget.memory.other_bytes;
        const uint64_t room = request->memory > fixed ? request->memory - fixed : 0;
        budget.fits = budget.resident_bytes <= request->memory;
        if (page)
            budget.kv_tokens = (int64_t)(room / page) * SHOAL_PAGE;
        else if (fixed > request->memory)
            budget.kv_tokens = 0;
    }
    *out = budget;
    return SHOAL_OK;
}

shoal_status shoal_budget_make(const shoal_budget_request *request, shoal_budget *out)
{
    const int ranks = request->slicing.plan->ranks;
    uint64_t most = 0, total = 0;

    if (request->context < 0)
        return shoal_fail(SHOAL_ERR_USAGE, "a context of %lld tokens", (long long)request->context);
    memset(out, 0, sizeof *out);
    out->ranks = ranks;
    out->fits = true;
    for (int r = 0; r < ranks; r++) {
        shoal_rank_budget *rank = &out->rank[r];
        SHOAL_TRY(budget_rank(request, r, rank));
        out->fits = out->fits && rank->fits;
        if (rank->resident_bytes > out->memory_needed)
            out->memory_needed = rank->resident_bytes;
        if (r == 0 || rank->kv_tokens < out->kv_tokens)
            out->kv_tokens = rank->kv_tokens;
        const uint64_t weights =
            rank->memory.weight_bytes - rank->buffer_bytes + rank->streamed_bytes;
        most = weights > most ? weights : most;
        total += weights;
    }
    if (total)
        out->imbalance = (double)most * ranks / (double)total - 1;
    out->reduce_bytes_per_token = reduce_bytes(request->slicing.manifest);
    return SHOAL_OK;
}

/* The least number of ranks above `from`, equal in capacity, that fits; 0 when none that is tried
 * does. What steps need beside weights and pages is taken as the most any rank needs now. */
static shoal_status ranks_that_fit(const shoal_budget_request *request, int from, int *out)
{
    const int64_t last = shoal_min_i64((int64_t)from * RANKS_TRIED, SHOAL_RANKS_MAX);
    shoal_budget_request other = *request;
    uint64_t extra = 0;
    shoal_plan *plan;
    void *block;
    shoal_status st = SHOAL_OK;

    for (int r = 0; request->other_bytes && r < from; r++)
        if (request->other_bytes[r] > extra)
            extra = request->other_bytes[r];
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof *plan, &block));
    plan = block;
    other.slicing.plan = plan;
    other.other_bytes = NULL;
    other.memory = request->memory > extra ? request->memory - extra : 1;
    *out = 0;
    for (int ranks = from + 1; ranks <= last && *out == 0; ranks++) {
        bool fits = true;
        SHOAL_TRY_GOTO(shoal_plan_make(&request->slicing.plan->shape, ranks, NULL, plan), done);
        for (int r = 0; r < ranks && fits; r++) {
            shoal_rank_budget budget = {0};
            plan->rank[r].streamed = shoal_offload_places(request->slicing.manifest);
            SHOAL_TRY_GOTO(budget_rank(&other, r, &budget), done);
            fits = budget.fits;
        }
        if (fits)
            *out = ranks;
    }
done:
    shoal_free(block);
    return st;
}

shoal_status shoal_budget_check(const shoal_budget_request *request, const shoal_budget *budget)
{
    char more[64] = "", context[96] = "";
    int worst = 0, ranks = 0;

    if (budget->fits)
        return SHOAL_OK;
    for (int r = 1; r < budget->ranks; r++)
        if (budget->rank[r].resident_bytes > budget->rank[worst].resident_bytes)
            worst = r;
    SHOAL_TRY(ranks_that_fit(request, budget->ranks, &ranks));
    if (ranks)
        snprintf(more, sizeof more, ", or -n %d", ranks);
    if (budget->kv_tokens > 0)
        snprintf(context, sizeof context, ", or %lld tokens of context",
                 (long long)budget->kv_tokens);
    const shoal_rank_layout *memory = &budget->rank[worst].memory;
    const char *offload = budget->rank[worst].streamed_bytes
                              ? ""
                              : "; --offload mmap streams weights from a pack file";
    return shoal_fail(SHOAL_ERR_NOFIT,
                      "rank %d needs %llu bytes (weights %llu, %lld tokens of context %llu, the "
                      "rest %llu) but may use %llu; what fits: --memory %llu%s%s%s",
                      worst, (unsigned long long)budget->rank[worst].resident_bytes,
                      (unsigned long long)memory->weight_bytes, (long long)request->context,
                      (unsigned long long)memory->kv_bytes, (unsigned long long)memory->other_bytes,
                      (unsigned long long)request->memory,
                      (unsigned long long)budget->memory_needed, more, context, offload);
}
