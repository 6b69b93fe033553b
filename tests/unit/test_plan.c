/* tests/unit/test_plan.c - the deal, exhaustively: properties that every plan must have, worked
 * examples, and the cost rule computed a second time the slow way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/linear.h"
#include "shard/plan.h"

static shoal_plan plan; /* too big for a stack frame */

/* Counted, because one cmocka assertion per range would dominate the run. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("heads %lld kv %lld inter %lld unit %lld ranks %d rank %d: %s",               \
                     (long long)plan.shape.heads, (long long)plan.shape.kv_heads,                  \
                     (long long)plan.shape.intermediate, (long long)plan.shape.unit, plan.ranks,   \
                     r, #condition);                                                               \
    } while (0)

static shoal_plan_shape plain(int64_t heads, int64_t kv_heads, int64_t head_dim,
                              int64_t intermediate, int64_t unit, int64_t vocab, int64_t hidden)
{
    return (shoal_plan_shape){.heads = heads,
                              .kv_heads = kv_heads,
                              .head_dim = head_dim,
                              .intermediate = intermediate,
                              .unit = unit,
                              .vocab = vocab,
                              .hidden = hidden};
}

static const double uneven[][16] = {
    {2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {1000, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {1, 1e-9, 1, 1e-9, 1, 1e-9, 1, 1e-9, 1, 1e-9, 1, 1e-9, 1, 1e-9, 1, 1e-9},
    {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6},
    {1e-300, 1e300, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1e300},
};
#define UNEVEN ((int)(sizeof uneven / sizeof uneven[0]))

/* Ascending, gapless over [0, total); with equal capacities sizes fall by at most one block. */
static void check_deal(const shoal_range *ranges, size_t stride, int64_t total, bool equal)
{
    int64_t at = 0;
    int64_t first = 0, previous = 0;

    for (int r = 0; r < plan.ranks; r++) {
        const shoal_range *range = (const shoal_range *)((const char *)ranges + (size_t)r * stride);
        const int64_t size = shoal_range_size(*range);

        CHECK(range->begin == at);
        CHECK(size >= 0);
        if (r == 0)
            first = size;
        else if (equal)
            CHECK(size <= previous && size >= first - 1);
        previous = size;
        at = range->end;
        if (r == plan.ranks - 1)
            CHECK(at == total);
    }
}

/* The same range in elements: blocks of `size`, cut at the end. */
static void check_cover(int r, shoal_range blocks, shoal_range elements, int64_t size,
                        int64_t total)
{
    const int64_t end = blocks.end * size < total ? blocks.end * size : total;
    const int64_t begin = blocks.begin * size < total ? blocks.begin * size : total;

    CHECK(elements.begin == begin && elements.end == end);
    CHECK((shoal_range_size(blocks) == 0) == (shoal_range_size(elements) == 0));
}

/* A kv head belongs to a rank exactly when one of the rank's q heads reads it. */
static void check_kv(int r)
{
    const shoal_rank_plan *rank = &plan.rank[r];
    const int64_t group = plan.shape.heads / plan.shape.kv_heads;

    if (shoal_range_size(rank->q_heads) == 0) {
        CHECK(rank->kv_heads.begin == rank->kv_heads.end);
        CHECK(rank->kv_heads.end == (r ? plan.rank[r - 1].kv_heads.end : 0));
        return;
    }
    for (int64_t kv = 0; kv < plan.shape.kv_heads; kv++) {
        const bool held = kv >= rank->kv_heads.begin && kv < rank->kv_heads.end;
        const bool read = rank->q_heads.begin < (kv + 1) * group && rank->q_heads.end > kv * group;
        CHECK(held == read);
    }
    CHECK(r == 0 || rank->kv_heads.end >= plan.rank[r - 1].kv_heads.end);
    if (plan.whole_kv_groups)
        CHECK(rank->q_heads.begin % group == 0 && rank->q_heads.end % group == 0);
}

static void check_plan(bool equal)
{
    const shoal_plan_shape *s = &plan.shape;
    const shoal_rank_plan *first = plan.rank;
    const size_t stride = sizeof *first;

    check_deal(&first->q_heads, stride, s->heads, equal && !plan.whole_kv_groups);
    check_deal(&first->units, stride, (s->intermediate + s->unit - 1) / s->unit, equal);
    check_deal(&first->vocab_panels, stride, (s->vocab + 63) / 64, equal);
    check_deal(&first->intermediate, stride, s->intermediate, false);
    check_deal(&first->vocab, stride, s->vocab, false);
    check_deal(&first->hidden, stride, s->hidden, false);
    int64_t kv = 0;
    for (int r = 0; r < plan.ranks; r++) {
        const shoal_rank_plan *rank = &plan.rank[r];
        check_kv(r);
        check_cover(r, rank->units, rank->intermediate, s->unit, s->intermediate);
        check_cover(r, rank->vocab_panels, rank->vocab, 64, s->vocab);
        CHECK(rank->hidden.begin % 64 == 0 || rank->hidden.begin == s->hidden);
        kv += shoal_range_size(rank->kv_heads);
    }
    const int r = plan.ranks;
    CHECK(kv >= s->kv_heads && kv <= s->kv_heads + plan.ranks - 1);
    CHECK(!plan.whole_kv_groups || kv == s->kv_heads);
}

static void make(int64_t heads, int64_t kv_heads, int ranks, const double *capacity)
{
    const shoal_plan_shape shape = plain(heads, kv_heads, 64, heads * 100, 128, 1000, heads * 64);

    assert_int_equal(shoal_plan_make(&shape, ranks, capacity, &plan), SHOAL_OK);
}

/* heads 1..64 x kv heads dividing them x ranks 1..16 x capacities. */
static void test_heads(void **state)
{
    (void)state;
    for (int64_t heads = 1; heads <= 64; heads++)
        for (int64_t kv = 1; kv <= heads; kv++) {
            if (heads % kv)
                continue;
            for (int ranks = 1; ranks <= 16; ranks++) {
                make(heads, kv, ranks, NULL);
                check_plan(true);
                for (int c = 0; c < UNEVEN; c++) {
                    make(heads, kv, ranks, uneven[c]);
                    check_plan(false);
                }
            }
        }
}

/* More ranks than anything there is to deal. */
static void test_many_ranks(void **state)
{
    (void)state;
    static const int64_t heads[][2] = {{1, 1}, {6, 2}, {8, 1}, {8, 4}, {33, 11}, {64, 8}};

    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        for (int ranks = 17; ranks <= 64; ranks++) {
            make(heads[i][0], heads[i][1], ranks, NULL);
            check_plan(true);
        }
    make(4096, 128, SHOAL_RANKS_MAX, NULL);
    check_plan(true);
    assert_int_equal(plan.rank[1023].q_heads.begin, 4092);
}

/* Cost of the costliest rank when heads are dealt singly or in groups, from the header's text. */
static double slow_cost(int64_t heads, int64_t kv, int ranks, bool groups)
{
    shoal_range deal[16];
    const int64_t size = heads / kv;
    double worst = 0;

    shoal_plan_deal(groups ? kv : heads, ranks, NULL, deal);
    for (int r = 0; r < ranks; r++) {
        int64_t held = 0;
        const int64_t a = deal[r].begin * (groups ? size : 1);
        const int64_t b = deal[r].end * (groups ? size : 1);

        for (int64_t h = a; h < b; h++)
            held += h == a || h % size == 0;
        const double cost = (double)(2 * (b - a) + 4 * held);
        worst = cost > worst ? cost : worst;
    }
    return worst;
}

static void test_cost_rule(void **state)
{
    (void)state;
    for (int64_t heads = 1; heads <= 64; heads++)
        for (int64_t kv = 1; kv <= heads; kv++)
            for (int r = 1; r <= 16 && heads % kv == 0; r++) {
                const double single = slow_cost(heads, kv, r, false);
                const double whole = slow_cost(heads, kv, r, true);

                make(heads, kv, r, NULL);
                CHECK(plan.whole_kv_groups == (single * 10 > whole * 9));
            }
    make(64, 8, 3, NULL); /* 3,3,2 groups cost 60; single heads 58 */
    assert_true(plan.whole_kv_groups);
    make(64, 8, 7, NULL); /* 2 groups cost 40; 10 heads over 2 kv heads 28 */
    assert_false(plan.whole_kv_groups);
    make(64, 8, 16, NULL);
    assert_false(plan.whole_kv_groups);
    make(64, 8, 8, NULL);
    assert_true(plan.whole_kv_groups);
    static const double lopsided[] = {7, 1}; /* 7 groups of 8 on the strong one */
    make(64, 8, 2, lopsided);
    assert_true(plan.whole_kv_groups);
    assert_int_equal(plan.rank[0].q_heads.end, 56);
}

static const int64_t mlp_groups[] = {32, 64, 128, 256, 128 /* per channel */};

static void check_mlp(int64_t intermediate, int64_t group)
{
    const int64_t groups[2] = {group, group};
    shoal_plan_shape shape = plain(8, 2, 128, intermediate, 0, 320, 1024);

    assert_int_equal(shoal_plan_down_unit(groups, 2, intermediate, &shape.unit), SHOAL_OK);
    const int64_t base = group > 128 ? group : 128;
    assert_int_equal(shape.unit, intermediate >= 4096 ? 2 * base : base);
    for (int ranks = 1; ranks <= 64; ranks += ranks < 16 ? 1 : 16) {
        assert_int_equal(shoal_plan_make(&shape, ranks, NULL, &plan), SHOAL_OK);
        check_plan(true);
    }
    for (int c = 0; c < UNEVEN; c++) {
        assert_int_equal(shoal_plan_make(&shape, 7, uneven[c], &plan), SHOAL_OK);
        check_plan(false);
    }
}

static void test_units(void **state)
{
    (void)state;
    static const int64_t real[] = {29568, 28672, 53248, 14336, 11008, 5504, 320, 768, 18944};

    for (size_t g = 0; g < sizeof mlp_groups / sizeof mlp_groups[0]; g++) {
        for (int64_t intermediate = 1; intermediate <= 40000; intermediate += 1 + intermediate / 97)
            check_mlp(intermediate, mlp_groups[g]);
        for (size_t i = 0; i < sizeof real / sizeof real[0]; i++)
            check_mlp(real[i], mlp_groups[g]);
    }
}

/* Every expert is covered without gap or overlap, in the order of the ranks, cut to within one unit
 * or not at all; and so are all units of a layer. */
static void check_experts(void)
{
    const shoal_plan_mlps *e = &plan.shape.experts;
    const int64_t each = (e->intermediate + e->unit - 1) / e->unit;
    int64_t held[SHOAL_RANKS_MAX] = {0};
    int r = 0;

    check_deal(&plan.rank->expert_units, sizeof *plan.rank, e->count * each,
               !plan.shape.whole_experts);
    for (int64_t expert = 0; expert < e->count; expert++) {
        int64_t at = 0, most_units = 0, least_units = each;
        for (r = 0; r < plan.ranks; r++) {
            const shoal_range mine = shoal_plan_expert(&plan, r, expert);
            const int64_t units = (shoal_range_size(mine) + e->unit - 1) / e->unit;
            CHECK(mine.begin == at && mine.end >= at);
            CHECK(mine.begin % e->unit == 0 || mine.begin == e->intermediate);
            at = mine.end;
            held[r] += units;
            most_units = units > most_units ? units : most_units;
            least_units = units < least_units ? units : least_units;
        }
        CHECK(at == e->intermediate);
        CHECK(plan.shape.whole_experts ? most_units == each : most_units - least_units <= 1);
    }
    for (r = 0; r < plan.ranks; r++)
        CHECK(held[r] == shoal_range_size(plan.rank[r].expert_units));
    check_deal(&plan.rank->shared, sizeof *plan.rank, plan.shape.shared.intermediate, false);
}

static void test_experts(void **state)
{
    (void)state;
    static const shoal_plan_mlps experts[] = {{8, 64, 128},    {4, 128, 128},   {128, 768, 128},
                                              {60, 1408, 128}, {8, 14336, 256}, {1, 300, 128}};
    static const shoal_plan_mlps shared[] = {{0, 0, 0}, {1, 5632, 256}, {1, 100, 128}};

    for (size_t i = 0; i < 18; i++)
        for (int ranks = 1; ranks <= 40; ranks += ranks < 9 ? 1 : 10)
            for (int whole = 0; whole < 2; whole++) {
                shoal_plan_shape shape =
                    plain(8, 2, 64, i % 2 ? 512 : 0, i % 2 ? 128 : 0, 320, 512);
                shape.experts = experts[i / 3];
                shape.shared = shared[i % 3];
                shape.chosen = shape.experts.count > 1 ? 2 : 1;
                shape.whole_experts = whole;
                assert_int_equal(shoal_plan_make(&shape, ranks, NULL, &plan), SHOAL_OK);
                check_experts();
            }
}

static void test_expert_refusals(void **state)
{
    (void)state;
    shoal_plan_shape good = plain(8, 2, 64, 0, 0, 320, 512);
    good.experts = (shoal_plan_mlps){8, 14336, 256};
    good.chosen = 8;
    assert_int_equal(shoal_plan_make(&good, 2, NULL, &plan), SHOAL_OK);
    for (int i = 0; i < 6; i++) {
        shoal_plan_shape s = good;
        if (i == 0)
            s.chosen = 9;
        else if (i == 1)
            s.chosen = 0;
        else if (i == 2)
            s.experts.unit = 0;
        else if (i == 3)
            s.shared = (shoal_plan_mlps){2, 128, 128};
        else if (i == 4)
            s.shared = (shoal_plan_mlps){0, 128, 128};
        else
            s.experts.intermediate = 14336 * 10; /* 8 * 560 units */
        assert_int_equal(shoal_plan_make(&s, 2, NULL, &plan), SHOAL_ERR_DATA);
    }
}

static void test_down_unit(void **state)
{
    (void)state;
    static const int64_t mixed[] = {128, 96, 256, 40};
    int64_t unit = -1;

    assert_int_equal(shoal_plan_down_unit(mixed, 4, 4000, &unit), SHOAL_OK);
    assert_int_equal(unit, 3840);
    assert_int_equal(shoal_plan_down_unit(mixed, 3, 4096, &unit), SHOAL_OK);
    assert_int_equal(unit, 1536);
    assert_int_equal(shoal_plan_down_unit(mixed, 0, 4095, &unit), SHOAL_OK);
    assert_int_equal(unit, 128);
    assert_int_equal(shoal_plan_down_unit(mixed, 1, (int64_t)4096 * 256, &unit), SHOAL_OK);

    unit = -1;
    assert_int_equal(shoal_plan_down_unit(mixed, 1, (int64_t)4096 * 256 + 1, &unit),
                     SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "4097"));
    assert_non_null(strstr(shoal_error_text(), "1048577"));
    static const int64_t primes[] = {1048573, 1048571, 1048559};
    assert_int_equal(shoal_plan_down_unit(primes, 3, 4096, &unit), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "1048571"));
    static const int64_t wrong[] = {128, 0};
    assert_int_equal(shoal_plan_down_unit(wrong, 2, 4096, &unit), SHOAL_ERR_DATA);
    static const int64_t huge[] = {INT64_MAX};
    assert_int_equal(shoal_plan_down_unit(huge, 1, 4096, &unit), SHOAL_ERR_DATA);
    assert_int_equal(unit, -1);
}

static void check_sizes(int64_t count, int ranks, const double *capacity, const int64_t *sizes)
{
    shoal_range out[16];

    shoal_plan_deal(count, ranks, capacity, out);
    for (int r = 0; r < ranks; r++)
        assert_int_equal(shoal_range_size(out[r]), sizes[r]);
}

/* Deals worked out by hand. */
static void test_deal(void **state)
{
    (void)state;
    static const int64_t qwen[] = {15, 15, 15, 15, 14, 14, 14, 14};
    static const int64_t few[] = {1, 1, 1, 0, 0};
    static const int64_t half[] = {4, 2, 2};
    static const int64_t rest[] = {5, 2, 2}; /* 4.5, 2.25, 2.25 */
    static const int64_t tie[] = {3, 3, 1};
    static const int64_t ties[] = {2, 1, 1, 1}; /* four remainders of 1/4, one item */
    static const int64_t none[] = {0, 0, 0};
    static const double cap211[] = {2, 1, 1}, cap331[] = {3, 3, 1}, thirds[] = {.2, .1, .1};

    check_sizes(116, 8, NULL, qwen);
    check_sizes(3, 5, NULL, few);
    check_sizes(8, 3, cap211, half);
    check_sizes(9, 3, cap211, rest);
    check_sizes(9, 3, thirds, rest);
    check_sizes(7, 3, cap331, tie);
    check_sizes(5, 4, NULL, ties);
    check_sizes(0, 3, NULL, none);
}

/* Largest remainder's defining property: nobody is a whole item away from the exact share. */
static void test_quota(void **state)
{
    (void)state;
    for (int c = 0; c < UNEVEN; c++)
        for (int ranks = 1; ranks <= 16; ranks++)
            for (int64_t count = 0; count <= 2000; count += 1 + count / 7) {
                shoal_range out[16];
                double total = 0, largest = 0;

                shoal_plan_deal(count, ranks, uneven[c], out);
                for (int r = 0; r < ranks; r++)
                    largest = uneven[c][r] > largest ? uneven[c][r] : largest;
                for (int r = 0; r < ranks; r++)
                    total += uneven[c][r] / largest;
                for (int r = 0; r < ranks; r++) {
                    const double exact = (double)count * (uneven[c][r] / largest) / total;
                    assert_true(fabs((double)shoal_range_size(out[r]) - exact) < 1.0001);
                }
            }
}

static void test_equal_capacities(void **state)
{
    (void)state;
    static const double same[] = {0.3, 0.3, 0.3, 0.3, 0.3};
    uint8_t a[16], b[16];

    make(48, 6, 5, NULL);
    shoal_plan_digest(&plan, a);
    make(48, 6, 5, same);
    shoal_plan_digest(&plan, b);
    assert_memory_equal(a, b, 16);
}

/* Equal plans, equal digests; every number of the shape and the deal changes it. */
static void test_digest(void **state)
{
    (void)state;
    static const double shift[] = {2, 1, 1};
    uint8_t base[16], other[16];

    make(64, 8, 3, NULL);
    shoal_plan_digest(&plan, base);
    memset(&plan, 0xff, sizeof plan); /* nothing of the old plan or its padding may survive */
    make(64, 8, 3, NULL);
    shoal_plan_digest(&plan, other);
    assert_memory_equal(base, other, 16);
    make(64, 8, 4, NULL);
    shoal_plan_digest(&plan, other);
    assert_memory_not_equal(base, other, 16);
    make(64, 8, 3, shift);
    shoal_plan_digest(&plan, other);
    assert_memory_not_equal(base, other, 16);
    for (int field = 0; field < 7; field++) {
        shoal_plan_shape shape = plain(64, 8, 64, 6400, 128, 1000, 4096);
        int64_t *fields[] = {&shape.heads, &shape.kv_heads, &shape.head_dim, &shape.intermediate,
                             &shape.unit,  &shape.vocab,    &shape.hidden};
        *fields[field] *= 2;
        assert_int_equal(shoal_plan_make(&shape, 3, NULL, &plan), SHOAL_OK);
        shoal_plan_digest(&plan, other);
        assert_memory_not_equal(base, other, 16);
    }
    for (size_t byte = 0; byte < 3 * sizeof(shoal_rank_plan); byte += 8) {
        make(64, 8, 3, NULL);
        ((unsigned char *)plan.rank)[byte] ^= 1;
        shoal_plan_digest(&plan, other);
        assert_memory_not_equal(base, other, 16);
    }
}

static void test_digest_of_experts(void **state)
{
    (void)state;
    shoal_plan_shape good = plain(8, 2, 64, 512, 128, 320, 512);
    uint8_t base[16], other[16];
    good.experts = (shoal_plan_mlps){8, 640, 128};
    good.shared = (shoal_plan_mlps){1, 640, 128};
    good.chosen = 2;
    assert_int_equal(shoal_plan_make(&good, 3, NULL, &plan), SHOAL_OK);
    shoal_plan_digest(&plan, base);
    for (int field = 0; field < 7; field++) {
        shoal_plan_shape s = good;
        int64_t *fields[] = {&s.experts.count,       &s.experts.unit, &s.experts.intermediate,
                             &s.shared.intermediate, &s.shared.unit,  &s.chosen};
        if (field < 6)
            *fields[field] *= 2;
        else
            s.whole_experts = true;
        assert_int_equal(shoal_plan_make(&s, 3, NULL, &plan), SHOAL_OK);
        shoal_plan_digest(&plan, other);
        assert_memory_not_equal(base, other, 16);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    const shoal_plan_shape good = plain(64, 8, 128, 28672, 256, 128256, 8192);
    const double bad[] = {1, 0, 1, -1, 1, NAN, 1, INFINITY};

    assert_int_equal(shoal_plan_make(&good, 0, NULL, &plan), SHOAL_ERR_USAGE);
    assert_int_equal(shoal_plan_make(&good, SHOAL_RANKS_MAX + 1, NULL, &plan), SHOAL_ERR_USAGE);
    for (int i = 0; i < 8; i += 2) {
        assert_int_equal(shoal_plan_make(&good, 2, bad + i, &plan), SHOAL_ERR_USAGE);
        assert_non_null(strstr(shoal_error_text(), "rank 1"));
    }
    for (int field = 0; field < 7; field++)
        for (int kind = 0; kind < 3; kind++) {
            static const int64_t wrong[] = {0, -5, INT64_MAX};
            shoal_plan_shape s = good;
            int64_t *fields[] = {&s.heads, &s.kv_heads, &s.head_dim, &s.intermediate,
                                 &s.unit,  &s.vocab,    &s.hidden};
            *fields[field] = wrong[kind];
            assert_int_equal(shoal_plan_make(&s, 2, NULL, &plan), SHOAL_ERR_DATA);
        }
    shoal_plan_shape s = good;
    s.kv_heads = 7;
    assert_int_equal(shoal_plan_make(&s, 2, NULL, &plan), SHOAL_ERR_DATA);
    s = good;
    s.unit = 1;
    assert_int_equal(shoal_plan_make(&s, 2, NULL, &plan), SHOAL_ERR_DATA);
    s = good;
    s.heads = 8192;
    assert_int_equal(shoal_plan_make(&s, 2, NULL, &plan), SHOAL_ERR_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_many_ranks),
        cmocka_unit_test(test_cost_rule),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_down_unit),
        cmocka_unit_test(test_deal),
        cmocka_unit_test(test_quota),
        cmocka_unit_test(test_equal_capacities),
        cmocka_unit_test(test_digest),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_experts),
        cmocka_unit_test(test_expert_refusals),
        cmocka_unit_test(test_digest_of_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
