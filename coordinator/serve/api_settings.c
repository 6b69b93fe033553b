#include "coordinator/serve/api_settings.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/serve/api_format.h"
#include "coordinator/serve/api_ids.h"
#include "coordinator/text/json_fields.h"
#include "proto/arena.h"
#include "proto/bytes.h"

/* Of a completion whose client does not say. */
#define COMPLETION_TOKENS 16

/* ---- sampling ---- */

static const struct {
    const char *key;
    shoal_field_range range;
    size_t offset; /* in shoal_sampling */
    float absent;
} numbers[] = {
    {"temperature", {0, 2, false}, offsetof(shoal_sampling, temperature), 1},
    {"top_p", {0, 1, true}, offsetof(shoal_sampling, top_p), 1},
    {"min_p", {0, 1, false}, offsetof(shoal_sampling, min_p), 0},
    {"presence_penalty", {-2, 2, false}, offsetof(shoal_sampling, presence_penalty), 0},
    {"frequency_penalty", {-2, 2, false}, offsetof(shoal_sampling, frequency_penalty), 0},
    {"repetition_penalty", {0, 100, true}, offsetof(shoal_sampling, repetition_penalty), 1},
};

static bool read_sampling(const shoal_api_context *context, const shoal_fields *fields,
                          shoal_api_request *out)
{
    int64_t top_k = 0, seed = 0;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        float *number = (float *)((char *)&out->sampling + numbers[i].offset);
        *number = numbers[i].absent;
        if (!shoal_field_number(fields, numbers[i].key, numbers[i].range, number))
            return false;
    }
    if (!shoal_field_integer(fields, "top_k", -1, context->vocab, &top_k) ||
        !shoal_field_integer(fields, "seed", INT64_MIN, INT64_MAX, &seed))
        return false;
    out->sampling.top_k = (int32_t)shoal_max_i64(top_k, 0);
    out->sampling.seed = (uint64_t)seed;
    out->seed_given = shoal_json_member(fields->object, "seed") != NULL;
    return true;
}

/* One spelling per token, so that none is biased twice. */
static bool is_id(const char *text)
{
    const size_t digits = strspn(text, "0123456789");
    return digits >= 1 && digits <= 10 && text[digits] == '\0' && (text[0] != '0' || digits == 1);
}

static bool read_bias(const shoal_api_context *context, const char *key, const json_t *value,
                      shoal_step_bias *out, shoal_api_error *error)
{
    const double bias = json_number_value(value);
    const int64_t id = is_id(key) ? strtoll(key, NULL, 10) : -1;
    if (id < 0 || id >= context->vocab)
        return shoal_api_refuse(error, 400, SHOAL_CODE_VALUE, "logit_bias",
                                "'logit_bias' must have token ids from 0 to %" PRId64
                                " as keys, not '%.40s'.",
                                context->vocab - 1, key);
    if (!json_is_number(value))
        return shoal_field_refuse(error, SHOAL_CODE_TYPE, "logit_bias",
                                  "must have numbers as values");
    if (!(bias >= -100 && bias <= 100))
        return shoal_field_refuse(error, SHOAL_CODE_VALUE, "logit_bias",
                                  "must have values between -100 and 100");
    *out = (shoal_step_bias){(int32_t)id, (float)bias};
    return true;
}

static bool read_biases(const shoal_api_context *context, const shoal_fields *fields,
                        shoal_api_request *out)
{
    json_t *list, *value;
    const char *key;
    void *block;
    if (!shoal_field_value(fields, "logit_bias", JSON_OBJECT, &list))
        return false;
    const size_t count = json_object_size(list);
    if (count == 0)
        return true;
    if (count > SHOAL_API_BIASES_MAX)
        return shoal_api_refuse(fields->error, 400, SHOAL_CODE_VALUE, "logit_bias",
                                "'logit_bias' must have at most %d entries.", SHOAL_API_BIASES_MAX);
    const shoal_status st =
        shoal_alloc_array(SHOAL_MEM_TEXT, count, sizeof(shoal_step_bias), &block);
    if (st != SHOAL_OK)
        return shoal_api_refuse_status(fields->error, st);
    out->biases = block;
    json_object_foreach(list, key, value)
    {
        if (!read_bias(context, key, value, &out->biases[out->bias_count], fields->error))
            return false;
        out->bias_count++;
    }
    return true;
}

/* ---- stopping ---- */

static bool read_stop(const json_t *value, const char *name, shoal_api_request *out,
                      shoal_api_error *error)
{
    const size_t bytes = json_string_length(value);
    if (!json_is_string(value))
        return shoal_field_refuse(error, SHOAL_CODE_TYPE, name, "must be a string");
    if (bytes < 1 || bytes > SHOAL_API_STOP_BYTES_MAX)
        return shoal_api_refuse(error, 400, SHOAL_CODE_VALUE, name,
                                "'%s' must have between 1 and %d bytes.", name,
                                SHOAL_API_STOP_BYTES_MAX);
    const shoal_status st =
        shoal_strbuf_append(&out->stops[out->stop_count], json_string_value(value), bytes);
    if (st != SHOAL_OK)
        return shoal_api_refuse_status(error, st);
    out->stop_count++;
    return true;
}

static bool read_stops(const shoal_api_context *context, const shoal_fields *fields,
                       shoal_api_request *out)
{
    char name[SHOAL_FIELD_NAME_MAX];
    const json_t *stop = shoal_json_member(fields->object, "stop");
    if (!stop)
        return true;
    if (!context->tokenizer)
        return shoal_field_refuse(fields->error, SHOAL_CODE_UNSUPPORTED, "stop",
                                  "needs a tokenizer, and this model has none");
    if (!json_is_array(stop))
        return read_stop(stop, "stop", out, fields->error);
    if (json_array_size(stop) > SHOAL_API_STOPS_MAX)
        return shoal_api_refuse(fields->error, 400, SHOAL_CODE_VALUE, "stop",
                                "'stop' must have at most %d strings.", SHOAL_API_STOPS_MAX);
    for (size_t i = 0; i < json_array_size(stop); i++) {
        snprintf(name, sizeof name, "stop[%zu]", i);
        if (!read_stop(json_array_get(stop, i), name, out, fields->error))
            return false;
    }
    return true;
}

static bool read_stop_ids(const shoal_api_context *context, const shoal_fields *fields,
                          shoal_api_request *out)
{
    shoal_ids ids = {0};
    json_t *list;
    if (!shoal_field_value(fields, "stop_token_ids", JSON_ARRAY, &list))
        return false;
    if (json_array_size(list) > SHOAL_API_STOP_IDS_MAX)
        return shoal_api_refuse(fields->error, 400, SHOAL_CODE_VALUE, "stop_token_ids",
                                "'stop_token_ids' must have at most %d ids.",
                                SHOAL_API_STOP_IDS_MAX);
    const bool read = shoal_api_read_ids(context, list, "stop_token_ids", &ids, fields->error);
    if (read && ids.count) {
        memcpy(out->stop_ids, ids.data, ids.count * sizeof ids.data[0]);
        out->stop_id_count = (int)ids.count;
    }
    shoal_ids_free(&ids);
    return read;
}

static bool read_limits(const shoal_fields *fields, shoal_api_request *out)
{
    const int64_t least = out->echo ? 0 : 1;
    int64_t priority = 0;
    out->max_tokens = out->chat ? INT64_MAX : COMPLETION_TOKENS;
    if (!shoal_field_integer(fields, "max_tokens", least, INT64_MAX, &out->max_tokens))
        return false;
    if (out->chat &&
        !shoal_field_integer(fields, "max_completion_tokens", least, INT64_MAX, &out->max_tokens))
        return false;
    if (!shoal_field_integer(fields, "min_tokens", 0, out->max_tokens, &out->min_tokens) ||
        !shoal_field_integer(fields, "priority", INT32_MIN, INT32_MAX, &priority))
        return false;
    out->priority = (int32_t)priority;
    return shoal_field_bool(fields, "ignore_eos", &out->ignore_eos);
}

/* ---- answering ---- */

static bool read_stream(const shoal_fields *fields, shoal_api_request *out)
{
    json_t *options;
    if (!shoal_field_bool(fields, "stream", &out->stream) ||
        !shoal_field_value(fields, "stream_options", JSON_OBJECT, &options))
        return false;
    if (options && !out->stream)
        return shoal_field_refuse(fields->error, SHOAL_CODE_VALUE, "stream_options",
                                  "needs 'stream': true");
    const shoal_fields inner = {options, "stream_options.", fields->error};
    return !options || shoal_field_bool(&inner, "include_usage", &out->include_usage);
}

static bool read_choices(const shoal_fields *fields, shoal_api_request *out)
{
    int64_t n = 1;
    if (!shoal_field_integer(fields, "n", 1, SHOAL_API_CHOICES_MAX, &n))
        return false;
    int64_t best_of = n;
    if (!out->chat && !shoal_field_integer(fields, "best_of", n, SHOAL_API_CHOICES_MAX, &best_of))
        return false;
    if (out->stream && best_of != n)
        return shoal_field_refuse(fields->error, SHOAL_CODE_VALUE, "best_of",
                                  "must equal 'n' when 'stream' is true");
    out->n = (int)n;
    out->best_of = (int)best_of;
    return true;
}

/* Chat: a switch and a number; completions: a number is the switch, too. */
static bool read_logprobs(const shoal_fields *fields, shoal_api_request *out)
{
    const char *key = out->chat ? "top_logprobs" : "logprobs";
    int64_t top = 0;
    if (!shoal_field_integer(fields, key, 0, SHOAL_LOGPROBS_MAX, &top))
        return false;
    const bool given = shoal_json_member(fields->object, key) != NULL;
    out->logprobs = given && !out->chat;
    if (out->chat && !shoal_field_bool(fields, "logprobs", &out->logprobs))
        return false;
    if (given && !out->logprobs)
        return shoal_field_refuse(fields->error, SHOAL_CODE_VALUE, key, "needs 'logprobs': true");
    if (out->logprobs && out->echo)
        return shoal_field_refuse(fields->error, SHOAL_CODE_UNSUPPORTED, key,
                                  "is not supported together with 'echo'");
    out->top_logprobs = (int)top;
    out->sampling.logprobs = out->logprobs ? (int32_t)top : out->best_of > out->n ? 0 : -1;
    return true;
}

bool shoal_api_read_settings(const shoal_api_context *context, const shoal_fields *fields,
                             shoal_api_request *out)
{
    json_t *user;
    return shoal_field_value(fields, "user", JSON_STRING, &user) && read_stream(fields, out) &&
           read_choices(fields, out) && read_logprobs(fields, out) &&
           read_sampling(context, fields, out) && read_limits(fields, out) &&
           read_stops(context, fields, out) && read_stop_ids(context, fields, out) &&
           read_biases(context, fields, out) && shoal_api_read_format(context, fields, out);
}
