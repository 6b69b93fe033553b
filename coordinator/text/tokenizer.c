#include "coordinator/text/tokenizer.h"

#include "coordinator/text/tokenizer_parts.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"

void shoal_tokenizer_close(shoal_tokenizer *t)
{
    if (!t)
        return;
    shoal_ids_free(&t->after);
    shoal_ids_free(&t->before);
    shoal_decoder_free(&t->decoder);
    shoal_pretokenizer_free(&t->pretokenizer);
    shoal_normalizer_free(&t->normalizer);
    shoal_added_set_destroy(t->added_normalized);
    shoal_added_set_destroy(t->added_raw);
    if (t->model)
        t->model->kind->destroy(t->model);
    shoal_vocab_destroy(t->vocab);
    shoal_free(t);
}

/* ---- encoding ---- */

/* The scratch of one call. */
typedef struct {
    const shoal_tokenizer *t;
    bool plain;
    shoal_matcher *matcher;
    shoal_segments raw, inner;
    shoal_strbuf normalized;
    shoal_words words;
    shoal_token_scratch scratch;
    shoal_ids ids;
} encoding;

/* A stretch without added tokens; `first`: the text begins with it. */
static shoal_status encode_stretch(encoding *e, const char *text, size_t bytes, bool first)
{
    const shoal_token_model *model = e->t->model;
    SHOAL_TRY(
        shoal_pretokenizer_run(&e->t->pretokenizer, e->matcher, text, bytes, first, &e->words));
    for (size_t i = 0; i < e->words.spans.count; i++) {
        const shoal_span s = e->words.spans.data[i];
        SHOAL_TRY(model->kind->encode(model, &e->scratch, e->words.text.data + s.begin,
                                      s.end - s.begin, &e->ids));
    }
    return SHOAL_OK;
}

/* A stretch that may still hold added tokens of the normalized kind. */
static shoal_status encode_normalized(encoding *e, const char *text, size_t bytes, bool first)
{
    if (e->t->normalizer.count) {
        SHOAL_TRY(shoal_normalizer_run(&e->t->normalizer, e->matcher, text, bytes, &e->normalized));
        text = e->normalized.data;
        bytes = e->normalized.bytes;
    }
    SHOAL_TRY(shoal_added_set_split(e->t->added_normalized, text, bytes, e->plain, &e->inner));
    for (size_t i = 0; i < e->inner.count; i++) {
        const shoal_segment s = e->inner.data[i];
        if (s.id >= 0)
            SHOAL_TRY(shoal_ids_push(&e->ids, s.id));
        else
            SHOAL_TRY(encode_stretch(e, text + s.span.begin, s.span.end - s.span.begin,
                                     first && s.span.begin == 0));
    }
    return SHOAL_OK;
}

static shoal_status encode_text(encoding *e, const char *text, size_t bytes)
{
    SHOAL_TRY(shoal_matcher_create(&e->matcher));
    SHOAL_TRY(shoal_added_set_split(e->t->added_raw, text, bytes, e->plain, &e->raw));
    for (size_t i = 0; i < e->raw.count; i++) {
        const shoal_segment s = e->raw.data[i];
        if (s.id >= 0)
            SHOAL_TRY(shoal_ids_push(&e->ids, s.id));
        else
            SHOAL_TRY(encode_normalized(e, text + s.span.begin, s.span.end - s.span.begin,
                                        s.span.begin == 0));
    }
    return SHOAL_OK;
}

static void encoding_free(encoding *e)
{
    shoal_ids_free(&e->ids);
    shoal_token_scratch_free(&e->scratch);
    shoal_words_free(&e->words);
    shoal_strbuf_free(&e->normalized);
    shoal_segments_free(&e->inner);
    shoal_segments_free(&e->raw);
    shoal_matcher_free(e->matcher);
}

shoal_status shoal_tokenizer_encode(const shoal_tokenizer *t, const char *text, size_t bytes,
                                    unsigned flags, shoal_ids *ids)
{
    shoal_status st = SHOAL_OK;
    encoding e = {.t = t, .plain = flags & SHOAL_ENCODE_PLAIN};
    const bool around = flags & SHOAL_ENCODE_ADD_SPECIAL;
    if (bytes > SHOAL_TOKENIZER_TEXT_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a text of %zu bytes is too long (limit %u)", bytes,
                          SHOAL_TOKENIZER_TEXT_MAX);
    const size_t valid = shoal_utf8_valid(text, bytes);
    if (valid != bytes)
        return shoal_fail(SHOAL_ERR_DATA, "the text is not UTF-8 at byte %zu", valid);

    if (around)
        SHOAL_TRY_GOTO(shoal_ids_append(&e.ids, &t->before), done);
    SHOAL_TRY_GOTO(encode_text(&e, text, bytes), done);
    if (around)
        SHOAL_TRY_GOTO(shoal_ids_append(&e.ids, &t->after), done);
    st = shoal_ids_append(ids, &e.ids);
done:
    encoding_free(&e);
    return st;
}

/* ---- questions ---- */

const char *shoal_tokenizer_piece(const shoal_tokenizer *t, int64_t id, size_t *bytes)
{
    return shoal_vocab_piece(t->vocab, id, bytes);
}

int32_t shoal_tokenizer_find(const shoal_tokenizer *t, const char *piece, size_t bytes)
{
    return shoal_vocab_find(t->vocab, piece, bytes, SHOAL_TOKEN_MODEL | SHOAL_TOKEN_ADDED);
}

bool shoal_tokenizer_is_special(const shoal_tokenizer *t, int64_t id)
{
    return shoal_vocab_kind(t->vocab, id) & SHOAL_TOKEN_SPECIAL;
}

size_t shoal_tokenizer_size(const shoal_tokenizer *t)
{
    return shoal_vocab_size(t->vocab);
}

size_t shoal_tokenizer_count(const shoal_tokenizer *t)
{
    return shoal_vocab_count(t->vocab);
}
