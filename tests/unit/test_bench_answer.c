/* Answers as the bench reads them: HTTP framing and events, in pieces of every size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/bench/events.h"
#include "coordinator/bench/response.h"

/* Feed `text` in pieces of `step` bytes, then close; the verdict, and the body as a string. */
static shoal_status read_answer(const char *text, size_t step, int *status, char *body, size_t room)
{
    shoal_bench_response r = {0};
    shoal_strbuf out = {0};
    shoal_status st = SHOAL_OK;
    const size_t length = strlen(text);
    for (size_t at = 0; at < length && st == SHOAL_OK; at += step)
        st =
            shoal_bench_response_feed(&r, text + at, length - at < step ? length - at : step, &out);
    if (st == SHOAL_OK)
        st = shoal_bench_response_end(&r);
    *status = r.status;
    assert_true(out.bytes < room);
    if (out.bytes)
        memcpy(body, out.data, out.bytes);
    body[out.bytes] = '\0';
    shoal_strbuf_free(&out);
    shoal_bench_response_free(&r);
    return st;
}

static void expect_answer(const char *text, int status, const char *body)
{
    for (size_t step = 1; step <= strlen(text); step++) {
        char got[256];
        int code;
        assert_int_equal(read_answer(text, step, &code, got, sizeof got), SHOAL_OK);
        assert_int_equal(code, status);
        assert_string_equal(got, body);
    }
}

static void expect_bad_answer(const char *text, const char *part)
{
    for (size_t step = 1; step <= strlen(text) + 1; step++) {
        char got[256];
        int code;
        assert_int_equal(read_answer(text, step, &code, got, sizeof got), SHOAL_ERR_DATA);
        if (!strstr(shoal_error_text(), part))
            fail_msg("'%s' does not say '%s'", shoal_error_text(), part);
    }
}

static void test_framings(void **state)
{
    (void)state;
    expect_answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello");
    expect_answer("HTTP/1.1 200 OK\ncontent-length:5\n\nhello", 200, "hello");
    expect_answer("HTTP/1.0 429\r\n\r\nto the end", 429, "to the end");
    expect_answer("HTTP/1.1 204 No Content\r\n\r\n", 204, "");
    expect_answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "");
    expect_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nX: y\r\n\r\n"
                  "3\r\nhel\r\nA;name=value\r\nlo\r\n\r\n0123\r\n0\r\nTrailer: x\r\n\r\n",
                  200, "hello\r\n\r\n0123");
}

static void test_what_is_no_answer(void **state)
{
    (void)state;
    expect_bad_answer("", "without an answer");
    expect_bad_answer("SSH-2.0-OpenSSH\r\n", "not HTTP/1");
    expect_bad_answer("HTTP/1.1 20\r\n", "not HTTP/1");
    expect_bad_answer("HTTP/1.1 100 Continue\r\n\r\n", "interim");
    expect_bad_answer("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "bad header");
    expect_bad_answer("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "bad Content-Length");
    expect_bad_answer("HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n",
                      "bad Content-Length");
    expect_bad_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "unknown encoding");
    expect_bad_answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "in the middle");
    expect_bad_answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", "follow the end");
    expect_bad_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", "the middle");
    expect_bad_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "chunk size");
    expect_bad_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "1000000000000000\r\n",
                      "chunk size");
    expect_bad_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
                      "longer than it says");
}

static void test_a_head_without_end(void **state)
{
    (void)state;
    shoal_bench_response r = {0};
    shoal_strbuf body = {0};
    static const char start[] = "HTTP/1.1 200 OK\r\n", line[] = "X-Long: header\r\n";
    shoal_status st = shoal_bench_response_feed(&r, start, sizeof start - 1, &body);
    for (unsigned i = 0; i < SHOAL_BENCH_HEAD_MAX && st == SHOAL_OK; i++)
        st = shoal_bench_response_feed(&r, line, sizeof line - 1, &body);
    assert_int_equal(st, SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "longer than"));
    shoal_bench_response_free(&r);
    shoal_strbuf_free(&body);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* All events of a text that arrives in pieces of `step` bytes, each in brackets. */
static void read_events(const char *text, size_t step, char *out, size_t room)
{
    shoal_bench_events e = {0};
    const size_t length = strlen(text);
    size_t used = 0;
    for (size_t at = 0; at < length; at += step) {
        const char *data;
        size_t bytes;
        assert_int_equal(
            shoal_strbuf_append(&e.text, text + at, length - at < step ? length - at : step),
            SHOAL_OK);
        do {
            assert_int_equal(shoal_bench_events_next(&e, &data, &bytes), SHOAL_OK);
            if (data)
                used += (size_t)snprintf(out + used, room - used, "[%.*s]", (int)bytes, data);
        } while (data);
    }
    out[used] = '\0';
    shoal_bench_events_free(&e);
}

static void expect_events(const char *text, const char *wanted)
{
    for (size_t step = 1; step <= strlen(text); step++) {
        char got[256];
        read_events(text, step, got, sizeof got);
        assert_string_equal(got, wanted);
    }
}

static void test_events(void **state)
{
    (void)state;
    expect_events("data: one\n\ndata:two\r\n\r\ndata:  three\n\n", "[one][two][ three]");
    expect_events(": ping\n\nevent: x\nid: 7\ndata: a\ndata: b\nretry: 1\n\n", "[a\nb]");
    expect_events("data\n\ndata:\n\n\n\ndatabase: no\n\n", "[][]");
    expect_events("data: whole\n\ndata: without an end\n", "[whole]");
}

static void test_an_event_that_is_too_long(void **state)
{
    (void)state;
    static const char block[] = "0123456789abcdef";
    static const char *const between[] = {"", "\ndata: "};
    for (size_t i = 0; i < 2; i++) {
        shoal_bench_events e = {0};
        const char *data;
        size_t bytes;
        shoal_status st = shoal_strbuf_append(&e.text, "data: ", 6);
        for (size_t n = 0; n < SHOAL_BENCH_EVENT_MAX && st == SHOAL_OK; n++) {
            assert_int_equal(shoal_strbuf_append(&e.text, block, sizeof block - 1), SHOAL_OK);
            assert_int_equal(shoal_strbuf_append(&e.text, between[i], strlen(between[i])),
                             SHOAL_OK);
            if (n % 1024 == 0)
                st = shoal_bench_events_next(&e, &data, &bytes);
        }
        assert_int_equal(st, SHOAL_ERR_DATA);
        shoal_bench_events_free(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_framings),
        cmocka_unit_test(test_what_is_no_answer),
        cmocka_unit_test(test_a_head_without_end),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_an_event_that_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
