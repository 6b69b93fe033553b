/* shard/checkpoint_gguf.h - the tensors of a GGUF model as those of a checkpoint.
 *
 * A model is one file, or parts NAME-00001-of-0000N.gguf beside each other, each with a header of
 * its own that says which part it is (split.no, split.count); the first has the metadata. Names
 * are the file's ("blk.0.attn_q.weight"), shapes have the innermost dimension last, plain types
 * (F32, F16, BF16, I8 ...) become dtypes, and the rest are blocks (shoal_tensor.block_type).
 * Files of architecture llama or internlm2 hold the rows of q and k interleaved
 * (shoal_tensor.pairs): the program that runs them turns neighbours instead of halves. Merged
 * experts are a matrix each (shard/gguf_experts.h). */
#ifndef SHOAL_SHARD_CHECKPOINT_GGUF_H
#define SHOAL_SHARD_CHECKPOINT_GGUF_H

#include "proto/arena.h"
#include "shard/gguf.h"
#include "shard/safetensors.h"

/* Of how many parts is the model that begins with this file? SHOAL_ERR_DATA when its name says
 * that it is not the first. */
SHOAL_MUST_USE shoal_status shoal_gguf_parts(const char *first, int *parts);

/* Path of part `index` (from 0), freed with shoal_free. */
SHOAL_MUST_USE shoal_status shoal_gguf_part_path(const char *first, int index, int parts,
                                                 char **out);

/* SHOAL_ERR_NOTFOUND naming the parts that are not there. */
SHOAL_MUST_USE shoal_status shoal_gguf_parts_present(const char *first, int parts);

/* Does the header say what the name says? */
SHOAL_MUST_USE shoal_status shoal_gguf_check_part(const char *path, const shoal_gguf *part,
                                                  int index, int parts);

/* Append the tensors of a part to the list, as tensors of `file`; `model` is the first part's
 * header. Names are copied into `names`. */
SHOAL_MUST_USE shoal_status shoal_gguf_list(const char *path, const shoal_gguf *model,
                                            const shoal_gguf *part, int file, shoal_arena *names,
                                            shoal_tensor_list *list);

/* Of all parts, sorted by name: each name once, and some. The `tensors` that the files have are as
 * many as split.tensors.count says. */
SHOAL_MUST_USE shoal_status shoal_gguf_check_list(const char *first, const shoal_gguf *model,
                                                  const shoal_tensor_list *list, uint64_t tensors);

#endif
