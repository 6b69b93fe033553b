/* tests/unit/convert_case.h - made-up GPTQ models with any pattern of biases, conversions of them,
 * and comparisons in the canonical form. */
#ifndef SHOAL_TESTS_CONVERT_CASE_H
#define SHOAL_TESTS_CONVERT_CASE_H

#include <ftw.h>
#include <math.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "shard/compare.h"
#include "shard/convert.h"
#include "tests/unit/checkpoint_maker.h"

/* Which linears have a bias, by the last part of their names; values are zero or not. */
typedef struct {
    const char *names; /* "q_proj k_proj" or "" */
    bool zero;
} case_biases;

typedef struct {
    int bits;
    int group; /* -1: per channel */
    bool symmetric, act_order;
    shoal_dtype scales;
    case_biases biases;
} case_source;

#define CASE_CONFIG                                                                                \
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":96,"        \
    "\"hidden_size\":128,\"intermediate_size\":256,\"num_hidden_layers\":1,"                       \
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"hidden_act\":\"silu\","                 \
    "\"max_position_embeddings\":128,\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,"                \
    "\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\",\"quantization_config\":{"         \
    "\"quant_method\":\"gptq\",\"bits\":%d,\"group_size\":%d,\"sym\":%s,\"desc_act\":%s,"          \
    "\"checkpoint_format\":\"gptq_v2\"}}"

static inline void case_words(maker *m, const char *module, const char *tail, int64_t rows,
                              int64_t columns, uint32_t word)
{
    char name[128];
    snprintf(name, sizeof name, "%.96s.%.16s", module, tail);
    uint8_t *at = maker_add(m, name, SHOAL_I32, rows, columns);
    for (int64_t i = 0; i < rows * columns; i++)
        shoal_store_le32(at + 4 * i, word ? word : (uint32_t)maker_random(m));
}

static inline void case_bias(maker *m, const char *module, const case_source *s, int64_t n)
{
    char name[128];
    const char *last = strrchr(module, '.') + 1;
    if (!strstr(s->biases.names, last))
        return;
    snprintf(name, sizeof name, "%.96s.bias", module);
    if (s->biases.zero)
        maker_add(m, name, SHOAL_F16, n, 0);
    else
        maker_add_random(m, name, SHOAL_F16, n, 0);
}

/* Groups in order, or dealt at random with the same number of inputs each. */
static inline void case_g_idx(maker *m, const char *module, const case_source *s, int64_t k)
{
    char name[128];
    const int64_t group = s->group < 0 ? k : s->group;
    snprintf(name, sizeof name, "%.96s.g_idx", module);
    uint8_t *at = maker_add(m, name, SHOAL_I32, k, 0);
    for (int64_t i = 0; i < k; i++)
        shoal_store_le32(at + 4 * i, (uint32_t)(i / group));
    for (int64_t i = k - 1; s->act_order && i > 0; i--) {
        const int64_t j = maker_below(m, i + 1);
        const uint32_t swap = shoal_load_le32(at + 4 * i);
        shoal_store_le32(at + 4 * i, shoal_load_le32(at + 4 * j));
        shoal_store_le32(at + 4 * j, swap);
    }
}

static inline void case_powers(maker *m, const char *name, shoal_dtype dtype, int64_t groups,
                               int64_t n)
{
    uint8_t *at = maker_add(m, name, dtype, groups, n);
    for (int64_t i = 0; i < groups * n; i++) {
        const float power = ldexpf(1, -2 - (int)maker_below(m, 6));
        const uint16_t half =
            dtype == SHOAL_BF16 ? shoal_bf16_from_f32(power) : shoal_f16_from_f32(power);
        at[2 * i] = (uint8_t)half;
        at[2 * i + 1] = (uint8_t)(half >> 8);
    }
}

static inline void case_linear(maker *m, const char *module, const case_source *s, int64_t n,
                               int64_t k)
{
    static const uint32_t middle[9] = {[2] = 0xaaaaaaaau, [4] = 0x88888888u, [8] = 0x80808080u};
    char name[128];
    const int64_t groups = s->group < 0 || s->group > k ? 1 : k / s->group;
    case_words(m, module, "qweight", k * s->bits / 32, n, 0);
    case_words(m, module, "qzeros", groups, n * s->bits / 32, s->symmetric ? middle[s->bits] : 0);
    snprintf(name, sizeof name, "%.96s.scales", module);
    if (m->powers)
        case_powers(m, name, s->scales, groups, n);
    else
        maker_add_random(m, name, s->scales, groups, n);
    case_g_idx(m, module, s, k);
    case_bias(m, module, s, n);
}

/* Fill `m` and write it; the folder is m->folder. */
static inline void case_make(maker *m, const case_source *s)
{
    static const struct {
        const char *name;
        int64_t n, k;
    } linears[] = {
        {"self_attn.q_proj", 128, 128}, {"self_attn.k_proj", 64, 128},
        {"self_attn.v_proj", 64, 128},  {"self_attn.o_proj", 128, 128},
        {"mlp.gate_proj", 256, 128},    {"mlp.up_proj", 256, 128},
        {"mlp.down_proj", 128, 256},
    };
    char config[2048], name[96];
    for (size_t i = 0; i < sizeof linears / sizeof linears[0]; i++) {
        snprintf(name, sizeof name, "model.layers.0.%s", linears[i].name);
        case_linear(m, name, s, linears[i].n, linears[i].k);
    }
    maker_add_random(m, "model.embed_tokens.weight", SHOAL_BF16, 96, 128);
    maker_add_random(m, "lm_head.weight", SHOAL_BF16, 96, 128);
    maker_add_random(m, "model.norm.weight", SHOAL_BF16, 128, 0);
    maker_add_random(m, "model.layers.0.input_layernorm.weight", SHOAL_BF16, 128, 0);
    maker_add_random(m, "model.layers.0.post_attention_layernorm.weight", SHOAL_BF16, 128, 0);
    snprintf(config, sizeof config, CASE_CONFIG, s->bits, s->group, s->symmetric ? "true" : "false",
             s->act_order ? "true" : "false");
    maker_write(m, config);
}

/* ---- conversions ---- */

static inline int case_unlink(const char *path, const struct stat *info, int kind, struct FTW *ftw)
{
    (void)info;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static inline void case_remove(const char *folder)
{
    (void)nftw(folder, case_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

/* A whole file, to be freed. */
static inline void case_read(const char *path, char **out, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s is missing", path);
    fseek(f, 0, SEEK_END);
    *bytes = (size_t)ftell(f);
    rewind(f);
    *out = maker_alloc(*bytes);
    assert_int_equal(fread(*out, 1, *bytes, f), *bytes);
    fclose(f);
}

static inline shoal_convert_request case_request(const char *source, const char *destination,
                                                 const char *to)
{
    shoal_convert_request r = {
        .source = source, .destination = destination, .file_bytes = 1u << 30, .threads = 2};
    if (shoal_target_parse(to, &r.target) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    return r;
}

static inline shoal_status case_convert(const shoal_convert_request *request,
                                        shoal_convert_result *result)
{
    const shoal_convert_listener nobody = {0};
    return shoal_convert(request, &nobody, result);
}

/* ---- comparisons ---- */

typedef struct {
    shoal_model *model;
    shoal_checkpoint *checkpoint;
    shoal_manifest *manifest;
} case_model;

static inline void case_open(const char *folder, case_model *m)
{
    if (shoal_model_open(folder, &m->model) != SHOAL_OK ||
        shoal_checkpoint_open(folder, &m->checkpoint) != SHOAL_OK ||
        shoal_manifest_create(m->model, m->checkpoint, NULL, &m->manifest) != SHOAL_OK)
        fail_msg("%s: %s", folder, shoal_error_text());
}

static inline void case_close(case_model *m)
{
    shoal_manifest_destroy(m->manifest);
    shoal_checkpoint_close(m->checkpoint);
    shoal_model_close(m->model);
}

/* Everything of two models together. */
static inline shoal_difference case_compare(const char *a, const char *b)
{
    case_model x, y;
    shoal_difference all = {0}, d;
    case_open(a, &x);
    case_open(b, &y);
    for (size_t i = 0; i < shoal_manifest_count(x.manifest); i++) {
        if (shoal_weight_compare(x.manifest, shoal_manifest_at(x.manifest, i), y.manifest,
                                 shoal_manifest_at(y.manifest, i), &d) != SHOAL_OK)
            fail_msg("%s", shoal_error_text());
        all.presence |= d.presence;
        all.codes += d.codes;
        all.scales += d.scales;
        all.minimums += d.minimums;
        all.values += d.values;
        all.count += d.count;
        all.max_abs_error =
            d.max_abs_error > all.max_abs_error ? d.max_abs_error : all.max_abs_error;
    }
    case_close(&x);
    case_close(&y);
    return all;
}

#endif
