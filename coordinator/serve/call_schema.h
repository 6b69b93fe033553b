/* coordinator/serve/call_schema.h - the JSON schema that an answer of nothing but calls obeys.
 * Private to the api files. */
#ifndef SHOAL_COORDINATOR_SERVE_CALL_SCHEMA_H
#define SHOAL_COORDINATOR_SERVE_CALL_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

/* Calls in one answer that has to have some. */
#define SHOAL_REQUIRED_CALLS_MAX 16

/* The arguments of a function {name, parameters}: an object. A function without parameters takes
 * the empty one. NULL for want of memory. */
json_t *shoal_arguments_schema(const json_t *function);

/* [{"name": f, "arguments": {...}}, ...]: one call at least, of the functions in `tools`; more only
 * when `parallel`. NULL for want of memory. */
json_t *shoal_calls_schema(const json_t *tools, bool parallel);

#endif
