/* shard/manifest.c - see manifest.h: join roles, model and checkpoint, and keep the ledger. */
#include "shard/manifest.h"

#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "proto/bytes.h"
#include "proto/log.h"
#include "shard/dialect.h"
#include "shard/quantize.h"
#include "shard/roles.h"

/* Names in a ledger error. */
#define NAMES_MAX 10

/* Everything that is needed only while the manifest is made. */
typedef struct {
    shoal_manifest *manifest;
    const shoal_family_roles *roles;
    shoal_quantization_config *quantization;
    bool *claimed; /* by tensor index */
    bool quantizes, keeps;
    shoal_quantizer quantizer;
    regex_t keep;
    int64_t integer_linears; /* stored as integers */
} builder;

typedef struct {
    int64_t n, k;
} shape;

/* Intermediate elements of the MLP or expert that a weight belongs to. */
static int64_t intermediate_of(const shoal_model *model, const shoal_weight *weight)
{
    if (weight->layer < 0)
        return 0;
    const shoal_layer *layer = &model->layers[weight->layer];
    return weight->expert == SHOAL_EXPERT_SHARED ? layer->shared_intermediate : layer->intermediate;
}

static shape shape_of(const shoal_model *model, const shoal_weight *weight)
{
    const int64_t hidden = model->hidden, q = model->heads * model->head_dim,
                  kv = model->kv_heads * model->head_dim;
    const int64_t intermediate = intermediate_of(model, weight);
    switch (weight->role) {
    case SHOAL_ROLE_Q: return (shape){q, hidden};
    case SHOAL_ROLE_K:
    case SHOAL_ROLE_V: return (shape){kv, hidden};
    case SHOAL_ROLE_O: return (shape){hidden, q};
    case SHOAL_ROLE_GATE:
    case SHOAL_ROLE_UP: return (shape){intermediate, hidden};
    case SHOAL_ROLE_DOWN: return (shape){hidden, intermediate};
    case SHOAL_ROLE_EMBEDDING:
    case SHOAL_ROLE_LM_HEAD: return (shape){model->vocab, hidden};
    case SHOAL_ROLE_ROUTER: return (shape){model->layers[weight->layer].experts, hidden};
    case SHOAL_ROLE_SHARED_ROUTER: return (shape){1, hidden};
    case SHOAL_ROLE_Q_NORM:
    case SHOAL_ROLE_K_NORM: return (shape){model->head_dim, 0};
    default: return (shape){hidden, 0};
    }
}

static bool has_plain_mlp(const shoal_model *model, int layer)
{
    return model->layers[layer].mlp == SHOAL_MLP_DENSE;
}

static bool is_needed(const shoal_model *model, int layer, shoal_role role)
{
    switch (role) {
    case SHOAL_ROLE_Q_NORM:
    case SHOAL_ROLE_K_NORM: return model->layers[layer].qk_norm;
    case SHOAL_ROLE_AFTER_ATTENTION_NORM: return model->layers[layer].norm_after_attention;
    case SHOAL_ROLE_AFTER_MLP_NORM: return model->layers[layer].norm_after_mlp;
    case SHOAL_ROLE_GATE:
    case SHOAL_ROLE_UP:
    case SHOAL_ROLE_DOWN: return has_plain_mlp(model, layer);
    default: return true;
    }
}

/* Does the family say that this linear has a bias? */
static bool needs_bias(const shoal_model *model, int layer, shoal_role role)
{
    const shoal_layer *l = layer >= 0 ? &model->layers[layer] : NULL;
    switch (role) {
    case SHOAL_ROLE_Q:
    case SHOAL_ROLE_K:
    case SHOAL_ROLE_V: return l->qkv_bias;
    case SHOAL_ROLE_O: return l->o_bias;
    case SHOAL_ROLE_GATE:
    case SHOAL_ROLE_UP:
    case SHOAL_ROLE_DOWN: return l->mlp_bias;
    default: return false;
    }
}

/* A weight of this place, not yet looked for. */
static shoal_weight blank(const shoal_model *model, int layer, int expert, shoal_role role)
{
    shoal_weight weight = {.role = role, .layer = layer, .expert = expert, .present = true};
    const shape size = shape_of(model, &weight);
    weight.n = size.n;
    weight.k = size.k;
    return weight;
}

/* The same place, to be filled. */
static shoal_weight *slot(shoal_manifest *manifest, int layer, shoal_role role)
{
    return (shoal_weight *)shoal_manifest_weight(manifest, layer, role);
}

static void claim(builder *b, const shoal_tensor *tensor)
{
    b->claimed[shoal_checkpoint_index(b->manifest->checkpoint, tensor)] = true;
}

/* A float vector of `count` elements. */
static shoal_status check_vector(const shoal_tensor *tensor, int64_t count)
{
    char text[160];
    if (tensor->rank != 1 || tensor->shape[0] != count) {
        shoal_tensor_shape_text(tensor, text, sizeof text);
        return shoal_fail(SHOAL_ERR_DATA, "tensor %s has shape %s; config.json makes it [%lld]",
                          tensor->name, text, (long long)count);
    }
    return shoal_dialect_expect_float(tensor);
}

/* Rows of the module of a weight that belong to roles before `end`. */
static int64_t stacked_rows(const builder *b, const shoal_weight *weight, shoal_role end)
{
    int64_t rows = 0;
    for (shoal_role r = 0; r < end && weight->expert == 0; r++)
        if (shoal_roles_stacked(b->roles, weight->role, r))
            rows += blank(b->manifest->model, weight->layer, 0, r).n;
    return rows;
}

/* The module of a weight: its name in `name`, n over all roles stacked in it. */
static shoal_status module_of(const builder *b, const shoal_weight *weight, char *name, size_t room,
                              shoal_module *module)
{
    const shoal_manifest *manifest = b->manifest;
    const shoal_quantization *quantization;
    if (!shoal_roles_pattern(b->roles, weight))
        return shoal_fail(SHOAL_ERR_DATA, "family %s has no name for %s", manifest->model->family,
                          shoal_role_name(weight->role));
    if (!shoal_roles_module(b->roles, manifest->part, weight, name, room))
        return shoal_fail(SHOAL_ERR_INTERNAL, "the name of %s is too long",
                          shoal_role_name(weight->role));
    const int64_t n = stacked_rows(b, weight, SHOAL_ROLE_LAYER_LINEARS);
    SHOAL_TRY(shoal_quantization_of(b->quantization, name, &quantization));
    *module = (shoal_module){
        .checkpoint = manifest->checkpoint,
        .quantization = quantization,
        .name = name,
        .n = n ? n : weight->n,
        .k = weight->k,
    };
    return SHOAL_OK;
}

/* Where the rows of a linear lie among those of its module, which has `rows`. */
static void place_rows(const builder *b, int64_t rows, shoal_weight *weight)
{
    const shoal_model *model = b->manifest->model;
    weight->row_offset = stacked_rows(b, weight, weight->role);
    if (weight->role > SHOAL_ROLE_V || !b->roles->by_kv_head)
        return;
    weight->row_offset /= model->kv_heads;
    weight->run = weight->n / model->kv_heads;
    weight->period = rows / model->kv_heads;
}

/* MODULE.bias is taken wherever it is found, and missed where the family says it must be. */
static shoal_status add_bias(builder *b, const shoal_module *module, shoal_weight *weight)
{
    const shoal_model *model = b->manifest->model;
    const shoal_tensor *bias = shoal_module_tensor(module, "bias");
    if (!bias && needs_bias(model, weight->layer, weight->role))
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s.bias is missing: the %s model of config.json has it",
                          module->name, model->family);
    if (!bias)
        return SHOAL_OK;
    SHOAL_TRY(check_vector(bias, module->n));
    weight->bias = bias;
    claim(b, bias);
    return SHOAL_OK;
}

/* A dense linear that --quantize turns into integers while it is read; what chooses experts stays
 * as it is. */
static void quantize_at_load(const builder *b, const shoal_module *module, shoal_weight *weight)
{
    if (!b->quantizes || shoal_role_routes(weight->role) || weight->kind != SHOAL_WEIGHT_FLOAT)
        return;
    if (b->keeps && regexec(&b->keep, module->name, 0, NULL, 0) == 0)
        return;
    const shoal_quantizer *q = &b->quantizer;
    weight->dialect = &shoal_dialect_at_load;
    weight->kind = q->kind;
    weight->dtype = SHOAL_F32;
    weight->group = q->group ? shoal_min_i64(q->group, weight->k) : weight->k;
    weight->zero_const = q->zero;
    weight->quantized_at_load = true;
}

static shoal_status describe(builder *b, const shoal_module *module, const shoal_dialect *dialect,
                             shoal_weight *weight)
{
    weight->dialect = dialect;
    for (int i = 0; dialect->parts[i]; i++) {
        weight->parts[i] = shoal_module_tensor(module, dialect->parts[i]);
        if (weight->parts[i])
            claim(b, weight->parts[i]);
    }
    return dialect->describe(module, weight);
}

/* What all linears have in common once their stored form is described. */
static shoal_status finish_linear(builder *b, const shoal_module *module, shoal_weight *weight)
{
    SHOAL_TRY(add_bias(b, module, weight));
    if (weight->input_scale && (weight->expert != 0 || weight->role >= SHOAL_ROLE_LAYER_LINEARS))
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s: a scale of the inputs of experts, a router or lm_head is not "
                          "read",
                          weight->input_scale->name);
    b->integer_linears += weight->kind != SHOAL_WEIGHT_FLOAT;
    quantize_at_load(b, module, weight);
    return SHOAL_OK;
}

/* Find what the weight `to` of this place is stored as. */
static shoal_status add_linear(builder *b, int layer, int expert, shoal_role role, shoal_weight *to)
{
    shoal_weight weight = blank(b->manifest->model, layer, expert, role);
    const shoal_dialect *dialect;
    char name[SHOAL_TENSOR_NAME_MAX];
    shoal_module module;
    SHOAL_TRY(module_of(b, &weight, name, sizeof name, &module));
    place_rows(b, module.n, &weight);
    SHOAL_TRY(shoal_dialect_find(&module, &dialect));
    SHOAL_TRY(describe(b, &module, dialect, &weight));
    SHOAL_TRY(finish_linear(b, &module, &weight));
    *to = weight;
    return SHOAL_OK;
}

static shoal_status add_vector(builder *b, int layer, shoal_role role)
{
    shoal_weight weight = blank(b->manifest->model, layer, 0, role);
    char name[SHOAL_TENSOR_NAME_MAX];
    shoal_module module;
    SHOAL_TRY(module_of(b, &weight, name, sizeof name, &module));
    const shoal_tensor *tensor = shoal_module_tensor(&module, "weight");
    if (!tensor)
        return shoal_fail(SHOAL_ERR_DATA, "tensor %s.weight is missing", name);
    SHOAL_TRY(check_vector(tensor, weight.n));
    claim(b, tensor);
    weight.parts[0] = tensor;
    weight.kind = SHOAL_WEIGHT_FLOAT;
    weight.dtype = tensor->dtype;
    weight.bits = (int)shoal_dtype_bits(tensor->dtype);
    *slot(b->manifest, layer, role) = weight;
    return SHOAL_OK;
}

/* The embedding is never computed with: its rows are numbers, whatever form the file has. */
static shoal_status add_embedding(builder *b)
{
    shoal_weight weight = blank(b->manifest->model, -1, 0, SHOAL_ROLE_EMBEDDING);
    char name[SHOAL_TENSOR_NAME_MAX];
    shoal_module module;
    SHOAL_TRY(module_of(b, &weight, name, sizeof name, &module));
    const shoal_tensor *tensor = shoal_module_tensor(&module, "weight");
    const bool blocks = tensor && tensor->block_type;
    SHOAL_TRY(
        describe(b, &module, blocks ? &shoal_dialect_gguf_rows : &shoal_dialect_dense, &weight));
    *slot(b->manifest, -1, SHOAL_ROLE_EMBEDDING) = weight;
    return SHOAL_OK;
}

/* A tied lm_head is the embedding under another name; a file may still hold the tensor. */
static shoal_status add_tied_lm_head(builder *b)
{
    const shoal_weight *embedding = slot(b->manifest, -1, SHOAL_ROLE_EMBEDDING);
    shoal_weight weight = {.role = SHOAL_ROLE_LM_HEAD,
                           .layer = -1,
                           .present = true,
                           .n = embedding->n,
                           .k = embedding->k};
    const shoal_dialect *dialect;
    char name[SHOAL_TENSOR_NAME_MAX];
    shoal_module module;
    SHOAL_TRY(module_of(b, embedding, name, sizeof name, &module));
    SHOAL_TRY(shoal_dialect_find(&module, &dialect));
    SHOAL_TRY(describe(b, &module, dialect, &weight));
    SHOAL_TRY(module_of(b, &weight, name, sizeof name, &module));
    const shoal_tensor *other = shoal_module_tensor(&module, "weight");
    if (other) {
        shoal_log(SHOAL_LOG_INFO, "model",
                  "tensor %s is not read: tie_word_embeddings makes it the embedding", other->name);
        claim(b, other);
    }
    SHOAL_TRY(finish_linear(b, &module, &weight));
    *slot(b->manifest, -1, SHOAL_ROLE_LM_HEAD) = weight;
    return SHOAL_OK;
}

/* Does the checkpoint have the module, in any stored form? */
static bool has_tensors(const shoal_module *module)
{
    const size_t length = strlen(module->name);
    for (size_t i = 0; i < shoal_checkpoint_count(module->checkpoint); i++) {
        const char *name = shoal_checkpoint_at(module->checkpoint, i)->name;
        if (strncmp(name, module->name, length) == 0 && name[length] == '.')
            return true;
    }
    return false;
}

static shoal_status add_lm_head(builder *b)
{
    char name[SHOAL_TENSOR_NAME_MAX];
    shoal_module module;
    if (b->manifest->model->tied)
        return add_tied_lm_head(b);
    const shoal_weight wanted = blank(b->manifest->model, -1, 0, SHOAL_ROLE_LM_HEAD);
    SHOAL_TRY(module_of(b, &wanted, name, sizeof name, &module));
    if (!has_tensors(&module))
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s.weight is missing and tie_word_embeddings of config.json is "
                          "false",
                          name);
    return add_linear(b, -1, 0, SHOAL_ROLE_LM_HEAD, slot(b->manifest, -1, SHOAL_ROLE_LM_HEAD));
}

/* The router chooses by sums of fp32 inputs in their natural order. */
static shoal_status add_router(builder *b, int layer, shoal_role role, shoal_weight *to)
{
    SHOAL_TRY(add_linear(b, layer, 0, role, to));
    if (!to->act_order)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, "layer %d: %s is act-order, which is not supported", layer,
                      shoal_role_name(role));
}

static shoal_status add_experts(builder *b, int layer)
{
    const shoal_layer *about = &b->manifest->model->layers[layer];
    const bool shared = about->shared_intermediate > 0;
    const int count = (int)about->experts + shared;
    shoal_expert_set set = {.count = count};
    void *block;
    SHOAL_TRY(shoal_arena_array(b->manifest->arena, (uint64_t)count * SHOAL_EXPERT_LINEARS,
                                sizeof *set.linears, &block));
    set.linears = block;
    SHOAL_TRY(add_router(b, layer, SHOAL_ROLE_ROUTER, &set.router));
    if (shared)
        SHOAL_TRY(add_router(b, layer, SHOAL_ROLE_SHARED_ROUTER, &set.shared_router));
    for (int i = 0; i < count * SHOAL_EXPERT_LINEARS; i++) {
        const int expert = i / SHOAL_EXPERT_LINEARS;
        const shoal_role role = SHOAL_ROLE_GATE + (shoal_role)(i % SHOAL_EXPERT_LINEARS);
        SHOAL_TRY(add_linear(b, layer, expert < about->experts ? expert + 1 : SHOAL_EXPERT_SHARED,
                             role, &set.linears[i]));
    }
    b->manifest->experts[layer] = set;
    return SHOAL_OK;
}

static shoal_status add_layer(builder *b, int layer)
{
    const shoal_model *model = b->manifest->model;
    for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_ALL; role++) {
        shoal_weight *weight = slot(b->manifest, layer, role);
        *weight = (shoal_weight){.role = role, .layer = layer};
        if (!is_needed(model, layer, role))
            continue;
        if (role < SHOAL_ROLE_LAYER_LINEARS)
            SHOAL_TRY(add_linear(b, layer, 0, role, weight));
        else
            SHOAL_TRY(add_vector(b, layer, role));
    }
    return has_plain_mlp(model, layer) ? SHOAL_OK : add_experts(b, layer);
}

static bool may_be_left(const builder *b, const char *tensor)
{
    return shoal_roles_ignorable(tensor) ||
           (b->manifest->model->text_part && shoal_roles_beside_text(tensor));
}

/* Every tensor of the checkpoint is claimed, known to be ignorable, or an error that names it. */
static shoal_status close_ledger(const builder *b)
{
    const shoal_checkpoint *checkpoint = b->manifest->checkpoint;
    char names[640] = "";
    size_t lost = 0, at = 0;
    for (size_t i = 0; i < shoal_checkpoint_count(checkpoint); i++) {
        const shoal_tensor *tensor = shoal_checkpoint_at(checkpoint, i);
        if (b->claimed[i] || may_be_left(b, tensor->name))
            continue;
        if (lost++ < NAMES_MAX && at < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", at ? ", " : "",
                                   tensor->name);
    }
    if (lost == 0)
        return SHOAL_OK;
    return shoal_fail(
        SHOAL_ERR_DATA, "the checkpoint has %zu tensor%s that a %s model does not use: %s%s", lost,
        lost == 1 ? "" : "s", b->manifest->model->family, names, lost > NAMES_MAX ? ", ..." : "");
}

static shoal_status build(builder *b)
{
    const shoal_model *model = b->manifest->model;
    for (int layer = 0; layer < model->layer_count; layer++)
        SHOAL_TRY(add_layer(b, layer));
    SHOAL_TRY(add_embedding(b));
    SHOAL_TRY(add_vector(b, -1, SHOAL_ROLE_FINAL_NORM));
    SHOAL_TRY(add_lm_head(b));
    SHOAL_TRY(shoal_manifest_list(b->manifest));
    SHOAL_TRY(close_ledger(b));
    const shoal_method method = shoal_quantization_general(b->quantization)->method;
    if (method != SHOAL_METHOD_NONE && b->integer_linears == 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          "the quantization config says %s, but no linear of the checkpoint is "
                          "stored that way",
                          shoal_method_name(method));
    return SHOAL_OK;
}

/* The text part of a larger model is where its embedding is. */
static void find_part(const builder *b)
{
    const shoal_weight embedding = {.role = SHOAL_ROLE_EMBEDDING, .layer = -1};
    shoal_manifest *manifest = b->manifest;
    char name[SHOAL_TENSOR_NAME_MAX];
    for (int i = 1; i < shoal_roles_part_count && manifest->model->text_part; i++) {
        const shoal_roles_part *part = &shoal_roles_parts[i];
        const shoal_module module = {.checkpoint = manifest->checkpoint, .name = name};
        if (shoal_roles_module(b->roles, part, &embedding, name, sizeof name) &&
            shoal_module_tensor(&module, "weight"))
            manifest->part = part;
    }
}

/* Roles, quantization config and options; what it compiles is freed by forget(). */
static shoal_status prepare(builder *b, const shoal_manifest_options *options)
{
    const shoal_model *model = b->manifest->model;
    const uint64_t tensors = shoal_checkpoint_count(b->manifest->checkpoint);
    void *block;
    b->roles = shoal_checkpoint_gguf(b->manifest->checkpoint) ? shoal_roles_gguf_of(model->family)
                                                              : shoal_roles_find(model->family);
    if (!b->roles)
        return shoal_fail(SHOAL_ERR_DATA, "model family '%s' has no table of weight names",
                          model->family);
    find_part(b);
    SHOAL_TRY(shoal_quantization_open(model->quantization_json, &b->quantization));
    if (options && options->quantize) {
        SHOAL_TRY(shoal_quantizer_parse(options->quantize, &b->quantizer));
        b->quantizes = true;
    }
    if (options && options->keep_regex) {
        char why[160];
        const int code = regcomp(&b->keep, options->keep_regex, REG_EXTENDED | REG_NOSUB);
        if (code != 0) {
            regerror(code, &b->keep, why, sizeof why);
            return shoal_fail(SHOAL_ERR_USAGE, "--keep %s: %s", options->keep_regex, why);
        }
        b->keeps = true;
    }
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, tensors, sizeof(bool), &block));
    b->claimed = block;
    return SHOAL_OK;
}

static void forget(builder *b)
{
    shoal_quantization_close(b->quantization);
    shoal_free(b->claimed);
    if (b->keeps)
        regfree(&b->keep);
}

static shoal_status allocate(const shoal_model *model, const shoal_checkpoint *checkpoint,
                             shoal_manifest **out)
{
    shoal_arena *arena = NULL;
    shoal_manifest *manifest;
    shoal_status st;
    void *block;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &arena));
    SHOAL_TRY_GOTO(shoal_arena_alloc(arena, sizeof *manifest, &block), fail);
    manifest = block;
    manifest->model = model;
    manifest->checkpoint = checkpoint;
    manifest->arena = arena;
    manifest->part = &shoal_roles_parts[0];
    SHOAL_TRY_GOTO(shoal_arena_array(arena, (uint64_t)model->layer_count * SHOAL_ROLE_LAYER_ALL,
                                     sizeof(shoal_weight), &block),
                   fail);
    manifest->layers = block;
    SHOAL_TRY_GOTO(
        shoal_arena_array(arena, (uint64_t)model->layer_count, sizeof *manifest->experts, &block),
        fail);
    manifest->experts = block;
    *out = manifest;
    return SHOAL_OK;
fail:
    shoal_arena_destroy(arena);
    return st;
}

shoal_status shoal_manifest_create(const shoal_model *model, const shoal_checkpoint *checkpoint,
                                   const shoal_manifest_options *options, shoal_manifest **out)
{
    builder b = {0};
    shoal_status st;
    SHOAL_TRY(allocate(model, checkpoint, &b.manifest));
    SHOAL_TRY_GOTO(prepare(&b, options), done);
    snprintf(b.manifest->method, sizeof b.manifest->method, "%s",
             shoal_method_name(shoal_quantization_general(b.quantization)->method));
    st = build(&b);
done:
    forget(&b);
    if (st == SHOAL_OK)
        *out = b.manifest;
    else
        shoal_manifest_destroy(b.manifest);
    return st;
}

void shoal_manifest_destroy(shoal_manifest *manifest)
{
    if (manifest)
        shoal_arena_destroy(manifest->arena);
}
