/* shard/torch_file.h - a file of torch.save (".bin", ".pt") as a list of tensors.
 *
 *     zip archive: NAME/data.pkl (a state dict), NAME/data/0, NAME/data/1, ... (storages)
 *
 * The archive must be stored, not compressed; the pickle is read by the allow-list of
 * shard/pickle.h; big-endian files, TorchScript archives and files from before PyTorch 1.6 are
 * refused with advice. Tensor subclasses of torchao become their parts (shard/tensor_subclass.h).
 * Values that are no tensors are passed over and said in the log. */
#ifndef SHOAL_SHARD_TORCH_FILE_H
#define SHOAL_SHARD_TORCH_FILE_H

#include "proto/arena.h"
#include "shard/regular_file.h"
#include "shard/safetensors.h"

#define SHOAL_TORCH_PREFIX 8 /* bytes that tell a torch file */

/* Do the first bytes of a file look like one, whatever its name? */
bool shoal_torch_is_zip(const uint8_t prefix[SHOAL_TORCH_PREFIX]);

/* Append the tensors of a file, as tensors of `index`; names live in `arena`. SHOAL_ERR_DATA with
 * a sentence that begins with `path`. */
SHOAL_MUST_USE shoal_status shoal_torch_read(const shoal_regular_file *file, const char *path,
                                             int index, shoal_arena *arena,
                                             shoal_tensor_list *list);

#endif
