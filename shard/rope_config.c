#include "shard/rope_config.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "shard/power.h"
#include "shard/quoted.h"

/* Wider than any model; narrow enough that no later step overflows. */
#define THETA_MIN  1.0001
#define THETA_MAX  1e15
#define FACTOR_MIN 1e-3
#define FACTOR_MAX 1e6

/* A dynamic rope is stretched so far at most. */
#define DYNAMIC_MAX 64

static const char *const layer_types[SHOAL_ROPES_MAX] = {"full_attention", "sliding_attention"};

/* What a rope is read from: its own object, and the whole config behind it. */
typedef struct {
    const shoal_config *model_config;
    shoal_config own; /* rope_scaling, rope_parameters or one of its members */
    const shoal_model *model;
    double theta; /* where neither says it */
} rope_source;

static const struct {
    const char *name;
    shoal_rope_kind kind;
} kinds[] = {
    {"default", SHOAL_ROPE_DEFAULT}, {"linear", SHOAL_ROPE_LINEAR},
    {"llama3", SHOAL_ROPE_LLAMA3},   {"yarn", SHOAL_ROPE_YARN},
    {"dynamic", SHOAL_ROPE_DYNAMIC}, {"longrope", SHOAL_ROPE_LONGROPE},
    {"su", SHOAL_ROPE_LONGROPE}, /* its first name */
};

static shoal_status read_kind(const rope_source *s, shoal_rope *rope)
{
    const char *name = "default";
    char quoted[SHOAL_QUOTED_ROOM];
    SHOAL_TRY(shoal_config_text(&s->own, "type", &name));
    SHOAL_TRY(shoal_config_text(&s->own, "rope_type", &name));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(name, kinds[i].name) == 0) {
            rope->kind = kinds[i].kind;
            if (rope->kind == SHOAL_ROPE_YARN && shoal_config_has(&s->own, "long_factor"))
                rope->kind = SHOAL_ROPE_LONGROPE; /* so the first Phi-3 called it */
            return SHOAL_OK;
        }
    return shoal_fail(SHOAL_ERR_DATA,
                      "%s: the rope type '%s' is not supported; default, linear, llama3, yarn, "
                      "dynamic and longrope are",
                      s->own.where, shoal_quoted(name, quoted, sizeof quoted));
}

static shoal_status read_theta(const rope_source *s, shoal_rope *rope)
{
    if (shoal_config_has(&s->own, "rope_theta"))
        return shoal_config_real(&s->own, "rope_theta", THETA_MIN, THETA_MAX, &rope->theta);
    return shoal_config_real(s->model_config, "rope_theta", THETA_MIN, THETA_MAX, &rope->theta);
}

/* Both places may say it; the outer one wins, as in transformers. */
static shoal_status read_dim(const rope_source *s, shoal_rope *rope)
{
    const int64_t head_dim = s->model->head_dim;
    double part = 1;
    SHOAL_TRY(shoal_config_real(&s->own, "partial_rotary_factor", 0, 1, &part));
    SHOAL_TRY(shoal_config_real(s->model_config, "partial_rotary_factor", 0, 1, &part));
    rope->dim = (int64_t)((double)head_dim * part);
    if (rope->dim < 2 || rope->dim % 2 != 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: partial_rotary_factor %g of head_dim %lld leaves %lld rotary "
                          "dimensions; it must be an even number",
                          s->own.where, part, (long long)head_dim, (long long)rope->dim);
    return SHOAL_OK;
}

static shoal_status read_original_context(const rope_source *s, shoal_rope *rope)
{
    static const char key[] = "original_max_position_embeddings";
    rope->original_context = s->model->context;
    if (shoal_config_has(s->model_config, key))
        return shoal_config_int(s->model_config, key, 1, SHOAL_CONTEXT_MAX,
                                &rope->original_context);
    return shoal_config_int(&s->own, key, 1, SHOAL_CONTEXT_MAX, &rope->original_context);
}

static shoal_status require_factor(const rope_source *s, shoal_rope *rope)
{
    SHOAL_TRY(shoal_config_require(&s->own, "factor"));
    return shoal_config_real(&s->own, "factor", FACTOR_MIN, FACTOR_MAX, &rope->factor);
}

static shoal_status read_llama3(const rope_source *s, shoal_rope *rope)
{
    SHOAL_TRY(require_factor(s, rope));
    SHOAL_TRY(shoal_config_require(&s->own, "low_freq_factor"));
    SHOAL_TRY(shoal_config_require(&s->own, "high_freq_factor"));
    SHOAL_TRY(shoal_config_real(&s->own, "low_freq_factor", FACTOR_MIN, FACTOR_MAX,
                                &rope->low_freq_factor));
    SHOAL_TRY(shoal_config_real(&s->own, "high_freq_factor", FACTOR_MIN, FACTOR_MAX,
                                &rope->high_freq_factor));
    if (rope->high_freq_factor <= rope->low_freq_factor)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: high_freq_factor is %g, not above low_freq_factor %g", s->own.where,
                          rope->high_freq_factor, rope->low_freq_factor);
    return read_original_context(s, rope);
}

static double magnitude_scale(double factor, double weight)
{
    return factor <= 1 ? 1 : 0.1 * weight * shoal_log_double(factor) + 1;
}

/* 0 counts as not given, as in transformers. */
static shoal_status read_attention_factor(const rope_source *s, shoal_rope *rope)
{
    double all = 0, scale = 0, given = 0;
    SHOAL_TRY(shoal_config_real(&s->own, "mscale", 0, 100, &scale));
    SHOAL_TRY(shoal_config_real(&s->own, "mscale_all_dim", 0, 100, &all));
    SHOAL_TRY(shoal_config_real(&s->own, "attention_factor", 1e-3, 1e3, &given));
    if (given > 0)
        rope->attention_factor = given;
    else if (scale > 0 && all > 0)
        rope->attention_factor =
            magnitude_scale(rope->factor, scale) / magnitude_scale(rope->factor, all);
    else
        rope->attention_factor = magnitude_scale(rope->factor, 1);
    return SHOAL_OK;
}

static shoal_status read_turns(const rope_source *s, const char *key, double absent, double *out)
{
    *out = 0;
    SHOAL_TRY(shoal_config_real(&s->own, key, 0, 1e6, out));
    if (*out == 0)
        *out = absent;
    return SHOAL_OK;
}

static shoal_status read_yarn(const rope_source *s, shoal_rope *rope)
{
    SHOAL_TRY(read_original_context(s, rope));
    rope->factor = (double)s->model->context / (double)rope->original_context;
    SHOAL_TRY(shoal_config_real(&s->own, "factor", FACTOR_MIN, FACTOR_MAX, &rope->factor));
    SHOAL_TRY(read_turns(s, "beta_fast", 32, &rope->beta_fast));
    SHOAL_TRY(read_turns(s, "beta_slow", 1, &rope->beta_slow));
    if (rope->beta_fast < rope->beta_slow)
        return shoal_fail(SHOAL_ERR_DATA, "%s: beta_fast is %g, below beta_slow %g", s->own.where,
                          rope->beta_fast, rope->beta_slow);
    SHOAL_TRY(shoal_config_bool(&s->own, "truncate", &rope->truncate));
    return read_attention_factor(s, rope);
}

/* Up to its own context a model with a dynamic rope is as it was trained; beyond, theta depends on
 * how far --max-model-len goes. */
static shoal_status read_dynamic(const rope_source *s, shoal_rope *rope)
{
    rope->original_context = s->model->context;
    if (rope->dim < 4)
        return shoal_fail(SHOAL_ERR_DATA, "%s: a dynamic rope needs 4 dimensions; it has %lld",
                          s->own.where, (long long)rope->dim);
    SHOAL_TRY(shoal_config_require(&s->own, "factor"));
    return shoal_config_real(&s->own, "factor", 1, DYNAMIC_MAX, &rope->factor);
}

static shoal_status read_factors(const rope_source *s, const char *key, int64_t count,
                                 const float **out)
{
    const json_t *list = NULL;
    void *factors;
    SHOAL_TRY(shoal_config_require(&s->own, key));
    SHOAL_TRY(shoal_config_array(&s->own, key, &list));
    if (json_array_size(list) != (size_t)count)
        return shoal_fail(SHOAL_ERR_DATA, "%s: %s%s has %zu numbers for %lld frequencies",
                          s->own.where, s->own.inside, key, json_array_size(list),
                          (long long)count);
    SHOAL_TRY(shoal_arena_array(s->model->arena, (uint64_t)count, sizeof(float), &factors));
    for (int64_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(list, (size_t)i);
        const double value = json_number_value(entry);
        if (!json_is_number(entry) || !(value >= FACTOR_MIN && value <= FACTOR_MAX))
            return shoal_fail(SHOAL_ERR_DATA,
                              "%s: %s%s holds no number of %g to %g at position "
                              "%lld",
                              s->own.where, s->own.inside, key, FACTOR_MIN, FACTOR_MAX,
                              (long long)i);
        ((float *)factors)[i] = (float)value;
    }
    *out = factors;
    return SHOAL_OK;
}

/* What makes up for the longer sums of scores; arXiv 2402.13753. */
static double longrope_magnitude(const shoal_rope *rope)
{
    const double log_context = shoal_log_double((double)rope->original_context);
    if (rope->factor <= 1 || log_context <= 0)
        return 1;
    return sqrt(1 + shoal_log_double(rope->factor) / log_context);
}

static shoal_status read_longrope(const rope_source *s, shoal_rope *rope)
{
    double given = 0;
    SHOAL_TRY(read_original_context(s, rope));
    rope->factor = (double)s->model->context / (double)rope->original_context;
    SHOAL_TRY(shoal_config_real(&s->own, "factor", FACTOR_MIN, FACTOR_MAX, &rope->factor));
    SHOAL_TRY(read_factors(s, "short_factor", rope->dim / 2, &rope->short_factors));
    SHOAL_TRY(read_factors(s, "long_factor", rope->dim / 2, &rope->long_factors));
    rope->attention_factor = longrope_magnitude(rope);
    SHOAL_TRY(shoal_config_real(&s->own, "attention_factor", 1e-3, 1e3, &given));
    if (given > 0)
        rope->attention_factor = given;
    return SHOAL_OK;
}

/* A plain rope over all of head_dim. */
static shoal_rope plain_rope(const shoal_model *model, double theta)
{
    return (shoal_rope){
        .kind = SHOAL_ROPE_DEFAULT,
        .dim = model->head_dim,
        .theta = theta,
        .factor = 1,
        .low_freq_factor = 1,
        .high_freq_factor = 1,
        .beta_fast = 32,
        .beta_slow = 1,
        .attention_factor = 1,
        .truncate = true,
        .original_context = model->context,
    };
}

static shoal_status read_rope(const rope_source *s, shoal_rope *out)
{
    shoal_rope rope = plain_rope(s->model, s->theta);
    SHOAL_TRY(read_kind(s, &rope));
    SHOAL_TRY(read_theta(s, &rope));
    SHOAL_TRY(read_dim(s, &rope));
    if (rope.kind == SHOAL_ROPE_LINEAR)
        SHOAL_TRY(require_factor(s, &rope));
    else if (rope.kind == SHOAL_ROPE_LLAMA3)
        SHOAL_TRY(read_llama3(s, &rope));
    else if (rope.kind == SHOAL_ROPE_YARN)
        SHOAL_TRY(read_yarn(s, &rope));
    else if (rope.kind == SHOAL_ROPE_DYNAMIC)
        SHOAL_TRY(read_dynamic(s, &rope));
    else if (rope.kind == SHOAL_ROPE_LONGROPE)
        SHOAL_TRY(read_longrope(s, &rope));
    *out = rope;
    return SHOAL_OK;
}

/* The object that speaks of rope: rope_scaling where it says anything, else rope_parameters. */
static shoal_status find_object(const shoal_config *config, const json_t **out)
{
    const json_t *scaling = NULL, *parameters = NULL;
    SHOAL_TRY(shoal_config_object(config, "rope_scaling", &scaling));
    SHOAL_TRY(shoal_config_object(config, "rope_parameters", &parameters));
    *out = json_object_size(scaling) ? scaling : parameters;
    return SHOAL_OK;
}

static bool is_per_layer_type(const json_t *object)
{
    for (int i = 0; i < SHOAL_ROPES_MAX; i++)
        if (json_object_get(object, layer_types[i]))
            return true;
    return false;
}

static shoal_status read_per_layer_type(rope_source *s, const json_t *object, bool has_windows,
                                        shoal_model *model)
{
    const shoal_config all = {s->model_config->where, "rope_parameters.", object};
    const json_t *own = NULL;
    SHOAL_TRY(shoal_config_require(&all, layer_types[0]));
    model->rope_count = has_windows ? 2 : 1;
    for (int i = 0; i < model->rope_count; i++) {
        SHOAL_TRY(shoal_config_require(&all, layer_types[i]));
        SHOAL_TRY(shoal_config_object(&all, layer_types[i], &own));
        s->own = (shoal_config){all.where, "rope_parameters.", own};
        SHOAL_TRY(read_rope(s, &model->ropes[i]));
        s->theta = 1e4;
    }
    return SHOAL_OK;
}

/* Gemma 3 of transformers 4: layers with a window turn by rope_local_base_freq, never scaled. */
static shoal_status read_local(const rope_source *s, shoal_model *model)
{
    shoal_rope local = plain_rope(model, 1e4);
    local.dim = model->ropes[0].dim;
    SHOAL_TRY(shoal_config_real(s->model_config, "rope_local_base_freq", THETA_MIN, THETA_MAX,
                                &local.theta));
    model->ropes[1] = local;
    model->rope_count = 2;
    return SHOAL_OK;
}

/* Without a dynamic rope a model takes what it was made for. */
static void set_reach(shoal_model *model)
{
    double reach = (double)model->context;
    for (int i = 0; i < model->rope_count; i++)
        if (model->ropes[i].kind == SHOAL_ROPE_DYNAMIC)
            reach = (double)model->context * model->ropes[i].factor;
    model->reach = reach < SHOAL_CONTEXT_MAX ? (int64_t)reach : SHOAL_CONTEXT_MAX;
}

static shoal_status read_ropes(const shoal_config *config, const shoal_family *family,
                               bool has_windows, shoal_model *model)
{
    const json_t *object = NULL;
    rope_source s = {.model_config = config, .model = model, .theta = family->theta};
    SHOAL_TRY(find_object(config, &object));
    if (is_per_layer_type(object))
        return read_per_layer_type(&s, object, has_windows, model);
    s.own = (shoal_config){config->where,
                           json_object_size(json_object_get(config->object, "rope_scaling"))
                               ? "rope_scaling."
                               : "rope_parameters.",
                           object};
    SHOAL_TRY(read_rope(&s, &model->ropes[0]));
    model->rope_count = 1;
    if (family->windows == SHOAL_WINDOWS_PATTERN && has_windows)
        return read_local(&s, model);
    return SHOAL_OK;
}

shoal_status shoal_rope_config_read(const shoal_config *config, const shoal_family *family,
                                    bool has_windows, shoal_model *model)
{
    SHOAL_TRY(read_ropes(config, family, has_windows, model));
    set_reach(model);
    return SHOAL_OK;
}
