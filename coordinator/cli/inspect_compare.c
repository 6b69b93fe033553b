#include "coordinator/cli/inspection.h"
#include "coordinator/cli/report.h"
#include "shard/compare.h"

/* What is found on the way. */
typedef struct {
    json_t *differences;
    shoal_table *table;
    uint64_t elements, weights, differing;
} comparison;

static json_t *difference_json(const char *name, const shoal_difference *d)
{
    return json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:f}", "name", name, "presence",
                     d->presence, "elements", (json_int_t)d->count, "integers",
                     (json_int_t)d->codes, "scales", (json_int_t)d->scales, "minimums",
                     (json_int_t)d->minimums, "values", (json_int_t)d->values, "max_abs_error",
                     d->max_abs_error);
}

static shoal_status count_cell(shoal_table *table, uint64_t count)
{
    return count ? shoal_table_cell(table, "%llu", (unsigned long long)count)
                 : shoal_table_cell(table, "-");
}

static shoal_status difference_cells(shoal_table *table, const char *name,
                                     const shoal_difference *d)
{
    SHOAL_TRY(shoal_table_cell(table, "%s", name));
    SHOAL_TRY(shoal_table_cell(table, "%s", d->presence ? "only in one, or of another shape" : ""));
    SHOAL_TRY(count_cell(table, d->codes));
    SHOAL_TRY(count_cell(table, d->scales + d->minimums));
    SHOAL_TRY(count_cell(table, d->values));
    SHOAL_TRY(shoal_table_cell(table, "%llu", (unsigned long long)d->count));
    return shoal_table_cell(table, "%.3g", d->max_abs_error);
}

static shoal_status compare_one(comparison *c, const shoal_inspection *first,
                                const shoal_inspection *second, size_t index)
{
    char name[SHOAL_TENSOR_NAME_MAX];
    shoal_difference d;
    const shoal_weight *a = shoal_manifest_at(first->manifest, index);
    const shoal_weight *b = shoal_manifest_at(second->manifest, index);
    if (!a->present && !b->present)
        return SHOAL_OK;
    SHOAL_TRY(shoal_weight_compare(first->manifest, a, second->manifest, b, &d));
    c->weights++;
    c->elements += d.count;
    if (!shoal_differs(&d))
        return SHOAL_OK;
    c->differing++;
    shoal_weight_name(first->manifest, a->present ? a : b, name, sizeof name);
    json_array_append_new(c->differences, difference_json(name, &d));
    return difference_cells(c->table, name, &d);
}

static shoal_status compare_all(comparison *c, const shoal_inspection *first,
                                const shoal_inspection *second)
{
    shoal_progress progress;
    shoal_status st = SHOAL_OK;
    const size_t count = shoal_manifest_count(first->manifest);
    if (count != shoal_manifest_count(second->manifest))
        return shoal_fail(SHOAL_ERR_DATA, "%s has %lld layers, %s has %lld", first->path,
                          (long long)first->model->layer_count, second->path,
                          (long long)second->model->layer_count);
    shoal_progress_begin(&progress, "compare");
    for (size_t i = 0; st == SHOAL_OK && i < count; i++) {
        st = compare_one(c, first, second, i);
        shoal_progress_update(&progress, i + 1, count);
    }
    shoal_progress_end(&progress);
    return st;
}

static shoal_status report(const comparison *c, bool json)
{
    if (json)
        return shoal_report_json(json_pack("{s:b, s:I, s:I, s:O}", "equal", c->differing == 0,
                                           "weights", (json_int_t)c->weights, "elements",
                                           (json_int_t)c->elements, "differences", c->differences));
    if (c->differing)
        SHOAL_TRY(shoal_table_print(c->table));
    return shoal_report_text("%llu of %llu weights differ (%llu elements compared)\n",
                             (unsigned long long)c->differing, (unsigned long long)c->weights,
                             (unsigned long long)c->elements);
}

shoal_status shoal_inspect_compare(const shoal_inspection *first, const shoal_inspection *second)
{
    static const shoal_column columns[] = {
        {"weight", false}, {"", false},        {"integers", true},     {"scales", true},
        {"values", true},  {"elements", true}, {"largest error", true}};
    comparison c = {0};
    SHOAL_TRY(shoal_inspection_need(first));
    SHOAL_TRY(shoal_inspection_need(second));
    SHOAL_TRY(shoal_table_create(columns, sizeof columns / sizeof *columns, &c.table));
    c.differences = json_array();
    shoal_status st = compare_all(&c, first, second);
    if (st == SHOAL_OK)
        st = report(&c, shoal_option_bool(first->options, SHOAL_OPT_JSON));
    json_decref(c.differences);
    shoal_table_destroy(c.table);
    return st;
}
