#include "coordinator/text/gguf_vocab.h"
shoal_status shoal_tokenizer_read_gguf(const void *data, size_t bytes, shoal_tokenizer *tokenizer)
{
    (void)data;
    (void)bytes;
    (void)tokenizer;
    return shoal_fail(SHOAL_ERR_DATA, "GGUF");
}
