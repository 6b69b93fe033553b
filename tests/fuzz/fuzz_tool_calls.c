/* libFuzzer target: what a model says.
 *
 * Input: how to cut (one byte), rules (one byte), the name of a format of calls and a newline, then
 * the text. However it is cut, the message is the same, its arguments are JSON objects, and it is
 * not longer than the text. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "coordinator/text/json_scan.h"
#include "coordinator/text/speech.h"
#include "coordinator/text/speech_message.h"
#include "tests/fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static shoal_speech_rules rules_of(uint8_t bits, const char *name)
{
    shoal_speech_rules rules = {
        .calls = shoal_call_format_named(name),
        .think = bits & 1 ? shoal_think_format_of("</think>", 8) : NULL,
        .single = (bits & 4) != 0,
        .forced = "chosen",
    };
    rules.thinking = rules.think && bits & 2;
    if (strcmp(name, "required") == 0)
        rules.calls = &shoal_calls_required;
    if (strcmp(name, "forced") == 0)
        rules.calls = &shoal_calls_forced;
    return rules;
}

static void push(shoal_speech *speech, const char *text, size_t bytes, bool final,
                 shoal_speech_message *message)
{
    const shoal_speech_pieces *pieces;
    must(shoal_speech_push(speech, text, bytes, final, &pieces) == SHOAL_OK);
    must(shoal_speech_collect(message, pieces->text.data, pieces->data, pieces->count) == SHOAL_OK);
}

/* In pieces of so many bytes; 0: at once. */
static int read_in(const shoal_speech_rules *rules, const char *text, size_t bytes, size_t step,
                   shoal_speech_message *message)
{
    shoal_speech *speech;
    must(shoal_speech_create(rules, &speech) == SHOAL_OK);
    for (; step && bytes > step; bytes -= step, text += step)
        push(speech, text, step, false, message);
    push(speech, text, bytes, true, message);
    const int calls = shoal_speech_calls(speech);
    shoal_speech_destroy(speech);
    return calls;
}

static void same(const shoal_strbuf *a, const shoal_strbuf *b)
{
    must(a->bytes == b->bytes && (a->bytes == 0 || memcmp(a->data, b->data, a->bytes) == 0));
}

static void check_call(const shoal_speech_call *a, const shoal_speech_call *b)
{
    shoal_json_scan scan = {0};
    shoal_json_verdict verdict = SHOAL_JSON_MORE;
    for (size_t i = 0; i < a->arguments.bytes && verdict != SHOAL_JSON_BROKEN; i++)
        verdict = shoal_json_scan_byte(&scan, a->arguments.data[i]);
    must(a->arguments.bytes >= 2 && a->arguments.data[0] == '{');
    must(verdict != SHOAL_JSON_BROKEN && scan.depth == 0);
    same(&a->name, &b->name);
    same(&a->arguments, &b->arguments);
    must(a->name.bytes > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[32];
    const uint8_t *line = size > 2 ? memchr(data + 2, '\n', size - 2) : NULL;
    if (!line || (size_t)(line - data - 2) >= sizeof name)
        return 0;
    memcpy(name, data + 2, (size_t)(line - data - 2));
    name[line - data - 2] = '\0';
    const shoal_speech_rules rules = rules_of(data[1], name);
    const char *text = (const char *)line + 1;
    const size_t bytes = size - (size_t)(line + 1 - data);
    shoal_speech_message whole = {0}, cut = {0};
    const int calls = read_in(&rules, text, bytes, 0, &whole);
    must(read_in(&rules, text, bytes, 1 + data[0] % 16, &cut) == calls);
    must((size_t)calls == whole.call_count && whole.call_count == cut.call_count);
    same(&whole.content, &cut.content);
    same(&whole.reasoning, &cut.reasoning);
    must(whole.content.bytes + whole.reasoning.bytes <= bytes);
    for (size_t i = 0; i < whole.call_count; i++)
        check_call(&whole.calls[i], &cut.calls[i]);
    shoal_speech_message_free(&cut);
    shoal_speech_message_free(&whole);
    return 0;
}
