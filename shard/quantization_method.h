/* shard/quantization_method.h - one method of quantization: how its config is read. Not included
 * outside shard/quantization*.c.
 *
 * To add one: an entry of shoal_method, a file shard/quantization_NAME.c with its parse function,
 * declared here, and a row in the table of shard/quantization.c. */
#ifndef SHOAL_SHARD_QUANTIZATION_METHOD_H
#define SHOAL_SHARD_QUANTIZATION_METHOD_H

#include <jansson.h>

#include "shard/quantization.h"

/* Fill `out`, whose method is set and whose other fields are 0, from the config object.
 * SHOAL_ERR_DATA names the key. */
typedef shoal_status shoal_quantization_parse_fn(const json_t *root, shoal_quantization *out);

shoal_quantization_parse_fn shoal_quantization_parse_gptq;
shoal_quantization_parse_fn shoal_quantization_parse_awq;
shoal_quantization_parse_fn shoal_quantization_parse_lmdeploy;
shoal_quantization_parse_fn shoal_quantization_parse_torchao;

/* What parsers share. A key has up to two names (old and new; `other` may be NULL); null counts as
 * absent. Absent is an error for an integer; a boolean or string then keeps its default in *out.
 * A string belongs to the object. */
#define SHOAL_QUANTIZATION_WHERE "quantization config"

SHOAL_MUST_USE shoal_status shoal_quantization_bool(const json_t *object, const char *name,
                                                    bool *out);
SHOAL_MUST_USE shoal_status shoal_quantization_int(const json_t *object, const char *name,
                                                   const char *other, int *out);
SHOAL_MUST_USE shoal_status shoal_quantization_string(const json_t *object, const char *name,
                                                      const char *other, const char **out);

/* group_size: -1 or positive. */
SHOAL_MUST_USE shoal_status shoal_quantization_group(const json_t *root, int *out);

/* Refuse "dynamic" rules that change how codes are stored. */
SHOAL_MUST_USE shoal_status shoal_quantization_check_dynamic(const json_t *root);

#endif
