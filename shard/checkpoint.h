/* shard/checkpoint.h - a model folder as a table of tensors that can be read by byte ranges.
 *
 * Opening reads headers only. Every check of a damaged or hostile file happens there, before any
 * weight is read; afterwards a tensor is a name, a dtype, a shape and a place. Reads go through
 * positioned reads that count their bytes, so "measured" is a number and not a guess. A file that
 * changes or shrinks while it is open is reported (SHOAL_ERR_IO), never a signal.
 *
 * Sources: a folder with model.safetensors, model.safetensors.index.json or any single
 * *.safetensors (format: huggingface/safetensors README), or the same of files of torch.save
 * (shard/torch_file.h); a GGUF file, or one in parts (shard/checkpoint_gguf.h); a pack file
 * (shard/pack_file.h). Other containers join as one more file behind this header. Not thread-safe
 * except the reads of tensors and files, which may run on many threads. */
#ifndef SHOAL_SHARD_CHECKPOINT_H
#define SHOAL_SHARD_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/dtype.h"
#include "proto/status.h"
#include "shard/tensor_subclass.h"
#include "shard/tensor_view.h"

#define SHOAL_TENSOR_RANK_MAX 8
#define SHOAL_TENSOR_NAME_MAX 1024
#define SHOAL_TENSORS_MAX     1000000

typedef struct {
    const char *name; /* borrowed from the checkpoint */
    shoal_dtype dtype;
    int rank; /* 0 for a scalar */
    int64_t shape[SHOAL_TENSOR_RANK_MAX];
    int file;        /* index of the file that holds it           */
    uint64_t offset; /* of its first byte in that file            */
    uint64_t bytes;
    uint32_t block_type; /* 0: elements of dtype; else the GGUF type (shard/gguf.h) of the blocks
                            that hold the rows, dtype then being U8 */
    int32_t pairs;       /* 0: rows are in order; else in every run of `pairs` rows the halves are
                            interleaved: 0, pairs/2, 1, pairs/2 + 1, ... (GGUF of llama) */
    shoal_tensor_view view;                /* how it lies there                          */
    const shoal_tensor_subclass *subclass; /* the tensor it is a part of; NULL: of none  */
    const uint8_t *digests; /* NULL, or XXH3-128 of each run of run_bytes (pack files): reads of
                               whole runs compare it */
    uint64_t run_bytes;
    const struct shoal_pack_linear *packed; /* NULL, or how a linear lies in it */
} shoal_tensor;

/* "F32", "Q4_K": of what its elements or blocks are. */
const char *shoal_tensor_type_name(const shoal_tensor *tensor);

typedef struct shoal_checkpoint shoal_checkpoint;

/* `path` is a model folder, a *.safetensors file, a file of torch.save, a GGUF or a pack file. */
SHOAL_MUST_USE shoal_status shoal_checkpoint_open(const char *path, shoal_checkpoint **out);
void shoal_checkpoint_close(shoal_checkpoint *checkpoint);

/* Tensors in ascending order of name. */
size_t shoal_checkpoint_count(const shoal_checkpoint *checkpoint);
const shoal_tensor *shoal_checkpoint_at(const shoal_checkpoint *checkpoint, size_t index);

/* NULL when there is no such tensor. */
const shoal_tensor *shoal_checkpoint_find(const shoal_checkpoint *checkpoint, const char *name);

/* The tensor's index in shoal_checkpoint_at. */
size_t shoal_checkpoint_index(const shoal_checkpoint *checkpoint, const shoal_tensor *tensor);

/* Path of file `index` (0 .. files-1), for messages; total bytes of all files. */
const char *shoal_checkpoint_file(const shoal_checkpoint *checkpoint, int index);
int shoal_checkpoint_files(const shoal_checkpoint *checkpoint);
uint64_t shoal_checkpoint_bytes(const shoal_checkpoint *checkpoint);

/* The metadata of a GGUF model (of the first part's file); NULL for other containers. */
struct shoal_gguf;
const struct shoal_gguf *shoal_checkpoint_gguf(const shoal_checkpoint *checkpoint);

/* The order in which a CPU packed int4 weights, as far as their codes tell (shard/cpu_packing.h);
 * a shoal_int4_order. */
int shoal_checkpoint_cpu_order(const shoal_checkpoint *checkpoint);

/* What of a file is no tensor, and what else opening looked at: whoever has these *count ranges can
 * open it. *out is freed with shoal_free. */
typedef struct {
    uint64_t begin, end;
} shoal_byte_range;
SHOAL_MUST_USE shoal_status shoal_checkpoint_gaps(const shoal_checkpoint *checkpoint, int file,
                                                  shoal_byte_range **out, size_t *count);

/* The pack file it is; NULL for other containers. */
struct shoal_pack_file;
const struct shoal_pack_file *shoal_checkpoint_pack(const shoal_checkpoint *checkpoint);

/* Read `bytes` bytes from `offset` within the tensor into `out`. Short reads and EINTR are
 * retried; the end of the file before the end of the range is SHOAL_ERR_IO. */
SHOAL_MUST_USE shoal_status shoal_checkpoint_read(const shoal_checkpoint *checkpoint,
                                                  const shoal_tensor *tensor, uint64_t offset,
                                                  uint64_t bytes, void *out);

/* As above for `rows` runs of `bytes`, `stride` bytes apart, written one after the other: what a
 * column slice of a row-major matrix is. Narrow runs may be read as one span and picked out; what
 * is counted is always rows * bytes. */
SHOAL_MUST_USE shoal_status shoal_checkpoint_read_rows(const shoal_checkpoint *checkpoint,
                                                       const shoal_tensor *tensor, uint64_t offset,
                                                       uint64_t bytes, uint64_t stride,
                                                       uint64_t rows, void *out);

/* Read `bytes` bytes from byte `begin` of each of rows [first, first + rows) of a tensor whose rows
 * are shape[0], in the order of the model whatever `pairs` says, one after the other. */
SHOAL_MUST_USE shoal_status shoal_checkpoint_read_matrix(const shoal_checkpoint *checkpoint,
                                                         const shoal_tensor *tensor, int64_t first,
                                                         int64_t rows, uint64_t begin,
                                                         uint64_t bytes, void *out);

/* These bytes of the tensor will be read soon: what is on a disk begins to come. A hint. */
void shoal_checkpoint_expect(const shoal_checkpoint *checkpoint, const shoal_tensor *tensor,
                             uint64_t offset, uint64_t bytes);

/* Where reads come from instead of the file system: rank 0 of `--load push` answers for the
 * others. With a source set, read and read_rows ask it; they still count. NULL restores files. */
typedef shoal_status (*shoal_read_source)(void *context, int file, uint64_t offset, uint64_t bytes,
                                          uint64_t stride, uint64_t rows, void *out);
void shoal_checkpoint_set_source(shoal_checkpoint *checkpoint, shoal_read_source source,
                                 void *context);

/* Raw positioned read of a file of the checkpoint, for whoever serves a source. */
SHOAL_MUST_USE shoal_status shoal_checkpoint_read_file(const shoal_checkpoint *checkpoint, int file,
                                                       uint64_t offset, uint64_t bytes,
                                                       uint64_t stride, uint64_t rows, void *out);

/* Are the files still those that were opened (size, time, inode)? SHOAL_ERR_IO naming the one that
 * is not: asked once after a load. */
SHOAL_MUST_USE shoal_status shoal_checkpoint_verify_unchanged(const shoal_checkpoint *checkpoint);

/* Weight bytes read since the checkpoint was opened. */
uint64_t shoal_checkpoint_bytes_read(const shoal_checkpoint *checkpoint);

#endif
