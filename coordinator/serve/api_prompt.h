/* coordinator/serve/api_prompt.h - the prompts of a completions request. Private to the api files.
 */
#ifndef SHOAL_COORDINATOR_SERVE_API_PROMPT_H
#define SHOAL_COORDINATOR_SERVE_API_PROMPT_H

#include "coordinator/serve/api_fields.h"
#include "coordinator/serve/api_request.h"

/* "prompt": a text, texts, a list of ids, or lists of ids. Each gets ids (of a text with special
 * tokens around it) and text (of ids the decoded one). best_of is known. */
bool shoal_api_read_prompts(const shoal_api_context *context, const shoal_fields *fields,
                            shoal_api_request *out);

#endif
