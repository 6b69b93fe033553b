/* coordinator/serve/api_error.h - an answer that says no, in OpenAI's shape.
 *
 *     {"error": {"message", "type", "param", "code"}}
 *
 * The type follows from the status: 401 authentication_error, 429 rate_limit_error, 5xx
 * server_error, else invalid_request_error. Messages name fields, values and limits; never paths,
 * addresses or anything else of the inside. */
#ifndef SHOAL_COORDINATOR_SERVE_API_ERROR_H
#define SHOAL_COORDINATOR_SERVE_API_ERROR_H

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/text/growable.h"
#include "proto/status.h"

typedef struct {
    int status;      /* HTTP status; 0: no error */
    int retry_after; /* seconds; 0: no such header */
    char code[40];   /* "" is null */
    char param[64];  /* "" is null */
    char message[400];
} shoal_api_error;

/* Fill the error and return false, so that a parser can `return shoal_api_refuse(...)`. `code` and
 * `param` may be NULL. The first refusal stands: a filled error is left alone. */
bool shoal_api_refuse(shoal_api_error *error, int status, const char *code, const char *param,
                      const char *fmt, ...) SHOAL_PRINTF(5, 6);

/* Append the JSON text of the error. */
SHOAL_MUST_USE shoal_status shoal_api_error_write(const shoal_api_error *error, shoal_strbuf *out);

#endif
