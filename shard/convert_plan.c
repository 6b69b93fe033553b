/* shard/convert_plan.c - see convert_plan.h. */
#include "shard/convert_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/bytes.h"
#include "shard/convert_read.h"
#include "shard/dialect.h"
#include "shard/roles.h"

/* Everything that is needed only while the plan is made. */
typedef struct {
    shoal_convert_plan *plan;
    bool *consumed; /* by tensor index of the source */
} builder;

static bool is_matrix(const shoal_weight *weight)
{
    return weight->dialect != NULL;
}

static bool is_written(const shoal_convert_plan *plan, const shoal_weight *weight)
{
    return weight->present && !(weight->role == SHOAL_ROLE_LM_HEAD && plan->manifest->model->tied);
}

/* ---- the ledger of the source ---- */

static void consume(const builder *b, const shoal_tensor *tensor)
{
    if (!tensor)
        return;
    bool *seen = &b->consumed[shoal_checkpoint_index(b->plan->manifest->checkpoint, tensor)];
    b->plan->consumed += !*seen;
    *seen = true;
}

static void consume_weight(const builder *b, const shoal_weight *weight)
{
    for (int i = 0; i < SHOAL_PARTS_MAX; i++)
        consume(b, weight->parts[i]);
    consume(b, weight->bias);
}

/* ---- modules ---- */

/* Codes around 128 take all of a byte, however few of them there are (IQ4 of GGUF). */
static int bits_of(const shoal_weight *weight)
{
    if (weight->quantized_at_load)
        return weight->kind == SHOAL_WEIGHT_INT8 ? 8 : 4;
    const bool whole = weight->kind == SHOAL_WEIGHT_INT8 && weight->zero_const == 128;
    return whole ? 8 : weight->bits;
}

static shoal_status allocate(shoal_convert_plan *plan)
{
    void *block;
    const uint64_t places = shoal_manifest_count(plan->manifest);
    SHOAL_TRY(shoal_arena_array(plan->arena, places, sizeof *plan->modules, &block));
    plan->modules = block;
    SHOAL_TRY(shoal_arena_array(plan->arena, 2 * places, sizeof *plan->items, &block));
    plan->items = block;
    SHOAL_TRY(shoal_arena_array(plan->arena, (SHOAL_WRITER_PARTS_MAX + 1) * places,
                                sizeof *plan->tensors, &block));
    plan->tensors = block;
    return SHOAL_OK;
}

static shoal_status copy_text(shoal_convert_plan *plan, const char *head, const char *tail,
                              const char **out)
{
    const size_t room = strlen(head) + strlen(tail) + 1;
    void *text;
    SHOAL_TRY(shoal_arena_alloc(plan->arena, room, &text));
    (void)snprintf(text, room, "%s%s", head, tail);
    *out = text;
    return SHOAL_OK;
}

/* Put a linear into its module: a new one, or the last where both are stacked in one tensor. */
static shoal_status add_to_module(shoal_convert_plan *plan, const shoal_weight *weight)
{
    char name[SHOAL_TENSOR_NAME_MAX];
    shoal_writer_module *last =
        plan->module_count ? &plan->modules[plan->module_count - 1].module : NULL;
    shoal_weight_name(plan->manifest, weight, name, sizeof name);
    if (last && strcmp(last->name, name) == 0 && last->count < SHOAL_ROLE_LAYER_LINEARS) {
        last->weights[last->count++] = weight;
        last->n += weight->n;
        return SHOAL_OK;
    }
    shoal_written_module *m = &plan->modules[plan->module_count++];
    SHOAL_TRY(copy_text(plan, name, "", &m->module.name));
    m->module.weights[0] = weight;
    m->module.count = 1;
    m->module.n = weight->n;
    m->module.k = weight->k;
    m->module.bits = bits_of(weight);
    m->module.has_mins = weight->has_mins;
    m->has_bias = weight->bias != NULL;
    plan->items[plan->item_count++] =
        (shoal_convert_item){.module = (int)plan->module_count - 1, .loss = {true, 0}};
    if (weight->bias)
        plan->items[plan->item_count++] = (shoal_convert_item){
            .module = -1, .weight = weight, .vector = weight->bias, .loss = {true, 0}};
    return SHOAL_OK;
}

static shoal_status add_weight(const builder *b, const shoal_weight *weight)
{
    shoal_convert_plan *plan = b->plan;
    if (!is_written(plan, weight))
        return SHOAL_OK;
    if (weight->input_scale)
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s: a scale of a linear's inputs, which no form that is written "
                          "can hold",
                          weight->input_scale->name);
    consume_weight(b, weight);
    if (is_matrix(weight))
        return add_to_module(plan, weight);
    plan->items[plan->item_count++] = (shoal_convert_item){
        .module = -1, .weight = weight, .vector = weight->parts[0], .loss = {true, 0}};
    return SHOAL_OK;
}

/* ---- forms ---- */

static shoal_status choose_form(const shoal_convert_plan *plan, shoal_written_module *m)
{
    const shoal_weight *w = m->module.weights[0];
    const shoal_target *target = plan->target;
    const bool is_float = w->kind == SHOAL_WEIGHT_FLOAT;
    if (is_float && !target->writer->writes_floats) {
        m->form = shoal_form_float(&m->module, w->dtype);
        return SHOAL_OK;
    }
    if (w->role == SHOAL_ROLE_EMBEDDING && !target->writer->writes_floats) {
        m->form = shoal_form_float(&m->module, plan->manifest->model->dtype);
        return SHOAL_OK;
    }
    if (!is_float && !(w->has_mins ? target->writer->keeps_minimums : target->writer->any_zeros))
        SHOAL_TRY(shoal_convert_look(plan->manifest, &m->module));
    m->form = (shoal_form){.requantized = false};
    const shoal_status st = target->writer->form(target, &m->module, &m->form);
    if (st == SHOAL_OK || st != SHOAL_ERR_DATA || !m->form.requantized)
        return st;
    if (target->allow_requantize)
        return SHOAL_OK;
    char why[SHOAL_ERROR_MAX];
    (void)snprintf(why, sizeof why, "%s", shoal_error_text());
    return shoal_fail(st, "%s; --allow-requantize makes new codes, with a loss", why);
}

static shoal_status choose_forms(shoal_convert_plan *plan)
{
    size_t integers = 0;
    for (size_t i = 0; i < plan->module_count; i++) {
        SHOAL_TRY(choose_form(plan, &plan->modules[i]));
        integers += plan->modules[i].form.kind != SHOAL_WEIGHT_FLOAT;
    }
    if (integers == 0 && !plan->target->writer->writes_floats)
        return shoal_fail(SHOAL_ERR_DATA,
                          "nothing to write as %s: every linear is float; --quantize makes "
                          "integers of them",
                          plan->target->writer->name);
    return SHOAL_OK;
}

/* ---- tensors ---- */

static shoal_status add_tensor(shoal_convert_plan *plan, const char *module, const shoal_part *part)
{
    shoal_convert_tensor *t = &plan->tensors[plan->tensor_count++];
    SHOAL_TRY(copy_text(plan, module, part->suffix, &t->decl.name));
    t->decl.dtype = part->dtype;
    t->decl.rank = part->rank;
    t->bytes = shoal_dtype_bytes(part->dtype);
    for (int d = 0; d < part->rank; d++) {
        t->decl.shape[d] = part->shape[d];
        if (!shoal_mul_u64(t->bytes, (uint64_t)part->shape[d], &t->bytes))
            return shoal_fail(SHOAL_ERR_DATA, "tensor %s is too large", t->decl.name);
    }
    plan->bytes += t->bytes;
    return SHOAL_OK;
}

static shoal_status add_module_tensors(shoal_convert_plan *plan, shoal_convert_item *item)
{
    shoal_part parts[SHOAL_WRITER_PARTS_MAX];
    const shoal_written_module *m = &plan->modules[item->module];
    item->work = (uint64_t)(m->module.n * m->module.k);
    item->count = 1;
    if (m->form.kind == SHOAL_WEIGHT_FLOAT && !plan->target->writer->packs_floats)
        parts[0] = (shoal_part){".weight", m->form.dtype, 2, {m->module.n, m->module.k}};
    else
        item->count = plan->target->writer->parts(plan->target, &m->module, &m->form, parts);
    for (int i = 0; i < item->count; i++)
        SHOAL_TRY(add_tensor(plan, m->module.name, &parts[i]));
    return SHOAL_OK;
}

static shoal_status add_vector_tensor(shoal_convert_plan *plan, shoal_convert_item *item)
{
    char name[SHOAL_TENSOR_NAME_MAX];
    shoal_form form = {.dtype = item->vector->dtype};
    const shoal_writer_module none = {.k = 1};
    const bool is_bias = item->vector == item->weight->bias;
    if (plan->target->writer->writes_floats)
        SHOAL_TRY(plan->target->writer->form(plan->target, &none, &form));
    shoal_weight_name(plan->manifest, item->weight, name, sizeof name);
    item->work = (uint64_t)item->vector->shape[0];
    item->count = 1;
    const shoal_part part = {
        is_bias ? ".bias" : ".weight", form.dtype, 1, {item->vector->shape[0]}};
    return add_tensor(plan, name, &part);
}

static shoal_status add_tensors(shoal_convert_plan *plan)
{
    for (size_t i = 0; i < plan->item_count; i++) {
        shoal_convert_item *item = &plan->items[i];
        item->first = plan->tensor_count;
        SHOAL_TRY(item->module >= 0 ? add_module_tensors(plan, item)
                                    : add_vector_tensor(plan, item));
        plan->work += item->work;
    }
    return SHOAL_OK;
}

/* ---- files ---- */

static void deal_files(shoal_convert_plan *plan, uint64_t file_bytes)
{
    uint64_t filled = 0;
    int file = 0;
    for (size_t i = 0; i < plan->item_count; i++) {
        shoal_convert_item *item = &plan->items[i];
        uint64_t bytes = 0;
        for (int t = 0; t < item->count; t++)
            bytes += plan->tensors[item->first + (size_t)t].bytes;
        if (filled > 0 && filled + bytes > file_bytes) {
            file++;
            filled = 0;
        }
        filled += bytes;
        item->file = file;
    }
    plan->files = file + 1;
}

static int by_alignment_and_name(const void *a, const void *b)
{
    const shoal_convert_tensor *x = *(shoal_convert_tensor *const *)a;
    const shoal_convert_tensor *y = *(shoal_convert_tensor *const *)b;
    const size_t p = shoal_dtype_bytes(x->decl.dtype), q = shoal_dtype_bytes(y->decl.dtype);
    if (p != q)
        return p > q ? -1 : 1;
    return strcmp(x->decl.name, y->decl.name);
}

static shoal_status place_file(shoal_convert_plan *plan, int file)
{
    void *block;
    size_t count = 0;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, plan->tensor_count,
                                sizeof(shoal_convert_tensor *), &block));
    shoal_convert_tensor **of_file = block;
    for (size_t i = 0; i < plan->item_count; i++)
        for (int t = 0; plan->items[i].file == file && t < plan->items[i].count; t++)
            of_file[count++] = &plan->tensors[plan->items[i].first + (size_t)t];
    qsort(of_file, count, sizeof *of_file, by_alignment_and_name);
    for (size_t i = 0; i < count; i++)
        of_file[i]->place = i;
    shoal_free(block);
    return SHOAL_OK;
}

shoal_status shoal_convert_declare(const shoal_convert_plan *plan, int file,
                                   shoal_tensor_decl **decls, uint64_t *count)
{
    void *block;
    uint64_t n = 0;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, plan->tensor_count, sizeof **decls, &block));
    shoal_tensor_decl *out = block;
    for (size_t i = 0; i < plan->item_count; i++)
        for (int t = 0; plan->items[i].file == file && t < plan->items[i].count; t++, n++) {
            const shoal_convert_tensor *tensor = &plan->tensors[plan->items[i].first + (size_t)t];
            out[tensor->place] = tensor->decl;
        }
    *decls = out;
    *count = n;
    return SHOAL_OK;
}

/* A model of text and images would lose its images. */
static shoal_status check_text_only(const shoal_convert_plan *plan)
{
    const shoal_checkpoint *checkpoint = plan->manifest->checkpoint;
    for (size_t i = 0; plan->manifest->model->text_part && i < shoal_checkpoint_count(checkpoint);
         i++)
        if (shoal_roles_beside_text(shoal_checkpoint_at(checkpoint, i)->name))
            return shoal_fail(
                SHOAL_ERR_DATA,
                "tensor %s belongs to images; models with such a part are not written",
                shoal_checkpoint_at(checkpoint, i)->name);
    return SHOAL_OK;
}

/* ---- all together ---- */

static shoal_status build(const builder *b, uint64_t file_bytes)
{
    shoal_convert_plan *plan = b->plan;
    SHOAL_TRY(check_text_only(plan));
    SHOAL_TRY(allocate(plan));
    for (size_t i = 0; i < shoal_manifest_count(plan->manifest); i++)
        SHOAL_TRY(add_weight(b, shoal_manifest_at(plan->manifest, i)));
    SHOAL_TRY(choose_forms(plan));
    SHOAL_TRY(add_tensors(plan));
    deal_files(plan, file_bytes);
    for (int file = 0; file < plan->files; file++)
        SHOAL_TRY(place_file(plan, file));
    return SHOAL_OK;
}

shoal_status shoal_convert_plan_make(const shoal_manifest *manifest, const shoal_target *target,
                                     uint64_t file_bytes, shoal_convert_plan **out)
{
    shoal_status st;
    shoal_arena *arena;
    void *block, *consumed = NULL;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &arena));
    SHOAL_TRY_GOTO(shoal_arena_alloc(arena, sizeof(shoal_convert_plan), &block), fail);
    shoal_convert_plan *plan = block;
    *plan = (shoal_convert_plan){.manifest = manifest, .target = target, .arena = arena};
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_CHECKPOINT,
                                     shoal_checkpoint_count(manifest->checkpoint), sizeof(bool),
                                     &consumed),
                   fail);
    const builder b = {plan, consumed};
    SHOAL_TRY_GOTO(build(&b, file_bytes), fail);
    shoal_free(consumed);
    *out = plan;
    return SHOAL_OK;

fail:
    shoal_free(consumed);
    shoal_arena_destroy(arena);
    return st;
}

void shoal_convert_plan_free(shoal_convert_plan *plan)
{
    if (plan)
        shoal_arena_destroy(plan->arena);
}

shoal_loss shoal_convert_plan_loss(const shoal_convert_plan *plan)
{
    shoal_loss loss = {true, 0};
    for (size_t i = 0; i < plan->item_count; i++)
        loss = shoal_loss_join(loss, plan->items[i].loss);
    return loss;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t shoal_convert_plan_largest(const shoal_convert_plan *plan)
{
    uint64_t most = 0;
    for (size_t i = 0; i < plan->tensor_count; i++)
        most = larger(most, plan->tensors[i].bytes);
    for (size_t i = 0; i < plan->module_count; i++)
        for (int part = 0; part < SHOAL_PARTS_MAX; part++) {
            const shoal_tensor *tensor = plan->modules[i].module.weights[0]->parts[part];
            most = larger(most, tensor ? tensor->bytes : 0);
        }
    return most;
}
