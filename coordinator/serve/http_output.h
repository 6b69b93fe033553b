/* coordinator/serve/http_output.h - bytes on their way to a socket that may not take them yet.
 *
 * Never blocks, never raises SIGPIPE. When memory runs out or the peer is gone the output is
 * broken and stays so: further bytes are dropped, and the connection is to be closed. All zero is
 * a valid empty output. */
#ifndef SHOAL_COORDINATOR_SERVE_HTTP_OUTPUT_H
#define SHOAL_COORDINATOR_SERVE_HTTP_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/growable.h"

typedef struct {
    shoal_strbuf text;
    size_t sent;    /* bytes of `text` that are gone already */
    uint64_t total; /* bytes ever appended */
    bool broken;
} shoal_http_output;

void shoal_http_output_append(shoal_http_output *output, const char *bytes, size_t count);

/* A line of up to 400 bytes; a longer one is cut. */
void shoal_http_output_print(shoal_http_output *output, const char *fmt, ...) SHOAL_PRINTF(2, 3);

size_t shoal_http_output_unsent(const shoal_http_output *output);

/* Send what the socket takes; true if it took anything. An empty output keeps little memory. */
bool shoal_http_output_flush(shoal_http_output *output, int fd);

void shoal_http_output_free(shoal_http_output *output);

#endif
