/* Bytes of a connection through the request parser. However they are cut the outcome must be the
 * same: the messages, the bytes of their bodies, and the status of the error that ends them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/serve/http_message.h"

#define BODY_MAX  4096
#define BYTES_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    uint64_t messages, heads, body_bytes, hash;
    int status;
} outcome;

static void mix(outcome *o, const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        o->hash = (o->hash ^ (unsigned char)bytes[i]) * 1099511628211u;
}

/* What handlers may rely on once a head is whole. */
static void take_head(outcome *o, const shoal_http_parser *p)
{
    o->heads++;
    if (p->path[0] != '/' || strlen(p->path) > SHOAL_HTTP_TARGET_MAX ||
        (p->http_1_1 && !shoal_http_parser_header(p, "host")))
        abort();
    mix(o, p->method, strlen(p->method));
    mix(o, p->path, strlen(p->path));
    mix(o, p->query, strlen(p->query));
}

/* False once the bytes are refused. */
static bool feed(shoal_http_parser *p, const char *bytes, size_t count, outcome *o)
{
    shoal_http_bytes input = {bytes, count}, body;
    shoal_api_error error = {0};
    for (;;) {
        switch (shoal_http_parser_feed(p, &input, &body, &error)) {
        case SHOAL_HTTP_NEED_MORE:
            if (input.count > 0)
                abort();
            return true;
        case SHOAL_HTTP_HEAD: take_head(o, p); break;
        case SHOAL_HTTP_BODY:
            mix(o, body.bytes, body.count);
            o->body_bytes += body.count;
            break;
        case SHOAL_HTTP_DONE:
            o->messages++;
            shoal_http_parser_reset(p);
            break;
        case SHOAL_HTTP_BAD:
            o->status = error.status;
            if (error.status < 400 || !error.message[0])
                abort();
            return false;
        }
    }
}

/* Pieces of up to `step` bytes. */
static outcome read_all(const uint8_t *data, size_t size, size_t step)
{
    outcome o = {0};
    shoal_http_parser p = {.body_max = BODY_MAX};
    for (size_t at = 0; at < size; at += step)
        if (!feed(&p, (const char *)data + at, size - at < step ? size - at : step, &o))
            break;
    shoal_http_parser_reset(&p);
    return o;
}

static bool same(const outcome *a, const outcome *b)
{
    return a->messages == b->messages && a->heads == b->heads && a->body_bytes == b->body_bytes &&
           a->hash == b->hash && a->status == b->status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > BYTES_MAX)
        return 0;
    const outcome whole = read_all(data, size, size);
    const outcome bytes = read_all(data, size, 1);
    const outcome pieces = read_all(data, size, 7);
    if (!same(&whole, &bytes) || !same(&whole, &pieces))
        abort();
    if (whole.body_bytes > BODY_MAX * (whole.messages + 1) || whole.heads < whole.messages)
        abort();
    return 0;
}
