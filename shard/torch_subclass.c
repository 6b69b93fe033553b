#include "shard/torch_subclass.h"

#include <stdio.h>
#include <string.h>

/* LinearActivationQuantizedTensor holds an AffineQuantizedTensor holds its implementation. */
#define NESTING_MAX   4
#define ATTRIBUTE_MAX 64

typedef struct {
    shoal_torch_file *file;
    shoal_tensor_subclass *subclass;
} taking;

static shoal_status fault(const taking *t, const char *what)
{
    (void)shoal_fail(SHOAL_ERR_DATA, "%s: tensor %.200s: %s", t->file->path, t->subclass->name,
                     what);
    return SHOAL_ERR_DATA;
}

/* ---- attributes ---- */

/* *out stays as it is where the value is no integer (None). */
static bool get_integer(const shoal_pickle *value, int64_t *out)
{
    if (!value || value->kind != SHOAL_PICKLE_INTEGER)
        return false;
    *out = value->as.integer;
    return true;
}

static bool is_said(const shoal_pickle *value)
{
    return value && value->kind != SHOAL_PICKLE_NONE;
}

/* An enum is made from its number. */
static shoal_status get_domain(const taking *t, const shoal_pickle *value)
{
    int64_t number;
    if (!is_said(value))
        return SHOAL_OK;
    if (!shoal_pickle_calls(value, SHOAL_GLOBAL_ENUM) ||
        !get_integer(shoal_pickle_argument(value, 0), &number) || number < SHOAL_ZERO_DOMAIN_INT ||
        number > SHOAL_ZERO_DOMAIN_NONE)
        return fault(t, "its zero_point_domain is unknown");
    t->subclass->domain = (shoal_zero_domain)number;
    return SHOAL_OK;
}

static shoal_status get_attributes(const taking *t, const shoal_pickle *state)
{
    shoal_tensor_subclass *s = t->subclass;
    const shoal_pickle *block = shoal_pickle_lookup(state, "block_size");
    const shoal_pickle *transposed = shoal_pickle_lookup(state, "transposed");
    if (is_said(block) && shoal_torch_numbers(block, s->block, 2) != 2)
        return fault(t, "its block_size is not two numbers");
    SHOAL_TRY(get_domain(t, shoal_pickle_lookup(state, "zero_point_domain")));
    if (get_integer(shoal_pickle_lookup(state, "quant_min"), &s->quant_min) &&
        get_integer(shoal_pickle_lookup(state, "quant_max"), &s->quant_max))
        s->has_range = true;
    if (transposed && transposed->kind == SHOAL_PICKLE_BOOL && transposed->as.integer)
        return fault(t, "its codes are transposed, which is not read");
    s->per_token = s->per_token ||
                   shoal_pickle_names(shoal_pickle_lookup(state, "input_quant_func"),
                                      SHOAL_GLOBAL_ACT_FUNCTION) ||
                   is_said(shoal_pickle_lookup(state, "act_quant_kwargs"));
    return SHOAL_OK;
}

/* ---- parts ---- */

static shoal_status part_name(const taking *t, const shoal_pickle *attribute, const char **out)
{
    char text[SHOAL_TENSOR_NAME_MAX + 1];
    void *copy;
    if (attribute->kind != SHOAL_PICKLE_TEXT || attribute->count > ATTRIBUTE_MAX)
        return fault(t, "an attribute without a proper name");
    for (uint32_t i = 0; i < attribute->count; i++)
        if (attribute->as.text[i] < '0' || attribute->as.text[i] > 'z')
            return fault(t, "an attribute without a proper name");
    if (!shoal_subclass_part_name(t->subclass->name, attribute->as.text, attribute->count, text,
                                  sizeof text))
        return fault(t, "a name of more than 1024 bytes");
    const size_t bytes = strlen(text) + 1;
    SHOAL_TRY(shoal_arena_alloc(t->file->arena, bytes, &copy));
    memcpy(copy, text, bytes);
    *out = copy;
    return SHOAL_OK;
}

/* (function, class, (class, dtype, size, ...), state) */
static shoal_status open_object(const taking *t, const shoal_pickle *value,
                                const shoal_pickle **state)
{
    const shoal_pickle *function = shoal_pickle_argument(value, 0);
    const shoal_pickle *type = shoal_pickle_argument(value, 1);
    const shoal_pickle *arguments = shoal_pickle_argument(value, 2);
    *state = shoal_pickle_argument(value, 3);
    if (!shoal_pickle_names(function, SHOAL_GLOBAL_WRAPPER_SUBCLASS) ||
        !shoal_pickle_names(type, SHOAL_GLOBAL_SUBCLASS) || !arguments ||
        arguments->kind != SHOAL_PICKLE_TUPLE || arguments->count < 3 || !*state ||
        (*state)->kind != SHOAL_PICKLE_DICT)
        return fault(t, "its class is stored in a form that is not read");
    t->subclass->type = type->as.global->name;
    if (t->subclass->rank == 0) { /* the outermost object has the shape of the weight */
        t->subclass->rank = shoal_torch_numbers(arguments->as.items[2], t->subclass->shape, 2);
        if (t->subclass->rank != 2)
            return fault(t, "a tensor class whose shape is not two sizes");
    }
    return get_attributes(t, *state);
}

shoal_status shoal_torch_subclass_add(shoal_torch_file *file, const char *name,
                                      const shoal_pickle *value)
{
    void *block;
    SHOAL_TRY(shoal_arena_alloc(file->arena, sizeof(shoal_tensor_subclass), &block));
    const taking t = {file, block};
    t.subclass->name = name;
    for (int depth = 0; value; depth++) {
        const shoal_pickle *state, *inner = NULL;
        if (depth == NESTING_MAX)
            return fault(&t, "tensor classes nested too deep");
        SHOAL_TRY(open_object(&t, value, &state));
        for (uint32_t i = 0; i < state->count; i += 2) {
            const shoal_pickle *attribute = state->as.items[i + 1], *call;
            const char *part;
            if (shoal_torch_tensor_find(attribute, &call)) {
                SHOAL_TRY(part_name(&t, state->as.items[i], &part));
                SHOAL_TRY(shoal_torch_tensor_add(file, part, call, t.subclass));
            } else if (shoal_pickle_calls(attribute, SHOAL_GLOBAL_REBUILD_SUBCLASS)) {
                if (inner)
                    return fault(&t, "a tensor class with two others in it");
                inner = attribute;
            }
        }
        value = inner;
    }
    return SHOAL_OK;
}
