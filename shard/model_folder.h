/* shard/model_folder.h - which file of a model folder to begin with.
 *
 * It looks at names only, opens nothing but the directory. */
#ifndef SHOAL_SHARD_MODEL_FOLDER_H
#define SHOAL_SHARD_MODEL_FOLDER_H

#include <stdbool.h>

#include "proto/status.h"

typedef enum { SHOAL_WEIGHTS_INDEX, SHOAL_WEIGHTS_FILE } shoal_weights_kind;

/* Is `path` a directory with a file of this name? Else SHOAL_ERR_NOTFOUND, or SHOAL_ERR_DATA saying
 * what is there instead. */
SHOAL_MUST_USE shoal_status shoal_folder_require(const char *path, const char *name);

/* "folder/name"; freed with shoal_free. */
SHOAL_MUST_USE shoal_status shoal_folder_join(const char *folder, const char *name, char **out);

/* Is there anything called so in the folder? */
bool shoal_folder_has(const char *folder, const char *name);

/* The index, else model.safetensors, else the only *.safetensors file. `path` may also be a
 * *.safetensors file itself. *file is freed with shoal_free. */
SHOAL_MUST_USE shoal_status shoal_folder_weights(const char *path, shoal_weights_kind *kind,
                                                 char **file);

#endif
