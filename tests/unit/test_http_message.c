/* Requests as bytes: what is sound and what is refused with which status, however the bytes are
 * cut. Two framings that another parser could read differently must yield one error and nothing
 * behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/serve/http_message.h"
#include "proto/arena.h"

#define BODY_MAX 64
#define TRACE    2048

/* What a run of bytes is read as: "METHOD PATH?QUERY [BODY]" per whole message. */
typedef struct {
    char trace[TRACE];
    int messages;
    int status; /* of the error that ended it, 0: none */
    bool unfinished;
} outcome;

static uint64_t draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static void note(outcome *o, const char *text, size_t bytes)
{
    const size_t used = strlen(o->trace);
    assert_true(used + bytes < TRACE);
    memcpy(o->trace + used, text, bytes);
}

static void note_text(outcome *o, const char *text)
{
    note(o, text, strlen(text));
}

/* Feed one piece; false after an error. */
static bool feed(shoal_http_parser *p, const char *bytes, size_t count, outcome *o)
{
    shoal_http_bytes input = {bytes, count}, body;
    shoal_api_error error = {0};
    for (;;) {
        switch (shoal_http_parser_feed(p, &input, &body, &error)) {
        case SHOAL_HTTP_NEED_MORE: assert_int_equal(input.count, 0); return true;
        case SHOAL_HTTP_HEAD:
            note_text(o, p->method);
            note_text(o, " ");
            note_text(o, p->path);
            note_text(o, "?");
            note_text(o, p->query);
            note_text(o, " [");
            break;
        case SHOAL_HTTP_BODY:
            assert_true(body.count > 0);
            note(o, body.bytes, body.count);
            break;
        case SHOAL_HTTP_DONE:
            note_text(o, "]\n");
            o->messages++;
            shoal_http_parser_reset(p);
            break;
        case SHOAL_HTTP_BAD:
            o->status = error.status;
            assert_true(strlen(error.message) > 10);
            return false;
        }
    }
}

/* Pieces of `step` bytes, or of random sizes (step 0). */
static outcome read_all(const char *bytes, size_t count, size_t step, uint64_t seed)
{
    outcome o = {0};
    shoal_http_parser p = {.body_max = BODY_MAX};
    for (size_t at = 0; at < count;) {
        size_t piece = step ? step : 1 + draw(&seed) % 40;
        if (piece > count - at)
            piece = count - at;
        char *copy = malloc(piece); /* so that a sanitizer sees a read past the piece */
        assert_non_null(copy);
        memcpy(copy, bytes + at, piece);
        const bool go_on = feed(&p, copy, piece, &o);
        free(copy);
        at += piece;
        if (!go_on)
            break;
    }
    o.unfinished = !o.status && shoal_http_parser_started(&p);
    shoal_http_parser_reset(&p);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_TEXT), 0);
    return o;
}

/* The outcome, which must be the same for every way of cutting. */
static outcome read_any(const char *bytes, size_t count)
{
    const outcome whole = read_all(bytes, count, count, 0);
    for (uint64_t seed = 0; seed < 20; seed++) {
        const outcome cut = read_all(bytes, count, seed == 0, seed);
        assert_string_equal(cut.trace, whole.trace);
        assert_int_equal(cut.status, whole.status);
        assert_int_equal(cut.messages, whole.messages);
        assert_int_equal(cut.unfinished, whole.unfinished);
    }
    return whole;
}

typedef struct {
    const char *bytes;
    size_t count;
    const char *trace;
    int status;
} row;

#define BYTES(text) text, sizeof(text) - 1
#define HOST        "Host: h\r\n"
#define GET         "GET / HTTP/1.1\r\n" HOST
#define POST        "POST /p HTTP/1.1\r\n" HOST
#define CHUNKED     POST "Transfer-Encoding: chunked\r\n\r\n"
#define SECOND      "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

static void check_rows(const row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const outcome o = read_any(rows[i].bytes, rows[i].count);
        if (o.status != rows[i].status || o.unfinished || strcmp(o.trace, rows[i].trace) != 0)
            fail_msg("row %zu: status %d, not %d; %sread as\n%s", i, o.status, rows[i].status,
                     o.unfinished ? "unfinished; " : "", o.trace);
    }
}

static void sound(void **state)
{
    (void)state;
    static const row rows[] = {
        {BYTES(GET "\r\n"), "GET /? []\n", 0},
        {BYTES("GET /a?b=c&d HTTP/1.1\r\n" HOST "\r\n"), "GET /a?b=c&d []\n", 0},
        {BYTES("GET /a? HTTP/1.1\r\n" HOST "\r\n"), "GET /a? []\n", 0},
        {BYTES("GET /a HTTP/1.0\r\n\r\n"), "GET /a? []\n", 0},
        {BYTES("M-SEARCH! /..a/.b/c..?/../x HTTP/1.1\r\n" HOST "\r\n"),
         "M-SEARCH! /..a/.b/c..?/../x []\n", 0},
        {BYTES(POST "Content-Length: 5\r\n\r\nhello"), "POST /p? [hello]\n", 0},
        {BYTES(POST "content-LENGTH:\t5 \r\n\r\nhello"), "POST /p? [hello]\n", 0},
        {BYTES(POST "Content-Length: 000000000000000000000005\r\n\r\nhello"), "POST /p? [hello]\n",
         0},
        {BYTES(POST "Content-Length: 0\r\n\r\n"), "POST /p? []\n", 0},
        {BYTES(CHUNKED "5\r\nhello\r\n0\r\n\r\n"), "POST /p? [hello]\n", 0},
        {BYTES(CHUNKED "0000000000000005\r\nhello\r\n00\r\n\r\n"), "POST /p? [hello]\n", 0},
        {BYTES(CHUNKED "2;a=b;c=\"d e\"\r\nhe\r\nA;\r\n0123456789\r\n0;x\r\n\r\n"),
         "POST /p? [he0123456789]\n", 0},
        {BYTES(POST "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"), "POST /p? []\n", 0},
        {BYTES(GET "X: a\tb \xc3\xa4 \xff\r\nEmpty:\r\n\r\n"), "GET /? []\n", 0},
        {BYTES(GET "\r\n" POST "Content-Length: 2\r\n\r\nab" CHUNKED "1\r\nc\r\n0\r\n\r\n" GET
                   "\r\n"),
         "GET /? []\nPOST /p? [ab]\nPOST /p? [c]\nGET /? []\n", 0},
        {BYTES(GET "\r\nG@T / HTTP/1.1\r\n"), "GET /? []\n", 400},
    };
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

static void bad_request_lines(void **state)
{
    (void)state;
    static const row rows[] = {
        {BYTES("\r\n" GET "\r\n"), "", 400},
        {BYTES("GET  / HTTP/1.1\r\n"), "", 400},
        {BYTES("GET /  HTTP/1.1\r\n"), "", 400},
        {BYTES("GET / HTTP/1.1 \r\n"), "", 400},
        {BYTES(" GET / HTTP/1.1\r\n"), "", 400},
        {BYTES("GET\t/ HTTP/1.1\r\n"), "", 400},
        {BYTES("GET /\t HTTP/1.1\r\n"), "", 400},
        {BYTES("GET /\r\n"), "", 400},
        {BYTES("GET\r\n"), "", 400},
        {BYTES("G(T / HTTP/1.1\r\n"), "", 400},
        {BYTES("G\x80T / HTTP/1.1\r\n"), "", 400},
        {BYTES("GET / http/1.1\r\n"), "", 400},
        {BYTES("GET / HTTP/1.1x\r\n"), "", 400},
        {BYTES("GET / HTTP/11\r\n"), "", 400},
        {BYTES("GET / HTTP/1.\r\n"), "", 400},
        {BYTES("GET / HTTP/+.1\r\n"), "", 400},
        {BYTES("GET / HTTP/1.2\r\n"), "", 505},
        {BYTES("GET / HTTP/2.0\r\n"), "", 505},
        {BYTES("GET / HTTP/0.9\r\n"), "", 505},
        {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "", 505},
        {BYTES("GET / HTTP/1.1\n"), "", 400},
        {BYTES("GET / HTTP/1.1\rX"), "", 400},
        {BYTES("GET / HTTP/1.1\r\r"), "", 400},
        {BYTES("GET /\0 HTTP/1.1\r\n"), "", 400},
        {BYTES("GET /\x01 HTTP/1.1\r\n"), "", 400},
        {BYTES("GET /\x7f HTTP/1.1\r\n"), "", 400},
        {BYTES("GET /\xc3\xa4 HTTP/1.1\r\n"), "", 400},
        {BYTES("GET /a#b HTTP/1.1\r\n"), "", 400},
        {BYTES("GET a HTTP/1.1\r\n"), "", 400},
        {BYTES("OPTIONS * HTTP/1.1\r\n"), "", 400},
        {BYTES("CONNECT host:80 HTTP/1.1\r\n"), "", 400},
        {BYTES("GET http://h/ HTTP/1.1\r\n"), "", 404},
        {BYTES("GET /.. HTTP/1.1\r\n"), "", 404},
        {BYTES("GET /a/../b HTTP/1.1\r\n"), "", 404},
        {BYTES("GET /./b HTTP/1.1\r\n"), "", 404},
        {BYTES("GET /a/..?q HTTP/1.1\r\n"), "", 404},
        {BYTES("GET /%2e%2E/x HTTP/1.1\r\n"), "", 404},
        {BYTES("GET /a/.%2e HTTP/1.1\r\n"), "", 404},
    };
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

static void bad_headers(void **state)
{
    (void)state;
    static const row rows[] = {
        {BYTES("GET / HTTP/1.1\r\n\r\n"), "", 400},
        {BYTES(GET "host: h\r\n"), "", 400},
        {BYTES("GET / HTTP/1.1\r\nHost: a b\r\n"), "", 400},
        {BYTES("GET / HTTP/1.1\r\nHost: h,i\r\n"), "", 400},
        {BYTES("GET / HTTP/1.1\r\nHost: h/x\r\n"), "", 400},
        {BYTES(GET "A: b\r\n folded\r\n"), "", 400},
        {BYTES(GET "A: b\r\n\tfolded\r\n"), "", 400},
        {BYTES(GET " A: b\r\n"), "", 400},
        {BYTES(GET "A : b\r\n"), "", 400},
        {BYTES(GET "A\t: b\r\n"), "", 400},
        {BYTES(GET ": b\r\n"), "", 400},
        {BYTES(GET "A b: c\r\n"), "", 400},
        {BYTES(GET "A\xe4: c\r\n"), "", 400},
        {BYTES(GET "no colon\r\n"), "", 400},
        {BYTES(GET "A: b\n"), "", 400},
        {BYTES(GET "A: b\n\r\n"), "", 400},
        {BYTES(GET "A: b\rC: d\r\n"), "", 400},
        {BYTES(GET "A: b\0c\r\n"), "", 400},
        {BYTES(GET "A: b\x0b\r\n"), "", 400},
        {BYTES(GET "A: b\x7f\r\n"), "", 400},
        {BYTES(GET "A\0: b\r\n"), "", 400},
        {BYTES(GET "A: b\r\n\n"), "", 400},
        {BYTES(GET "\n"), "", 400},
        {BYTES(GET "Expect: 200-ok\r\n"), "", 417},
    };
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

static void smuggling(void **state)
{
    (void)state;
#define WITH_LENGTH(value) BYTES(POST "Content-Length: " value "\r\n\r\nhello" SECOND), ""
#define WITH_CODING(value) BYTES(POST "Transfer-Encoding:" value "\r\n\r\n0\r\n\r\n" SECOND), ""
    static const row rows[] = {
        {WITH_LENGTH("-5"), 400},
        {WITH_LENGTH("+5"), 400},
        {WITH_LENGTH("5,5"), 400},
        {WITH_LENGTH("5 5"), 400},
        {WITH_LENGTH(""), 400},
        {WITH_LENGTH("0x5"), 400},
        {WITH_LENGTH("5.0"), 400},
        {WITH_LENGTH("5\r\nContent-Length: 5"), 400},
        {WITH_LENGTH("5\r\nContent-Length: 6"), 400},
        {WITH_LENGTH("5\r\nTransfer-Encoding: chunked"), 400},
        {WITH_LENGTH("5\r\nTransfer-Encoding: identity"), 400},
        {WITH_LENGTH("65"), 413},
        {WITH_LENGTH("1000000000000000000"), 413},
        {WITH_LENGTH("9223372036854775808"), 413},
        {WITH_LENGTH("18446744073709551621"), 413}, /* 5 modulo 2^64 */
        {WITH_LENGTH("99999999999999999999999999999999999999"), 413},
        {WITH_CODING(" chunked\r\nContent-Length: 5"), 400},
        {WITH_CODING(" chunked, identity"), 400},
        {WITH_CODING(" identity"), 400},
        {WITH_CODING(" gzip, chunked"), 400},
        {WITH_CODING(" xchunked"), 400},
        {WITH_CODING(" chunkedx"), 400},
        {WITH_CODING(" chunked;q=1"), 400},
        {WITH_CODING(" \"chunked\""), 400},
        {WITH_CODING("\x0b"
                     "chunked"),
         400},
        {WITH_CODING(""), 400},
        {WITH_CODING(" chunked\r\nTransfer-Encoding: chunked"), 400},
        {WITH_CODING(" chunked\r\nTransfer-Encoding: x"), 400},
        {BYTES("POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SECOND), "", 400},
        {BYTES(POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" SECOND), "", 400},
        {BYTES(POST "Transfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n" SECOND), "", 400},
        {BYTES(POST "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SECOND), "", 400},
    };
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

static void bad_chunks(void **state)
{
    (void)state;
#define CHUNKS(text, trace) BYTES(CHUNKED text SECOND), "POST /p? [" trace
    static const row rows[] = {
        {CHUNKS("\r\nhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS("-5\r\nhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS("+5\r\nhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS("0x5\r\nhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS(" 5\r\nhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS("5 \r\nhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS("5 ;a\r\nhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS("5g\r\nhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS("5\nhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS("5\rhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS("5;a\nhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS("5;a\0b\r\nhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS("5;a\rb\r\nhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS("\0005\r\nhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS("4\r\nhello\r\n0\r\n\r\n", "hell"), 400},
        {CHUNKS("6\r\nhello\r\n0\r\n\r\n", "hello\r"), 400},
        {CHUNKS("5\r\nhello\n0\r\n\r\n", "hello"), 400},
        {CHUNKS("5\r\nhello0\r\n\r\n", "hello"), 400},
        {CHUNKS("5\r\nhello\rx0\r\n\r\n", "hello"), 400},
        {CHUNKS("5\r\nhello\r\n0\r\nX: y\r\n\r\n", "hello"), 400}, /* a trailer */
        {CHUNKS("5\r\nhello\r\n0\r\n\rx", "hello"), 400},
        {CHUNKS("5\r\nhello\r\n0\r\n\n", "hello"), 400},
        {CHUNKS("41\r\n", ""), 413},
        {CHUNKS("ffffffffffffffff\r\nhello\r\n", ""), 413},
        {CHUNKS("10000000000000005\r\nhello\r\n0\r\n\r\n", ""), 400}, /* 5 modulo 2^64 */
        {CHUNKS("00000000000000005\r\nhello\r\n0\r\n\r\n", ""), 400},
        {CHUNKS("5\r\nhello\r\n3c\r\n", "hello"), 413},
        {CHUNKS("5\r\nhello\r\nfffffffffffffffd\r\n", "hello"), 413}, /* the sum wraps to 2 */
    };
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

/* ---- limits: the last thing that fits, and the first that does not ---- */

static size_t repeat(char *out, char c, size_t count)
{
    memset(out, c, count);
    return count;
}

static outcome with_target(size_t target)
{
    static char bytes[3 * SHOAL_HTTP_HEAD_MAX];
    size_t at = (size_t)sprintf(bytes, "GET /");
    at += repeat(bytes + at, 'a', target - 1);
    at += (size_t)sprintf(bytes + at, " HTTP/1.1\r\nHost: h\r\n\r\n");
    return read_all(bytes, at, at, 0);
}

/* A head of exactly so many bytes. */
static outcome with_head(size_t head)
{
    static char bytes[3 * SHOAL_HTTP_HEAD_MAX];
    size_t at = (size_t)sprintf(bytes, GET "A: ");
    at += repeat(bytes + at, 'a', head - at - 4);
    at += (size_t)sprintf(bytes + at, "\r\n\r\n");
    assert_int_equal(at, head);
    return read_all(bytes, at, 0, head);
}

static outcome with_headers(int headers)
{
    char bytes[4096];
    size_t at = (size_t)sprintf(bytes, GET);
    for (int i = 1; i < headers; i++)
        at += (size_t)sprintf(bytes + at, "A%d: b\r\n", i);
    at += (size_t)sprintf(bytes + at, "\r\n");
    return read_any(bytes, at);
}

static outcome with_extension(size_t extension)
{
    char bytes[2048];
    size_t at = (size_t)sprintf(bytes, CHUNKED "1;");
    at += repeat(bytes + at, 'e', extension);
    at += (size_t)sprintf(bytes + at, "\r\nx\r\n0\r\n\r\n");
    return read_any(bytes, at);
}

static void limits_of_heads(void **state)
{
    (void)state;
    assert_int_equal(with_target(SHOAL_HTTP_TARGET_MAX + 1).status, 414);
    assert_int_equal(with_target(2 * SHOAL_HTTP_HEAD_MAX).status, 414);
    assert_int_equal(with_head(SHOAL_HTTP_HEAD_MAX).messages, 1);
    assert_int_equal(with_head(SHOAL_HTTP_HEAD_MAX + 1).status, 431);
    assert_int_equal(with_head(2 * SHOAL_HTTP_HEAD_MAX).status, 431);
    assert_int_equal(with_headers(SHOAL_HTTP_HEADERS_MAX).messages, 1);
    assert_int_equal(with_headers(SHOAL_HTTP_HEADERS_MAX + 1).status, 431);
    assert_int_equal(with_extension(SHOAL_HTTP_EXTENSION_MAX).messages, 1);
    assert_int_equal(with_extension(SHOAL_HTTP_EXTENSION_MAX + 1).status, 400);
}

/* The longest target that is taken does not fit into a trace. */
static void longest_target(void **state)
{
    (void)state;
    static char bytes[SHOAL_HTTP_HEAD_MAX];
    shoal_http_parser p = {0};
    shoal_http_bytes body;
    shoal_api_error error = {0};
    size_t at = (size_t)sprintf(bytes, "GET /");
    at += repeat(bytes + at, 'a', SHOAL_HTTP_TARGET_MAX - 1);
    at += (size_t)sprintf(bytes + at, " HTTP/1.1\r\nHost: h\r\n\r\n");
    shoal_http_bytes input = {bytes, at};
    assert_int_equal(shoal_http_parser_feed(&p, &input, &body, &error), SHOAL_HTTP_HEAD);
    assert_int_equal(strlen(p.path), SHOAL_HTTP_TARGET_MAX);
    shoal_http_parser_reset(&p);
}

static void limits_of_bodies(void **state)
{
    (void)state;
    char bytes[512];
    int at = sprintf(bytes, POST "Content-Length: %d\r\n\r\n%0*d", BODY_MAX, BODY_MAX, 0);
    assert_int_equal(read_any(bytes, (size_t)at).messages, 1);
    at = sprintf(bytes, POST "Content-Length: %d\r\n\r\n", BODY_MAX + 1);
    assert_int_equal(read_any(bytes, (size_t)at).status, 413);
    at = sprintf(bytes, POST "Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", BODY_MAX + 1);
    assert_int_equal(read_any(bytes, (size_t)at).status, 413);
    at = sprintf(bytes, CHUNKED "%x\r\n%0*d\r\n0\r\n\r\n", BODY_MAX, BODY_MAX, 0);
    assert_int_equal(read_any(bytes, (size_t)at).messages, 1);
    at = sprintf(bytes, CHUNKED "%x\r\n%0*d\r\n1\r\n", BODY_MAX, BODY_MAX, 0);
    assert_int_equal(read_any(bytes, (size_t)at).status, 413);
}

/* Chunks of one byte, `count` of them: the status, 0 when the message is whole. */
static int with_chunks(int count)
{
    shoal_http_parser p = {.body_max = 1u << 20};
    shoal_http_bytes body;
    shoal_api_error error = {0};
    shoal_http_bytes input = {BYTES(CHUNKED)};
    shoal_http_event event = shoal_http_parser_feed(&p, &input, &body, &error);
    for (int i = 0; i < count && event != SHOAL_HTTP_BAD; i++) {
        input = (shoal_http_bytes){"1\r\nx\r\n", 6};
        do
            event = shoal_http_parser_feed(&p, &input, &body, &error);
        while (event == SHOAL_HTTP_BODY);
    }
    if (event != SHOAL_HTTP_BAD) {
        input = (shoal_http_bytes){"0\r\n\r\n", 5};
        event = shoal_http_parser_feed(&p, &input, &body, &error);
        assert_int_equal(event, SHOAL_HTTP_DONE);
    }
    shoal_http_parser_reset(&p);
    return error.status;
}

static void limit_of_chunks(void **state)
{
    (void)state;
    assert_int_equal(with_chunks(SHOAL_HTTP_CHUNKS_MAX), 0);
    assert_int_equal(with_chunks(SHOAL_HTTP_CHUNKS_MAX + 1), 413);
    assert_int_equal(with_chunks(1000000), 413);
}

/* ---- what a head says ---- */

static void connection_words(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool keep_alive, expects_continue;
    } rows[] = {
        {GET "\r\n", true, false},
        {GET "Connection: close\r\n\r\n", false, false},
        {GET "Connection: Keep-Alive, Close\r\n\r\n", false, false},
        {GET "Connection: keep-alive\r\nConnection: x,close\r\n\r\n", false, false},
        {GET "Connection: closed\r\n\r\n", true, false},
        {"GET / HTTP/1.0\r\n\r\n", false, false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, false},
        {POST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", true, true},
        {"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        shoal_http_parser p = {.body_max = BODY_MAX};
        shoal_http_bytes body, input = {rows[i].text, strlen(rows[i].text)};
        shoal_api_error error = {0};
        assert_int_equal(shoal_http_parser_feed(&p, &input, &body, &error), SHOAL_HTTP_HEAD);
        assert_int_equal(p.keep_alive, rows[i].keep_alive);
        assert_int_equal(p.expects_continue, rows[i].expects_continue);
        shoal_http_parser_reset(&p);
    }
}

static void header_values(void **state)
{
    (void)state;
    static const char text[] = GET "A: first\r\na: second\r\nEmpty: \t \r\nWide:  x \t y  \r\n\r\n";
    shoal_http_parser p = {0};
    shoal_http_bytes body, input = {BYTES(text)};
    shoal_api_error error = {0};
    assert_int_equal(shoal_http_parser_feed(&p, &input, &body, &error), SHOAL_HTTP_HEAD);
    assert_string_equal(shoal_http_parser_header(&p, "HOST"), "h");
    assert_string_equal(shoal_http_parser_header(&p, "a"), "first");
    assert_string_equal(shoal_http_parser_header(&p, "empty"), "");
    assert_string_equal(shoal_http_parser_header(&p, "wide"), "x \t y");
    assert_null(shoal_http_parser_header(&p, "first"));
    assert_null(shoal_http_parser_header(&p, ""));
    shoal_http_parser_reset(&p);
    assert_null(shoal_http_parser_header(&p, "host"));
}

static void no_memory(void **state)
{
    (void)state;
    shoal_http_parser p = {0};
    shoal_http_bytes body, input = {BYTES(GET "\r\n")};
    shoal_api_error error = {0};
    shoal_mem_fail_nth(1);
    assert_int_equal(shoal_http_parser_feed(&p, &input, &body, &error), SHOAL_HTTP_BAD);
    assert_int_equal(error.status, 503);
    assert_int_equal(error.retry_after, 1);
    shoal_http_parser_reset(&p);
}

/* ---- errors as JSON ---- */

static void error_text(const shoal_api_error *error, const char *expected)
{
    shoal_strbuf out = {0};
    assert_int_equal(shoal_api_error_write(error, &out), SHOAL_OK);
    assert_int_equal(out.bytes, strlen(expected));
    assert_memory_equal(out.data, expected, out.bytes);
    shoal_strbuf_free(&out);
}

static void errors_as_json(void **state)
{
    (void)state;
    shoal_api_error e = {0};
    assert_false(shoal_api_refuse(&e, 400, "bad", "n", "n is %d, not 1..%d", 17, 16));
    assert_false(shoal_api_refuse(&e, 500, NULL, NULL, "the first refusal stands"));
    error_text(&e, "{\"error\":{\"message\":\"n is 17, not 1..16\",\"type\":"
                   "\"invalid_request_error\",\"param\":\"n\",\"code\":\"bad\"}}");
    static const struct {
        int status;
        const char *type;
    } rows[] = {{401, "authentication_error"},
                {404, "invalid_request_error"},
                {429, "rate_limit_error"},
                {500, "server_error"},
                {503, "server_error"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char expected[200];
        e = (shoal_api_error){0};
        (void)shoal_api_refuse(&e, rows[i].status, NULL, NULL, "\"\n");
        (void)sprintf(expected,
                      "{\"error\":{\"message\":\"\\\"\\n\",\"type\":\"%s\",\"param\":null,"
                      "\"code\":null}}",
                      rows[i].type);
        error_text(&e, expected);
    }
}

/* A field that is too small, or a message with broken bytes, still makes whole JSON. */
static void errors_are_cut_at_characters(void **state)
{
    (void)state;
    char wide[1001];
    for (size_t i = 0; i < 1000; i += 2)
        memcpy(wide + i, "\xc3\xa4", 3);
    shoal_api_error e = {0};
    shoal_strbuf out = {0};
    (void)shoal_api_refuse(&e, 400, wide, wide + 2, "x%s", wide);
    assert_int_equal(strlen(e.message), 399);
    assert_int_equal(strlen(e.code), 38);
    assert_int_equal(strlen(e.param), 62);
    assert_int_equal(shoal_api_error_write(&e, &out), SHOAL_OK);
    shoal_strbuf_free(&out);
    e = (shoal_api_error){0};
    (void)shoal_api_refuse(&e, 400, NULL, NULL, "whole\xff rest");
    assert_string_equal(e.message, "whole");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound),           cmocka_unit_test(bad_request_lines),
        cmocka_unit_test(bad_headers),     cmocka_unit_test(smuggling),
        cmocka_unit_test(bad_chunks),      cmocka_unit_test(limits_of_heads),
        cmocka_unit_test(longest_target),  cmocka_unit_test(limits_of_bodies),
        cmocka_unit_test(limit_of_chunks), cmocka_unit_test(connection_words),
        cmocka_unit_test(header_values),   cmocka_unit_test(no_memory),
        cmocka_unit_test(errors_as_json),  cmocka_unit_test(errors_are_cut_at_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
