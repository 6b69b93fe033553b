/* coordinator/serve/api_body.h - the body of a request as a JSON object. Private to the api files.
 */
#ifndef SHOAL_COORDINATOR_SERVE_API_BODY_H
#define SHOAL_COORDINATOR_SERVE_API_BODY_H

#include "coordinator/serve/api_request.h"

/* The object (the caller's): it is for the served model and asks for nothing that is known and
 * cannot be had. NULL with the error filled. `kind`: of coordinator/serve/known_fields.h. */
json_t *shoal_api_open_body(const shoal_api_context *context, unsigned kind, const char *body,
                            size_t bytes, shoal_api_error *error);

#endif
