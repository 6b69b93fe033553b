#include "coordinator/serve/known_fields.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/serve/api_fields.h"
#include "coordinator/text/utf8.h"
#include "proto/log.h"

/* What becomes of a known field. */
typedef enum {
    TAKEN,         /* somebody reads it, or it changes no answer ("user") */
    REFUSED,       /* whatever it says */
    REFUSED_TRUE,  /* false is what we do anyway */
    REFUSED_FALSE, /* true is what we do anyway */
} fate;

#define CHAT       SHOAL_FOR_CHAT
#define COMPLETION SHOAL_FOR_COMPLETION
#define BOTH       (CHAT | COMPLETION)
#define TOKENIZE   SHOAL_FOR_TOKENIZE
#define DETOKENIZE SHOAL_FOR_DETOKENIZE

typedef struct {
    const char *name;
    unsigned kinds;
    fate fate;
} field;

static const field table[] = {
    {"add_generation_prompt", CHAT | TOKENIZE, TAKEN},
    {"add_special", TOKENIZE, TAKEN},
    {"add_special_tokens", TOKENIZE, TAKEN},
    {"allowed_token_ids", BOTH, REFUSED},
    {"audio", CHAT, REFUSED},
    {"bad_words", BOTH, REFUSED},
    {"best_of", COMPLETION, TAKEN},
    {"chat_template", CHAT | TOKENIZE, REFUSED},
    {"chat_template_kwargs", CHAT | TOKENIZE, TAKEN},
    {"content", TOKENIZE, TAKEN},
    {"continue_final_message", CHAT | TOKENIZE, REFUSED_TRUE},
    {"echo", COMPLETION, TAKEN},
    {"echo", CHAT, REFUSED_TRUE},
    {"frequency_penalty", BOTH, TAKEN},
    {"function_call", CHAT, REFUSED},
    {"functions", CHAT, REFUSED},
    {"guided_choice", BOTH, TAKEN},
    {"guided_decoding_backend", BOTH, TAKEN},
    {"guided_grammar", BOTH, REFUSED},
    {"guided_json", BOTH, TAKEN},
    {"guided_regex", BOTH, TAKEN},
    {"guided_whitespace_pattern", BOTH, REFUSED},
    {"ignore_eos", BOTH, TAKEN},
    {"include_reasoning", CHAT, REFUSED_FALSE},
    {"include_stop_str_in_output", BOTH, REFUSED_TRUE},
    {"logit_bias", BOTH, TAKEN},
    {"logits_processors", BOTH, REFUSED},
    {"logprobs", BOTH, TAKEN},
    {"max_completion_tokens", CHAT, TAKEN},
    {"max_tokens", BOTH, TAKEN},
    {"messages", CHAT | TOKENIZE, TAKEN},
    {"metadata", BOTH, TAKEN},
    {"min_p", BOTH, TAKEN},
    {"min_tokens", BOTH, TAKEN},
    {"modalities", CHAT, TAKEN},
    {"model", BOTH | TOKENIZE | DETOKENIZE, TAKEN},
    {"n", BOTH, TAKEN},
    {"parallel_tool_calls", CHAT, TAKEN},
    {"presence_penalty", BOTH, TAKEN},
    {"priority", BOTH, TAKEN},
    {"prompt", COMPLETION | TOKENIZE, TAKEN},
    {"prompt_embeds", COMPLETION, REFUSED},
    {"prompt_logprobs", BOTH, REFUSED},
    {"reasoning_effort", CHAT | TOKENIZE, TAKEN},
    {"repetition_penalty", BOTH, TAKEN},
    {"response_format", BOTH, TAKEN},
    {"seed", BOTH, TAKEN},
    {"skip_special_tokens", BOTH, REFUSED_FALSE},
    {"stop", BOTH, TAKEN},
    {"stop_token_ids", BOTH, TAKEN},
    {"store", CHAT, TAKEN},
    {"stream", BOTH, TAKEN},
    {"stream_options", BOTH, TAKEN},
    {"structured_outputs", BOTH, TAKEN},
    {"suffix", COMPLETION, REFUSED},
    {"temperature", BOTH, TAKEN},
    {"text", TOKENIZE, TAKEN},
    {"tokens", DETOKENIZE, TAKEN},
    {"tool_choice", CHAT, TAKEN},
    {"tools", CHAT | TOKENIZE, TAKEN},
    {"top_k", BOTH, TAKEN},
    {"top_logprobs", CHAT, TAKEN},
    {"top_p", BOTH, TAKEN},
    {"truncate_prompt_tokens", BOTH, REFUSED},
    {"use_beam_search", BOTH, REFUSED_TRUE},
    {"user", BOTH, TAKEN},
};

static const field *find(const char *name, unsigned kind)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].kinds & kind && strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

/* ---- unknown names ---- */

#define REMEMBERED_MAX 64

static struct {
    pthread_mutex_t lock;
    int count;
    char names[REMEMBERED_MAX][SHOAL_UTF8_SHOW];
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* True the first time, while there is room. */
static bool remember(const char *name)
{
    bool fresh = true;
    pthread_mutex_lock(&seen.lock);
    if (seen.count == REMEMBERED_MAX)
        fresh = false;
    for (int i = 0; fresh && i < seen.count; i++)
        fresh = strcmp(seen.names[i], name) != 0;
    if (fresh)
        snprintf(seen.names[seen.count++], SHOAL_UTF8_SHOW, "%s", name);
    pthread_mutex_unlock(&seen.lock);
    return fresh;
}

static void note_unknown(const char *name)
{
    char shown[SHOAL_UTF8_SHOW];
    shoal_utf8_show(name, strlen(name), shown);
    if (remember(shown))
        shoal_log(SHOAL_LOG_WARN, "request", "unknown field '%s' is ignored", shown);
}

/* ---- */

static bool refuse(const char *name, shoal_api_error *error)
{
    return shoal_field_refuse(error, SHOAL_CODE_UNSUPPORTED, name,
                              "is not supported in this version");
}

bool shoal_known_fields_check(const json_t *body, unsigned kind, shoal_api_error *error)
{
    const shoal_fields fields = {body, "", error};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)body, name, value)
    {
        const field *known = find(name, kind);
        if (!known) {
            note_unknown(name);
            continue;
        }
        if (known->fate == TAKEN || json_is_null(value))
            continue;
        if (known->fate == REFUSED)
            return refuse(name, error);
        const bool harmless = known->fate == REFUSED_FALSE;
        bool wanted = harmless;
        if (!shoal_field_bool(&fields, name, &wanted))
            return false;
        if (wanted != harmless)
            return refuse(name, error);
    }
    return true;
}
