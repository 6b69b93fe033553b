/* shard/checkpoint_state.h - what is inside a shoal_checkpoint: for those who open it
 * (shard/checkpoint.c) and read it (shard/checkpoint_read.c). */
#ifndef SHOAL_SHARD_CHECKPOINT_STATE_H
#define SHOAL_SHARD_CHECKPOINT_STATE_H

#include <stdatomic.h>

#include "proto/arena.h"
#include "shard/gguf_file.h"
#include "shard/int4_packing.h"
#include "shard/pack_file.h"
#include "shard/safetensors.h"

typedef struct {
    char *path;
    char *header; /* holds the names of a safetensors file's tensors */
    shoal_regular_file file;
} shoal_shard_file;

/* A range within tensors that opening looked at, as it looks at what is none. */
#define SHOAL_LOOKED_MAX 8
typedef struct {
    int file;
    shoal_byte_range range;
} shoal_looked;

struct shoal_checkpoint {
    shoal_arena *arena; /* the files, names that stand in no header, descriptions */
    shoal_shard_file *files;
    int file_count, opened; /* files[0 .. opened) are open */
    shoal_tensor_list tensors;
    shoal_gguf_header gguf; /* of the first file; .gguf is NULL for other containers */
    shoal_looked looked[SHOAL_LOOKED_MAX];
    int looked_count;
    shoal_int4_order cpu_order; /* of weights that a CPU packed, where their codes tell */
    shoal_pack_file *pack;      /* NULL for other containers */
    uint64_t bytes;
    shoal_read_source source;
    void *source_context;
    atomic_uint_fast64_t *bytes_read; /* behind a pointer: readers hold a const checkpoint */
};

#endif
