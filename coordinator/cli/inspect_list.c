#include <string.h>

#include "coordinator/cli/inspection.h"
#include "coordinator/cli/report.h"
#include "coordinator/cli/run_request.h"

json_t *shoal_inspect_shape(const shoal_tensor *tensor)
{
    json_t *shape = json_array();
    for (int d = 0; d < tensor->rank; d++)
        json_array_append_new(shape, json_integer((json_int_t)tensor->shape[d]));
    return shape;
}

static json_t *tensors_json(const shoal_inspection *i)
{
    json_t *list = json_array();
    for (size_t t = 0; t < shoal_checkpoint_count(i->checkpoint); t++) {
        const shoal_tensor *tensor = shoal_checkpoint_at(i->checkpoint, t);
        json_array_append_new(list,
                              json_pack("{s:s, s:s?, s:o, s:s, s:s?}", "name", tensor->name, "role",
                                        i->roles[t], "shape", shoal_inspect_shape(tensor), "dtype",
                                        shoal_tensor_type_name(tensor), "dialect",
                                        shoal_inspection_dialect(i->owners[t])));
    }
    return list;
}

json_t *shoal_inspect_quantization(const shoal_inspection *i)
{
    shoal_quantization q;
    if (!i->model || shoal_quantization_parse(i->model->quantization_json, &q) != SHOAL_OK ||
        q.method == SHOAL_METHOD_NONE)
        return json_pack("{s:s, s:n, s:n, s:n, s:n}", "method", "none", "bits", "group_size",
                         "symmetric", "desc_act");
    return json_pack("{s:s, s:i, s:i, s:b, s:b}", "method", shoal_method_name(q.method), "bits",
                     q.bits, "group_size", q.group, "symmetric", q.symmetric, "desc_act",
                     q.desc_act);
}

/* Rows that a single rank would use; null where no model can be made. */
static json_t *kernels_json(const shoal_inspection *i)
{
    shoal_plan_shape shape;
    shoal_plan plan;
    shoal_cpu_level cap;
    shoal_engine_kernel kernels[SHOAL_ENGINE_KERNELS_MAX];
    int count;
    if (i->problem != SHOAL_OK || shoal_slices_shape(i->manifest, &shape) != SHOAL_OK ||
        shoal_plan_make(&shape, 1, NULL, &plan) != SHOAL_OK ||
        shoal_cpu_cap(shoal_option_text(i->options, SHOAL_OPT_CPU), &cap) != SHOAL_OK)
        return json_null();
    const shoal_slicing slicing = {i->manifest, &plan, SHOAL_ACTIVATIONS_AUTO};
    if (shoal_predict_kernels(&slicing, cap, kernels, &count) != SHOAL_OK)
        return json_null();
    return shoal_json_kernels(kernels, count);
}

static const char *format_of(const shoal_inspection *i)
{
    if (shoal_checkpoint_pack(i->checkpoint))
        return "shoal-pack";
    return shoal_checkpoint_gguf(i->checkpoint) ? "gguf" : "safetensors";
}

shoal_status shoal_inspect_json(const shoal_inspection *i)
{
    return shoal_report_json(json_pack("{s:s, s:s?, s:o, s:i, s:I, s:s?, s:o, s:o}", "format",
                                       format_of(i), "family", i->model ? i->model->family : NULL,
                                       "quant", shoal_inspect_quantization(i), "files",
                                       shoal_checkpoint_files(i->checkpoint), "bytes",
                                       (json_int_t)shoal_checkpoint_bytes(i->checkpoint), "problem",
                                       i->problem == SHOAL_OK ? NULL : i->sentence, "kernels",
                                       kernels_json(i), "tensors", tensors_json(i)));
}

static shoal_status tensor_row(shoal_table *table, const shoal_inspection *i, size_t t)
{
    char shape[160];
    const shoal_tensor *tensor = shoal_checkpoint_at(i->checkpoint, t);
    const char *dialect = shoal_inspection_dialect(i->owners[t]);
    shoal_tensor_shape_text(tensor, shape, sizeof shape);
    SHOAL_TRY(shoal_table_cell(table, "%s", tensor->name));
    SHOAL_TRY(shoal_table_cell(table, "%s", i->roles[t] ? i->roles[t] : "-"));
    SHOAL_TRY(shoal_table_cell(table, "%s", shape));
    SHOAL_TRY(shoal_table_cell(table, "%s", shoal_tensor_type_name(tensor)));
    return shoal_table_cell(table, "%s", dialect ? dialect : "-");
}

shoal_status shoal_inspect_table(const shoal_inspection *i)
{
    static const shoal_column columns[] = {
        {"tensor", false}, {"role", false}, {"shape", false}, {"dtype", false}, {"dialect", false}};
    shoal_status st = SHOAL_OK;
    shoal_table *table;
    char bytes[32];
    SHOAL_TRY(shoal_table_create(columns, 5, &table));
    for (size_t t = 0; t < shoal_checkpoint_count(i->checkpoint); t++)
        SHOAL_TRY_GOTO(tensor_row(table, i, t), destroy);
    SHOAL_TRY_GOTO(shoal_table_print(table), destroy);
    shoal_format_bytes(shoal_checkpoint_bytes(i->checkpoint), bytes, sizeof bytes);
    st = shoal_report_text("%zu tensors in %d files, %s\n", shoal_checkpoint_count(i->checkpoint),
                           shoal_checkpoint_files(i->checkpoint), bytes);

destroy:
    shoal_table_destroy(table);
    return st;
}

/* ---- the page -------------------------------------------------------------------------------- */

/* Weights of one role that are stored alike. */
typedef struct {
    const shoal_weight *first;
    int64_t count, biases;
    uint64_t bytes;
} kind_row;

#define KINDS_MAX 256

static bool alike(const shoal_weight *a, const shoal_weight *b)
{
    return a->role == b->role && a->dialect == b->dialect && a->n == b->n && a->k == b->k &&
           a->bits == b->bits && a->source_group == b->source_group && a->dtype == b->dtype &&
           a->act_order == b->act_order;
}

static uint64_t stored_bytes(const shoal_weight *weight)
{
    uint64_t bytes = weight->bias ? weight->bias->bytes : 0;
    for (int p = 0; p < SHOAL_PARTS_MAX; p++)
        bytes += weight->parts[p] ? weight->parts[p]->bytes : 0;
    return bytes;
}

static void count_weight(kind_row *rows, int *count, const shoal_weight *weight)
{
    int r = 0;
    while (r < *count && !alike(rows[r].first, weight))
        r++;
    if (r == KINDS_MAX)
        return;
    if (r == *count)
        rows[(*count)++] = (kind_row){.first = weight};
    rows[r].count++;
    rows[r].biases += weight->bias != NULL;
    rows[r].bytes += stored_bytes(weight);
}

static void stored_as(const shoal_weight *w, char *out, size_t room)
{
    if (w->kind == SHOAL_WEIGHT_FLOAT)
        (void)snprintf(out, room, "%s", shoal_dtype_name(w->dtype));
    else if (w->quantized_at_load)
        (void)snprintf(out, room, "%s", w->dialect->name);
    else if (w->source_group > 0)
        (void)snprintf(out, room, "%s, %d bits, groups of %d%s", w->dialect->name, w->bits,
                       w->source_group, w->act_order ? ", act-order" : "");
    else
        (void)snprintf(out, room, "%s, %d bits, per output", w->dialect->name, w->bits);
}

static shoal_status kind_cells(shoal_table *table, const kind_row *row)
{
    char stored[96], bytes[32];
    const shoal_weight *w = row->first;
    stored_as(w, stored, sizeof stored);
    shoal_format_bytes(row->bytes, bytes, sizeof bytes);
    SHOAL_TRY(shoal_table_cell(table, "%s", shoal_role_name(w->role)));
    SHOAL_TRY(shoal_table_cell(table, "%lld", (long long)row->count));
    SHOAL_TRY(w->k ? shoal_table_cell(table, "%lld x %lld", (long long)w->n, (long long)w->k)
                   : shoal_table_cell(table, "%lld", (long long)w->n));
    SHOAL_TRY(shoal_table_cell(table, "%s", stored));
    SHOAL_TRY(row->biases ? shoal_table_cell(table, "%lld", (long long)row->biases)
                          : shoal_table_cell(table, "-"));
    return shoal_table_cell(table, "%s", bytes);
}

static shoal_status kinds_table(const kind_row *rows, int count)
{
    static const shoal_column columns[] = {{"role", false},     {"weights", true},
                                           {"shape", true},     {"stored as", false},
                                           {"with bias", true}, {"bytes", true}};
    shoal_status st = SHOAL_OK;
    shoal_table *table;
    SHOAL_TRY(shoal_table_create(columns, sizeof columns / sizeof *columns, &table));
    for (int r = 0; r < count; r++)
        SHOAL_TRY_GOTO(kind_cells(table, &rows[r]), destroy);
    st = shoal_table_print(table);

destroy:
    shoal_table_destroy(table);
    return st;
}

/* "MLP 768", or "8 of 128 experts of 768" of the last layer, which has them if any has. */
static void mlp_text(const shoal_model *m, char *out, size_t room)
{
    const shoal_layer *layer = &m->layers[m->layer_count - 1];
    if (layer->mlp == SHOAL_MLP_DENSE)
        (void)snprintf(out, room, "MLP %lld", (long long)layer->intermediate);
    else
        (void)snprintf(out, room, "%lld of %lld experts of %lld%s",
                       (long long)layer->experts_per_token, (long long)layer->experts,
                       (long long)layer->intermediate,
                       layer->shared_intermediate ? " and a shared one" : "");
}

static shoal_status head_lines(const shoal_inspection *i)
{
    char bytes[32], mlp[96];
    const shoal_model *m = i->model;
    shoal_format_bytes(shoal_checkpoint_bytes(i->checkpoint), bytes, sizeof bytes);
    SHOAL_TRY(shoal_report_text("%s: %s, %s, %zu tensors in %d file%s, %s\n", i->path, m->family,
                                format_of(i), shoal_checkpoint_count(i->checkpoint),
                                shoal_checkpoint_files(i->checkpoint),
                                shoal_checkpoint_files(i->checkpoint) == 1 ? "" : "s", bytes));
    mlp_text(m, mlp, sizeof mlp);
    return shoal_report_text(
        "%lld layers, hidden %lld, %s, %lld heads of %lld with %lld of keys and values, "
        "vocabulary %lld%s, context %lld\n",
        (long long)m->layer_count, (long long)m->hidden, mlp, (long long)m->heads,
        (long long)m->head_dim, (long long)m->kv_heads, (long long)m->vocab,
        m->tied ? " (tied)" : "", (long long)m->context);
}

shoal_status shoal_inspect_page(const shoal_inspection *i)
{
    kind_row rows[KINDS_MAX];
    int count = 0;
    if (i->problem != SHOAL_OK)
        return shoal_inspect_table(i);
    for (size_t w = 0; w < shoal_manifest_count(i->manifest); w++) {
        const shoal_weight *weight = shoal_manifest_at(i->manifest, w);
        if (weight->present && !(weight->role == SHOAL_ROLE_LM_HEAD && i->model->tied))
            count_weight(rows, &count, weight);
    }
    SHOAL_TRY(head_lines(i));
    SHOAL_TRY(kinds_table(rows, count));
    return shoal_report_text("--tensors lists every tensor; a name behind the model looks into "
                             "one\n");
}
