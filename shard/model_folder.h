/* shard/model_folder.h - which file of a model folder to begin with.
 *
 * It looks at names, and at the first bytes of a file without a telling one. */
#ifndef SHOAL_SHARD_MODEL_FOLDER_H
#define SHOAL_SHARD_MODEL_FOLDER_H

#include <stdbool.h>

#include "proto/status.h"

typedef enum {
    SHOAL_WEIGHTS_INDEX,
    SHOAL_WEIGHTS_FILE,
    SHOAL_WEIGHTS_GGUF,
    SHOAL_WEIGHTS_PACK
} shoal_weights_kind;

/* Is `path` a directory with a file of this name? Else SHOAL_ERR_NOTFOUND, or SHOAL_ERR_DATA saying
 * what is there instead. */
SHOAL_MUST_USE shoal_status shoal_folder_require(const char *path, const char *name);

/* "folder/name"; freed with shoal_free. */
SHOAL_MUST_USE shoal_status shoal_folder_join(const char *folder, const char *name, char **out);

/* Is there anything called so in the folder? If not, errno says whether that is known. */
bool shoal_folder_has(const char *folder, const char *name);

/* The pack file, where `path` is one or a folder of nothing else that is read: *file as below. */
SHOAL_MUST_USE shoal_status shoal_folder_pack(const char *path, char **file);

/* The GGUF file to begin with, where that is what `path` is or holds: a *.gguf file (or one that
 * begins as such), or a folder without safetensors and with one *.gguf file or one model in parts,
 * of which it is the first. *file is NULL where it is not; else freed with shoal_free. */
SHOAL_MUST_USE shoal_status shoal_folder_gguf(const char *path, char **file);

/* Does a file of this name hold what torch.save writes (.bin, .pt, .pth)? */
bool shoal_folder_is_torch(const char *name);

/* The index, else model.safetensors, else the only *.safetensors file; where there is none, a GGUF
 * file, else the same of PyTorch files: pytorch_model.bin.index.json, pytorch_model.bin, the only
 * one. `path` may also be such a file, or a pack file, itself. *file is freed with shoal_free. */
SHOAL_MUST_USE shoal_status shoal_folder_weights(const char *path, shoal_weights_kind *kind,
                                                 char **file);

#endif
