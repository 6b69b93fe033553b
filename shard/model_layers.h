/* shard/model_layers.h - the layers of a model from its config: windows, biases, norms, experts. */
#ifndef SHOAL_SHARD_MODEL_LAYERS_H
#define SHOAL_SHARD_MODEL_LAYERS_H

#include "shard/config_fields.h"
#include "shard/model.h"
#include "shard/model_family.h"

/* Needs the model's dimensions and its array of layers; fills every layer but its rope index.
 * *sliding[layer_count] says which layers have a window (freed with the model's arena). */
SHOAL_MUST_USE shoal_status shoal_model_layers_read(const shoal_config *config,
                                                    const shoal_family *family, shoal_model *model,
                                                    bool **sliding);

#endif
