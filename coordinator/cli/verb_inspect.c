#include <stdio.h>
#include <string.h>

#include "coordinator/cli/report.h"
#include "coordinator/cli/run_request.h"
#include "coordinator/cli/verbs.h"
#include "shard/dequant.h"
#include "shard/dialect.h"

typedef struct {
    const shoal_options *options;
    shoal_checkpoint *checkpoint;
    shoal_model *model;
    shoal_manifest *manifest; /* NULL: the model cannot be read as one; see problem */
    shoal_status problem;
    char sentence[SHOAL_ERROR_MAX];
    const shoal_weight **owners; /* [tensors]: the weight that a tensor is part of, or NULL */
    const char **roles;          /* [tensors]: "q_proj", "q_proj.bias", ... or NULL         */
} inspection;

/* ---- opening --------------------------------------------------------------------------------- */

static shoal_status open_manifest(inspection *i)
{
    const shoal_manifest_options options = {shoal_option_text(i->options, SHOAL_OPT_QUANTIZE),
                                            shoal_option_text(i->options, SHOAL_OPT_KEEP)};
    SHOAL_TRY(shoal_model_open(i->options->operands[0], &i->model));
    return shoal_manifest_create(i->model, i->checkpoint, &options, &i->manifest);
}

static void own(inspection *i, const shoal_weight *weight, const shoal_tensor *tensor)
{
    if (!tensor)
        return;
    const size_t at = shoal_checkpoint_index(i->checkpoint, tensor);
    if (i->owners[at]) /* a tied lm_head is the embedding */
        return;
    i->owners[at] = weight;
    i->roles[at] = shoal_role_name(weight->role);
}

static void own_weight(inspection *i, int layer, shoal_role role)
{
    const shoal_weight *weight = shoal_manifest_weight(i->manifest, layer, role);
    if (!weight->present)
        return;
    for (int p = 0; p < SHOAL_PARTS_MAX; p++)
        own(i, weight, weight->parts[p]);
    own(i, weight, weight->bias);
}

/* A folder whose tensors can be listed is listed, even when no model can be made of it. */
static shoal_status open_all(inspection *i)
{
    void *array;
    SHOAL_TRY(shoal_checkpoint_open(i->options->operands[0], &i->checkpoint));
    const size_t count = shoal_checkpoint_count(i->checkpoint);
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, count, sizeof *i->owners, &array));
    i->owners = array;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, count, sizeof *i->roles, &array));
    i->roles = array;
    i->problem = open_manifest(i);
    (void)snprintf(i->sentence, sizeof i->sentence, "%s", shoal_error_text());
    if (i->problem != SHOAL_OK)
        return SHOAL_OK;
    for (int layer = 0; layer < (int)i->model->layer_count; layer++)
        for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_ALL; role++)
            own_weight(i, layer, role);
    for (shoal_role role = SHOAL_ROLE_EMBEDDING; role < SHOAL_ROLE_COUNT; role++)
        own_weight(i, -1, role);
    return SHOAL_OK;
}

static void release(inspection *i)
{
    shoal_free(i->owners);
    shoal_free(i->roles);
    if (i->manifest)
        shoal_manifest_destroy(i->manifest);
    if (i->model)
        shoal_model_close(i->model);
    if (i->checkpoint)
        shoal_checkpoint_close(i->checkpoint);
}

static shoal_status need_manifest(const inspection *i)
{
    return i->problem == SHOAL_OK ? SHOAL_OK : shoal_fail(i->problem, "%s", i->sentence);
}

/* ---- the list -------------------------------------------------------------------------------- */

static json_t *shape_json(const shoal_tensor *tensor)
{
    json_t *shape = json_array();
    for (int d = 0; d < tensor->rank; d++)
        json_array_append_new(shape, json_integer((json_int_t)tensor->shape[d]));
    return shape;
}

static const char *dialect_of(const shoal_weight *owner)
{
    return owner && owner->dialect ? owner->dialect->name : NULL;
}

static json_t *tensors_json(const inspection *i)
{
    json_t *list = json_array();
    for (size_t t = 0; t < shoal_checkpoint_count(i->checkpoint); t++) {
        const shoal_tensor *tensor = shoal_checkpoint_at(i->checkpoint, t);
        json_array_append_new(list, json_pack("{s:s, s:s?, s:o, s:s, s:s?}", "name", tensor->name,
                                              "role", i->roles[t], "shape", shape_json(tensor),
                                              "dtype", shoal_tensor_type_name(tensor), "dialect",
                                              dialect_of(i->owners[t])));
    }
    return list;
}

static json_t *quant_json(const inspection *i)
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
static json_t *kernels_json(const inspection *i)
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

static const char *format_of(const inspection *i)
{
    return shoal_checkpoint_gguf(i->checkpoint) ? "gguf" : "safetensors";
}

static shoal_status list_json(const inspection *i)
{
    return shoal_report_json(json_pack("{s:s, s:s?, s:o, s:i, s:I, s:s?, s:o, s:o}", "format",
                                       format_of(i), "family", i->model ? i->model->family : NULL,
                                       "quant", quant_json(i), "files",
                                       shoal_checkpoint_files(i->checkpoint), "bytes",
                                       (json_int_t)shoal_checkpoint_bytes(i->checkpoint), "problem",
                                       i->problem == SHOAL_OK ? NULL : i->sentence, "kernels",
                                       kernels_json(i), "tensors", tensors_json(i)));
}

static shoal_status tensor_row(shoal_table *table, const inspection *i, size_t t)
{
    char shape[160];
    const shoal_tensor *tensor = shoal_checkpoint_at(i->checkpoint, t);
    const char *dialect = dialect_of(i->owners[t]);
    shoal_tensor_shape_text(tensor, shape, sizeof shape);
    SHOAL_TRY(shoal_table_cell(table, "%s", tensor->name));
    SHOAL_TRY(shoal_table_cell(table, "%s", i->roles[t] ? i->roles[t] : "-"));
    SHOAL_TRY(shoal_table_cell(table, "%s", shape));
    SHOAL_TRY(shoal_table_cell(table, "%s", shoal_tensor_type_name(tensor)));
    return shoal_table_cell(table, "%s", dialect ? dialect : "-");
}

static shoal_status list_table(const inspection *i)
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

/* ---- one tensor ------------------------------------------------------------------------------ */

static json_t *statistics_json(const shoal_statistics *s)
{
    return json_pack("{s:I, s:f, s:f, s:f, s:f}", "count", (json_int_t)s->count, "min", s->min,
                     "max", s->max, "mean", s->mean, "std", s->deviation);
}

static json_t *first_json(const shoal_weight_summary *s, bool codes)
{
    json_t *list = json_array();
    for (int i = 0; i < s->first_count; i++)
        json_array_append_new(list, codes ? json_integer(s->first_codes[i])
                                          : json_real((double)s->first[i]));
    return list;
}

/* {"shape", statistics..., "first"} */
static json_t *part_json(const shoal_statistics *s, int64_t rows, int64_t columns, json_t *first)
{
    json_t *part = statistics_json(s);
    json_object_set_new(part, "shape", shoal_json_range(rows, columns));
    if (first)
        json_object_set_new(part, "first", first);
    return part;
}

static json_t *histogram_json(const shoal_weight_summary *s, const shoal_weight *weight)
{
    json_t *list = json_array();
    const int codes = weight->kind == SHOAL_WEIGHT_INT4 ? 16 : 256;
    for (int i = 0; i < codes; i++)
        json_array_append_new(list, json_integer((json_int_t)s->histogram[i]));
    return list;
}

static json_t *linear_json(const inspection *i, const shoal_weight *weight,
                           const shoal_weight_summary *s)
{
    char name[SHOAL_TENSOR_NAME_MAX];
    shoal_weight_name(i->manifest, weight, name, sizeof name);
    json_t *report = json_pack(
        "{s:s, s:s, s:i, s:s?, s:o, s:i, s:i, s:b, s:b}", "name", name, "role",
        shoal_role_name(weight->role), "layer", weight->layer, "dialect", dialect_of(weight),
        "shape", shoal_json_range(weight->n, weight->k), "bits", weight->bits, "group_size",
        weight->source_group, "act_order", weight->act_order, "bias", weight->bias != NULL);
    if (weight->kind != SHOAL_WEIGHT_FLOAT) {
        json_t *codes = part_json(&s->codes, weight->n, weight->k, first_json(s, true));
        json_object_set_new(codes, "histogram", histogram_json(s, weight));
        json_object_set_new(report, "int_data", codes);
        json_object_set_new(report, "scale", part_json(&s->scales, weight->n, s->groups, NULL));
        json_object_set_new(report, "zero_point", part_json(&s->zeros, weight->n, s->groups, NULL));
    }
    json_object_set_new(report, "value",
                        part_json(&s->values, weight->n, weight->k, first_json(s, false)));
    return report;
}

static shoal_status statistics_line(const char *what, const shoal_statistics *s)
{
    return shoal_report_text("  %-11s %llu values, %.6g to %.6g, mean %.6g, deviation %.6g\n", what,
                             (unsigned long long)s->count, s->min, s->max, s->mean, s->deviation);
}

static shoal_status linear_text(const inspection *i, const shoal_weight *weight,
                                const shoal_weight_summary *s)
{
    char name[SHOAL_TENSOR_NAME_MAX];
    shoal_weight_name(i->manifest, weight, name, sizeof name);
    SHOAL_TRY(shoal_report_text(
        "%s: %s, [%lld, %lld], %s, %d bits%s%s\n", name, shoal_role_name(weight->role),
        (long long)weight->n, (long long)weight->k, dialect_of(weight), weight->bits,
        weight->act_order ? ", act-order" : "", weight->bias ? ", bias" : ""));
    if (weight->kind != SHOAL_WEIGHT_FLOAT) {
        SHOAL_TRY(statistics_line("int_data", &s->codes));
        SHOAL_TRY(statistics_line("scale", &s->scales));
        SHOAL_TRY(statistics_line("zero_point", &s->zeros));
    }
    return statistics_line("value", &s->values);
}

static bool is_linear(const shoal_weight *weight)
{
    return weight && weight->dialect &&
           (weight->role < SHOAL_ROLE_LAYER_LINEARS || weight->role == SHOAL_ROLE_LM_HEAD);
}

/* A name is that of a linear's module, of one of its tensors, or of any other tensor. */
static const shoal_weight *find_linear(const inspection *i, const char *name)
{
    for (size_t t = 0; i->problem == SHOAL_OK && t < shoal_checkpoint_count(i->checkpoint); t++) {
        char module[SHOAL_TENSOR_NAME_MAX];
        const shoal_tensor *tensor = shoal_checkpoint_at(i->checkpoint, t);
        const shoal_weight *owner = i->owners[t];
        if (!is_linear(owner) || owner->bias == tensor)
            continue;
        shoal_weight_name(i->manifest, owner, module, sizeof module);
        const size_t length = strlen(module);
        if (strcmp(name, module) == 0 || strcmp(name, tensor->name) == 0 ||
            (strncmp(name, module, length) == 0 && strcmp(name + length, ".weight") == 0))
            return owner;
    }
    return NULL;
}

static shoal_status show_float(const inspection *i, const shoal_tensor *tensor)
{
    shoal_weight_summary s;
    if (!shoal_dtype_is_float(tensor->dtype))
        return shoal_fail(SHOAL_ERR_DATA,
                          "tensor %s is %s and part of no linear that can be read%s%s",
                          tensor->name, shoal_tensor_type_name(tensor),
                          i->problem == SHOAL_OK ? "" : ": ", i->sentence);
    SHOAL_TRY(shoal_tensor_summarize(i->checkpoint, tensor, &s));
    if (!shoal_option_bool(i->options, SHOAL_OPT_JSON)) {
        SHOAL_TRY(shoal_report_text("%s: %s\n", tensor->name, shoal_dtype_name(tensor->dtype)));
        return statistics_line("value", &s.values);
    }
    json_t *value = statistics_json(&s.values);
    json_object_set_new(value, "first", first_json(&s, false));
    return shoal_report_json(json_pack(
        "{s:s, s:s?, s:o, s:s, s:n, s:o}", "name", tensor->name, "role",
        i->roles[shoal_checkpoint_index(i->checkpoint, tensor)], "shape", shape_json(tensor),
        "dtype", shoal_dtype_name(tensor->dtype), "dialect", "value", value));
}

static shoal_status show_one(const inspection *i, const char *name)
{
    shoal_weight_summary s;
    const shoal_weight *weight = find_linear(i, name);
    const shoal_tensor *tensor = shoal_checkpoint_find(i->checkpoint, name);
    if (!weight && !tensor)
        return shoal_fail(SHOAL_ERR_NOTFOUND, "%s has no tensor or linear named %s",
                          i->options->operands[0], name);
    if (!weight)
        return show_float(i, tensor);
    SHOAL_TRY(shoal_weight_summarize(i->manifest, weight, &s));
    if (shoal_option_bool(i->options, SHOAL_OPT_JSON))
        return shoal_report_json(linear_json(i, weight, &s));
    return linear_text(i, weight, &s);
}

/* ---- the verb -------------------------------------------------------------------------------- */

static void show_progress(void *context, uint64_t done, uint64_t total)
{
    shoal_progress_update(context, done, total);
}

static shoal_status dequantize(const inspection *i, const char *path)
{
    shoal_progress progress;
    SHOAL_TRY(need_manifest(i));
    shoal_progress_begin(&progress, "dequant");
    const shoal_status st = shoal_dequant_file(i->manifest, path, show_progress, &progress);
    shoal_progress_end(&progress);
    SHOAL_TRY(st);
    if (!shoal_option_bool(i->options, SHOAL_OPT_JSON))
        return shoal_report_text("%s: all weights as fp32\n", path);
    return shoal_report_json(json_pack("{s:s, s:s, s:o}", "dequant", path, "format", "safetensors",
                                       "quant", quant_json(i)));
}

static shoal_status inspect(inspection *i)
{
    const shoal_options *o = i->options;
    SHOAL_TRY(open_all(i));
    if (shoal_option_given(o, SHOAL_OPT_DEQUANT))
        return dequantize(i, shoal_option_text(o, SHOAL_OPT_DEQUANT));
    if (o->operand_count > 1)
        return show_one(i, o->operands[1]);
    SHOAL_TRY(shoal_option_bool(o, SHOAL_OPT_JSON) ? list_json(i) : list_table(i));
    return need_manifest(i);
}

shoal_status shoal_verb_inspect(const shoal_options *options)
{
    inspection i = {.options = options};
    const shoal_status st = inspect(&i);
    release(&i);
    return st;
}
