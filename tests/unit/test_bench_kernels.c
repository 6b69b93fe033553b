/* What `bench kernels` decides without a clock: rows, pairs, random contents; and that it notices
 * a kernel with wrong bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/bench/attention_subject.h"
#include "coordinator/bench/kernel_rows.h"
#include "coordinator/bench/linear_subject.h"
#include "coordinator/bench/noise.h"
#include "coordinator/bench/pairs.h"
#include "kernels/linear_row.h"

/* ---- rows ------------------------------------------------------------------------------------ */

static void test_all_rows_have_names_of_their_own(void **state)
{
    (void)state;
    shoal_bench_kernel_row rows[SHOAL_BENCH_KERNEL_ROWS_MAX];
    char a[SHOAL_BENCH_NAME_MAX], b[SHOAL_BENCH_NAME_MAX];
    size_t count, single;
    assert_int_equal(shoal_bench_kernel_select(NULL, 2, rows, &count), SHOAL_OK);
    for (size_t i = 0; i < count; i++) {
        shoal_bench_kernel_name(rows[i].kernel, rows[i].threads, a);
        for (size_t j = 0; j < i; j++) {
            shoal_bench_kernel_name(rows[j].kernel, rows[j].threads, b);
            assert_string_not_equal(a, b);
        }
    }
    assert_int_equal(shoal_bench_kernel_select(NULL, 1, rows, &single), SHOAL_OK);
    assert_int_equal(single, shoal_bench_kernel_count);
    for (size_t i = 0; i < single; i++)
        assert_int_equal(rows[i].threads, 1);
}

static void test_an_expression_selects(void **state)
{
    (void)state;
    shoal_bench_kernel_row rows[SHOAL_BENCH_KERNEL_ROWS_MAX];
    char name[SHOAL_BENCH_NAME_MAX];
    size_t count = 0;
    assert_int_equal(
        shoal_bench_kernel_select("^gemv.int4-g128.dram|prefill.2k.t", 2, rows, &count), SHOAL_OK);
    assert_int_equal(count, 3);
    shoal_bench_kernel_name(rows[1].kernel, rows[1].threads, name);
    assert_string_equal(name, "gemv.int4-g128.dram.t2");
    shoal_bench_kernel_name(rows[2].kernel, rows[2].threads, name);
    assert_string_equal(name, "attn.prefill.2k.t1");
    assert_int_equal(shoal_bench_kernel_select("t3", 2, rows, &count), SHOAL_ERR_USAGE);
    assert_int_equal(shoal_bench_kernel_select("(", 2, rows, &count), SHOAL_ERR_USAGE);
}

static void test_slices_fit_their_caches(void **state)
{
    (void)state;
    const int64_t mib = INT64_C(1) << 20;
    const struct {
        int64_t l2, l3;
    } machines[] = {{mib / 2, 16 * mib}, {mib, 32 * mib}, {2 * mib, 105 * mib}, {2 * mib, 6 * mib}};
    for (size_t m = 0; m < sizeof machines / sizeof *machines; m++) {
        for (size_t i = 0; i < shoal_bench_kernel_count; i++) {
            const shoal_bench_kernel *kernel = &shoal_bench_kernels[i];
            const int64_t n = shoal_bench_kernel_outputs(kernel, machines[m].l2, machines[m].l3);
            const int64_t bytes = n * SHOAL_BENCH_K / 2;
            if (kernel->n > 0)
                assert_int_equal(n, kernel->n);
            if (!kernel->format || kernel->n > 0)
                continue;
            assert_int_equal(n % SHOAL_PANEL, 0);
            assert_true(n > 0);
            if (kernel->place == SHOAL_BENCH_L2)
                assert_true(bytes <= machines[m].l2);
            else
                assert_true(bytes > machines[m].l2 && bytes <= machines[m].l3);
        }
    }
}

static void test_operations_are_those_counted_one_by_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < shoal_bench_kernel_count; i++) {
        const shoal_bench_kernel *kernel = &shoal_bench_kernels[i];
        double seen = 0;
        if (kernel->format) {
            assert_true(shoal_bench_kernel_operations(kernel, 64) ==
                        2.0 * (double)kernel->rows * 64 * SHOAL_BENCH_K);
            continue;
        }
        for (int64_t row = 0; row < kernel->rows; row++)
            seen += (double)(kernel->positions - kernel->rows + row + 1);
        assert_true(shoal_bench_kernel_operations(kernel, 0) ==
                    4 * seen * (double)(kernel->heads * kernel->head_dim));
    }
}

/* ---- pairs ----------------------------------------------------------------------------------- */

/* A machine whose speed swings: the fraction does not. */
static void test_a_swing_hits_both_of_a_pair(void **state)
{
    (void)state;
    static const double speeds[] = {1, 1, 1, 2.5, 2.5, 2.5, 1, 1, 1};
    shoal_bench_pairs pairs = {0};
    shoal_bench_pair_summary sum;
    assert_int_equal(shoal_bench_samples_add(&pairs.limits, 100), SHOAL_OK);
    for (size_t i = 0; i < sizeof speeds / sizeof *speeds; i++) {
        assert_int_equal(shoal_bench_samples_add(&pairs.values, 80 * speeds[i]), SHOAL_OK);
        assert_int_equal(shoal_bench_samples_add(&pairs.limits, 100 * speeds[i]), SHOAL_OK);
    }
    assert_int_equal(shoal_bench_pairs_summary(&pairs, &sum), SHOAL_OK);
    assert_true(sum.fraction == 0.8);
    assert_true(sum.value == 80 && sum.limit == 100);
    assert_true(sum.spread == 1.5); /* (200 - 80) / 80 */
    shoal_bench_pairs_free(&pairs);
}

static void test_pairs_need_a_limit_on_either_side(void **state)
{
    (void)state;
    shoal_bench_pairs pairs = {0};
    shoal_bench_pair_summary sum;
    assert_int_equal(shoal_bench_pairs_summary(&pairs, &sum), SHOAL_ERR_INTERNAL);
    assert_int_equal(shoal_bench_samples_add(&pairs.limits, 3), SHOAL_OK);
    assert_int_equal(shoal_bench_pairs_summary(&pairs, &sum), SHOAL_ERR_INTERNAL);
    assert_int_equal(shoal_bench_samples_add(&pairs.values, 1), SHOAL_OK);
    assert_int_equal(shoal_bench_pairs_summary(&pairs, &sum), SHOAL_ERR_INTERNAL);
    assert_int_equal(shoal_bench_samples_add(&pairs.limits, 5), SHOAL_OK);
    assert_int_equal(shoal_bench_pairs_summary(&pairs, &sum), SHOAL_OK);
    assert_true(sum.value == 1 && sum.limit == 4 && sum.fraction == 0.25 && sum.spread == 0);
    shoal_bench_pairs_free(&pairs);
}

/* ---- contents -------------------------------------------------------------------------------- */

static void test_random_numbers_are_where_they_should_be(void **state)
{
    (void)state;
    enum { COUNT = 4099 };
    static const shoal_dtype types[] = {SHOAL_F32, SHOAL_F16, SHOAL_BF16};
    static float memory[COUNT];
    uint64_t random = 1;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        for (int is_signed = 0; is_signed < 2; is_signed++) {
            int negative = 0;
            shoal_bench_noise_floats(&random, types[t], -3, is_signed, memory,
                                     COUNT * shoal_dtype_bytes(types[t]));
            for (size_t i = 0; i < COUNT; i++) {
                const float x = shoal_load_f32((const uint8_t *)memory, types[t], i);
                negative += x < 0;
                assert_true((x < 0 ? -x : x) >= 0.125f && (x < 0 ? -x : x) < 0.25f);
            }
            assert_true(is_signed ? negative > COUNT / 3 && negative < 2 * COUNT / 3
                                  : negative == 0);
        }
    }
    int8_t *codes = (int8_t *)memory;
    shoal_bench_noise_int8(&random, codes, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_true(codes[i] >= -127);
}

/* ---- wrong bits ------------------------------------------------------------------------------ */

static void accumulate_one_bit_off(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                   int64_t rows, int64_t panel, int64_t seg_begin, int64_t seg_end,
                                   float *acc)
{
    uint32_t bits;
    shoal_linear_accumulate_ref(w, a, row0, rows, panel, seg_begin, seg_end, acc);
    memcpy(&bits, acc, sizeof bits);
    bits ^= 1;
    memcpy(acc, &bits, sizeof bits);
}

static void test_a_linear_with_a_wrong_bit_is_noticed(void **state)
{
    (void)state;
    const shoal_linear_row wrong = {
        .name = "wrong", .accumulate = accumulate_one_bit_off, .epilogue = &shoal_epilogue_ref};
    shoal_bench_yard yard = {.threads = 1};
    shoal_bench_linears linears;
    assert_int_equal(shoal_pool_create(1, false, &yard.pool), SHOAL_OK);
    for (size_t i = 0; i < shoal_bench_kernel_count; i++) {
        const shoal_bench_kernel *kernel = &shoal_bench_kernels[i];
        const int64_t rows = kernel->rows < 20 ? kernel->rows : 20;
        if (!kernel->format)
            continue;
        assert_int_equal(
            shoal_bench_linears_open(kernel->format, 128, rows, 1, shoal_cpu_best(), &linears),
            SHOAL_OK);
        assert_int_equal(linears.count, 1);
        assert_int_equal(shoal_bench_linears_check(&linears, &yard, rows), SHOAL_OK);
        linears.copies[0].decode = linears.copies[0].prefill = &wrong;
        assert_int_equal(shoal_bench_linears_check(&linears, &yard, rows), SHOAL_ERR_INTERNAL);
        assert_non_null(strstr(shoal_error_text(), "wrong"));
        shoal_bench_linears_close(&linears);
    }
    shoal_bench_yard_close(&yard);
}

static shoal_status one_bit_off(shoal_backend *backend, const shoal_attention_args *args)
{
    (void)backend;
    args->out[args->rows * args->heads * args->head_dim - 1] += 1;
    return SHOAL_OK;
}

static void test_attention_with_a_wrong_number_is_noticed(void **state)
{
    (void)state;
    static const shoal_kv_type types[] = {SHOAL_KV_F32, SHOAL_KV_F16, SHOAL_KV_INT8};
    const shoal_backend_ops wrong = {.name = "cpu", .attention = one_bit_off};
    for (int prefill = 0; prefill < 2; prefill++) {
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            const shoal_bench_kernel kernel = {.rows = prefill ? 48 : 1,
                                               .positions = prefill ? 48 : 272,
                                               .heads = 4,
                                               .kv_heads = 2,
                                               .head_dim = 64,
                                               .kv = types[t]};
            shoal_bench_attention a;
            double seconds;
            assert_int_equal(shoal_bench_attention_open(&kernel, 2, shoal_cpu_best(), 1 << 20, &a),
                             SHOAL_OK);
            assert_true(a.count >= 1);
            assert_int_equal(shoal_bench_attention_check(&a), SHOAL_OK);
            assert_int_equal(shoal_bench_attention_seconds(&a, 3, &seconds), SHOAL_OK);
            const shoal_backend_ops *right = a.backend->ops;
            a.backend->ops = &wrong;
            assert_int_equal(shoal_bench_attention_check(&a), SHOAL_ERR_INTERNAL);
            a.backend->ops = right;
            shoal_bench_attention_close(&a);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_rows_have_names_of_their_own),
        cmocka_unit_test(test_an_expression_selects),
        cmocka_unit_test(test_slices_fit_their_caches),
        cmocka_unit_test(test_operations_are_those_counted_one_by_one),
        cmocka_unit_test(test_a_swing_hits_both_of_a_pair),
        cmocka_unit_test(test_pairs_need_a_limit_on_either_side),
        cmocka_unit_test(test_random_numbers_are_where_they_should_be),
        cmocka_unit_test(test_a_linear_with_a_wrong_bit_is_noticed),
        cmocka_unit_test(test_attention_with_a_wrong_number_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
