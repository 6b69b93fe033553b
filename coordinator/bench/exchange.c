#include "coordinator/bench/exchange.h"

#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/clock.h"
#include "proto/bytes.h"

#define READ_BYTES 16384

/* ---- the beginning --------------------------------------------------------------------------- */

shoal_status shoal_bench_exchange_begin(shoal_bench_exchange *x, const shoal_bench_target *target,
                                        double due)
{
    const int on = 1;
    x->due = due;
    x->fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (x->fd < 0)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "socket: %s", strerror(errno));
    (void)setsockopt(x->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(x->fd, (const struct sockaddr *)&target->address, target->address_bytes) != 0 &&
        errno != EINPROGRESS)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "connecting to %s: %s", target->authority,
                          strerror(errno));
    return SHOAL_OK;
}

bool shoal_bench_exchange_writes(const shoal_bench_exchange *x)
{
    return x->sent < x->request.bytes;
}

int64_t shoal_bench_exchange_tokens(const shoal_bench_exchange *x)
{
    return x->tokens ? x->tokens : x->pieces;
}

static shoal_status send_more(shoal_bench_exchange *x)
{
    const ssize_t n =
        send(x->fd, x->request.data + x->sent, x->request.bytes - x->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "sending a request: %s", strerror(errno));
    x->sent += n > 0 ? (size_t)n : 0;
    return SHOAL_OK;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static shoal_status count_piece(shoal_bench_exchange *x, double now, shoal_bench_tally *tally)
{
    if (x->pieces++ == 0)
        SHOAL_TRY(shoal_bench_samples_add(&tally->ttft, now - x->due));
    else
        SHOAL_TRY(shoal_bench_samples_add(&tally->itl, now - x->last_token));
    x->last_token = now;
    return SHOAL_OK;
}

/* One event of a completion: an error, a piece of text, or the usage. */
static shoal_status take_object(shoal_bench_exchange *x, const json_t *event, double now,
                                shoal_bench_tally *tally)
{
    const json_t *error = json_object_get(event, "error");
    const json_t *choice = json_array_get(json_object_get(event, "choices"), 0);
    const json_t *usage = json_object_get(event, "usage");
    if (error) {
        const char *message = json_string_value(json_object_get(error, "message"));
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "an error in the stream: %.200s",
                          message ? message : "without a message");
    }
    if (json_string_length(json_object_get(choice, "text")) > 0)
        SHOAL_TRY(count_piece(x, now, tally));
    if (usage)
        x->tokens = json_integer_value(json_object_get(usage, "completion_tokens"));
    return SHOAL_OK;
}

static shoal_status take_event(shoal_bench_exchange *x, const char *data, size_t bytes, double now,
                               shoal_bench_tally *tally)
{
    if (shoal_text_is(data, bytes, "[DONE]")) {
        x->done = true;
        return SHOAL_OK;
    }
    json_t *event = json_loadb(data, bytes, 0, NULL);
    if (!event)
        return shoal_fail(SHOAL_ERR_DATA, "an event is no JSON: '%.*s'",
                          bytes < 60 ? (int)bytes : 60, data);
    const shoal_status st = take_object(x, event, now, tally);
    json_decref(event);
    return st;
}

static shoal_status take_events(shoal_bench_exchange *x, double now, shoal_bench_tally *tally)
{
    const char *data;
    size_t bytes;
    if (x->response.status != 200) { /* the text of an error, or nothing yet */
        if (x->events.text.bytes > SHOAL_BENCH_EVENT_MAX)
            return shoal_fail(SHOAL_ERR_DATA, "status %d with more than %u bytes",
                              x->response.status, SHOAL_BENCH_EVENT_MAX);
        return SHOAL_OK;
    }
    for (;;) {
        SHOAL_TRY(shoal_bench_events_next(&x->events, &data, &bytes));
        if (!data)
            return SHOAL_OK;
        SHOAL_TRY(take_event(x, data, bytes, now, tally));
    }
}

/* The answer is complete: was it a good one? */
static shoal_status judge(const shoal_bench_exchange *x)
{
    const shoal_strbuf *text = &x->events.text;
    if (x->response.status != 200)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "status %d: %.*s", x->response.status,
                          text->bytes < 300 ? (int)text->bytes : 300, text->data ? text->data : "");
    if (!x->done)
        return shoal_fail(SHOAL_ERR_DATA, "the stream ended without [DONE]");
    return SHOAL_OK;
}

static shoal_status receive(shoal_bench_exchange *x, shoal_bench_tally *tally, bool *ended)
{
    char data[READ_BYTES];
    while (!*ended) {
        const ssize_t n = recv(x->fd, data, sizeof data, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return SHOAL_OK;
        if (n < 0)
            return shoal_fail(SHOAL_ERR_UNAVAILABLE, "receiving an answer: %s", strerror(errno));
        if (n == 0)
            SHOAL_TRY(shoal_bench_response_end(&x->response));
        else
            SHOAL_TRY(shoal_bench_response_feed(&x->response, data, (size_t)n, &x->events.text));
        SHOAL_TRY(take_events(x, shoal_clock_seconds(), tally));
        *ended = x->response.stage == SHOAL_BENCH_COMPLETE;
    }
    return judge(x);
}

shoal_status shoal_bench_exchange_step(shoal_bench_exchange *x, shoal_bench_tally *tally,
                                       bool *ended)
{
    *ended = false;
    return shoal_bench_exchange_writes(x) ? send_more(x) : receive(x, tally, ended);
}

/* ---- the end --------------------------------------------------------------------------------- */

void shoal_bench_exchange_reset(shoal_bench_exchange *x)
{
    shoal_bench_exchange fresh = {.fd = -1};
    if (x->fd >= 0)
        (void)close(x->fd);
    fresh.request = x->request;
    fresh.response.line = x->response.line;
    fresh.events.text = x->events.text;
    fresh.events.data = x->events.data;
    *x = fresh;
    x->request.bytes = x->response.line.bytes = x->events.text.bytes = x->events.data.bytes = 0;
}

void shoal_bench_exchange_free(shoal_bench_exchange *x)
{
    if (x->fd >= 0)
        (void)close(x->fd);
    x->fd = -1;
    shoal_strbuf_free(&x->request);
    shoal_bench_response_free(&x->response);
    shoal_bench_events_free(&x->events);
}
