/* AWQ against codes that are known: random rectangles of any shape, and the packer of this test
 * against golden CRCs. */
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
