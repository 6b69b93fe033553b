/* coordinator/serve/api_request.h - what a client asks for, checked and in numbers.
 *
 * From the JSON body of /v1/chat/completions or /v1/completions to token ids, sampling settings
 * and stop rules. Every known field is checked for type and range before any work is done; a known
 * field that cannot be honoured is refused by name; unknown fields are ignored and logged once per
 * name. Token ids are checked against the width of the logits. Pure but for that log: no sockets,
 * any thread. */
#ifndef SHOAL_COORDINATOR_SERVE_API_REQUEST_H
#define SHOAL_COORDINATOR_SERVE_API_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "coordinator/serve/api_error.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/grammar/token_masks.h"
#include "coordinator/text/speech.h"
#include "coordinator/text/tokenizer.h"
#include "worker/step.h"

#define SHOAL_API_DEPTH_MAX      64 /* of JSON */
#define SHOAL_API_CHOICES_MAX    16 /* n and best_of */
#define SHOAL_API_STOPS_MAX      16
#define SHOAL_API_STOP_BYTES_MAX 256
#define SHOAL_API_STOP_IDS_MAX   64
#define SHOAL_API_PROMPTS_MAX    64 /* of one completions request; times n at most 256 sequences */
#define SHOAL_API_SEQUENCES_MAX  256
#define SHOAL_API_BIASES_MAX     1024
#define SHOAL_API_MESSAGES_MAX   4096
#define SHOAL_API_TOOLS_MAX      512
#define SHOAL_API_DETOKENIZE_MAX 65536 /* ids: their text may be hundreds of times longer */

/* What requests are checked against; borrowed by nobody for longer than a call. */
typedef struct {
    const char *model_name;           /* the served one */
    const shoal_tokenizer *tokenizer; /* NULL: the model has none; then only ids are taken */
    const shoal_chat_template *chat;  /* NULL: no template; chat is refused */
    int64_t vocab;                    /* width of the logits */
    int64_t context;                  /* longest sequence, tokens */
    const shoal_vocab_trie *trie;     /* NULL: answers cannot be held to a form */
} shoal_api_context;

typedef struct {
    shoal_ids ids;
    shoal_strbuf text; /* of a completion's prompt, for echo; empty for chat */
} shoal_api_prompt;

typedef struct {
    bool chat, stream, include_usage, echo, ignore_eos;
    bool seed_given;
    int n, best_of;            /* choices to return, choices to compute (>= n) */
    shoal_api_prompt *prompts; /* [prompt_count], one for chat */
    int prompt_count;
    shoal_sampling sampling; /* choice 0; logprobs as the step wants it (-1: none) */
    bool logprobs;           /* the client wants to see them (best_of computes them anyway) */
    int top_logprobs;        /* how many alternatives it wants to see per token */
    shoal_step_bias *biases;
    int bias_count;
    int32_t stop_ids[SHOAL_API_STOP_IDS_MAX];
    int stop_id_count;
    shoal_strbuf stops[SHOAL_API_STOPS_MAX]; /* stop strings, none empty */
    int stop_count;
    int64_t max_tokens; /* >= 1; already cut to what the context leaves the longest prompt; 0 is
                           legal for completions with echo only */
    int64_t min_tokens;
    int32_t priority;
    shoal_speech_rules speech; /* of a chat: how its answer is read */
    shoal_strbuf forced;       /* the function that must be called, ended by U+0000 */
    shoal_token_masks *masks;  /* of the form an answer must have, NULL: any text; the form ends the
                                  text, so ignore_eos and min_tokens mean nothing beside it */
} shoal_api_request;

/* Parse a body. On failure *error is filled, *out is empty, and false is returned. */
bool shoal_api_parse_chat(const shoal_api_context *context, const char *body, size_t bytes,
                          shoal_api_request *out, shoal_api_error *error);
bool shoal_api_parse_completion(const shoal_api_context *context, const char *body, size_t bytes,
                                shoal_api_request *out, shoal_api_error *error);
void shoal_api_request_free(shoal_api_request *request);

/* The JSON of a body within its limits (size is checked before, UTF-8 and depth here; duplicate
 * keys are refused); NULL with *error filled (400 with the byte offset). */
json_t *shoal_api_parse_json(const char *body, size_t bytes, shoal_api_error *error);

/* /tokenize: {"prompt" or "content" or "text": string, "add_special_tokens" or "add_special":
 * bool (default true for prompt and text, false for content), or "messages"} and /detokenize:
 * {"tokens": [ids]}. The whole answer as JSON text: {"tokens", "count", "max_model_len"} and
 * {"prompt", "content"} (the same text under vLLM's and llama.cpp's names). */
bool shoal_api_tokenize(const shoal_api_context *context, const char *body, size_t bytes,
                        shoal_strbuf *answer, shoal_api_error *error);
bool shoal_api_detokenize(const shoal_api_context *context, const char *body, size_t bytes,
                          shoal_strbuf *answer, shoal_api_error *error);

#endif
