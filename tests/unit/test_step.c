/* Steps: a good one is accepted as it was written, every malformed one is refused, and whatever is
 * accepted can be walked without leaving its block (random damage, judged by a plain walk). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/step.h"

#define VOCAB      1000
#define MASK_WORDS ((VOCAB + 31) / 32)

static const shoal_step_limits limits = {
    .vocab = VOCAB, .context = 256, .pages = 64, .rows_max = 96, .sequences_max = 8};

typedef struct {
    void *block;
    uint64_t bytes;
    shoal_step_draft d;
} sample;

static const shoal_sampling plain_sampling = {.temperature = 0.7f,
                                              .top_p = 0.9f,
                                              .repetition_penalty = 1.1f,
                                              .top_k = 40,
                                              .seed = 42,
                                              .logprobs = 5};

/* Three sequences: a prefill chunk from 0, a decode with history, bias and mask, and one that
 * shares its first page (only read) with the second. */
static sample make_sample(void)
{
    sample s;
    s.bytes = shoal_step_bytes(3, 22, 8, 12, 2, MASK_WORDS);
    s.block = calloc(1, s.bytes);
    assert_non_null(s.block);
    shoal_step_layout(s.block, 3, 22, 8, 12, 2, MASK_WORDS, &s.d);
    s.d.step->generation = 3;
    s.d.step->number = 77;
    s.d.sequences[0] = (shoal_step_sequence){
        .id = 10, .rows = 20, .page_count = 2, .want = SHOAL_WANT_NOTHING, .allowed_first = -1};
    s.d.sequences[1] = (shoal_step_sequence){.id = 11,
                                             .position = 40,
                                             .rows = 1,
                                             .first_token = 20,
                                             .first_page = 2,
                                             .page_count = 3,
                                             .want = SHOAL_WANT_TOKEN,
                                             .history_count = 12,
                                             .history_prompt = 5,
                                             .bias_count = 2,
                                             .sampling = plain_sampling};
    s.d.sequences[2] = (shoal_step_sequence){.id = 12,
                                             .position = 16,
                                             .rows = 1,
                                             .first_token = 21,
                                             .first_page = 5,
                                             .page_count = 3,
                                             .want = SHOAL_WANT_LOGITS,
                                             .allowed_first = -1};
    for (int i = 0; i < 22; i++)
        s.d.tokens[i] = i * 45;
    memcpy(s.d.pages, (int32_t[]){0, 1, 7, 8, 63, 7, 9, 10}, 8 * sizeof(int32_t));
    for (int i = 0; i < 12; i++)
        s.d.history[i] = 999 - i;
    s.d.biases[0] = (shoal_step_bias){5, 100.0f};
    s.d.biases[1] = (shoal_step_bias){VOCAB - 1, -100.0f};
    memset(s.d.masks, 0xa5, MASK_WORDS * sizeof(uint32_t));
    return s;
}

static shoal_status open_sample(const sample *s, shoal_step_view *view)
{
    return shoal_step_open(s->block, s->bytes, &limits, view);
}

static void good_step(void **state)
{
    (void)state;
    const sample s = make_sample();
    shoal_step_view v;
    assert_int_equal(open_sample(&s, &v), SHOAL_OK);
    assert_ptr_equal(v.step, s.block);
    assert_ptr_equal(v.sequences, s.d.sequences);
    assert_ptr_equal(v.tokens, s.d.tokens);
    assert_ptr_equal(v.pages, s.d.pages);
    assert_ptr_equal(v.history, s.d.history);
    assert_ptr_equal(v.biases, s.d.biases);
    assert_ptr_equal(v.masks, s.d.masks);
    assert_int_equal((const char *)(v.masks + MASK_WORDS) - (const char *)s.block, (long)s.bytes);
    assert_int_equal(v.step->number, 77);
    free(s.block);
}

static void bye_step(void **state)
{
    (void)state;
    shoal_step_draft d;
    shoal_step_view v;
    uint64_t block[sizeof(shoal_step) / 8] = {0};
    assert_int_equal(shoal_step_bytes(0, 0, 0, 0, 0, 0), sizeof block);
    shoal_step_layout(block, 0, 0, 0, 0, 0, 0, &d);
    assert_int_equal(shoal_step_open(block, sizeof block, &limits, &v), SHOAL_ERR_DATA);
    d.step->kind = SHOAL_STEP_BYE;
    assert_int_equal(shoal_step_open(block, sizeof block, &limits, &v), SHOAL_OK);
}

typedef void (*spoil)(sample *s);
#define SPOIL(name, code)                                                                          \
    static void name(sample *s)                                                                    \
    {                                                                                              \
        code;                                                                                      \
    }
#define HEAD   s->d.step
#define SEQ(i) s->d.sequences[i]
#define CHOICE s->d.sequences[1].sampling

SPOIL(bad_magic, HEAD->magic ^= 1)
SPOIL(bad_bytes, HEAD->bytes += 8)
SPOIL(bad_kind, HEAD->kind = 2)
SPOIL(bad_kind_low, HEAD->kind = -1)
SPOIL(bye_with_rows, HEAD->kind = SHOAL_STEP_BYE)
SPOIL(bad_reserved, HEAD->reserved = 1)
SPOIL(sequences_minus, HEAD->sequence_count = -3)
SPOIL(sequences_more, HEAD->sequence_count = 9)
SPOIL(tokens_minus, HEAD->token_count = INT32_MIN)
SPOIL(tokens_more, HEAD->token_count = 97)
SPOIL(pages_minus, HEAD->page_count = -1)
SPOIL(pages_huge, HEAD->page_count = INT32_MAX)
SPOIL(history_minus, HEAD->history_count = -1)
SPOIL(history_huge, HEAD->history_count = INT32_MAX)
SPOIL(biases_minus, HEAD->bias_count = -1)
SPOIL(biases_huge, HEAD->bias_count = INT32_MAX)
SPOIL(masks_minus, HEAD->mask_words = -1)
SPOIL(masks_huge, HEAD->mask_words = INT32_MAX)
SPOIL(no_rows, SEQ(0).rows = 0)
SPOIL(rows_minus, SEQ(0).rows = -20)
SPOIL(rows_less, SEQ(0).rows = 19)
SPOIL(rows_more, SEQ(0).rows = 21)
SPOIL(rows_last_more, SEQ(2).rows = 2)
SPOIL(rows_huge, SEQ(0).rows = INT32_MAX)
SPOIL(position_minus, SEQ(1).position = -1)
SPOIL(position_end, SEQ(1).position = 256)
SPOIL(position_huge, SEQ(1).position = INT64_MAX)
SPOIL(token_place, SEQ(1).first_token = 19)
SPOIL(token_place_minus, SEQ(0).first_token = -1)
SPOIL(token_minus, s->d.tokens[3] = -1)
SPOIL(token_vocab, s->d.tokens[21] = VOCAB)
SPOIL(page_place_minus, SEQ(1).first_page = -1)
SPOIL(page_place_end, SEQ(2).first_page = 6)
SPOIL(page_place_huge, SEQ(2).first_page = INT32_MAX)
SPOIL(page_few, SEQ(1).page_count = 2)
SPOIL(page_minus, SEQ(1).page_count = -1)
SPOIL(page_many, SEQ(1).page_count = 17)
SPOIL(page_id_minus, s->d.pages[0] = -1)
SPOIL(page_id_pool, s->d.pages[4] = 64)
SPOIL(page_unused_id, s->d.pages[7] = 64)
SPOIL(page_twice_in_one, s->d.pages[1] = 0)
SPOIL(page_twice_in_two, s->d.pages[4] = 1)
SPOIL(page_read_and_written, s->d.pages[5] = 63)
SPOIL(page_own_read_and_written, s->d.pages[2] = 63)
SPOIL(want_minus, SEQ(0).want = -1)
SPOIL(want_unknown, SEQ(0).want = 4)
SPOIL(sequence_reserved, SEQ(0).reserved = 1)
SPOIL(history_place, SEQ(1).first_history = 1)
SPOIL(history_place_minus, SEQ(1).first_history = -1)
SPOIL(history_count_minus, SEQ(1).history_count = -1)
SPOIL(history_prompt_more, SEQ(1).history_prompt = 13)
SPOIL(history_prompt_minus, SEQ(1).history_prompt = -1)
SPOIL(history_id_minus, s->d.history[0] = -1)
SPOIL(history_id_vocab, s->d.history[11] = VOCAB)
SPOIL(bias_place, SEQ(1).first_bias = 1)
SPOIL(bias_count_minus, SEQ(1).bias_count = -1)
SPOIL(bias_id_minus, s->d.biases[0].id = -1)
SPOIL(bias_id_vocab, s->d.biases[1].id = VOCAB)
SPOIL(bias_nan, s->d.biases[1].bias = NAN)
SPOIL(bias_inf, s->d.biases[1].bias = INFINITY)
SPOIL(mask_place, SEQ(1).allowed_first = 1)
SPOIL(mask_place_minus, SEQ(1).allowed_first = -2)
SPOIL(temperature_minus, CHOICE.temperature = -0.1f)
SPOIL(temperature_nan, CHOICE.temperature = NAN)
SPOIL(temperature_inf, CHOICE.temperature = INFINITY)
SPOIL(top_p_more, CHOICE.top_p = 1.01f)
SPOIL(top_p_nan, CHOICE.top_p = NAN)
SPOIL(min_p_minus, CHOICE.min_p = -0.01f)
SPOIL(repetition_zero, CHOICE.repetition_penalty = 0)
SPOIL(repetition_nan, CHOICE.repetition_penalty = NAN)
SPOIL(frequency_inf, CHOICE.frequency_penalty = INFINITY)
SPOIL(presence_nan, CHOICE.presence_penalty = NAN)
SPOIL(top_k_minus, CHOICE.top_k = -1)
SPOIL(logprobs_more, CHOICE.logprobs = SHOAL_LOGPROBS_MAX + 1)
SPOIL(logprobs_less, CHOICE.logprobs = -2)
SPOIL(sampling_reserved, CHOICE.reserved = 7)

/* One row per fault. */
static const struct {
    const char *name;
    spoil run;
} rows[] = {
#define ROW(name)                                                                                  \
    {                                                                                              \
#name, name                                                                                \
    }
    ROW(bad_magic),
    ROW(bad_bytes),
    ROW(bad_kind),
    ROW(bad_kind_low),
    ROW(bye_with_rows),
    ROW(bad_reserved),
    ROW(sequences_minus),
    ROW(sequences_more),
    ROW(tokens_minus),
    ROW(tokens_more),
    ROW(pages_minus),
    ROW(pages_huge),
    ROW(history_minus),
    ROW(history_huge),
    ROW(biases_minus),
    ROW(biases_huge),
    ROW(masks_minus),
    ROW(masks_huge),
    ROW(no_rows),
    ROW(rows_minus),
    ROW(rows_less),
    ROW(rows_more),
    ROW(rows_last_more),
    ROW(rows_huge),
    ROW(position_minus),
    ROW(position_end),
    ROW(position_huge),
    ROW(token_place),
    ROW(token_place_minus),
    ROW(token_minus),
    ROW(token_vocab),
    ROW(page_place_minus),
    ROW(page_place_end),
    ROW(page_place_huge),
    ROW(page_few),
    ROW(page_minus),
    ROW(page_many),
    ROW(page_id_minus),
    ROW(page_id_pool),
    ROW(page_unused_id),
    ROW(page_twice_in_one),
    ROW(page_twice_in_two),
    ROW(page_read_and_written),
    ROW(page_own_read_and_written),
    ROW(want_minus),
    ROW(want_unknown),
    ROW(sequence_reserved),
    ROW(history_place),
    ROW(history_place_minus),
    ROW(history_count_minus),
    ROW(history_prompt_more),
    ROW(history_prompt_minus),
    ROW(history_id_minus),
    ROW(history_id_vocab),
    ROW(bias_place),
    ROW(bias_count_minus),
    ROW(bias_id_minus),
    ROW(bias_id_vocab),
    ROW(bias_nan),
    ROW(bias_inf),
    ROW(mask_place),
    ROW(mask_place_minus),
    ROW(temperature_minus),
    ROW(temperature_nan),
    ROW(temperature_inf),
    ROW(top_p_more),
    ROW(top_p_nan),
    ROW(min_p_minus),
    ROW(repetition_zero),
    ROW(repetition_nan),
    ROW(frequency_inf),
    ROW(presence_nan),
    ROW(top_k_minus),
    ROW(logprobs_more),
    ROW(logprobs_less),
    ROW(sampling_reserved),
};

static void every_malformed_step_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sample s = make_sample();
        shoal_step_view v;
        memset(&v, 0, sizeof v);
        rows[i].run(&s);
        shoal_error_clear();
        const shoal_status st = open_sample(&s, &v);
        if (st != SHOAL_ERR_DATA || shoal_error_text()[0] == '\0' || v.step != NULL)
            fail_msg("%s: status %d, sentence \"%s\"", rows[i].name, (int)st, shoal_error_text());
        free(s.block);
    }
}

static void truncated_and_extended(void **state)
{
    (void)state;
    const sample s = make_sample();
    shoal_step_view v;
    for (uint64_t bytes = 0; bytes < s.bytes; bytes++) {
        void *cut = malloc(bytes ? bytes : 1); /* exactly this long, so that ASan sees a read */
        memcpy(cut, s.block, bytes);
        assert_int_equal(shoal_step_open(cut, bytes, &limits, &v), SHOAL_ERR_DATA);
        free(cut);
    }
    char *longer = calloc(1, s.bytes + 16);
    memcpy(longer, s.block, s.bytes);
    assert_int_equal(shoal_step_open(longer, s.bytes + 8, &limits, &v), SHOAL_ERR_DATA);
    memmove(longer + 4, longer, s.bytes);
    assert_int_equal(shoal_step_open(longer + 4, s.bytes, &limits, &v), SHOAL_ERR_DATA);
    free(longer);
    free(s.block);
}

/* Everything a worker would index, checked the long way. */
static int walk_is_safe(const shoal_step_view *v, const sample *s)
{
    const char *end = (const char *)s->block + s->bytes;
    for (int i = 0; i < v->step->sequence_count; i++) {
        const shoal_step_sequence *q = &v->sequences[i];
        if ((const char *)(q + 1) > end || q->rows < 1 || q->position < 0 ||
            q->position + q->rows > limits.context || q->page_count * 16 < q->position + q->rows)
            return 0;
        for (int k = 0; k < q->rows; k++)
            if (v->tokens[q->first_token + k] < 0 || v->tokens[q->first_token + k] >= VOCAB)
                return 0;
        for (int k = 0; k < q->page_count; k++)
            if (v->pages[q->first_page + k] < 0 || v->pages[q->first_page + k] >= limits.pages)
                return 0;
        for (int k = 0; k < q->history_count; k++)
            if (v->history[q->first_history + k] < 0 || v->history[q->first_history + k] >= VOCAB)
                return 0;
        for (int k = 0; k < q->bias_count; k++)
            if (v->biases[q->first_bias + k].id < 0 || v->biases[q->first_bias + k].id >= VOCAB)
                return 0;
        if (q->allowed_first >= 0 && (const char *)(v->masks + q->allowed_first + MASK_WORDS) > end)
            return 0;
    }
    return 1;
}

static uint64_t random_state = 7;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % below;
}

static void damage(sample *s)
{
    static const int32_t words[] = {-1, 0, 1, INT32_MAX, INT32_MIN, 64, VOCAB, 256, 8};
    unsigned char *bytes = s->block;
    const uint32_t times = 1 + next_random(3);
    for (uint32_t i = 0; i < times; i++) {
        if (next_random(2)) {
            const uint32_t at = next_random((uint32_t)s->bytes);
            bytes[at] = (unsigned char)(bytes[at] ^ 1u << next_random(8));
        } else {
            const int32_t word = words[next_random(sizeof words / sizeof words[0])];
            memcpy(bytes + next_random((uint32_t)s->bytes / 4) * 4, &word, sizeof word);
        }
    }
}

static void random_damage(void **state)
{
    (void)state;
    int refused = 0, accepted = 0;
    for (int round = 0; round < 60000; round++) {
        const uint64_t seed = random_state;
        sample s = make_sample();
        shoal_step_view v;
        damage(&s);
        if (open_sample(&s, &v) != SHOAL_OK) {
            refused++;
        } else {
            accepted++;
            if (!walk_is_safe(&v, &s))
                fail_msg("an unsafe step was accepted (state %llu)", (unsigned long long)seed);
        }
        free(s.block);
    }
    printf("damaged steps: %d refused, %d harmless\n", refused, accepted);
    assert_true(refused > 30000);
}

/* The largest step there can be: the set of written pages must hold it. */
static void full_step(void **state)
{
    (void)state;
    const int32_t sequences = SHOAL_SEQUENCES_MAX, each = SHOAL_STEP_ROWS_MAX / sequences;
    const shoal_step_limits wide = {.vocab = 2,
                                    .context = 64,
                                    .pages = 2 * sequences,
                                    .rows_max = SHOAL_STEP_ROWS_MAX,
                                    .sequences_max = sequences};
    const uint64_t bytes = shoal_step_bytes(sequences, SHOAL_STEP_ROWS_MAX, 2 * sequences, 0, 0, 0);
    void *block = calloc(1, bytes);
    shoal_step_draft d;
    shoal_step_view v;
    shoal_step_layout(block, sequences, SHOAL_STEP_ROWS_MAX, 2 * sequences, 0, 0, 0, &d);
    for (int32_t i = 0; i < sequences; i++) {
        d.sequences[i] = (shoal_step_sequence){.position = 12,
                                               .rows = each,
                                               .first_token = i * each,
                                               .first_page = 2 * i,
                                               .page_count = 2,
                                               .allowed_first = -1};
        d.pages[2 * i] = 2 * sequences - 1 - i;
        d.pages[2 * i + 1] = i;
    }
    assert_int_equal(shoal_step_open(block, bytes, &wide, &v), SHOAL_OK);
    d.pages[2 * sequences - 1] = 0;
    assert_int_equal(shoal_step_open(block, bytes, &wide, &v), SHOAL_ERR_DATA);
    free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_step),
        cmocka_unit_test(bye_step),
        cmocka_unit_test(every_malformed_step_is_refused),
        cmocka_unit_test(truncated_and_extended),
        cmocka_unit_test(random_damage),
        cmocka_unit_test(full_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
