#include "coordinator/text/gguf_vocab.h"

#include <math.h>
#include <string.h>

#include "coordinator/text/bpe.h"
#include "coordinator/text/sentencepiece_bpe.h"
#include "coordinator/text/sentencepiece_normalizer.h"
#include "coordinator/text/tokenizer_parts.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"
#include "proto/bytes.h"
#include "shard/gguf_tokens.h"

#define KEY(name) "tokenizer.ggml." name

typedef struct {
    const shoal_gguf *gguf;
    shoal_tokenizer *t;
    int64_t unk, bos, eos;   /* -1: none                         */
    bool adds_bos, adds_eos; /* unless the file says otherwise */
} reader;

/* ---- tokens ---- */

static shoal_status token_kind(int type, size_t id, unsigned *kind)
{
    switch (type) {
    case SHOAL_GGUF_TOKEN_NORMAL: *kind = SHOAL_TOKEN_MODEL; break;
    case SHOAL_GGUF_TOKEN_CONTROL: *kind = SHOAL_TOKEN_ADDED | SHOAL_TOKEN_SPECIAL; break;
    case SHOAL_GGUF_TOKEN_USER_DEFINED: *kind = SHOAL_TOKEN_ADDED; break;
    case SHOAL_GGUF_TOKEN_UNKNOWN:
    case SHOAL_GGUF_TOKEN_UNUSED: *kind = 0; break;
    case SHOAL_GGUF_TOKEN_BYTE: *kind = SHOAL_TOKEN_BYTE; break;
    default: return shoal_fail(SHOAL_ERR_DATA, "token %zu has the unknown type %d", id, type);
    }
    return SHOAL_OK;
}

static shoal_status add_token(reader *r, size_t id, const shoal_gguf_text *text, int type)
{
    unsigned kind = 0;
    SHOAL_TRY(token_kind(type, id, &kind));
    if ((int64_t)id == r->unk)
        kind = SHOAL_TOKEN_ADDED | SHOAL_TOKEN_SPECIAL;
    if (!kind || text->bytes == 0 || shoal_gguf_is_filler(text, id))
        return SHOAL_OK;
    if (shoal_utf8_valid(text->data, text->bytes) != text->bytes)
        return shoal_fail(SHOAL_ERR_DATA, "token %zu is not UTF-8", id);
    SHOAL_TRY(shoal_vocab_add(r->t->vocab, (int64_t)id, text->data, text->bytes, kind));
    if (!(kind & SHOAL_TOKEN_ADDED))
        return SHOAL_OK;
    const shoal_added_token token = {.id = (int32_t)id,
                                     .special = kind & SHOAL_TOKEN_SPECIAL,
                                     .rstrip = shoal_gguf_swallows_space(r->gguf, text)};
    return shoal_added_set_add(r->t->added_raw, text->data, text->bytes, &token);
}

/* An array that has one number for each token; *out is NULL when the file has none. */
static shoal_status numbers_of_tokens(const reader *r, const char *key, uint64_t tokens,
                                      const shoal_gguf_entry **out)
{
    SHOAL_TRY(shoal_gguf_numbers(r->gguf, key, out));
    if (*out && (*out)->count != tokens)
        return shoal_fail(SHOAL_ERR_DATA, "%s has %llu elements for %llu tokens", key,
                          (unsigned long long)(*out)->count, (unsigned long long)tokens);
    return SHOAL_OK;
}

static shoal_status read_tokens(reader *r)
{
    const shoal_gguf_entry *tokens, *types;
    uint64_t at = 0;
    SHOAL_TRY(shoal_gguf_strings(r->gguf, KEY("tokens"), &tokens));
    if (!tokens || tokens->count == 0 || tokens->count > SHOAL_VOCAB_MAX)
        return shoal_fail(SHOAL_ERR_DATA, KEY("tokens") ": %llu tokens (limit 1 to %u)",
                          tokens ? (unsigned long long)tokens->count : 0, SHOAL_VOCAB_MAX);
    SHOAL_TRY(numbers_of_tokens(r, KEY("token_type"), tokens->count, &types));
    SHOAL_TRY(shoal_vocab_create(tokens->count, &r->t->vocab));
    SHOAL_TRY(shoal_added_set_create(&r->t->added_raw));
    SHOAL_TRY(shoal_added_set_create(&r->t->added_normalized));
    for (size_t id = 0; id < tokens->count; id++) {
        const shoal_gguf_text text = shoal_gguf_next_string(tokens, &at);
        SHOAL_TRY(add_token(
            r, id, &text, types ? (int)shoal_gguf_number_at(types, id) : SHOAL_GGUF_TOKEN_NORMAL));
    }
    return SHOAL_OK;
}

/* ---- byte-level BPE: "gpt2" ---- */

/* "left right" with one space. */
static shoal_status add_merge(shoal_bpe *bpe, const shoal_gguf_text *merge, uint64_t number)
{
    const char *space = memchr(merge->data, ' ', merge->bytes);
    const size_t left = space ? (size_t)(space - merge->data) : 0;
    if (!space || memchr(space + 1, ' ', merge->bytes - left - 1))
        return shoal_fail(SHOAL_ERR_DATA, KEY("merges") ": merge %llu is not \"left right\"",
                          (unsigned long long)number);
    return shoal_bpe_add_merge(bpe, merge->data, left, space + 1, merge->bytes - left - 1);
}

static shoal_status read_merges(reader *r, const shoal_bpe_options *options)
{
    const shoal_gguf_entry *merges;
    shoal_bpe *bpe;
    uint64_t at = 0;
    SHOAL_TRY(shoal_gguf_strings(r->gguf, KEY("merges"), &merges));
    if (!merges || merges->count > SHOAL_BPE_MERGES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, KEY("merges") ": %llu merges (limit %u)",
                          merges ? (unsigned long long)merges->count : 0, SHOAL_BPE_MERGES_MAX);
    SHOAL_TRY(shoal_bpe_create(r->t->vocab, options, merges->count, &bpe));
    r->t->model = shoal_bpe_model(bpe);
    for (uint64_t i = 0; i < merges->count; i++) {
        const shoal_gguf_text merge = shoal_gguf_next_string(merges, &at);
        SHOAL_TRY(add_merge(bpe, &merge, i));
    }
    return SHOAL_OK;
}

static shoal_status add_cut(shoal_tokenizer *t, const char *regex)
{
    shoal_pretoken_step step = {.kind = SHOAL_PRETOKEN_SPLIT, .behavior = SHOAL_SPLIT_ISOLATED};
    SHOAL_TRY(shoal_pattern_compile(regex, strlen(regex), &step.pattern));
    return shoal_pretokenizer_add(&t->pretokenizer, &step);
}

shoal_status shoal_gguf_pre_apply(const shoal_gguf_pre *pre, shoal_tokenizer *t)
{
    if (pre->nfc)
        SHOAL_TRY(
            shoal_normalizer_add(&t->normalizer, &(shoal_normal_step){.kind = SHOAL_NORMAL_FORM,
                                                                      .form = SHOAL_UNICODE_NFC}));
    for (size_t i = 0; i < SHOAL_GGUF_PRE_CUTS_MAX && pre->cuts[i]; i++)
        SHOAL_TRY(add_cut(t, pre->cuts[i]));
    SHOAL_TRY(shoal_pretokenizer_add(&t->pretokenizer,
                                     &(shoal_pretoken_step){.kind = SHOAL_PRETOKEN_BYTE_ALPHABET}));
    return shoal_decoder_add(&t->decoder, &(shoal_decode_step){.kind = SHOAL_DECODE_BYTE_LEVEL});
}

static shoal_status read_gpt2(reader *r)
{
    const shoal_gguf_pre *pre;
    shoal_gguf_text name = {"", 0};
    SHOAL_TRY(shoal_gguf_string(r->gguf, KEY("pre"), &name));
    SHOAL_TRY(shoal_gguf_pre_find(name.data, name.bytes, &pre));
    r->adds_bos = pre->adds_bos;
    SHOAL_TRY(shoal_gguf_pre_apply(pre, r->t));
    return read_merges(
        r, &(shoal_bpe_options){.ignore_merges = pre->ignore_merges, .unk = SHOAL_BPE_UNK_NONE});
}

/* ---- SentencePiece BPE: "llama" ---- */

static shoal_status read_scores(const reader *r, double **out)
{
    const shoal_gguf_entry *scores;
    const size_t size = shoal_vocab_size(r->t->vocab);
    void *block;
    SHOAL_TRY(shoal_gguf_numbers(r->gguf, KEY("scores"), &scores));
    if (!scores || scores->count < size)
        return shoal_fail(SHOAL_ERR_DATA, KEY("scores") ": %llu scores for %zu tokens",
                          scores ? (unsigned long long)scores->count : 0, size);
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, size ? size : 1, sizeof(double), &block));
    *out = block;
    for (size_t id = 0; id < size; id++) {
        (*out)[id] = shoal_gguf_number_at(scores, id);
        if (isfinite((*out)[id]))
            continue;
        shoal_free(block);
        return shoal_fail(SHOAL_ERR_DATA, KEY("scores") ": score %zu is not finite", id);
    }
    return SHOAL_OK;
}

static shoal_status read_score_model(reader *r)
{
    double *scores = NULL;
    size_t bytes;
    if (!shoal_vocab_piece(r->t->vocab, r->unk, &bytes))
        return shoal_fail(SHOAL_ERR_DATA, KEY("unknown_token_id") " is %lld, not a token's",
                          (long long)r->unk);
    SHOAL_TRY(read_scores(r, &scores));
    const shoal_sentencepiece_bpe_options options = {true, (int32_t)r->unk};
    const shoal_status st =
        shoal_sentencepiece_bpe_create(r->t->vocab, scores, &options, &r->t->model);
    shoal_free(scores);
    return st;
}

static shoal_status add_space_steps(shoal_tokenizer *t, bool prefix)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_sentencepiece_normalizer), &block));
    shoal_sentencepiece_normalizer *n = block;
    n->dummy_prefix = prefix;
    n->escape = true;
    const shoal_status st = shoal_piece_trie_of(t->vocab, SHOAL_TOKEN_USER, &n->user);
    if (st != SHOAL_OK) {
        shoal_sentencepiece_normalizer_destroy(n);
        return st;
    }
    return shoal_normalizer_add(
        &t->normalizer,
        &(shoal_normal_step){.kind = SHOAL_NORMAL_SENTENCEPIECE, .sentencepiece = n});
}

/* U+2581 as space; bytes; one text; without the space that was put in front. */
static shoal_status add_space_decoder(shoal_tokenizer *t, bool prefix)
{
    shoal_decode_step replace = {.kind = SHOAL_DECODE_REPLACE};
    shoal_decode_step strip = {.kind = SHOAL_DECODE_STRIP, .start = 1};
    SHOAL_TRY(shoal_strbuf_append(&replace.text, " ", 1));
    const shoal_status st =
        shoal_pattern_compile_literal(SHOAL_SENTENCEPIECE_SPACE, 3, &replace.pattern);
    if (st != SHOAL_OK) {
        shoal_strbuf_free(&replace.text);
        return st;
    }
    SHOAL_TRY(shoal_decoder_add(&t->decoder, &replace));
    SHOAL_TRY(
        shoal_decoder_add(&t->decoder, &(shoal_decode_step){.kind = SHOAL_DECODE_BYTE_FALLBACK}));
    SHOAL_TRY(shoal_decoder_add(&t->decoder, &(shoal_decode_step){.kind = SHOAL_DECODE_FUSE}));
    if (!prefix)
        return SHOAL_OK;
    SHOAL_TRY(shoal_strbuf_append(&strip.text, " ", 1));
    return shoal_decoder_add(&t->decoder, &strip);
}

static shoal_status read_llama(reader *r)
{
    bool prefix = true;
    SHOAL_TRY(shoal_gguf_bool(r->gguf, KEY("add_space_prefix"), &prefix));
    r->adds_bos = true;
    SHOAL_TRY(read_score_model(r));
    SHOAL_TRY(add_space_steps(r->t, prefix));
    return add_space_decoder(r->t, prefix);
}

/* ---- byte-pair encoding of characters: "gemma4" ---- */

static shoal_status add_space_mark(shoal_tokenizer *t)
{
    shoal_normal_step step = {.kind = SHOAL_NORMAL_REPLACE};
    SHOAL_TRY(shoal_pattern_compile_literal(" ", 1, &step.pattern));
    const shoal_status st = shoal_strbuf_append(&step.text, SHOAL_SENTENCEPIECE_SPACE, 3);
    if (st != SHOAL_OK) {
        shoal_pattern_free(step.pattern);
        return st;
    }
    return shoal_normalizer_add(&t->normalizer, &step);
}

/* Spaces are U+2581 and no word is cut; what has no token becomes bytes. */
static shoal_status read_gemma4(reader *r)
{
    const bool known = shoal_vocab_kind(r->t->vocab, r->unk);
    const shoal_bpe_options options = {.byte_fallback = true,
                                       .fuse_unk = true,
                                       .unk = known ? (int32_t)r->unk : SHOAL_BPE_UNK_NONE};
    r->adds_bos = true;
    SHOAL_TRY(add_space_mark(r->t));
    SHOAL_TRY(read_merges(r, &options));
    return add_space_decoder(r->t, false);
}

/* ---- what is around a text ---- */

static shoal_status put_around(const reader *r, const char *flag, bool fallback, const char *key,
                               int64_t id, shoal_ids *out)
{
    bool wanted = fallback;
    size_t bytes;
    SHOAL_TRY(shoal_gguf_bool(r->gguf, flag, &wanted));
    if (!wanted)
        return SHOAL_OK;
    if (!shoal_vocab_piece(r->t->vocab, id, &bytes))
        return shoal_fail(SHOAL_ERR_DATA, "%s is %lld, not a token's", key, (long long)id);
    return shoal_ids_push(out, (int32_t)id);
}

/* ---- the file ---- */

/* Kinds of models, with the ids that are meant where the file names none. */
typedef struct {
    const char *name;
    shoal_status (*read)(reader *r);
    int64_t unk, bos, eos;
} model_row;

static const model_row models[] = {
    {"gpt2", read_gpt2, -1, -1, -1},
    {"llama", read_llama, 0, 1, 2},
    {"gemma4", read_gemma4, -1, -1, -1},
};

static shoal_status find_model(const shoal_gguf *gguf, const model_row **out)
{
    shoal_gguf_text name = {"", 0};
    char shown[SHOAL_UTF8_SHOW];
    SHOAL_TRY(shoal_gguf_string(gguf, KEY("model"), &name));
    if (name.bytes == 0)
        return shoal_fail(SHOAL_ERR_DATA, "there is no vocabulary (" KEY("model") ") in the file");
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (shoal_text_is(name.data, name.bytes, models[i].name)) {
            *out = &models[i];
            return SHOAL_OK;
        }
    }
    return shoal_fail(SHOAL_ERR_DATA,
                      KEY("model") " \"%s\" is unsupported; gpt2, llama and gemma4 are",
                      shoal_utf8_show(name.data, name.bytes, shown));
}

shoal_status shoal_tokenizer_from_gguf(const shoal_gguf *gguf, shoal_tokenizer *t)
{
    const model_row *model = NULL;
    SHOAL_TRY(find_model(gguf, &model));
    reader r = {.gguf = gguf, .t = t, .unk = model->unk, .bos = model->bos, .eos = model->eos};
    SHOAL_TRY(shoal_gguf_integer(gguf, KEY("unknown_token_id"), &r.unk));
    SHOAL_TRY(shoal_gguf_integer(gguf, KEY("bos_token_id"), &r.bos));
    SHOAL_TRY(shoal_gguf_integer(gguf, KEY("eos_token_id"), &r.eos));
    SHOAL_TRY(read_tokens(&r));
    SHOAL_TRY(model->read(&r));
    SHOAL_TRY(
        put_around(&r, KEY("add_bos_token"), r.adds_bos, KEY("bos_token_id"), r.bos, &t->before));
    return put_around(&r, KEY("add_eos_token"), r.adds_eos, KEY("eos_token_id"), r.eos, &t->after);
}

shoal_status shoal_tokenizer_read_gguf(const void *data, size_t bytes, shoal_tokenizer *tokenizer)
{
    shoal_gguf *gguf;
    SHOAL_TRY(shoal_gguf_parse(data, bytes, bytes, &gguf));
    const shoal_status st = shoal_tokenizer_from_gguf(gguf, tokenizer);
    shoal_gguf_free(gguf);
    return st;
}
