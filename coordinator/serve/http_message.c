#include "coordinator/serve/http_message.h"

#include <string.h>
#include <strings.h>

#include "proto/bytes.h"

#define CHUNK_DIGITS_MAX 16 /* what fits into 64 bits */

static shoal_http_event bad(shoal_api_error *error, int status, const char *sentence)
{
    (void)shoal_api_refuse(error, status, NULL, NULL, "%s", sentence);
    return SHOAL_HTTP_BAD;
}

/* The same for what returns whether to go on. */
static bool refuse(shoal_api_error *error, int status, const char *sentence)
{
    return shoal_api_refuse(error, status, NULL, NULL, "%s", sentence);
}

static shoal_http_event no_memory(shoal_api_error *error)
{
    error->retry_after = 1;
    return bad(error, 503, "no memory for the request");
}

static shoal_http_event too_long(const shoal_http_parser *parser, shoal_api_error *error)
{
    (void)shoal_api_refuse(error, 413, NULL, NULL, "the body is longer than %llu bytes",
                           (unsigned long long)parser->body_max);
    return SHOAL_HTTP_BAD;
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

/* A token of RFC 9110: what methods and header names are made of. */
static bool is_token(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        const char c = text[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && (!c || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return bytes > 0;
}

/* ---- the request line ---- */

/* One dot of a path segment, plain or encoded: its length, 0 if there is none. */
static size_t dot_at(const char *text)
{
    if (*text == '.')
        return 1;
    return strncasecmp(text, "%2e", 3) == 0 ? 3 : 0;
}

/* A server behind another one must not be talked into another folder than the first one saw. */
static bool has_dot_segment(const char *target)
{
    for (const char *c = target; *c && *c != '?'; c++) {
        if (*c != '/')
            continue;
        const size_t first = dot_at(c + 1);
        const size_t dots = first ? first + dot_at(c + 1 + first) : 0;
        if (first && strchr("/?", c[1 + dots]))
            return true;
    }
    return false;
}

static bool check_target(const char *target, shoal_api_error *error)
{
    if (strlen(target) > SHOAL_HTTP_TARGET_MAX)
        return refuse(error, 414, "the target of the request is longer than 8192 bytes");
    for (const char *c = target; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f || *c == '#')
            return refuse(error, 400, "the target of the request has a character it may not have");
    if (*target != '/' && strstr(target, "://"))
        return refuse(error, 404, "the target of the request is an absolute URL");
    if (*target != '/')
        return refuse(error, 400, "the target of the request does not start with '/'");
    if (has_dot_segment(target))
        return refuse(error, 404, "the path of the request has a dot segment");
    return true;
}

static bool not_a_request(shoal_api_error *error)
{
    return refuse(error, 400, "the request line is not METHOD SP TARGET SP VERSION");
}

static bool read_version(shoal_http_parser *parser, const char *version, shoal_api_error *error)
{
    const bool formed = strlen(version) == 8 && strncmp(version, "HTTP/", 5) == 0 &&
                        strspn(version + 5, "0123456789") == 1 && version[6] == '.' &&
                        strspn(version + 7, "0123456789") == 1;
    if (!formed)
        return not_a_request(error);
    if (version[5] != '1' || version[7] > '1')
        return refuse(error, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    parser->http_1_1 = version[7] == '1';
    return true;
}

/* "METHOD TARGET VERSION" becomes "METHOD\0PATH\0QUERY\0" in its place; without a query the empty
 * one takes the place of the version. */
static bool read_request_line(shoal_http_parser *parser, char *line, shoal_api_error *error)
{
    char *target = strchr(line, ' ');
    char *version = target ? strchr(target + 1, ' ') : NULL;
    if (!version || !is_token(line, (size_t)(target - line)))
        return not_a_request(error);
    *target++ = '\0';
    *version++ = '\0';
    if (!read_version(parser, version, error) || !check_target(target, error))
        return false;
    char *query = strchr(target, '?');
    if (query)
        *query++ = '\0';
    else
        *(query = version) = '\0';
    parser->head.bytes = (size_t)(query + strlen(query) + 1 - parser->head.data);
    parser->headers = parser->head.bytes;
    return true;
}

/* ---- headers that say how the message is framed ---- */

static bool read_host(shoal_http_parser *parser, const char *value, shoal_api_error *error)
{
    if (parser->host)
        return refuse(error, 400, "more than one Host header");
    for (const char *c = value; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f || strchr(",/?#@\\\"", *c))
            return refuse(error, 400, "the Host header has a character it may not have");
    parser->host = true;
    return true;
}

/* A number too large for 64 bits becomes the largest one, which is over any limit. */
static bool read_length(shoal_http_parser *parser, const char *value, shoal_api_error *error)
{
    if (parser->length)
        return refuse(error, 400, "more than one Content-Length header");
    if (!*value || value[strspn(value, "0123456789")])
        return refuse(error, 400, "the Content-Length header is not a number");
    uint64_t length = 0;
    for (const char *c = value; *c; c++)
        if (!shoal_mul_u64(length, 10, &length) ||
            !shoal_add_u64(length, (uint64_t)(*c - '0'), &length))
            length = UINT64_MAX;
    parser->length = true;
    parser->left = length;
    return true;
}

static bool read_coding(shoal_http_parser *parser, const char *value, shoal_api_error *error)
{
    if (parser->chunked)
        return refuse(error, 400, "more than one Transfer-Encoding header");
    if (!parser->http_1_1)
        return refuse(error, 400, "HTTP/1.0 has no Transfer-Encoding");
    if (strcasecmp(value, "chunked") != 0)
        return refuse(error, 400, "the only Transfer-Encoding understood is chunked");
    parser->chunked = true;
    return true;
}

static bool read_connection(shoal_http_parser *parser, const char *value, shoal_api_error *error)
{
    (void)error;
    for (const char *word = value; *word;) {
        const size_t bytes = strcspn(word, ", \t");
        if (bytes == 5 && strncasecmp(word, "close", 5) == 0)
            parser->wants_close = true;
        if (bytes == 10 && strncasecmp(word, "keep-alive", 10) == 0)
            parser->wants_keep = true;
        word += bytes;
        word += strspn(word, ", \t");
    }
    return true;
}

static bool read_expect(shoal_http_parser *parser, const char *value, shoal_api_error *error)
{
    if (strcasecmp(value, "100-continue") != 0)
        return refuse(error, 417, "the only expectation understood is 100-continue");
    parser->expects_continue = parser->http_1_1;
    return true;
}

static const struct {
    const char *name;
    bool (*read)(shoal_http_parser *parser, const char *value, shoal_api_error *error);
} readers[] = {
    {"Host", read_host},
    {"Content-Length", read_length},
    {"Transfer-Encoding", read_coding},
    {"Connection", read_connection},
    {"Expect", read_expect},
};

/* A line "Name: value" becomes "Name\0value\0" in its place. A folded line has no name, a space
 * before the colon makes the name no token. */
static bool read_header(shoal_http_parser *parser, char *line, shoal_api_error *error)
{
    char *colon = strchr(line, ':');
    if (!colon || !is_token(line, (size_t)(colon - line)))
        return refuse(error, 400, "a header line is not NAME: VALUE");
    if (++parser->header_count > SHOAL_HTTP_HEADERS_MAX)
        return refuse(error, 431, "the request has more than 100 headers");

    const char *begin = colon + 1 + strspn(colon + 1, " \t");
    size_t bytes = strlen(begin);
    while (bytes > 0 && (begin[bytes - 1] == ' ' || begin[bytes - 1] == '\t'))
        bytes--;
    char *value = colon + 1;
    memmove(value, begin, bytes);
    *colon = value[bytes] = '\0';
    parser->head.bytes = (size_t)(value + bytes + 1 - parser->head.data);

    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++)
        if (strcasecmp(line, readers[i].name) == 0)
            return readers[i].read(parser, value, error);
    return true;
}

/* ---- the head, line by line ---- */

static const char *string_after(const char *text)
{
    return text + strlen(text) + 1;
}

static shoal_http_event end_head(shoal_http_parser *parser, shoal_api_error *error)
{
    parser->method = parser->head.data;
    parser->path = string_after(parser->method);
    parser->query = string_after(parser->path);
    if (parser->http_1_1 && !parser->host)
        return bad(error, 400, "the Host header is missing");
    if (parser->chunked && parser->length)
        return bad(error, 400, "both Content-Length and Transfer-Encoding");
    if (parser->left > parser->body_max)
        return too_long(parser, error);
    parser->keep_alive = !parser->wants_close && (parser->http_1_1 || parser->wants_keep);
    parser->place = parser->chunked    ? SHOAL_HTTP_AT_CHUNK_SIZE
                    : parser->left > 0 ? SHOAL_HTTP_AT_BODY
                                       : SHOAL_HTTP_AT_END;
    return SHOAL_HTTP_HEAD;
}

/* A whole line is at the end of the head, CR LF included. */
static shoal_http_event end_line(shoal_http_parser *parser, shoal_api_error *error)
{
    char *line = parser->head.data + parser->line;
    parser->head.bytes -= 2;
    parser->head.data[parser->head.bytes] = '\0';
    const bool empty = *line == '\0';
    if (parser->place == SHOAL_HTTP_AT_HEADER && empty)
        return end_head(parser, error);
    const bool sound = parser->place == SHOAL_HTTP_AT_HEADER
                           ? read_header(parser, line, error)
                           : read_request_line(parser, line, error);
    parser->place = SHOAL_HTTP_AT_HEADER;
    parser->line = parser->head.bytes;
    return sound ? SHOAL_HTTP_NEED_MORE : SHOAL_HTTP_BAD;
}

static shoal_http_event head_byte(shoal_http_parser *parser, char c, shoal_api_error *error)
{
    const shoal_strbuf *head = &parser->head;
    const bool after_cr = head->bytes > parser->line && head->data[head->bytes - 1] == '\r';
    if (++parser->head_bytes > SHOAL_HTTP_HEAD_MAX)
        return parser->place == SHOAL_HTTP_AT_REQUEST_LINE
                   ? bad(error, 414, "the request line is too long")
                   : bad(error, 431, "the head of the request is longer than 16384 bytes");
    if (after_cr != (c == '\n'))
        return bad(error, 400, "a line of the head does not end in CR LF");
    if (is_control(c) && c != '\r' && c != '\n')
        return bad(error, 400, "the head has a control character");
    if (shoal_strbuf_append(&parser->head, &c, 1) != SHOAL_OK)
        return no_memory(error);
    return c == '\n' ? end_line(parser, error) : SHOAL_HTTP_NEED_MORE;
}

/* ---- the framing of chunks, byte by byte ---- */

static shoal_http_event bad_chunk(shoal_api_error *error)
{
    return bad(error, 400, "the framing of a chunk is broken");
}

/* What a size line says, once it is whole. */
static shoal_http_event begin_chunk(shoal_http_parser *parser, shoal_api_error *error)
{
    parser->chunk_digits = parser->chunk_extension = 0;
    parser->place = parser->left ? SHOAL_HTTP_AT_CHUNK_DATA : SHOAL_HTTP_AT_LAST_CR;
    if (parser->left == 0)
        return SHOAL_HTTP_NEED_MORE;
    if (++parser->chunks > SHOAL_HTTP_CHUNKS_MAX)
        return bad(error, 413, "the body has more than 65536 chunks");
    if (!shoal_add_u64(parser->chunk_total, parser->left, &parser->chunk_total) ||
        parser->chunk_total > parser->body_max)
        return too_long(parser, error);
    return SHOAL_HTTP_NEED_MORE;
}

static shoal_http_event size_byte(shoal_http_parser *parser, char c, shoal_api_error *error)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *digit = c ? strchr(digits, c) : NULL;
    if (digit) {
        parser->left = parser->left << 4 | (uint64_t)((digit - digits) & 15);
        return ++parser->chunk_digits > CHUNK_DIGITS_MAX ? bad_chunk(error) : SHOAL_HTTP_NEED_MORE;
    }
    if (parser->chunk_digits == 0 || (c != '\r' && c != ';'))
        return bad_chunk(error);
    parser->place = c == '\r' ? SHOAL_HTTP_AT_CHUNK_LF : SHOAL_HTTP_AT_CHUNK_EXTENSION;
    return SHOAL_HTTP_NEED_MORE;
}

static shoal_http_event extension_byte(shoal_http_parser *parser, char c, shoal_api_error *error)
{
    if (c == '\r')
        parser->place = SHOAL_HTTP_AT_CHUNK_LF;
    else if (is_control(c) || ++parser->chunk_extension > SHOAL_HTTP_EXTENSION_MAX)
        return bad_chunk(error);
    return SHOAL_HTTP_NEED_MORE;
}

static shoal_http_event chunk_byte(shoal_http_parser *parser, char c, shoal_api_error *error)
{
    static const struct {
        char expected;
        shoal_http_place next;
    } fixed[SHOAL_HTTP_AT_END] = {
        [SHOAL_HTTP_AT_DATA_CR] = {'\r', SHOAL_HTTP_AT_DATA_LF},
        [SHOAL_HTTP_AT_DATA_LF] = {'\n', SHOAL_HTTP_AT_CHUNK_SIZE},
        [SHOAL_HTTP_AT_LAST_CR] = {'\r', SHOAL_HTTP_AT_LAST_LF},
        [SHOAL_HTTP_AT_LAST_LF] = {'\n', SHOAL_HTTP_AT_END},
    };
    if (parser->place == SHOAL_HTTP_AT_CHUNK_SIZE)
        return size_byte(parser, c, error);
    if (parser->place == SHOAL_HTTP_AT_CHUNK_EXTENSION)
        return extension_byte(parser, c, error);
    if (parser->place == SHOAL_HTTP_AT_CHUNK_LF)
        return c == '\n' ? begin_chunk(parser, error) : bad_chunk(error);
    if (c != fixed[parser->place].expected)
        return parser->place == SHOAL_HTTP_AT_LAST_CR ? bad(error, 400, "trailers are not taken")
                                                      : bad_chunk(error);
    parser->place = fixed[parser->place].next;
    return SHOAL_HTTP_NEED_MORE;
}

/* ---- */

static shoal_http_event take_body(shoal_http_parser *parser, shoal_http_bytes *input,
                                  shoal_http_bytes *body)
{
    const size_t count = input->count < parser->left ? input->count : (size_t)parser->left;
    *body = (shoal_http_bytes){input->bytes, count};
    input->bytes += count;
    input->count -= count;
    parser->left -= count;
    if (parser->left == 0)
        parser->place = parser->chunked ? SHOAL_HTTP_AT_DATA_CR : SHOAL_HTTP_AT_END;
    return SHOAL_HTTP_BODY;
}

shoal_http_event shoal_http_parser_feed(shoal_http_parser *parser, shoal_http_bytes *input,
                                        shoal_http_bytes *body, shoal_api_error *error)
{
    shoal_http_event event = SHOAL_HTTP_NEED_MORE;
    while (event == SHOAL_HTTP_NEED_MORE) {
        if (parser->place == SHOAL_HTTP_AT_END)
            return SHOAL_HTTP_DONE;
        if (input->count == 0)
            return SHOAL_HTTP_NEED_MORE;
        if (parser->place == SHOAL_HTTP_AT_BODY || parser->place == SHOAL_HTTP_AT_CHUNK_DATA)
            return take_body(parser, input, body);
        const char c = *input->bytes++;
        input->count--;
        event = parser->place <= SHOAL_HTTP_AT_HEADER ? head_byte(parser, c, error)
                                                      : chunk_byte(parser, c, error);
    }
    return event;
}

bool shoal_http_parser_started(const shoal_http_parser *parser)
{
    return parser->head_bytes > 0;
}

bool shoal_http_parser_ended(const shoal_http_parser *parser)
{
    return parser->place == SHOAL_HTTP_AT_END;
}

const char *shoal_http_parser_header(const shoal_http_parser *parser, const char *name)
{
    if (!parser->method)
        return NULL; /* half a head is no text yet */
    const char *end = parser->head.data + parser->head.bytes;
    const char *value;
    for (const char *at = parser->head.data + parser->headers; at < end; at = string_after(value)) {
        value = string_after(at);
        if (strcasecmp(at, name) == 0)
            return value;
    }
    return NULL;
}

void shoal_http_parser_reset(shoal_http_parser *parser)
{
    shoal_strbuf_free(&parser->head);
    *parser = (shoal_http_parser){.body_max = parser->body_max};
}
