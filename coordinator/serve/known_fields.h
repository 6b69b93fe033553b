/* coordinator/serve/known_fields.h - the names of all fields that requests may have.
 *
 * One table says which are known where, and which are known but cannot be honoured. */
#ifndef SHOAL_COORDINATOR_SERVE_KNOWN_FIELDS_H
#define SHOAL_COORDINATOR_SERVE_KNOWN_FIELDS_H

#include <jansson.h>
#include <stdbool.h>

#include "coordinator/serve/api_error.h"

/* Kinds of request. */
enum {
    SHOAL_FOR_CHAT = 1,
    SHOAL_FOR_COMPLETION = 2,
    SHOAL_FOR_TOKENIZE = 4,
    SHOAL_FOR_DETOKENIZE = 8,
};

/* Refuse what cannot be honoured, by name. Unknown fields are logged, each name once in the life of
 * the process, as long as there is room to remember them. */
bool shoal_known_fields_check(const json_t *body, unsigned kind, shoal_api_error *error);

#endif
