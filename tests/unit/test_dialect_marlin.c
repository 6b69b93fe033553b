/* Marlin against codes that are known: random rectangles of any shape, what is refused; and the
 * packers of this test, written from the order of a GPU's fragments, against golden CRCs. */
#include <math.h>

#include "tests/unit/dialect_case.h"

/* Place in the file's order -> place in 16 rows of 64 columns, tile by tile of 16 x 16: each of
 * 32 lanes holds rows r, r+1, r+8, r+9 of a column and of the eighth after it, and each eight is
 * then reordered. */
static void fragment_order(int *order)
{
    static const int nibbles[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    int at = 0, plain[1024];
    for (int lane = 0; lane < 32; lane++)
        for (int tile = 0; tile < 4; tile++)
            for (int half = 0; half < 2; half++)
                for (int i = 0; i < 4; i++) {
                    const int row = 2 * (lane % 4) + i % 2 + i / 2 * 8;
                    plain[at++] = 256 * tile + 16 * row + lane / 4 + 8 * half;
                }
    for (int i = 0; i < 1024; i++)
        order[i] = plain[i / 8 * 8 + nibbles[i % 8]];
}

static void pack_codes(const uint8_t *u, int64_t k, int64_t n, uint32_t *words)
{
    int order[1024];
    fragment_order(order);
    for (int64_t row = 0; row < k; row += 16)
        for (int64_t column = 0; column < n; column += 64)
            for (int i = 0; i < 1024; i++) {
                const int64_t tile = order[i] / 256, in = order[i] % 256;
                const unsigned code = u[(row + in / 16) * n + column + tile * 16 + in % 16];
                words[row / 16 * 2 * n + column * 2 + i / 8] |= code << (4 * (i % 8));
            }
}

/* Where each of 64 scales comes from. */
static int scale_source(int i, int64_t groups)
{
    static const int pairs[8] = {0, 1, 8, 9, 16, 17, 24, 25};
    return groups > 1 ? i / 8 + 8 * (i % 8) : i / 32 * 32 + 2 * (i % 32 / 8) + pairs[i % 8];
}

/* Fill the linear and add its tensors. */
static void marlin_make(made_linear *l, bool awq, maker *m)
{
    l->bits = 4;
    l->symmetric = true;
    made_fill(l, m);
    pack_codes(l->u, l->k, l->n,
               maker_add(m, awq ? "P.qweight" : "P.B", SHOAL_I32, l->k / 16, 2 * l->n));
    void *scales = maker_add(m, awq ? "P.scales" : "P.s", l->scale_dtype, l->groups, l->n);
    for (int64_t g = 0; g < l->groups; g++)
        for (int64_t n = 0; n < l->n; n++)
            maker_store(scales, l->scale_dtype, (size_t)(g * l->n + n),
                        l->s[g * l->n + n / 64 * 64 + scale_source((int)(n % 64), l->groups)]);
}

static const char *config_text(const made_linear *l, bool awq)
{
    static char text[256];
    snprintf(text, sizeof text,
             awq ? "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":%d,\"zero_point\":false,"
                   "\"version\":\"marlin\"}"
                 : "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":%d,\"sym\":true,"
                   "\"desc_act\":false,\"is_marlin_format\":true}",
             (int)l->group);
    return text;
}

static void any_shape(void **state)
{
    static const int64_t groups[] = {32, 64, 128, -1, 1024};
    static const shoal_dtype scale_types[] = {SHOAL_F16, SHOAL_BF16, SHOAL_F32};
    maker m = {.seed = 27};
    (void)state;
    for (int round = 0; round < 80; round++) {
        const bool awq = maker_below(&m, 4) == 0;
        made_linear l = {.scale_dtype = scale_types[maker_below(&m, 3)]};
        l.n = 64 * (1 + maker_below(&m, 4));
        l.k = 16 * (1 + maker_below(&m, 20));
        l.group = groups[maker_below(&m, 5)];
        marlin_make(&l, awq, &m);
        check_linear(&l, config_text(&l, awq), true, &m);
    }
}

static void packers_match_golden_crcs(void **state)
{
    static uint8_t u4[CRC_K * CRC_N];
    static uint32_t words[CRC_K * CRC_N / 8];
    uint16_t scales[CRC_G * CRC_N];
    (void)state;
    crc_codes(4, u4);
    pack_codes(u4, CRC_K, CRC_N, words);
    assert_int_equal(crc32_of(words, sizeof words), 0xe3152b1bu);
    for (int i = 0; i < CRC_G * CRC_N; i++)
        scales[i] = (uint16_t)(i / 64 * 64 + scale_source(i % 64, CRC_G));
    assert_int_equal(crc32_of(scales, sizeof scales), 0xbe8e577du);
    for (int i = 0; i < CRC_N; i++)
        scales[i] = (uint16_t)(i / 64 * 64 + scale_source(i % 64, 1));
    assert_int_equal(crc32_of(scales, CRC_N * sizeof *scales), 0xf9e3aba5u);
}

/* A NaN is named where it lies in the file. */
static void spoil_scale(maker *m)
{
    maker_store(maker_find(m, "P.s")->data, SHOAL_F16, 2 * 128 + 70, NAN);
}

static void spoil_shape(maker *m)
{
    spoil_replace(m, "P.B", SHOAL_I32, 16, 128);
}

static void spoil_groups(maker *m)
{
    spoil_replace(m, "P.s", SHOAL_F16, 1, 128);
}

static void spoil_no_scales(maker *m)
{
    maker_remove(m, "P.s");
}

static void spoil_dtype(maker *m)
{
    maker_find(m, "P.B")->dtype = SHOAL_F32;
}

static void spoil_form(maker *m)
{
    maker_remove(m, "P.B");
    maker_add(m, "P.qweight", SHOAL_I32, 8, 128);
}

static void spoil_twice(maker *m)
{
    maker_add(m, "P.qweight", SHOAL_I32, 8, 128);
}

static void refusals(void **state)
{
    static const char gptq[] = "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":16,"
                               "\"sym\":true,\"checkpoint_format\":\"gptq\"}";
    static const char marlin[] = "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":16,"
                                 "\"sym\":true,\"checkpoint_format\":\"marlin\"}";
    static const struct {
        void (*spoil)(maker *);
        const char *config;
        int64_t n;
        const char *says[3];
    } cases[] = {
        {spoil_scale, marlin, 128, {"P.s", "group 2, column 70", "NaN"}},
        {spoil_shape, marlin, 128, {"P.B has shape [16, 128]", "[4, 256]", ""}},
        {spoil_groups, marlin, 128, {"P.s has shape [1, 128]", "[4, 128]", ""}},
        {spoil_no_scales, marlin, 128, {"P.s is missing", "", ""}},
        {spoil_dtype, marlin, 128, {"P.B has dtype F32", "I32", ""}},
        {spoil_nothing, marlin, 96, {"P.B", "16 inputs by 64 outputs", "64 by 96"}},
        {spoil_nothing, gptq, 128, {"P.B", "as marlin does", "does not say so"}},
        {spoil_form, marlin, 128, {"P.qweight", "as gptq does", "says marlin"}},
        {spoil_twice, marlin, 128, {"stored twice", "P.B", "P.qweight"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        maker m = {.seed = 40 + i};
        made_linear l = {.scale_dtype = SHOAL_F16, .n = 128, .k = 64, .group = 16};
        marlin_make(&l, false, &m);
        cases[i].spoil(&m);
        check_refused(&m, cases[i].config, cases[i].n, 64, cases[i].says);
        made_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packers_match_golden_crcs),
        cmocka_unit_test(any_shape),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
