/* coordinator/text/model_json.h - "model" of tokenizer.json. Private to tokenizer_json.c.
 *
 * Its "vocab" (an object) and "merges" are most of a file. They are not in the JSON tree, where
 * null stands in their place, but read where they stand in the text. */
#ifndef SHOAL_COORDINATOR_TEXT_MODEL_JSON_H
#define SHOAL_COORDINATOR_TEXT_MODEL_JSON_H

#include <jansson.h>

#include "coordinator/text/growable.h"
#include "coordinator/text/tokenizer.h"

/* A member left out of the tree: its place in the text, empty if it is not there, and how many
 * elements it has. */
typedef struct {
    shoal_span span;
    size_t count;
} shoal_large_member;

typedef struct {
    const char *text; /* the file, valid UTF-8 */
    shoal_large_member vocab, merges;
} shoal_model_source;

/* Fill vocabulary and model of the tokenizer. */
SHOAL_MUST_USE shoal_status shoal_tokenizer_read_model(const json_t *root,
                                                       const shoal_model_source *source,
                                                       shoal_tokenizer *tokenizer);

#endif
