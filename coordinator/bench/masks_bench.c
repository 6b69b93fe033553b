#include "coordinator/bench/masks_bench.h"

#include <math.h>

#include "coordinator/bench/random.h"
#include "coordinator/bench/samples.h"
#include "coordinator/clock.h"
#include "coordinator/text/grammar/guide.h"
#include "coordinator/text/text_file.h"

/* Texts share masks as the choices of one request do. */
#define TEXTS      4
#define TOKENS_MAX 64

/* ---- one text -------------------------------------------------------------------------------- */

/* An allowed token: the first one from a random place on; -1: none. */
static int32_t draw(const shoal_guide *guide, int64_t vocab, uint64_t *random)
{
    int32_t words;
    const uint32_t *mask = shoal_guide_mask(guide, &words);
    const int64_t from = shoal_bench_random_below(random, (uint32_t)vocab);
    for (int64_t i = 0; i < vocab; i++) {
        const int64_t id = (from + i) % vocab;
        if (mask[id / 32] >> (id % 32) & 1)
            return (int32_t)id;
    }
    return -1;
}

/* One token more: how long it took, and whether the text goes on behind it. */
static shoal_status go_on(shoal_guide *guide, int64_t left, int64_t vocab, uint64_t *random,
                          shoal_bench_samples *times, bool *more)
{
    double begun = shoal_clock_seconds();
    SHOAL_TRY(shoal_guide_look(guide, left));
    const double looked = shoal_clock_seconds() - begun;
    const int32_t token = draw(guide, vocab, random);
    begun = shoal_clock_seconds();
    if (token >= 0)
        SHOAL_TRY(shoal_guide_take(guide, token));
    *more = token >= 0 && !shoal_guide_must_end(guide);
    return shoal_bench_samples_add(times, looked + shoal_clock_seconds() - begun);
}

static shoal_status say_text(shoal_token_masks *masks, uint64_t *random, shoal_bench_samples *times)
{
    shoal_status st = SHOAL_OK;
    shoal_guide *guide;
    bool more = true;
    SHOAL_TRY(shoal_guide_create(masks, NULL, 0, &guide));
    const int64_t vocab = shoal_token_masks_trie(masks)->vocab;
    for (int64_t left = TOKENS_MAX; st == SHOAL_OK && more && left > 0; left--)
        st = go_on(guide, left - 1, vocab, random, times, &more);
    shoal_guide_destroy(guide);
    return st;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static shoal_status read_schema(const char *path, shoal_grammar **out)
{
    json_error_t error;
    shoal_strbuf text = {0};
    SHOAL_TRY(shoal_text_file_read(path, SHOAL_GRAMMAR_SCHEMA_MAX, &text));
    json_t *schema = json_loadb(text.data, text.bytes, JSON_DECODE_ANY, &error);
    shoal_strbuf_free(&text);
    if (!schema)
        return shoal_fail(SHOAL_ERR_DATA, "%s: line %d: %s", path, error.line, error.text);
    const shoal_status st = shoal_grammar_from_schema(schema, out);
    json_decref(schema);
    return st == SHOAL_OK ? st : shoal_fail_within(st, "%s", path);
}

static shoal_status say_texts(shoal_grammar *grammar, const shoal_vocab_trie *trie,
                              shoal_bench_samples *times)
{
    shoal_status st = SHOAL_OK;
    uint64_t random = 1;
    shoal_token_masks *masks;
    SHOAL_TRY(shoal_token_masks_create(grammar, trie, &masks));
    for (int i = 0; i < TEXTS && st == SHOAL_OK; i++)
        st = say_text(masks, &random, times);
    shoal_token_masks_release(masks);
    return st;
}

static shoal_status add_rows(shoal_bench_samples *times, double trie, shoal_bench_rows *rows)
{
    double sum = 0;
    shoal_bench_samples_sort(times);
    for (size_t i = 0; i < times->count; i++)
        sum += times->data[i];
    const double p50 = shoal_bench_samples_quantile(times, 0.5);
    const double p99 = shoal_bench_samples_quantile(times, 0.99);
    const double most = shoal_bench_samples_quantile(times, 1.0);
    SHOAL_TRY(shoal_bench_rows_add(rows, trie * 1e3, "ms", NAN, "masks.trie"));
    SHOAL_TRY(
        shoal_bench_rows_add(rows, sum / (double)times->count * 1e3, "ms", NAN, "masks.mean"));
    SHOAL_TRY(shoal_bench_rows_add(rows, p50 * 1e3, "ms", NAN, "masks.p50"));
    SHOAL_TRY(shoal_bench_rows_add(rows, p99 * 1e3, "ms", NAN, "masks.p99"));
    SHOAL_TRY(shoal_bench_rows_add(rows, most * 1e3, "ms", NAN, "masks.most"));
    return shoal_bench_rows_add(rows, (double)times->count, "masks", NAN, "masks.count");
}

shoal_status shoal_bench_masks_run(const char *model, const char *path, shoal_bench_rows *rows)
{
    shoal_status st = SHOAL_OK;
    shoal_grammar *grammar = NULL;
    shoal_tokenizer *tokenizer = NULL;
    shoal_vocab_trie trie = {0};
    shoal_bench_samples times = {0};
    SHOAL_TRY(read_schema(path, &grammar));
    SHOAL_TRY_GOTO(shoal_tokenizer_open(model, &tokenizer), done);
    const double begun = shoal_clock_seconds();
    SHOAL_TRY_GOTO(
        shoal_vocab_trie_build(tokenizer, (int64_t)shoal_tokenizer_size(tokenizer), &trie), done);
    const double built = shoal_clock_seconds() - begun;
    SHOAL_TRY_GOTO(say_texts(grammar, &trie, &times), done);
    st = add_rows(&times, built, rows);
done:
    shoal_bench_samples_free(&times);
    shoal_vocab_trie_free(&trie);
    shoal_tokenizer_close(tokenizer);
    shoal_grammar_release(grammar);
    return st;
}
