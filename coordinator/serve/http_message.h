/* coordinator/serve/http_message.h - the bytes of HTTP/1.x requests, parsed strictly.
 *
 * Pure: no sockets, no clock. Bytes go in as they come, in pieces of any size; the outcome does
 * not depend on how they were cut, and the time is linear in their number. Whatever two parsers
 * could read differently (bare LF or CR, folded lines, a space before the colon, two lengths, a
 * length next to chunks, unknown codings, trailers, ...) is an error, after which nothing of the
 * connection can be trusted. This is our own because the libmicrohttpd of Debian 12 (0.9.75) takes
 * most of these, and serves the request smuggled behind two framings.
 *
 *     request = METHOD SP TARGET SP HTTP/1.0 or HTTP/1.1 CRLF *(NAME ":" VALUE CRLF) CRLF [body]
 *
 * Refused: 404 an absolute URL or a "." or ".." segment, 413 a body over its limit, 414 a request
 * line or target too long, 417 an unknown expectation, 431 a head too long, 505 another version,
 * 503 no memory, 400 everything else. Trailers are refused, chunk extensions skipped. */
#ifndef SHOAL_COORDINATOR_SERVE_HTTP_MESSAGE_H
#define SHOAL_COORDINATOR_SERVE_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/serve/api_error.h"
#include "coordinator/text/growable.h"

#define SHOAL_HTTP_HEAD_MAX      16384 /* bytes, line ends included */
#define SHOAL_HTTP_HEADERS_MAX   100
#define SHOAL_HTTP_TARGET_MAX    8192
#define SHOAL_HTTP_CHUNKS_MAX    65536
#define SHOAL_HTTP_EXTENSION_MAX 256 /* bytes after the size of one chunk */

typedef enum {
    SHOAL_HTTP_NEED_MORE, /* all input is used up                                       */
    SHOAL_HTTP_HEAD,      /* the head is whole and sound: the fields of the parser hold */
    SHOAL_HTTP_BODY,      /* a piece of the body                                        */
    SHOAL_HTTP_DONE,      /* the message ends here; what follows is another one         */
    SHOAL_HTTP_BAD        /* refused; feed no more                                      */
} shoal_http_event;

typedef struct {
    const char *bytes;
    size_t count;
} shoal_http_bytes;

/* Where the parser stands, in the order of a message. */
typedef enum {
    SHOAL_HTTP_AT_REQUEST_LINE,
    SHOAL_HTTP_AT_HEADER,
    SHOAL_HTTP_AT_BODY, /* counted by Content-Length */
    SHOAL_HTTP_AT_CHUNK_SIZE,
    SHOAL_HTTP_AT_CHUNK_EXTENSION,
    SHOAL_HTTP_AT_CHUNK_LF,
    SHOAL_HTTP_AT_CHUNK_DATA,
    SHOAL_HTTP_AT_DATA_CR,
    SHOAL_HTTP_AT_DATA_LF,
    SHOAL_HTTP_AT_LAST_CR, /* after the chunk of size 0 */
    SHOAL_HTTP_AT_LAST_LF,
    SHOAL_HTTP_AT_END
} shoal_http_place;

/* All zero but for body_max is a parser at the beginning of a message. */
typedef struct {
    uint64_t body_max; /* bytes of a body without its framing */

    /* From SHOAL_HTTP_HEAD until reset; strings are the parser's, NULL before. */
    const char *method, *path, *query; /* the target is cut at '?'; query "" if there is none */
    bool http_1_1;                     /* else 1.0 */
    bool keep_alive;                   /* the client lets the connection be used again */
    bool expects_continue;             /* it waits for "100 Continue" */

    /* The parser's own. */
    shoal_http_place place;
    shoal_strbuf head; /* method, path, query, then names and values, each ending in NUL */
    size_t line;       /* where in it the line being received starts */
    size_t headers;    /* where in it the first name is */
    size_t head_bytes; /* as received */
    int header_count;
    bool host, length, chunked, wants_close, wants_keep; /* headers seen */
    uint64_t left;                                       /* bytes to come of the body or chunk */
    uint64_t chunk_total;                                /* bytes of all chunks so far */
    int chunks;
    int chunk_digits, chunk_extension; /* of the present size line */
} shoal_http_parser;

/* Take in bytes until something happens; *input moves forward behind what was used. BODY fills
 * *body with a part of the input, BAD fills *error. After HEAD a message without body is DONE at
 * the next call, even without input. */
shoal_http_event shoal_http_parser_feed(shoal_http_parser *parser, shoal_http_bytes *input,
                                        shoal_http_bytes *body, shoal_api_error *error);

/* Has any byte of a message come? Is the message whole? */
bool shoal_http_parser_started(const shoal_http_parser *parser);
bool shoal_http_parser_ended(const shoal_http_parser *parser);

/* The value of the first header of that name (in any case), NULL if absent or before HEAD. */
const char *shoal_http_parser_header(const shoal_http_parser *parser, const char *name);

/* Let go of the message and be ready for the next one (or be freed). */
void shoal_http_parser_reset(shoal_http_parser *parser);

#endif
