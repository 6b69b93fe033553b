/* shard/convert_config.h - the JSON a converted model needs beside its tensors. */
#ifndef SHOAL_SHARD_CONVERT_CONFIG_H
#define SHOAL_SHARD_CONVERT_CONFIG_H

#include "shard/convert_plan.h"

struct json_t;

/* What the target says about its integers; *out is NULL where it says nothing. */
SHOAL_MUST_USE shoal_status shoal_convert_quantization(const shoal_convert_plan *plan,
                                                       struct json_t **out);

/* The source's config.json with another quantization config (NULL: none). */
SHOAL_MUST_USE shoal_status shoal_convert_config(const shoal_convert_plan *plan, const char *source,
                                                 struct json_t *quantization, struct json_t **out);

/* model.safetensors.index.json; `names` of the files. */
SHOAL_MUST_USE shoal_status shoal_convert_index(const shoal_convert_plan *plan,
                                                struct json_t **out);

/* __metadata__ of one file. */
SHOAL_MUST_USE shoal_status shoal_convert_metadata(const shoal_convert_plan *plan, int file,
                                                   struct json_t **out);

/* "model.safetensors" or "model-00002-of-00003.safetensors". */
void shoal_convert_file_name(const shoal_convert_plan *plan, int file, char out[64]);

#endif
