/* Rows through experts: what a row chooses, against the definition; and what comes out of the
 * chosen ones, against plain chains, for every level, number of threads and grouping of rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "tests/unit/linear_case.h"

#include <cmocka.h>

#include "kernels/backend.h"
#include "kernels/mathf.h"
#include "kernels/route.h"

/* ---- the choice ------------------------------------------------------------------------------ */

#define SCORES 70

/* By sorting, the obvious way. */
static void choose_slowly(const float *scores, int experts, int chosen, bool renormalize,
                          int32_t *index, float *weight)
{
    bool taken[SCORES] = {false};
    float most = -INFINITY, sum = 0;
    for (int c = 0; c < chosen; c++) {
        int best = -1;
        for (int i = 0; i < experts; i++)
            if (!taken[i] && (best < 0 || scores[i] > scores[best]))
                best = i;
        taken[best] = true;
        most = c == 0 ? scores[best] : most;
    }
    for (int i = 0; i < experts; i++)
        if (!renormalize || taken[i])
            sum += shoal_expf(scores[i] - most);
    for (int i = 0, c = 0; i < experts; i++)
        if (taken[i]) {
            index[c] = i;
            weight[c++] = shoal_expf(scores[i] - most) / sum;
        }
}

static void check_choice(const float *scores, int experts, int chosen, bool renormalize)
{
    int32_t index[SCORES], want_index[SCORES];
    float weight[SCORES], want_weight[SCORES], scratch[SCORES];
    choose_slowly(scores, experts, chosen, renormalize, want_index, want_weight);
    for (int level = 0; level < SHOAL_CPU_LEVELS; level++) {
        if (!shoal_cpu_has((shoal_cpu_level)level))
            continue;
        assert_int_equal(shoal_route_row(shoal_ops_pick((shoal_cpu_level)level), scores, experts,
                                         chosen, renormalize, index, weight, scratch),
                         0);
        assert_memory_equal(index, want_index, (size_t)chosen * sizeof *index);
        assert_memory_equal(weight, want_weight, (size_t)chosen * sizeof *weight);
    }
}

static void choices(void **state)
{
    (void)state;
    float scores[SCORES];
    for (int round = 0; round < 400; round++) {
        const int experts = 1 + (int)(case_random() % SCORES);
        const int chosen = 1 + (int)(case_random() % (uint32_t)experts);
        for (int i = 0; i < experts; i++) /* many equal ones, zeros of both signs, far ones */
            scores[i] = round % 3 == 0   ? (float)(int)(case_random() % 5) - 2.0f
                        : round % 3 == 1 ? case_uniform(200)
                                         : case_uniform(3);
        for (int i = 0; i < experts; i += 3)
            scores[i] = round % 3 == 0 && scores[i] == 0 ? -0.0f : scores[i];
        check_choice(scores, experts, chosen, round % 2);
    }
}

/* Whatever is chosen among scores that are no numbers, it is `chosen` ascending experts, and the
 * row is reported. */
static void scores_that_are_no_numbers(void **state)
{
    (void)state;
    static const float rows[][4] = {
        {1, NAN, 2, 3}, {NAN, NAN, NAN, NAN}, {INFINITY, 1, 2, 3}, {-INFINITY, 1, 2, -INFINITY}};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
        for (int chosen = 1; chosen <= 4; chosen++) {
            int32_t index[4];
            float weight[4], scratch[4];
            assert_int_equal(
                shoal_route_row(&shoal_ops_ref, rows[r], 4, chosen, true, index, weight, scratch),
                1);
            for (int i = 0; i < chosen; i++)
                assert_true(index[i] >= 0 && index[i] < 4 && (i == 0 || index[i] > index[i - 1]));
            if (r == 0 && chosen == 3)
                assert_int_equal(index[0] + index[1] + index[2], 0 + 2 + 3);
        }
}

static void shared_weight(void **state)
{
    (void)state;
    assert_true(shoal_route_shared(0) == 0.5f);
    assert_true(shoal_route_shared(200) == 1.0f && shoal_route_shared(-200) == 0.0f);
    assert_true(shoal_route_shared(1.5f) == 1.0f / (1.0f + shoal_expf(-1.5f)));
}

/* ---- rows through experts -------------------------------------------------------------------- */

#define ROWS    9
#define HIDDEN  200
#define FFN     320
#define UNIT    128
#define EXPERTS 5
#define CHOSEN  2
#define PAIRS   (ROWS * CHOSEN)
#define WIDTH   (HIDDEN + 1)

typedef struct {
    linear_case *gate, *up, *down;
    float bias[FFN + FFN + HIDDEN];
} expert;

typedef struct {
    expert experts[EXPERTS];
    float x[ROWS * HIDDEN];
    float scores[ROWS * EXPERTS];
    int64_t want[ROWS * WIDTH];
} layer;

static linear_case *make_linear(int form, int64_t n, int64_t k, int64_t unit)
{
    const shoal_linear_spec spec = {.n = n,
                                    .k = k,
                                    .kind = form == 0   ? SHOAL_WEIGHT_FLOAT
                                            : form == 3 ? SHOAL_WEIGHT_INT8
                                                        : SHOAL_WEIGHT_INT4,
                                    .dtype = form == 0 ? SHOAL_BF16 : SHOAL_F16,
                                    .group = form == 1   ? 32
                                             : form == 2 ? 64
                                                         : k,
                                    .has_zeros = form == 2,
                                    .zero_const = form == 3 ? 128 : 8,
                                    .act = form == 0   ? SHOAL_ACT_F32
                                           : form == 4 ? SHOAL_ACT_F32
                                                       : SHOAL_ACT_INT8,
                                    .act_group = 128,
                                    .unit = unit};
    return case_create(spec, ROWS);
}

/* Experts of five forms; one of them with biases. */
static void layer_create(layer *l)
{
    for (int i = 0; i < ROWS * HIDDEN; i++)
        l->x[i] = case_uniform(2);
    for (int i = 0; i < ROWS * EXPERTS; i++)
        l->scores[i] = case_uniform(2);
    for (int e = 0; e < EXPERTS; e++) {
        expert *x = &l->experts[e];
        x->gate = make_linear(e, FFN, HIDDEN, 0);
        x->up = make_linear(e, FFN, HIDDEN, 0);
        x->down = make_linear(e, HIDDEN, FFN, UNIT);
        memcpy(x->gate->x, l->x, sizeof l->x);
        memcpy(x->up->x, l->x, sizeof l->x);
        for (size_t i = 0; i < sizeof x->bias / sizeof *x->bias; i++)
            x->bias[i] = case_uniform(1);
        if (e == 1) {
            x->gate->linear.bias = x->bias;
            x->up->linear.bias = x->bias + FFN;
            x->down->linear.bias = x->bias + 2 * FFN;
        }
    }
}

static void layer_free(layer *l)
{
    for (int e = 0; e < EXPERTS; e++) {
        case_free(l->experts[e].gate);
        case_free(l->experts[e].up);
        case_free(l->experts[e].down);
    }
}

static float biased(float sum, const linear_case *t, int64_t n)
{
    return t->linear.bias ? sum + t->linear.bias[n] : sum;
}

static int64_t fixed(float value)
{
    return (int64_t)nearbyint((double)value * 268435456.0);
}

/* What expert e adds to a row, times `weight`. */
static void expect_expert(layer *l, int e, int row, float weight)
{
    const expert *x = &l->experts[e];
    float *inner = x->down->x + row * FFN;
    for (int64_t i = 0; i < FFN; i++)
        inner[i] = shoal_siluf(biased(case_whole(x->gate, row, i), x->gate, i)) *
                   biased(case_whole(x->up, row, i), x->up, i);
    for (int64_t n = 0; n < HIDDEN; n++) {
        int64_t *to = &l->want[row * WIDTH + n];
        for (int64_t k = 0; k < FFN; k += UNIT)
            *to += fixed(case_unit(x->down, row, n, k, shoal_min_i64(k + UNIT, FFN)) * weight);
        if (x->down->linear.bias)
            *to += fixed(x->down->linear.bias[n] * weight);
    }
}

/* The rows of one step on one backend. */
typedef struct {
    int32_t index[PAIRS];
    float weight[PAIRS];
    int32_t rows_of[PAIRS];
    float pair_weight[PAIRS];
    shoal_expert_job jobs[EXPERTS];
    int64_t pending[ROWS];
    int64_t slot[ROWS * WIDTH];
    shoal_arena *arena;
} step;

static void make_job(layer *l, step *s, int e, int first, int count, shoal_expert_job *job)
{
    expert *x = &l->experts[e];
    *job = (shoal_expert_job){.gate = &x->gate->linear,
                              .up = &x->up->linear,
                              .down = &x->down->linear,
                              .rows = count,
                              .rows_of = s->rows_of + first,
                              .weight = s->pair_weight + first};
    case_must(shoal_act_create(job->gate, NULL, count, s->arena, &job->gate_act));
    job->up_act = job->gate_act;
    if (e == 2) /* one whose gate and up do not share */
        case_must(shoal_act_create(job->up, NULL, count, s->arena, &job->up_act));
    case_must(shoal_act_create(job->down, NULL, count, s->arena, &job->act));
}

/* Jobs from expert `from` on, round the table; rows ascending or descending. */
static int make_jobs(layer *l, step *s, int from, bool descending)
{
    int pairs = 0, count = 0;
    for (int i = 0; i < EXPERTS; i++) {
        const int e = (from + i) % EXPERTS, first = pairs;
        for (int p = 0; p < PAIRS; p++) {
            const int pair = descending ? PAIRS - 1 - p : p;
            if (s->index[pair] != e)
                continue;
            s->rows_of[pairs] = pair / CHOSEN;
            s->pair_weight[pairs++] = s->weight[pair];
        }
        if (pairs > first)
            make_job(l, s, e, first, pairs - first, &s->jobs[count++]);
    }
    return count;
}

static void use_level(layer *l, shoal_cpu_level cap)
{
    for (int e = 0; e < EXPERTS; e++) {
        linear_case *const of[] = {l->experts[e].gate, l->experts[e].up, l->experts[e].down};
        for (int i = 0; i < 3; i++) {
            of[i]->linear.decode = shoal_linear_pick(&of[i]->linear, cap, 1);
            of[i]->linear.prefill = shoal_linear_pick(&of[i]->linear, cap, 128);
        }
    }
}

static void run_step(layer *l, int threads, shoal_cpu_level cap, int from, step *s)
{
    const shoal_backend_options options = {.threads = threads, .crowded = true, .cap = cap};
    shoal_backend *b = NULL;
    case_must(shoal_backend_cpu_open(&options, &b));
    case_must(shoal_arena_create(SHOAL_MEM_SCRATCH, &s->arena));
    use_level(l, cap);
    const shoal_route_args route = {.scores = l->scores,
                                    .rows = ROWS,
                                    .experts = EXPERTS,
                                    .chosen = CHOSEN,
                                    .renormalize = true,
                                    .index = s->index,
                                    .weight = s->weight,
                                    .pending = s->pending};
    assert_int_equal(b->ops->route(b, &route), SHOAL_OK);
    const shoal_experts_args args = {.x = l->x,
                                     .ld = HIDDEN,
                                     .rows = ROWS,
                                     .n = HIDDEN,
                                     .jobs = s->jobs,
                                     .job_count = make_jobs(l, s, from, from % 2),
                                     .slot = s->slot,
                                     .pending = s->pending};
    memset(s->slot, 0x55, sizeof s->slot);
    assert_int_equal(b->ops->experts(b, &args), SHOAL_OK);
    b->ops->close(b);
    shoal_arena_destroy(s->arena);
}

static void expect_all(layer *l)
{
    for (int row = 0; row < ROWS; row++) {
        int32_t index[CHOSEN];
        float weight[CHOSEN];
        choose_slowly(l->scores + row * EXPERTS, EXPERTS, CHOSEN, true, index, weight);
        for (int i = 0; i < CHOSEN; i++)
            expect_expert(l, index[i], row, weight[i]);
    }
}

static void rows_through_experts(void **state)
{
    (void)state;
    static layer l;
    static step s;
    layer_create(&l);
    expect_all(&l);
    for (int level = 0; level < SHOAL_CPU_LEVELS; level++)
        for (int threads = 1; threads <= 5 && shoal_cpu_has((shoal_cpu_level)level); threads += 2) {
            s = (step){.arena = NULL};
            run_step(&l, threads, (shoal_cpu_level)level, level + threads, &s);
            assert_memory_equal(s.slot, l.want, sizeof l.want);
        }
    layer_free(&l);
}

/* A row that no act can hold is counted; the others keep their bits. */
static void bad_rows(void **state)
{
    (void)state;
    static layer l;
    static step clean, s;
    layer_create(&l);
    clean = s = (step){.arena = NULL};
    run_step(&l, 2, shoal_cpu_best(), 0, &clean);
    l.x[3 * HIDDEN + 7] = NAN;
    run_step(&l, 2, shoal_cpu_best(), 0, &s);
    for (int row = 0; row < ROWS; row++) {
        const size_t bytes = WIDTH * sizeof *s.slot;
        if (row == 3)
            assert_true(s.slot[row * WIDTH + HIDDEN] > 0);
        else
            assert_memory_equal(s.slot + row * WIDTH, clean.slot + row * WIDTH, bytes);
    }
    layer_free(&l);
}

/* A rank that holds nothing of what was chosen adds zeros, and its row errors. */
static void nothing_to_do(void **state)
{
    (void)state;
    const shoal_backend_options options = {.threads = 2, .crowded = true};
    int64_t slot[2 * WIDTH], pending[2] = {0, 3};
    const float x[2 * HIDDEN] = {0};
    shoal_backend *b = NULL;
    case_must(shoal_backend_cpu_open(&options, &b));
    memset(slot, 0x55, sizeof slot);
    const shoal_experts_args args = {
        .x = x, .ld = HIDDEN, .rows = 2, .n = HIDDEN, .slot = slot, .pending = pending};
    assert_int_equal(b->ops->experts(b, &args), SHOAL_OK);
    for (int i = 0; i < 2 * WIDTH; i++)
        assert_int_equal(slot[i], i == 2 * WIDTH - 1 ? 3 : 0);
    b->ops->close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices),       cmocka_unit_test(scores_that_are_no_numbers),
        cmocka_unit_test(shared_weight), cmocka_unit_test(rows_through_experts),
        cmocka_unit_test(bad_rows),      cmocka_unit_test(nothing_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
