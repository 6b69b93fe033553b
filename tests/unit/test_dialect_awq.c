/* AWQ gemm, gemv and gemv_fast against codes that are known: random rectangles of any shape, what
 * is refused, and the packer of this test against golden CRCs. */
#include "tests/unit/dialect_case.h"

static const int column_of_nibble[8] = {0, 2, 4, 6, 1, 3, 5, 7};

static void pack_row(const int *row, int64_t n, uint32_t *words)
{
    for (int64_t c = 0; c < n; c += 8)
        for (int i = 0; i < 8; i++)
            words[c / 8] |= (uint32_t)row[c + column_of_nibble[i]] << (4 * i);
}

static void pack_codes(const uint8_t *u, int64_t rows, int64_t n, uint32_t *words)
{
    int row[512];
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < n; c++)
            row[c] = u[r * n + c];
        pack_row(row, n, words + r * (n / 8));
    }
}

static void pack_zeros(const int *z, int64_t groups, int64_t n, uint32_t *words)
{
    for (int64_t g = 0; g < groups; g++)
        pack_row(z + g * n, n, words + g * (n / 8));
}

/* Fill the linear and add its tensors. */
static void gemm_make(made_linear *l, maker *m)
{
    made_fill(l, m);
    pack_codes(l->u, l->k, l->n, maker_add(m, "P.qweight", SHOAL_I32, l->k, l->n / 8));
    pack_zeros(l->z, l->groups, l->n, maker_add(m, "P.qzeros", SHOAL_I32, l->groups, l->n / 8));
    void *scales = maker_add(m, "P.scales", l->scale_dtype, l->groups, l->n);
    for (int64_t i = 0; i < l->groups * l->n; i++)
        maker_store(scales, l->scale_dtype, (size_t)i, l->s[i]);
}

static const char *config_text(const made_linear *l, const char *version)
{
    static char text[256];
    snprintf(text, sizeof text,
             "{\"quant_method\":\"awq\",\"w_bit\":4,\"q_group_size\":%d,"
             "\"zero_point\":true,\"version\":\"%s\"}",
             (int)l->group, version);
    return text;
}

static void gemm_any_shape(void **state)
{
    static const int64_t groups[] = {16, 32, 64, 128, -1};
    static const shoal_dtype scale_types[] = {SHOAL_F16, SHOAL_BF16, SHOAL_F32};
    maker m = {.seed = 8};
    (void)state;
    for (int round = 0; round < 60; round++) {
        made_linear l = {.bits = 4};
        l.scale_dtype = scale_types[maker_below(&m, 3)];
        l.n = 8 * (1 + maker_below(&m, 16));
        l.k = 1 + maker_below(&m, 300);
        l.group = groups[maker_below(&m, 5)];
        gemm_make(&l, &m);
        check_linear(&l, config_text(&l, "GEMM"), false, &m);
    }
}

/* Words of zeros in a row of gemv. */
static int64_t zero_words(const made_linear *l)
{
    const int64_t g = made_group(l), step = g >= 128 ? 1 : 128 / g;
    return shoal_round_up(shoal_ceil_div(l->groups, 8), step);
}

static void gemv_make(made_linear *l, maker *m)
{
    made_fill(l, m);
    const int64_t words = shoal_ceil_div(l->k, 8), zw = zero_words(l);
    uint32_t *codes = maker_add(m, "P.qweight", SHOAL_I32, l->n, words);
    uint32_t *zeros = maker_add(m, "P.qzeros", SHOAL_I32, l->n, zw);
    void *scales = maker_add(m, "P.scales", l->scale_dtype, l->n, 8 * zw);
    for (int64_t n = 0; n < l->n; n++) {
        for (int64_t k = 0; k < l->k; k++)
            put_field(codes + n * words, 1, k, 4, l->u[k * l->n + n]);
        for (int64_t g = 0; g < l->groups; g++) {
            put_field(zeros + n * zw, 1, g, 4, (unsigned)l->z[g * l->n + n]);
            maker_store(scales, l->scale_dtype, (size_t)(n * 8 * zw + g), l->s[g * l->n + n]);
        }
    }
}

/* The order of 64 inputs of a row in a block of gemv_fast, as the packer makes it: runs of two are
 * dealt out to four eights, then each eight is split into its even and odd places. */
static void interleave(const uint8_t *in, uint8_t *out)
{
    uint8_t dealt[64];
    for (int half = 0; half < 64; half += 32)
        for (int i = 0; i < 32; i++)
            dealt[half + i % 8 / 2 * 8 + i / 8 * 2 + i % 2] = in[half + i];
    for (int i = 0; i < 64; i++)
        out[i / 8 * 8 + i % 2 * 4 + i % 8 / 2] = dealt[i];
}

static void gemv_fast_make(made_linear *l, maker *m)
{
    made_fill(l, m);
    const int64_t rows = 8 * zero_words(l);
    uint16_t *words = maker_add(m, "P.qweight", SHOAL_I16, l->n / 4, l->k);
    void *zeros = maker_add(m, "P.qzeros", l->scale_dtype, rows, l->n);
    void *scales = maker_add(m, "P.scales", l->scale_dtype, rows, l->n);
    l->mins = maker_alloc((size_t)(l->groups * l->n) * sizeof *l->mins);
    for (int64_t i = 0; i < l->groups * l->n; i++) {
        l->mins[i] = made_number(m, l->scale_dtype);
        l->z[i] = 0;
        maker_store(zeros, l->scale_dtype, (size_t)i, l->mins[i]);
        maker_store(scales, l->scale_dtype, (size_t)i, l->s[i]);
    }
    for (int64_t n = 0; n < l->n; n++)
        for (int64_t b = 0; b < l->k; b += 64) {
            uint8_t in[64], out[64];
            for (int i = 0; i < 64; i++)
                in[i] = l->u[(b + i) * l->n + n];
            interleave(in, out);
            uint16_t *to = words + n / 4 * l->k + b + n % 4 * 16;
            for (int i = 0; i < 64; i++)
                to[i / 4] = (uint16_t)(to[i / 4] | out[i] << (4 * (i % 4)));
        }
}

static void gemv_any_shape(void **state)
{
    static const int64_t groups[] = {32, 64, 128, 256, -1};
    static const shoal_dtype scale_types[] = {SHOAL_F16, SHOAL_BF16, SHOAL_F32};
    maker m = {.seed = 18};
    (void)state;
    for (int round = 0; round < 60; round++) {
        made_linear l = {.bits = 4};
        l.scale_dtype = scale_types[maker_below(&m, 3)];
        l.n = 1 + maker_below(&m, 90);
        l.k = 8 * (32 + maker_below(&m, 100));
        l.group = groups[maker_below(&m, 5)];
        gemv_make(&l, &m);
        check_linear(&l, config_text(&l, "gemv"), true, &m);
    }
}

static void gemv_fast_any_shape(void **state)
{
    static const int64_t groups[] = {32, 64, 128, -1};
    maker m = {.seed = 19};
    (void)state;
    for (int round = 0; round < 60; round++) {
        made_linear l = {.bits = 4, .symmetric = true, .scale_dtype = SHOAL_F16};
        l.n = 4 * (1 + maker_below(&m, 20));
        l.k = 64 * (2 + maker_below(&m, 6));
        l.group = groups[maker_below(&m, 4)];
        gemv_fast_make(&l, &m);
        check_linear(&l, config_text(&l, "gemv_fast"), true, &m);
    }
}

static void refusals(void **state)
{
    static const struct {
        const char *version, *tensor;
        shoal_dtype dtype;
        int64_t rows, columns, group;
        const char *says[3];
    } cases[] = {
        {"gemv", "P.qweight", SHOAL_I32, 256, 2, 64, {"P.qweight", "[256, 2]", "[16, 32]"}},
        {"gemv", "P.qzeros", SHOAL_I32, 16, 1, 64, {"P.qzeros", "[16, 1]", "[16, 2]"}},
        {"gemv", "P.scales", SHOAL_F16, 16, 4, 64, {"P.scales", "[16, 4]", "[16, 16]"}},
        {"gemv", "P.scales", SHOAL_I16, 16, 16, 64, {"P.scales", "I16", "F16"}},
        {"gemv", "P.other", SHOAL_I16, 16, 16, 16, {"P:", "groups of 32, 64", "not of 16"}},
        {"gemm", "P.other", SHOAL_I16, 16, 16, 64, {"P.qweight", "[16, 32]", "[256, 2]"}},
        {"gemv_fast", "P.other", SHOAL_I16, 16, 16, 64, {"P.qweight", "[16, 32]", "[4, 256]"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        maker m = {.seed = 30 + i};
        made_linear l = {.bits = 4, .scale_dtype = SHOAL_F16, .n = 16, .k = 256, .group = 64};
        gemv_make(&l, &m);
        l.group = cases[i].group;
        if (maker_find(&m, cases[i].tensor))
            maker_remove(&m, cases[i].tensor);
        maker_add(&m, cases[i].tensor, cases[i].dtype, cases[i].rows, cases[i].columns);
        check_refused(&m, config_text(&l, cases[i].version), 16, 256, cases[i].says);
        made_free(&l);
    }
}

static void packer_matches_golden_crcs(void **state)
{
    static uint8_t u4[CRC_K * CRC_N];
    static uint32_t words[CRC_K * CRC_N / 8];
    static int z[CRC_G * CRC_N];
    (void)state;
    crc_codes(4, u4);
    crc_zeros(z);
    pack_codes(u4, CRC_K, CRC_N, words);
    assert_int_equal(crc32_of(words, CRC_K * CRC_N / 2), 0xd52a002cu);
    memset(words, 0, sizeof words);
    pack_zeros(z, CRC_G, CRC_N, words);
    assert_int_equal(crc32_of(words, CRC_G * CRC_N / 2), 0x1d7199efu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packer_matches_golden_crcs),
        cmocka_unit_test(gemm_any_shape),
        cmocka_unit_test(gemv_any_shape),
        cmocka_unit_test(gemv_fast_any_shape),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
