/* How 4-bit codes are packed: packers written from the lane arithmetic of the kernels that read
 * them, checked against the CRCs that PyTorch's own packers gave, then read by random ranges. The
 * order in which a CPU packed is told from codes that a quantizer would make. */
#include "tests/unit/dialect_case.h"

#include "shard/int4_packing.h"
#include "tests/unit/int4_packers.h"

enum { PAD = 1024 };

static void packers_match_golden_crcs(void **state)
{
    static const struct {
        shoal_int4_order order;
        int inner;
        uint32_t crc;
    } rows[] = {
        {SHOAL_INT4_TILED, 2, 0x065aa4d8u},   {SHOAL_INT4_TILED, 4, 0x9ad73ee7u},
        {SHOAL_INT4_TILED, 8, 0x546fe90du},   {SHOAL_INT4_AVX512, 0, 0xda53e7acu},
        {SHOAL_INT4_AVX2, 0, 0x994b2328u},    {SHOAL_INT4_GENERIC, 0, 0x9f0c44b3u},
        {SHOAL_INT4_NIBBLES, 0, 0xda9f0243u},
    };
    static uint8_t by_k[CRC_K * CRC_N], u[CRC_N * CRC_K], packed[CRC_N * CRC_K / 2];
    (void)state;
    crc_codes(4, by_k);
    for (int n = 0; n < CRC_N; n++)
        for (int k = 0; k < CRC_K; k++)
            u[n * CRC_K + k] = by_k[k * CRC_N + n];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pack_int4(rows[i].order, rows[i].inner, u, CRC_N, CRC_K, packed);
        assert_int_equal(crc32_of(packed, sizeof packed), rows[i].crc);
    }
}

/* A file with one tensor of these bytes, opened. */
static shoal_checkpoint *packed_file(maker *m, shoal_int4_order order, int inner, const uint8_t *u,
                                     int64_t n, int64_t k)
{
    shoal_checkpoint *checkpoint;
    uint8_t *packed = maker_add(m, "P", SHOAL_U8, n, k / 2);
    pack_int4(order, inner, u, n, k, packed);
    assert_int_equal(shoal_checkpoint_open(maker_write(m, "{}"), &checkpoint), SHOAL_OK);
    return checkpoint;
}

static void check_range(const shoal_checkpoint *c, const shoal_int4_packing *p, const uint8_t *u,
                        maker *m)
{
    shoal_int4_range r;
    random_range(m, p->n, &r.n_begin, &r.n_end);
    random_range(m, p->k, &r.k_begin, &r.k_end);
    const int64_t k = r.k_end - r.k_begin;
    uint8_t *codes = maker_alloc((size_t)((r.n_end - r.n_begin) * k));
    const uint64_t before = shoal_checkpoint_bytes_read(c);
    assert_int_equal(shoal_int4_read(c, shoal_checkpoint_find(c, "P"), p, &r, codes), SHOAL_OK);
    assert_int_equal(shoal_checkpoint_bytes_read(c) - before, shoal_int4_read_bytes(p, &r));
    for (int64_t n = r.n_begin; n < r.n_end; n++)
        assert_memory_equal(codes + (n - r.n_begin) * k, u + n * p->k + r.k_begin, (size_t)k);
    free(codes);
}

static void any_range(void **state)
{
    static const int64_t heights[] = {16, 32, 48, 64, 80, 128, 208};
    maker m = {.seed = 11};
    (void)state;
    for (int round = 0; round < 70; round++) {
        const shoal_int4_order order = (shoal_int4_order)(SHOAL_INT4_TILED + round % 5);
        const int inner = order == SHOAL_INT4_TILED ? 2 << maker_below(&m, 3) : 0;
        const int64_t n = heights[maker_below(&m, 7)];
        const int64_t k = 16 * (inner ? inner : 1) * (1 + maker_below(&m, 5));
        uint8_t *u = maker_alloc((size_t)(n * k));
        for (int64_t i = 0; i < n * k; i++)
            u[i] = (uint8_t)maker_below(&m, 16);
        const shoal_int4_packing packing = {order, n, k, inner};
        shoal_checkpoint *c = packed_file(&m, order, inner, u, n, k);
        for (int i = 0; i < 10; i++)
            check_range(c, &packing, u, &m);
        shoal_checkpoint_close(c);
        maker_forget(&m);
        free(u);
    }
}

static void shapes(void **state)
{
    const shoal_tensor tiled = {
        .name = "t", .dtype = SHOAL_I32, .rank = 4, .shape = {16, 8, 32, 4}, .bytes = 65536};
    const shoal_tensor nothing = {
        .name = "n", .dtype = SHOAL_I32, .rank = 4, .shape = {INT64_MAX, 0, 32, 4}};
    const shoal_tensor flat = {.name = "f", .dtype = SHOAL_U8, .rank = 2, .shape = {128, 64}};
    shoal_int4_packing p;
    (void)state;
    assert_true(shoal_int4_packing_of(&tiled, SHOAL_INT4_TILED, 128, PAD, &p));
    assert_int_equal(p.inner, 8);
    assert_true(shoal_int4_packing_of(&tiled, SHOAL_INT4_TILED, 121, 100, &p));
    assert_int_equal(p.n, 128);
    assert_int_equal(p.k, PAD);
    assert_false(shoal_int4_packing_of(&tiled, SHOAL_INT4_TILED, 128, 2048, &p));
    assert_false(shoal_int4_packing_of(&tiled, SHOAL_INT4_TILED, 120, PAD, &p));
    assert_false(shoal_int4_packing_of(&flat, SHOAL_INT4_TILED, 128, 128, &p));
    assert_false(shoal_int4_packing_of(&nothing, SHOAL_INT4_TILED, 128, 128, &p));
    assert_true(shoal_int4_packing_of(&flat, SHOAL_INT4_AVX512, 128, 128, &p));
    assert_false(shoal_int4_packing_of(&flat, SHOAL_INT4_AVX2, 128, 64, &p));
    assert_int_equal(shoal_int4_order_find("avx2"), SHOAL_INT4_AVX2);
    assert_int_equal(shoal_int4_order_find("neon"), SHOAL_INT4_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packers_match_golden_crcs),
        cmocka_unit_test(any_range),
        cmocka_unit_test(shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
