/* coordinator/text/vocab.h - token strings and ids, both ways.
 *
 * Ids are 0-based and may have holes; an id has one string and a string one id. Strings are valid
 * UTF-8 as the file writes them (for byte-level BPE in the byte alphabet) and may hold U+0000.
 * Filled while a tokenizer is opened, read-only afterwards. */
#ifndef SHOAL_COORDINATOR_TEXT_VOCAB_H
#define SHOAL_COORDINATOR_TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

#define SHOAL_VOCAB_MAX        (4u << 20)  /* tokens                                  */
#define SHOAL_VOCAB_HOLES_MAX  (64u << 10) /* unused ids below the highest            */
#define SHOAL_VOCAB_TOKEN_MAX  (4u << 10)  /* bytes of a token: what a text's byte may cost   */
#define SHOAL_VOCAB_STRING_MAX (1u << 30)  /* bytes of all tokens together            */

/* What a token is; a token may be several of these. */
enum {
    SHOAL_TOKEN_MODEL = 1,   /* of the model's own vocabulary         */
    SHOAL_TOKEN_ADDED = 2,   /* found in the text before the model is */
    SHOAL_TOKEN_SPECIAL = 4, /* dropped by decoding where asked for   */
    SHOAL_TOKEN_BYTE = 8,    /* a byte of what has no token: <0xNN>   */
    SHOAL_TOKEN_USER = 16,   /* SentencePiece: user-defined           */
    SHOAL_TOKEN_UNUSED = 32, /* SentencePiece: only a step of joining */
    SHOAL_TOKEN_UNKNOWN = 64 /* stands for what has no token          */
};

typedef struct shoal_vocab shoal_vocab;

/* An empty vocabulary for about `tokens` tokens. */
SHOAL_MUST_USE shoal_status shoal_vocab_create(size_t tokens, shoal_vocab **out);
void shoal_vocab_destroy(shoal_vocab *vocab);

/* Add a token, or add `kind` bits to one that is there with the same id and string. SHOAL_ERR_DATA
 * names the token when id or string is taken otherwise, or a limit is passed. */
SHOAL_MUST_USE shoal_status shoal_vocab_add(shoal_vocab *vocab, int64_t id, const char *text,
                                            size_t bytes, unsigned kind);

/* The id of a token that has one of the `kind` bits; -1 if none. */
int32_t shoal_vocab_find(const shoal_vocab *vocab, const char *text, size_t bytes, unsigned kind);

/* The string of an id, borrowed; NULL when the id is a hole or out of range. */
const char *shoal_vocab_piece(const shoal_vocab *vocab, int64_t id, size_t *bytes);

/* The kind bits of an id; 0 when there is no such token. */
unsigned shoal_vocab_kind(const shoal_vocab *vocab, int64_t id);

/* Number of tokens, and highest id + 1. */
size_t shoal_vocab_count(const shoal_vocab *vocab);
size_t shoal_vocab_size(const shoal_vocab *vocab);

#endif
