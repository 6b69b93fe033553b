/* shard/convert_gguf.c - see convert_gguf.h. */
#include "shard/convert_gguf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/counter.h"
#include "shard/convert_item.h"
#include "shard/convert_source.h"
#include "shard/gguf_experts.h"
#include "shard/gguf_vocab_write.h"
#include "shard/gguf_write.h"
#include "shard/roles.h"
#include "shard/writer_gguf.h"

typedef struct {
    const shoal_convert_request *request;
    const shoal_convert_listener *listener;
    shoal_target target;
    shoal_convert_source source;
    shoal_convert_plan *plan;
    shoal_pool *pool;
    shoal_st_extent *extents; /* [tensors, and the factors of rope] */
    uint64_t extent_count;
    uint64_t written; /* tensors of the file */
    float *factors;   /* [rope dim / 2] where frequencies are scaled one by one, else NULL */
    double sync_seconds;
    uint64_t done;
} conversion;

typedef struct {
    const char *family, *architecture;
    bool pairs; /* rows of q and k are interleaved */
} family_row;

static const family_row families[] = {
    {"llama", "llama", true},         {"mistral", "llama", true}, {"qwen2", "qwen2", false},
    {"qwen3", "qwen3", false},        {"mixtral", "llama", true}, {"qwen2_moe", "qwen2moe", false},
    {"qwen3_moe", "qwen3moe", false},
};

static const family_row *family_of(const shoal_model *model)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (strcmp(families[i].family, model->family) == 0)
            return &families[i];
    return NULL;
}

/* ---- rows ---- */

/* Where row `row` of q or k goes: the halves of a head are interleaved. */
static int64_t interleaved(int64_t row, int64_t head_dim)
{
    const int64_t half = head_dim / 2, in_head = row % head_dim;
    return row - in_head + (in_head < half ? 2 * in_head : 2 * (in_head - half) + 1);
}

/* head_dim by way of the weight: q and k are whole heads of the model. */
static int64_t paired_row(const shoal_target *target, const shoal_weight *weight, int64_t row)
{
    const bool turned = weight->role == SHOAL_ROLE_Q || weight->role == SHOAL_ROLE_K;
    return turned ? interleaved(row, target->head_dim) : row;
}

/* ---- metadata ---- */

static const char *key(const conversion *c, const char *name, char room[96])
{
    (void)snprintf(room, 96, "%s.%s", family_of(c->source.model)->architecture, name);
    return room;
}

/* Scaling by one factor has names; llama3's is a table of factors. */
static shoal_status put_rope(const conversion *c, shoal_gguf_builder *b)
{
    char room[96];
    const shoal_rope *rope = &c->source.model->ropes[0];
    shoal_gguf_put_u32(b, key(c, "rope.dimension_count", room), (uint32_t)rope->dim);
    shoal_gguf_put_f32(b, key(c, "rope.freq_base", room), (float)rope->theta);
    if (rope->kind == SHOAL_ROPE_DEFAULT || rope->kind == SHOAL_ROPE_LLAMA3)
        return SHOAL_OK;
    if (rope->kind != SHOAL_ROPE_LINEAR && rope->kind != SHOAL_ROPE_YARN)
        return shoal_fail(SHOAL_ERR_DATA, "the rope scaling of this model has no form in GGUF");
    const char *kind = rope->kind == SHOAL_ROPE_LINEAR ? "linear" : "yarn";
    shoal_gguf_put_string(b, key(c, "rope.scaling.type", room), kind, strlen(kind));
    shoal_gguf_put_f32(b, key(c, "rope.scaling.factor", room), (float)rope->factor);
    if (rope->kind == SHOAL_ROPE_YARN)
        shoal_gguf_put_u32(b, key(c, "rope.scaling.original_context_length", room),
                           (uint32_t)rope->original_context);
    return SHOAL_OK;
}

/* Of the MLP, or of the experts that a token goes through: what stands for one's own size in files
 * that do not say it. Mixtral's are the MLP. */
static int64_t feed_forward(const conversion *c)
{
    const shoal_layer *l = &c->source.model->layers[0];
    const bool apart = l->mlp == SHOAL_MLP_EXPERTS && !family_of(c->source.model)->pairs;
    return apart ? l->intermediate * l->experts_per_token : l->intermediate;
}

/* What programs that read GGUF do not ask about, they know of an architecture. */
static shoal_status check_experts(const conversion *c)
{
    const shoal_model *m = c->source.model;
    const bool renormalizes = strcmp(m->family, "qwen2_moe") != 0;
    for (int64_t i = 0; i < m->layer_count; i++)
        if (m->layers[i].mlp != SHOAL_MLP_EXPERTS)
            return shoal_fail(SHOAL_ERR_DATA,
                              "%s: layer %lld has no experts, and GGUF has all layers of %s with "
                              "them",
                              c->request->source, (long long)i, m->family);
    if (m->layers[0].renormalize_experts == renormalizes)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA, "%s: norm_topk_prob is %s, which GGUF has no form for in %s",
                      c->request->source, renormalizes ? "false" : "true", m->family);
}

static shoal_status put_experts(const conversion *c, shoal_gguf_builder *b)
{
    char room[96];
    const shoal_layer *l = &c->source.model->layers[0];
    if (shoal_roles_find(c->source.model->family)->expert[0] == NULL)
        return SHOAL_OK;
    SHOAL_TRY(check_experts(c));
    shoal_gguf_put_u32(b, key(c, "expert_count", room), (uint32_t)l->experts);
    shoal_gguf_put_u32(b, key(c, "expert_used_count", room), (uint32_t)l->experts_per_token);
    shoal_gguf_put_u32(b, key(c, "expert_feed_forward_length", room), (uint32_t)l->intermediate);
    if (l->shared_intermediate)
        shoal_gguf_put_u32(b, key(c, "expert_shared_feed_forward_length", room),
                           (uint32_t)l->shared_intermediate);
    return SHOAL_OK;
}

static shoal_status put_metadata(const conversion *c, shoal_gguf_builder *b)
{
    char room[96];
    const shoal_model *m = c->source.model;
    const char *architecture = family_of(m)->architecture;
    shoal_gguf_put_string(b, "general.architecture", architecture, strlen(architecture));
    shoal_gguf_put_u32(b, "general.file_type", shoal_gguf_target_of(&c->target)->file_type);
    shoal_gguf_put_u32(b, "general.quantization_version", 2);
    shoal_gguf_put_u32(b, key(c, "context_length", room), (uint32_t)m->context);
    shoal_gguf_put_u32(b, key(c, "embedding_length", room), (uint32_t)m->hidden);
    shoal_gguf_put_u32(b, key(c, "block_count", room), (uint32_t)m->layer_count);
    shoal_gguf_put_u32(b, key(c, "feed_forward_length", room), (uint32_t)feed_forward(c));
    shoal_gguf_put_u32(b, key(c, "attention.head_count", room), (uint32_t)m->heads);
    shoal_gguf_put_u32(b, key(c, "attention.head_count_kv", room), (uint32_t)m->kv_heads);
    shoal_gguf_put_u32(b, key(c, "attention.key_length", room), (uint32_t)m->head_dim);
    shoal_gguf_put_u32(b, key(c, "attention.value_length", room), (uint32_t)m->head_dim);
    shoal_gguf_put_f32(b, key(c, "attention.layer_norm_rms_epsilon", room), m->norm_eps);
    shoal_gguf_put_u32(b, key(c, "vocab_size", room), (uint32_t)m->vocab);
    if (m->layers[0].window > 0)
        shoal_gguf_put_u32(b, key(c, "attention.sliding_window", room),
                           (uint32_t)m->layers[0].window);
    SHOAL_TRY(put_experts(c, b));
    return put_rope(c, b);
}

/* ---- tensors ---- */

/* Number of the type of a tensor: of its blocks, or of its elements. */
static uint32_t type_number(const conversion *c, const shoal_convert_item *item)
{
    static const struct {
        shoal_dtype dtype;
        uint32_t number;
    } floats[] = {{SHOAL_F32, 0}, {SHOAL_F16, 1}, {SHOAL_BF16, 30}};
    const shoal_written_module *m = item->module >= 0 ? &c->plan->modules[item->module] : NULL;
    if (m && m->form.kind != SHOAL_WEIGHT_FLOAT)
        return shoal_gguf_target_of(&c->target)->type;
    const shoal_dtype dtype = m ? m->form.dtype : SHOAL_F32;
    size_t i = 0;
    while (floats[i].dtype != dtype)
        i++;
    return floats[i].number;
}

/* An expert's linear lies among those of all experts of its layer: the first one declares them,
 * `merged` being their places then. */
static shoal_status put_expert(conversion *c, shoal_gguf_builder *b, size_t item,
                               uint64_t merged[SHOAL_EXPERT_LINEARS])
{
    char name[96];
    const shoal_convert_item *it = &c->plan->items[item];
    const shoal_convert_item *first = it;
    const uint64_t bytes = c->plan->tensors[it->first].bytes;
    const shoal_writer_module *m = &c->plan->modules[it->module].module;
    const shoal_weight *w = m->weights[0];
    const int linear = (int)(w->role - SHOAL_ROLE_GATE), before = w->expert - 1;
    const int64_t experts = c->source.model->layers[w->layer].experts;
    first -= (ptrdiff_t)before * SHOAL_EXPERT_LINEARS;
    if (type_number(c, it) != type_number(c, first))
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s is stored unlike its layer's first expert, and GGUF "
                          "has them in one tensor",
                          m->name);
    shoal_gguf_experts_name(w->layer, linear, name, sizeof name);
    if (before == 0)
        shoal_gguf_put_planes(b, name, type_number(c, it), experts, m->n, m->k,
                              bytes * (uint64_t)experts, &merged[linear]);
    c->extents[item] = (shoal_st_extent){merged[linear] + (uint64_t)before * bytes, bytes};
    return SHOAL_OK;
}

static shoal_status put_one(conversion *c, shoal_gguf_builder *b, size_t at)
{
    char name[SHOAL_TENSOR_NAME_MAX];
    const shoal_convert_item *item = &c->plan->items[at];
    const shoal_convert_tensor *tensor = &c->plan->tensors[item->first];
    const shoal_written_module *m = item->module >= 0 ? &c->plan->modules[item->module] : NULL;
    const shoal_weight *w = m ? m->module.weights[0] : item->weight;
    const bool bias = !m && item->vector == w->bias;
    if ((bias && w->expert != 0) ||
        !shoal_roles_module(shoal_roles_gguf(), &shoal_roles_parts[0], w, name, sizeof name - 8))
        return shoal_fail(SHOAL_ERR_DATA, "%s has no name in GGUF", tensor->decl.name);
    (void)snprintf(name + strlen(name), 8, "%s", bias ? ".bias" : ".weight");
    const int64_t count = m ? m->module.k : item->vector->shape[0];
    const bool matrix = m && w->role != SHOAL_ROLE_SHARED_ROUTER;
    shoal_gguf_put_tensor(b, name, type_number(c, item), matrix ? m->module.n : 0, count,
                          tensor->bytes, &c->extents[at].offset);
    c->extents[at].bytes = tensor->bytes;
    return SHOAL_OK;
}

static shoal_status put_tensors(conversion *c, shoal_gguf_builder *b)
{
    uint64_t merged[SHOAL_EXPERT_LINEARS] = {0};
    for (size_t i = 0; i < c->plan->item_count; i++) {
        const int module = c->plan->items[i].module;
        const bool expert = module >= 0 && c->plan->modules[module].module.weights[0]->expert > 0;
        c->plan->tensors[c->plan->items[i].first].place = i;
        SHOAL_TRY(expert ? put_expert(c, b, i, merged) : put_one(c, b, i));
    }
    c->written = b->tensor_count + (c->factors ? 1 : 0);
    if (!c->factors)
        return SHOAL_OK;
    const uint64_t bytes = (uint64_t)c->source.model->ropes[0].dim / 2 * sizeof(float);
    shoal_st_extent *extent = &c->extents[c->plan->item_count];
    shoal_gguf_put_tensor(b, "rope_freqs.weight", 0, 0, c->source.model->ropes[0].dim / 2, bytes,
                          &extent->offset);
    extent->bytes = bytes;
    return SHOAL_OK;
}

/* What each frequency is divided by. */
static shoal_status make_factors(conversion *c)
{
    const shoal_rope *rope = &c->source.model->ropes[0];
    void *factors;
    if (rope->kind != SHOAL_ROPE_LLAMA3 && !rope->factors)
        return SHOAL_OK;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)rope->dim / 2, sizeof(float), &factors));
    c->factors = factors;
    for (int64_t i = 0; i < rope->dim / 2; i++)
        c->factors[i] = rope->factors ? rope->factors[i] : shoal_rope_llama3_factor(rope, i);
    return SHOAL_OK;
}

/* ---- the run ---- */

static void advance(void *context, uint64_t elements)
{
    const conversion *c = context;
    if (c->listener->progress)
        c->listener->progress(c->listener->context, c->done + elements, c->plan->work);
}

static shoal_status write_items(conversion *c, shoal_st_writer *writer)
{
    shoal_convert_desk desk = {0};
    shoal_status st = SHOAL_OK;
    for (size_t i = 0; i < c->plan->item_count && st == SHOAL_OK; i++) {
        shoal_convert_item *item = &c->plan->items[i];
        st = shoal_convert_item_write(c->plan, item, writer, c->pool, &desk, advance, c);
        c->done += item->work;
        if (st == SHOAL_OK && c->listener->tell)
            c->listener->tell(c->listener->context, c->plan->tensors[item->first].decl.name,
                              &item->loss);
    }
    SHOAL_TRY(shoal_convert_item_flush(c->plan, writer, &desk, st));
    if (!c->factors)
        return SHOAL_OK;
    const uint64_t index = c->plan->item_count;
    return shoal_st_writer_put(writer, index, 0, c->factors, c->extents[index].bytes);
}

/* The vocabulary: as another GGUF file has it, or from a folder's tokenizer. */
static shoal_status put_vocab(const conversion *c, shoal_gguf_builder *b)
{
    static const char family[] = "tokenizer.";
    const shoal_gguf *gguf = shoal_checkpoint_gguf(c->source.checkpoint);
    if (!gguf)
        return shoal_gguf_put_vocab(c->request->source, c->source.model, b);
    for (size_t i = 0; i < shoal_gguf_entries(gguf); i++) {
        const shoal_gguf_entry *entry = shoal_gguf_entry_at(gguf, i);
        if (entry->key.bytes >= strlen(family) &&
            memcmp(entry->key.data, family, strlen(family)) == 0)
            shoal_gguf_put_entry(b, entry);
    }
    return SHOAL_OK;
}

static shoal_status make_header(conversion *c, uint8_t **header, uint64_t *bytes)
{
    shoal_gguf_builder b = {0};
    shoal_status st = put_metadata(c, &b);
    if (st == SHOAL_OK)
        st = put_vocab(c, &b);
    if (st == SHOAL_OK)
        st = put_tensors(c, &b);
    if (st == SHOAL_OK)
        st = shoal_gguf_builder_finish(&b, header, bytes);
    shoal_gguf_builder_free(&b);
    return st;
}

static shoal_status write_gguf(conversion *c)
{
    uint8_t *header;
    uint64_t bytes;
    shoal_st_writer *writer;
    SHOAL_TRY(make_header(c, &header, &bytes));
    shoal_status st = shoal_st_writer_create_raw(c->request->destination, header, bytes, c->extents,
                                                 c->extent_count, &writer);
    shoal_free(header);
    SHOAL_TRY(st);
    st = write_items(c, writer);
    if (st == SHOAL_OK)
        st = shoal_checkpoint_verify_unchanged(c->source.checkpoint);
    if (st == SHOAL_OK)
        st = shoal_convert_read_back(&c->source, c->request->source,
                                     shoal_st_writer_temporary(writer));
    if (st != SHOAL_OK) {
        shoal_st_writer_abandon(writer);
        return st;
    }
    const double begin = shoal_seconds_now();
    st = shoal_st_writer_finish(writer);
    c->sync_seconds = shoal_seconds_now() - begin;
    return st;
}

static shoal_status open_source(conversion *c)
{
    const shoal_convert_request *r = c->request;
    void *block;
    SHOAL_TRY(shoal_convert_source_open(r->source, r->quantize, r->keep, &c->source));
    const family_row *family = family_of(c->source.model);
    if (!family || c->source.model->rope_count > 1)
        return shoal_fail(SHOAL_ERR_DATA, "%s: models of family %s are not written as GGUF",
                          r->source, c->source.model->family);
    c->target = r->target;
    c->target.row = family->pairs ? paired_row : NULL;
    c->target.head_dim = c->source.model->head_dim;
    SHOAL_TRY(shoal_convert_plan_make(c->source.manifest, &c->target, UINT64_MAX, &c->plan));
    SHOAL_TRY(make_factors(c));
    c->extent_count = c->plan->item_count + (c->factors ? 1 : 0);
    SHOAL_TRY(
        shoal_alloc_array(SHOAL_MEM_OTHER, c->plan->item_count + 1, sizeof *c->extents, &block));
    c->extents = block;
    return shoal_pool_create(r->threads, true, &c->pool);
}

static void release(conversion *c)
{
    if (c->pool)
        shoal_pool_destroy(c->pool);
    shoal_free(c->extents);
    shoal_free(c->factors);
    shoal_convert_plan_free(c->plan);
    shoal_convert_source_close(&c->source);
}

static void report(const conversion *c, shoal_convert_result *out)
{
    *out = (shoal_convert_result){.consumed = c->plan->consumed,
                                  .written = c->written,
                                  .bytes = c->plan->bytes,
                                  .read = shoal_checkpoint_bytes_read(c->source.checkpoint),
                                  .largest = shoal_convert_plan_largest(c->plan),
                                  .sync_seconds = c->sync_seconds,
                                  .files = 1,
                                  .loss = shoal_convert_plan_loss(c->plan)};
}

shoal_status shoal_convert_gguf(const shoal_convert_request *request,
                                const shoal_convert_listener *listener, shoal_convert_result *out)
{
    conversion c = {.request = request, .listener = listener};
    struct stat info;
    shoal_status st = SHOAL_OK;
    if (stat(request->destination, &info) == 0)
        return shoal_fail(SHOAL_ERR_CREATE, "%s exists already", request->destination);
    SHOAL_TRY_GOTO(open_source(&c), done);
    SHOAL_TRY_GOTO(write_gguf(&c), done);
    report(&c, out);
done:
    release(&c);
    return st;
}
