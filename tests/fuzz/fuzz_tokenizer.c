/* libFuzzer target: a tokenizer.json from anywhere.
 *
 * Input: the JSON, then optionally a NUL byte and a text. A tokenizer that opens must encode the
 * text (or say why not), give only ids it has, and decode whole and step by step to the same valid
 * UTF-8, but that broken runs of <0xNN> may show differently. Seeds: any small tokenizer.json. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8.h"
#include "tests/fuzz/must.h"

/* Longer texts find nothing new, only slow patterns. */
#define TEXT_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode_both_ways(const shoal_tokenizer *t, const shoal_ids *ids, bool skip_special)
{
    shoal_strbuf whole = {0}, stepwise = {0};
    shoal_detok *detok;
    const char *text;
    size_t bytes;
    must(shoal_tokenizer_decode(t, ids->data, ids->count, skip_special, &whole) == SHOAL_OK);
    must(shoal_utf8_valid(whole.data, whole.bytes) == whole.bytes);
    must(shoal_detok_create(t, skip_special, &detok) == SHOAL_OK);
    for (size_t i = 0; i < ids->count; i++) {
        must(shoal_detok_push(detok, ids->data[i], &text, &bytes) == SHOAL_OK);
        must(shoal_utf8_valid(text, bytes) == bytes);
        must(shoal_strbuf_append(&stepwise, text, bytes) == SHOAL_OK);
    }
    must(shoal_detok_flush(detok, &text, &bytes) == SHOAL_OK);
    must(shoal_strbuf_append(&stepwise, text, bytes) == SHOAL_OK);
    if (!whole.bytes || !memmem(whole.data, whole.bytes, "\xEF\xBF\xBD", 3)) {
        must(whole.bytes == stepwise.bytes);
        must(whole.bytes == 0 || memcmp(whole.data, stepwise.data, whole.bytes) == 0);
    }
    shoal_detok_destroy(detok);
    shoal_strbuf_free(&stepwise);
    shoal_strbuf_free(&whole);
}

static void use(const shoal_tokenizer *t, const char *text, size_t bytes)
{
    shoal_ids ids = {0};
    for (unsigned flags = 0; flags < 4; flags++)
        (void)(shoal_tokenizer_encode(t, text, bytes, flags, &ids) == SHOAL_OK);
    for (size_t i = 0; i < ids.count; i++) {
        size_t length;
        must(shoal_tokenizer_piece(t, ids.data[i], &length) != NULL);
    }
    decode_both_ways(t, &ids, false);
    decode_both_ways(t, &ids, true);
    shoal_ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char usual[] = "Hello w\xC3\xB6rld 123!\n  <s>it's\xF0\x9F\x98\x80  ";
    shoal_tokenizer *t;
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    const size_t json = end ? (size_t)(end - data) : size;
    if (shoal_tokenizer_open_memory((const char *)data, json, "fuzz", &t) != SHOAL_OK) {
        must(shoal_error_text()[0] != '\0');
        return 0;
    }
    use(t, usual, sizeof usual - 1);
    if (end) {
        const size_t rest = size - json - 1;
        use(t, (const char *)end + 1, rest < TEXT_MAX ? rest : TEXT_MAX);
    }
    shoal_tokenizer_close(t);
    return 0;
}
