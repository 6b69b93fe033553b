/* libFuzzer target: a SentencePiece model or a GGUF file from anywhere.
 *
 * Input: the file. A tokenizer that opens must encode a text (or say why not), give only ids it
 * has, and decode whole and step by step to valid UTF-8. Seeds: small files of both kinds. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8.h"
#include "shard/gguf.h"
#include "tests/fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const shoal_tokenizer *t, const shoal_ids *ids)
{
    shoal_strbuf whole = {0};
    shoal_detok *detok;
    const char *text;
    size_t bytes;
    must(shoal_tokenizer_decode(t, ids->data, ids->count, false, &whole) == SHOAL_OK);
    must(shoal_utf8_valid(whole.data, whole.bytes) == whole.bytes);
    must(shoal_detok_create(t, true, &detok) == SHOAL_OK);
    for (size_t i = 0; i < ids->count; i++) {
        must(shoal_detok_push(detok, ids->data[i], &text, &bytes) == SHOAL_OK);
        must(shoal_utf8_valid(text, bytes) == bytes);
    }
    must(shoal_detok_flush(detok, &text, &bytes) == SHOAL_OK);
    shoal_detok_destroy(detok);
    shoal_strbuf_free(&whole);
}

static void use(const shoal_tokenizer *t)
{
    static const char text[] = "Hello  w\xC3\xB6rld 123!\n<|user|> the<s>it's\xF0\x9F\x98\x80 ";
    shoal_ids ids = {0};
    for (unsigned flags = 0; flags < 4; flags++)
        (void)(shoal_tokenizer_encode(t, text, sizeof text - 1, flags, &ids) == SHOAL_OK);
    for (size_t i = 0; i < ids.count; i++) {
        size_t bytes;
        must(shoal_tokenizer_piece(t, ids.data[i], &bytes) != NULL);
    }
    for (int32_t id = -1; id < 300; id++)
        must(shoal_ids_push(&ids, id) == SHOAL_OK);
    decode(t, &ids);
    shoal_ids_free(&ids);
}

/* A header may be that of a file with weights: every tensor it lists lies inside. */
static void read_header(const uint8_t *data, size_t size)
{
    const uint64_t file = UINT64_C(1) << 40;
    shoal_gguf *g;
    if (shoal_gguf_parse(data, size, file, &g) != SHOAL_OK)
        return;
    for (size_t i = 0; i < shoal_gguf_tensors(g); i++) {
        const shoal_gguf_tensor *t = shoal_gguf_tensor_at(g, i);
        must(t->offset <= file && t->bytes <= file - t->offset);
    }
    shoal_gguf_free(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shoal_tokenizer *t;
    read_header(data, size);
    if (shoal_tokenizer_open_memory((const char *)data, size, "fuzz", &t) != SHOAL_OK) {
        must(shoal_error_text()[0] != '\0');
        return 0;
    }
    use(t);
    shoal_tokenizer_close(t);
    return 0;
}
