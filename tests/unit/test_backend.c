/* The CPU filling of kernels/backend.h: each operation against its meaning, and a whole layer for
 * every number of threads and every kernel level: the same bytes, and a bad row alone in its fall.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "tests/unit/linear_case.h"

#include <cmocka.h>

#include "kernels/backend.h"
#include "kernels/mathf.h"
#include "tests/unit/ops_case.h"

static shoal_backend *open_cpu(int threads, shoal_cpu_level cap)
{
    const shoal_backend_options options = {.threads = threads, .crowded = true, .cap = cap};
    shoal_backend *b = NULL;
    assert_int_equal(shoal_backend_cpu_open(&options, &b), SHOAL_OK);
    assert_string_equal(b->ops->name, "cpu");
    assert_string_equal(shoal_backend_cpu_ops(b), shoal_ops_pick(cap)->name);
    return b;
}

/* ---- embed, rope ---------------------------------------------------------------------------- */

#define IDS    130
#define HIDDEN 72

static void embed_with(shoal_dtype dtype, float scale)
{
    static const int32_t tokens[] = {40, 169, 41, 39, 170, 104, -1, 103, 40};
    enum { ROWS = sizeof tokens / sizeof tokens[0] };
    const shoal_linear_spec spec = {.n = IDS,
                                    .k = HIDDEN,
                                    .kind = SHOAL_WEIGHT_FLOAT,
                                    .dtype = dtype,
                                    .act = SHOAL_ACT_F32,
                                    .act_group = 128};
    linear_case *t = case_create(spec, 1);
    shoal_backend *b = open_cpu(2, shoal_cpu_best());
    float held[ROWS][HIDDEN], tied[ROWS][HIDDEN];
    memset(held, 0x55, sizeof held);
    memset(tied, 0x55, sizeof tied);
    shoal_embed_args a = {.table = t->block.dense,
                          .dtype = dtype,
                          .first = 40,
                          .count = IDS,
                          .tokens = tokens,
                          .rows = ROWS,
                          .hidden = HIDDEN,
                          .scale = scale,
                          .out = held[0]};
    assert_int_equal(b->ops->embed(b, &a), SHOAL_OK);
    a.table = NULL;
    a.tied = &t->linear;
    a.out = tied[0];
    assert_int_equal(b->ops->embed(b, &a), SHOAL_OK);
    assert_memory_equal(held, tied, sizeof held);
    for (int r = 0; r < ROWS; r++) {
        const int64_t id = tokens[r] - 40;
        for (int d = 0; d < HIDDEN; d++) {
            float want;
            memset(&want, 0x55, sizeof want); /* not this rank's: left alone */
            if (id >= 0 && id < IDS)
                want = shoal_load_f32(t->block.dense, dtype, (size_t)(id * HIDDEN + d)) * scale;
            assert_memory_equal(&held[r][d], &want, sizeof want);
        }
    }
    b->ops->close(b);
    case_free(t);
}

static void test_embed(void **state)
{
    (void)state;
    embed_with(SHOAL_F32, 1);
    embed_with(SHOAL_F16, 1);
    embed_with(SHOAL_BF16, 1);
    embed_with(SHOAL_BF16, 11.313708f);
}

static void test_rope(void **state)
{
    (void)state;
    static const int64_t positions[] = {0, 1, 77, 131071, 9999999};
    float inv_freq[24], cosine[5 * 24], sine[5 * 24];
    for (int i = 0; i < 24; i++)
        inv_freq[i] = (float)pow(500000.0, -i / 24.0);
    const shoal_rope_args a = {.positions = positions,
                               .rows = 5,
                               .dim = 48,
                               .inv_freq = inv_freq,
                               .factor = 1.3f,
                               .cos = cosine,
                               .sin = sine};
    shoal_backend *b = open_cpu(2, SHOAL_CPU_REF);
    assert_int_equal(b->ops->rope(b, &a), SHOAL_OK);
    for (int r = 0; r < 5; r++)
        for (int i = 0; i < 24; i++) {
            const float angle = (float)positions[r] * inv_freq[i];
            const float c = (float)cosl((long double)angle), s = (float)sinl((long double)angle);
            assert_true(cosine[r * 24 + i] == c * 1.3f);
            assert_true(sine[r * 24 + i] == s * 1.3f);
        }
    b->ops->close(b);
}

/* ---- norm ----------------------------------------------------------------------------------- */

#define ROWS  5
#define WIDTH 200

typedef struct {
    float x[ROWS * WIDTH], weight[WIDTH], bias[WIDTH], branch_norm[WIDTH];
    int64_t parts[3][ROWS * (WIDTH + 1)];
    int64_t bad[ROWS], pending[ROWS];
} norm_case;

static void norm_fill(norm_case *c)
{
    memset(c, 0, sizeof *c);
    ops_fill(c->x, ROWS * WIDTH, 2.0f);
    ops_fill(c->weight, WIDTH, 2.0f);
    ops_fill(c->bias, WIDTH, 0.5f);
    ops_fill(c->branch_norm, WIDTH, 1.0f);
    for (int p = 0; p < 3; p++)
        for (int i = 0; i < ROWS * (WIDTH + 1); i++)
            c->parts[p][i] =
                i % (WIDTH + 1) == WIDTH ? 0 : (int64_t)(ops_uniform(3.0f) * SHOAL_UNIT_SCALE);
}

static shoal_norm_args norm_args(norm_case *c, float *x, shoal_act *act)
{
    return (shoal_norm_args){.x = x,
                             .rows = ROWS,
                             .hidden = WIDTH,
                             .bias = c->bias,
                             .branch_norm = c->branch_norm,
                             .bad = c->bad,
                             .weight = c->weight,
                             .eps = 1e-5f,
                             .acts = act,
                             .act_count = 1,
                             .pending = c->pending};
}

/* An fp32 act of WIDTH inputs: its rows are the normed rows themselves. */
static linear_case *plain_linear(int64_t k)
{
    const shoal_linear_spec spec = {.n = 64,
                                    .k = k,
                                    .kind = SHOAL_WEIGHT_FLOAT,
                                    .dtype = SHOAL_F32,
                                    .act = SHOAL_ACT_F32,
                                    .act_group = 128};
    return case_create(spec, 2 * ROWS);
}

/* What the rules say, with the reference row, step by step. */
static void norm_expected(const norm_case *c, float *x, float *y)
{
    for (int r = 0; r < ROWS; r++) {
        float branch[WIDTH];
        for (int i = 0; i < WIDTH; i++) {
            const int at = r * (WIDTH + 1) + i;
            const int64_t v = c->parts[0][at] + c->parts[1][at] + c->parts[2][at];
            branch[i] = (float)v * 0x1p-28f + c->bias[i];
        }
        shoal_ops_ref.norm(branch, WIDTH, c->branch_norm, 1e-5f, branch);
        for (int i = 0; i < WIDTH; i++)
            x[r * WIDTH + i] = c->x[r * WIDTH + i] + branch[i];
        shoal_ops_ref.norm(x + r * WIDTH, WIDTH, c->weight, 1e-5f, y + r * WIDTH);
    }
}

static void check_act(const shoal_act *act, int64_t act_row, const float *y)
{
    assert_memory_equal(act->f32 + act_row * act->ld, y, WIDTH * sizeof *y);
}

static void test_norm(void **state)
{
    (void)state;
    static const int orders[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}};
    static norm_case c;
    static float x[ROWS * WIDTH], want_x[ROWS * WIDTH], want_y[ROWS * WIDTH];
    norm_fill(&c);
    norm_expected(&c, want_x, want_y);
    linear_case *t = plain_linear(WIDTH);
    for (int o = 0; o < 3; o++) {
        for (int threads = 1; threads <= 3; threads++) {
            const int64_t *parts[3];
            for (int p = 0; p < 3; p++)
                parts[p] = c.parts[orders[o][p]];
            shoal_backend *b = open_cpu(threads, o == 1 ? SHOAL_CPU_REF : shoal_cpu_best());
            memcpy(x, c.x, sizeof x);
            shoal_norm_args a = norm_args(&c, x, &t->act);
            a.parts = parts;
            a.part_count = 3;
            assert_int_equal(b->ops->norm(b, &a), SHOAL_OK);
            assert_memory_equal(x, want_x, sizeof x);
            for (int r = 0; r < ROWS; r++)
                check_act(&t->act, r, want_y + r * WIDTH);
            b->ops->close(b);
        }
    }
    case_free(t);
}

/* A branch already in fp32, rows picked in another order, and the first norm of a model. */
static void test_norm_forms(void **state)
{
    (void)state;
    static norm_case c;
    static float x[ROWS * WIDTH], branch[ROWS * WIDTH], want[WIDTH];
    static const int32_t pick[] = {4, 1};
    norm_fill(&c);
    ops_fill(branch, ROWS * WIDTH, 1.0f);
    linear_case *t = plain_linear(WIDTH);
    shoal_backend *b = open_cpu(2, shoal_cpu_best());

    memcpy(x, c.x, sizeof x);
    shoal_norm_args a = norm_args(&c, x, &t->act);
    assert_int_equal(b->ops->norm(b, &a), SHOAL_OK); /* nothing joins, not even the bias */
    assert_memory_equal(x, c.x, sizeof x);
    shoal_ops_ref.norm(x, WIDTH, c.weight, 1e-5f, want);
    check_act(&t->act, 0, want);

    a.branch = branch;
    a.branch_norm = NULL;
    a.pick = pick;
    a.picked = 2;
    assert_int_equal(b->ops->norm(b, &a), SHOAL_OK);
    for (int i = 0; i < ROWS * WIDTH; i++)
        assert_true(x[i] == c.x[i] + (branch[i] + c.bias[i % WIDTH]));
    for (int i = 0; i < 2; i++) {
        shoal_ops_ref.norm(x + pick[i] * WIDTH, WIDTH, c.weight, 1e-5f, want);
        check_act(&t->act, i, want);
    }

    memcpy(x, c.x, sizeof x);
    a.weight = NULL; /* the residual alone */
    a.bias = NULL;
    a.pick = NULL;
    assert_int_equal(b->ops->norm(b, &a), SHOAL_OK);
    for (int i = 0; i < ROWS * WIDTH; i++)
        assert_true(x[i] == c.x[i] + branch[i]);
    b->ops->close(b);
    case_free(t);
}

static void test_norm_bad_rows(void **state)
{
    (void)state;
    static norm_case c;
    static float x[ROWS * WIDTH], want_x[ROWS * WIDTH], want_y[ROWS * WIDTH];
    norm_fill(&c);
    norm_expected(&c, want_x, want_y);
    c.parts[0][1 * (WIDTH + 1) + WIDTH] = 2; /* row 1: bad on two ranks */
    c.parts[2][1 * (WIDTH + 1) + WIDTH] = 1;
    c.x[3 * WIDTH + 199] = NAN; /* row 3: the quantizer finds it */
    c.bad[1] = 10;
    const int64_t *parts[3] = {c.parts[0], c.parts[1], c.parts[2]};
    linear_case *t = plain_linear(WIDTH);
    shoal_backend *b = open_cpu(3, shoal_cpu_best());
    memcpy(x, c.x, sizeof x);
    shoal_norm_args a = norm_args(&c, x, &t->act);
    a.parts = parts;
    a.part_count = 3;
    assert_int_equal(b->ops->norm(b, &a), SHOAL_OK);
    static const int64_t bad[ROWS] = {0, 13, 0, 0, 0}, pending[ROWS] = {0, 0, 0, 1, 0};
    assert_memory_equal(c.bad, bad, sizeof bad);
    assert_memory_equal(c.pending, pending, sizeof pending);
    for (int r = 0; r < ROWS; r++) {
        if (r == 1) {
            for (int i = 0; i < WIDTH; i++)
                assert_int_equal(shoal_f32_bits(x[WIDTH + i]), 0);
        } else if (r != 3) {
            assert_memory_equal(x + r * WIDTH, want_x + r * WIDTH, WIDTH * sizeof *x);
            check_act(&t->act, r, want_y + r * WIDTH);
        }
    }
    b->ops->close(b);
    case_free(t);
}

/* ---- linears -------------------------------------------------------------------------------- */

static void test_whole_and_cut(void **state)
{
    (void)state;
    shoal_linear_spec spec = {.n = 130,
                              .k = 256,
                              .kind = SHOAL_WEIGHT_INT4,
                              .dtype = SHOAL_F16,
                              .group = 64,
                              .zero_const = 8,
                              .act = SHOAL_ACT_INT8,
                              .act_group = 128};
    shoal_backend *b = open_cpu(2, shoal_cpu_best());
    linear_case *t = case_create(spec, 3);
    float out[3][136], bias[130];
    ops_fill(bias, 130, 1.0f);
    t->linear.bias = bias;
    for (int capped = 0; capped < 2; capped++) {
        const shoal_whole_job job = {&t->linear, &t->act, out[0], 136, capped ? 2.0f : 0.0f};
        memset(out, 0x55, sizeof out);
        assert_int_equal(b->ops->whole(b, &job, 1, 3), SHOAL_OK);
        for (int r = 0; r < 3; r++) {
            for (int n = 0; n < 130; n++) {
                const float y = case_whole(t, r, n) + bias[n];
                assert_true(out[r][n] == (capped ? 2.0f * shoal_tanhf(y / 2.0f) : y));
            }
            assert_int_equal(shoal_f32_bits(out[r][130]), 0x55555555);
        }
    }
    case_free(t);

    spec.unit = 128;
    t = case_create(spec, 3);
    static int64_t slot[3][131];
    static const int64_t pending[3] = {0, 5, 0};
    const shoal_cut_args cut = {&t->linear, &t->act, 3, slot[0], pending};
    memset(slot, 0x55, sizeof slot);
    assert_int_equal(b->ops->cut(b, &cut), SHOAL_OK);
    for (int r = 0; r < 3; r++) {
        int64_t bad = pending[r];
        for (int n = 0; n < 130; n++)
            assert_int_equal(slot[r][n], case_cut(t, r, n, &bad));
        assert_int_equal(slot[r][130], bad);
    }
    case_free(t);
    b->ops->close(b);
}

static void test_quantize(void **state)
{
    (void)state;
    static float left[ROWS * 120], right[ROWS * 80], scratch[ROWS * WIDTH];
    const float *const sources[] = {left, NULL, right};
    static const int64_t widths[] = {120, 0, 80};
    int64_t pending[ROWS] = {0};
    ops_fill(left, ROWS * 120, 1.0f);
    ops_fill(right, ROWS * 80, 1.0f);
    right[2 * 80 + 7] = INFINITY;
    linear_case *t = plain_linear(WIDTH);
    shoal_backend *b = open_cpu(2, shoal_cpu_best());
    const shoal_quantize_args a = {.sources = sources,
                                   .widths = widths,
                                   .source_count = 3,
                                   .rows = ROWS,
                                   .scratch = scratch,
                                   .acts = &t->act,
                                   .act_count = 1,
                                   .pending = pending};
    assert_int_equal(b->ops->quantize(b, &a), SHOAL_OK);
    for (int r = 0; r < ROWS; r++) {
        const float *row = t->act.f32 + r * t->act.ld;
        assert_memory_equal(row, left + r * 120, 120 * sizeof *row);
        assert_memory_equal(row + 120, right + r * 80, 80 * sizeof *row);
        assert_int_equal(pending[r], r == 2);
    }
    b->ops->close(b);
    case_free(t);
}

/* ---- a layer -------------------------------------------------------------------------------- */

/* Nine rows of three sequences through q, k, v, attention, o, gate, up, down. */
#define L_ROWS   9
#define L_HIDDEN 192
#define L_DIM    64
#define L_HEADS  3
#define L_FFN    320

enum { Q, K, V, O, GATE, UP, DOWN, LINEARS };

typedef struct {
    linear_case *of[LINEARS];
    float weight[L_HIDDEN], x[L_ROWS * L_HIDDEN], cosine[L_ROWS * L_DIM / 2];
    float sine[L_ROWS * L_DIM / 2];
    ops_kv kv;
} layer;

/* Everything a step leaves behind. */
typedef struct {
    float x[L_ROWS * L_HIDDEN];
    int64_t slots[2][L_ROWS * (L_HIDDEN + 1)];
    float attended[L_ROWS * L_HEADS * L_DIM];
    int64_t bad[L_ROWS], pending[L_ROWS];
} outcome;

static linear_case *layer_linear(int64_t n, int64_t k, int64_t act_group, int64_t unit)
{
    const shoal_linear_spec spec = {.n = n,
                                    .k = k,
                                    .kind = SHOAL_WEIGHT_INT4,
                                    .dtype = SHOAL_F16,
                                    .group = 64,
                                    .zero_const = 8,
                                    .act = SHOAL_ACT_INT8,
                                    .act_group = act_group,
                                    .unit = unit};
    return case_create(spec, L_ROWS);
}

static void layer_create(layer *l, shoal_kv_type type)
{
    l->of[Q] = layer_linear(L_HEADS * L_DIM, L_HIDDEN, 128, 0);
    l->of[K] = layer_linear(L_DIM, L_HIDDEN, 128, 0);
    l->of[V] = layer_linear(L_DIM, L_HIDDEN, 128, 0);
    l->of[O] = layer_linear(L_HIDDEN, L_HEADS * L_DIM, L_DIM, L_DIM);
    l->of[GATE] = layer_linear(L_FFN, L_HIDDEN, 128, 0);
    l->of[UP] = layer_linear(L_FFN, L_HIDDEN, 128, 0);
    l->of[DOWN] = layer_linear(L_HIDDEN, L_FFN, 128, 128);
    ops_fill(l->weight, L_HIDDEN, 1.0f);
    ops_fill(l->x, L_ROWS * L_HIDDEN, 1.0f);
    for (int i = 0; i < L_ROWS * L_DIM / 2; i++)
        shoal_sincosf(ops_uniform(50.0f), &l->sine[i], &l->cosine[i]);
    l->kv = ops_kv_create(type, 1, L_DIM, 3 * 32);
}

static void layer_free(layer *l)
{
    for (int i = 0; i < LINEARS; i++)
        case_free(l->of[i]);
    ops_kv_free(&l->kv);
}

static void layer_norm(shoal_backend *b, const layer *l, outcome *out, const int64_t *part,
                       int which)
{
    const int64_t *parts[] = {part};
    const shoal_norm_args a = {.x = out->x,
                               .rows = L_ROWS,
                               .hidden = L_HIDDEN,
                               .parts = parts,
                               .part_count = part ? 1 : 0,
                               .bad = out->bad,
                               .weight = which < LINEARS ? l->weight : NULL,
                               .eps = 1e-5f,
                               .acts = which < LINEARS ? &l->of[which]->act : NULL,
                               .act_count = 1,
                               .pending = out->pending};
    assert_int_equal(b->ops->norm(b, &a), SHOAL_OK);
}

static void layer_attention(shoal_backend *b, const layer *l, outcome *out)
{
    static float q[L_ROWS * L_HEADS * L_DIM], k[L_ROWS * L_DIM], v[L_ROWS * L_DIM];
    const shoal_whole_job jobs[] = {
        {&l->of[Q]->linear, &l->of[Q]->act, q, L_HEADS * L_DIM, 0.0f},
        {&l->of[K]->linear, &l->of[Q]->act, k, L_DIM, 0.0f},
        {&l->of[V]->linear, &l->of[Q]->act, v, L_DIM, 0.0f},
    };
    assert_int_equal(b->ops->whole(b, jobs, 3, L_ROWS), SHOAL_OK);
    const shoal_sequence_rows sequences[] = {
        {5, 4, 0, l->kv.pages}, {0, 1, 0, l->kv.pages + 2}, {1, 4, 0, l->kv.pages + 4}};
    const shoal_attention_args a = {.q = q,
                                    .k = k,
                                    .v = v,
                                    .rows = L_ROWS,
                                    .heads = L_HEADS,
                                    .kv_heads = 1,
                                    .group = L_HEADS,
                                    .head_dim = L_DIM,
                                    .rope_dim = L_DIM,
                                    .cos = l->cosine,
                                    .sin = l->sine,
                                    .scale = 0.125f,
                                    .sequences = sequences,
                                    .sequence_count = 3,
                                    .kv = &l->kv.layer,
                                    .out = out->attended,
                                    .act = &l->of[O]->act,
                                    .pending = out->pending};
    assert_int_equal(b->ops->attention(b, &a), SHOAL_OK);
}

static void layer_cut(shoal_backend *b, const layer *l, outcome *out, int which, int64_t *slot)
{
    const shoal_cut_args a = {&l->of[which]->linear, &l->of[which]->act, L_ROWS, slot,
                              out->pending};
    assert_int_equal(b->ops->cut(b, &a), SHOAL_OK);
    memset(out->pending, 0, sizeof out->pending); /* the slot carries them now */
}

static void layer_run(layer *l, int threads, shoal_cpu_level cap, outcome *out)
{
    shoal_backend *b = open_cpu(threads, cap);
    for (int i = 0; i < LINEARS; i++) {
        l->of[i]->linear.decode = shoal_linear_pick(&l->of[i]->linear, cap, 1);
        l->of[i]->linear.prefill = shoal_linear_pick(&l->of[i]->linear, cap, 128);
    }
    memset(out, 0, sizeof *out);
    memcpy(out->x, l->x, sizeof out->x);
    memset(l->kv.layer.base, 0xff, l->kv.bytes);
    layer_norm(b, l, out, NULL, Q);
    layer_attention(b, l, out);
    layer_cut(b, l, out, O, out->slots[0]);
    layer_norm(b, l, out, out->slots[0], GATE);
    const shoal_gated_args gated = {.gate = &l->of[GATE]->linear,
                                    .up = &l->of[UP]->linear,
                                    .gate_act = &l->of[GATE]->act,
                                    .up_act = &l->of[GATE]->act,
                                    .rows = L_ROWS,
                                    .act = &l->of[DOWN]->act,
                                    .pending = out->pending};
    assert_int_equal(b->ops->gated(b, &gated), SHOAL_OK);
    layer_cut(b, l, out, DOWN, out->slots[1]);
    layer_norm(b, l, out, out->slots[1], LINEARS);
    b->ops->close(b);
}

static void test_layer(void **state)
{
    (void)state;
    static layer l;
    static outcome want, got;
    for (int type = SHOAL_KV_F32; type <= SHOAL_KV_INT8; type++) {
        layer_create(&l, (shoal_kv_type)type);
        layer_run(&l, 1, SHOAL_CPU_REF, &want);
        for (int i = 0; i < L_ROWS; i++)
            assert_int_equal(want.bad[i] + want.pending[i], 0);
        assert_memory_not_equal(want.x, l.x, sizeof want.x);
        for (int level = 0; level < SHOAL_CPU_LEVELS; level++) {
            static const int threads[] = {1, 2, 3, 7, 16};
            for (size_t t = 0; t < sizeof threads / sizeof threads[0]; t++) {
                if (!shoal_cpu_has((shoal_cpu_level)level))
                    continue;
                layer_run(&l, threads[t], (shoal_cpu_level)level, &got);
                assert_memory_equal(&got, &want, sizeof want);
            }
        }
        layer_free(&l);
    }
}

/* Rows 1 and 6 open the fall of their sequences, rows 1..4 and 5..8. */
static void check_fall(const outcome *got, const outcome *clean, int bad_row)
{
    const int first = bad_row == 1 ? 1 : 5, last = bad_row == 1 ? 4 : 8;
    assert_true(got->bad[bad_row] > 0);
    for (int i = 0; i < L_HIDDEN; i++) /* zeroed, so later layers stay finite */
        assert_true(isfinite(got->x[bad_row * L_HIDDEN + i]));
    for (int row = 0; row < L_ROWS; row++) {
        if (row >= bad_row && row >= first && row <= last)
            continue;
        assert_int_equal(got->bad[row], 0);
        assert_memory_equal(got->x + row * L_HIDDEN, clean->x + row * L_HIDDEN,
                            L_HIDDEN * sizeof *got->x);
    }
}

/* A row whose numbers cannot be held ends alone: rows of other sequences, and earlier rows of its
 * own, keep their bytes. */
static void test_layer_bad_row(void **state)
{
    (void)state;
    static layer l;
    static outcome clean, got;
    static const float poisons[] = {NAN, INFINITY, -INFINITY};
    layer_create(&l, SHOAL_KV_F16);
    layer_run(&l, 2, shoal_cpu_best(), &clean);
    for (size_t p = 0; p < sizeof poisons / sizeof poisons[0]; p++) {
        for (int bad_row = 1; bad_row <= 6; bad_row += 5) {
            float *at = &l.x[bad_row * L_HIDDEN + 100];
            const float saved = *at;
            *at = poisons[p];
            layer_run(&l, 2, shoal_cpu_best(), &got);
            *at = saved;
            check_fall(&got, &clean, bad_row);
        }
    }
    layer_free(&l);
}

/* ---- nothing to do -------------------------------------------------------------------------- */

static void test_empty(void **state)
{
    (void)state;
    shoal_backend *b = open_cpu(2, shoal_cpu_best());
    const shoal_linear_spec none = {.n = 0,
                                    .k = 64,
                                    .kind = SHOAL_WEIGHT_FLOAT,
                                    .dtype = SHOAL_F32,
                                    .act = SHOAL_ACT_F32,
                                    .act_group = 128};
    shoal_linear_spec no_input = none;
    no_input.n = 64;
    no_input.k = 0;
    no_input.unit = 64;
    linear_case *n0 = case_create(none, 2), *k0 = case_create(no_input, 2);
    int64_t slot[2 * 65], pending[2] = {0, 3};
    float x[2 * 64] = {0}, cell;
    memset(slot, 0x55, sizeof slot);

    const shoal_embed_args embed = {.rows = 0, .hidden = 64};
    const shoal_rope_args rope = {.rows = 2, .dim = 0, .factor = 1.0f};
    const shoal_norm_args norm = {.x = x, .rows = 0, .hidden = 64};
    const shoal_whole_job whole = {&n0->linear, &n0->act, &cell, 0, 0.0f};
    const shoal_attention_args attention = {.rows = 2, .head_dim = 64, .act = &k0->act};
    const shoal_cut_args cut = {&k0->linear, &k0->act, 2, slot, pending};
    const shoal_gated_args gated = {.gate = &n0->linear,
                                    .up = &n0->linear,
                                    .gate_act = &n0->act,
                                    .up_act = &n0->act,
                                    .rows = 2,
                                    .act = &k0->act,
                                    .pending = pending};
    const shoal_quantize_args quantize = {.rows = 2, .scratch = &cell, .acts = &k0->act};
    assert_int_equal(b->ops->embed(b, &embed), SHOAL_OK);
    assert_int_equal(b->ops->rope(b, &rope), SHOAL_OK);
    assert_int_equal(b->ops->norm(b, &norm), SHOAL_OK);
    assert_int_equal(b->ops->whole(b, &whole, 1, 2), SHOAL_OK);
    assert_int_equal(b->ops->attention(b, &attention), SHOAL_OK);
    assert_int_equal(b->ops->gated(b, &gated), SHOAL_OK);
    assert_int_equal(b->ops->quantize(b, &quantize), SHOAL_OK);
    assert_int_equal(b->ops->cut(b, &cut), SHOAL_OK);
    for (int r = 0; r < 2; r++)
        for (int i = 0; i <= 64; i++)
            assert_int_equal(slot[r * 65 + i], i == 64 ? pending[r] : 0);
    case_free(n0);
    case_free(k0);
    b->ops->close(b);
}

static void test_refusals(void **state)
{
    (void)state;
    shoal_backend *b = open_cpu(1, SHOAL_CPU_REF);
    const shoal_sequence_rows outside = {1, 2, 0, NULL};
    shoal_attention_args a = {.rows = 2, .head_dim = SHOAL_HEAD_DIM_MAX + 1};
    assert_int_equal(b->ops->attention(b, &a), SHOAL_ERR_DATA);
    a.head_dim = 64;
    a.sequences = &outside;
    a.sequence_count = 1;
    assert_int_equal(b->ops->attention(b, &a), SHOAL_ERR_INTERNAL);
    a.sequence_count = 0;
    a.heads = 4;
    a.group = 2;
    a.kv_heads = 1;
    assert_int_equal(b->ops->attention(b, &a), SHOAL_ERR_INTERNAL);
    b->ops->close(b);

    const shoal_backend_options options = {.threads = 2, .cap = SHOAL_CPU_REF};
    for (uint64_t n = 1; n <= 2; n++) {
        shoal_mem_fail_nth(n);
        assert_int_equal(shoal_backend_cpu_open(&options, &b), SHOAL_ERR_TEMPORARY);
    }
    shoal_mem_fail_nth(0);
}

static void test_page_bytes(void **state)
{
    (void)state;
    assert_int_equal(shoal_kv_head_bytes(SHOAL_KV_F32, 128), 2 * 16 * 128 * 4);
    assert_int_equal(shoal_kv_head_bytes(SHOAL_KV_F16, 128), 2 * 16 * 128 * 2);
    assert_int_equal(shoal_kv_head_bytes(SHOAL_KV_INT8, 128), 2 * 16 * 128 + 128);
    assert_int_equal(shoal_kv_head_bytes(SHOAL_KV_INT8, 1), 192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embed),         cmocka_unit_test(test_rope),
        cmocka_unit_test(test_norm),          cmocka_unit_test(test_norm_forms),
        cmocka_unit_test(test_norm_bad_rows), cmocka_unit_test(test_whole_and_cut),
        cmocka_unit_test(test_quantize),      cmocka_unit_test(test_layer),
        cmocka_unit_test(test_layer_bad_row), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_page_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
