/* tests/support/model_maker.h - model folders for tests: config.json and safetensors, real or
 * sparse.
 *
 * Tensors are listed first and written at once, in one file or in shards with an index, in the
 * order they were listed. A tensor without a fill function is a hole in a sparse file: headers of
 * a 405B model take a few hundred kilobytes of disk. The folder lies under $TMPDIR (or /tmp) and
 * is removed by shoal_maker_end. Nothing here can be recovered from in a test, so every failure
 * prints a sentence and ends the program. */
#ifndef SHOAL_TESTS_SUPPORT_MODEL_MAKER_H
#define SHOAL_TESTS_SUPPORT_MODEL_MAKER_H

#include <stddef.h>
#include <stdint.h>

#include "proto/dtype.h"

typedef struct shoal_maker shoal_maker;

/* Write bytes [offset, offset + bytes) of the tensor into `out`. Called with ascending offsets
 * that are multiples of SHOAL_MAKER_BLOCK. */
typedef void (*shoal_maker_fill)(void *context, uint64_t offset, size_t bytes, uint8_t *out);
#define SHOAL_MAKER_BLOCK 65536

/* An empty folder. */
shoal_maker *shoal_maker_begin(void);

/* Add a file as it is ("config.json", "tokenizer.json", a damaged shard). */
void shoal_maker_file(shoal_maker *maker, const char *name, const void *data, size_t bytes);
void shoal_maker_text(shoal_maker *maker, const char *name, const char *text);

/* List a tensor; `name` is copied, `context` is borrowed until shoal_maker_write. */
void shoal_maker_tensor(shoal_maker *maker, const char *name, shoal_dtype dtype, int rank,
                        const int64_t *shape, shoal_maker_fill fill, void *context);

/* Write what was listed: as model.safetensors (shard_bytes 0), or as shards of at most that many
 * bytes (at least one tensor each) with model.safetensors.index.json. */
void shoal_maker_write(shoal_maker *maker, uint64_t shard_bytes);

/* The folder, and the bytes of all safetensors files. */
const char *shoal_maker_path(const shoal_maker *maker);
uint64_t shoal_maker_bytes(const shoal_maker *maker);

/* Remove the folder with everything in it and free the maker. NULL is allowed. */
void shoal_maker_end(shoal_maker *maker);

#endif
