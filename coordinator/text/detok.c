/* Decoding, whole or token by token: both append the bytes of pieces and repair what is no UTF-8.
 */
#include <string.h>

#include "coordinator/text/byte_level.h"
#include "coordinator/text/tokenizer_parts.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"

struct shoal_detok {
    const shoal_tokenizer *tokenizer;
    bool skip_special;
    bool started;         /* a token has given something */
    shoal_strbuf pending; /* bytes of an incomplete character */
    shoal_strbuf text;    /* what the last call returned */
};

shoal_status shoal_tokenizer_bytes(const shoal_tokenizer *tokenizer, int64_t id, shoal_strbuf *out)
{
    size_t bytes;
    const char *piece = shoal_vocab_piece(tokenizer->vocab, id, &bytes);
    if (!piece)
        return SHOAL_OK;
    if (tokenizer->decoder == SHOAL_DECODER_BYTE_LEVEL)
        return shoal_byte_level_decode(piece, bytes, out);
    return shoal_strbuf_append(out, piece, bytes);
}

static shoal_status append_token(shoal_detok *d, int64_t id)
{
    const unsigned kind = shoal_vocab_kind(d->tokenizer->vocab, id);
    if (!kind || (d->skip_special && kind & SHOAL_TOKEN_SPECIAL))
        return SHOAL_OK;
    if (d->started && d->tokenizer->decoder == SHOAL_DECODER_JOIN)
        SHOAL_TRY(shoal_strbuf_append(&d->pending, " ", 1));
    d->started = true;
    return shoal_tokenizer_bytes(d->tokenizer, id, &d->pending);
}

static shoal_status release(shoal_detok *d, bool final, const char **text, size_t *bytes)
{
    size_t used;
    d->text.bytes = 0;
    SHOAL_TRY(shoal_strbuf_reserve(&d->text, 1)); /* an address also for no bytes */
    SHOAL_TRY(shoal_utf8_repair(d->pending.data, d->pending.bytes, final, &d->text, &used));
    if (used)
        memmove(d->pending.data, d->pending.data + used, d->pending.bytes - used);
    d->pending.bytes -= used;
    *text = d->text.data;
    *bytes = d->text.bytes;
    return SHOAL_OK;
}

shoal_status shoal_detok_create(const shoal_tokenizer *tokenizer, bool skip_special,
                                shoal_detok **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_detok), &block));
    *out = block;
    (*out)->tokenizer = tokenizer;
    (*out)->skip_special = skip_special;
    return SHOAL_OK;
}

void shoal_detok_destroy(shoal_detok *detok)
{
    if (!detok)
        return;
    shoal_strbuf_free(&detok->text);
    shoal_strbuf_free(&detok->pending);
    shoal_free(detok);
}

shoal_status shoal_detok_push(shoal_detok *detok, int64_t id, const char **text, size_t *bytes)
{
    SHOAL_TRY(append_token(detok, id));
    return release(detok, false, text, bytes);
}

shoal_status shoal_detok_flush(shoal_detok *detok, const char **text, size_t *bytes)
{
    SHOAL_TRY(release(detok, true, text, bytes));
    detok->started = false;
    return SHOAL_OK;
}

shoal_status shoal_tokenizer_decode(const shoal_tokenizer *tokenizer, const int32_t *ids,
                                    size_t count, bool skip_special, shoal_strbuf *text)
{
    shoal_status st = SHOAL_OK;
    shoal_detok d = {.tokenizer = tokenizer, .skip_special = skip_special};
    const size_t before = text->bytes;
    size_t used;
    for (size_t i = 0; i < count; i++)
        SHOAL_TRY_GOTO(append_token(&d, ids[i]), done);
    st = shoal_utf8_repair(d.pending.data, d.pending.bytes, true, text, &used);
    if (st != SHOAL_OK)
        text->bytes = before;
done:
    shoal_strbuf_free(&d.pending);
    return st;
}
