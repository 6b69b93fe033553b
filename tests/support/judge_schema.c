/* tests/support/judge_schema.c - which texts a grammar accepts, for scripts that have another
 * judge.
 *
 *     judge_schema            lines of JSON in, a line of JSON out for each
 *
 * In: {"schema": S, "texts": [T, ...]} or {"regex": R, "texts": [...]}. Out: {"accepts": [true,
 * ...], "seconds": X} or, where no grammar can be made, {"error": SENTENCE, "seconds": X}; the
 * seconds are those of the processor for compiling. A text that a limit stops is not accepted. Exit
 * code 65 for other lines. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "coordinator/text/grammar/grammar_states.h"

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
    shoal_grammar_release(grammar);
    return json_pack("{s:o, s:f}", "accepts", verdicts, "seconds", seconds);
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
