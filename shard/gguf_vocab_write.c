#include "shard/gguf_vocab_write.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/log.h"
#include "shard/json_file.h"
#include "shard/model_folder.h"

/* Kinds of tokens, numbered as in the file. */
enum { NORMAL = 1, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5 };

static const shoal_json_limits limits = {256u << 20, 64, 20000000};

typedef struct {
    const char **text; /* [count], NULL: no such id */
    int32_t *kind;
    int64_t count;
} vocabulary;

/* Patterns of pre-tokenizers that GGUF knows by a name. */
static const char *pre_of(const json_t *tokenizer)
{
    static const char llama3[] =
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
        "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    static const char qwen2[] =
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
        "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    const json_t *pre = json_object_get(tokenizer, "pre_tokenizer");
    const json_t *first = json_array_get(json_object_get(pre, "pretokenizers"), 0);
    const json_t *pattern = json_object_get(json_object_get(first, "pattern"), "Regex");
    const char *text = json_string_value(pattern);
    const char *type = json_string_value(json_object_get(pre, "type"));
    if (text && strcmp(text, llama3) == 0)
        return "llama-bpe";
    if (text && strcmp(text, qwen2) == 0)
        return "qwen2";
    if (type && strcmp(type, "ByteLevel") == 0 && !json_is_false(json_object_get(pre, "use_regex")))
        return "gpt-2";
    return NULL;
}

/* ---- tokens ---- */

static bool note(vocabulary *v, const json_t *id, const char *text, int32_t kind)
{
    const json_int_t at = json_integer_value(id);
    if (!json_is_integer(id) || !text || at < 0 || at >= v->count)
        return false;
    v->text[at] = text;
    v->kind[at] = kind;
    return true;
}

static bool note_all(const json_t *tokenizer, vocabulary *v)
{
    const char *text;
    json_t *id;
    json_object_foreach(json_object_get(json_object_get(tokenizer, "model"), "vocab"), text, id)
    {
        if (!note(v, id, text, NORMAL))
            return false;
    }
    const json_t *added = json_object_get(tokenizer, "added_tokens");
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        const bool special = json_is_true(json_object_get(token, "special"));
        if (!note(v, json_object_get(token, "id"),
                  json_string_value(json_object_get(token, "content")),
                  special ? CONTROL : USER_DEFINED))
            return false;
    }
    return true;
}

static void put_tokens(const vocabulary *v, shoal_gguf_builder *b)
{
    char none[32];
    shoal_gguf_begin_strings(b, "tokenizer.ggml.tokens", (uint64_t)v->count);
    for (int64_t i = 0; i < v->count; i++) {
        (void)snprintf(none, sizeof none, "[PAD%lld]", (long long)i);
        const char *text = v->text[i] ? v->text[i] : none;
        shoal_gguf_add_string(b, text, strlen(text));
        if (!v->text[i])
            v->kind[i] = UNUSED;
    }
    shoal_gguf_put_i32s(b, "tokenizer.ggml.token_type", v->kind, (uint64_t)v->count);
}

/* Is each of the merges a string or a pair of strings? */
static bool are_merges(const json_t *merges)
{
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *merge = json_array_get(merges, i);
        if (!json_is_string(merge) &&
            (json_array_size(merge) != 2 || !json_is_string(json_array_get(merge, 0)) ||
             !json_is_string(json_array_get(merge, 1))))
            return false;
    }
    return true;
}

/* "a b", also where the file has ["a", "b"]. */
static void put_merges(const json_t *tokenizer, shoal_gguf_builder *b)
{
    const json_t *merges = json_object_get(json_object_get(tokenizer, "model"), "merges");
    shoal_gguf_begin_strings(b, "tokenizer.ggml.merges", json_array_size(merges));
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *merge = json_array_get(merges, i);
        if (json_is_string(merge))
            shoal_gguf_add_string(b, json_string_value(merge), json_string_length(merge));
        else
            shoal_gguf_add_pair(b, json_string_value(json_array_get(merge, 0)),
                                json_string_value(json_array_get(merge, 1)));
    }
}

/* Does the post-processor put the first token in front? */
static bool adds_bos(const json_t *tokenizer)
{
    const json_t *post = json_object_get(tokenizer, "post_processor");
    const json_t *all = json_object_get(post, "processors");
    for (size_t i = 0; i < json_array_size(all); i++)
        if (json_object_get(json_array_get(all, i), "single"))
            post = json_array_get(all, i);
    const json_t *first = json_array_get(json_object_get(post, "single"), 0);
    return json_object_get(first, "SpecialToken") != NULL;
}

static void put_ids(const json_t *tokenizer, const shoal_model *model, shoal_gguf_builder *b)
{
    if (model->bos >= 0)
        shoal_gguf_put_u32(b, "tokenizer.ggml.bos_token_id", (uint32_t)model->bos);
    if (model->eos_count > 0)
        shoal_gguf_put_u32(b, "tokenizer.ggml.eos_token_id", (uint32_t)model->eos[0]);
    shoal_gguf_put_bool(b, "tokenizer.ggml.add_bos_token", adds_bos(tokenizer));
}

/* False where a token has no place in the model's vocabulary, or a merge is none. */
static bool put_bpe(const json_t *tokenizer, const char *pre, const shoal_model *model,
                    shoal_gguf_builder *b)
{
    void *text = NULL, *kind = NULL;
    bool fits = true;
    const uint64_t count = (uint64_t)model->vocab;
    if (b->status == SHOAL_OK)
        b->status = shoal_alloc_array(SHOAL_MEM_TEXT, count, sizeof(char *), &text);
    if (b->status == SHOAL_OK)
        b->status = shoal_alloc_array(SHOAL_MEM_TEXT, count, sizeof(int32_t), &kind);
    vocabulary v = {text, kind, model->vocab};
    if (b->status == SHOAL_OK)
        fits = note_all(tokenizer, &v) &&
               are_merges(json_object_get(json_object_get(tokenizer, "model"), "merges"));
    if (b->status == SHOAL_OK && fits) {
        shoal_gguf_put_string(b, "tokenizer.ggml.model", "gpt2", 4);
        shoal_gguf_put_string(b, "tokenizer.ggml.pre", pre, strlen(pre));
        put_tokens(&v, b);
        put_merges(tokenizer, b);
        put_ids(tokenizer, model, b);
    }
    shoal_free(kind);
    shoal_free(text);
    return fits;
}

/* ---- files ---- */

static shoal_status read_json(const char *folder, const char *name, json_t **out)
{
    char *path;
    bool there;
    *out = NULL;
    SHOAL_TRY(shoal_folder_look(folder, name, &there));
    if (!there)
        return SHOAL_OK;
    SHOAL_TRY(shoal_folder_join(folder, name, &path));
    const shoal_status st = shoal_json_read(path, &limits, out);
    shoal_free(path);
    return st;
}

static shoal_status put_template(const char *folder, shoal_gguf_builder *b)
{
    json_t *config;
    SHOAL_TRY(read_json(folder, "tokenizer_config.json", &config));
    const char *text = json_string_value(json_object_get(config, "chat_template"));
    if (text)
        shoal_gguf_put_string(b, "tokenizer.chat_template", text, strlen(text));
    json_decref(config);
    return SHOAL_OK;
}

shoal_status shoal_gguf_put_vocab(const char *folder, const shoal_model *model,
                                  shoal_gguf_builder *b)
{
    json_t *tokenizer;
    SHOAL_TRY(read_json(folder, "tokenizer.json", &tokenizer));
    const char *type =
        json_string_value(json_object_get(json_object_get(tokenizer, "model"), "type"));
    const char *pre = type && strcmp(type, "BPE") == 0 ? pre_of(tokenizer) : NULL;
    const bool written = pre && put_bpe(tokenizer, pre, model, b);
    if (tokenizer && !written)
        shoal_log(SHOAL_LOG_WARN, "convert",
                  "%s: no byte-level tokenizer of %lld tokens that GGUF has a name for: the file "
                  "gets no vocabulary",
                  folder, (long long)model->vocab);
    json_decref(tokenizer);
    return written ? put_template(folder, b) : SHOAL_OK;
}
