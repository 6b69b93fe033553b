/* coordinator/text/tokenizer_steps.h - the steps around the model, from tokenizer.json: normalizer,
 * pre_tokenizer, post_processor, decoder. Private to tokenizer_json.c.
 *
 * Each takes the part's JSON value (NULL or null: the part is absent) and fills the tokenizer;
 * what is unsupported is SHOAL_ERR_DATA naming it. */
#ifndef SHOAL_COORDINATOR_TEXT_TOKENIZER_STEPS_H
#define SHOAL_COORDINATOR_TEXT_TOKENIZER_STEPS_H

#include <jansson.h>

#include "coordinator/text/tokenizer.h"
#include "proto/status.h"

#define SHOAL_TOKENIZER_NEST_MAX 8 /* Sequences inside Sequences */

SHOAL_MUST_USE shoal_status shoal_tokenizer_read_normalizer(const json_t *json,
                                                            shoal_tokenizer *tokenizer);
SHOAL_MUST_USE shoal_status shoal_tokenizer_read_pretokenizer(const json_t *json,
                                                              shoal_tokenizer *tokenizer);
SHOAL_MUST_USE shoal_status shoal_tokenizer_read_decoder(const json_t *json,
                                                         shoal_tokenizer *tokenizer);

/* Needs the vocabulary: special tokens it names must be there. */
SHOAL_MUST_USE shoal_status shoal_tokenizer_read_post(const json_t *json,
                                                      shoal_tokenizer *tokenizer);

#endif
