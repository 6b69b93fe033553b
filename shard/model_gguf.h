/* shard/model_gguf.h - the metadata of a GGUF file as a config.json would say it.
 *
 * What describes a model there becomes the members that transformers gives it, and is then read
 * and checked like any config.json (shard/model.h). What only the tensors say is taken from them:
 * the size of the vocabulary, whether the output is tied to the embedding, and the factors of the
 * rope frequencies (rope_freqs.weight). Architectures without a family here, and metadata that
 * changes the arithmetic in a way that is not computed, are refused by name. */
#ifndef SHOAL_SHARD_MODEL_GGUF_H
#define SHOAL_SHARD_MODEL_GGUF_H

#include "shard/checkpoint.h"
#include "shard/model.h"

struct json_t;

/* *out is a new object. `path` goes into messages. */
SHOAL_MUST_USE shoal_status shoal_gguf_config(const shoal_checkpoint *checkpoint, const char *path,
                                              struct json_t **out);

/* Put the factors of rope_freqs.weight, where there is such a tensor, into the model's rope. */
SHOAL_MUST_USE shoal_status shoal_gguf_rope_factors(const shoal_checkpoint *checkpoint,
                                                    shoal_model *model);

#endif
