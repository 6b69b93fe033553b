/* coordinator/text/token_model.h - what turns one word into tokens: the seam between kinds.
 *
 * A kind is one file with one constant of type shoal_token_model_kind. A model is filled while a
 * tokenizer is opened, read-only afterwards and shared by threads; what a call needs to write goes
 * into the scratch of the caller. */
#ifndef SHOAL_COORDINATOR_TEXT_TOKEN_MODEL_H
#define SHOAL_COORDINATOR_TEXT_TOKEN_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/growable.h"
#include "coordinator/text/vocab.h"

typedef struct shoal_token_model shoal_token_model;

/* Two blocks that only grow; what they hold is the model's own business, from call to call. */
typedef struct {
    void *block[2];
    size_t bytes[2];
    shoal_strbuf text;
} shoal_token_scratch;

typedef struct {
    const char *name; /* "type" in tokenizer.json */

    /* Append the tokens of one non-empty word (valid UTF-8, as the pre-tokenizer leaves it). */
    shoal_status (*encode)(const shoal_token_model *model, shoal_token_scratch *scratch,
                           const char *word, size_t bytes, shoal_ids *out);
    void (*destroy)(shoal_token_model *model);
} shoal_token_model_kind;

/* First member of every model; the vocabulary is borrowed. */
struct shoal_token_model {
    const shoal_token_model_kind *kind;
    const shoal_vocab *vocab;
};

/* Make block `which` at least `count` elements of `size` bytes. */
SHOAL_MUST_USE shoal_status shoal_token_scratch_reserve(shoal_token_scratch *scratch, int which,
                                                        size_t count, size_t size);
void shoal_token_scratch_free(shoal_token_scratch *scratch);

#endif
