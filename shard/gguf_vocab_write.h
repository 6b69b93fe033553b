/* shard/gguf_vocab_write.h - the vocabulary of a model folder as entries of a GGUF header. */
#ifndef SHOAL_SHARD_GGUF_VOCAB_WRITE_H
#define SHOAL_SHARD_GGUF_VOCAB_WRITE_H

#include "shard/gguf_write.h"
#include "shard/model.h"

/* From FOLDER/tokenizer.json and tokenizer_config.json; nothing, with a warning, where the folder
 * has none or one that GGUF has no name for. */
SHOAL_MUST_USE shoal_status shoal_gguf_put_vocab(const char *folder, const shoal_model *model,
                                                 shoal_gguf_builder *b);

#endif
