/* Configs of a small model, with changes: what the tests of model descriptions begin with. */
#ifndef SHOAL_TESTS_UNIT_MODEL_CASE_H
#define SHOAL_TESTS_UNIT_MODEL_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "shard/model.h"

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])

/* A config that every family takes, with the members of `changes` put over it; the value "-"
 * removes a member. The caller frees the text. */
static inline char *make_config(const char *family, const char *changes)
{
    static const char base[] =
        "{\"hidden_size\": 128, \"num_hidden_layers\": 4, \"num_attention_heads\": 4,"
        " \"num_key_value_heads\": 2, \"head_dim\": 32, \"intermediate_size\": 256,"
        " \"vocab_size\": 320, \"max_position_embeddings\": 256, \"rms_norm_eps\": 1e-05,"
        " \"rope_theta\": 10000.0, \"torch_dtype\": \"bfloat16\", \"bos_token_id\": 1,"
        " \"eos_token_id\": 2}";
    json_error_t error;
    json_t *config = json_loads(base, 0, &error);
    json_t *over = json_loads(changes, JSON_REJECT_DUPLICATES, &error);
    if (!over)
        fail_msg("%s: %s", changes, error.text);
    json_object_set_new(config, "model_type", json_string(family));
    json_object_update(config, over);
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(config, next, key, value)
    {
        if (json_is_string(value) && strcmp(json_string_value(value), "-") == 0)
            json_object_del(config, key);
    }
    char *text = json_dumps(config, 0);
    json_decref(over);
    json_decref(config);
    return text;
}

static inline shoal_status parse(const char *family, const char *changes, shoal_model **out)
{
    char *text = make_config(family, changes);
    const shoal_status st = shoal_model_parse(text, strlen(text), "config.json", out);
    free(text);
    return st;
}

static inline shoal_model *must_parse(const char *family, const char *changes)
{
    shoal_model *m = NULL;
    if (parse(family, changes, &m) != SHOAL_OK)
        fail_msg("%s %s: %s", family, changes, shoal_error_text());
    return m;
}

#endif
