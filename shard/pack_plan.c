/* shard/pack_plan.c - see pack_plan.h. */
#include "shard/pack_plan.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/digest.h"
#include "shard/convert_config.h"
#include "shard/convert_folder.h"
#include "shard/convert_read.h"
#include "shard/regular_file.h"
#include "shard/slices.h"

#define TEXT_MAX (256ull << 20)

/* ---- tensors ---- */

/* Is K of the module cut between workers? */
static bool is_cut(const shoal_manifest *manifest, const shoal_writer_module *module)
{
    const shoal_weight *w = module->weights[0];
    return w->role == SHOAL_ROLE_DOWN ||
           (w->role == SHOAL_ROLE_O && !shoal_slice_o_gathered(manifest, w->layer));
}

/* The unit of the MLP or expert that a weight belongs to. */
static int64_t unit_of(const shoal_plan_shape *shape, const shoal_weight *weight)
{
    if (weight->expert == SHOAL_EXPERT_SHARED)
        return shape->shared.unit;
    return weight->expert ? shape->experts.unit : shape->unit;
}

/* Outputs or inputs that no plan divides. */
static int64_t step_of(const shoal_pack_plan *p, const shoal_writer_module *module, bool cut)
{
    switch (module->weights[0]->role) {
    case SHOAL_ROLE_Q:
    case SHOAL_ROLE_K:
    case SHOAL_ROLE_V: return p->shape.head_dim;
    case SHOAL_ROLE_O: return cut ? p->shape.head_dim : SHOAL_PANEL;
    case SHOAL_ROLE_GATE:
    case SHOAL_ROLE_UP:
    case SHOAL_ROLE_DOWN: return unit_of(&p->shape, module->weights[0]);
    default: return SHOAL_PANEL;
    }
}

static shoal_pack_linear linear_of(const shoal_pack_plan *p, const shoal_writer_module *module)
{
    const shoal_weight *w = module->weights[0];
    const bool cut = is_cut(p->plan->manifest, module);
    const bool is_float = w->kind == SHOAL_WEIGHT_FLOAT;
    return (shoal_pack_linear){
        .n = module->n,
        .k = module->k,
        .along_k = cut,
        .step = shoal_min_i64(step_of(p, module, cut), cut ? module->k : module->n),
        .kind = w->kind,
        .bits = module->bits,
        .group = is_float ? module->k : w->group,
        .source_group = w->quantized_at_load ? (w->group < w->k ? w->group : -1) : w->source_group,
        .has_zeros = w->has_zeros,
        .has_mins = w->has_mins,
        .zero_const = w->zero_const,
        .act_order = w->act_order,
        .per_token = w->per_token,
        .dtype = w->dtype,
    };
}

static shoal_status name_of(shoal_pack_plan *p, const char *head, const char *tail,
                            const char **out)
{
    void *text;
    const size_t room = strlen(head) + strlen(tail) + 1;
    SHOAL_TRY(shoal_arena_alloc(p->arena, room, &text));
    (void)snprintf(text, room, "%s%s", head, tail);
    *out = text;
    return SHOAL_OK;
}

static void add(shoal_pack_plan *p, shoal_pack_entry entry)
{
    entry.runs = (entry.bytes + entry.run_bytes - 1) / entry.run_bytes;
    entry.digest = p->digest_count;
    p->digest_count += entry.runs;
    p->entries[p->count++] = entry;
}

static shoal_status add_runs(shoal_pack_plan *p, const shoal_writer_module *module)
{
    shoal_pack_entry e = {.kind = SHOAL_PACKED_RUNS,
                          .module = module,
                          .dtype = SHOAL_U8,
                          .rank = 1,
                          .linear = linear_of(p, module)};
    SHOAL_TRY(name_of(p, module->name, ".pack", &e.name));
    if (!shoal_pack_measure(&e.linear, &e.run_bytes, &e.bytes))
        return shoal_fail(SHOAL_ERR_DATA, "%s is too large", module->name);
    e.shape[0] = (int64_t)e.bytes;
    add(p, e);
    if (!e.linear.act_order)
        return SHOAL_OK;
    shoal_pack_entry order = {.kind = SHOAL_PACKED_ORDER,
                              .module = module,
                              .dtype = SHOAL_I32,
                              .rank = 1,
                              .shape = {module->k},
                              .bytes = 4 * (uint64_t)module->k,
                              .run_bytes = 4 * (uint64_t)module->k};
    SHOAL_TRY(name_of(p, module->name, ".pack_order", &order.name));
    add(p, order);
    return SHOAL_OK;
}

static shoal_status add_module(shoal_pack_plan *p, const shoal_writer_module *module)
{
    const shoal_weight *w = module->weights[0];
    if (w->kind != SHOAL_WEIGHT_FLOAT || is_cut(p->plan->manifest, module))
        return add_runs(p, module);
    const uint64_t row = (uint64_t)module->k * shoal_dtype_bytes(w->dtype);
    shoal_pack_entry e = {.kind = SHOAL_PACKED_ROWS,
                          .module = module,
                          .dtype = w->dtype,
                          .rank = 2,
                          .shape = {module->n, module->k},
                          .bytes = (uint64_t)module->n * row,
                          .run_bytes = row};
    SHOAL_TRY(name_of(p, module->name, ".weight", &e.name));
    add(p, e);
    return SHOAL_OK;
}

static shoal_status add_vector(shoal_pack_plan *p, const shoal_convert_item *item)
{
    const shoal_tensor *t = item->vector;
    const uint64_t bytes = (uint64_t)t->shape[0] * shoal_dtype_bytes(t->dtype);
    add(p,
        (shoal_pack_entry){.kind = SHOAL_PACKED_VECTOR,
                           .name = p->plan->tensors[item->first].decl.name,
                           .vector = t,
                           .added = shoal_convert_norm_offset(p->plan->manifest, item->weight, t),
                           .dtype = t->dtype,
                           .rank = 1,
                           .shape = {t->shape[0]},
                           .bytes = bytes,
                           .run_bytes = bytes});
    return SHOAL_OK;
}

static shoal_status add_tensors(shoal_pack_plan *p)
{
    void *block;
    SHOAL_TRY(shoal_slices_shape(p->plan->manifest, &p->shape));
    SHOAL_TRY(shoal_arena_array(p->arena, 2 * p->plan->item_count, sizeof *p->entries, &block));
    p->entries = block;
    for (size_t i = 0; i < p->plan->item_count; i++) {
        const shoal_convert_item *item = &p->plan->items[i];
        SHOAL_TRY(item->module >= 0 ? add_module(p, &p->plan->modules[item->module].module)
                                    : add_vector(p, item));
    }
    SHOAL_TRY(shoal_arena_array(p->arena, p->digest_count, SHOAL_XXH128_BYTES, &block));
    p->digests = block;
    return SHOAL_OK;
}

/* ---- texts ---- */

/* `data` is the plan's whatever comes back. */
static shoal_status add_text(shoal_pack_plan *p, const char *name, char *data, uint64_t bytes)
{
    char *copy;
    shoal_status st;
    void *texts = p->texts;
    SHOAL_TRY_GOTO(shoal_realloc_array(SHOAL_MEM_TEXT, p->text_count + 1, sizeof *p->texts, &texts),
                   fail);
    p->texts = texts;
    SHOAL_TRY_GOTO(shoal_strdup(SHOAL_MEM_TEXT, name, &copy), fail);
    p->texts[p->text_count++] = (shoal_pack_blob){copy, data, bytes};
    return SHOAL_OK;

fail:
    shoal_free(data);
    return st;
}

/* Everything that other files say of the model, too: token ids, what became of a tied output. */
static shoal_status complete_config(const shoal_pack_plan *p, json_t *config)
{
    const shoal_model *model = p->plan->manifest->model;
    const shoal_weight *head = shoal_manifest_weight(p->plan->manifest, -1, SHOAL_ROLE_LM_HEAD);
    for (int i = 0; i < model->rope_count; i++)
        if (model->ropes[i].factors)
            return shoal_fail(SHOAL_ERR_DATA,
                              "the file has factors of rope frequencies of its own (rope_freqs), "
                              "which a config cannot say");
    json_t *eos = json_array();
    for (int i = 0; i < model->eos_count; i++)
        json_array_append_new(eos, json_integer(model->eos[i]));
    if (model->eos_count > 0)
        json_object_set(config, "eos_token_id", eos);
    json_decref(eos);
    if (model->bos >= 0)
        json_object_set_new(config, "bos_token_id", json_integer(model->bos));
    if (model->tied && head->kind != SHOAL_WEIGHT_FLOAT)
        json_object_set_new(config, "tie_word_embeddings", json_false());
    return SHOAL_OK;
}

static shoal_status add_config(shoal_pack_plan *p, const char *source)
{
    json_t *config;
    char *copy = NULL;
    SHOAL_TRY(shoal_convert_config(p->plan, source, NULL, &config));
    shoal_status st = complete_config(p, config);
    char *text = json_dumps(config, JSON_INDENT(1));
    json_decref(config);
    if (st == SHOAL_OK && !text)
        st = shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for config.json");
    if (st == SHOAL_OK)
        st = shoal_strdup(SHOAL_MEM_TEXT, text, &copy);
    if (st == SHOAL_OK)
        st = add_text(p, "config.json", copy, strlen(copy));
    free(text); /* jansson allocates it with malloc */
    return st;
}

static shoal_status add_file(void *context, const char *path, const char *name)
{
    shoal_pack_plan *p = context;
    shoal_regular_file file;
    void *data = NULL;
    SHOAL_TRY(shoal_regular_open(path, &file));
    shoal_status st = SHOAL_OK;
    if (file.bytes > TEXT_MAX)
        st = shoal_fail(SHOAL_ERR_DATA, "%s: %llu bytes are no text of a model", path,
                        (unsigned long long)file.bytes);
    if (st == SHOAL_OK)
        st = shoal_alloc(SHOAL_MEM_TEXT, file.bytes, &data);
    if (st == SHOAL_OK)
        st = shoal_regular_read(&file, path, 0, file.bytes, data);
    if (st == SHOAL_OK)
        st = add_text(p, name, data, file.bytes);
    else
        shoal_free(data);
    shoal_regular_close(&file);
    return st;
}

/* ---- the header ---- */

static json_t *digest_json(const void *data, uint64_t bytes)
{
    uint8_t digest[SHOAL_XXH128_BYTES];
    char hex[2 * SHOAL_XXH128_BYTES + 1];
    shoal_xxh128(data, bytes, digest);
    shoal_hex(digest, sizeof digest, hex);
    return json_string(hex);
}

static json_t *linear_json(const shoal_pack_linear *l)
{
    return json_pack("{s:I, s:I, s:b, s:I, s:i, s:i, s:I, s:I, s:b, s:b, s:i, s:b, s:b, s:s}", "n",
                     (json_int_t)l->n, "k", (json_int_t)l->k, "along_k", l->along_k, "step",
                     (json_int_t)l->step, "kind", (int)l->kind, "bits", l->bits, "group",
                     (json_int_t)l->group, "source_group", (json_int_t)l->source_group, "zeros",
                     l->has_zeros, "mins", l->has_mins, "zero", (int)l->zero_const, "act_order",
                     l->act_order, "per_token", l->per_token, "dtype", shoal_dtype_name(l->dtype));
}

static json_t *tensors_json(const shoal_pack_plan *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->count; i++) {
        const shoal_pack_entry *e = &p->entries[i];
        json_t *shape = json_array();
        for (int d = 0; d < e->rank; d++)
            json_array_append_new(shape, json_integer((json_int_t)e->shape[d]));
        json_t *tensor = json_pack("{s:s, s:s, s:o}", "name", e->name, "dtype",
                                   shoal_dtype_name(e->dtype), "shape", shape);
        if (e->kind == SHOAL_PACKED_RUNS)
            json_object_set_new(tensor, "linear", linear_json(&e->linear));
        else
            json_object_set_new(tensor, "run", json_integer((json_int_t)e->run_bytes));
        json_array_append_new(list, tensor);
    }
    return list;
}

static json_t *texts_json(const shoal_pack_plan *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->text_count; i++)
        json_array_append_new(list, json_pack("{s:s, s:I, s:o}", "name", p->texts[i].name, "bytes",
                                              (json_int_t)p->texts[i].bytes, "xxh3",
                                              digest_json(p->texts[i].data, p->texts[i].bytes)));
    return list;
}

static uint64_t padded(uint64_t bytes)
{
    return (bytes + SHOAL_PACK_ALIGN - 1) / SHOAL_PACK_ALIGN * SHOAL_PACK_ALIGN;
}

shoal_status shoal_pack_header(const shoal_pack_plan *p, char **out)
{
    void *block;
    json_t *root =
        json_pack("{s:s, s:O, s:I, s:o, s:o, s:o}", "layout", SHOAL_PACK_LAYOUT, "sources",
                  p->sources, "digests", (json_int_t)p->digest_count, "digests_xxh3",
                  digest_json(p->digests, p->digest_count * SHOAL_XXH128_BYTES), "texts",
                  texts_json(p), "tensors", tensors_json(p));
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (!text)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for the header of a pack file");
    const uint64_t bytes = strlen(text);
    const shoal_status st = shoal_alloc(SHOAL_MEM_CHECKPOINT, padded(bytes) + 1, &block);
    if (st == SHOAL_OK) {
        memset(block, ' ', padded(bytes));
        memcpy(block, text, bytes);
        *out = block;
    }
    free(text); /* jansson allocates it with malloc */
    return st;
}

/* ---- all together ---- */

static shoal_status add_sources(shoal_pack_plan *p)
{
    const shoal_checkpoint *checkpoint = p->plan->manifest->checkpoint;
    p->sources = json_array();
    for (int i = 0; i < shoal_checkpoint_files(checkpoint); i++) {
        uint8_t digest[SHOAL_SHA256_BYTES];
        char hex[2 * SHOAL_SHA256_BYTES + 1];
        const char *path = shoal_checkpoint_file(checkpoint, i), *slash = strrchr(path, '/');
        SHOAL_TRY(shoal_sha256_file(path, digest));
        shoal_hex(digest, sizeof digest, hex);
        json_array_append_new(
            p->sources, json_pack("{s:s, s:s}", "name", slash ? slash + 1 : path, "sha256", hex));
    }
    return SHOAL_OK;
}

static shoal_status place(shoal_pack_plan *p)
{
    char *header;
    SHOAL_TRY(shoal_pack_header(p, &header));
    p->header_bytes = strlen(header);
    shoal_free(header);
    p->bytes = SHOAL_PACK_PREAMBLE + p->header_bytes + p->digest_count * SHOAL_XXH128_BYTES;
    for (size_t i = 0; i < p->text_count; i++)
        p->bytes += p->texts[i].bytes;
    for (size_t i = 0; i < p->count; i++) {
        p->entries[i].offset = p->bytes;
        p->bytes += p->entries[i].bytes;
    }
    return SHOAL_OK;
}

static shoal_status make(shoal_pack_plan *p, const char *source)
{
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &p->arena));
    SHOAL_TRY(add_tensors(p));
    SHOAL_TRY(add_config(p, source));
    SHOAL_TRY(shoal_convert_visit_files(source, add_file, p));
    SHOAL_TRY(add_sources(p));
    return place(p);
}

shoal_status shoal_pack_plan_make(shoal_convert_plan *plan, const char *source,
                                  shoal_pack_plan *out)
{
    *out = (shoal_pack_plan){.plan = plan};
    const shoal_status st = make(out, source);
    if (st != SHOAL_OK)
        shoal_pack_plan_free(out);
    return st;
}

void shoal_pack_plan_free(shoal_pack_plan *p)
{
    for (size_t i = 0; i < p->text_count; i++) {
        shoal_free(p->texts[i].name);
        shoal_free(p->texts[i].data);
    }
    shoal_free(p->texts);
    json_decref(p->sources);
    if (p->arena)
        shoal_arena_destroy(p->arena);
    *p = (shoal_pack_plan){0};
}
