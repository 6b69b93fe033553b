/* coordinator/text/tokenizer.h - text to token ids and back.
 *
 * Added tokens are found in the text, the stretches between them are normalized, cut into words and
 * encoded by the model; special tokens are put around the result. Decoding goes the other way. What
 * is to be done comes from a Hugging Face tokenizer.json, a SentencePiece model or the vocabulary
 * of a GGUF file; anything in it that is unsupported is refused by name, never approximated.
 *
 * It is not a chat template and knows nothing of a model's embedding: ids it gives are below
 * shoal_tokenizer_size, which may be less or more than a model's vocabulary.
 *
 * Texts are UTF-8 with explicit lengths; U+0000 is a legal character. A tokenizer is read-only
 * once open: any number of threads may use it. A detokenizer belongs to one thread. */
#ifndef SHOAL_COORDINATOR_TEXT_TOKENIZER_H
#define SHOAL_COORDINATOR_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/growable.h"

#define SHOAL_TOKENIZER_FILE_MAX   (512u << 20) /* bytes of a tokenizer.json */
#define SHOAL_TOKENIZER_VALUES_MAX (1u << 20)   /* in it beside vocabulary and merges */
#define SHOAL_TOKENIZER_TEXT_MAX   (1u << 30)   /* bytes of one text to encode */

typedef struct shoal_tokenizer shoal_tokenizer;

/* `path` is a file of one of these kinds, known by its content, or a folder that holds a
 * tokenizer.json or else a tokenizer.model (coordinator/text/sentencepiece_folder.h).
 * SHOAL_ERR_NOTFOUND, SHOAL_ERR_IO, or SHOAL_ERR_DATA when the file is wrong or says something
 * unsupported; the sentence names the file, the part and the token. */
SHOAL_MUST_USE shoal_status shoal_tokenizer_open(const char *path, shoal_tokenizer **out);

/* The same from the bytes of a file; `name` stands for it in sentences. */
SHOAL_MUST_USE shoal_status shoal_tokenizer_open_memory(const char *data, size_t bytes,
                                                        const char *name, shoal_tokenizer **out);
void shoal_tokenizer_close(shoal_tokenizer *tokenizer);

enum {
    SHOAL_ENCODE_ADD_SPECIAL = 1, /* put special tokens around the text, as the tokenizer says   */
    SHOAL_ENCODE_PLAIN = 2,       /* special tokens written in the text are ordinary characters  */
};

/* Append the ids of the text to *ids, which on failure is as it was. SHOAL_ERR_DATA when the text
 * is not UTF-8 or too long. */
SHOAL_MUST_USE shoal_status shoal_tokenizer_encode(const shoal_tokenizer *tokenizer,
                                                   const char *text, size_t bytes, unsigned flags,
                                                   shoal_ids *ids);

/* Append the text of ids[0, count) to *text, which on failure is as it was. The result is always
 * valid UTF-8: bytes that form no character become U+FFFD, one for each maximal broken part. Ids
 * without a token give nothing, and with `skip_special` special tokens neither. */
SHOAL_MUST_USE shoal_status shoal_tokenizer_decode(const shoal_tokenizer *tokenizer,
                                                   const int32_t *ids, size_t count,
                                                   bool skip_special, shoal_strbuf *text);

/* Append the bytes that one token stands for, which need not be UTF-8 by themselves; nothing when
 * there is no such token. */
SHOAL_MUST_USE shoal_status shoal_tokenizer_bytes(const shoal_tokenizer *tokenizer, int64_t id,
                                                  shoal_strbuf *out);

/* The vocabulary's own string of an id ("Ġhello"), borrowed; NULL when there is no such token. */
const char *shoal_tokenizer_piece(const shoal_tokenizer *tokenizer, int64_t id, size_t *bytes);

/* The id of such a string; -1 if none. */
int32_t shoal_tokenizer_find(const shoal_tokenizer *tokenizer, const char *piece, size_t bytes);

/* Is the token dropped by skip_special? False when there is no such token. */
bool shoal_tokenizer_is_special(const shoal_tokenizer *tokenizer, int64_t id);

/* Highest id + 1 (ids may have holes), and number of tokens. */
size_t shoal_tokenizer_size(const shoal_tokenizer *tokenizer);
size_t shoal_tokenizer_count(const shoal_tokenizer *tokenizer);

/* ---- one token after another ---- */

typedef struct shoal_detok shoal_detok;

/* The tokenizer is borrowed and must outlive the detokenizer. */
SHOAL_MUST_USE shoal_status shoal_detok_create(const shoal_tokenizer *tokenizer, bool skip_special,
                                               shoal_detok **out);
void shoal_detok_destroy(shoal_detok *detok);

/* Take the next id. *text, *bytes: the characters that are complete now, borrowed until the next
 * call; often none. A character is never sent in parts; bytes that can no longer become one are
 * sent as U+FFFD at once. */
SHOAL_MUST_USE shoal_status shoal_detok_push(shoal_detok *detok, int64_t id, const char **text,
                                             size_t *bytes);

/* The end: U+FFFD when a character is still incomplete, else nothing. The detokenizer is then as
 * new. */
SHOAL_MUST_USE shoal_status shoal_detok_flush(shoal_detok *detok, const char **text, size_t *bytes);

#endif
