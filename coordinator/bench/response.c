#include "coordinator/bench/response.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "proto/bytes.h"

/* ---- lines ----------------------------------------------------------------------------------- */

static shoal_status take_status_line(shoal_bench_response *r, const char *line)
{
    if (strncmp(line, "HTTP/1.", 7) != 0 || !isdigit((unsigned char)line[7]) || line[8] != ' ' ||
        !isdigit((unsigned char)line[9]) || !isdigit((unsigned char)line[10]) ||
        !isdigit((unsigned char)line[11]) || (line[12] != ' ' && line[12] != '\0'))
        return shoal_fail(SHOAL_ERR_DATA, "the answer is not HTTP/1: '%.60s'", line);
    r->status = 100 * (line[9] - '0') + 10 * (line[10] - '0') + (line[11] - '0');
    if (r->status < 200)
        return shoal_fail(SHOAL_ERR_DATA, "an interim answer (%d) that nobody asked for",
                          r->status);
    return SHOAL_OK;
}

static shoal_status take_length(shoal_bench_response *r, const char *value)
{
    uint64_t length = 0;
    const size_t digits = strspn(value, "0123456789");
    if (digits == 0 || digits > 18 || value[digits] || r->counted)
        return shoal_fail(SHOAL_ERR_DATA, "the answer has a bad Content-Length: '%.40s'", value);
    for (size_t i = 0; i < digits; i++)
        length = 10 * length + (uint64_t)(value[i] - '0');
    r->counted = true;
    r->left = length;
    return SHOAL_OK;
}

static shoal_status take_header(shoal_bench_response *r, const char *line)
{
    const size_t name = strcspn(line, ":");
    if (name == 0 || !line[name])
        return shoal_fail(SHOAL_ERR_DATA, "the answer has a bad header: '%.60s'", line);
    const char *value = line + name + 1 + strspn(line + name + 1, " \t");
    if (name == 14 && strncasecmp(line, "Content-Length", name) == 0)
        return take_length(r, value);
    if (name != 17 || strncasecmp(line, "Transfer-Encoding", name) != 0)
        return SHOAL_OK;
    if (strcasecmp(value, "chunked") != 0)
        return shoal_fail(SHOAL_ERR_DATA, "the answer has the unknown encoding '%.40s'", value);
    r->chunked = true;
    return SHOAL_OK;
}

static shoal_bench_stage stage_after_head(const shoal_bench_response *r)
{
    if (r->status == 204 || r->status == 304)
        return SHOAL_BENCH_COMPLETE;
    if (r->chunked)
        return SHOAL_BENCH_CHUNK_SIZE;
    if (!r->counted)
        return SHOAL_BENCH_BODY_TO_THE_END;
    return r->left ? SHOAL_BENCH_BODY_COUNTED : SHOAL_BENCH_COMPLETE;
}

/* Hexadecimal digits, and perhaps an extension that nobody needs. */
static shoal_status take_chunk_size(shoal_bench_response *r, const char *line)
{
    const size_t digits = strspn(line, "0123456789abcdefABCDEF");
    if (digits == 0 || digits > 15 || (line[digits] && !strchr("; \t", line[digits])))
        return shoal_fail(SHOAL_ERR_DATA, "the answer has a bad chunk size: '%.40s'", line);
    r->left = 0;
    for (size_t i = 0; i < digits; i++) {
        const int c = tolower((unsigned char)line[i]);
        r->left = 16 * r->left + (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    r->stage = r->left ? SHOAL_BENCH_CHUNK : SHOAL_BENCH_TRAILER;
    return SHOAL_OK;
}

static shoal_status take_line(shoal_bench_response *r, const char *line)
{
    switch (r->stage) {
    case SHOAL_BENCH_HEAD:
        if (r->status == 0)
            return take_status_line(r, line);
        if (*line)
            return take_header(r, line);
        r->stage = stage_after_head(r);
        return SHOAL_OK;
    case SHOAL_BENCH_CHUNK_SIZE: return take_chunk_size(r, line);
    case SHOAL_BENCH_CHUNK_END:
        if (*line)
            return shoal_fail(SHOAL_ERR_DATA, "a chunk of the answer is longer than it says");
        r->stage = SHOAL_BENCH_CHUNK_SIZE;
        return SHOAL_OK;
    default: /* trailer */
        if (!*line)
            r->stage = SHOAL_BENCH_COMPLETE;
        return SHOAL_OK;
    }
}

/* Take bytes up to and including the next line end; *used says how many. */
static shoal_status feed_line(shoal_bench_response *r, const char *data, size_t bytes, size_t *used)
{
    const char *end = memchr(data, '\n', bytes);
    const size_t part = end ? (size_t)(end - data) : bytes;
    const bool counts = r->stage == SHOAL_BENCH_HEAD || r->stage == SHOAL_BENCH_TRAILER;
    const size_t before = counts ? r->head_bytes : r->line.bytes;
    if (before + part > SHOAL_BENCH_HEAD_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "the head of the answer is longer than %u bytes",
                          SHOAL_BENCH_HEAD_MAX);
    SHOAL_TRY(shoal_strbuf_append(&r->line, data, part));
    r->head_bytes += counts ? part : 0;
    *used = part + (end != NULL);
    if (!end)
        return SHOAL_OK;
    if (r->line.bytes && r->line.data[r->line.bytes - 1] == '\r')
        r->line.bytes--;
    SHOAL_TRY(shoal_strbuf_append(&r->line, "", 1));
    const shoal_status st = take_line(r, r->line.data);
    r->line.bytes = 0;
    return st;
}

/* ---- body ------------------------------------------------------------------------------------ */

static shoal_status feed_body(shoal_bench_response *r, const char *data, size_t bytes, size_t *used,
                              shoal_strbuf *body)
{
    const bool endless = r->stage == SHOAL_BENCH_BODY_TO_THE_END;
    const size_t part = !endless && r->left < bytes ? (size_t)r->left : bytes;
    SHOAL_TRY(shoal_strbuf_append(body, data, part));
    *used = part;
    if (endless)
        return SHOAL_OK;
    r->left -= part;
    if (r->left == 0)
        r->stage = r->stage == SHOAL_BENCH_CHUNK ? SHOAL_BENCH_CHUNK_END : SHOAL_BENCH_COMPLETE;
    return SHOAL_OK;
}

shoal_status shoal_bench_response_feed(shoal_bench_response *response, const char *data,
                                       size_t bytes, shoal_strbuf *body)
{
    while (bytes > 0) {
        const shoal_bench_stage stage = response->stage;
        size_t used = 0;
        if (stage == SHOAL_BENCH_COMPLETE)
            return shoal_fail(SHOAL_ERR_DATA, "%zu bytes follow the end of the answer", bytes);
        if (stage == SHOAL_BENCH_BODY_COUNTED || stage == SHOAL_BENCH_BODY_TO_THE_END ||
            stage == SHOAL_BENCH_CHUNK)
            SHOAL_TRY(feed_body(response, data, bytes, &used, body));
        else
            SHOAL_TRY(feed_line(response, data, bytes, &used));
        data += used;
        bytes -= used;
    }
    return SHOAL_OK;
}

shoal_status shoal_bench_response_end(shoal_bench_response *response)
{
    if (response->stage == SHOAL_BENCH_BODY_TO_THE_END)
        response->stage = SHOAL_BENCH_COMPLETE;
    if (response->stage != SHOAL_BENCH_COMPLETE)
        return shoal_fail(SHOAL_ERR_DATA, "the connection was closed %s",
                          response->status ? "in the middle of the answer" : "without an answer");
    return SHOAL_OK;
}

void shoal_bench_response_free(shoal_bench_response *response)
{
    shoal_strbuf_free(&response->line);
    *response = (shoal_bench_response){0};
}
