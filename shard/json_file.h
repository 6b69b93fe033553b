/* shard/json_file.h - a small JSON document from a file or from memory, as a jansson tree.
 *
 * Bytes, nesting and number of values are capped before the tree is built, duplicate names are
 * refused. For headers of weights see json_scan.h. Errors: SHOAL_ERR_DATA with the file, the line
 * and what is wrong there, or what shoal_regular_open says. */
#ifndef SHOAL_SHARD_JSON_FILE_H
#define SHOAL_SHARD_JSON_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

struct json_t;

typedef struct {
    uint64_t bytes;
    int depth;
    uint64_t values;
} shoal_json_limits;

/* *out belongs to the caller, who ends it with json_decref. */
SHOAL_MUST_USE shoal_status shoal_json_parse(const char *text, size_t bytes, const char *where,
                                             const shoal_json_limits *limits, struct json_t **out);
SHOAL_MUST_USE shoal_status shoal_json_read(const char *path, const shoal_json_limits *limits,
                                            struct json_t **out);

#endif
