/* coordinator/text/tokenizer_json.h - tokenizer.json to the parts of a tokenizer. */
#ifndef SHOAL_COORDINATOR_TEXT_TOKENIZER_JSON_H
#define SHOAL_COORDINATOR_TEXT_TOKENIZER_JSON_H

#include <stddef.h>

#include "coordinator/text/tokenizer.h"
#include "proto/status.h"

/* Fill *tokenizer, which is all zero, from the bytes of a tokenizer.json. On failure it holds some
 * parts and must be closed all the same. Sentences name the part of the file but not the file. */
SHOAL_MUST_USE shoal_status shoal_tokenizer_read_json(const char *json, size_t bytes,
                                                      shoal_tokenizer *tokenizer);

#endif
