/* libFuzzer target: a schema or a regular expression, and a text to read with it.
 *
 * Input: 'r' and a regular expression, or a JSON Schema; then optionally a NUL byte and a text.
 * Whatever they are, there is a grammar or a sentence; the text is read to its end, its first wrong
 * byte or a limit; and where it stands then, some byte brings the end nearer. What that takes is
 * paid for, as it is in a server: what is slow all the same is a finding. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "coordinator/text/grammar/grammar_states.h"
#include "tests/fuzz/must.h"

/* Steps of work for a text. */
#define WORK_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static shoal_status compile(const uint8_t *data, size_t bytes, shoal_grammar **grammar)
{
    if (bytes && data[0] == 'r')
        return shoal_grammar_from_regex((const char *)data + 1, bytes - 1, grammar);
    json_t *schema = json_loadb((const char *)data, bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!schema)
        return shoal_fail(SHOAL_ERR_DATA, "no JSON");
    const shoal_status st = shoal_grammar_from_schema(schema, grammar);
    json_decref(schema);
    return st;
}

static void look_for_way_out(shoal_grammar_states *states, int32_t at)
{
    const int64_t distance = shoal_grammar_distance(states, at);
    must((distance == 0) == shoal_grammar_may_end(states, at));
    bool nearer = distance == 0;
    for (int byte = 0; byte < 256 && !nearer; byte++) {
        int32_t to;
        if (shoal_grammar_step(states, at, (uint8_t)byte, &to) != SHOAL_OK)
            return;
        nearer = to != SHOAL_GRAMMAR_DEAD && shoal_grammar_distance(states, to) == distance - 1;
    }
    must(nearer);
}

static void read_text(shoal_grammar *grammar, const uint8_t *text, size_t bytes)
{
    shoal_grammar_states *states;
    uint64_t budget = WORK_MAX;
    must(shoal_grammar_states_create(grammar, &states) == SHOAL_OK);
    shoal_grammar_states_pay_from(states, &budget);
    int32_t at = shoal_grammar_start(states);
    look_for_way_out(states, at);
    for (size_t i = 0; i < bytes; i++) {
        int32_t to;
        if (shoal_grammar_step(states, at, text[i], &to) != SHOAL_OK || to == SHOAL_GRAMMAR_DEAD)
            break;
        at = to;
    }
    look_for_way_out(states, at);
    shoal_grammar_states_destroy(states);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    const size_t bytes = end ? (size_t)(end - data) : size;
    shoal_grammar *grammar;
    const shoal_status st = compile(data, bytes, &grammar);
    must(st == SHOAL_OK || (st == SHOAL_ERR_DATA && shoal_error_text()[0] != '\0'));
    if (st != SHOAL_OK)
        return 0;
    read_text(grammar, end ? end + 1 : NULL, end ? size - bytes - 1 : 0);
    shoal_grammar_release(grammar);
    return 0;
}
