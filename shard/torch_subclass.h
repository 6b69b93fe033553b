/* shard/torch_subclass.h - a tensor subclass in a state dict, taken apart.
 *
 * torchao nests them: an object names its class and a dict of attributes, which are tensors, plain
 * values or one more object. The tensors join the file's list under the names of
 * shard/tensor_subclass.h, the plain values that matter go into one description. */
#ifndef SHOAL_SHARD_TORCH_SUBCLASS_H
#define SHOAL_SHARD_TORCH_SUBCLASS_H

#include "shard/torch_tensor.h"

/* Append the parts of `value`, a call of REBUILD_SUBCLASS, called `name`. */
SHOAL_MUST_USE shoal_status shoal_torch_subclass_add(shoal_torch_file *file, const char *name,
                                                     const shoal_pickle *value);

#endif
