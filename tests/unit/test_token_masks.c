/* Masks and guides against the definition: a token may come when each of its bytes can be stepped
 * over. With a made vocabulary and with that of a real model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "coordinator/text/grammar/guide.h"
#include "proto/arena.h"
#include "tests/unit/made_union.h"
#include "tests/unit/made_vocab.h"

#define WORDS_MAX 64
#define NO_LIMIT  (INT64_MAX / 8)

static const char *const schemas[] = {
    "{'type':'object','properties':{'a':{'type':'string'},'n':{'type':'integer'}},"
    "'required':['a','n'],'additionalProperties':false}",
    "{'type':'array','items':{'type':'number'},'minItems':2,'maxItems':5}",
    "{'enum':['ten','tea',true,null,10,'t\\u00e9\\u20ac']}",
    "{'type':'string','maxLength':6}",
    /* Beyond ASCII not all is alike: at the end of the characters, at the beginning, in between. */
    "{'type':'string','pattern':'^[\\\\u0000-\\\\uffff]*$'}",
    "{'type':'string','pattern':'^[^\u00e9]*$'}",
    "{'type':'string','pattern':'^[a-z\\\\u0800-\\\\u{1F600}]*$'}",
    "{'$defs':{'t':{'type':'object','properties':{'a':{'type':'array','items':{'$ref':'#/$defs/t'}}"
    "},'required':['a'],'additionalProperties':false}},'$ref':'#/$defs/t'}",
    "true",
};
enum { SCHEMAS = sizeof schemas / sizeof schemas[0] };

static uint32_t random_state = 1;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 16) % below;
}

/* ---- a stage --------------------------------------------------------------------------------- */

typedef struct {
    shoal_tokenizer *tokenizer;
    shoal_vocab_trie trie;
    shoal_token_masks *masks;
} stage;

static shoal_grammar *grammar_of(const char *schema)
{
    char text[1024];
    shoal_grammar *grammar = NULL;
    (void)snprintf(text, sizeof text, "%s", schema);
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    if (shoal_grammar_from_schema(json, &grammar) != SHOAL_OK)
        fail_msg("%s: %s", schema, shoal_error_text());
    json_decref(json);
    return grammar;
}

static shoal_grammar *regex_of(const char *regex)
{
    shoal_grammar *grammar = NULL;
    if (shoal_grammar_from_regex(regex, strlen(regex), &grammar) != SHOAL_OK)
        fail_msg("%s: %s", regex, shoal_error_text());
    return grammar;
}

static void open_stage(stage *s, shoal_tokenizer *tokenizer, shoal_grammar *grammar)
{
    s->tokenizer = tokenizer;
    const int64_t vocab = (int64_t)shoal_tokenizer_size(tokenizer);
    assert_int_equal(shoal_vocab_trie_build(tokenizer, vocab, &s->trie), SHOAL_OK);
    assert_int_equal(shoal_token_masks_create(grammar, &s->trie, &s->masks), SHOAL_OK);
    shoal_grammar_release(grammar);
}

static void close_stage(stage *s)
{
    shoal_token_masks_release(s->masks);
    shoal_vocab_trie_free(&s->trie);
    shoal_tokenizer_close(s->tokenizer);
}

static shoal_tokenizer *tiny_tokenizer(void)
{
    shoal_tokenizer *tokenizer = NULL;
    assert_int_equal(shoal_tokenizer_open("tests/data/tiny-llama", &tokenizer), SHOAL_OK);
    return tokenizer;
}

static bool has(const uint32_t *words, int32_t id)
{
    return words[id / 32] >> (id % 32) & 1;
}

/* An allowed token, -1: none. */
static int32_t pick(const uint32_t *words, int64_t vocab)
{
    const int32_t from = (int32_t)draw((uint32_t)vocab);
    for (int64_t i = 0; i < vocab; i++) {
        const int32_t id = (int32_t)((from + i) % vocab);
        if (has(words, id))
            return id;
    }
    return -1;
}

/* ---- the definition -------------------------------------------------------------------------- */

/* The state behind an ordinary token; DEAD: it may not come. */
static int32_t behind(const stage *s, int32_t state, int32_t id)
{
    shoal_grammar_states *states = shoal_token_masks_states(s->masks);
    shoal_strbuf bytes = {0};
    assert_int_equal(shoal_tokenizer_bytes(s->tokenizer, id, &bytes), SHOAL_OK);
    if (bytes.bytes == 0 || shoal_tokenizer_is_special(s->tokenizer, id))
        state = SHOAL_GRAMMAR_DEAD;
    for (size_t i = 0; i < bytes.bytes && state != SHOAL_GRAMMAR_DEAD; i++)
        assert_int_equal(shoal_grammar_step(states, state, (uint8_t)bytes.data[i], &state),
                         SHOAL_OK);
    shoal_strbuf_free(&bytes);
    return state;
}

static void define(const stage *s, int32_t state, int64_t left, uint32_t *words)
{
    int64_t distance[32 * WORDS_MAX], nearest = INT64_MAX;
    memset(words, 0, WORDS_MAX * sizeof *words);
    for (int32_t id = 0; id < s->trie.vocab; id++) {
        const int32_t next = behind(s, state, id);
        distance[id] = next == SHOAL_GRAMMAR_DEAD
                           ? -1
                           : shoal_grammar_distance(shoal_token_masks_states(s->masks), next);
        if (distance[id] >= 0 && distance[id] < nearest)
            nearest = distance[id];
    }
    int64_t limit = left;
    if (nearest > left)
        limit = nearest > SHOAL_BYTES_PER_TOKEN * left ? nearest : SHOAL_BYTES_PER_TOKEN * left;
    for (int32_t id = 0; id < s->trie.vocab; id++)
        if (distance[id] >= 0 && distance[id] <= limit)
            words[id / 32] |= 1u << (id % 32);
}

static void check_mask(stage *s, int32_t state, int64_t left)
{
    uint32_t got[WORDS_MAX], want[WORDS_MAX];
    const size_t bytes = (size_t)shoal_token_masks_words(s->masks) * sizeof *got;
    shoal_token_masks_grant(s->masks);
    assert_true(bytes <= sizeof got);
    assert_int_equal(shoal_token_masks_fill(s->masks, state, left, got), SHOAL_OK);
    define(s, state, left, want);
    assert_memory_equal(got, want, bytes);
}

/* Along random texts, with much and with little left. */
static void check_masks(stage *s, int steps)
{
    assert_int_equal(shoal_token_masks_renew(s->masks), SHOAL_OK);
    shoal_grammar_states *states = shoal_token_masks_states(s->masks);
    int32_t state = shoal_grammar_start(states);
    for (int i = 0; i < steps; i++) {
        uint32_t words[WORDS_MAX];
        const int64_t near = shoal_grammar_distance(states, state);
        check_mask(s, state, NO_LIMIT);
        check_mask(s, state, (int64_t)draw((uint32_t)near + 4));
        check_mask(s, state, 0);
        assert_int_equal(shoal_token_masks_fill(s->masks, state, NO_LIMIT, words), SHOAL_OK);
        const int32_t id = pick(words, s->trie.vocab);
        state = id < 0 ? shoal_grammar_start(states) : behind(s, state, id);
        assert_int_not_equal(state, SHOAL_GRAMMAR_DEAD);
    }
}

static void test_masks(void **state)
{
    (void)state;
    for (int i = 0; i < SCHEMAS; i++) {
        stage s;
        open_stage(&s, made_tokenizer(), grammar_of(schemas[i]));
        check_masks(&s, 60); /* more states than masks are kept */
        close_stage(&s);
        open_stage(&s, tiny_tokenizer(), grammar_of(schemas[i]));
        check_masks(&s, 20);
        close_stage(&s);
    }
}

/* ---- guides ---------------------------------------------------------------------------------- */

static const int32_t ends[] = {MADE_END, 'q'};

static shoal_guide *guide_of(const stage *s)
{
    shoal_guide *guide = NULL;
    assert_int_equal(shoal_guide_create(s->masks, ends, 2, &guide), SHOAL_OK);
    return guide;
}

/* Say one random text of at most `most` tokens; true when it was complete in time. The ends are
 * allowed where the text may end, alone where it must. */
static bool talk(const stage *s, int64_t most)
{
    shoal_guide *guide = guide_of(s);
    bool complete = false;
    for (int64_t left = most - 1; left >= 0 && !complete; left--) {
        int32_t count, id;
        assert_int_equal(shoal_guide_look(guide, left), SHOAL_OK);
        const uint32_t *words = shoal_guide_mask(guide, &count);
        assert_int_equal(count, shoal_token_masks_words(s->masks));
        assert_int_equal(has(words, MADE_END), shoal_guide_may_end(guide));
        assert_int_equal(has(words, 'q'), shoal_guide_may_end(guide));
        assert_false(has(words, MADE_PAD));
        id = pick(words, s->trie.vocab);
        complete = id == ends[0] || id == ends[1];
        assert_true(complete || !shoal_guide_must_end(guide));
        if (!complete)
            assert_int_equal(shoal_guide_take(guide, id), SHOAL_OK);
    }
    complete |= shoal_guide_may_end(guide);
    shoal_guide_destroy(guide);
    return complete;
}

/* Whatever is said: with as many tokens as the shortest text has bytes, it ends in time. */
static void test_budget(void **state)
{
    (void)state;
    for (int i = 0; i < SCHEMAS; i++) {
        stage s;
        open_stage(&s, made_tokenizer(), grammar_of(schemas[i]));
        assert_int_equal(shoal_token_masks_renew(s.masks), SHOAL_OK);
        shoal_grammar_states *states = shoal_token_masks_states(s.masks);
        const int64_t least = shoal_grammar_distance(states, shoal_grammar_start(states));
        for (int round = 0; round < 60; round++)
            assert_true(talk(&s, least + (round < 20 ? 0 : (int64_t)draw(60))));
        (void)talk(&s, least / 2); /* may be too little, and must do no harm */
        close_stage(&s);
    }
}

/* Guides of one grammar do not disturb each other when the states are made anew. */
static void test_editions(void **state)
{
    stage s;
    (void)state;
    open_stage(&s, made_tokenizer(), grammar_of(schemas[0]));
    shoal_guide *one = guide_of(&s), *other = guide_of(&s);
    for (int i = 0; i < 30; i++) {
        int32_t count;
        uint32_t before[WORDS_MAX];
        shoal_guide *guide = draw(2) ? one : other;
        assert_int_equal(shoal_guide_look(guide, NO_LIMIT), SHOAL_OK);
        if (shoal_guide_must_end(guide))
            break;
        const uint32_t *words = shoal_guide_mask(guide, &count);
        memcpy(before, words, (size_t)count * sizeof *before);
        if (draw(3) == 0)
            assert_int_equal(shoal_token_masks_renew(s.masks), SHOAL_OK);
        assert_int_equal(shoal_guide_look(guide, NO_LIMIT), SHOAL_OK);
        assert_memory_equal(words, before, (size_t)count * sizeof *before);
        const int32_t id = pick(before, MADE_SIZE);
        if (id != ends[0] && id != ends[1])
            assert_int_equal(shoal_guide_take(guide, id), SHOAL_OK);
    }
    shoal_guide_destroy(one);
    close_stage(&s); /* the other still holds the masks */
    shoal_guide_destroy(other);
}

/* Two texts that go through more states together than a table holds. The 17th letter from the end
 * must be an a: some 2^17 states. */
static void test_many_states(void **state)
{
    stage s;
    uint32_t last[2] = {0, 0};
    (void)state;
    open_stage(&s, made_tokenizer(), regex_of("[ab]*a[ab]{16}"));
    shoal_guide *guides[2] = {guide_of(&s), guide_of(&s)};
    for (int i = 0; i < 120000; i++) {
        const uint32_t bit = draw(2);
        const int which = i / 12000 % 2;
        if (i % 1000 == 0)
            assert_int_equal(shoal_guide_look(guides[which], NO_LIMIT), SHOAL_OK);
        assert_int_equal(shoal_guide_take(guides[which], bit ? 'a' : 'b'), SHOAL_OK);
        last[which] = last[which] << 1 | bit;
        assert_int_equal(shoal_guide_may_end(guides[which]), last[which] >> 16 & 1);
    }
    assert_true(shoal_token_masks_edition(s.masks) > 1);
    shoal_guide_destroy(guides[0]);
    shoal_guide_destroy(guides[1]);
    close_stage(&s);
}

/* ---- work ------------------------------------------------------------------------------------ */

/* The state behind a text, and what it took to get there. */
static int32_t pay_for(shoal_grammar_states *states, const char *text, uint64_t *work)
{
    uint64_t budget = UINT64_MAX;
    int32_t at = shoal_grammar_start(states);
    shoal_grammar_states_pay_from(states, &budget);
    for (; *text; text++) {
        assert_int_equal(shoal_grammar_step(states, at, (uint8_t)*text, &at), SHOAL_OK);
        assert_int_not_equal(at, SHOAL_GRAMMAR_DEAD);
    }
    *work = UINT64_MAX - budget;
    return at;
}

/* Steps are counted by the places that are open, the first time; what is paid for stays known, also
 * of a step that failed on its way. */
static void test_work(void **state)
{
    static const char text[] = "{\"a\":\"xyz";
    enum { ALTERNATIVES = 300, PER_PLACE_MAX = 20 };
    shoal_grammar *grammar = made_union(ALTERNATIVES);
    shoal_grammar_states *rich, *poor;
    uint64_t work, again, budget;
    int32_t next, want;
    (void)state;
    assert_int_equal(shoal_grammar_states_create(grammar, &rich), SHOAL_OK);
    assert_int_equal(shoal_grammar_states_create(grammar, &poor), SHOAL_OK);
    const int32_t at = pay_for(rich, text, &work);
    assert_true(work >= ALTERNATIVES * (strlen(text) - 1));
    assert_true(work <= PER_PLACE_MAX * ALTERNATIVES * strlen(text));
    assert_int_equal(pay_for(rich, text, &again), at);
    assert_int_equal(again, 0);

    assert_int_equal(shoal_grammar_step(rich, at, '"', &want), SHOAL_OK);
    const int32_t poor_at = pay_for(poor, text, &work);
    shoal_grammar_states_pay_from(poor, &budget);
    shoal_status st = SHOAL_ERR_DATA;
    for (int tries = 0; st != SHOAL_OK && tries < ALTERNATIVES; tries++) {
        budget = 2 * ALTERNATIVES;
        st = shoal_grammar_step(poor, poor_at, '"', &next);
        assert_true(st == SHOAL_OK || (st == SHOAL_ERR_DATA && budget == 0));
    }
    assert_int_equal(st, SHOAL_OK);
    assert_int_equal(shoal_grammar_distance(poor, next), shoal_grammar_distance(rich, want));
    budget = 1;
    assert_int_equal(shoal_grammar_step(poor, poor_at, 'b', &next), SHOAL_ERR_DATA);
    assert_false(shoal_grammar_states_full(poor));
    shoal_grammar_states_destroy(poor);
    shoal_grammar_states_destroy(rich);
    shoal_grammar_release(grammar);
}

/* A text that must be followed in too many places at once ends, and says why. */
static void test_spent(void **state)
{
    stage s;
    int32_t count;
    shoal_status st = SHOAL_OK;
    (void)state;
    open_stage(&s, made_tokenizer(), made_union(500));
    shoal_guide *guide = guide_of(&s);
    for (int uses = 0; st == SHOAL_OK && uses < 200; uses++) {
        st = shoal_guide_look(guide, NO_LIMIT);
        if (st == SHOAL_OK)
            st = shoal_guide_take(guide, pick(shoal_guide_mask(guide, &count), s.trie.vocab));
    }
    assert_int_equal(st, SHOAL_ERR_DATA);
    assert_true(shoal_guide_spent(guide));
    shoal_guide_destroy(guide);
    close_stage(&s);
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

static void test_refused_token(void **state)
{
    stage s;
    (void)state;
    open_stage(&s, made_tokenizer(), regex_of("ab"));
    shoal_guide *guide = guide_of(&s);
    assert_int_equal(shoal_guide_take(guide, 'a'), SHOAL_OK);
    assert_int_equal(shoal_guide_take(guide, 'a'), SHOAL_ERR_DATA);
    shoal_guide_destroy(guide);
    close_stage(&s);
}

/* A vocabulary that cannot spell what the grammar wants. */
static void test_unspeakable(void **state)
{
    stage s;
    shoal_tokenizer *t;
    static const char json[] = "{\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","
                               "\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}}";
    (void)state;
    assert_int_equal(shoal_tokenizer_open_memory(json, sizeof json - 1, "made", &t), SHOAL_OK);
    open_stage(&s, t, regex_of("ac"));
    shoal_guide *guide = NULL;
    assert_int_equal(shoal_guide_create(s.masks, NULL, 0, &guide), SHOAL_OK);
    assert_int_equal(shoal_guide_look(guide, 10), SHOAL_OK);
    assert_int_equal(shoal_guide_take(guide, 0), SHOAL_OK);
    assert_int_equal(shoal_guide_look(guide, 9), SHOAL_ERR_DATA);
    shoal_guide_destroy(guide);
    close_stage(&s);
}

static shoal_status say_a(shoal_token_masks *masks)
{
    shoal_guide *guide;
    SHOAL_TRY(shoal_guide_create(masks, ends, 2, &guide));
    shoal_status st = shoal_guide_look(guide, 5);
    if (st == SHOAL_OK)
        st = shoal_guide_take(guide, '{');
    if (st == SHOAL_OK)
        st = shoal_guide_look(guide, 4);
    shoal_guide_destroy(guide);
    return st;
}

static void test_no_memory(void **state)
{
    shoal_status st = SHOAL_ERR_TEMPORARY;
    (void)state;
    for (uint64_t n = 1; st != SHOAL_OK; n++) {
        stage s;
        open_stage(&s, made_tokenizer(), grammar_of(schemas[0]));
        shoal_mem_fail_nth(n);
        st = say_a(s.masks);
        shoal_mem_fail_nth(0);
        assert_true(st == SHOAL_OK || st == SHOAL_ERR_TEMPORARY);
        assert_int_equal(say_a(s.masks), SHOAL_OK); /* nothing is broken by it */
        close_stage(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks),         cmocka_unit_test(test_budget),
        cmocka_unit_test(test_editions),      cmocka_unit_test(test_many_states),
        cmocka_unit_test(test_refused_token), cmocka_unit_test(test_unspeakable),
        cmocka_unit_test(test_no_memory),     cmocka_unit_test(test_work),
        cmocka_unit_test(test_spent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
