#include "coordinator/serve/api_ids.h"

#include <inttypes.h>

#include "coordinator/serve/api_fields.h"
#include "proto/bytes.h"

static bool check_id(const shoal_api_context *context, int64_t id, const char *name,
                     shoal_api_error *error)
{
    if (id >= 0 && id < context->vocab)
        return true;
    return shoal_api_refuse(error, 400, SHOAL_CODE_VALUE, name,
                            "'%s' must have token ids from 0 to %" PRId64 ", not %" PRId64 ".",
                            name, context->vocab - 1, id);
}

bool shoal_api_read_ids(const shoal_api_context *context, const json_t *list, const char *name,
                        shoal_ids *ids, shoal_api_error *error)
{
    const size_t count = json_array_size(list);
    const shoal_status st = shoal_ids_reserve(ids, count);
    if (st != SHOAL_OK)
        return shoal_api_refuse_status(error, st);
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(list, i);
        if (!json_is_integer(value))
            return shoal_field_refuse(error, SHOAL_CODE_TYPE, name, "must be a list of token ids");
        if (!check_id(context, json_integer_value(value), name, error))
            return false;
        ids->data[ids->count++] = (int32_t)json_integer_value(value);
    }
    return true;
}

bool shoal_api_encode(const shoal_api_context *context, const shoal_strbuf *text, unsigned flags,
                      const char *name, shoal_ids *ids, shoal_api_error *error)
{
    if (!context->tokenizer)
        return shoal_field_refuse(error, SHOAL_CODE_UNSUPPORTED, name,
                                  "must be token ids: this model has no tokenizer");
    const shoal_status st =
        shoal_tokenizer_encode(context->tokenizer, text->data, text->bytes, flags, ids);
    if (st == SHOAL_ERR_DATA)
        return shoal_api_refuse(error, 400, SHOAL_CODE_VALUE, name, "'%s': %s.", name,
                                shoal_error_text());
    if (st != SHOAL_OK)
        return shoal_api_refuse_status(error, st);
    for (size_t i = 0; i < ids->count; i++)
        if (!check_id(context, ids->data[i], name, error))
            return false;
    return true;
}

bool shoal_api_fit(const shoal_api_context *context, const char *name, shoal_api_request *out,
                   shoal_api_error *error)
{
    int64_t longest = 0;
    for (int i = 0; i < out->prompt_count; i++)
        longest = shoal_max_i64(longest, (int64_t)out->prompts[i].ids.count);
    if (longest >= context->context)
        return shoal_api_refuse(error, 400, "context_length_exceeded", name,
                                "The prompt has %" PRId64
                                " tokens and the context of this model is %" PRId64 ".",
                                longest, context->context);
    out->max_tokens = shoal_min_i64(out->max_tokens, context->context - longest);
    out->min_tokens = shoal_min_i64(out->min_tokens, out->max_tokens);
    return true;
}
