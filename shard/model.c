#include "shard/model.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/log.h"
#include "shard/config_fields.h"
#include "shard/json_file.h"
#include "shard/model_family.h"
#include "shard/model_folder.h"
#include "shard/model_gguf.h"
#include "shard/model_layers.h"
#include "shard/pack_file.h"
#include "shard/quoted.h"
#include "shard/rope_config.h"

/* Real configs have hundreds of values and five levels. */
static const shoal_json_limits limits = {16u << 20, 32, 1000000};

/* ---- dimensions ---- */

static shoal_status find_family(const shoal_config *config, const shoal_family **out)
{
    const char *type = NULL;
    char quoted[SHOAL_QUOTED_ROOM];
    SHOAL_TRY(shoal_config_require(config, "model_type"));
    SHOAL_TRY(shoal_config_text(config, "model_type", &type));
    *out = shoal_family_find(type);
    if (*out)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, "%s: the model_type '%s' is not known; known are %s",
                      config->where, shoal_quoted(type, quoted, sizeof quoted),
                      shoal_family_list());
}

/* `absent` 0: the config must say it. */
static shoal_status read_count(const shoal_config *config, const char *key, int64_t high,
                               int64_t absent, int64_t *out)
{
    *out = absent;
    if (absent == 0)
        SHOAL_TRY(shoal_config_require(config, key));
    return shoal_config_int(config, key, 1, high, out);
}

static shoal_status read_heads(const shoal_config *config, const shoal_family *family,
                               shoal_model *m)
{
    m->kv_heads = family->kv_heads;
    if (m->kv_heads == 0 || shoal_config_is_null(config, "num_key_value_heads"))
        m->kv_heads = m->heads;
    SHOAL_TRY(shoal_config_int(config, "num_key_value_heads", 1, SHOAL_HEADS_MAX, &m->kv_heads));
    if (m->heads % m->kv_heads != 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: num_attention_heads is %lld, no multiple of num_key_value_heads "
                          "%lld",
                          config->where, (long long)m->heads, (long long)m->kv_heads);
    m->head_dim = shoal_config_is_null(config, "head_dim") ? 0 : family->head_dim;
    SHOAL_TRY(shoal_config_int(config, "head_dim", 1, SHOAL_HEAD_DIM_MAX, &m->head_dim));
    if (m->head_dim == 0) {
        if (m->hidden % m->heads != 0)
            return shoal_fail(SHOAL_ERR_DATA,
                              "%s: head_dim is missing and hidden_size %lld is no multiple of "
                              "num_attention_heads %lld",
                              config->where, (long long)m->hidden, (long long)m->heads);
        m->head_dim = m->hidden / m->heads;
    }
    if (m->head_dim % 2 != 0 || m->head_dim > SHOAL_HEAD_DIM_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "%s: head_dim is %lld; it must be even and at most %d",
                          config->where, (long long)m->head_dim, SHOAL_HEAD_DIM_MAX);
    return SHOAL_OK;
}

static shoal_status read_dimensions(const shoal_config *config, const shoal_family *family,
                                    shoal_model *m)
{
    SHOAL_TRY(read_count(config, "hidden_size", SHOAL_HIDDEN_MAX, 0, &m->hidden));
    SHOAL_TRY(read_count(config, "num_hidden_layers", SHOAL_LAYERS_MAX, 0, &m->layer_count));
    SHOAL_TRY(read_count(config, "vocab_size", SHOAL_VOCAB_MAX, family->vocab, &m->vocab));
    SHOAL_TRY(read_count(config, "num_attention_heads", SHOAL_HEADS_MAX, family->heads, &m->heads));
    SHOAL_TRY(read_count(config, "max_position_embeddings", SHOAL_CONTEXT_MAX, family->context,
                         &m->context));
    return read_heads(config, family, m);
}

/* ---- the rest of the config ---- */

/* A nested config leaves some members to the outer one. */
static const shoal_config *speaker(const shoal_config *config, const shoal_config *root,
                                   const char *key)
{
    return shoal_config_has(config, key) ? config : root;
}

static shoal_status read_dtype(const shoal_config *config, shoal_dtype *out)
{
    static const struct {
        const char *name;
        shoal_dtype dtype;
    } names[] = {
        {"float32", SHOAL_F32}, {"float16", SHOAL_F16}, {"bfloat16", SHOAL_BF16},
        {"float", SHOAL_F32},   {"half", SHOAL_F16},    {"auto", SHOAL_F32},
    };
    const char *text = "float32",
               *key = shoal_config_has(config, "dtype") ? "dtype" : "torch_dtype";
    char quoted[SHOAL_QUOTED_ROOM];
    SHOAL_TRY(shoal_config_text(config, key, &text));
    if (strncmp(text, "torch.", 6) == 0)
        text += 6;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i].name) == 0) {
            *out = names[i].dtype;
            return SHOAL_OK;
        }
    return shoal_fail(SHOAL_ERR_DATA, "%s: %s is '%s'; float32, float16 and bfloat16 are known",
                      config->where, key, shoal_quoted(text, quoted, sizeof quoted));
}

static shoal_status read_scalars(const shoal_config *config, const shoal_config *root,
                                 const shoal_family *family, shoal_model *m)
{
    static const char tied_key[] = "tie_word_embeddings";
    double eps = family->norm_eps, cap = 0;
    SHOAL_TRY(shoal_config_real(config, "rms_norm_eps", 1e-30, 1, &eps));
    m->norm_eps = (float)eps;
    m->tied = family->tied;
    SHOAL_TRY(shoal_config_bool(speaker(config, root, tied_key), tied_key, &m->tied));
    if (family->soft_caps)
        SHOAL_TRY(
            shoal_config_soft_cap(config, "final_logit_softcapping", family->logits_cap, &cap));
    m->logits_soft_cap = (float)cap;
    m->norm_weight_offset = family->norms_less_one ? 1 : 0;
    m->embedding_scale = family->scaled_embedding ? (float)sqrt((double)m->hidden) : 1;
    const bool inner = shoal_config_has(config, "dtype") || shoal_config_has(config, "torch_dtype");
    return read_dtype(inner ? config : root, &m->dtype);
}

/* ---- tokens ---- */

/* An id outside the vocabulary can never be sampled: it is left out, not refused. */
static shoal_status add_eos(const shoal_config *config, const json_t *id, shoal_model *m)
{
    const json_int_t value = json_integer_value(id);
    if (!json_is_integer(id))
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: eos_token_id is neither a whole number nor a list "
                          "of them",
                          config->where);
    if (value < 0 || value >= m->vocab) {
        shoal_log(SHOAL_LOG_INFO, "model", "%s: eos_token_id %lld is outside the vocabulary",
                  config->where, (long long)value);
        return SHOAL_OK;
    }
    for (int i = 0; i < m->eos_count; i++)
        if (m->eos[i] == value)
            return SHOAL_OK;
    if (m->eos_count == SHOAL_EOS_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "%s: more than %d different ids in eos_token_id",
                          config->where, SHOAL_EOS_MAX);
    m->eos[m->eos_count++] = (int32_t)value;
    return SHOAL_OK;
}

static shoal_status read_tokens(const shoal_config *config, shoal_model *m)
{
    const json_t *eos = json_object_get(config->object, "eos_token_id");
    int64_t bos = m->bos;
    SHOAL_TRY(shoal_config_int(config, "bos_token_id", INT32_MIN, INT32_MAX, &bos));
    m->bos = (int32_t)(bos >= 0 && bos < m->vocab ? bos : -1);
    if (!eos || json_is_null(eos))
        return SHOAL_OK;
    if (!json_is_array(eos))
        return add_eos(config, eos, m);
    for (size_t i = 0; i < json_array_size(eos); i++)
        SHOAL_TRY(add_eos(config, json_array_get(eos, i), m));
    return SHOAL_OK;
}

/* ---- putting it together ---- */

static shoal_status keep_quantization(const json_t *object, shoal_model *m)
{
    char *text = json_dumps(object, JSON_COMPACT);
    void *copy;
    if (!text)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for the quantization config");
    const size_t bytes = strlen(text) + 1;
    const shoal_status st = shoal_arena_alloc(m->arena, bytes, &copy);
    if (st == SHOAL_OK) {
        memcpy(copy, text, bytes);
        m->quantization_json = copy;
    }
    free(text);
    return st;
}

static shoal_status read_quantization(const shoal_config *config, shoal_model *m)
{
    static const char *const keys[] = {"quantization_config", "compression_config"};
    const json_t *object = NULL;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && !object; i++)
        SHOAL_TRY(shoal_config_object(config, keys[i], &object));
    return json_object_size(object) ? keep_quantization(object, m) : SHOAL_OK;
}

/* Models of text and images keep what we need in text_config. */
static shoal_status enter_text_config(const shoal_config *root, shoal_config *out)
{
    const char *type = NULL;
    const json_t *inner = NULL;
    *out = *root;
    SHOAL_TRY(shoal_config_text(root, "model_type", &type));
    if (!type || strcmp(type, "gemma3") != 0)
        return SHOAL_OK;
    SHOAL_TRY(shoal_config_require(root, "text_config"));
    SHOAL_TRY(shoal_config_object(root, "text_config", &inner));
    *out = (shoal_config){root->where, "text_config.", inner};
    return SHOAL_OK;
}

static shoal_status check_head(const shoal_config *config, const shoal_family *family,
                               const shoal_model *m)
{
    if (family->normed_head == 0 || m->vocab != family->normed_head)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA,
                      "%s: a %s model with a vocabulary of %lld norms the rows of its output "
                      "matrix, which is not computed",
                      config->where, m->family, (long long)m->vocab);
}

static shoal_status read_model(const shoal_config *root, shoal_model *m)
{
    shoal_config config;
    const shoal_family *family;
    bool *sliding, has_windows = false;
    void *layers;
    SHOAL_TRY(enter_text_config(root, &config));
    SHOAL_TRY(find_family(&config, &family));
    (void)snprintf(m->family, sizeof m->family, "%s", family->roles);
    SHOAL_TRY(read_dimensions(&config, family, m));
    SHOAL_TRY(check_head(&config, family, m));
    SHOAL_TRY(shoal_arena_array(m->arena, (uint64_t)m->layer_count, sizeof(shoal_layer), &layers));
    m->layers = layers;
    SHOAL_TRY(shoal_model_layers_read(&config, family, m, &sliding));
    for (int64_t i = 0; i < m->layer_count; i++)
        has_windows |= sliding[i];
    SHOAL_TRY(shoal_rope_config_read(&config, family, has_windows, m));
    for (int64_t i = 0; i < m->layer_count; i++)
        m->layers[i].rope = sliding[i] ? m->rope_count - 1 : 0;
    SHOAL_TRY(read_scalars(&config, root, family, m));
    SHOAL_TRY(read_tokens(root, m));
    m->text_part = config.object != root->object;
    if (m->text_part)
        SHOAL_TRY(read_tokens(&config, m));
    return read_quantization(root, m);
}

static shoal_status create(shoal_model **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_model), &block));
    shoal_model *m = block;
    const shoal_status st = shoal_arena_create(SHOAL_MEM_OTHER, &m->arena);
    if (st != SHOAL_OK) {
        shoal_free(block);
        return st;
    }
    m->bos = -1;
    *out = m;
    return SHOAL_OK;
}

void shoal_model_close(shoal_model *model)
{
    if (!model)
        return;
    shoal_arena_destroy(model->arena);
    shoal_free(model);
}

static shoal_status from_root(const json_t *root, const char *where, shoal_model **out)
{
    const shoal_config config = {where, "", root};
    shoal_model *m;
    if (!json_is_object(root))
        return shoal_fail(SHOAL_ERR_DATA, "%s: not a JSON object", where);
    SHOAL_TRY(create(&m));
    const shoal_status st = read_model(&config, m);
    if (st != SHOAL_OK) {
        shoal_model_close(m);
        return st;
    }
    *out = m;
    return SHOAL_OK;
}

shoal_status shoal_model_parse(const char *text, size_t bytes, const char *name, shoal_model **out)
{
    json_t *root;
    SHOAL_TRY(shoal_json_parse(text, bytes, name, &limits, &root));
    const shoal_status st = from_root(root, name, out);
    json_decref(root);
    return st;
}

/* ---- a folder ---- */

static shoal_status read_file(const char *folder, const char *name, char **path, json_t **root)
{
    SHOAL_TRY(shoal_folder_join(folder, name, path));
    const shoal_status st = shoal_json_read(*path, &limits, root);
    if (st != SHOAL_OK)
        shoal_free(*path);
    return st;
}

static shoal_status open_config(const char *folder, shoal_model **out)
{
    json_t *root;
    char *path;
    SHOAL_TRY(read_file(folder, "config.json", &path, &root));
    const shoal_status st = from_root(root, path, out);
    json_decref(root);
    shoal_free(path);
    return st;
}

/* What generation_config.json says comes first; config.json's ids stay valid stops. */
static shoal_status add_generation(const char *folder, shoal_model *m)
{
    static const char name[] = "generation_config.json";
    json_t *root;
    char *path;
    int32_t before[SHOAL_EOS_MAX];
    const int count = m->eos_count;
    bool there;
    SHOAL_TRY(shoal_folder_look(folder, name, &there));
    if (!there)
        return SHOAL_OK;
    SHOAL_TRY(read_file(folder, name, &path, &root));
    const shoal_config config = {path, "", root};
    shoal_status st = SHOAL_OK;
    memcpy(before, m->eos, sizeof before);
    m->eos_count = 0;
    if (!json_is_object(root))
        st = shoal_fail(SHOAL_ERR_DATA, "%s: not a JSON object", path);
    if (st == SHOAL_OK)
        st = read_tokens(&config, m);
    for (int i = 0; i < count && st == SHOAL_OK; i++) {
        json_t *id = json_integer(before[i]);
        st = add_eos(&config, id, m);
        json_decref(id);
    }
    json_decref(root);
    shoal_free(path);
    return st;
}

/* Files of their own, as AutoGPTQ and AutoAWQ once wrote them. */
static shoal_status add_quantization(const char *folder, shoal_model *m)
{
    static const char *const names[] = {"quantize_config.json", "quant_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !m->quantization_json; i++) {
        json_t *root;
        char *path;
        bool there;
        SHOAL_TRY(shoal_folder_look(folder, names[i], &there));
        if (!there)
            continue;
        SHOAL_TRY(read_file(folder, names[i], &path, &root));
        shoal_status st;
        if (json_is_object(root))
            st = keep_quantization(root, m);
        else
            st = shoal_fail(SHOAL_ERR_DATA, "%s: not a JSON object", path);
        json_decref(root);
        shoal_free(path);
        SHOAL_TRY(st);
    }
    return SHOAL_OK;
}

static shoal_status open_gguf(const char *path, shoal_model **out)
{
    shoal_checkpoint *checkpoint;
    shoal_model *m = NULL;
    json_t *root = NULL;
    SHOAL_TRY(shoal_checkpoint_open(path, &checkpoint));
    shoal_status st = shoal_gguf_config(checkpoint, path, &root);
    if (st == SHOAL_OK)
        st = from_root(root, path, &m);
    if (st == SHOAL_OK)
        st = shoal_gguf_rope_factors(checkpoint, m);
    if (st == SHOAL_OK)
        m->norm_weight_offset = 0; /* what writers of these files have added already */
    json_decref(root);
    shoal_checkpoint_close(checkpoint);
    if (st == SHOAL_OK)
        *out = m;
    else
        shoal_model_close(m);
    return st;
}

/* The config in a pack file has all that other files said, too. */
static shoal_status open_pack(const char *path, shoal_model **out)
{
    char *text;
    uint64_t bytes;
    SHOAL_TRY(shoal_pack_read_text(path, "config.json", limits.bytes, &text, &bytes));
    const shoal_status st = shoal_model_parse(text, bytes, path, out);
    shoal_free(text);
    return st;
}

static shoal_status open_folder(const char *folder, shoal_model **out)
{
    shoal_model *m = NULL;
    SHOAL_TRY(shoal_folder_require(folder, "config.json"));
    SHOAL_TRY(open_config(folder, &m));
    shoal_status st = add_generation(folder, m);
    if (st == SHOAL_OK)
        st = add_quantization(folder, m);
    if (st != SHOAL_OK) {
        shoal_model_close(m);
        return st;
    }
    *out = m;
    return SHOAL_OK;
}

shoal_status shoal_model_open(const char *path, shoal_model **out)
{
    char *file;
    SHOAL_TRY(shoal_folder_pack(path, &file));
    if (file) {
        const shoal_status st = open_pack(file, out);
        shoal_free(file);
        return st;
    }
    SHOAL_TRY(shoal_folder_gguf(path, &file));
    const shoal_status st = file ? open_gguf(file, out) : open_folder(path, out);
    shoal_free(file);
    return st;
}
