/* coordinator/serve/api_fields.h - members of a request, read with type and range, or refused.
 *
 * Readers return false with the error filled: 400, the full name of the field, and what it must
 * be. A member that is absent or null leaves the output alone. */
#ifndef SHOAL_COORDINATOR_SERVE_API_FIELDS_H
#define SHOAL_COORDINATOR_SERVE_API_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/serve/api_error.h"

#define SHOAL_CODE_TYPE        "invalid_type"
#define SHOAL_CODE_VALUE       "invalid_value"
#define SHOAL_CODE_MISSING     "missing_required_parameter"
#define SHOAL_CODE_UNSUPPORTED "unsupported"

#define SHOAL_FIELD_NAME_MAX 64

/* An object of a request, and where it stands there. Borrowed. */
typedef struct {
    const json_t *object;
    const char *inside; /* "messages[3]."; "" for the body itself */
    shoal_api_error *error;
} shoal_fields;

/* low <= x <= high; `above`: x > low. */
typedef struct {
    double low, high;
    bool above;
} shoal_field_range;

/* The member, which must have that JSON type; NULL when it is absent or null. */
bool shoal_field_value(const shoal_fields *fields, const char *key, json_type type, json_t **out);

/* The same; absent or null is refused. */
bool shoal_field_required(const shoal_fields *fields, const char *key, json_type type,
                          json_t **out);

bool shoal_field_bool(const shoal_fields *fields, const char *key, bool *out);

/* low <= x <= high; high INT64_MAX: without limit. */
bool shoal_field_integer(const shoal_fields *fields, const char *key, int64_t low, int64_t high,
                         int64_t *out);

/* The range is met after rounding to fp32, too. */
bool shoal_field_number(const shoal_fields *fields, const char *key, shoal_field_range range,
                        float *out);

/* "messages[3]." + "role". Returns `out`. */
const char *shoal_field_name(const shoal_fields *fields, const char *key,
                             char out[SHOAL_FIELD_NAME_MAX]);

/* Refuse the field NAME: "'NAME' MUST." with 400. */
bool shoal_field_refuse(shoal_api_error *error, const char *code, const char *name,
                        const char *must);

/* Refuse for a failure that is not the client's: 503 for want of memory, else 500. */
bool shoal_api_refuse_status(shoal_api_error *error, shoal_status st);

#endif
