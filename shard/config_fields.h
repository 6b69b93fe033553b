/* shard/config_fields.h - typed, range-checked reading of the members of a config.json.
 *
 * A member that is absent or null leaves the output alone: the caller puts the default there
 * first. A member of another type or outside its range is SHOAL_ERR_DATA, the sentence naming file,
 * member, value and range. Numbers are never converted: 1.0 is no whole number here. */
#ifndef SHOAL_SHARD_CONFIG_FIELDS_H
#define SHOAL_SHARD_CONFIG_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

struct json_t;

typedef struct {
    const char *where;           /* the file                                               */
    const char *inside;          /* "" or "text_config.": in front of the names of members */
    const struct json_t *object; /* NULL has no members                                    */
} shoal_config;

/* Is it there and not null? Is it there and null? */
bool shoal_config_has(const shoal_config *config, const char *key);
bool shoal_config_is_null(const shoal_config *config, const char *key);

/* SHOAL_ERR_DATA when it is absent or null. */
SHOAL_MUST_USE shoal_status shoal_config_require(const shoal_config *config, const char *key);

/* low <= value <= high */
SHOAL_MUST_USE shoal_status shoal_config_int(const shoal_config *config, const char *key,
                                             int64_t low, int64_t high, int64_t *out);
SHOAL_MUST_USE shoal_status shoal_config_real(const shoal_config *config, const char *key,
                                              double low, double high, double *out);
/* A soft cap; null: none, 0. */
SHOAL_MUST_USE shoal_status shoal_config_soft_cap(const shoal_config *config, const char *key,
                                                  double absent, double *out);
SHOAL_MUST_USE shoal_status shoal_config_bool(const shoal_config *config, const char *key,
                                              bool *out);

/* Borrowed from the tree. */
SHOAL_MUST_USE shoal_status shoal_config_text(const shoal_config *config, const char *key,
                                              const char **out);
SHOAL_MUST_USE shoal_status shoal_config_array(const shoal_config *config, const char *key,
                                               const struct json_t **out);
SHOAL_MUST_USE shoal_status shoal_config_object(const shoal_config *config, const char *key,
                                                const struct json_t **out);

#endif
