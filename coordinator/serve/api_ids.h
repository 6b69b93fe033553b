/* coordinator/serve/api_ids.h - token ids of a request: given or encoded, always within the width
 * of the logits; and their room in the context. Private to the api files. `name` is the field they
 * come from. */
#ifndef SHOAL_COORDINATOR_SERVE_API_IDS_H
#define SHOAL_COORDINATOR_SERVE_API_IDS_H

#include "coordinator/serve/api_request.h"

/* Append a JSON array of ids. */
bool shoal_api_read_ids(const shoal_api_context *context, const json_t *list, const char *name,
                        shoal_ids *ids, shoal_api_error *error);

/* Append the ids of a text; `flags` as of shoal_tokenizer_encode. */
bool shoal_api_encode(const shoal_api_context *context, const shoal_strbuf *text, unsigned flags,
                      const char *name, shoal_ids *ids, shoal_api_error *error);

/* All prompts are known: refuse one that leaves no room, cut max_tokens to the room. */
bool shoal_api_fit(const shoal_api_context *context, const char *name, shoal_api_request *request,
                   shoal_api_error *error);

#endif
