#include "coordinator/serve/http_output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define LINE_MAX_BYTES 400

/* An idle connection keeps no more than this. */
#define KEEP_BYTES 4096

void shoal_http_output_append(shoal_http_output *output, const char *bytes, size_t count)
{
    if (!output->broken && shoal_strbuf_append(&output->text, bytes, count) != SHOAL_OK)
        output->broken = true;
    output->total += count;
}

void shoal_http_output_print(shoal_http_output *output, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES + 1];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    shoal_http_output_append(output, line, strlen(line));
}

size_t shoal_http_output_unsent(const shoal_http_output *output)
{
    return output->text.bytes - output->sent;
}

/* Forget what is sent, but only once it is half of the text: every byte moves a bounded number of
 * times. */
static void compact(shoal_http_output *output)
{
    shoal_strbuf *text = &output->text;
    if (output->sent < text->bytes - output->sent)
        return;
    memmove(text->data, text->data + output->sent, text->bytes - output->sent);
    text->bytes -= output->sent;
    output->sent = 0;
    if (text->bytes == 0 && text->capacity > KEEP_BYTES)
        shoal_strbuf_free(text);
}

bool shoal_http_output_flush(shoal_http_output *output, int fd)
{
    bool progress = false;
    while (!output->broken && shoal_http_output_unsent(output) > 0) {
        const ssize_t n = send(fd, output->text.data + output->sent,
                               shoal_http_output_unsent(output), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            output->broken = true;
        if (n <= 0)
            break;
        progress = true;
        output->sent += (size_t)n;
    }
    if (progress)
        compact(output);
    return progress;
}

void shoal_http_output_free(shoal_http_output *output)
{
    shoal_strbuf_free(&output->text);
    *output = (shoal_http_output){0};
}
