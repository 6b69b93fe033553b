#include "coordinator/bench/events.h"

#include <string.h>

/* The next whole line without its end, or NULL. */
static const char *next_line(shoal_bench_events *e, size_t *bytes)
{
    if (e->at == e->text.bytes)
        return NULL;
    const char *line = e->text.data + e->at;
    const char *end = memchr(line, '\n', e->text.bytes - e->at);
    if (!end)
        return NULL;
    *bytes = (size_t)(end - line);
    e->at += *bytes + 1;
    if (*bytes && line[*bytes - 1] == '\r')
        --*bytes;
    return line;
}

/* "data: text", "data:text" or a bare "data"; anything else is no data. */
static shoal_status take_field(shoal_bench_events *e, const char *line, size_t bytes)
{
    if (bytes < 4 || memcmp(line, "data", 4) != 0 || (bytes > 4 && line[4] != ':'))
        return SHOAL_OK;
    size_t skip = bytes > 4 ? 5 : 4;
    skip += bytes > skip && line[skip] == ' ';
    if (e->data.bytes + bytes > SHOAL_BENCH_EVENT_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "an event is longer than %u bytes",
                          SHOAL_BENCH_EVENT_MAX);
    if (e->begun)
        SHOAL_TRY(shoal_strbuf_append(&e->data, "\n", 1));
    e->begun = true;
    return shoal_strbuf_append(&e->data, line + skip, bytes - skip);
}

/* Forget what is used up; what remains is less than a line. */
static shoal_status compact(shoal_bench_events *e)
{
    const size_t rest = e->text.bytes - e->at;
    if (rest > SHOAL_BENCH_EVENT_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a line of an event is longer than %u bytes",
                          SHOAL_BENCH_EVENT_MAX);
    if (rest && e->at)
        memmove(e->text.data, e->text.data + e->at, rest);
    e->text.bytes = rest;
    e->at = 0;
    return SHOAL_OK;
}

shoal_status shoal_bench_events_next(shoal_bench_events *events, const char **data, size_t *bytes)
{
    size_t length;
    if (!events->begun)
        events->data.bytes = 0; /* the event of the last call */
    for (const char *line = next_line(events, &length); line; line = next_line(events, &length)) {
        if (length > 0) {
            SHOAL_TRY(take_field(events, line, length));
        } else if (events->begun) {
            events->begun = false;
            SHOAL_TRY(shoal_strbuf_reserve(&events->data, 1)); /* so that "" is not NULL */
            *data = events->data.data;
            *bytes = events->data.bytes;
            return SHOAL_OK;
        }
    }
    SHOAL_TRY(compact(events));
    *data = NULL;
    *bytes = 0;
    return SHOAL_OK;
}

void shoal_bench_events_free(shoal_bench_events *events)
{
    shoal_strbuf_free(&events->text);
    shoal_strbuf_free(&events->data);
    *events = (shoal_bench_events){0};
}
