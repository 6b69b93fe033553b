#include <math.h>

#include "coordinator/text/grammar/schema_compiler.h"
#include "proto/bytes.h"

/* What one part demands of element `at`. */
static shoal_status demand_element(shoal_schema_compiler *c, int32_t part, size_t at,
                                   shoal_ids *demands)
{
    const json_t *json = shoal_schema_json(c, part);
    const bool value = part % 4 == SHOAL_DEMAND_EQUAL;
    const json_t *element = json_array_get(value ? json : json_object_get(json, "prefixItems"), at);
    shoal_demand_kind kind = SHOAL_DEMAND_SCHEMA;
    int32_t demand;
    if (value && element)
        kind = SHOAL_DEMAND_EQUAL;
    else if (value)
        element = json_false();
    else if (!element)
        element = json_object_get(json, "items");
    if (!element)
        return SHOAL_OK;
    SHOAL_TRY(shoal_schema_demand(c, element, kind, &demand));
    return shoal_ids_push(demands, demand);
}

static shoal_status rule_of_element(shoal_schema_compiler *c, const shoal_ids *parts, size_t at,
                                    int32_t *rule)
{
    shoal_ids demands = {0};
    shoal_status st = shoal_dfa_pool_spend(&c->pool, 4 + 4 * parts->count);
    for (size_t i = 0; i < parts->count && st == SHOAL_OK; i++)
        st = demand_element(c, parts->data[i], at, &demands);
    if (st == SHOAL_OK)
        st = shoal_schema_rule(c, &demands, rule);
    shoal_ids_free(&demands);
    return st;
}

static void narrow_counts(const json_t *json, shoal_grammar_array *array)
{
    const json_t *least = json_object_get(json, "minItems");
    const json_t *most = json_object_get(json, "maxItems");
    if (json_is_array(json)) {
        array->least_count = shoal_max_i64(array->least_count, (int64_t)json_array_size(json));
        array->most_count = shoal_min_i64(array->most_count, (int64_t)json_array_size(json));
    }
    if (least && json_number_value(least) > (double)array->least_count)
        array->least_count = (int64_t)fmin(json_number_value(least), INT32_MAX);
    if (most && json_number_value(most) < (double)array->most_count)
        array->most_count = (int64_t)json_number_value(most);
}

shoal_status shoal_schema_add_array(shoal_schema_compiler *c, const shoal_ids *parts)
{
    shoal_grammar *g = c->grammar;
    size_t prefix = 0;
    int32_t rule;
    shoal_grammar_array array = {.items = (int32_t)g->items.count, .most_count = INT32_MAX};
    for (size_t i = 0; i < parts->count; i++) {
        const json_t *json = shoal_schema_json(c, parts->data[i]);
        const json_t *first = json_is_array(json) ? json : json_object_get(json, "prefixItems");
        if (json_array_size(first) > prefix)
            prefix = json_array_size(first);
        narrow_counts(json, &array);
    }
    for (size_t at = 0; at < prefix; at++) {
        SHOAL_TRY(rule_of_element(c, parts, at, &rule));
        SHOAL_TRY(shoal_ids_push(&g->items, rule));
    }
    array.item_count = (int32_t)prefix;
    SHOAL_TRY(rule_of_element(c, parts, prefix, &array.rest));
    return shoal_grammar_add_array(g, array);
}
