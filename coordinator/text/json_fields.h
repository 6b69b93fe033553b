/* coordinator/text/json_fields.h - members of a JSON object, with the sentence when one is wrong.
 *
 * `where` names the object in sentences ("model"). null counts as absent. Values are borrowed. */
#ifndef SHOAL_COORDINATOR_TEXT_JSON_FIELDS_H
#define SHOAL_COORDINATOR_TEXT_JSON_FIELDS_H

#include <jansson.h>
#include <stdbool.h>

#include "proto/status.h"

/* The member, or NULL when it is absent or null. */
json_t *shoal_json_member(const json_t *object, const char *key);

/* `fallback` when absent. */
SHOAL_MUST_USE shoal_status shoal_json_bool(const json_t *object, const char *where,
                                            const char *key, bool fallback, bool *out);

/* Must be present. */
SHOAL_MUST_USE shoal_status shoal_json_array(const json_t *object, const char *where,
                                             const char *key, json_t **out);
SHOAL_MUST_USE shoal_status shoal_json_object(const json_t *object, const char *where,
                                              const char *key, json_t **out);
SHOAL_MUST_USE shoal_status shoal_json_integer(const json_t *object, const char *where,
                                               const char *key, json_int_t *out);

/* May be absent: *text is then NULL and *bytes 0. The text may hold U+0000. */
SHOAL_MUST_USE shoal_status shoal_json_text(const json_t *object, const char *where,
                                            const char *key, const char **text, size_t *bytes);

/* Must be present and free of U+0000: a name to compare. */
SHOAL_MUST_USE shoal_status shoal_json_name(const json_t *object, const char *where,
                                            const char *key, const char **name);

#endif
