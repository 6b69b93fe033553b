/* tests/support/judge_schema.c - which texts a grammar accepts, for scripts that have another
 * judge.
 *
 *     judge_schema            lines of JSON in, a line of JSON out for each
 *
 * In: {"schema": S, "texts": [T, ...], "samples": N, "seed": X}, or "regex" instead of "schema".
 * Out: {"accepts": [true, ...], "samples": [T, ...], "seconds": X}, the samples being N random
 * texts of the grammar; or, where none can be made, {"error": SENTENCE, "seconds": X}. The seconds
 * are those of the processor for compiling. A text that a limit stops is not accepted. Exit code 65
 * for other lines. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "coordinator/text/grammar/grammar_states.h"

#define WALK_MAX   60   /* random bytes before a sample makes for its end */
#define SAMPLE_MAX 4096 /* bytes; a longer one is left out                */

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static bool accepts(shoal_grammar *grammar, const char *text, size_t bytes)
{
    shoal_grammar_states *states;
    if (shoal_grammar_states_create(grammar, &states) != SHOAL_OK)
        return false;
    int32_t at = shoal_grammar_start(states);
    shoal_status st = SHOAL_OK;
    for (size_t i = 0; i < bytes && st == SHOAL_OK && at != SHOAL_GRAMMAR_DEAD; i++)
        st = shoal_grammar_step(states, at, (uint8_t)text[i], &at);
    const bool good = st == SHOAL_OK && shoal_grammar_may_end(states, at);
    shoal_grammar_states_destroy(states);
    return good;
}

/* ---- samples --------------------------------------------------------------------------------- */

static uint32_t draw(uint64_t *seed, uint32_t below)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*seed >> 33) % below);
}

/* A byte that leads on from `at`, from a random one upwards; `nearer`: to the end. -1: none. */
static int find_byte(shoal_grammar_states *states, int32_t at, uint64_t *seed, bool nearer,
                     int32_t *next)
{
    const uint32_t from = draw(seed, 4) ? 32 + draw(seed, 96) : draw(seed, 256);
    for (uint32_t i = 0; i < 256; i++) {
        const uint8_t byte = (uint8_t)(from + i);
        if (shoal_grammar_step(states, at, byte, next) == SHOAL_OK && *next != SHOAL_GRAMMAR_DEAD &&
            (!nearer || shoal_grammar_distance(states, *next) < shoal_grammar_distance(states, at)))
            return byte;
    }
    return -1;
}

/* Bytes of a random text; 0: none was found. */
static size_t sample(shoal_grammar_states *states, uint64_t *seed, char text[SAMPLE_MAX])
{
    int32_t at = shoal_grammar_start(states), next;
    size_t bytes = 0;
    for (const uint32_t walk = draw(seed, WALK_MAX); bytes < SAMPLE_MAX; at = next) {
        const bool may_end = shoal_grammar_may_end(states, at);
        const int byte =
            may_end && bytes >= walk ? -1 : find_byte(states, at, seed, bytes >= walk, &next);
        if (byte < 0)
            return may_end ? bytes : 0;
        text[bytes++] = (char)byte;
    }
    return 0;
}

static json_t *samples(shoal_grammar *grammar, const json_t *question)
{
    char text[SAMPLE_MAX];
    shoal_grammar_states *states;
    json_t *list = json_array();
    uint64_t seed = (uint64_t)json_integer_value(json_object_get(question, "seed"));
    if (shoal_grammar_states_create(grammar, &states) != SHOAL_OK)
        return list;
    for (json_int_t i = json_integer_value(json_object_get(question, "samples")); i > 0; i--) {
        const size_t bytes = sample(states, &seed, text);
        if (bytes)
            (void)json_array_append_new(list, json_stringn(text, bytes));
    }
    shoal_grammar_states_destroy(states);
    return list;
}

/* ---- answers --------------------------------------------------------------------------------- */

static json_t *judge(shoal_grammar *grammar, const json_t *texts)
{
    size_t i;
    json_t *text, *verdicts = json_array();
    json_array_foreach(texts, i, text)
    {
        const bool good = accepts(grammar, json_string_value(text), json_string_length(text));
        (void)json_array_append_new(verdicts, json_boolean(good));
    }
    return verdicts;
}

static json_t *answer(const json_t *question)
{
    const json_t *regex = json_object_get(question, "regex");
    const json_t *schema = json_object_get(question, "schema");
    shoal_grammar *grammar = NULL;
    const double begin = now();
    const shoal_status st = regex ? shoal_grammar_from_regex(json_string_value(regex),
                                                             json_string_length(regex), &grammar)
                                  : shoal_grammar_from_schema(schema, &grammar);
    const double seconds = now() - begin;
    if (st != SHOAL_OK)
        return json_pack("{s:s, s:f}", "error", shoal_error_text(), "seconds", seconds);
    json_t *verdicts = judge(grammar, json_object_get(question, "texts"));
    json_t *texts = samples(grammar, question);
    shoal_grammar_release(grammar);
    return json_pack("{s:o, s:o, s:f}", "accepts", verdicts, "samples", texts, "seconds", seconds);
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    int code = EXIT_SUCCESS;
    for (ssize_t bytes; code == EXIT_SUCCESS && (bytes = getline(&line, &room, stdin)) > 0;) {
        json_t *question = json_loadb(line, (size_t)bytes, JSON_ALLOW_NUL, NULL);
        json_t *out = json_is_object(question) ? answer(question) : NULL;
        if (!out || json_dumpf(out, stdout, JSON_COMPACT) != 0 || putchar('\n') == EOF ||
            fflush(stdout) != 0)
            code = 65;
        json_decref(out);
        json_decref(question);
    }
    free(line);
    return code;
}
