/* coordinator/serve/choice.h - one choice of an answer: from tokens to text that may be sent.
 *
 * What the text means (content, reasoning, calls) is found out behind it:
 * coordinator/text/speech.h. Feeds tokens to the incremental detokenizer, holds back what could be
 * the beginning of a stop string, and cuts at the earliest match. Log-probabilities stay with their
 * tokens and are let go with the text of the token. Belongs to one thread. */
#ifndef SHOAL_COORDINATOR_SERVE_CHOICE_H
#define SHOAL_COORDINATOR_SERVE_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/serve/api_request.h"
#include "coordinator/text/tokenizer.h"
#include "worker/step.h"

typedef enum {
    SHOAL_FINISH_NONE,
    SHOAL_FINISH_STOP,   /* a stop token or a stop string */
    SHOAL_FINISH_LENGTH, /* max_tokens, or the context */
    SHOAL_FINISH_ERROR,
    SHOAL_FINISH_TOOL_CALLS /* only of answers: STOP, and functions were called */
} shoal_finish;

/* A token and what is known of its probability. */
typedef struct {
    int64_t text_offset; /* characters of prompt and text before it; filled in by the choice */
    int32_t token;
    float logprob;
    int top_count;
    int32_t top_ids[SHOAL_LOGPROBS_MAX];
    float top_logprobs[SHOAL_LOGPROBS_MAX];
} shoal_choice_token;

typedef struct shoal_choice shoal_choice;

/* `request` and `tokenizer` (may be NULL: no text, only ids) are borrowed. `prompt_text_chars`:
 * where text_offset starts counting (completions). Tokens are kept only if the request shows
 * log-probabilities. */
SHOAL_MUST_USE shoal_status shoal_choice_create(const shoal_api_request *request,
                                                const shoal_tokenizer *tokenizer, int index,
                                                int64_t prompt_text_chars, shoal_choice **out);
void shoal_choice_destroy(shoal_choice *choice);

/* Take a sampled token. `hidden`: a stop token, which ends the choice and has no text. True in
 * *stopped when the choice is finished now (STOP), by that or because a stop string is complete:
 * the caller cancels the sequence and feeds no more. A stop string counts when it is complete with
 * a token behind the first min_tokens. */
SHOAL_MUST_USE shoal_status shoal_choice_push(shoal_choice *choice, const shoal_choice_token *token,
                                              bool hidden, bool *stopped);

/* The sequence has ended by itself: what was held back is let go. The first end stands: once
 * finished, nothing happens. */
SHOAL_MUST_USE shoal_status shoal_choice_finish(shoal_choice *choice, shoal_finish finish);

/* What may be sent and was not taken yet: text [*text, *bytes) and the tokens whose text it is
 * (count of *tokens, for logprobs). A token without text goes with the text that follows. Borrowed
 * until the next call. Everything counts as taken. */
void shoal_choice_take(shoal_choice *choice, const char **text, size_t *bytes,
                       const shoal_choice_token **tokens, int *count);

int shoal_choice_index(const shoal_choice *choice);
shoal_finish shoal_choice_finished(const shoal_choice *choice);

/* Tokens sampled so far, the stop token included; and the sum of their log-probabilities. */
int64_t shoal_choice_tokens(const shoal_choice *choice);
double shoal_choice_logprob_sum(const shoal_choice *choice);

#endif
