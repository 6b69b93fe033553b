/* shard/plan.c - the deal. See the header for the rules. */
#include "shard/plan.h"

#include <math.h>
#include <string.h>

#include "kernels/linear.h"
#include "proto/bytes.h"
#include "proto/digest.h"
#include "shard/model.h"

/* Largest integer weight of a rank; with 1024 ranks and 2^32 items products stay in 62 bits.
 * SHOAL_EXPERTS_MAX experts of SHOAL_UNITS_MAX units are fewer. */
#define WEIGHT_MAX 1073741824

/* Largest size a shape may hold. */
#define SHAPE_MAX 2147483648

/* Activation groups, and weight groups where a linear has none: the smallest unit of down. */
#define UNIT_BASE 128

/* From this K on units are twice as long (docs/arithmetic.md rule 4). */
#define LONG_K 4096

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

shoal_status shoal_plan_down_unit(const int64_t *groups, int64_t count, int64_t intermediate,
                                  int64_t *out)
{
    uint64_t unit = UNIT_BASE;

    for (int64_t i = 0; i < count; i++) {
        if (groups[i] < 1)
            return shoal_fail(SHOAL_ERR_DATA, "down %lld has weight groups of %lld", (long long)i,
                              (long long)groups[i]);
        const uint64_t step = (uint64_t)(groups[i] / gcd((int64_t)unit, groups[i]));
        if (!shoal_mul_u64(unit, step, &unit) || unit > SHAPE_MAX)
            return shoal_fail(SHOAL_ERR_DATA,
                              "down %lld: weight groups of %lld do not fit with those of the "
                              "layers before it: their common multiple is above %lld",
                              (long long)i, (long long)groups[i], (long long)SHAPE_MAX);
    }
    if (intermediate >= LONG_K)
        unit *= 2;
    const int64_t units = shoal_ceil_div(intermediate, (int64_t)unit);
    if (units > SHOAL_UNITS_MAX)
        return shoal_fail(SHOAL_ERR_DATA,
                          "down has %lld inputs, that is %lld units of %lld; at most %d units can "
                          "be summed",
                          (long long)intermediate, (long long)units, (long long)unit,
                          SHOAL_UNITS_MAX);
    *out = (int64_t)unit;
    return SHOAL_OK;
}

/* Capacities as integers: themselves when all are whole and small enough, so that 3,1,1 means
 * exactly that; else scaled to WEIGHT_MAX for the largest. Never 0. */
static void capacity_weights(int ranks, const double *capacity, int64_t *weight)
{
    bool whole = true;
    double largest = 0;

    for (int r = 0; r < ranks; r++) {
        const double c = capacity ? capacity[r] : 1;
        whole = whole && c >= 1 && c <= WEIGHT_MAX && c == floor(c);
        largest = c > largest ? c : largest;
    }
    for (int r = 0; r < ranks; r++) {
        const double c = capacity ? capacity[r] : 1;
        weight[r] = (int64_t)(whole ? c : rint(c / largest * WEIGHT_MAX));
        if (weight[r] < 1)
            weight[r] = 1;
    }
}

static void deal_by_weight(int64_t count, int ranks, const int64_t *weight, shoal_range *out)
{
    int64_t total = 0, left = count, at = 0;
    int64_t rest[SHOAL_RANKS_MAX];

    for (int r = 0; r < ranks; r++)
        total += weight[r];
    for (int r = 0; r < ranks; r++) {
        out[r].end = count * weight[r] / total; /* the share; becomes a range below */
        rest[r] = count * weight[r] % total;
        left -= out[r].end;
    }
    for (; left > 0; left--) {
        int best = 0;
        for (int r = 1; r < ranks; r++)
            if (rest[r] > rest[best])
                best = r;
        out[best].end++;
        rest[best] = -1;
    }
    for (int r = 0; r < ranks; r++) {
        out[r].begin = at;
        at += out[r].end;
        out[r].end = at;
    }
}

void shoal_plan_deal(int64_t count, int ranks, const double *capacity, shoal_range *out)
{
    int64_t weight[SHOAL_RANKS_MAX];

    capacity_weights(ranks, capacity, weight);
    deal_by_weight(count, ranks, weight, out);
}

/* The kv heads that q heads `q` of a model with `group` q heads per kv head read. */
static shoal_range touched(shoal_range q, int64_t group)
{
    const int64_t end = shoal_ceil_div(q.end, group);

    return (shoal_range){shoal_range_size(q) ? q.begin / group : end, end};
}

/* Both deals of the heads, the cost rule, and the choice into the plan. */
static void deal_heads(const int64_t *weight, shoal_plan *plan)
{
    const int64_t group = plan->shape.heads / plan->shape.kv_heads;
    shoal_range deal[2][SHOAL_RANKS_MAX]; /* single heads, whole groups */
    int64_t worst[2] = {0, 0}, over[2] = {1, 1};

    deal_by_weight(plan->shape.heads, plan->ranks, weight, deal[0]);
    deal_by_weight(plan->shape.kv_heads, plan->ranks, weight, deal[1]);
    for (int r = 0; r < plan->ranks; r++) {
        deal[1][r].begin *= group;
        deal[1][r].end *= group;
        for (int d = 0; d < 2; d++) {
            const int64_t cost =
                2 * shoal_range_size(deal[d][r]) + 4 * shoal_range_size(touched(deal[d][r], group));
            if (cost * over[d] > worst[d] * weight[r]) {
                worst[d] = cost;
                over[d] = weight[r];
            }
        }
    }
    plan->whole_kv_groups =
        100 * worst[0] * over[1] > (100 - SHOAL_PLAN_SINGLE_GAIN) * worst[1] * over[0];
    for (int r = 0; r < plan->ranks; r++) {
        plan->rank[r].q_heads = deal[plan->whole_kv_groups][r];
        plan->rank[r].kv_heads = touched(plan->rank[r].q_heads, group);
    }
}

/* The elements that `blocks` of `size` cover of `total`. */
static shoal_range cover(shoal_range blocks, int64_t size, int64_t total)
{
    return (shoal_range){shoal_min_i64(blocks.begin * size, total),
                         shoal_min_i64(blocks.end * size, total)};
}

static int64_t units_of(int64_t intermediate, int64_t unit)
{
    return intermediate ? shoal_ceil_div(intermediate, unit) : 0;
}

static void deal_experts(const int64_t *weight, shoal_plan *plan)
{
    const shoal_plan_shape *shape = &plan->shape;
    const shoal_plan_mlps *experts = &shape->experts, *shared = &shape->shared;
    const int64_t each = units_of(experts->intermediate, experts->unit);
    shoal_range out[SHOAL_RANKS_MAX];

    deal_by_weight(shape->whole_experts ? experts->count : experts->count * each, plan->ranks,
                   weight, out);
    for (int r = 0; r < plan->ranks; r++) {
        const int64_t step = shape->whole_experts ? each : 1;
        plan->rank[r].expert_units = (shoal_range){out[r].begin * step, out[r].end * step};
    }
    deal_by_weight(units_of(shared->intermediate, shared->unit), plan->ranks, weight, out);
    for (int r = 0; r < plan->ranks; r++)
        plan->rank[r].shared = cover(out[r], shared->unit, shared->intermediate);
}

shoal_range shoal_plan_expert(const shoal_plan *plan, int rank, int64_t expert)
{
    const shoal_plan_mlps *experts = &plan->shape.experts;
    const shoal_range dealt = plan->rank[rank].expert_units;
    const int64_t each = units_of(experts->intermediate, experts->unit);
    int64_t ends[2] = {dealt.begin, dealt.end};

    for (int i = 0; i < 2; i++) {
        if (plan->shape.whole_experts) /* unit u of expert e is number e * each + u */
            ends[i] = shoal_max_i64(0, shoal_min_i64(ends[i] - expert * each, each));
        else /* it is number u * count + e */
            ends[i] = (ends[i] + experts->count - 1 - expert) / experts->count;
    }
    return cover((shoal_range){ends[0], ends[1]}, experts->unit, experts->intermediate);
}

static void deal_blocks(const int64_t *weight, shoal_plan *plan)
{
    const shoal_plan_shape *shape = &plan->shape;
    shoal_range units[SHOAL_RANKS_MAX], vocab[SHOAL_RANKS_MAX], hidden[SHOAL_RANKS_MAX];

    deal_by_weight(units_of(shape->intermediate, shape->unit), plan->ranks, weight, units);
    deal_by_weight(shoal_ceil_div(shape->vocab, SHOAL_PANEL), plan->ranks, weight, vocab);
    deal_by_weight(shoal_ceil_div(shape->hidden, SHOAL_PANEL), plan->ranks, weight, hidden);
    for (int r = 0; r < plan->ranks; r++) {
        shoal_rank_plan *rank = &plan->rank[r];
        rank->units = units[r];
        rank->vocab_panels = vocab[r];
        rank->intermediate = cover(units[r], shape->unit, shape->intermediate);
        rank->vocab = cover(vocab[r], SHOAL_PANEL, shape->vocab);
        rank->hidden = cover(hidden[r], SHOAL_PANEL, shape->hidden);
    }
    deal_experts(weight, plan);
}

/* Sizes of MLPs where a layer has `count` of them; `count` 0 goes with sizes of 0. */
static shoal_status check_mlps(const char *name, int64_t count, int64_t intermediate, int64_t unit)
{
    const int64_t least = count > 0;
    const struct {
        const char *what;
        int64_t value;
    } sizes[] = {{"count", count}, {"intermediate", intermediate}, {"unit", unit}};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].value < least || sizes[i].value > (count ? SHAPE_MAX : 0))
            return shoal_fail(SHOAL_ERR_DATA, "plan: %s of %s is %lld, not in %lld..%lld",
                              sizes[i].what, name, (long long)sizes[i].value, (long long)least,
                              (long long)(count ? SHAPE_MAX : 0));
    return SHOAL_OK;
}

/* Units that one output is the sum of: those of the experts that a row goes through. */
static shoal_status check_experts(const shoal_plan_shape *shape)
{
    const shoal_plan_mlps *experts = &shape->experts, *shared = &shape->shared;

    SHOAL_TRY(check_mlps("experts", experts->count, experts->intermediate, experts->unit));
    SHOAL_TRY(check_mlps("shared experts", shared->count, shared->intermediate, shared->unit));
    if (experts->count > SHOAL_EXPERTS_MAX || shared->count > 1 ||
        shape->chosen < (experts->count > 0) || shape->chosen > experts->count)
        return shoal_fail(SHOAL_ERR_DATA, "plan: %lld of %lld experts (at most %d), %lld shared",
                          (long long)shape->chosen, (long long)experts->count, SHOAL_EXPERTS_MAX,
                          (long long)shared->count);
    /* an expert's bias is a term of its own */
    const int64_t each = units_of(experts->intermediate, experts->unit) + 1;
    const int64_t always = units_of(shared->intermediate, shared->unit) + 1;
    if (experts->count && each * shape->chosen + always > SHOAL_UNITS_MAX)
        return shoal_fail(SHOAL_ERR_DATA,
                          "plan: %lld experts of %lld elements and %lld shared ones are more than "
                          "%d units",
                          (long long)shape->chosen, (long long)experts->intermediate,
                          (long long)shared->intermediate, SHOAL_UNITS_MAX);
    return SHOAL_OK;
}

static shoal_status check_shape(const shoal_plan_shape *shape)
{
    const struct {
        const char *name;
        int64_t value;
    } sizes[] = {
        {"heads", shape->heads}, {"kv_heads", shape->kv_heads}, {"head_dim", shape->head_dim},
        {"vocab", shape->vocab}, {"hidden", shape->hidden},
    };
    const bool plain = shape->intermediate || shape->unit || !shape->experts.count;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].value < 1 || sizes[i].value > SHAPE_MAX)
            return shoal_fail(SHOAL_ERR_DATA, "plan: %s is %lld, not in 1..%lld", sizes[i].name,
                              (long long)sizes[i].value, (long long)SHAPE_MAX);
    SHOAL_TRY(check_mlps("MLPs", plain, shape->intermediate, shape->unit));
    SHOAL_TRY(check_experts(shape));
    if (shape->heads % shape->kv_heads)
        return shoal_fail(SHOAL_ERR_DATA, "plan: %lld kv heads do not divide %lld heads",
                          (long long)shape->kv_heads, (long long)shape->heads);
    if (shape->heads > SHOAL_UNITS_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "plan: %lld heads; at most %d units can be summed",
                          (long long)shape->heads, SHOAL_UNITS_MAX);
    if (units_of(shape->intermediate, shape->unit) > SHOAL_UNITS_MAX)
        return shoal_fail(
            SHOAL_ERR_DATA,
            "plan: %lld intermediate elements in units of %lld are more than %d units",
            (long long)shape->intermediate, (long long)shape->unit, SHOAL_UNITS_MAX);
    return SHOAL_OK;
}

shoal_status shoal_plan_make(const shoal_plan_shape *shape, int ranks, const double *capacity,
                             shoal_plan *out)
{
    int64_t weight[SHOAL_RANKS_MAX];

    if (ranks < 1 || ranks > SHOAL_RANKS_MAX)
        return shoal_fail(SHOAL_ERR_USAGE, "%d ranks, not in 1..%d", ranks, SHOAL_RANKS_MAX);
    for (int r = 0; capacity && r < ranks; r++)
        if (!isfinite(capacity[r]) || capacity[r] <= 0)
            return shoal_fail(SHOAL_ERR_USAGE, "capacity of rank %d is %g, not a positive number",
                              r, capacity[r]);
    SHOAL_TRY(check_shape(shape));
    capacity_weights(ranks, capacity, weight);
    memset(out, 0, sizeof *out);
    out->ranks = ranks;
    out->shape = *shape;
    deal_heads(weight, out);
    deal_blocks(weight, out);
    return SHOAL_OK;
}

static void add_range(shoal_xxh128_stream *stream, shoal_range range)
{
    shoal_xxh128_add_i64(stream, range.begin);
    shoal_xxh128_add_i64(stream, range.end);
}

void shoal_plan_digest(const shoal_plan *plan, uint8_t out[16])
{
    const shoal_plan_shape *s = &plan->shape;
    const int64_t numbers[] = {
        plan->ranks,      s->heads,         s->kv_heads,
        s->head_dim,      s->intermediate,  s->unit,
        s->vocab,         s->hidden,        plan->whole_kv_groups,
        s->experts.count, s->experts.unit,  s->experts.intermediate,
        s->shared.count,  s->shared.unit,   s->shared.intermediate,
        s->chosen,        s->whole_experts,
    };
    shoal_xxh128_stream stream;

    /* Number by number: the struct's padding and byte order must not decide. */
    shoal_xxh128_begin(&stream);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        shoal_xxh128_add_i64(&stream, numbers[i]);
    for (int r = 0; r < plan->ranks; r++) {
        const shoal_rank_plan *rank = &plan->rank[r];
        add_range(&stream, rank->q_heads);
        add_range(&stream, rank->kv_heads);
        add_range(&stream, rank->units);
        add_range(&stream, rank->vocab_panels);
        add_range(&stream, rank->intermediate);
        add_range(&stream, rank->expert_units);
        add_range(&stream, rank->shared);
        add_range(&stream, rank->vocab);
        add_range(&stream, rank->hidden);
        shoal_xxh128_add_i64(&stream, rank->streamed);
    }
    shoal_xxh128_finish(&stream, out);
}
