/* What the bench sends and is told: URLs, keys, stream lists, prompts, rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>

#include "coordinator/bench/prompt.h"
#include "coordinator/bench/rows.h"
#include "coordinator/bench/serve_bench.h"
#include "coordinator/bench/target.h"

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *authority;
        int port;
    } good[] = {
        {"http://127.0.0.1:8000", "127.0.0.1", "127.0.0.1:8000", 8000},
        {"http://127.0.0.1:8000/", "127.0.0.1", "127.0.0.1:8000", 8000},
        {"http://node-3.cluster", "node-3.cluster", "node-3.cluster:80", 80},
        {"http://[::1]:65535", "::1", "[::1]:65535", 65535},
        {"http://[fe80::2]/", "fe80::2", "[fe80::2]:80", 80},
    };
    static const char *const bad[] = {
        "",
        "127.0.0.1:8000",
        "https://127.0.0.1:8000",
        "http://",
        "http://:80",
        "http://[::1",
        "http://[]:80",
        "http://host:",
        "http://host:0",
        "http://host:65536",
        "http://host:123456",
        "http://host:80x",
        "http://host/v1",
        "http://user@host:80",
        "http://ho st:80",
        "http://host\r\nX: y",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        shoal_bench_target t;
        assert_int_equal(shoal_bench_target_parse(good[i].url, &t), SHOAL_OK);
        assert_string_equal(t.host, good[i].host);
        assert_string_equal(t.authority, good[i].authority);
        assert_int_equal(t.port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        shoal_bench_target t;
        assert_int_equal(shoal_bench_target_parse(bad[i], &t), SHOAL_ERR_USAGE);
        assert_non_null(strstr(shoal_error_text(), "http://HOST:PORT"));
    }
}

static shoal_status read_key(const char *content, shoal_bench_target *target)
{
    char path[] = "/tmp/shoal-test-bench-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    (void)close(fd);
    const shoal_status st = shoal_bench_target_read_key(path, target);
    (void)unlink(path);
    return st;
}

static void test_keys(void **state)
{
    (void)state;
    shoal_bench_target t = {0};
    char longest[SHOAL_BENCH_KEY_MAX + 3];
    assert_int_equal(read_key("sk-123\nanother\n", &t), SHOAL_OK);
    assert_string_equal(t.key, "sk-123");
    assert_int_equal(read_key("sk-456\r\n", &t), SHOAL_OK);
    assert_string_equal(t.key, "sk-456");
    assert_int_equal(read_key("", &t), SHOAL_ERR_DATA);
    assert_int_equal(read_key("\nsk\n", &t), SHOAL_ERR_DATA);
    assert_int_equal(read_key("two words\n", &t), SHOAL_ERR_DATA);
    assert_int_equal(read_key("caf\xc3\xa9\n", &t), SHOAL_ERR_DATA);
    assert_int_equal(shoal_bench_target_read_key("/no/such/file", &t), SHOAL_ERR_NOTFOUND);
    assert_string_equal(t.key, "sk-456");

    memset(longest, 'k', sizeof longest);
    longest[SHOAL_BENCH_KEY_MAX] = '\0';
    assert_int_equal(read_key(longest, &t), SHOAL_OK);
    longest[SHOAL_BENCH_KEY_MAX] = 'k', longest[SHOAL_BENCH_KEY_MAX + 1] = '\0';
    assert_int_equal(read_key(longest, &t), SHOAL_ERR_DATA);
}

static void test_streams(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ",",
                                      "1,",
                                      "0",
                                      "-1",
                                      "1,1",
                                      "4097",
                                      "1, 2",
                                      "x",
                                      "1;2",
                                      "1.5",
                                      "1,2,3,4,5,6,7,8,9",
                                      "99999999999999999999"};
    shoal_bench_streams s;
    assert_int_equal(shoal_bench_streams_parse("1,8,32", &s), SHOAL_OK);
    assert_int_equal(s.count, 3);
    assert_true(s.counts[0] == 1 && s.counts[1] == 8 && s.counts[2] == 32);
    assert_int_equal(shoal_bench_streams_parse("4096", &s), SHOAL_OK);
    assert_true(s.count == 1 && s.counts[0] == 4096);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(shoal_bench_streams_parse(bad[i], &s), SHOAL_ERR_USAGE);
    assert_true(s.count == 1 && s.counts[0] == 4096);
}

static json_t *body_of(const shoal_bench_prompts *prompts, uint64_t number)
{
    shoal_strbuf out = {0};
    assert_int_equal(shoal_bench_prompt_body(prompts, number, &out), SHOAL_OK);
    json_t *body = json_loadb(out.data, out.bytes, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(body);
    shoal_strbuf_free(&out);
    return body;
}

static void test_bodies_with_ids(void **state)
{
    (void)state;
    const shoal_bench_prompts p = {.vocab = 300, .prompt_tokens = 50, .max_tokens = 7, .seed = 9};
    json_t *body = body_of(&p, 4);
    const json_t *ids = json_object_get(body, "prompt");
    assert_int_equal(json_array_size(ids), 50);
    for (size_t i = 0; i < 50; i++) {
        const json_t *id = json_array_get(ids, i);
        assert_true(json_is_integer(id) && json_integer_value(id) >= 0 &&
                    json_integer_value(id) < 300);
    }
    assert_int_equal(json_integer_value(json_object_get(body, "max_tokens")), 7);
    assert_true(json_is_true(json_object_get(body, "stream")));
    assert_true(json_is_true(json_object_get(body, "ignore_eos")));
    assert_int_equal(json_integer_value(json_object_get(body, "temperature")), 0);
    assert_true(
        json_is_true(json_object_get(json_object_get(body, "stream_options"), "include_usage")));
    json_decref(body);
}

/* The same number gives the same prompt, any other one that differs within a few tokens. */
static void test_prompts_repeat_and_differ(void **state)
{
    (void)state;
    const shoal_bench_prompts p = {.vocab = 1000, .prompt_tokens = 4, .max_tokens = 1};
    const shoal_bench_prompts other_seed = {
        .vocab = 1000, .prompt_tokens = 4, .max_tokens = 1, .seed = 1};
    json_t *seen[64], *again = body_of(&p, 17), *other = body_of(&other_seed, 17);
    for (uint64_t i = 0; i < 64; i++) {
        seen[i] = body_of(&p, i);
        for (uint64_t j = 0; j < i; j++)
            assert_false(json_equal(seen[i], seen[j]));
    }
    assert_true(json_equal(seen[17], again));
    assert_false(json_equal(other, again));
    for (int i = 0; i < 64; i++)
        json_decref(seen[i]);
    json_decref(again);
    json_decref(other);
}

static void test_bodies_with_text(void **state)
{
    (void)state;
    const shoal_bench_prompts p = {.text = true, .prompt_tokens = 200, .max_tokens = 1};
    json_t *body = body_of(&p, 0);
    const char *text = json_string_value(json_object_get(body, "prompt"));
    assert_non_null(text);
    assert_int_equal(strlen(text), 200);
    assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyz "), 200);
    json_decref(body);
}

static void test_the_whole_request(void **state)
{
    (void)state;
    shoal_bench_target t;
    shoal_strbuf body = {0}, out = {0};
    static const char with_key[] =
        "POST /v1/completions HTTP/1.1\r\nHost: [::1]:81\r\nContent-Type: application/json\r\n"
        "Accept: text/event-stream\r\nConnection: close\r\nAuthorization: Bearer sk\r\n"
        "Content-Length: 2\r\n\r\n{}";
    assert_int_equal(shoal_bench_target_parse("http://[::1]:81", &t), SHOAL_OK);
    assert_int_equal(shoal_strbuf_append(&body, "{}", 2), SHOAL_OK);
    assert_int_equal(shoal_bench_target_request(&t, "/v1/completions", &body, &out), SHOAL_OK);
    assert_null(memmem(out.data, out.bytes, "Authorization", 13));
    out.bytes = 0;
    memcpy(t.key, "sk", 3);
    assert_int_equal(shoal_bench_target_request(&t, "/v1/completions", &body, &out), SHOAL_OK);
    assert_int_equal(out.bytes, sizeof with_key - 1);
    assert_memory_equal(out.data, with_key, out.bytes);
    shoal_strbuf_free(&body);
    shoal_strbuf_free(&out);
}

static void test_rows_as_json(void **state)
{
    (void)state;
    shoal_bench_rows rows = {0};
    assert_int_equal(shoal_bench_rows_add(&rows, 30, "tokens/s", 40, "a.s%d", 8), SHOAL_OK);
    assert_int_equal(shoal_bench_rows_add(&rows, NAN, "ms", NAN, "b"), SHOAL_OK);
    assert_true(shoal_bench_rows_value(&rows, "a.s8") == 30);
    assert_true(isnan(shoal_bench_rows_value(&rows, "b")));
    assert_true(isnan(shoal_bench_rows_value(&rows, "c")));
    json_t *got = shoal_bench_rows_json(&rows);
    json_t *wanted =
        json_loads("[{\"name\": \"a.s8\", \"value\": 30.0, \"unit\": \"tokens/s\","
                   "  \"limit\": 40.0, \"fraction\": 0.75, \"spread\": null},"
                   " {\"name\": \"b\", \"value\": null, \"unit\": \"ms\", \"limit\": null,"
                   "  \"fraction\": null, \"spread\": null}]",
                   0, NULL);
    assert_true(json_equal(got, wanted));
    json_decref(got);
    json_decref(wanted);
    shoal_status st = SHOAL_OK;
    while (rows.count < SHOAL_BENCH_ROWS_MAX && st == SHOAL_OK)
        st = shoal_bench_rows_add(&rows, 0, "", 0, "more");
    assert_int_equal(st, SHOAL_OK);
    assert_int_equal(shoal_bench_rows_add(&rows, 0, "", 0, "more"), SHOAL_ERR_INTERNAL);
    shoal_bench_rows_free(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_bodies_with_ids),
        cmocka_unit_test(test_prompts_repeat_and_differ),
        cmocka_unit_test(test_bodies_with_text),
        cmocka_unit_test(test_the_whole_request),
        cmocka_unit_test(test_rows_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
