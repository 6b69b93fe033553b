/* coordinator/serve/api_answer.h - answers as JSON text: whole ones and the chunks of a stream.
 *
 * Shapes, names, nulls and order of events are OpenAI's. All functions append to a text and fail
 * only for want of memory (SHOAL_ERR_TEMPORARY). Pure. */
#ifndef SHOAL_COORDINATOR_SERVE_API_ANSWER_H
#define SHOAL_COORDINATOR_SERVE_API_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/serve/api_error.h"
#include "coordinator/serve/choice.h"
#include "coordinator/text/growable.h"
#include "coordinator/text/speech_message.h"

/* What all parts of one answer share. */
typedef struct {
    const char *id;          /* "chatcmpl-..." or "cmpl-..." */
    const char *model;       /* the served name */
    const char *fingerprint; /* "fp_..." */
    int64_t created;         /* seconds since 1970 */
    bool chat;
    bool calls;                       /* the answer may call functions */
    const shoal_tokenizer *tokenizer; /* for the text of tokens in logprobs; may be NULL */
} shoal_answer_head;

typedef struct {
    int64_t prompt_tokens, completion_tokens, cached_tokens;
} shoal_usage;

/* A choice as collected for a whole answer, or a piece of one for a stream. */
typedef struct {
    int index;
    const char *text; /* content; of a piece, what its kind says */
    size_t bytes;
    const shoal_speech_message *message; /* of a whole chat: reasoning and calls; may be NULL */
    shoal_speech_kind kind;              /* of a piece, and which call it is about */
    int call;
    const shoal_choice_token *tokens; /* for logprobs; NULL: they were not asked for */
    int token_count;
    int top_logprobs;
    shoal_finish finish;
} shoal_answer_choice;

SHOAL_MUST_USE shoal_status shoal_answer_whole(const shoal_answer_head *head,
                                               const shoal_answer_choice *choices, int count,
                                               const shoal_usage *usage, shoal_strbuf *out);

/* One SSE event, "data: {...}\n\n". `first` (chat): the role, with empty content (null when it may
 * be a call instead). Otherwise a piece; `finish` other than NONE makes the empty delta that ends
 * the choice. A piece that takes a call back has no event: a client cannot unread. With
 * `usage_null` every chunk carries "usage": null (include_usage was asked for). */
SHOAL_MUST_USE shoal_status shoal_answer_first(const shoal_answer_head *head, int index,
                                               bool usage_null, shoal_strbuf *out);
SHOAL_MUST_USE shoal_status shoal_answer_piece(const shoal_answer_head *head,
                                               const shoal_answer_choice *piece, bool usage_null,
                                               shoal_strbuf *out);
SHOAL_MUST_USE shoal_status shoal_answer_usage(const shoal_answer_head *head,
                                               const shoal_usage *usage, shoal_strbuf *out);
SHOAL_MUST_USE shoal_status shoal_answer_stream_error(const shoal_api_error *error,
                                                      shoal_strbuf *out);
SHOAL_MUST_USE shoal_status shoal_answer_stream_done(shoal_strbuf *out);

/* /v1/models (`list`) and /v1/models/ID. `context` is told as max_model_len, unless it is 0. */
SHOAL_MUST_USE shoal_status shoal_answer_models(const char *name, int64_t created, int64_t context,
                                                bool list, shoal_strbuf *out);

#endif
