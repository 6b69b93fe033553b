/* shard/gguf_tokenizer.c - see gguf_tokenizer.h. */
#include "shard/gguf_tokenizer.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "proto/bytes.h"
#include "shard/gguf_merges.h"
#include "shard/gguf_pre.h"
#include "shard/gguf_tokens.h"

#define KEY(name) "tokenizer.ggml." name
#define MARK      "\xe2\x96\x81" /* U+2581, for a space */

typedef struct {
    const shoal_gguf *gguf;
    int64_t unk, bos, eos; /* -1: none */
    bool adds_bos, adds_eos;
    json_t *vocab;  /* {token: id}, those that are added, too            */
    json_t *pieces; /* {token: score} of the normal ones, in their order */
    json_t *added;
    const char *bos_text, *eos_text, *unk_text; /* of the vocab; NULL: none */
} maker;

static shoal_status no_memory(void)
{
    return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for a tokenizer.json");
}

/* ---- tokens ---- */

static shoal_status add_added(const maker *m, const shoal_gguf_text *text, uint64_t id,
                              bool special)
{
    json_t *token =
        json_pack("{s:I, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)id, "content",
                  text->data, (size_t)text->bytes, "single_word", 0, "lstrip", 0, "rstrip",
                  shoal_gguf_swallows_space(m->gguf, text), "normalized", 0, "special", special);
    return json_array_append_new(m->added, token) == 0 ? SHOAL_OK : no_memory();
}

static shoal_status add_token(maker *m, uint64_t id, const shoal_gguf_text *text, int type,
                              double score)
{
    const bool unknown = (int64_t)id == m->unk;
    const bool none = type == SHOAL_GGUF_TOKEN_UNKNOWN || type == SHOAL_GGUF_TOKEN_UNUSED;
    const bool special = unknown || type == SHOAL_GGUF_TOKEN_CONTROL;
    if ((none && !unknown) || text->bytes == 0 || shoal_gguf_is_filler(text, id))
        return SHOAL_OK;
    if (memchr(text->data, 0, text->bytes) || json_object_getn(m->vocab, text->data, text->bytes))
        return shoal_fail(SHOAL_ERR_DATA, KEY("tokens") ": token %llu has a NUL or is there twice",
                          (unsigned long long)id);
    if (json_object_setn_new(m->vocab, text->data, text->bytes, json_integer((json_int_t)id)) != 0)
        return shoal_fail(SHOAL_ERR_DATA, KEY("tokens") ": token %llu is not UTF-8",
                          (unsigned long long)id);
    if (special || type == SHOAL_GGUF_TOKEN_USER_DEFINED)
        return add_added(m, text, id, special);
    if (type == SHOAL_GGUF_TOKEN_NORMAL &&
        json_object_setn_new(m->pieces, text->data, text->bytes, json_real(score)) != 0)
        return no_memory();
    return SHOAL_OK;
}

/* The text of a token by its id. */
static const char *text_of(const maker *m, int64_t id)
{
    const char *text;
    json_t *value;
    json_object_foreach(m->vocab, text, value)
    {
        if (json_integer_value(value) == id)
            return text;
    }
    return NULL;
}

/* One number for each token, or none at all. */
static shoal_status numbers_of(const maker *m, const char *key, uint64_t count,
                               const shoal_gguf_entry **out)
{
    SHOAL_TRY(shoal_gguf_numbers(m->gguf, key, out));
    if (!*out || (*out)->count == count)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, "%s has %llu elements for %llu tokens", key,
                      (unsigned long long)(*out)->count, (unsigned long long)count);
}

static shoal_status read_tokens(maker *m)
{
    const shoal_gguf_entry *tokens, *types, *scores;
    uint64_t at = 0;
    SHOAL_TRY(shoal_gguf_strings(m->gguf, KEY("tokens"), &tokens));
    if (!tokens || tokens->count == 0)
        return shoal_fail(SHOAL_ERR_DATA, "there is no vocabulary (" KEY("tokens") ") in the file");
    SHOAL_TRY(numbers_of(m, KEY("token_type"), tokens->count, &types));
    SHOAL_TRY(numbers_of(m, KEY("scores"), tokens->count, &scores));
    for (uint64_t id = 0; id < tokens->count; id++) {
        const shoal_gguf_text text = shoal_gguf_next_string(tokens, &at);
        const double score = scores ? shoal_gguf_number_at(scores, id) : 0;
        if (!isfinite(score))
            return shoal_fail(SHOAL_ERR_DATA, KEY("scores") ": score %llu is not finite",
                              (unsigned long long)id);
        SHOAL_TRY(add_token(m, id, &text,
                            types ? (int)shoal_gguf_number_at(types, id) : SHOAL_GGUF_TOKEN_NORMAL,
                            score));
    }
    m->bos_text = text_of(m, m->bos);
    m->eos_text = text_of(m, m->eos);
    m->unk_text = text_of(m, m->unk);
    return SHOAL_OK;
}

/* ---- merges of the file ---- */

/* "left right", both of them tokens, and so what they make. */
static shoal_status add_merge(const maker *m, const shoal_gguf_text *merge, uint64_t number,
                              json_t *out)
{
    char joined[4096];
    const char *space = memchr(merge->data, ' ', merge->bytes);
    const size_t left = space ? (size_t)(space - merge->data) : 0;
    const size_t right = space ? merge->bytes - left - 1 : 0;
    if (left + right < sizeof joined && space) {
        memcpy(joined, merge->data, left);
        memcpy(joined + left, space + 1, right);
    }
    if (!space || left + right >= sizeof joined || !json_object_getn(m->vocab, merge->data, left) ||
        !json_object_getn(m->vocab, space + 1, right) ||
        !json_object_getn(m->vocab, joined, left + right))
        return shoal_fail(SHOAL_ERR_DATA, KEY("merges") ": merge %llu is not of two tokens to one",
                          (unsigned long long)number);
    json_t *pair = json_pack("[s%, s%]", merge->data, left, space + 1, right);
    return json_array_append_new(out, pair) == 0 ? SHOAL_OK : no_memory();
}

static shoal_status read_merges(const maker *m, json_t **out)
{
    const shoal_gguf_entry *merges;
    uint64_t at = 0;
    shoal_status st = SHOAL_OK;
    SHOAL_TRY(shoal_gguf_strings(m->gguf, KEY("merges"), &merges));
    if (!merges)
        return shoal_fail(SHOAL_ERR_DATA, KEY("merges") " is missing");
    json_t *all = json_array();
    for (uint64_t i = 0; i < merges->count && st == SHOAL_OK; i++) {
        const shoal_gguf_text merge = shoal_gguf_next_string(merges, &at);
        st = add_merge(m, &merge, i, all);
    }
    if (st == SHOAL_OK)
        *out = all;
    else
        json_decref(all);
    return st;
}

/* ---- parts of a tokenizer.json ---- */

/* What is put around one text, and around each of two. */
static json_t *around(const maker *m, const char *sequence, int type)
{
    json_t *list = json_array();
    if (m->adds_bos)
        json_array_append_new(
            list, json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", m->bos_text, "type_id", type));
    json_array_append_new(list,
                          json_pack("{s:{s:s, s:i}}", "Sequence", "id", sequence, "type_id", type));
    if (m->adds_eos)
        json_array_append_new(
            list, json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", m->eos_text, "type_id", type));
    return list;
}

static void add_special(json_t *tokens, const char *text, int64_t id)
{
    json_object_set_new(
        tokens, text,
        json_pack("{s:s, s:[I], s:[s]}", "id", text, "ids", (json_int_t)id, "tokens", text));
}

static json_t *post_processor(const maker *m)
{
    if (!m->adds_bos && !m->adds_eos)
        return json_null();
    json_t *tokens = json_object(), *pair = around(m, "A", 0), *second = around(m, "B", 1);
    json_array_extend(pair, second);
    json_decref(second);
    if (m->adds_bos)
        add_special(tokens, m->bos_text, m->bos);
    if (m->adds_eos)
        add_special(tokens, m->eos_text, m->eos);
    return json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single",
                     around(m, "A", 0), "pair", pair, "special_tokens", tokens);
}

static json_t *byte_level(bool use_regex)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 1, "use_regex", use_regex);
}

static json_t *cuts_of(const shoal_gguf_pre *pre)
{
    json_t *steps = json_array();
    for (size_t i = 0; i < SHOAL_GGUF_PRE_CUTS_MAX && pre->cuts[i]; i++)
        json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split",
                                               "pattern", "Regex", pre->cuts[i], "behavior",
                                               "Isolated", "invert", 0));
    json_array_append_new(steps, byte_level(false));
    return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", steps);
}

/* A model of merges; `merges` is given away. */
static json_t *model_of(const maker *m, json_t *merges, bool bytes, bool ignore_merges)
{
    return json_pack("{s:s, s:n, s:s?, s:n, s:n, s:b, s:b, s:b, s:O, s:o}", "type", "BPE",
                     "dropout", "unk_token", bytes ? m->unk_text : NULL,
                     "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", bytes,
                     "byte_fallback", bytes, "ignore_merges", ignore_merges, "vocab", m->vocab,
                     "merges", merges);
}

static shoal_status assemble(const maker *m, json_t *normalizer, json_t *cuts, json_t *decoder,
                             json_t *model, json_t **out)
{
    json_t *all =
        json_pack("{s:s, s:n, s:n, s:O, s:o, s:o, s:o, s:o, s:o}", "version", "1.0", "truncation",
                  "padding", "added_tokens", m->added, "normalizer", normalizer, "pre_tokenizer",
                  cuts, "post_processor", post_processor(m), "decoder", decoder, "model", model);
    *out = all;
    return all ? SHOAL_OK : no_memory();
}

/* ---- kinds of vocabularies ---- */

static shoal_status make_gpt2(maker *m, json_t **out)
{
    const shoal_gguf_pre *pre;
    shoal_gguf_text name = {"", 0};
    json_t *merges;
    SHOAL_TRY(shoal_gguf_string(m->gguf, KEY("pre"), &name));
    SHOAL_TRY(shoal_gguf_pre_find(name.data, name.bytes, &pre));
    SHOAL_TRY(read_merges(m, &merges));
    return assemble(m, pre->nfc ? json_pack("{s:s}", "type", "NFC") : json_null(), cuts_of(pre),
                    byte_level(true), model_of(m, merges, false, pre->ignore_merges), out);
}

static json_t *replaced(const char *from, const char *to)
{
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", from, "content",
                     to);
}

/* Spaces are U+2581, one more of them in front where there is a prefix. */
static shoal_status make_marked(const maker *m, json_t *merges, bool prefix, json_t **out)
{
    json_t *decoders =
        json_pack("[o, {s:s}, {s:s}]", replaced(MARK, " "), "type", "ByteFallback", "type", "Fuse");
    json_t *normalizer = replaced(" ", MARK);
    if (prefix) {
        json_array_append_new(decoders, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip",
                                                  "content", " ", "start", 1, "stop", 0));
        normalizer = json_pack("{s:s, s:[{s:s, s:s}, o]}", "type", "Sequence", "normalizers",
                               "type", "Prepend", "prepend", MARK, normalizer);
    }
    return assemble(m, normalizer, json_null(),
                    json_pack("{s:s, s:o}", "type", "Sequence", "decoders", decoders),
                    model_of(m, merges, true, false), out);
}

static shoal_status make_llama(maker *m, json_t **out)
{
    bool prefix = true;
    json_t *merges;
    SHOAL_TRY(shoal_gguf_bool(m->gguf, KEY("add_space_prefix"), &prefix));
    if (!m->unk_text)
        return shoal_fail(SHOAL_ERR_DATA, KEY("unknown_token_id") " is %lld, not a token's",
                          (long long)m->unk);
    SHOAL_TRY(shoal_gguf_merges(m->pieces, &merges));
    return make_marked(m, merges, prefix, out);
}

static shoal_status make_gemma4(maker *m, json_t **out)
{
    json_t *merges;
    SHOAL_TRY(read_merges(m, &merges));
    return make_marked(m, merges, false, out);
}

/* Kinds, with the ids that are meant where the file names none. */
typedef struct {
    const char *name;
    shoal_status (*make)(maker *m, json_t **out);
    int64_t unk, bos, eos;
    bool adds_bos;
} kind_row;

static const kind_row kinds[] = {
    {"gpt2", make_gpt2, -1, -1, -1, false},
    {"llama", make_llama, 0, 1, 2, true},
    {"gemma4", make_gemma4, -1, -1, -1, true},
};

static const kind_row *find_kind(const shoal_gguf *gguf)
{
    shoal_gguf_text name = {"", 0};
    if (shoal_gguf_string(gguf, KEY("model"), &name) != SHOAL_OK)
        return NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (shoal_text_is(name.data, name.bytes, kinds[i].name))
            return &kinds[i];
    return NULL;
}

static shoal_status read_ids(maker *m, const kind_row *kind)
{
    const shoal_gguf_pre *pre;
    shoal_gguf_text name = {"", 0};
    m->unk = kind->unk;
    m->bos = kind->bos;
    m->eos = kind->eos;
    m->adds_bos = kind->adds_bos;
    SHOAL_TRY(shoal_gguf_string(m->gguf, KEY("pre"), &name));
    if (kind->make == make_gpt2) {
        SHOAL_TRY(shoal_gguf_pre_find(name.data, name.bytes, &pre));
        m->adds_bos = pre->adds_bos;
    }
    SHOAL_TRY(shoal_gguf_integer(m->gguf, KEY("unknown_token_id"), &m->unk));
    SHOAL_TRY(shoal_gguf_integer(m->gguf, KEY("bos_token_id"), &m->bos));
    SHOAL_TRY(shoal_gguf_integer(m->gguf, KEY("eos_token_id"), &m->eos));
    SHOAL_TRY(shoal_gguf_bool(m->gguf, KEY("add_bos_token"), &m->adds_bos));
    return shoal_gguf_bool(m->gguf, KEY("add_eos_token"), &m->adds_eos);
}

static shoal_status make(maker *m, const kind_row *kind, json_t **out)
{
    SHOAL_TRY(read_ids(m, kind));
    SHOAL_TRY(read_tokens(m));
    if ((m->adds_bos && !m->bos_text) || (m->adds_eos && !m->eos_text))
        return shoal_fail(SHOAL_ERR_DATA,
                          "the token that is put %s a text is not in the vocabulary",
                          m->adds_bos && !m->bos_text ? "before" : "behind");
    return kind->make(m, out);
}

shoal_status shoal_gguf_tokenizer(const shoal_gguf *gguf, json_t **out)
{
    const kind_row *kind = find_kind(gguf);
    if (!kind)
        return shoal_fail(SHOAL_ERR_DATA, KEY("model") " is none of gpt2, llama and gemma4");
    maker m = {
        .gguf = gguf, .vocab = json_object(), .pieces = json_object(), .added = json_array()};
    const shoal_status st = make(&m, kind, out);
    json_decref(m.vocab);
    json_decref(m.pieces);
    json_decref(m.added);
    return st;
}

/* ---- the config beside it ---- */

shoal_status shoal_gguf_tokenizer_config(const shoal_gguf *gguf, int64_t context, json_t **out)
{
    static const struct {
        const char *name, *key;
    } tokens[] = {
        {"bos_token", KEY("bos_token_id")},
        {"eos_token", KEY("eos_token_id")},
        {"unk_token", KEY("unknown_token_id")},
        {"pad_token", KEY("padding_token_id")},
    };
    const kind_row *kind = find_kind(gguf);
    const shoal_gguf_entry *list;
    shoal_gguf_text template = {NULL, 0};
    uint64_t at = 0;
    int64_t ids[] = {kind ? kind->bos : -1, kind ? kind->eos : -1, kind ? kind->unk : -1, -1};
    SHOAL_TRY(shoal_gguf_strings(gguf, KEY("tokens"), &list));
    SHOAL_TRY(shoal_gguf_string(gguf, "tokenizer.chat_template", &template));
    for (size_t i = 0; i < 4; i++)
        SHOAL_TRY(shoal_gguf_integer(gguf, tokens[i].key, &ids[i]));
    json_t *config =
        json_pack("{s:s, s:I, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                  "model_max_length", (json_int_t)context, "clean_up_tokenization_spaces", 0);
    for (uint64_t id = 0; list && id < list->count; id++) {
        const shoal_gguf_text text = shoal_gguf_next_string(list, &at);
        for (size_t i = 0; i < 4; i++)
            if (ids[i] == (int64_t)id)
                json_object_set_new(config, tokens[i].name, json_stringn(text.data, text.bytes));
    }
    if (template.data)
        json_object_set_new(config, "chat_template", json_stringn(template.data, template.bytes));
    *out = config;
    return config ? SHOAL_OK : no_memory();
}
