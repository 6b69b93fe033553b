/* Decoding, whole or token by token: which pieces enter the walk through the decoder's steps. */
#include "coordinator/text/tokenizer_parts.h"
#include "proto/arena.h"

struct shoal_detok {
    const shoal_tokenizer *tokenizer;
    bool skip_special;
    shoal_decode_walk walk;
    shoal_strbuf text; /* what the last call returned */
};

shoal_status shoal_tokenizer_bytes(const shoal_tokenizer *tokenizer, int64_t id, shoal_strbuf *out)
{
    size_t bytes;
    const char *piece = shoal_vocab_piece(tokenizer->vocab, id, &bytes);
    return piece ? shoal_decoder_piece(&tokenizer->decoder, piece, bytes, out) : SHOAL_OK;
}

static shoal_status push(const shoal_tokenizer *t, shoal_decode_walk *walk, int64_t id,
                         bool skip_special)
{
    size_t bytes;
    const unsigned kind = shoal_vocab_kind(t->vocab, id);
    if (!kind || (skip_special && kind & SHOAL_TOKEN_SPECIAL))
        return SHOAL_OK;
    const char *piece = shoal_vocab_piece(t->vocab, id, &bytes);
    return shoal_decode_push(walk, piece, bytes);
}

shoal_status shoal_detok_create(const shoal_tokenizer *tokenizer, bool skip_special,
                                shoal_detok **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_detok), &block));
    shoal_detok *d = block;
    d->tokenizer = tokenizer;
    d->skip_special = skip_special;
    d->walk = (shoal_decode_walk){.decoder = &tokenizer->decoder, .out = &d->text};
    *out = d;
    return SHOAL_OK;
}

void shoal_detok_destroy(shoal_detok *detok)
{
    if (!detok)
        return;
    shoal_strbuf_free(&detok->text);
    shoal_decode_walk_free(&detok->walk);
    shoal_free(detok);
}

shoal_status shoal_detok_push(shoal_detok *detok, int64_t id, const char **text, size_t *bytes)
{
    detok->text.bytes = 0;
    SHOAL_TRY(shoal_strbuf_reserve(&detok->text, 1)); /* an address also for no bytes */
    SHOAL_TRY(push(detok->tokenizer, &detok->walk, id, detok->skip_special));
    *text = detok->text.data;
    *bytes = detok->text.bytes;
    return SHOAL_OK;
}

shoal_status shoal_detok_flush(shoal_detok *detok, const char **text, size_t *bytes)
{
    detok->text.bytes = 0;
    SHOAL_TRY(shoal_strbuf_reserve(&detok->text, 1));
    SHOAL_TRY(shoal_decode_finish(&detok->walk));
    *text = detok->text.data;
    *bytes = detok->text.bytes;
    return SHOAL_OK;
}

shoal_status shoal_tokenizer_decode(const shoal_tokenizer *tokenizer, const int32_t *ids,
                                    size_t count, bool skip_special, shoal_strbuf *text)
{
    shoal_status st = SHOAL_OK;
    shoal_decode_walk walk = {.decoder = &tokenizer->decoder, .whole = true, .out = text};
    const size_t before = text->bytes;
    for (size_t i = 0; i < count; i++)
        SHOAL_TRY_GOTO(push(tokenizer, &walk, ids[i], skip_special), done);
    st = shoal_decode_finish(&walk);
done:
    if (st != SHOAL_OK)
        text->bytes = before;
    shoal_decode_walk_free(&walk);
    return st;
}
