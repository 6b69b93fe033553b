/* Layout cpu-panel64/1: what is packed comes back, sizes follow the formulas that the plan uses,
 * every byte is where the drawing in kernels/linear.h puts it, and wrong blocks are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/unit/linear_case.h"

#include <cmocka.h>

static shoal_linear_spec spec_of(unsigned turn)
{
    static const int64_t ns[] = {1, 63, 64, 65, 200}, ks[] = {1, 8, 12, 130, 384};
    static const int64_t groups[] = {32, 128, 0};
    static const shoal_dtype types[] = {SHOAL_F16, SHOAL_BF16, SHOAL_F32};
    shoal_linear_spec s = {.kind = (shoal_weight_kind)(turn % 3),
                           .n = ns[turn % 5],
                           .k = ks[turn / 5 % 5],
                           .group = groups[turn / 2 % 3],
                           .dtype = types[turn / 3 % 3],
                           .has_zeros = turn % 2,
                           .zero_const = 8,
                           .has_mins = turn % 4 == 1,
                           .act = SHOAL_ACT_INT8,
                           .act_group = 128};
    if (!s.group)
        s.group = s.k;
    if (s.kind == SHOAL_WEIGHT_FLOAT)
        s.has_zeros = s.has_mins = false;
    return s;
}

/* The same specs, some of them with super-groups. */
static shoal_linear_spec super_spec_of(unsigned turn)
{
    shoal_linear_spec s = spec_of(turn);
    if (s.kind == SHOAL_WEIGHT_FLOAT || turn % 4 < 2)
        return s;
    s.has_zeros = false;
    s.has_mins = turn % 4 == 2;
    s.group = turn % 8 < 4 ? 16 : 32;
    s.super_group = turn % 3 ? 256 : 64;
    return s;
}

static shoal_canonical empty_like(const shoal_canonical *b)
{
    shoal_canonical e = *b;
    const int64_t cells = b->n * b->groups;
    e.codes = b->codes ? case_array(b->n * b->k, 1) : NULL;
    e.zeros = b->zeros ? case_array(cells, 2) : NULL;
    e.scales = b->scales ? case_array(cells, 4) : NULL;
    e.mins = b->mins ? case_array(cells, 4) : NULL;
    e.super_scales = b->supers ? case_array(b->n * b->supers, 4) : NULL;
    e.super_mins = b->super_mins ? case_array(b->n * b->supers, 4) : NULL;
    e.steps = b->steps ? case_array(cells, 1) : NULL;
    e.min_steps = b->min_steps ? case_array(cells, 1) : NULL;
    e.dense = b->dense ? case_array(b->n * b->k, 4) : NULL;
    return e;
}

static void free_block(shoal_canonical *b)
{
    free(b->codes);
    free(b->zeros);
    free(b->scales);
    free(b->mins);
    free(b->dense);
    free(b->super_scales);
    free(b->super_mins);
    free(b->steps);
    free(b->min_steps);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < 150; turn++) {
        linear_case *t = case_create(super_spec_of(turn), 1);
        const shoal_canonical *b = &t->block;
        shoal_canonical back = empty_like(b);
        const size_t cells = (size_t)(b->n * b->groups), all = (size_t)(b->n * b->k);
        assert_int_equal(shoal_linear_unpack(&t->linear, 0, &back), SHOAL_OK);
        if (b->dense)
            assert_memory_equal(back.dense, b->dense, all * shoal_dtype_bytes(b->dtype));
        else
            assert_memory_equal(back.codes, b->codes, all);
        if (b->scales)
            assert_memory_equal(back.scales, b->scales, cells * 4);
        if (b->zeros)
            assert_memory_equal(back.zeros, b->zeros, cells * 2);
        if (b->mins)
            assert_memory_equal(back.mins, b->mins, cells * 4);
        if (b->supers)
            assert_memory_equal(back.super_scales, b->super_scales, (size_t)(b->n * b->supers) * 4);
        if (b->super_mins)
            assert_memory_equal(back.super_mins, b->super_mins, (size_t)(b->n * b->supers) * 4);
        if (b->steps)
            assert_memory_equal(back.steps, b->steps, cells);
        if (b->min_steps)
            assert_memory_equal(back.min_steps, b->min_steps, cells);
        for (int i = 0; i < 50; i++) {
            const int64_t n = case_random() % b->n, k = case_random() % b->k;
            assert_int_equal(shoal_f32_bits(shoal_linear_weight(&t->linear, n, k)),
                             shoal_f32_bits(case_weight(t, n, k)));
        }
        free_block(&back);
        case_free(t);
    }
}

/* Packing panel by panel from separate blocks gives the bytes of packing all at once. */
static void test_pack_in_parts(void **state)
{
    (void)state;
    for (unsigned turn = 4; turn < 150; turn += 5) { /* n = 200 */
        linear_case *t = case_create(spec_of(turn), 1);
        shoal_arena *arena;
        shoal_linear parts;
        case_must(shoal_arena_create(SHOAL_MEM_WEIGHTS, &arena));
        case_must(shoal_linear_create(&t->spec, SHOAL_CPU_REF, arena, &parts));
        for (int64_t n0 = 0; n0 < 200; n0 += 128) {
            shoal_canonical b = t->block;
            const size_t element = shoal_dtype_bytes(b.dtype);
            b.n = n0 ? 72 : 128;
            b.codes = b.codes ? b.codes + n0 * b.k : NULL;
            b.scales = b.scales ? b.scales + n0 * b.groups : NULL;
            b.zeros = b.zeros ? b.zeros + n0 * b.groups : NULL;
            b.mins = b.mins ? b.mins + n0 * b.groups : NULL;
            b.dense = b.dense ? (uint8_t *)b.dense + (size_t)(n0 * b.k) * element : NULL;
            assert_int_equal(shoal_linear_pack(&parts, n0, &b), SHOAL_OK);
        }
        assert_memory_equal(parts.codes, t->linear.codes, parts.size.codes_bytes);
        if (parts.size.scales_bytes)
            assert_memory_equal(parts.scales, t->linear.scales, parts.size.scales_bytes);
        if (parts.size.zeros_bytes)
            assert_memory_equal(parts.zeros, t->linear.zeros, parts.size.zeros_bytes);
        if (parts.size.mins_bytes)
            assert_memory_equal(parts.mins, t->linear.mins, parts.size.mins_bytes);
        shoal_arena_destroy(arena);
        case_free(t);
    }
}

/* The drawing, byte by byte. */
static void test_places(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < 75; turn++) {
        linear_case *t = case_create(spec_of(turn), 1);
        const shoal_linear *w = &t->linear;
        for (int64_t n = 0; n < w->size.panels * 64; n++) {
            const int64_t panel = n / 64, tile = n % 64 / 16, c = n % 16;
            for (int64_t k = 0; k < w->size.k_padded && !t->block.dense; k++) {
                const bool real = n < t->spec.n && k < t->spec.k;
                const unsigned u = real ? t->block.codes[n * t->spec.k + k] : 0;
                if (t->spec.kind == SHOAL_WEIGHT_INT4) {
                    const uint8_t *step = w->codes + (panel * w->size.k_padded / 8 + k / 8) * 256;
                    const unsigned pair = step[tile * 64 + c * 4 + k % 4];
                    assert_int_equal(k % 8 < 4 ? pair & 15 : pair >> 4, u);
                } else {
                    const uint8_t *step = w->codes + (panel * w->size.k_padded / 4 + k / 4) * 256;
                    const int t_code = (int8_t)step[tile * 64 + c * 4 + k % 4];
                    assert_int_equal(t_code, real ? (int)u - 128 : 0);
                }
            }
            for (int64_t g = 0; g < w->size.groups && n >= t->spec.n; g++) {
                const size_t cell = (size_t)((panel * w->size.groups + g) * 64 + n % 64);
                assert_int_equal(shoal_f32_bits(shoal_load_f32(w->scales, w->spec.dtype, cell)), 0);
            }
        }
        case_free(t);
    }
}

/* Bytes as docs say: a pure formula, and what the arena was really asked for. */
static void test_sizes(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < 150; turn++) {
        const shoal_linear_spec s = spec_of(turn);
        shoal_linear_size size;
        case_must(shoal_linear_measure(&s, &size));
        const uint64_t panels = (uint64_t)(s.n + 63) / 64, k = (uint64_t)s.k;
        const uint64_t element = shoal_dtype_bytes(s.dtype);
        const uint64_t groups = (k + (uint64_t)s.group - 1) / (uint64_t)s.group;
        const bool dense = s.kind == SHOAL_WEIGHT_FLOAT, int4 = s.kind == SHOAL_WEIGHT_INT4;
        assert_int_equal(size.codes_bytes, panels * (dense  ? k * 64 * element
                                                     : int4 ? (k + 7) / 8 * 256
                                                            : (k + 3) / 4 * 256));
        assert_int_equal(size.scales_bytes, dense ? 0 : panels * groups * 64 * element);
        assert_int_equal(size.zeros_bytes, s.has_zeros ? panels * groups * 64 * (int4 ? 1 : 2) : 0);
        assert_int_equal(size.mins_bytes, s.has_mins ? panels * groups * 64 * 4 : 0);
        assert_int_equal(size.segments_bytes % 64, 0);
        assert_int_equal(size.bytes, size.codes_bytes + size.scales_bytes + size.zeros_bytes +
                                         size.mins_bytes + size.segments_bytes);
        shoal_arena *arena;
        shoal_linear w;
        shoal_act act;
        case_must(shoal_arena_create(SHOAL_MEM_WEIGHTS, &arena));
        case_must(shoal_linear_create(&s, SHOAL_CPU_REF, arena, &w));
        assert_int_equal(shoal_arena_bytes(arena), size.bytes);
        case_must(shoal_act_create(&w, NULL, 7, arena, &act));
        assert_int_equal(shoal_arena_bytes(arena), size.bytes + shoal_act_bytes(&w, 7));
        shoal_arena_destroy(arena);
    }
}

/* A linear of this spec has these segments; returns its sizes. */
static shoal_linear_size check_segments(const shoal_linear_spec *s, const shoal_segment *want,
                                        int64_t count)
{
    shoal_arena *arena;
    shoal_linear w;
    case_must(shoal_arena_create(SHOAL_MEM_WEIGHTS, &arena));
    case_must(shoal_linear_create(s, SHOAL_CPU_REF, arena, &w));
    assert_int_equal(shoal_arena_bytes(arena), w.size.bytes);
    assert_int_equal(w.size.segments, count);
    for (int64_t i = 0; i < count; i++) {
        const shoal_segment *got = &w.segments[i];
        assert_int_equal(got->k, want[i].k);
        assert_int_equal(got->count, want[i].count);
        assert_int_equal(got->act_group, want[i].act_group);
        assert_int_equal(got->weight_group, want[i].weight_group);
        assert_int_equal(got->scale_group, want[i].scale_group);
        assert_int_equal(got->unit, want[i].unit);
        assert_int_equal(got->run, want[i].run);
        assert_int_equal(got->ends_run, want[i].ends_run);
    }
    shoal_arena_destroy(arena);
    return w.size;
}

/* A cut that starts inside a weight group and ends in a short unit. */
static void test_segments(void **state)
{
    (void)state;
    const shoal_linear_spec s = {.kind = SHOAL_WEIGHT_INT4,
                                 .dtype = SHOAL_F16,
                                 .n = 64,
                                 .k = 192,
                                 .k_begin = 192,
                                 .group = 128,
                                 .zero_const = 8,
                                 .act = SHOAL_ACT_INT8,
                                 .act_group = 96,
                                 .unit = 96};
    static const shoal_segment want[] = {
        {0, 64, 0, 0, 0, 0, 0, true}, {64, 32, 0, 1, 1, 0, 1, true}, {96, 96, 1, 1, 1, 1, 2, true}};
    const shoal_linear_size size = check_segments(&s, want, 3);
    assert_int_equal(size.groups, 2);
    assert_int_equal(size.act_groups, 2);
    assert_int_equal(size.units, 2);
}

/* The same with super-groups: a run ends with its activation group, super-group or unit. */
static void test_runs(void **state)
{
    (void)state;
    const shoal_linear_spec s = {.kind = SHOAL_WEIGHT_INT8,
                                 .dtype = SHOAL_F16,
                                 .n = 64,
                                 .k = 144,
                                 .k_begin = 48,
                                 .group = 32,
                                 .super_group = 128,
                                 .zero_const = 32,
                                 .has_mins = true,
                                 .act = SHOAL_ACT_INT8,
                                 .act_group = 48,
                                 .unit = 48};
    static const shoal_segment want[] = {
        {0, 16, 0, 0, 0, 0, 0, false},  {16, 32, 0, 1, 0, 0, 0, true},
        {48, 32, 1, 2, 0, 1, 2, true},  {80, 16, 1, 3, 1, 1, 3, true},
        {96, 16, 2, 3, 1, 2, 4, false}, {112, 32, 2, 4, 1, 2, 4, true}};
    const shoal_linear_size size = check_segments(&s, want, 6);
    assert_int_equal(size.groups, 5);
    assert_int_equal(size.supers, 2);
    assert_int_equal(size.scales_bytes, 2 * 64 * 2);
    assert_int_equal(size.mins_bytes, 2 * 64 * 4);
    assert_int_equal(size.steps_bytes, 5 * 64);
    assert_int_equal(size.min_steps_bytes, 5 * 64);
}

/* Nothing of a linear on this rank: no bytes but the calls work. */
static void test_empty(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        for (int which = 0; which < 2; which++) {
            shoal_linear_spec s = spec_of((unsigned)kind);
            s.unit = 128;
            s.k_begin = which ? 0 : 1000;
            s.n = which ? 0 : 100;
            s.k = which ? 128 : 0;
            s.group = 128;
            linear_case *t = case_create(s, 2);
            assert_int_equal(t->linear.size.codes_bytes, 0);
            assert_int_equal(t->linear.size.units, which);
            assert_int_equal(shoal_linear_unpack(&t->linear, 0, &t->block), SHOAL_OK);
            case_free(t);
        }
    }
}

static void refuse(linear_case *t, const shoal_canonical *b, int64_t n_begin)
{
    shoal_error_clear();
    assert_int_equal(shoal_linear_pack(&t->linear, n_begin, b), SHOAL_ERR_DATA);
    assert_true(strlen(shoal_error_text()) > 10);
}

static void test_refused_blocks(void **state)
{
    (void)state;
    shoal_linear_spec s = spec_of(0);
    s.n = 130;
    s.k = 16;
    s.group = 16;
    linear_case *t = case_create(s, 1);
    shoal_canonical b = t->block;
    b.k = 15;
    refuse(t, &b, 0);
    b = t->block;
    b.n = 65;
    refuse(t, &b, 0); /* ends inside a panel */
    refuse(t, &b, 64);
    refuse(t, &b, 1);
    refuse(t, &b, -64);
    b = t->block;
    b.zero_const = 7;
    refuse(t, &b, 0);
    b = t->block;
    b.mins = b.scales;
    refuse(t, &b, 0);
    b = t->block;
    b.kind = SHOAL_WEIGHT_INT8;
    refuse(t, &b, 0);

    t->block.codes[5] = 16;
    refuse(t, &t->block, 0);
    t->block.codes[5] = 15;
    t->block.scales[1] = 1.0f + 0x1p-20f; /* no fp16 number */
    refuse(t, &t->block, 0);
    t->block.scales[1] = NAN;
    refuse(t, &t->block, 0);
    t->block.scales[1] = INFINITY;
    refuse(t, &t->block, 0);
    t->block.scales[1] = 1.0f;
    assert_int_equal(shoal_linear_pack(&t->linear, 0, &t->block), SHOAL_OK);
    case_free(t);

    s.has_mins = true;
    t = case_create(s, 1);
    const float minimum = t->block.mins[1];
    t->block.mins[1] = NAN;
    refuse(t, &t->block, 0);
    t->block.mins[1] = -INFINITY;
    refuse(t, &t->block, 0);
    t->block.mins[1] = minimum;
    assert_int_equal(shoal_linear_pack(&t->linear, 0, &t->block), SHOAL_OK);
    case_free(t);
}

static void test_layout_names(void **state)
{
    (void)state;
    shoal_linear_spec s = {.kind = SHOAL_WEIGHT_INT4, .dtype = SHOAL_F16};
    assert_string_equal(shoal_linear_layout(&s), "cpu-panel64-int4-f16/1");
    s.kind = SHOAL_WEIGHT_INT8;
    s.dtype = SHOAL_F32;
    assert_string_equal(shoal_linear_layout(&s), "cpu-panel64-int8-f32/1");
    s.kind = SHOAL_WEIGHT_FLOAT;
    s.dtype = SHOAL_BF16;
    assert_string_equal(shoal_linear_layout(&s), "cpu-panel64-bf16/1");
}

/* One act serves linears that cut K in the same places. */
static void test_act_shared(void **state)
{
    (void)state;
    shoal_linear_spec a = spec_of(0), b = a;
    a.k = b.k = 384;
    b.n = 7;
    a.group = b.group = 128;
    linear_case *x = case_create(a, 1), *y = case_create(b, 1);
    assert_true(shoal_act_shared(&x->linear, &y->linear));
    case_free(y);
    b.group = 32; /* other segments */
    y = case_create(b, 1);
    assert_false(shoal_act_shared(&x->linear, &y->linear));
    case_free(y);
    b.act = SHOAL_ACT_F32;
    y = case_create(b, 1);
    assert_false(shoal_act_shared(&x->linear, &y->linear));
    case_free(x);
    b.group = 128;
    x = case_create(b, 1);
    assert_true(shoal_act_shared(&x->linear, &y->linear)); /* fp32 rows have no segments */
    case_free(y);
    case_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_pack_in_parts),
        cmocka_unit_test(test_places),       cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_segments),     cmocka_unit_test(test_runs),
        cmocka_unit_test(test_empty),        cmocka_unit_test(test_refused_blocks),
        cmocka_unit_test(test_layout_names), cmocka_unit_test(test_act_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
