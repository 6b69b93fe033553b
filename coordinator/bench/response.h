/* coordinator/bench/response.h - the framing of an HTTP/1.1 answer, taken apart as it arrives.
 *
 * Bytes go in as the socket gives them, in pieces of any size; body bytes come out without
 * Content-Length or chunk framing. One answer per connection: the bench asks for
 * "Connection: close". What the body means is not known here (coordinator/bench/events.h).
 * All zero is a valid beginning. */
#ifndef SHOAL_COORDINATOR_BENCH_RESPONSE_H
#define SHOAL_COORDINATOR_BENCH_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/growable.h"

/* Of the status line and all headers together, or of one line of chunk framing. */
#define SHOAL_BENCH_HEAD_MAX 65536u

typedef enum {
    SHOAL_BENCH_HEAD,
    SHOAL_BENCH_BODY_COUNTED,    /* Content-Length: `left` bytes to come    */
    SHOAL_BENCH_BODY_TO_THE_END, /* until the connection is closed          */
    SHOAL_BENCH_CHUNK_SIZE,
    SHOAL_BENCH_CHUNK, /* `left` bytes of this chunk to come      */
    SHOAL_BENCH_CHUNK_END,
    SHOAL_BENCH_TRAILER,
    SHOAL_BENCH_COMPLETE
} shoal_bench_stage;

typedef struct {
    shoal_bench_stage stage;
    int status; /* 200; 0 before the status line is there */
    bool chunked, counted;
    uint64_t left;
    size_t head_bytes;
    shoal_strbuf line; /* an unfinished one */
} shoal_bench_response;

/* Append the body bytes among these to `body`. SHOAL_ERR_DATA when this is no HTTP answer. */
SHOAL_MUST_USE shoal_status shoal_bench_response_feed(shoal_bench_response *response,
                                                      const char *data, size_t bytes,
                                                      shoal_strbuf *body);

/* The connection was closed: SHOAL_ERR_DATA when something was still to come. */
SHOAL_MUST_USE shoal_status shoal_bench_response_end(shoal_bench_response *response);

void shoal_bench_response_free(shoal_bench_response *response);

#endif
