#include "coordinator/text/template_run.h"

static shoal_value *find(const shoal_scope *scope, shoal_text name)
{
    for (size_t i = 0; i < scope->count; i++)
        if (shoal_text_equal(scope->variables[i].name, name))
            return &scope->variables[i].value;
    return NULL;
}

shoal_status shoal_scope_set(shoal_run *run, shoal_scope *scope, shoal_text name,
                             const shoal_value *value)
{
    shoal_value *present = find(scope, name);
    void *variables = scope->variables;
    if (present) {
        *present = *value;
        return SHOAL_OK;
    }
    SHOAL_TRY(shoal_heap_grow(&run->heap, scope->count, sizeof *scope->variables, &variables,
                              &scope->capacity));
    scope->variables = variables;
    scope->variables[scope->count++] = (shoal_variable){name, *value};
    return SHOAL_OK;
}

/* What the template does not define itself: variables of the caller, variables of the model,
 * functions. */
static shoal_status find_outside(shoal_run *run, shoal_text name, shoal_value *out)
{
    const shoal_builtin *function = shoal_function_find(name);
    const shoal_value no_self = {0};
    const json_t *json = json_object_getn(run->variables, name.data, name.bytes);
    if (!json)
        json = json_object_getn(run->defaults, name.data, name.bytes);
    if (json)
        return shoal_value_from_json(&run->heap, json, out);
    if (function)
        return shoal_bound_make(&run->heap, function, &no_self, out);
    *out = shoal_undefined(name);
    return SHOAL_OK;
}

shoal_status shoal_scope_get(shoal_run *run, shoal_text name, shoal_value *out)
{
    for (const shoal_scope *scope = run->scope; scope; scope = scope->parent) {
        const shoal_value *value = find(scope, name);
        SHOAL_TRY(shoal_heap_work(&run->heap, scope->count));
        if (value) {
            *out = *value;
            return SHOAL_OK;
        }
    }
    SHOAL_TRY(find_outside(run, name, out));
    /* Looked up and converted once. */
    return out->kind == SHOAL_VALUE_UNDEFINED ? SHOAL_OK
                                              : shoal_scope_set(run, &run->root, name, out);
}
