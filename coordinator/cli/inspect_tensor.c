#include <string.h>

#include "coordinator/cli/inspection.h"
#include "coordinator/cli/report.h"
#include "shard/dequant.h"

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

static json_t *linear_json(const shoal_inspection *i, const shoal_weight *weight,
                           const shoal_weight_summary *s)
{
    char name[SHOAL_TENSOR_NAME_MAX];
    shoal_weight_name(i->manifest, weight, name, sizeof name);
    json_t *report =
        json_pack("{s:s, s:s, s:i, s:s?, s:o, s:i, s:i, s:b, s:b}", "name", name, "role",
                  shoal_role_name(weight->role), "layer", weight->layer, "dialect",
                  shoal_inspection_dialect(weight), "shape", shoal_json_range(weight->n, weight->k),
                  "bits", weight->bits, "group_size", weight->source_group, "act_order",
                  weight->act_order, "bias", weight->bias != NULL);
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

/* Bars of the codes: one per code, or per 16 of 256. */
static shoal_status histogram_text(const shoal_weight_summary *s, const shoal_weight *weight)
{
    static const char bar[] = "################################################";
    const int step = weight->kind == SHOAL_WEIGHT_INT4 ? 1 : 16;
    uint64_t bins[16] = {0}, most = 1;
    for (int code = 0; code < 16 * step; code++)
        bins[code / step] += s->histogram[code];
    for (int b = 0; b < 16; b++)
        most = bins[b] > most ? bins[b] : most;
    for (int b = 0; b < 16; b++) {
        const int length = (int)((double)bins[b] / (double)most * (double)(sizeof bar - 1) + 0.5);
        if (step == 1)
            SHOAL_TRY(shoal_report_text("  %7d  ", b));
        else
            SHOAL_TRY(shoal_report_text("  %3d-%3d  ", b * step, b * step + step - 1));
        SHOAL_TRY(shoal_report_text("%-48.*s %10llu\n", length, bar, (unsigned long long)bins[b]));
    }
    return SHOAL_OK;
}

static shoal_status linear_text(const shoal_inspection *i, const shoal_weight *weight,
                                const shoal_weight_summary *s)
{
    char name[SHOAL_TENSOR_NAME_MAX];
    shoal_weight_name(i->manifest, weight, name, sizeof name);
    SHOAL_TRY(shoal_report_text(
        "%s: %s, [%lld, %lld], %s, %d bits%s%s\n", name, shoal_role_name(weight->role),
        (long long)weight->n, (long long)weight->k, shoal_inspection_dialect(weight), weight->bits,
        weight->act_order ? ", act-order" : "", weight->bias ? ", bias" : ""));
    if (weight->kind != SHOAL_WEIGHT_FLOAT) {
        SHOAL_TRY(histogram_text(s, weight));
        SHOAL_TRY(statistics_line("int_data", &s->codes));
        SHOAL_TRY(statistics_line("scale", &s->scales));
        SHOAL_TRY(statistics_line("zero_point", &s->zeros));
    }
    return statistics_line("value", &s->values);
}

static bool is_linear(const shoal_weight *weight)
{
    return weight && weight->dialect && weight->role != SHOAL_ROLE_EMBEDDING;
}

/* A name is that of a linear's module, of one of its tensors, or of any other tensor. */
static const shoal_weight *find_linear(const shoal_inspection *i, const char *name)
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

static shoal_status show_float(const shoal_inspection *i, const shoal_tensor *tensor)
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
    return shoal_report_json(json_pack("{s:s, s:s?, s:o, s:s, s:n, s:o}", "name", tensor->name,
                                       "role",
                                       i->roles[shoal_checkpoint_index(i->checkpoint, tensor)],
                                       "shape", shoal_inspect_shape(tensor), "dtype",
                                       shoal_dtype_name(tensor->dtype), "dialect", "value", value));
}

shoal_status shoal_inspect_tensor(const shoal_inspection *i, const char *name)
{
    shoal_weight_summary s;
    const shoal_weight *weight = find_linear(i, name);
    const shoal_tensor *tensor = shoal_checkpoint_find(i->checkpoint, name);
    if (!weight && !tensor)
        return shoal_fail(SHOAL_ERR_NOTFOUND, "%s has no tensor or linear named %s", i->path, name);
    if (!weight)
        return show_float(i, tensor);
    SHOAL_TRY(shoal_weight_summarize(i->manifest, weight, &s));
    if (shoal_option_bool(i->options, SHOAL_OPT_JSON))
        return shoal_report_json(linear_json(i, weight, &s));
    return linear_text(i, weight, &s);
}
