/* shard/convert_gguf.h - a model as one GGUF file: names, rows and metadata as llama.cpp has them.
 *
 * Families llama, mistral, qwen2, qwen3, mixtral, qwen2_moe and qwen3_moe. The vocabulary comes
 * from tokenizer.json where that is a byte-level BPE with a pattern that has a name in GGUF; else
 * the file has none, with a warning. The file is there whole, opened again and compared with the
 * source, or not at all. */
#ifndef SHOAL_SHARD_CONVERT_GGUF_H
#define SHOAL_SHARD_CONVERT_GGUF_H

#include "shard/convert.h"

SHOAL_MUST_USE shoal_status shoal_convert_gguf(const shoal_convert_request *request,
                                               const shoal_convert_listener *listener,
                                               shoal_convert_result *out);

#endif
