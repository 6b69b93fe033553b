/* GPTQ of any shape against codes that are known: random rectangles, the rules for zeros of v1,
 * what is refused, memory that runs out; and the packers of this test against golden CRCs. */
#include <math.h>

#include "tests/unit/dialect_case.h"

typedef struct {
    made_linear made;
    bool g_idx; /* stored */
    shoal_zeros_rule zeros;
} gptq_linear;

static void pack_codes(const made_linear *l, uint32_t *words)
{
    for (int64_t k = 0; k < l->k; k++)
        for (int64_t n = 0; n < l->n; n++)
            put_field(words + n, l->n, k, l->bits, l->u[k * l->n + n]);
}

static void pack_zeros(const made_linear *l, shoal_zeros_rule rule, uint32_t *words)
{
    const int64_t row = (l->n * l->bits + 31) / 32;
    const unsigned less = rule == SHOAL_ZEROS_PLAIN ? 0 : 1;
    for (int64_t g = 0; g < l->groups; g++)
        for (int64_t n = 0; n < l->n; n++)
            put_field(words + g * row, 1, n, l->bits,
                      ((unsigned)l->z[g * l->n + n] - less) & ((1u << l->bits) - 1));
}

/* Fill the linear and add its tensors. */
static void linear_make(gptq_linear *stored, maker *m)
{
    made_linear *l = &stored->made;
    const int64_t words = (l->k * l->bits + 31) / 32, zero_words = (l->n * l->bits + 31) / 32;
    l->first_zero = stored->zeros == SHOAL_ZEROS_PLAIN ? 0 : 1;
    made_fill(l, m);
    pack_codes(l, maker_add(m, "P.qweight", SHOAL_I32, words, l->n));
    pack_zeros(l, stored->zeros, maker_add(m, "P.qzeros", SHOAL_I32, l->groups, zero_words));
    void *scales = maker_add(m, "P.scales", l->scale_dtype, l->groups, l->n);
    for (int64_t i = 0; i < l->groups * l->n; i++)
        maker_store(scales, l->scale_dtype, (size_t)i, l->s[i]);
    if (stored->g_idx)
        memcpy(maker_add(m, "P.g_idx", SHOAL_I32, l->k, 0), l->idx, (size_t)l->k * sizeof *l->idx);
}

static const char *config_text(const gptq_linear *stored)
{
    static char text[256];
    const made_linear *l = &stored->made;
    snprintf(text, sizeof text,
             "{\"quant_method\":\"gptq\",\"bits\":%d,\"group_size\":%d,\"sym\":%s,"
             "\"desc_act\":%s,\"checkpoint_format\":\"%s\"%s}",
             l->bits, (int)l->group, l->symmetric ? "true" : "false",
             l->act_order ? "true" : "false",
             stored->zeros == SHOAL_ZEROS_PLAIN ? "gptq_v2" : "gptq",
             stored->zeros == SHOAL_ZEROS_MINUS_ONE_WORD
                 ? ",\"meta\":{\"quantizer\":[\"gptqmodel:1.4.0\"]}"
                 : "");
    return text;
}

static void any_shape(void **state)
{
    static const int widths[] = {2, 3, 4, 8};
    static const int64_t groups[] = {8, 16, 32, 40, 64, 128, -1};
    static const shoal_dtype scale_types[] = {SHOAL_F16, SHOAL_BF16, SHOAL_F32};
    maker m = {.seed = 7};
    (void)state;
    for (int round = 0; round < 160; round++) {
        gptq_linear l = {.made = {.bits = widths[round % 4]}};
        l.made.symmetric = maker_below(&m, 2);
        l.made.act_order = maker_below(&m, 3) == 0;
        l.g_idx = l.made.act_order || maker_below(&m, 2);
        l.zeros = (shoal_zeros_rule)maker_below(&m, l.made.bits == 3 ? 2 : 3);
        l.made.scale_dtype = scale_types[maker_below(&m, 3)];
        l.made.n = 1 + maker_below(&m, 150);
        l.made.k = 1 + maker_below(&m, 300);
        l.made.group = groups[maker_below(&m, l.made.act_order ? 6 : 7)];
        linear_make(&l, &m);
        check_linear(&l.made, config_text(&l), true, &m);
    }
}

/* The packers above make the words that the libraries make. */
static void packers_match_golden_crcs(void **state)
{
    static uint8_t u4[CRC_K * CRC_N], u8[CRC_K * CRC_N], u3[CRC_K * CRC_N];
    static uint32_t words[CRC_K * CRC_N];
    static int z[CRC_G * CRC_N];
    (void)state;
    crc_codes(4, u4);
    crc_codes(8, u8);
    crc_zeros(z);
    for (int i = 0; i < CRC_K * CRC_N; i++)
        u3[i] = u4[i] & 7;
    const struct {
        int bits;
        uint8_t *u;
        size_t rows;
        uint32_t crc;
    } codes[] = {{4, u4, 32, 0xbfbf4931u}, {8, u8, 64, 0x10cf7b2cu}, {3, u3, 24, 0x1dbc1764u}};
    for (size_t i = 0; i < 3; i++) {
        const made_linear l = {.bits = codes[i].bits, .n = CRC_N, .k = CRC_K, .u = codes[i].u};
        memset(words, 0, sizeof words);
        pack_codes(&l, words);
        assert_int_equal(crc32_of(words, codes[i].rows * CRC_N * 4), codes[i].crc);
    }
    const made_linear l = {.bits = 4, .n = CRC_N, .groups = CRC_G, .z = z};
    memset(words, 0, sizeof words);
    pack_zeros(&l, SHOAL_ZEROS_PLAIN, words);
    assert_int_equal(crc32_of(words, CRC_G * CRC_N / 2), 0xc8d96b06u);
    memset(words, 0, sizeof words);
    pack_zeros(&l, SHOAL_ZEROS_MINUS_ONE, words);
    assert_int_equal(crc32_of(words, CRC_G * CRC_N / 2), 0x27026f15u);
}

/* z = [8,8,0,8,8,8,8,8] as v1 writers stored it, and what each reader rule makes of it. */
static void zero_of_v1(void **state)
{
    static const struct {
        shoal_zeros_rule rule;
        uint32_t word;
        int16_t zeros[8];
    } cases[] = {
        {SHOAL_ZEROS_MINUS_ONE, 0x77777f77u, {8, 8, 0, 8, 8, 8, 8, 8}},
        {SHOAL_ZEROS_MINUS_ONE, 0x77776f77u, {8, 8, 0, 7, 8, 8, 8, 8}},
        {SHOAL_ZEROS_MINUS_ONE, 0xffffff77u, {8, 8, 0, 0, 0, 0, 0, 0}},
        {SHOAL_ZEROS_MINUS_ONE_WORD, 0x77776f77u, {8, 8, 0, 8, 8, 8, 8, 8}},
        {SHOAL_ZEROS_MINUS_ONE_WORD, 0x77777777u, {8, 8, 8, 8, 8, 8, 8, 8}},
        {SHOAL_ZEROS_PLAIN, 0x88888088u, {8, 8, 0, 8, 8, 8, 8, 8}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        maker m = {.seed = i};
        gptq_linear l = {.made = {.bits = 4, .n = 8, .k = 8, .group = -1}, .zeros = cases[i].rule};
        const shoal_rect all = {.n_end = 8, .k_end = 8}, cut = {2, 5, 0, 8, NULL, NULL};
        opened o;
        shoal_arena *arena;
        linear_make(&l, &m);
        memcpy(maker_find(&m, "P.qzeros")->data, &cases[i].word, 4);
        open_made(&m, config_text(&l), 8, 8, &o);
        assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &arena), SHOAL_OK);
        assert_memory_equal(read_rect(&o, &all, arena).zeros, cases[i].zeros, 16);
        assert_memory_equal(read_rect(&o, &cut, arena).zeros, cases[i].zeros + 2, 6);
        shoal_arena_destroy(arena);
        close_module(&o);
        maker_forget(&m);
        made_free(&l.made);
    }
}

/* What must be refused, and the words that the sentence must hold. */
static void spoil_scale_nan(maker *m)
{
    maker_store(maker_find(m, "P.scales")->data, SHOAL_F16, 3 * 16 + 5, NAN);
}

static void spoil_scale_inf(maker *m)
{
    maker_store(maker_find(m, "P.scales")->data, SHOAL_F16, 3 * 16 + 5, -INFINITY);
}

static void spoil_symmetry(maker *m)
{
    ((uint8_t *)maker_find(m, "P.qzeros")->data)[4 + 2] = 0x79; /* group 0, columns 12, 13 */
}

static void spoil_g_idx(maker *m)
{
    int32_t *g_idx = maker_find(m, "P.g_idx")->data;
    g_idx[40] = (g_idx[40] + 1) % 4;
}

static void spoil_g_idx_range(maker *m)
{
    ((int32_t *)maker_find(m, "P.g_idx")->data)[40] = 4;
}

static void spoil_g_idx_negative(maker *m)
{
    ((int32_t *)maker_find(m, "P.g_idx")->data)[40] = -1;
}

static void spoil_no_g_idx(maker *m)
{
    maker_remove(m, "P.g_idx");
}

static void spoil_no_zeros(maker *m)
{
    maker_remove(m, "P.qzeros");
}

static void spoil_no_scales(maker *m)
{
    maker_remove(m, "P.scales");
}

static void spoil_twice(maker *m)
{
    maker_add_random(m, "P.weight", SHOAL_F16, 16, 128);
}

static void spoil_awq_shape(maker *m)
{
    spoil_replace(m, "P.qweight", SHOAL_I32, 128, 2);
}

static void spoil_shape(maker *m)
{
    spoil_replace(m, "P.qweight", SHOAL_I32, 16, 24);
}

static void spoil_zero_shape(maker *m)
{
    spoil_replace(m, "P.qzeros", SHOAL_I32, 3, 2);
}

static void spoil_dtype(maker *m)
{
    maker_find(m, "P.qweight")->dtype = SHOAL_F32;
}

static void spoil_scale_dtype(maker *m)
{
    maker_find(m, "P.scales")->dtype = SHOAL_I16;
}

static void spoil_everything(maker *m)
{
    spoil_no_scales(m);
    spoil_no_zeros(m);
    spoil_no_g_idx(m);
    maker_find(m, "P.qweight")->name[2] = 'x';
}

static void refusals(void **state)
{
    static const struct {
        void (*spoil)(maker *);
        bool act_order;
        const char *says[3];
    } cases[] = {
        {spoil_scale_nan, false, {"P.scales", "group 3, column 5", "NaN"}},
        {spoil_scale_inf, false, {"P.scales", "group 3, column 5", "infinite"}},
        {spoil_symmetry, false, {"P.qzeros", "group 0, column 12", "zero 9 instead of 7"}},
        {spoil_g_idx, false, {"P.g_idx", "input 40 in group 2", "so 1"}},
        {spoil_g_idx, true, {"P.g_idx", "group", "inputs, not 32"}},
        {spoil_g_idx_range, true, {"P.g_idx", "input 40 is in group 4 of 4", ""}},
        {spoil_g_idx_negative, true, {"P.g_idx", "input 40 is in group -1", ""}},
        {spoil_no_g_idx, true, {"P.g_idx is missing", "desc_act", ""}},
        {spoil_no_zeros, false, {"P.qzeros is missing", "", ""}},
        {spoil_no_scales, false, {"P.scales is missing", "", ""}},
        {spoil_twice, false, {"stored twice", "P.weight", "P.qweight"}},
        {spoil_awq_shape, false, {"P.qweight", "as awq does", "says gptq"}},
        {spoil_shape, false, {"P.qweight has shape [16, 24]", "[16, 16]", ""}},
        {spoil_zero_shape, false, {"P.qzeros has shape [3, 2]", "[4, 2]", ""}},
        {spoil_dtype, false, {"P.qweight has dtype F32", "I32", ""}},
        {spoil_scale_dtype, false, {"P.scales has dtype I16", "F16", ""}},
        {spoil_everything, false, {"P:", "'gptq'", "xweight I32 [16, 16]"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        maker m = {.seed = 100 + i};
        gptq_linear l = {.made = {.bits = 4,
                                  .symmetric = true,
                                  .scale_dtype = SHOAL_F16,
                                  .n = 16,
                                  .k = 128,
                                  .group = 32,
                                  .act_order = cases[i].act_order},
                         .g_idx = true,
                         .zeros = SHOAL_ZEROS_MINUS_ONE};
        linear_make(&l, &m);
        cases[i].spoil(&m);
        check_refused(&m, config_text(&l), 16, 128, cases[i].says);
        made_free(&l.made);
    }
}

/* A read that fails half way, for want of memory at any point, frees what it took. */
static void memory_runs_out(void **state)
{
    maker m = {.seed = 5};
    gptq_linear l = {
        .made =
            {.bits = 4, .act_order = true, .scale_dtype = SHOAL_F16, .n = 70, .k = 96, .group = 32},
        .g_idx = true,
        .zeros = SHOAL_ZEROS_MINUS_ONE};
    int32_t order[96], columns[3] = {69, 0, 7};
    const shoal_rect rect = {0, 3, 10, 90, columns, order};
    opened o;
    (void)state;
    linear_make(&l, &m);
    open_made(&m, config_text(&l), 70, 96, &o);
    const uint64_t live = shoal_mem_live(SHOAL_MEM_CHECKPOINT);
    bool done = false;
    for (uint64_t nth = 1; !done; nth++) {
        shoal_arena *arena;
        shoal_canonical block;
        assert_int_equal(shoal_arena_create(SHOAL_MEM_OTHER, &arena), SHOAL_OK);
        shoal_mem_fail_nth(nth);
        shoal_status st = shoal_weight_order(&o.manifest, &o.weight, order);
        if (st == SHOAL_OK)
            st = shoal_weight_read(&o.manifest, &o.weight, &rect, arena, &block);
        shoal_mem_fail_nth(0);
        done = st == SHOAL_OK;
        assert_true(done || st == SHOAL_ERR_TEMPORARY);
        assert_true(nth < 100);
        if (done)
            check_block(&l.made, &rect, 0, &block);
        shoal_arena_destroy(arena);
        assert_int_equal(shoal_mem_live(SHOAL_MEM_CHECKPOINT), live);
    }
    close_module(&o);
    maker_forget(&m);
    made_free(&l.made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packers_match_golden_crcs),
        cmocka_unit_test(any_shape),
        cmocka_unit_test(zero_of_v1),
        cmocka_unit_test(refusals),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
