/* coordinator/serve/reply.h - one request for text while it is being answered.
 *
 * A reply holds the client's exchange, the request, and a part for each sequence that is computed
 * for it. It turns events of the driver into chunks of a stream, or collects them for one whole
 * answer. Belongs to the thread of the sockets. */
#ifndef SHOAL_COORDINATOR_SERVE_REPLY_H
#define SHOAL_COORDINATOR_SERVE_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/serve/api_answer.h"
#include "coordinator/serve/api_request.h"
#include "coordinator/serve/driver.h"
#include "coordinator/serve/http_server.h"

/* What all replies share; borrowed. */
typedef struct {
    const shoal_tokenizer *tokenizer; /* may be NULL */
    const char *model, *fingerprint;
    const int32_t *eos; /* [eos_count] */
    int eos_count;
} shoal_reply_context;

typedef struct shoal_reply shoal_reply;

/* The share of one sequence. */
typedef struct {
    shoal_reply *reply;
    int index; /* prompt * best_of + choice */
    uint64_t sequence;
    bool ended;
    shoal_choice *choice;
    shoal_speech *speech;         /* NULL: all text is content */
    shoal_speech_message message; /* collected, unless streamed */
    shoal_choice_token *tokens;
    int token_count, token_room;
} shoal_reply_part;

struct shoal_reply {
    const shoal_reply_context *context;
    shoal_http_exchange *exchange; /* NULL: answered, or the client is gone */
    bool asked;                    /* a clerk reads its body */
    uint64_t replay_key;           /* of an Idempotency-Key, 0: none */
    shoal_api_request request;     /* once the clerk has read it */
    char id[48];
    int64_t created;
    shoal_reply_part *parts; /* [part_count] */
    int part_count, open_parts;
    double written; /* when a stream last got something */
    shoal_strbuf out;
    bool buried; /* its owner will destroy it */
    shoal_reply *next_dead;
};

SHOAL_MUST_USE shoal_status shoal_reply_create(const shoal_reply_context *context,
                                               shoal_http_exchange *exchange, shoal_reply **out);
void shoal_reply_destroy(shoal_reply *reply);

/* Take the request over and make its parts. */
SHOAL_MUST_USE shoal_status shoal_reply_prepare(shoal_reply *reply, shoal_api_request *request);

/* What the driver is asked for part `index`; borrows from the reply. `stop_ids` has room for
 * SHOAL_API_STOP_IDS_MAX + eos_count. */
void shoal_reply_order(const shoal_reply *reply, int index, uint64_t seed, int32_t *stop_ids,
                       shoal_journal_order *out);

/* The sequences are accepted: begin a stream. */
void shoal_reply_begin(shoal_reply *reply);

/* Something happened to a part. Sends or collects; answers when all parts have ended, or one with
 * an error. True in *cancel when the sequence is not wanted any more. */
void shoal_reply_take(shoal_reply_part *part, const shoal_driver_event *event, bool *cancel);

/* Answer with an error, in the way that is still possible. */
void shoal_reply_refuse(shoal_reply *reply, const shoal_api_error *error);

/* Keep a silent stream alive with a comment. */
void shoal_reply_ping(shoal_reply *reply);

#endif
