/* Choices: random streams of tokens against a definition written down once more, the plain way;
 * and the ends of a choice by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/serve/choice.h"
#include "proto/arena.h"

/* Ids 0..: letters alone and together, the halves of an e with acute accent in the byte alphabet,
 * a byte that is never UTF-8, and a special token. */
#define TOKENS  10
#define SPECIAL 9
static const char json[] =
    "{\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
    "\"use_regex\":true},\"added_tokens\":[{\"id\":9,\"content\":\"<s>\",\"special\":true,"
    "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false}],"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"bca\":4,"
    "\"\\u00c3\":5,\"\\u00a9\":6,\"a\\u00c3\":7,\"\\u00ff\":8},\"merges\":[]}}";

static shoal_tokenizer *tokenizer;

static int open_tokenizer(void **state)
{
    (void)state;
    const shoal_status st = shoal_tokenizer_open_memory(json, strlen(json), "made", &tokenizer);
    if (st != SHOAL_OK)
        printf("%s\n", shoal_error_text());
    return st == SHOAL_OK ? 0 : -1;
}

static int close_tokenizer(void **state)
{
    (void)state;
    shoal_tokenizer_close(tokenizer);
    return 0;
}

static uint64_t random_state = 20261128;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % n;
}

/* ---- the plain way ---- */

#define LENGTH    40
#define STOPS_MAX 4
#define TEXT_MAX  512

typedef struct {
    shoal_api_request request; /* stops, min_tokens, logprobs */
    int32_t ids[LENGTH];
    int count;
    char text[TEXT_MAX];     /* of all tokens and the final flush */
    size_t bytes;            /* of it */
    size_t upto[LENGTH + 1]; /* bytes of text when so many tokens were taken */
    int64_t chars[LENGTH];   /* characters complete before a token */
    size_t cut;              /* where the text ends */
    int last;                /* tokens taken when a stop string is complete; 0: never, and
                                LENGTH + 1: with the flush */
} plain;

static void make_stops(plain *p)
{
    static const char *const parts[] = {"a", "b", "c", "\xC3\xA9", "\xEF\xBF\xBD"};
    p->request.stop_count = (int)random_below(STOPS_MAX + 1);
    for (int i = 0; i < p->request.stop_count; i++)
        for (uint32_t k = 0; k <= random_below(5); k++) {
            const char *part = parts[random_below(5)];
            assert_int_equal(shoal_strbuf_append(&p->request.stops[i], part, strlen(part)),
                             SHOAL_OK);
        }
    p->request.min_tokens = random_below(2) ? random_below(LENGTH) : 0;
    p->request.logprobs = true;
}

static void add_text(plain *p, const char *text, size_t bytes)
{
    assert_true(p->bytes + bytes <= TEXT_MAX);
    memcpy(p->text + p->bytes, text, bytes);
    p->bytes += bytes;
}

static int64_t chars_of(const char *text, size_t bytes)
{
    int64_t chars = 0;
    for (size_t i = 0; i < bytes; i++)
        chars += ((unsigned char)text[i] & 0xC0) != 0x80;
    return chars;
}

static void make_tokens(plain *p)
{
    shoal_detok *detok;
    const char *text;
    size_t bytes;
    p->count = 1 + (int)random_below(LENGTH);
    assert_int_equal(shoal_detok_create(tokenizer, true, &detok), SHOAL_OK);
    for (int i = 0; i < p->count; i++) {
        p->ids[i] = (int32_t)random_below(TOKENS);
        p->chars[i] = chars_of(p->text, p->bytes);
        assert_int_equal(shoal_detok_push(detok, p->ids[i], &text, &bytes), SHOAL_OK);
        add_text(p, text, bytes);
        p->upto[i + 1] = p->bytes;
    }
    assert_int_equal(shoal_detok_flush(detok, &text, &bytes), SHOAL_OK);
    add_text(p, text, bytes);
    shoal_detok_destroy(detok);
}

static bool ends_with(const char *text, size_t bytes, const shoal_strbuf *stop)
{
    return bytes >= stop->bytes && memcmp(text + bytes - stop->bytes, stop->data, stop->bytes) == 0;
}

/* The stop string that is complete first, the longest of those; tokens up to min_tokens have no
 * say. */
static void find_cut(plain *p)
{
    p->cut = p->bytes;
    p->last = 0;
    for (size_t end = 1; end <= p->bytes && p->last == 0; end++) {
        size_t longest = 0;
        int tokens = 1;
        while (tokens <= p->count && p->upto[tokens] < end)
            tokens++;
        const int sampled = tokens > p->count ? p->count : tokens;
        for (int i = 0; i < p->request.stop_count; i++)
            if (ends_with(p->text, end, &p->request.stops[i]) &&
                p->request.stops[i].bytes > longest)
                longest = p->request.stops[i].bytes;
        if (longest && sampled > p->request.min_tokens) {
            p->cut = end - longest;
            p->last = tokens > p->count ? LENGTH + 1 : tokens;
        }
    }
}

/* Bytes at the end that a stop string could begin with. */
static size_t held(const plain *p, size_t bytes)
{
    size_t most = 0;
    for (int i = 0; i < p->request.stop_count; i++)
        for (size_t k = 1; k < p->request.stops[i].bytes && k <= bytes; k++)
            if (k > most && memcmp(p->text + bytes - k, p->request.stops[i].data, k) == 0)
                most = k;
    return most;
}

static void free_plain(plain *p)
{
    for (int i = 0; i < p->request.stop_count; i++)
        shoal_strbuf_free(&p->request.stops[i]);
}

/* ---- the comparison ---- */

typedef struct {
    char text[TEXT_MAX];
    size_t bytes;
    int tokens;
} taken;

/* Take, and check what comes: the text goes on where it was, the tokens are the next ones, and no
 * token with text comes before its text. */
static void take(shoal_choice *choice, const plain *p, taken *t, bool ended)
{
    const char *text;
    const shoal_choice_token *tokens;
    size_t bytes;
    int count;
    shoal_choice_take(choice, &text, &bytes, &tokens, &count);
    assert_true(t->bytes + bytes <= p->cut);
    assert_memory_equal(text, p->text + t->bytes, bytes);
    t->bytes += bytes;
    assert_non_null(tokens);
    for (int i = 0; i < count; i++, t->tokens++) {
        assert_int_equal(tokens[i].token, p->ids[t->tokens]);
        assert_int_equal(tokens[i].text_offset, 100 + p->chars[t->tokens]);
        assert_true(ended || p->upto[t->tokens + 1] <= t->bytes);
        assert_true(p->upto[t->tokens] < p->cut || p->last == 0 || p->cut == p->bytes);
    }
}

static void run(const plain *p, bool streaming)
{
    shoal_choice *choice;
    taken t = {0};
    bool stopped = false;
    int pushed = 0;
    double sum = 0;
    assert_int_equal(shoal_choice_create(&p->request, tokenizer, 3, 100, &choice), SHOAL_OK);
    while (pushed < p->count && !stopped) {
        const shoal_choice_token token = {.token = p->ids[pushed], .logprob = -(float)pushed};
        sum -= pushed;
        assert_int_equal(shoal_choice_push(choice, &token, false, &stopped), SHOAL_OK);
        pushed++;
        assert_int_equal(stopped, pushed == p->last);
        if (streaming)
            take(choice, p, &t, stopped);
        if (streaming && !stopped)
            assert_int_equal(t.bytes, p->upto[pushed] - held(p, p->upto[pushed]));
    }
    assert_int_equal(shoal_choice_finish(choice, SHOAL_FINISH_LENGTH), SHOAL_OK);
    take(choice, p, &t, true);
    assert_int_equal(t.bytes, p->cut);
    int kept = 0; /* tokens whose text begins before the cut */
    while (kept < pushed && (p->last == 0 || p->upto[kept] < p->cut))
        kept++;
    assert_int_equal(t.tokens, kept);
    assert_int_equal(shoal_choice_finished(choice),
                     p->last ? SHOAL_FINISH_STOP : SHOAL_FINISH_LENGTH);
    assert_int_equal(shoal_choice_tokens(choice), pushed);
    assert_true(shoal_choice_logprob_sum(choice) == sum);
    assert_int_equal(shoal_choice_index(choice), 3);
    take(choice, p, &t, true); /* nothing is left */
    assert_int_equal(t.bytes, p->cut);
    shoal_choice_destroy(choice);
}

static void test_random(void **state)
{
    int stopped = 0, flushed = 0;
    (void)state;
    printf("seed %llu\n", (unsigned long long)random_state);
    for (int i = 0; i < 20000; i++) {
        plain p = {0};
        make_stops(&p);
        make_tokens(&p);
        find_cut(&p);
        run(&p, i % 3 != 0);
        stopped += p.last > 0;
        flushed += p.last > LENGTH;
        free_plain(&p);
    }
    /* all kinds of ends did occur */
    assert_true(stopped > 2000 && stopped < 18000 && flushed > 10);
}

/* ---- by hand ---- */

static void set_stop(shoal_api_request *request, const char *text)
{
    assert_int_equal(
        shoal_strbuf_append(&request->stops[request->stop_count++], text, strlen(text)), SHOAL_OK);
}

static void push(shoal_choice *choice, int32_t id, bool hidden, bool stops)
{
    const shoal_choice_token token = {.token = id, .logprob = -1};
    bool stopped;
    assert_int_equal(shoal_choice_push(choice, &token, hidden, &stopped), SHOAL_OK);
    assert_int_equal(stopped, stops);
}

static void expect_take(shoal_choice *choice, const char *want, int want_tokens)
{
    const char *text;
    const shoal_choice_token *tokens;
    size_t bytes;
    int count;
    shoal_choice_take(choice, &text, &bytes, &tokens, &count);
    assert_int_equal(bytes, strlen(want));
    assert_memory_equal(text, want, bytes);
    assert_int_equal(count, want_tokens);
}

/* What was held back goes out when a stop token ends the choice; the token itself does not show. */
static void test_stop_token(void **state)
{
    shoal_api_request request = {.logprobs = true};
    shoal_choice *choice;
    (void)state;
    set_stop(&request, "ab");
    assert_int_equal(shoal_choice_create(&request, tokenizer, 0, 0, &choice), SHOAL_OK);
    push(choice, 2, false, false);
    push(choice, 0, false, false);
    expect_take(choice, "c", 1);
    push(choice, SPECIAL, true, true);
    expect_take(choice, "a", 1);
    assert_int_equal(shoal_choice_finished(choice), SHOAL_FINISH_STOP);
    assert_int_equal(shoal_choice_tokens(choice), 3);
    assert_true(shoal_choice_logprob_sum(choice) == -3);
    assert_int_equal(shoal_choice_finish(choice, SHOAL_FINISH_ERROR), SHOAL_OK);
    assert_int_equal(shoal_choice_finished(choice), SHOAL_FINISH_STOP);
    const shoal_choice_token late = {0};
    bool stopped;
    assert_int_equal(shoal_choice_push(choice, &late, false, &stopped), SHOAL_ERR_INTERNAL);
    shoal_choice_destroy(choice);
    shoal_strbuf_free(&request.stops[0]);
}

/* A character in two tokens: the first has no text yet and waits for the second. */
static void test_split_character(void **state)
{
    const shoal_api_request request = {.logprobs = true};
    shoal_choice *choice;
    (void)state;
    assert_int_equal(shoal_choice_create(&request, tokenizer, 0, 0, &choice), SHOAL_OK);
    push(choice, 5, false, false);
    expect_take(choice, "", 0);
    push(choice, 6, false, false);
    expect_take(choice, "\xC3\xA9", 2);
    push(choice, 7, false, false); /* the a of this one is there */
    expect_take(choice, "a", 1);
    assert_int_equal(shoal_choice_finish(choice, SHOAL_FINISH_LENGTH), SHOAL_OK);
    expect_take(choice, "\xEF\xBF\xBD", 0);
    shoal_choice_destroy(choice);
}

/* Without a tokenizer there is no text; without logprobs no token is kept. */
static void test_bare(void **state)
{
    const shoal_api_request with = {.logprobs = true}, without = {0};
    shoal_choice *choice;
    (void)state;
    assert_int_equal(shoal_choice_create(&with, NULL, 0, 0, &choice), SHOAL_OK);
    push(choice, 0, false, false);
    push(choice, 123456, false, false);
    assert_int_equal(shoal_choice_finish(choice, SHOAL_FINISH_LENGTH), SHOAL_OK);
    expect_take(choice, "", 2);
    shoal_choice_destroy(choice);

    assert_int_equal(shoal_choice_create(&without, tokenizer, 0, 0, &choice), SHOAL_OK);
    push(choice, 3, false, false);
    expect_take(choice, "ab", 0);
    assert_true(shoal_choice_logprob_sum(choice) == -1);
    shoal_choice_destroy(choice);
    shoal_choice_destroy(NULL);
}

/* A hundred thousand tokens that could all begin a stop string take no time worth a limit. */
static void test_long(void **state)
{
    shoal_api_request request = {0};
    shoal_choice *choice;
    size_t sent = 0;
    (void)state;
    for (int k = 0; k < 255; k++)
        assert_int_equal(shoal_strbuf_append(&request.stops[0], "a", 1), SHOAL_OK);
    set_stop(&request, "b");
    assert_int_equal(shoal_choice_create(&request, tokenizer, 0, 0, &choice), SHOAL_OK);
    for (int i = 0; i < 100000; i++) {
        const char *text;
        const shoal_choice_token *tokens;
        size_t bytes;
        int count;
        push(choice, i % 256 == 255 ? 2 : 0, false, false);
        shoal_choice_take(choice, &text, &bytes, &tokens, &count);
        sent += bytes;
    }
    assert_int_equal(sent, 100000 - 100000 % 256);
    shoal_choice_destroy(choice);
    shoal_strbuf_free(&request.stops[0]);
}

static void test_no_memory(void **state)
{
    const shoal_api_request request = {.logprobs = true};
    (void)state;
    for (uint64_t n = 1;; n++) {
        const uint64_t before = shoal_mem_live(SHOAL_MEM_TEXT);
        const shoal_choice_token token = {.token = 4};
        shoal_choice *choice = NULL;
        bool stopped;
        shoal_mem_fail_nth(n);
        shoal_status st = shoal_choice_create(&request, tokenizer, 0, 0, &choice);
        for (int i = 0; i < 100 && st == SHOAL_OK; i++)
            st = shoal_choice_push(choice, &token, false, &stopped);
        if (st == SHOAL_OK)
            st = shoal_choice_finish(choice, SHOAL_FINISH_LENGTH);
        shoal_mem_fail_nth(0);
        shoal_choice_destroy(choice);
        assert_int_equal(shoal_mem_live(SHOAL_MEM_TEXT), before);
        if (st == SHOAL_OK) {
            assert_true(n > 8);
            return;
        }
        assert_int_equal(st, SHOAL_ERR_TEMPORARY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_stop_token),
        cmocka_unit_test(test_split_character),
        cmocka_unit_test(test_bare),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
