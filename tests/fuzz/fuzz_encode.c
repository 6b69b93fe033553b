/* libFuzzer target: a text from anywhere.
 *
 * Two tokenizers made here lose nothing: a byte-level one with the words of a published pattern,
 * and one with a visible space that falls back to bytes. Text that is UTF-8 must come back from its
 * ids as it was; other text is refused. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/text/byte_level.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8.h"
#include "tests/fuzz/must.h"

#define MARK "\xE2\x96\x81" /* the visible space */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(shoal_strbuf *out, const char *text)
{
    must(shoal_strbuf_append(out, text, strlen(text)) == SHOAL_OK);
}

static shoal_tokenizer *opened(shoal_strbuf *json)
{
    shoal_tokenizer *t;
    must(shoal_tokenizer_open_memory(json->data, json->bytes, "made", &t) == SHOAL_OK);
    shoal_strbuf_free(json);
    return t;
}

static shoal_tokenizer *byte_level(void)
{
    shoal_strbuf json = {0};
    put(&json, "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
               "\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
               "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+"
               "[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}},{\"type\":"
               "\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]},\"decoder\":{"
               "\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"merges\":[\"a a\",\"aa aa\","
               "\"\xC4\xA0 a\"],\"vocab\":{");
    for (int b = 0; b < 256; b++) {
        char id[32];
        put(&json, b == '"' || b == '\\' ? "\"\\" : "\"");
        must(shoal_byte_level_encode(&(char){(char)b}, 1, &json) == SHOAL_OK);
        snprintf(id, sizeof id, "\":%d,", b);
        put(&json, id);
    }
    put(&json, "\"aa\":256,\"aaaa\":257,\"\xC4\xA0"
               "a\":258}}}");
    return opened(&json);
}

static shoal_tokenizer *byte_fallback(void)
{
    shoal_strbuf json = {0};
    put(&json, "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\","
               "\"prepend\":\"" MARK "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
               "\"content\":\"" MARK "\"}]},\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{"
               "\"type\":\"Replace\",\"pattern\":{\"String\":\"" MARK "\"},\"content\":\" \"},{"
               "\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":"
               "\" \",\"start\":1,\"stop\":0}]},\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,"
               "\"merges\":[[\"" MARK "\",\"a\"],[\"a\",\"b\"]],\"vocab\":{");
    for (int b = 0; b < 256; b++) {
        char entry[32];
        snprintf(entry, sizeof entry, "\"<0x%02X>\":%d,", (unsigned)b, b);
        put(&json, entry);
    }
    put(&json, "\"" MARK "\":256,\"a\":257,\"b\":258,\"" MARK "a\":259,\"ab\":260}}}");
    return opened(&json);
}

static void round_trip(const shoal_tokenizer *t, const char *text, size_t bytes)
{
    shoal_ids ids = {0};
    shoal_strbuf back = {0};
    const shoal_status st = shoal_tokenizer_encode(t, text, bytes, 0, &ids);
    must((st == SHOAL_OK) == (shoal_utf8_valid(text, bytes) == bytes));
    if (st == SHOAL_OK) {
        must(shoal_tokenizer_decode(t, ids.data, ids.count, false, &back) == SHOAL_OK);
        must(back.bytes == bytes && (bytes == 0 || memcmp(back.data, text, bytes) == 0));
    }
    shoal_strbuf_free(&back);
    shoal_ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static shoal_tokenizer *whole, *marked;
    const char *text = (const char *)data;
    if (!whole) {
        whole = byte_level();
        marked = byte_fallback();
    }
    round_trip(whole, text, size);
    if (size == 0 || !memmem(text, size, MARK, strlen(MARK))) /* a written mark becomes a space */
        round_trip(marked, text, size);
    return 0;
}
