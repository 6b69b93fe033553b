/* tests/unit/made_vocab.h - a tokenizer made by hand for grammars: every byte, pieces of JSON,
 * random words, twins (two tokens of the same bytes) and tokens that are not ordinary.
 *
 * Ids 0 .. 255 are the bytes in order. For one file of a program. */
#ifndef SHOAL_TESTS_UNIT_MADE_VOCAB_H
#define SHOAL_TESTS_UNIT_MADE_VOCAB_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/byte_level.h"
#include "coordinator/text/tokenizer.h"

#define MADE_SIZE 512
#define MADE_TWIN (MADE_SIZE - 3) /* an added token, not special: the Euro sign once more */
#define MADE_END  (MADE_SIZE - 2) /* special                                     */
#define MADE_PAD  (MADE_SIZE - 1) /* special                                     */

static const char *const made_words[] = {
    "{\"",       "\":", "\": ",        "\",",       "\",\"",        "\"}",      "},{",
    "[[",        "[[[", "]]",          "true",      "false",        "null",     "tru",
    "nul",       "fal", "10",          "123",       "0.5",          "-1",       "e+",
    "\\u00",     "\\n", ", ",          "  ",        "    ",         "\n\n",     "{\"a\"",
    "\"a\"",     ":1",  "caf\xC3\xA9", "\xC3\xA9t", "\xE2\x82\xAC", "\xE2\x82", "\xF0\x9F\x98\x80",
    "a\xF0\x9F",
};

/* The next id, unless the text has one. */
static inline void made_add(json_t *vocab, const char *text, size_t bytes)
{
    shoal_strbuf piece = {0};
    const json_int_t id = (json_int_t)json_object_size(vocab);
    if (shoal_byte_level_encode(text, bytes, &piece) != SHOAL_OK)
        abort();
    if (!json_object_getn(vocab, piece.data, piece.bytes))
        (void)json_object_setn_new(vocab, piece.data, piece.bytes, json_integer(id));
    shoal_strbuf_free(&piece);
}

static inline json_t *made_vocab(void)
{
    json_t *vocab = json_object();
    uint32_t random = 1;
    for (int byte = 0; byte < 256; byte++)
        made_add(vocab, &(char){(char)byte}, 1);
    for (size_t i = 0; i < sizeof made_words / sizeof made_words[0]; i++)
        made_add(vocab, made_words[i], strlen(made_words[i]));
    while (json_object_size(vocab) < MADE_TWIN) {
        char word[4];
        for (size_t i = 0; i < sizeof word; i++) {
            random = random * 1664525u + 1013904223u;
            word[i] = "aetn0"[(random >> 16) % 5];
        }
        made_add(vocab, word, 2 + (random >> 24) % 3);
    }
    return vocab;
}

static inline json_t *made_added(const char *content, int id, int special)
{
    return json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", id, "content", content,
                     "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special",
                     special);
}

/* The caller closes it. */
static inline shoal_tokenizer *made_tokenizer(void)
{
    shoal_tokenizer *tokenizer = NULL;
    json_t *json =
        json_pack("{s:[o,o,o], s:{s:s}, s:{s:s, s:o, s:[]}}", "added_tokens",
                  made_added("\xE2\x82\xAC", MADE_TWIN, 0), made_added("<|end|>", MADE_END, 1),
                  made_added("<|pad|>", MADE_PAD, 1), "decoder", "type", "ByteLevel", "model",
                  "type", "BPE", "vocab", made_vocab(), "merges");
    char *text = json_dumps(json, 0);
    if (!text || shoal_tokenizer_open_memory(text, strlen(text), "made", &tokenizer) != SHOAL_OK) {
        fprintf(stderr, "%s\n", shoal_error_text());
        abort();
    }
    free(text);
    json_decref(json);
    return tokenizer;
}

#endif
