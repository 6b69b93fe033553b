/* shard/writer_gguf.h - the types of tensors that gguf:TYPE writes. */
#ifndef SHOAL_SHARD_WRITER_GGUF_H
#define SHOAL_SHARD_WRITER_GGUF_H

#include <stdint.h>

#include "shard/writer.h"

typedef struct {
    const char *name;   /* the argument of the target, "q4_k"                           */
    uint32_t type;      /* of its linears' tensors (shard/gguf.h)                       */
    uint32_t file_type; /* general.file_type: nearest of ggml's mixtures, for people    */
    shoal_dtype dtype;  /* of numbers; blocks: of their scales                          */
} shoal_gguf_target;

/* The row of a target of this writer. */
const shoal_gguf_target *shoal_gguf_target_of(const shoal_target *target);

#endif
