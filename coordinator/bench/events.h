/* coordinator/bench/events.h - server-sent events, out of a body that arrives in pieces.
 *
 * Append body bytes to `text`; ask for whole events until there is none. An event is what its
 * `data:` lines say, joined by line ends; comments and other fields mean nothing here. Lines end
 * with LF or CR LF. All zero is a valid beginning. */
#ifndef SHOAL_COORDINATOR_BENCH_EVENTS_H
#define SHOAL_COORDINATOR_BENCH_EVENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/text/growable.h"

/* Of one event, and of the body of an answer that is none. */
#define SHOAL_BENCH_EVENT_MAX (1u << 20)

typedef struct {
    shoal_strbuf text; /* body bytes; those before `at` are used up */
    size_t at;
    shoal_strbuf data; /* of the event under way */
    bool begun;        /* it has a data line */
} shoal_bench_events;

/* The next whole event, valid until the next call; *data is NULL when more bytes are needed.
 * SHOAL_ERR_DATA when an event is too long. */
SHOAL_MUST_USE shoal_status shoal_bench_events_next(shoal_bench_events *events, const char **data,
                                                    size_t *bytes);

void shoal_bench_events_free(shoal_bench_events *events);

#endif
