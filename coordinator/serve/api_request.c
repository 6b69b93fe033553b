#include "coordinator/serve/api_request.h"

#include <string.h>

#include "coordinator/serve/api_body.h"
#include "coordinator/serve/api_chat.h"
#include "coordinator/serve/api_fields.h"
#include "coordinator/serve/api_ids.h"
#include "coordinator/serve/api_prompt.h"
#include "coordinator/serve/api_settings.h"
#include "coordinator/serve/api_tools.h"
#include "coordinator/serve/known_fields.h"
#include "coordinator/text/json_fields.h"
#include "proto/arena.h"

/* Text is what comes out; other wishes are well formed, so the answer is 422. */
static bool check_modalities(const shoal_fields *fields)
{
    json_t *list;
    if (!shoal_field_value(fields, "modalities", JSON_ARRAY, &list))
        return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *kind = json_string_value(json_array_get(list, i));
        if (!kind)
            return shoal_field_refuse(fields->error, SHOAL_CODE_TYPE, "modalities",
                                      "must be a list of strings");
        if (strcmp(kind, "text") != 0)
            return shoal_api_refuse(fields->error, 422, SHOAL_CODE_UNSUPPORTED, "modalities",
                                    "'%s' output is not supported.", kind);
    }
    return true;
}

/* Reasoning that the prompt has opened goes on in the answer; an answer that has a form is content
 * from its beginning. */
static bool read_speech(const shoal_api_context *context, const shoal_api_tools *tools,
                        const shoal_strbuf *prompt, shoal_api_request *out, shoal_api_error *error)
{
    const shoal_think_format *think =
        out->masks ? NULL : shoal_chat_template_style(context->chat)->think;
    out->speech = (shoal_speech_rules){
        .think = think,
        .thinking = shoal_speech_opened(think, prompt->data, prompt->bytes),
    };
    return shoal_api_bind_tools(context, tools, out, error);
}

static bool read_chat(const shoal_api_context *context, const shoal_fields *fields,
                      shoal_api_request *out)
{
    shoal_strbuf text = {0};
    shoal_api_tools tools;
    void *block;
    if (!shoal_api_read_settings(context, fields, out) || !check_modalities(fields) ||
        !shoal_api_read_tools(fields, &tools))
        return false;
    const shoal_status st = shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_api_prompt), &block);
    if (st != SHOAL_OK)
        return shoal_api_refuse_status(fields->error, st);
    out->prompts = block;
    out->prompt_count = 1;
    /* The template writes the special tokens, so none are added. */
    const bool read =
        shoal_api_render_chat(context, fields, &tools, &text) &&
        read_speech(context, &tools, &text, out, fields->error) &&
        shoal_api_encode(context, &text, 0, "messages", &out->prompts[0].ids, fields->error);
    shoal_strbuf_free(&text);
    if (read && out->prompts[0].ids.count == 0)
        return shoal_field_refuse(fields->error, SHOAL_CODE_VALUE, "messages",
                                  "must not give an empty prompt");
    return read && shoal_api_fit(context, "messages", out, fields->error);
}

static bool read_completion(const shoal_api_context *context, const shoal_fields *fields,
                            shoal_api_request *out)
{
    return shoal_field_bool(fields, "echo", &out->echo) &&
           shoal_api_read_settings(context, fields, out) &&
           shoal_api_read_prompts(context, fields, out) &&
           shoal_api_fit(context, "prompt", out, fields->error);
}

static bool parse(const shoal_api_context *context, bool chat, const char *body, size_t bytes,
                  shoal_api_request *out, shoal_api_error *error)
{
    *out = (shoal_api_request){0};
    json_t *json = shoal_api_open_body(context, chat ? SHOAL_FOR_CHAT : SHOAL_FOR_COMPLETION, body,
                                       bytes, error);
    if (!json)
        return false;
    const shoal_fields fields = {json, "", error};
    out->chat = chat;
    const bool read = (chat ? read_chat : read_completion)(context, &fields, out);
    if (!read)
        shoal_api_request_free(out);
    json_decref(json);
    return read;
}

bool shoal_api_parse_chat(const shoal_api_context *context, const char *body, size_t bytes,
                          shoal_api_request *out, shoal_api_error *error)
{
    return parse(context, true, body, bytes, out, error);
}

bool shoal_api_parse_completion(const shoal_api_context *context, const char *body, size_t bytes,
                                shoal_api_request *out, shoal_api_error *error)
{
    return parse(context, false, body, bytes, out, error);
}

void shoal_api_request_free(shoal_api_request *request)
{
    for (int i = 0; i < request->prompt_count; i++) {
        shoal_ids_free(&request->prompts[i].ids);
        shoal_strbuf_free(&request->prompts[i].text);
    }
    for (int i = 0; i < request->stop_count; i++)
        shoal_strbuf_free(&request->stops[i]);
    shoal_free(request->prompts);
    shoal_free(request->biases);
    shoal_strbuf_free(&request->forced);
    shoal_token_masks_release(request->masks);
    *request = (shoal_api_request){0};
}
