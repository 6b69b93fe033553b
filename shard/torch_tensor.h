/* shard/torch_tensor.h - one tensor of a state dict: a call in the pickle, a storage in the
 * archive, and what both say must agree. */
#ifndef SHOAL_SHARD_TORCH_TENSOR_H
#define SHOAL_SHARD_TORCH_TENSOR_H

#include "shard/pickle.h"
#include "shard/safetensors.h"
#include "shard/zip_archive.h"

/* A torch file that is being read. */
typedef struct {
    const char *path;
    const char *folder; /* "archive": what all entries lie in */
    shoal_zip_archive archive;
    int index; /* of the file in its checkpoint */
    shoal_arena *arena;
    shoal_tensor_list *list;
} shoal_torch_file;

/* Is it a tensor, or a parameter that holds one? Then *out is the call that rebuilds the tensor. */
bool shoal_torch_tensor_find(const shoal_pickle *value, const shoal_pickle **out);

/* Append the tensor that `call` rebuilds, called `name` (which lives as long as the file). */
SHOAL_MUST_USE shoal_status shoal_torch_tensor_add(shoal_torch_file *file, const char *name,
                                                   const shoal_pickle *call,
                                                   const shoal_tensor_subclass *subclass);

/* The numbers of a tuple, list or torch.Size into `out`; -1 where it is none, or has more than
 * `room` of them, or one is negative. */
int shoal_torch_numbers(const shoal_pickle *value, int64_t *out, int room);

#endif
