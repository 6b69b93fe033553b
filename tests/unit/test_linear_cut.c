/* Linears whose inputs are cut between workers: the integers that every level gives for their units
 * (docs/arithmetic.md rule 4), from the canonical form, for sums of every size and any division. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kernels/linear_run.h"
#include "tests/unit/linear_case.h"
#include "tests/unit/linear_specs.h"

#include <cmocka.h>

/* The linears of a cut: o by heads, down by units, whose weight groups may straddle units. */
static shoal_linear_spec cut_spec(unsigned turn, int64_t unit, int64_t units, int64_t group)
{
    shoal_linear_spec s = vary(int4_g128, turn);
    s.kind = turn / 2 % 2 ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4;
    s.zero_const = s.kind == SHOAL_WEIGHT_INT4 ? 8 : 128;
    s.n = 65 + 2 * (int64_t)(turn % 4);
    s.unit = unit;
    s.k = unit * units - (turn % 3 == 2 && unit % 16 == 0 ? unit / 2 : 0); /* a short last unit */
    s.group = group ? group : s.k;
    s.act_group = unit % 128 == 0 ? 128 : unit;
    s.act = turn % 5 == 4 ? SHOAL_ACT_F32 : turn % 5 == 3 ? SHOAL_ACT_BF16 : SHOAL_ACT_INT8;
    return s;
}

/* The same with super-groups, which straddle units, too. */
static shoal_linear_spec with_supers(shoal_linear_spec s, unsigned turn)
{
    s.has_zeros = false;
    s.group = turn / 4 % 2 ? 16 : 32;
    s.super_group = 256;
    return s;
}

/* One level's rows: want [rows][n + 1], bad units last, whatever is pending comes on top. */
static void check_cut_level(const linear_case *t, shoal_pool *pool, shoal_cpu_level cap,
                            const int64_t *want)
{
    const int64_t n = t->spec.n, ld = n + 3;
    linear_case as = *t;
    as.linear.decode = shoal_linear_pick(&t->linear, cap, 1);
    as.linear.prefill = shoal_linear_pick(&t->linear, cap, 100);
    int64_t *slot = case_array(t->rows * ld, sizeof *slot), *pending = case_array(t->rows, 8);
    memset(slot, 0x5a, (size_t)(t->rows * ld) * 8);
    const int64_t guard = slot[0];
    for (int64_t r = 0; r < t->rows; r++)
        pending[r] = r;
    shoal_linear_cut(pool, &as.linear, &t->act, t->rows, slot, ld, pending);
    for (int64_t r = 0; r < t->rows; r++) {
        for (int64_t c = 0; c < n; c++)
            assert_int_equal(slot[r * ld + c], want[r * (n + 1) + c]);
        assert_int_equal(slot[r * ld + n], r + want[r * (n + 1) + n]);
        assert_int_equal(slot[r * ld + n + 1], guard);
        assert_int_equal(slot[r * ld + n + 2], guard);
    }
    free(slot);
    free(pending);
}

static void check_cut(const linear_case *t, shoal_pool *pool)
{
    const int64_t n = t->spec.n;
    int64_t *want = case_array(t->rows * (n + 1), sizeof *want);
    for (int64_t r = 0; r < t->rows; r++) {
        int64_t *row = want + r * (n + 1);
        for (int64_t c = 0; c < n; c++)
            row[c] = case_cut(t, r, c, &row[n]);
    }
    for (int level = 0; level < SHOAL_CPU_LEVELS; level++) {
        if (shoal_cpu_has((shoal_cpu_level)level))
            check_cut_level(t, pool, (shoal_cpu_level)level, want);
    }
    free(want);
}

static void test_cut_shapes(void **state)
{
    (void)state;
    static const int64_t units[] = {24, 40, 48, 64, 80, 96, 128, 192, 256};
    static const int64_t groups[] = {32, 64, 128, 0};
    shoal_pool *pool;
    case_must(shoal_pool_create(2, true, &pool));
    unsigned turn = 0;
    for (size_t u = 0; u < 9; u++) {
        for (size_t g = 0; g < 4; g++, turn++) {
            static const int64_t many[] = {16, 20, 32, 48, 52};
            const int64_t rows = turn % 2 ? many[turn / 2 % 5] : 1 + turn % 6;
            linear_case *t = case_create(cut_spec(turn, units[u], 3, groups[g]), rows);
            t->linear.bf16 = (shoal_bf16_kind)(turn / 5 % 3);
            check_cut(t, pool);
            case_free(t);
            if (groups[g] != 32 || units[u] > 192)
                continue;
            t = case_create(with_supers(cut_spec(turn, units[u], 7, 32), turn), rows);
            check_cut(t, pool);
            case_free(t);
        }
    }
    shoal_pool_destroy(pool);
}

/* Units far out of bounds in one row: counted there, absent from the sum, and nowhere else. */
static void check_bad_units(int64_t rows)
{
    shoal_pool *pool;
    case_must(shoal_pool_create(1, false, &pool));
    linear_case *t = case_create(cut_spec(0, 128, 3, 128), rows);
    for (int64_t i = 128; i < 256; i++)
        t->x[3 * t->spec.k + i] *= 0x1p60f;
    t->x[1 * t->spec.k + 300] = NAN;
    shoal_quantize_rows(SHOAL_CPU_REF, t->x, t->spec.k, 0, t->rows, &t->act, NULL);
    int64_t bad = 0;
    (void)case_cut(t, 1, 0, &bad);
    assert_int_equal(bad, 1);
    check_cut(t, pool);
    case_free(t);
    shoal_pool_destroy(pool);
}

static void test_cut_bad_units(void **state)
{
    (void)state;
    check_bad_units(5);
    check_bad_units(48);
}

/* Units that are odd multiples of powers of two: halves of the last bit of a sum, and of the words
 * that it is put together from; the largest, of scale 2^top, make the sum as large as that. */
static linear_case *case_of_powers(int64_t units, int64_t rows, int top)
{
    const shoal_linear_spec spec = {.kind = SHOAL_WEIGHT_INT4,
                                    .dtype = SHOAL_F32,
                                    .n = 66,
                                    .k = 8 * units,
                                    .group = 8,
                                    .zero_const = 8,
                                    .act = SHOAL_ACT_INT8,
                                    .act_group = 8,
                                    .unit = 8};
    linear_case *t = case_create(spec, rows);
    for (int64_t i = 0; i < spec.n * units; i++) {
        const int down = case_random() % 2 ? (int)(case_random() % 32) : 30 + top;
        t->block.scales[i] = ldexpf(case_random() % 2 ? 1.0f : -1.0f, top - down);
    }
    for (int64_t i = 0; i < rows * spec.k; i++) /* a scale of 1 for every activation group */
        t->x[i] = i % 8 == 0 ? 127.0f : (float)(int)(case_random() % 255) - 127.0f;
    case_must(shoal_linear_pack(&t->linear, 0, &t->block));
    shoal_quantize_rows(SHOAL_CPU_REF, t->x, spec.k, 0, rows, &t->act, NULL);
    return t;
}

static void test_cut_ties(void **state)
{
    (void)state;
    static const struct {
        int64_t units;
        int top;
    } sums[] = {{7, -1}, {7, 0}, {7, 9}, {7, -28}, {100, -8}, {510, -8}, {511, -7}, {512, -7}};
    shoal_pool *pool;
    case_must(shoal_pool_create(1, false, &pool));
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        for (int64_t rows = 3; rows <= 33; rows += 10) {
            linear_case *t = case_of_powers(sums[i].units, rows, sums[i].top);
            check_cut(t, pool);
            case_free(t);
        }
    }
    shoal_pool_destroy(pool);
}

/* All inputs and codes at their ends and of one sign, so that sums are as large as a bound from the
 * scales can say, in the part of a weight that `part` names. */
typedef enum { SCALES, MINS, PARTS } large_part;

static linear_case *case_of_large(shoal_linear_spec s, large_part part, int exponent)
{
    const float large = ldexpf(1.0f, exponent), small = 0x1p-40f;
    linear_case *t = case_create(s, 19);
    shoal_canonical *b = &t->block;
    const uint8_t code = s.has_zeros ? 0 : s.kind == SHOAL_WEIGHT_INT4 ? 15 : 255;
    const int8_t step = s.has_mins ? 127 : -128;
    memset(b->codes, code, (size_t)(s.n * s.k));
    for (int64_t i = 0; i < s.n * b->groups; i++) {
        b->scales[i] = part == SCALES ? large : small;
        if (b->zeros)
            b->zeros[i] = s.kind == SHOAL_WEIGHT_INT4 ? 16 : 256;
        if (b->mins)
            b->mins[i] = part == MINS ? large : small;
        if (b->steps)
            b->steps[i] = step;
        if (b->min_steps)
            b->min_steps[i] = step;
    }
    for (int64_t i = 0; i < s.n * b->supers; i++) {
        b->super_scales[i] = part == SCALES ? large : small;
        if (b->super_mins)
            b->super_mins[i] = part == MINS ? large : small;
    }
    for (int64_t i = 0; b->supers && i < s.n * b->groups; i++) {
        b->scales[i] = b->super_scales[0] * (float)step;
        if (b->mins)
            b->mins[i] = b->super_mins[0] * (float)step;
    }
    for (int64_t i = 0; i < t->rows * s.k; i++) /* a scale of 1 */
        t->x[i] = 127.0f;
    case_must(shoal_linear_pack(&t->linear, 0, b));
    shoal_quantize_rows(SHOAL_CPU_REF, t->x, s.k, 0, t->rows, &t->act, NULL);
    return t;
}

/* From sums that are small to units that are bad, past every bound in between. */
static void test_cut_large_sums(void **state)
{
    (void)state;
    shoal_pool *pool;
    case_must(shoal_pool_create(1, false, &pool));
    for (int form = 0; form < 16; form++) {
        shoal_linear_spec s = int4_g128;
        s.kind = form & 1 ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4;
        s.dtype = SHOAL_F32;
        s.has_zeros = (form & 2) != 0 && !(form & 8);
        s.has_mins = (form & 4) != 0;
        s.super_group = form & 8 ? 256 : 0;
        s.zero_const = 0;
        s.n = 66;
        s.group = 32;
        s.unit = s.act_group = 32;
        s.k = 7 * s.unit;
        for (large_part part = SCALES; part < PARTS; part++) {
            for (int exponent = -14; part == SCALES || s.has_mins ? exponent < 12 : false;
                 exponent++) {
                linear_case *t = case_of_large(s, part, exponent);
                check_cut(t, pool);
                case_free(t);
            }
        }
    }
    shoal_pool_destroy(pool);
}

/* The piece of a case that a worker with units [from, to) holds. */
static linear_case *cut_piece_of(const linear_case *t, int64_t from, int64_t to)
{
    shoal_linear_spec s = t->spec;
    s.k_begin = shoal_min_i64(from * s.unit, t->spec.k);
    s.k = shoal_min_i64(to * s.unit, t->spec.k) - s.k_begin;
    linear_case *p = case_create(s, t->rows);
    for (int64_t n = 0; n < s.n; n++) {
        for (int64_t k = 0; k < s.k; k++)
            p->block.codes[n * s.k + k] = t->block.codes[n * t->spec.k + s.k_begin + k];
        for (int64_t g = 0; g < p->block.groups; g++) {
            const int64_t to_cell = n * p->block.groups + g;
            const int64_t cell = n * t->block.groups + s.k_begin / s.group + g;
            p->block.scales[to_cell] = t->block.scales[cell];
            if (p->block.zeros)
                p->block.zeros[to_cell] = t->block.zeros[cell];
            if (p->block.mins)
                p->block.mins[to_cell] = t->block.mins[cell];
            if (p->block.steps)
                p->block.steps[to_cell] = t->block.steps[cell];
            if (p->block.min_steps)
                p->block.min_steps[to_cell] = t->block.min_steps[cell];
        }
        for (int64_t g = 0; g < p->block.supers; g++) {
            const int64_t to_cell = n * p->block.supers + g;
            const int64_t cell = n * t->block.supers + s.k_begin / s.super_group + g;
            p->block.super_scales[to_cell] = t->block.super_scales[cell];
            if (p->block.super_mins)
                p->block.super_mins[to_cell] = t->block.super_mins[cell];
        }
    }
    for (int64_t r = 0; r < t->rows; r++)
        memcpy(p->x + r * s.k, t->x + r * t->spec.k + s.k_begin, (size_t)s.k * 4);
    case_must(shoal_linear_pack(&p->linear, 0, &p->block));
    shoal_quantize_rows(SHOAL_CPU_AMX, p->x, s.k, 0, p->rows, &p->act, NULL);
    return p;
}

/* Any division of the units, empty parts included, adds up to the same integers. */
static void check_division(const linear_case *t, shoal_pool *pool, int64_t units, int parts)
{
    const int64_t n = t->spec.n, cells = t->rows * (n + 1);
    int64_t *total = case_array(cells, 8), *slot = case_array(cells, 8),
            *whole = case_array(cells, 8);
    shoal_linear_cut(pool, &t->linear, &t->act, t->rows, whole, n + 1, NULL);
    int64_t from = 0;
    for (int i = 0; i < parts; i++) {
        const int64_t to = i + 1 == parts ? units : from + case_random() % (units - from + 1);
        linear_case *p = cut_piece_of(t, from, to);
        shoal_linear_cut(pool, &p->linear, &p->act, p->rows, slot, n + 1, NULL);
        for (int64_t c = 0; c < cells; c++)
            total[c] += slot[c];
        case_free(p);
        from = to;
    }
    assert_memory_equal(total, whole, (size_t)cells * 8);
    free(total);
    free(slot);
    free(whole);
}

static void test_cut_divisions(void **state)
{
    (void)state;
    static const int64_t shapes[][2] = {{64, 128},  {40, 32}, {48, 64},
                                        {256, 128}, {96, 0},  {80, 128}};
    shoal_pool *pool;
    case_must(shoal_pool_create(1, false, &pool));
    for (unsigned i = 0; i < 6; i++) {
        linear_case *t = case_create(cut_spec(i, shapes[i][0], 7, shapes[i][1]), 3);
        for (int parts = 1; parts <= 9; parts++)
            check_division(t, pool, 7, parts);
        case_free(t);
        t = case_create(with_supers(cut_spec(i, shapes[i][0], 7, 32), 3 * i), 3);
        for (int parts = 1; parts <= 5; parts++)
            check_division(t, pool, 7, parts);
        case_free(t);
    }
    shoal_pool_destroy(pool);
}

/* Inputs that begin within a unit. */
static void test_cut_refused(void **state)
{
    shoal_linear_spec cut = cut_spec(0, 64, 2, 128);
    shoal_linear_size size;
    (void)state;
    assert_int_equal(shoal_linear_measure(&cut, &size), SHOAL_OK);
    cut.k_begin = 32;
    assert_int_equal(shoal_linear_measure(&cut, &size), SHOAL_ERR_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_shapes),    cmocka_unit_test(test_cut_bad_units),
        cmocka_unit_test(test_cut_ties),      cmocka_unit_test(test_cut_large_sums),
        cmocka_unit_test(test_cut_divisions), cmocka_unit_test(test_cut_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
