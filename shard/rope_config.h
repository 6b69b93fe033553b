/* shard/rope_config.h - rotary embeddings as configs say them, old way and new.
 *
 * transformers 4: rope_theta beside an optional rope_scaling. transformers 5: rope_parameters with
 * both, for all layers or one object per layer type. Frequencies are computed in rope.c. */
#ifndef SHOAL_SHARD_ROPE_CONFIG_H
#define SHOAL_SHARD_ROPE_CONFIG_H

#include "shard/config_fields.h"
#include "shard/model.h"
#include "shard/model_family.h"

/* Needs model->head_dim and model->context; fills model->ropes, rope_count and reach. With two
 * ropes the first belongs to layers that see everything, the second to those with a window; whether
 * both are needed is `has_windows`. */
SHOAL_MUST_USE shoal_status shoal_rope_config_read(const shoal_config *config,
                                                   const shoal_family *family, bool has_windows,
                                                   shoal_model *model);

#endif
