/* Written forms byte for byte: the codes, zero points and scales of docs of the formats (K = 256,
 * N = 128, groups of 64) give the same CRC-32 as what the libraries pack. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "shard/writer.h"
#include "tests/unit/dialect_case.h"

#define K      256
#define N      128
#define GROUP  64
#define GROUPS (K / GROUP)

/* The block of the vectors, and everything its parts need. */
typedef struct {
    uint8_t codes[N * K];
    int16_t zeros[N * GROUPS];
    float scales[N * GROUPS], mins[N * GROUPS];
    shoal_weight weight;
    shoal_canonical block;
    shoal_writer_module module;
    shoal_form form;
    shoal_target target;
    shoal_part parts[SHOAL_WRITER_PARTS_MAX];
    uint8_t *bytes[SHOAL_WRITER_PARTS_MAX];
    int count;
} vectors;

static void fill(vectors *v, int bits, bool own_zeros)
{
    const int mask = (1 << bits) - 1;
    for (int n = 0; n < N; n++)
        for (int k = 0; k < K; k++) {
            const int code = bits == 8 ? 7 * k + 13 * n + k * n % 11 : 7 * k + 3 * n + k * n % 5;
            v->codes[n * K + k] = (uint8_t)(code & (bits == 3 ? 15 : mask) & mask);
        }
    for (int n = 0; n < N; n++)
        for (int g = 0; g < GROUPS; g++) {
            v->zeros[n * GROUPS + g] = (int16_t)((5 * g + 3 * n) & 15);
            v->scales[n * GROUPS + g] = shoal_f32_from_f16((uint16_t)(g * 128 + n));
        }
    v->weight = (shoal_weight){.role = SHOAL_ROLE_Q,
                               .n = N,
                               .k = K,
                               .kind = bits == 8 ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4,
                               .dtype = SHOAL_F16,
                               .group = GROUP,
                               .has_zeros = own_zeros,
                               .zero_const = (int16_t)(1 << (bits - 1)),
                               .bits = bits};
    v->block = (shoal_canonical){.kind = v->weight.kind,
                                 .n = N,
                                 .k = K,
                                 .groups = GROUPS,
                                 .codes = v->codes,
                                 .zeros = own_zeros ? v->zeros : NULL,
                                 .zero_const = v->weight.zero_const,
                                 .scales = v->scales,
                                 .dtype = SHOAL_F16};
}

/* Pack the whole module in strips of 64 columns, the last strip first. */
static void write_all(vectors *v, const char *to)
{
    assert_int_equal(shoal_target_parse(to, &v->target), SHOAL_OK);
    v->module = (shoal_writer_module){.name = "module",
                                      .weights = {&v->weight},
                                      .count = 1,
                                      .n = N,
                                      .k = K,
                                      .bits = v->weight.bits,
                                      .symmetric = !v->weight.has_zeros};
    assert_int_equal(v->target.writer->form(&v->target, &v->module, &v->form), SHOAL_OK);
    v->count = v->target.writer->parts(&v->target, &v->module, &v->form, v->parts);
    for (int i = 0; i < v->count; i++) {
        size_t bytes = shoal_dtype_bytes(v->parts[i].dtype);
        for (int d = 0; d < v->parts[i].rank; d++)
            bytes *= (size_t)v->parts[i].shape[d];
        v->bytes[i] = calloc(1, bytes);
    }
    if (v->form.has_mins)
        v->block.mins = v->mins;
    for (int64_t n = N - 64; n >= 0; n -= 64) {
        shoal_canonical part = v->block;
        part.n = 64;
        part.codes += n * K;
        part.scales += n * GROUPS;
        part.zeros = part.zeros ? part.zeros + n * GROUPS : NULL;
        part.mins = part.mins ? part.mins + n * GROUPS : NULL;
        const shoal_strip strip = {&v->target, &v->module, &v->form, &part, n, NULL, v->bytes};
        assert_int_equal(v->target.writer->pack(&strip), SHOAL_OK);
    }
}

static void forget(vectors *v)
{
    for (int i = 0; i < v->count; i++)
        free(v->bytes[i]);
    free(v);
}

static vectors *written(const char *to, int bits, bool own_zeros)
{
    vectors *v = calloc(1, sizeof *v);
    assert_non_null(v);
    fill(v, bits, own_zeros);
    write_all(v, to);
    return v;
}

static void expect(const char *to, int bits, bool own_zeros, int part, size_t bytes, uint32_t crc)
{
    vectors *v = written(to, bits, own_zeros);
    if (crc32_of(v->bytes[part], bytes) != crc)
        fail_msg("%s, %d bits, part %d: CRC %08x, not %08x", to, bits, part,
                 crc32_of(v->bytes[part], bytes), crc);
    forget(v);
}

static void test_gptq(void **state)
{
    (void)state;
    expect("gptq", 4, false, 0, K / 8 * N * 4, 0xbfbf4931);
    expect("gptq", 8, false, 0, K / 4 * N * 4, 0x10cf7b2c);
    expect("gptq_v2", 3, false, 0, K * 3 / 32 * N * 4, 0x1dbc1764);
    expect("gptq_v2", 4, true, 1, GROUPS * N / 8 * 4, 0xc8d96b06);
}

static void test_awq(void **state)
{
    (void)state;
    expect("awq", 4, true, 0, K * N / 8 * 4, 0xd52a002c);
    expect("awq", 4, true, 1, GROUPS * N / 8 * 4, 0x1d7199ef);
}

static void test_compressed(void **state)
{
    (void)state;
    expect("compressed-tensors", 4, false, 0, K / 8 * N * 4, 0x7371fa3b);
    expect("compressed-tensors", 8, false, 0, K / 4 * N * 4, 0x69860656);
}

/* Marlin's whole tiles and lm_head are two reasons, each with its own sentence. */
static void test_marlin_refuses(void **state)
{
    (void)state;
    shoal_target target;
    shoal_form form;
    shoal_weight weight = {.role = SHOAL_ROLE_LM_HEAD, .n = N, .k = K, .group = 128, .bits = 4};
    shoal_writer_module module = {"lm_head", {&weight}, 1, N, K, 4, true, false};
    assert_int_equal(shoal_target_parse("marlin", &target), SHOAL_OK);
    assert_int_equal(target.writer->form(&target, &module, &form), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "lm_head in floats"));
    assert_false(form.requantized);
    weight.role = SHOAL_ROLE_Q;
    module.n = N - 8;
    assert_int_equal(target.writer->form(&target, &module, &form), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "120 outputs and 256 inputs are no whole tiles"));
    assert_false(form.requantized);
}

/* Its form wants groups of 128; the words and the permutation of four groups do not. */
static void test_marlin(void **state)
{
    (void)state;
    vectors *v = calloc(1, sizeof *v);
    fill(v, 4, false);
    v->weight.group = 128;
    v->block.groups = 2;
    for (int n = 0; n < N; n++)
        for (int g = 0; g < 2; g++)
            v->scales[n * 2 + g] = shoal_f32_from_f16((uint16_t)(g * 128 + n));
    assert_int_equal(shoal_target_parse("marlin", &v->target), SHOAL_OK);
    v->module = (shoal_writer_module){"module", {&v->weight}, 1, N, K, 4, true, false};
    assert_int_equal(v->target.writer->form(&v->target, &v->module, &v->form), SHOAL_OK);
    uint8_t *words = calloc(1, K / 16 * 2 * N * 4), *scales = calloc(1, 2 * N * 2);
    uint8_t *const parts[] = {words, scales};
    const shoal_strip strip = {&v->target, &v->module, &v->form, &v->block, 0, NULL, parts};
    assert_int_equal(v->target.writer->pack(&strip), SHOAL_OK);
    assert_int_equal(crc32_of(words, K / 16 * 2 * N * 4), 0xe3152b1b);
    static const uint16_t first[4] = {0, 8, 16, 24};
    for (int i = 0; i < 4; i++)
        assert_int_equal(shoal_load_le16(scales + 2 * i), first[i]);
    /* one group: permuted within 32 */
    static const uint16_t row[10] = {0, 1, 8, 9, 16, 17, 24, 25, 2, 3};
    v->weight.group = K;
    v->block.groups = 1;
    for (int n = 0; n < N; n++)
        v->scales[n] = shoal_f32_from_f16((uint16_t)n);
    assert_int_equal(v->target.writer->form(&v->target, &v->module, &v->form), SHOAL_OK);
    assert_int_equal(v->target.writer->pack(&strip), SHOAL_OK);
    for (int i = 0; i < 10; i++)
        assert_int_equal(shoal_load_le16(scales + 2 * i), row[i]);
    assert_int_equal(crc32_of(scales, N * 2), 0xf9e3aba5);
    free(words);
    free(scales);
    free(v);
}

/* What is there for 256 inputs, without the pad to 1024. */
static void test_torchao_tiled(void **state)
{
    (void)state;
    vectors *v = written("torchao-int4-tiled", 4, false);
    static uint8_t compact[N / 8 * 2 * 32 * 4 * 4];
    const size_t outer = 32 * 4 * 4;
    for (size_t n = 0; n < N / 8; n++)
        memcpy(compact + n * 2 * outer, v->bytes[0] + n * 8 * outer, 2 * outer);
    assert_int_equal(v->parts[0].shape[1], 8);
    assert_int_equal(crc32_of(compact, sizeof compact), 0x546fe90d);
    forget(v);
}

static void test_torchao_cpu(void **state)
{
    (void)state;
    expect("torchao-int4-cpu:avx512", 4, false, 0, N * K / 2, 0xda53e7ac);
    expect("torchao-int4-cpu:avx2", 4, false, 0, N * K / 2, 0x994b2328);
    expect("torchao-int4-cpu:generic", 4, false, 0, N * K / 2, 0x9f0c44b3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gptq),           cmocka_unit_test(test_awq),
        cmocka_unit_test(test_compressed),     cmocka_unit_test(test_marlin),
        cmocka_unit_test(test_torchao_tiled),  cmocka_unit_test(test_torchao_cpu),
        cmocka_unit_test(test_marlin_refuses),
    };
    return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
