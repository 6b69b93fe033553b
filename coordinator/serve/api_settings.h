/* coordinator/serve/api_settings.h - what chat and completions requests say alike: how to sample,
 * when to stop, how to answer. Private to the api files. */
#ifndef SHOAL_COORDINATOR_SERVE_API_SETTINGS_H
#define SHOAL_COORDINATOR_SERVE_API_SETTINGS_H

#include "coordinator/serve/api_fields.h"
#include "coordinator/serve/api_request.h"

/* Into *out, whose `chat` and `echo` are set. max_tokens is not yet cut to the context. */
bool shoal_api_read_settings(const shoal_api_context *context, const shoal_fields *fields,
                             shoal_api_request *out);

#endif
