/* shard/pack_file.h - an open pack file (shard/pack_format.h): its header, checked, with the texts
 * and the table of tensors.
 *
 * Nothing of the header is believed: digests, sizes, that tensors follow each other without a gap
 * to the end of the file, and that every linear has the bytes its numbers say. SHOAL_ERR_DATA with
 * the file and what is wrong in it. */
#ifndef SHOAL_SHARD_PACK_FILE_H
#define SHOAL_SHARD_PACK_FILE_H

#include "shard/regular_file.h"
#include "shard/safetensors.h"

typedef struct shoal_pack_file shoal_pack_file;

/* Does a file begin as a pack file does? */
bool shoal_pack_is_file(const char *path);

/* `path` goes into messages; `file` is read from, not kept. */
SHOAL_MUST_USE shoal_status shoal_pack_open(const shoal_regular_file *file, const char *path,
                                            shoal_pack_file **out);
void shoal_pack_close(shoal_pack_file *pack);

/* Append its tensors as those of `file`; names, digests and linears are borrowed from the pack. */
SHOAL_MUST_USE shoal_status shoal_pack_list(const shoal_pack_file *pack, int file,
                                            shoal_tensor_list *list);

/* A text by name; NULL when there is none. Borrowed. */
const char *shoal_pack_text(const shoal_pack_file *pack, const char *name, uint64_t *bytes);

/* Open the pack `path` just for one text; SHOAL_ERR_NOTFOUND when it has none of that name. *text
 * is freed with shoal_free. */
SHOAL_MUST_USE shoal_status shoal_pack_read_text(const char *path, const char *name, uint64_t most,
                                                 char **text, uint64_t *bytes);

#endif
