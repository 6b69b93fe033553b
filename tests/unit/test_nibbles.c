/* Rows of kernels/nibbles.h against the reference over ragged shapes, and the reference against
 * what the words of files say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/linear_case.h"

#include <cmocka.h>

#include "kernels/nibbles.h"

#define ROOM (64 << 10)

static const shoal_nibble_order *const orders[] = {&shoal_nibbles_plain, &shoal_nibbles_awq};

static void fill(uint8_t *bytes, size_t count, uint8_t mask)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)case_random() & mask;
}

/* The words of AWQ, as docs of their writer put it. */
static void orders_are_those_of_files(void **state)
{
    static const uint8_t awq[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    uint8_t codes[16], packed[8];
    (void)state;
    for (int i = 0; i < 16; i++)
        codes[i] = (uint8_t)i;
    shoal_nibbles_ref.pack(codes, 16, &shoal_nibbles_plain, packed);
    assert_true(shoal_load_le64(packed) == UINT64_C(0xfedcba9876543210));
    shoal_nibbles_ref.pack(codes, 8, &shoal_nibbles_awq, packed);
    for (int i = 0; i < 8; i++)
        assert_int_equal(shoal_load_le32(packed) >> (4 * i) & 15, awq[i]);
}

static const shoal_nibbles_row *row_here(void)
{
    const shoal_nibbles_row *row = shoal_nibbles_best();
    if (row == &shoal_nibbles_ref)
        print_message("only the reference on this machine\n");
    return row;
}

static void packing_is_equal(void **state)
{
    static uint8_t codes[ROOM], want[ROOM], got[ROOM];
    const shoal_nibbles_row *row = row_here();
    (void)state;
    for (size_t o = 0; o < sizeof orders / sizeof orders[0]; o++)
        for (int64_t count = 0; count <= 336; count += o ? 16 : 2) {
            fill(codes, (size_t)count, 15);
            memset(want, 0xa5, ROOM);
            memset(got, 0xa5, ROOM);
            shoal_nibbles_ref.pack(codes, count, orders[o], want);
            row->pack(codes, count, orders[o], got);
            assert_memory_equal(want, got, ROOM);
            memset(got + count / 2, 0xa5, ROOM - (size_t)count / 2);
            row->unpack(want, count, orders[o], got);
            assert_memory_equal(codes, got, (size_t)count);
            assert_int_equal(got[count], 0xa5);
        }
    fill(want, 64, 255); /* an odd number of codes */
    shoal_nibbles_ref.unpack(want, 101, &shoal_nibbles_plain, codes);
    row->unpack(want, 101, &shoal_nibbles_plain, got);
    assert_memory_equal(codes, got, 101);
}

static void turns_are_equal(void **state)
{
    static uint8_t from[ROOM], want[ROOM], got[ROOM];
    static const int64_t counts[] = {0, 1, 7, 8, 15, 16, 24, 31, 32, 33, 64};
    enum { COUNTS = (int)(sizeof counts / sizeof counts[0]) };
    const shoal_nibbles_row *row = row_here();
    (void)state;
    fill(from, ROOM, 255);
    for (int r = 0; r < COUNTS; r++)
        for (int c = 0; c < COUNTS; c++) {
            const int64_t rows = counts[r], columns = counts[c];
            memset(want, 0xa5, ROOM);
            memset(got, 0xa5, ROOM);
            shoal_nibbles_ref.turn_bytes(from + 1, columns + 5, rows, columns, want, rows + 3);
            row->turn_bytes(from + 1, columns + 5, rows, columns, got, rows + 3);
            assert_memory_equal(want, got, ROOM);
            for (int64_t i = 0; i < rows * columns; i++)
                assert_int_equal(want[i % columns * (rows + 3) + i / columns],
                                 from[1 + i / columns * (columns + 5) + i % columns]);
            shoal_nibbles_ref.turn_words(from, 4 * columns + 8, rows, columns, want, 4 * rows + 4);
            row->turn_words(from, 4 * columns + 8, rows, columns, got, 4 * rows + 4);
            assert_memory_equal(want, got, ROOM);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_are_those_of_files),
        cmocka_unit_test(packing_is_equal),
        cmocka_unit_test(turns_are_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
