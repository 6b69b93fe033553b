/* Strided tensors against the plain definition: element (i, j, ...) lies at sum(index * stride).
 * Random shapes and strides, random byte ranges and rows of ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "shard/tensor_view.h"

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])

static uint64_t seed = 7;

static uint64_t below(uint64_t limit)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % limit;
}

static uint8_t stored[1 << 16];
static uint64_t bytes_read;

static shoal_status source(void *context, const shoal_row_runs *runs, void *out)
{
    (void)context;
    assert_true(shoal_runs_inside(runs, sizeof stored));
    for (uint64_t i = 0; i < runs->rows; i++)
        memcpy((char *)out + i * runs->bytes, stored + runs->offset + i * runs->stride,
               runs->bytes);
    bytes_read += runs->rows * runs->bytes;
    return SHOAL_OK;
}

typedef struct {
    int rank;
    int64_t sizes[4], strides[4];
} layout;

/* The whole tensor, row-major. */
static size_t gather(const layout *l, uint64_t element, uint64_t begin, uint8_t *out)
{
    size_t count = 1;
    for (int i = 0; i < l->rank; i++)
        count *= (size_t)l->sizes[i];
    for (size_t e = 0; e < count; e++) {
        uint64_t at = begin, rest = e;
        for (int i = l->rank - 1; i >= 0; i--) {
            at += rest % (uint64_t)l->sizes[i] * (uint64_t)l->strides[i] * element;
            rest /= (uint64_t)l->sizes[i];
        }
        memcpy(out + e * element, stored + at, element);
    }
    return count * element;
}

static const layout views[] = {
    {2, {7, 5}, {9, 1}},               /* a slice of wider rows   */
    {2, {7, 5}, {1, 7}},               /* transposed              */
    {2, {7, 5}, {1, 11}},              /* transposed, with a gap  */
    {1, {12}, {3}},                    /* every third element     */
    {2, {12, 1}, {3, 99}},             /* the same as a column    */
    {3, {4, 6, 5}, {60, 10, 1}},       /* rows of rows, one gap   */
    {3, {4, 3, 10}, {50, 10, 1}},      /* inner dimensions join   */
    {4, {1, 8, 1, 4}, {77, 1, 77, 8}}, /* sizes of one in between */
};

static void any_range(void **state)
{
    uint8_t whole[4096], got[4096];
    (void)state;
    for (size_t i = 0; i < sizeof stored; i++)
        stored[i] = (uint8_t)below(256);
    for (size_t v = 0; v < LENGTH(views); v++)
        for (int turn = 0; turn < 300; turn++) {
            const uint64_t element = UINT64_C(1) << below(4), begin = below(100);
            const size_t bytes = gather(&views[v], element, begin, whole);
            shoal_tensor_view view;
            assert_true(
                shoal_view_make(views[v].rank, views[v].sizes, views[v].strides, element, &view));
            assert_true(view.rows > 0);
            const uint64_t width = (uint64_t)view.columns * element, total = bytes / element;
            shoal_row_runs runs = {.rows = 1};
            runs.offset = below(total) * element;
            runs.bytes = (below(total - runs.offset / element) + 1) * element;
            runs.stride = runs.bytes;
            if (turn % 2) { /* a rectangle, or runs that cross rows */
                runs.stride = turn % 4 == 1 ? width : (below(total) + 1) * element;
                runs.bytes = (below(runs.stride / element) + 1) * element;
                runs.offset = below(total - runs.bytes / element + 1) * element;
                runs.rows = (bytes - runs.offset - runs.bytes) / runs.stride + 1;
            }
            bytes_read = 0;
            assert_int_equal(shoal_view_read(&view, element, begin, &runs, source, NULL, got),
                             SHOAL_OK);
            assert_int_equal(bytes_read, runs.rows * runs.bytes);
            for (uint64_t r = 0; r < runs.rows; r++)
                assert_memory_equal(got + r * runs.bytes, whole + runs.offset + r * runs.stride,
                                    runs.bytes);
        }
}

static void plain_is_no_view(void **state)
{
    static const layout plain[] = {
        {0, {0}, {0}},       {1, {9}, {1}},
        {2, {3, 4}, {4, 1}}, {3, {1, 3, 4}, {5, 4, 1}},
        {2, {0, 4}, {0, 0}}, {3, {0, INT64_C(1) << 62, 4}, {4, 4, 1}}, /* nothing, however large */
        {2, {1, 1}, {8, 8}}, {3, {2, 3, 4}, {12, 4, 1}},
    };
    shoal_tensor_view view;
    (void)state;
    for (size_t i = 0; i < LENGTH(plain); i++) {
        assert_true(shoal_view_make(plain[i].rank, plain[i].sizes, plain[i].strides, 2, &view));
        assert_int_equal(view.rows, 0);
    }
}

static void not_read(void **state)
{
    static const layout other[] = {
        {2, {3, 4}, {0, 1}},       /* one row, expanded        */
        {2, {3, 4}, {1, 0}},       /* one column, expanded     */
        {1, {4}, {0}},             /* one element, expanded    */
        {2, {3, 4}, {2, 1}},       /* rows that overlap        */
        {2, {3, 4}, {20, 2}},      /* gaps in both directions  */
        {3, {2, 3, 4}, {1, 2, 6}}, /* turned inside out        */
    };
    shoal_tensor_view view;
    (void)state;
    for (size_t i = 0; i < LENGTH(other); i++)
        assert_false(shoal_view_make(other[i].rank, other[i].sizes, other[i].strides, 2, &view));
}

static void spans(void **state)
{
    shoal_tensor_view view;
    (void)state;
    assert_true(shoal_view_make(2, (int64_t[]){7, 5}, (int64_t[]){9, 1}, 2, &view));
    assert_int_equal(shoal_view_span(&view, 2), (6 * 9 + 5) * 2);
    assert_true(shoal_view_make(2, (int64_t[]){7, 5}, (int64_t[]){1, 11}, 2, &view));
    assert_int_equal(shoal_view_span(&view, 2), (4 * 11 + 7) * 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_range),
        cmocka_unit_test(plain_is_no_view),
        cmocka_unit_test(not_read),
        cmocka_unit_test(spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
