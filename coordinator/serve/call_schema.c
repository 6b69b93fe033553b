#include "coordinator/serve/call_schema.h"

#include <stdio.h>
#include <string.h>

/* "#/items/anyOf/511/properties/arguments" */
#define PREFIX_BYTES 64

json_t *shoal_arguments_schema(const json_t *function)
{
    const json_t *parameters = json_object_get(function, "parameters");
    if (json_object_size(parameters) == 0)
        return json_pack("{s:s, s:{}, s:b}", "type", "object", "properties", "additionalProperties",
                         0);
    json_t *schema = json_deep_copy(parameters);
    if (schema && json_object_set_new(schema, "type", json_string("object")) != 0) {
        json_decref(schema);
        return NULL;
    }
    (void)json_object_del(schema, "$id"); /* of a document that is now a part of another */
    return schema;
}

/* "#/$defs/x" meant the schema as a document of its own, which now stands below `prefix`. */
static bool move_reference(json_t *object, const char *prefix)
{
    const json_t *reference = json_object_get(object, "$ref");
    const char *text = json_string_value(reference);
    if (!text || text[0] != '#')
        return true;
    return json_object_set_new(object, "$ref", json_sprintf("%s%s", prefix, text + 1)) == 0;
}

static bool is_one_of(const char *key, const char *const *keywords, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(key, keywords[i]) == 0)
            return true;
    return false;
}

/* Keywords whose value is no schema, but an object of schemas; and those that hold plain values. */
static bool is_map(const char *key)
{
    static const char *const maps[] = {"$defs", "definitions", "patternProperties", "properties"};
    return is_one_of(key, maps, sizeof maps / sizeof maps[0]);
}

static bool is_value(const char *key)
{
    static const char *const values[] = {"const", "default", "enum", "example", "examples"};
    return is_one_of(key, values, sizeof values / sizeof values[0]);
}

/* Of a schema, a list of them, or (`map`) the schemas of an object whose names mean nothing. */
static bool move_references(json_t *schema, bool map, const char *prefix)
{
    const char *key;
    json_t *value;
    if (json_is_object(schema) && !map && !move_reference(schema, prefix))
        return false;
    json_object_foreach(schema, key, value)
    {
        if (!map && is_value(key))
            continue;
        if (!move_references(value, !map && is_map(key), prefix))
            return false;
    }
    for (size_t i = 0; i < json_array_size(schema); i++)
        if (!move_references(json_array_get(schema, i), false, prefix))
            return false;
    return true;
}

static json_t *call_schema(const json_t *function, size_t index)
{
    char prefix[PREFIX_BYTES];
    json_t *arguments = shoal_arguments_schema(function);
    (void)snprintf(prefix, sizeof prefix, "#/items/anyOf/%zu/properties/arguments", index);
    if (!arguments || !move_references(arguments, false, prefix)) {
        json_decref(arguments);
        return NULL;
    }
    return json_pack("{s:s, s:{s:{s:O}, s:o}, s:[s, s], s:b}", "type", "object", "properties",
                     "name", "const", json_object_get(function, "name"), "arguments", arguments,
                     "required", "name", "arguments", "additionalProperties", 0);
}

json_t *shoal_calls_schema(const json_t *tools, bool parallel)
{
    json_t *any = json_array();
    for (size_t i = 0; any && i < json_array_size(tools); i++) {
        const json_t *function = json_object_get(json_array_get(tools, i), "function");
        if (json_array_append_new(any, call_schema(function, i)) != 0) {
            json_decref(any);
            return NULL;
        }
    }
    return json_pack("{s:s, s:i, s:i, s:{s:o}}", "type", "array", "minItems", 1, "maxItems",
                     parallel ? SHOAL_REQUIRED_CALLS_MAX : 1, "items", "anyOf", any);
}
