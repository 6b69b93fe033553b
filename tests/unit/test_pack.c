/* Every row of packing loops against the reference, over ragged shapes; and stored words against
 * the bytes that their canonical form packs to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/unit/linear_case.h"

#include <cmocka.h>

#include "kernels/pack.h"

#define ROOM (64 << 10)

static const int64_t counts[] = {1, 3, 8, 15, 16, 31, 64, 72, 129, 136, 256};
static const int64_t widths[] = {1, 7, 8, 24, 63, 64};

enum { ROWS = (int)(sizeof counts / sizeof counts[0]) };

static void fill(uint8_t *bytes, size_t count, uint8_t mask)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)case_random() & mask;
}

typedef struct {
    uint8_t in[ROOM], want[ROOM * 2], got[ROOM * 2];
} buffers;

/* One function of `row` and of the reference on the same input; what they write must be equal,
 * and what they must not write must stay. */
static void compare(buffers *b, const shoal_pack_row *row, int which, int64_t columns, int64_t k)
{
    const shoal_pack_row *const rows[2] = {&shoal_pack_ref, row};
    uint8_t *const out[2] = {b->want, b->got};
    unsigned all[2] = {0, 0};
    memset(b->want, 0xa5, sizeof b->want);
    memset(b->got, 0xa5, sizeof b->got);
    fill(b->in, sizeof b->in, which == 2 ? 15 : 255);
    for (int i = 0; i < 2; i++)
        switch (which) {
        case 0: rows[i]->k_words(b->in, 4 * columns + 8, columns, k, out[i]); break;
        case 1: rows[i]->n_words(b->in + 4, (columns + 7) / 8 * 4 + 12, columns, k, out[i]); break;
        case 2: all[i] = rows[i]->codes4(b->in + 1, k + 3, columns, k, out[i]); break;
        case 3: rows[i]->dwords(b->in, 4 * k / 2, columns, k / 2, 0x80808080u, out[i]); break;
        case 4: rows[i]->column_words(b->in + 4, (k + 7) / 8 * 4 + 4, columns, k, out[i]); break;
        case 5: rows[i]->fragments(b->in, 512 + 8, columns, k, out[i]); break;
        default: rows[i]->halves(b->in + 2, 2 * k + 6, columns, k, out[i]); break;
        }
    assert_int_equal(all[0], all[1]);
    assert_memory_equal(b->want, b->got, sizeof b->want);
}

static void rows_are_equal(void **state)
{
    static buffers b;
    const shoal_cpu_level levels[] = {SHOAL_CPU_AVX2, SHOAL_CPU_AVX512};
    (void)state;
    for (size_t l = 0; l < sizeof levels / sizeof levels[0]; l++) {
        const shoal_pack_row *row = shoal_pack_pick(levels[l]);
        if (row->needs != levels[l]) {
            print_message("%s: not on this machine\n", shoal_cpu_name(levels[l]));
            continue;
        }
        for (int which = 0; which < 7; which++)
            for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++)
                for (int c = 0; c < ROWS; c++)
                    compare(&b, row, which, widths[w], counts[c]);
    }
}

/* A code above 15 is found wherever it is. */
static void large_codes_are_seen(void **state)
{
    static uint8_t codes[64 * 136], panel[17 * 256];
    (void)state;
    for (int round = 0; round < 500; round++) {
        const size_t at = case_random() % sizeof codes;
        const uint8_t bad = (uint8_t)(16u << case_random() % 4);
        codes[at] = bad;
        for (int level = SHOAL_CPU_REF; level < SHOAL_CPU_LEVELS; level++)
            assert_int_equal(
                shoal_pack_pick((shoal_cpu_level)level)->codes4(codes, 136, 64, 136, panel), bad);
        codes[at] = 0;
    }
}

/* ---- stored words -------------------------------------------------------------------------- */

static void put_nibble(uint8_t *words, int64_t word, int nibble, unsigned code)
{
    words[word * 4 + nibble / 2] |= (uint8_t)(code << (nibble % 2 * 4));
}

/* Words from a row to the next. */
static int64_t row_words(const shoal_linear_spec *spec, shoal_words_form form)
{
    switch (form) {
    case SHOAL_WORDS_ALONG_K: return spec->n;
    case SHOAL_WORDS_ALONG_N: return spec->n / 8;
    case SHOAL_WORDS_BY_COLUMN:
        return shoal_ceil_div(spec->k, spec->kind == SHOAL_WEIGHT_INT8 ? 4 : 8);
    default: return shoal_ceil_div(spec->n, 64) * 128;
    }
}

/* Four columns q, q + 8 of 16 for every pair of inputs and those eight further. */
static void put_fragment(uint8_t *words, int64_t row, int64_t n, int64_t k, unsigned code)
{
    const int64_t thread = n % 8 * 4 + k % 8 / 2, block = n % 64 / 16;
    const int nibble = (int)(k % 16 / 8 + n % 16 / 8 * 2 + k % 2 * 4);
    put_nibble(words, k / 16 * row + n / 64 * 128 + thread * 4 + block, nibble, code);
}

/* The codes of a case as words; what lies beyond its inputs is all ones. */
static void write_words(const linear_case *t, shoal_words_form form, uint8_t *words)
{
    static const int nibble[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    const shoal_canonical *b = &t->block;
    const bool wide = b->kind == SHOAL_WEIGHT_INT8, along_k = form == SHOAL_WORDS_ALONG_K;
    const int64_t per_word = wide ? 4 : 8, row = row_words(&t->spec, form);
    const int64_t step = form == SHOAL_WORDS_ALONG_N     ? 1
                         : form == SHOAL_WORDS_FRAGMENTS ? 16
                                                         : per_word;
    const int64_t k_end = shoal_round_up(b->k, step);
    for (int64_t n = 0; n < b->n; n++)
        for (int64_t k = 0; k < k_end; k++) {
            const unsigned code = k < b->k ? b->codes[n * b->k + k] : 0xffu;
            const int64_t at = k / per_word, word = along_k ? at * row + n : n * row + at;
            if (form == SHOAL_WORDS_ALONG_N)
                put_nibble(words, k * row + n / 8, nibble[n % 8], code);
            else if (form == SHOAL_WORDS_FRAGMENTS)
                put_fragment(words, row, n, k, code & 15u);
            else if (wide)
                words[word * 4 + k % 4] = (uint8_t)code;
            else
                put_nibble(words, word, (int)(k % 8), code & 15u);
        }
}

/* Where words of output n, input k begin. */
static int64_t words_at(const shoal_stored *all, int64_t per_word, int64_t n, int64_t k)
{
    switch (all->form) {
    case SHOAL_WORDS_ALONG_K: return k / per_word * all->stride + 4 * n;
    case SHOAL_WORDS_ALONG_N: return k * all->stride + n / 2;
    case SHOAL_WORDS_BY_COLUMN: return n * all->stride + k / per_word * 4;
    default: return k / 16 * all->stride + n / 64 * 512;
    }
}

static void write_groups(const linear_case *t, uint8_t *scales, uint8_t *zeros)
{
    const shoal_canonical *b = &t->block;
    for (int64_t g = 0; g < b->groups; g++)
        for (int64_t n = 0; n < b->n; n++) {
            const int64_t from = n * b->groups + g, to = g * b->n + n;
            const float scale = b->scales[from];
            const uint16_t half =
                t->spec.dtype == SHOAL_F16 ? shoal_f16_from_f32(scale) : shoal_bf16_from_f32(scale);
            if (t->spec.dtype == SHOAL_F32)
                memcpy(scales + 4 * to, &scale, 4);
            else
                memcpy(scales + 2 * to, &half, 2);
            zeros[to] = b->zeros ? (uint8_t)b->zeros[from] : 0;
        }
}

/* The part [n, n_end) x [k, k_end) of stored rows, with the groups that begin in it. */
static void pack_part(const linear_case *t, const shoal_stored *all, shoal_linear *linear,
                      const int64_t n[2], const int64_t k[2])
{
    const size_t element = shoal_dtype_bytes(t->spec.dtype);
    const int64_t per_word = t->spec.kind == SHOAL_WEIGHT_INT8 ? 4 : 8;
    const int64_t first = shoal_ceil_div(k[0], t->spec.group);
    const int64_t last = shoal_ceil_div(k[1], t->spec.group);
    uint8_t *scales = case_array(all->n * (last - first) + 1, element);
    uint8_t *zeros = case_array(all->n * (last - first) + 1, 1);
    const int64_t columns = n[1] - n[0];
    for (int64_t g = first; g < last; g++) {
        memcpy(scales + (size_t)((g - first) * columns) * element,
               all->scales + (size_t)(g * all->n + n[0]) * element, (size_t)columns * element);
        memcpy(zeros + (g - first) * columns, all->zeros + g * all->n + n[0], (size_t)columns);
    }
    shoal_stored part = *all;
    part.n = columns;
    part.k = k[1] - k[0];
    part.groups = last - first;
    part.scales = scales;
    part.zeros = t->spec.has_zeros ? zeros : NULL;
    part.codes += words_at(all, per_word, n[0], k[0]);
    const shoal_place place = {n[0], k[0], first};
    case_must(shoal_linear_pack_stored(linear, &place, &part));
    free(scales);
    free(zeros);
}

/* A random linear whose zeros fit a byte, as those of files do. */
static linear_case *create(const shoal_linear_spec *spec)
{
    linear_case *t = case_create(*spec, 1);
    for (int64_t i = 0; t->block.zeros && i < spec->n * t->block.groups; i++)
        t->block.zeros[i] = (int16_t)shoal_min_i64(t->block.zeros[i], 255);
    case_must(shoal_linear_pack(&t->linear, 0, &t->block));
    return t;
}

static void compare_stored(const shoal_linear_spec *spec, shoal_words_form form)
{
    linear_case *t = create(spec);
    const int64_t row = row_words(spec, form), step = form == SHOAL_WORDS_FRAGMENTS ? 96 : 88;
    const int64_t cells = spec->n * t->block.groups;
    uint8_t *words = case_array(shoal_max_i64(spec->k + 8, spec->n) * row * 4, 1);
    uint8_t *scales = case_array(cells, 4), *zeros = case_array(cells, 1);
    const shoal_stored all = {form, spec->n, spec->k, words, row * 4, 0, scales, zeros};
    write_words(t, form, words);
    write_groups(t, scales, zeros);
    for (int level = SHOAL_CPU_REF; level < SHOAL_CPU_LEVELS; level++) {
        shoal_arena *arena;
        shoal_linear linear;
        case_must(shoal_arena_create(SHOAL_MEM_WEIGHTS, &arena));
        case_must(shoal_linear_create(spec, (shoal_cpu_level)level, arena, &linear));
        for (int64_t n = 0; n < spec->n; n += 128)
            for (int64_t k = 0; k < spec->k; k += step)
                pack_part(t, &all, &linear, (int64_t[]){n, shoal_min_i64(n + 128, spec->n)},
                          (int64_t[]){k, shoal_min_i64(k + step, spec->k)});
        assert_memory_equal(linear.codes, t->linear.codes, linear.size.codes_bytes);
        assert_memory_equal(linear.scales, t->linear.scales, linear.size.scales_bytes);
        if (linear.zeros)
            assert_memory_equal(linear.zeros, t->linear.zeros, linear.size.zeros_bytes);
        shoal_arena_destroy(arena);
    }
    free(words);
    free(scales);
    free(zeros);
    case_free(t);
}

static void stored_packs_as_canonical(void **state)
{
    static const int64_t outputs[] = {8, 64, 72, 200, 320}, inputs[] = {8, 88, 250, 512};
    static const shoal_dtype dtypes[] = {SHOAL_F16, SHOAL_BF16, SHOAL_F32};
    (void)state;
    static const shoal_words_form forms[] = {SHOAL_WORDS_ALONG_K,   SHOAL_WORDS_ALONG_N,
                                             SHOAL_WORDS_ALONG_K,   SHOAL_WORDS_BY_COLUMN,
                                             SHOAL_WORDS_BY_COLUMN, SHOAL_WORDS_FRAGMENTS};
    for (unsigned turn = 0; turn < 5 * 4 * 2 * 6; turn++) {
        const bool wide = turn / 40 == 2 || turn / 40 == 4;
        const shoal_linear_spec spec = {
            .kind = wide ? SHOAL_WEIGHT_INT8 : SHOAL_WEIGHT_INT4,
            .dtype = dtypes[turn % 3],
            .n = outputs[turn % 5],
            .k = inputs[turn / 5 % 4],
            .group = turn % 7 ? 32 : inputs[turn / 5 % 4],
            .has_zeros = turn / 20 % 2,
            .zero_const = wide ? 128 : 8,
            .act = SHOAL_ACT_INT8,
            .act_group = 128,
        };
        compare_stored(&spec, forms[turn / 40]);
    }
}

static void what_does_not_fit_is_refused(void **state)
{
    static const uint8_t words[4096], scales[1024];
    const shoal_linear_spec spec = {.kind = SHOAL_WEIGHT_INT4,
                                    .dtype = SHOAL_F16,
                                    .n = 130,
                                    .k = 40,
                                    .group = 40,
                                    .zero_const = 8,
                                    .act = SHOAL_ACT_INT8,
                                    .act_group = 128};
    static const struct {
        shoal_place place;
        int64_t n, k, groups;
        bool zeros, fits;
    } cases[] = {
        {{0, 0, 0}, 130, 40, 1, false, true},   {{64, 8, 1}, 66, 32, 0, false, true},
        {{0, 0, 0}, 130, 40, 1, true, false},   {{1, 0, 0}, 129, 40, 1, false, false},
        {{0, 4, 0}, 130, 36, 1, false, false},  {{0, 0, 0}, 65, 40, 1, false, false},
        {{0, 0, 0}, 130, 36, 1, false, false},  {{64, 0, 0}, 128, 40, 1, false, false},
        {{0, 8, 0}, 130, 40, 1, false, false},  {{0, 0, 1}, 130, 40, 1, false, false},
        {{-64, 0, 0}, 64, 40, 1, false, false}, {{0, 0, 0}, -64, 40, 1, false, false},
    };
    linear_case *t = case_create(spec, 1);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const shoal_stored block = {SHOAL_WORDS_ALONG_K,
                                    cases[i].n,
                                    cases[i].k,
                                    words,
                                    4 * 130,
                                    cases[i].groups,
                                    scales,
                                    cases[i].zeros ? scales : NULL};
        assert_int_equal(shoal_linear_pack_stored(&t->linear, &cases[i].place, &block),
                         cases[i].fits ? SHOAL_OK : SHOAL_ERR_DATA);
    }
    case_free(t);
}

/* Of all columns, those behind the first panel too. */
static void a_zero_point_that_is_none_is_refused(void **state)
{
    static const uint8_t words[4096], scales[1024];
    uint8_t zeros[130] = {0};
    const shoal_linear_spec spec = {.kind = SHOAL_WEIGHT_INT4,
                                    .dtype = SHOAL_F16,
                                    .n = 130,
                                    .k = 40,
                                    .group = 40,
                                    .has_zeros = true,
                                    .act = SHOAL_ACT_INT8,
                                    .act_group = 128};
    const shoal_stored block = {SHOAL_WORDS_ALONG_K, 130, 40, words, 4 * 130, 1, scales, zeros};
    linear_case *t = case_create(spec, 1);
    (void)state;
    for (size_t i = 0; i < sizeof zeros; i++) {
        const shoal_place place = {0};
        zeros[i] = 17;
        assert_int_equal(shoal_linear_pack_stored(&t->linear, &place, &block), SHOAL_ERR_DATA);
        zeros[i] = 16;
        assert_int_equal(shoal_linear_pack_stored(&t->linear, &place, &block), SHOAL_OK);
    }
    case_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_equal),
        cmocka_unit_test(large_codes_are_seen),
        cmocka_unit_test(stored_packs_as_canonical),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_zero_point_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
