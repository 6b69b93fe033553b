/* Rows of sums as they travel between nodes: how far rounding goes, and what may not vanish. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/dtype.h"
#include "worker/payload.h"

#define WIDTH 300 /* two groups and a short one */
#define BYTES 2048

static const shoal_payload payloads[] = {SHOAL_PAYLOAD_BF16, SHOAL_PAYLOAD_INT8};

static uint64_t state = 88172645463325252u;

static int64_t random_sum(int bits)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    const int64_t magnitude = (int64_t)(state >> 1) >> (63 - bits);
    return state & 1 ? magnitude : -magnitude;
}

/* What payload.h promises: bf16 |p| / 255, int8 the largest of the group / 253, and 2^-28. */
static double allowed(shoal_payload payload, const int64_t *row, uint64_t i)
{
    if (payload == SHOAL_PAYLOAD_BF16)
        return fabs((double)row[i]) / 255 + 1;
    const uint64_t begin = i / SHOAL_PAYLOAD_GROUP * SHOAL_PAYLOAD_GROUP;
    double most = 0;
    for (uint64_t j = begin; j < begin + SHOAL_PAYLOAD_GROUP && j < WIDTH; j++)
        most = fmax(most, fabs((double)row[j]));
    return most / 253 + 1;
}

static void test_loss(void **unused)
{
    (void)unused;
    for (int turn = 0; turn < 2000; turn++) {
        for (size_t p = 0; p < 2; p++) {
            int64_t row[WIDTH + 1], sum[WIDTH + 1];
            uint8_t packed[BYTES];
            for (int i = 0; i < WIDTH; i++) {
                row[i] = random_sum(turn % 61 + 1);
                sum[i] = random_sum(40);
            }
            row[WIDTH] = turn;
            sum[WIDTH] = 5;
            int64_t before[WIDTH];
            memcpy(before, sum, sizeof before);
            assert_in_range(shoal_payload_bytes(payloads[p], WIDTH), 1, BYTES);
            shoal_payload_pack(payloads[p], row, WIDTH, packed);
            shoal_payload_add(payloads[p], packed, WIDTH, sum);
            assert_int_equal(sum[WIDTH], 5 + turn);
            for (uint64_t i = 0; i < WIDTH; i++)
                assert_true(fabs((double)(sum[i] - before[i] - row[i])) <=
                            allowed(payloads[p], row, i));
        }
    }
}

/* The largest sum there can be, 4096 units of 2^22, arrives; so does its neighbour, which rounds up
 * to it. */
static void test_largest(void **unused)
{
    (void)unused;
    const int64_t largest = INT64_C(1) << 62;
    for (size_t p = 0; p < 2; p++) {
        for (int64_t less = 0; less < 2; less++) {
            int64_t row[WIDTH + 1] = {largest - (less << 30)}, sum[WIDTH + 1] = {0};
            uint8_t packed[BYTES];
            shoal_payload_pack(payloads[p], row, WIDTH, packed);
            shoal_payload_add(payloads[p], packed, WIDTH, sum);
            assert_int_equal(sum[0], largest);
            assert_int_equal(sum[WIDTH], 0);
        }
    }
}

/* Bytes damaged on their way end the row instead of changing it silently. */
static void test_damaged(void **unused)
{
    (void)unused;
    int64_t row[WIDTH + 1] = {1 << 20}, sum[WIDTH + 1] = {0};
    uint8_t packed[BYTES];
    const float infinite = INFINITY;
    const uint16_t half = shoal_bf16_from_f32(NAN);
    shoal_payload_pack(SHOAL_PAYLOAD_INT8, row, WIDTH, packed);
    memcpy(packed + sizeof(int64_t), &infinite, sizeof infinite);
    shoal_payload_add(SHOAL_PAYLOAD_INT8, packed, WIDTH, sum);
    assert_true(sum[WIDTH] > 0);
    memset(sum, 0, sizeof sum);
    shoal_payload_pack(SHOAL_PAYLOAD_BF16, row, WIDTH, packed);
    memcpy(packed + sizeof(int64_t), &half, sizeof half);
    shoal_payload_add(SHOAL_PAYLOAD_BF16, packed, WIDTH, sum);
    assert_int_equal(sum[WIDTH], 1);
    assert_int_equal(sum[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
