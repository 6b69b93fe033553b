/* shard/torchao_metadata.h - what the metadata of safetensors files say of tensor subclasses.
 *
 * torchao writes each subclass as its parts and, in __metadata__ under the name of the tensor, a
 * JSON text {"_type", "_data", "_tensor_data_names"}. Here it becomes the description of
 * shard/tensor_subclass.h, and the parts, in whichever file, point to it. Attributes that nobody
 * needs are passed over; what is needed and broken is SHOAL_ERR_DATA. */
#ifndef SHOAL_SHARD_TORCHAO_METADATA_H
#define SHOAL_SHARD_TORCHAO_METADATA_H

#include "proto/arena.h"
#include "shard/safetensors.h"

/* Describe and link the tensors of a list that is sorted by name. Descriptions live in `arena`. */
SHOAL_MUST_USE shoal_status shoal_torchao_link(const char *where, shoal_tensor_list *list,
                                               shoal_arena *arena);

#endif
