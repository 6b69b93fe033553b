#include "coordinator/serve/api_prompt.h"

#include <stdio.h>

#include "coordinator/serve/api_ids.h"
#include "coordinator/text/json_fields.h"
#include "proto/arena.h"

static bool read_text(const shoal_api_context *context, const json_t *given, const char *name,
                      shoal_api_prompt *out, shoal_api_error *error)
{
    const shoal_status st =
        shoal_strbuf_append(&out->text, json_string_value(given), json_string_length(given));
    if (st != SHOAL_OK)
        return shoal_api_refuse_status(error, st);
    return out->text.bytes == 0 ||
           shoal_api_encode(context, &out->text, SHOAL_ENCODE_ADD_SPECIAL, name, &out->ids, error);
}

static bool read_ids(const shoal_api_context *context, const json_t *given, const char *name,
                     shoal_api_prompt *out, shoal_api_error *error)
{
    shoal_status st = SHOAL_OK;
    if (!shoal_api_read_ids(context, given, name, &out->ids, error))
        return false;
    /* A prompt beyond the context is refused soon, and its text may be many times the request. */
    if (context->tokenizer && (int64_t)out->ids.count < context->context)
        st = shoal_tokenizer_decode(context->tokenizer, out->ids.data, out->ids.count, true,
                                    &out->text);
    return st == SHOAL_OK || shoal_api_refuse_status(error, st);
}

static bool read_prompt(const shoal_api_context *context, const json_t *given, const char *name,
                        shoal_api_prompt *out, shoal_api_error *error)
{
    if (!json_is_string(given) && !json_is_array(given))
        return shoal_field_refuse(error, SHOAL_CODE_TYPE, name,
                                  "must be a string, a list of strings, a list of token ids or a "
                                  "list of such lists");
    if (!(json_is_string(given) ? read_text : read_ids)(context, given, name, out, error))
        return false;
    return out->ids.count > 0 ||
           shoal_field_refuse(error, SHOAL_CODE_VALUE, name, "must not be empty");
}

/* A list of numbers is one prompt. */
static bool is_many(const json_t *given)
{
    return json_array_size(given) > 0 && !json_is_number(json_array_get(given, 0));
}

bool shoal_api_read_prompts(const shoal_api_context *context, const shoal_fields *fields,
                            shoal_api_request *out)
{
    char name[SHOAL_FIELD_NAME_MAX];
    void *block;
    const json_t *given = shoal_json_member(fields->object, "prompt");
    if (!given)
        return shoal_field_refuse(fields->error, SHOAL_CODE_MISSING, "prompt", "is required");
    const bool many = is_many(given);
    const size_t count = many ? json_array_size(given) : 1;
    if (count > SHOAL_API_PROMPTS_MAX ||
        count * (size_t)out->best_of > (size_t)SHOAL_API_SEQUENCES_MAX)
        return shoal_api_refuse(fields->error, 400, SHOAL_CODE_VALUE, "prompt",
                                "'prompt' must be at most %d prompts, times 'n' or 'best_of' at "
                                "most %d.",
                                SHOAL_API_PROMPTS_MAX, SHOAL_API_SEQUENCES_MAX);
    const shoal_status st =
        shoal_alloc_array(SHOAL_MEM_TEXT, count, sizeof(shoal_api_prompt), &block);
    if (st != SHOAL_OK)
        return shoal_api_refuse_status(fields->error, st);
    out->prompts = block;
    out->prompt_count = (int)count;
    if (!many)
        return read_prompt(context, given, "prompt", &out->prompts[0], fields->error);
    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "prompt[%zu]", i);
        if (!read_prompt(context, json_array_get(given, i), name, &out->prompts[i], fields->error))
            return false;
    }
    return true;
}
