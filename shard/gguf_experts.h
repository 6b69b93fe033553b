/* shard/gguf_experts.h - experts of a GGUF file, merged in one tensor per linear, as matrices.
 *
 *     blk.N.ffn_gate_exps.weight  [experts][out][in]   ->   blk.N.ffn_gate.E.weight  [out][in]
 *
 * and so for up and down: the names that files had before experts were merged, so both kinds are
 * read alike. What scales the shared expert, ffn_gate_inp_shexp, is a vector in the file and a
 * matrix of one row here. Names and layout: those of llama.cpp. */
#ifndef SHOAL_SHARD_GGUF_EXPERTS_H
#define SHOAL_SHARD_GGUF_EXPERTS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/arena.h"
#include "shard/safetensors.h"

/* Append a tensor to the list, as it is or as one per expert; names are copied into `names`.
 * SHOAL_ERR_DATA beyond SHOAL_TENSORS_MAX; `path` goes into messages. */
SHOAL_MUST_USE shoal_status shoal_gguf_add_tensor(const char *path, const shoal_tensor *tensor,
                                                  shoal_arena *names, shoal_tensor_list *list);

/* "blk.N.ffn_gate_exps.weight" of linear 0, up and down of 1 and 2. */
void shoal_gguf_experts_name(int layer, int linear, char *out, size_t room);

#endif
