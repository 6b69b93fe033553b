#include "coordinator/text/model_json.h"

#include <string.h>

#include "coordinator/text/bpe.h"
#include "coordinator/text/json_fields.h"
#include "coordinator/text/json_stream.h"
#include "coordinator/text/tokenizer_parts.h"
#include "coordinator/text/unigram.h"
#include "coordinator/text/utf8.h"
#include "coordinator/text/word_level.h"
#include "coordinator/text/word_piece.h"
#include "proto/arena.h"

#define WHERE "model"

/* ---- the large members ---- */

static shoal_json_stream stream_of(const shoal_model_source *source, shoal_span span)
{
    return (shoal_json_stream){.text = source->text, .bytes = span.end, .at = span.begin + 1};
}

static shoal_status malformed(const shoal_json_stream *s, const char *what)
{
    size_t line = 1, column = 1;
    if (s->status != SHOAL_OK)
        return s->status;
    for (size_t i = 0; i < s->at; i++, column++) {
        if (s->text[i] == '\n') {
            line++;
            column = 0;
        }
    }
    return shoal_fail(SHOAL_ERR_DATA, WHERE ": line %zu, column %zu: \"%s\" is no JSON", line,
                      column, what);
}

static shoal_status check_count(size_t count)
{
    if (count == 0 || count > SHOAL_VOCAB_MAX)
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": a vocabulary of %zu tokens (limit 1 to %u)",
                          count, SHOAL_VOCAB_MAX);
    return SHOAL_OK;
}

/* "token": id */
static shoal_status read_token(shoal_json_stream *s, shoal_strbuf *room, shoal_vocab *vocab)
{
    char shown[SHOAL_UTF8_SHOW];
    const char *token;
    size_t bytes;
    int64_t id;
    if (!shoal_json_stream_string(s, room, &token, &bytes) || !shoal_json_stream_take(s, ':'))
        return malformed(s, "vocab");
    if (!shoal_json_stream_integer(s, &id))
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": the id of token \"%s\" is no integer",
                          shoal_utf8_show(token, bytes, shown));
    const size_t before = shoal_vocab_count(vocab);
    SHOAL_TRY(shoal_vocab_add(vocab, id, token, bytes, SHOAL_TOKEN_MODEL));
    if (shoal_vocab_count(vocab) == before)
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": token \"%s\" is there twice",
                          shoal_utf8_show(token, bytes, shown));
    return SHOAL_OK;
}

static shoal_status read_vocab(const shoal_model_source *source, shoal_tokenizer *t)
{
    shoal_status st = SHOAL_OK;
    shoal_strbuf room = {0};
    shoal_json_list list = {.close = '}', .first = true};
    if (!source->vocab.span.end || source->text[source->vocab.span.begin] != '{')
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": \"vocab\" must be an object");
    SHOAL_TRY(check_count(source->vocab.count));
    SHOAL_TRY(shoal_vocab_create(source->vocab.count, &t->vocab));
    shoal_json_stream s = stream_of(source, source->vocab.span);
    while (st == SHOAL_OK && shoal_json_stream_next(&s, &list))
        st = read_token(&s, &room, t->vocab);
    if (st == SHOAL_OK && list.fault)
        st = malformed(&s, "vocab");
    shoal_strbuf_free(&room);
    return st;
}

static shoal_status bad_merge(size_t number)
{
    return shoal_fail(SHOAL_ERR_DATA,
                      WHERE ": merge %zu is neither \"left right\" nor [left, right]", number);
}

/* "left right", with exactly one space. The first line of a merges.txt may have come along. */
static shoal_status add_merge_text(shoal_bpe *bpe, size_t number, const char *text, size_t bytes)
{
    static const char heading[] = "#version";
    if (bytes >= strlen(heading) && memcmp(text, heading, strlen(heading)) == 0)
        return SHOAL_OK;
    const char *space = memchr(text, ' ', bytes);
    if (!space)
        return bad_merge(number);
    const size_t left = (size_t)(space - text);
    const size_t right = bytes - left - 1;
    if (memchr(space + 1, ' ', right))
        return bad_merge(number);
    return shoal_bpe_add_merge(bpe, text, left, space + 1, right);
}

static shoal_status read_merge(shoal_json_stream *s, size_t number, shoal_strbuf room[2],
                               shoal_bpe *bpe)
{
    const char *left, *right;
    size_t left_bytes, right_bytes;
    if (shoal_json_stream_peek(s) == '"') {
        if (!shoal_json_stream_string(s, &room[0], &left, &left_bytes))
            return malformed(s, "merges");
        return add_merge_text(bpe, number, left, left_bytes);
    }
    if (!shoal_json_stream_take(s, '[') ||
        !shoal_json_stream_string(s, &room[0], &left, &left_bytes) ||
        !shoal_json_stream_take(s, ',') ||
        !shoal_json_stream_string(s, &room[1], &right, &right_bytes) ||
        !shoal_json_stream_take(s, ']'))
        return s->status == SHOAL_OK ? bad_merge(number) : s->status;
    return shoal_bpe_add_merge(bpe, left, left_bytes, right, right_bytes);
}

static shoal_status read_merges(const shoal_model_source *source, shoal_bpe *bpe)
{
    shoal_status st = SHOAL_OK;
    shoal_strbuf room[2] = {{0}, {0}};
    shoal_json_list list = {.close = ']', .first = true};
    shoal_json_stream s = stream_of(source, source->merges.span);
    for (size_t i = 0; st == SHOAL_OK && shoal_json_stream_next(&s, &list); i++)
        st = read_merge(&s, i, room, bpe);
    if (st == SHOAL_OK && list.fault)
        st = malformed(&s, "merges");
    shoal_strbuf_free(&room[1]);
    shoal_strbuf_free(&room[0]);
    return st;
}

/* ---- BPE ---- */

/* The id of unk_token; -1 where the file names none or one that is no token (*named tells). */
static shoal_status read_unknown(const json_t *model, const shoal_tokenizer *t, int32_t *id,
                                 bool *named)
{
    const char *unk;
    size_t bytes;
    SHOAL_TRY(shoal_json_text(model, WHERE, "unk_token", &unk, &bytes));
    *named = unk != NULL;
    *id = unk ? shoal_vocab_find(t->vocab, unk, bytes, SHOAL_TOKEN_MODEL) : -1;
    return SHOAL_OK;
}

static shoal_status read_bpe_options(const json_t *model, const shoal_tokenizer *t,
                                     shoal_bpe_options *o)
{
    const json_t *dropout = shoal_json_member(model, "dropout");
    bool named = false;
    if (dropout && (!json_is_number(dropout) || json_number_value(dropout) != 0.0))
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": dropout is unsupported");
    SHOAL_TRY(shoal_json_bool(model, WHERE, "ignore_merges", false, &o->ignore_merges));
    SHOAL_TRY(shoal_json_bool(model, WHERE, "byte_fallback", false, &o->byte_fallback));
    SHOAL_TRY(shoal_json_bool(model, WHERE, "fuse_unk", false, &o->fuse_unk));
    SHOAL_TRY(read_unknown(model, t, &o->unk, &named));
    if (o->unk < 0)
        o->unk = named ? SHOAL_BPE_UNK_MISSING : SHOAL_BPE_UNK_NONE;
    SHOAL_TRY(
        shoal_json_text(model, WHERE, "continuing_subword_prefix", &o->prefix, &o->prefix_bytes));
    return shoal_json_text(model, WHERE, "end_of_word_suffix", &o->suffix, &o->suffix_bytes);
}

static shoal_status read_bpe(const json_t *model, const shoal_model_source *source,
                             shoal_tokenizer *t)
{
    shoal_bpe_options options = {0};
    shoal_bpe *bpe;
    const size_t count = source->merges.count;
    SHOAL_TRY(read_vocab(source, t));
    SHOAL_TRY(read_bpe_options(model, t, &options));
    if (!source->merges.span.end || source->text[source->merges.span.begin] != '[')
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": \"merges\" must be an array");
    if (count > SHOAL_BPE_MERGES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": %zu merges (limit %u)", count,
                          SHOAL_BPE_MERGES_MAX);
    SHOAL_TRY(shoal_bpe_create(t->vocab, &options, count, &bpe));
    t->model = shoal_bpe_model(bpe);
    return read_merges(source, bpe);
}

/* ---- Unigram ---- */

/* A number, as the parser of the rest of the file reads numbers. */
static bool read_number(shoal_json_stream *s, double *out)
{
    (void)shoal_json_stream_peek(s);
    const size_t begin = s->at;
    while (s->at < s->bytes && memchr("+-.0123456789Ee", s->text[s->at], 15))
        s->at++;
    json_t *number = json_loadb(s->text + begin, s->at - begin, JSON_DECODE_ANY, NULL);
    const bool good = json_is_number(number);
    *out = json_number_value(number);
    json_decref(number);
    return good;
}

/* ["piece", score]; the place in the list is the id. */
static shoal_status read_scored(shoal_json_stream *s, size_t id, shoal_strbuf *room,
                                shoal_vocab *vocab, double *score)
{
    const char *piece;
    size_t bytes;
    if (!shoal_json_stream_take(s, '[') || !shoal_json_stream_string(s, room, &piece, &bytes) ||
        !shoal_json_stream_take(s, ',') || !read_number(s, score) ||
        !shoal_json_stream_take(s, ']'))
        return s->status == SHOAL_OK
                   ? shoal_fail(SHOAL_ERR_DATA, WHERE ": vocab[%zu] is not [piece, score]", id)
                   : s->status;
    return shoal_vocab_add(vocab, (int64_t)id, piece, bytes, SHOAL_TOKEN_MODEL);
}

static shoal_status read_scored_list(const shoal_model_source *source, shoal_vocab *vocab,
                                     double *scores)
{
    shoal_status st = SHOAL_OK;
    shoal_strbuf room = {0};
    shoal_json_list list = {.close = ']', .first = true};
    shoal_json_stream s = stream_of(source, source->vocab.span);
    for (size_t i = 0; st == SHOAL_OK && shoal_json_stream_next(&s, &list); i++)
        st = i < source->vocab.count ? read_scored(&s, i, &room, vocab, &scores[i])
                                     : malformed(&s, "vocab");
    if (st == SHOAL_OK && list.fault)
        st = malformed(&s, "vocab");
    shoal_strbuf_free(&room);
    return st;
}

static shoal_status read_unigram_unknown(const json_t *model, size_t count, int32_t *unk)
{
    json_int_t id = -1;
    if (shoal_json_member(model, "unk_id")) {
        SHOAL_TRY(shoal_json_integer(model, WHERE, "unk_id", &id));
        if (id < 0 || (size_t)id >= count)
            return shoal_fail(SHOAL_ERR_DATA, WHERE ": unk_id %lld is no token", (long long)id);
    }
    *unk = (int32_t)id;
    return SHOAL_OK;
}

static shoal_status read_unigram(const json_t *model, const shoal_model_source *source,
                                 shoal_tokenizer *t)
{
    const size_t count = source->vocab.count;
    shoal_unigram_options options = {.fuse_unk = true};
    void *scores;
    if (!source->vocab.span.end || source->text[source->vocab.span.begin] != '[')
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": \"vocab\" must be an array");
    SHOAL_TRY(check_count(count));
    SHOAL_TRY(shoal_json_bool(model, WHERE, "byte_fallback", false, &options.byte_fallback));
    SHOAL_TRY(read_unigram_unknown(model, count, &options.unk));
    SHOAL_TRY(shoal_vocab_create(count, &t->vocab));
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, count, sizeof(double), &scores));
    shoal_status st = read_scored_list(source, t->vocab, scores);
    if (st == SHOAL_OK)
        st = shoal_unigram_create(t->vocab, scores, &options, &t->model);
    shoal_free(scores);
    return st;
}

/* ---- whole words ---- */

static shoal_status read_word_level(const json_t *model, const shoal_model_source *source,
                                    shoal_tokenizer *t)
{
    int32_t id = -1;
    bool named = false;
    SHOAL_TRY(read_vocab(source, t));
    SHOAL_TRY(read_unknown(model, t, &id, &named));
    return shoal_word_level_create(t->vocab, id, &t->model);
}

static shoal_status read_word_piece(const json_t *model, const shoal_model_source *source,
                                    shoal_tokenizer *t)
{
    shoal_word_piece_options o = {0};
    json_int_t chars = 100;
    bool named = false;
    SHOAL_TRY(read_vocab(source, t));
    SHOAL_TRY(read_unknown(model, t, &o.unk, &named));
    if (o.unk < 0)
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": WordPiece without an unk_token that is a token");
    if (shoal_json_member(model, "max_input_chars_per_word"))
        SHOAL_TRY(shoal_json_integer(model, WHERE, "max_input_chars_per_word", &chars));
    if (chars < 0)
        return shoal_fail(SHOAL_ERR_DATA, WHERE ": \"max_input_chars_per_word\" is %lld",
                          (long long)chars);
    o.word_chars = (size_t)chars;
    SHOAL_TRY(
        shoal_json_text(model, WHERE, "continuing_subword_prefix", &o.prefix, &o.prefix_bytes));
    return shoal_word_piece_create(t->vocab, &o, &t->model);
}

/* ---- all ---- */

/* Kinds of models; a new kind is one row and its reader. */
static const struct {
    const char *type;
    shoal_status (*read)(const json_t *model, const shoal_model_source *source, shoal_tokenizer *t);
} rows[] = {
    {"BPE", read_bpe},
    {"Unigram", read_unigram},
    {"WordLevel", read_word_level},
    {"WordPiece", read_word_piece},
};

shoal_status shoal_tokenizer_read_model(const json_t *root, const shoal_model_source *source,
                                        shoal_tokenizer *t)
{
    json_t *model;
    const char *type = "BPE"; /* files older than the member are all BPE if they have merges */
    SHOAL_TRY(shoal_json_object(root, "the file", "model", &model));
    if (shoal_json_member(model, "type") || !source->merges.span.end)
        SHOAL_TRY(shoal_json_name(model, WHERE, "type", &type));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(type, rows[i].type) == 0)
            return rows[i].read(model, source, t);
    return shoal_fail(SHOAL_ERR_DATA, WHERE ": type \"%.64s\" is unsupported", type);
}
