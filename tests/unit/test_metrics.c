/* Metrics: a strict reader of Prometheus' text format judges what is written, a table of vLLM's
 * bounds judges the histograms, docs/metrics.md and the program must name the same families, and
 * numbers are counted a second time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>

#include "coordinator/serve/buckets.h"
#include "coordinator/serve/metrics.h"
#include "proto/arena.h"

/* ---- a strict reader ---- */

#define FAMILIES_MAX 128
#define SAMPLES_MAX  2048
#define NAME_MAX_    64

typedef struct {
    char name[NAME_MAX_], type[16];
    char labels[256]; /* names of its samples without "le", ", " between; "?" before the first */
} read_family;

typedef struct {
    char series[512]; /* name{labels}, as written */
    double value;
} read_sample;

typedef struct {
    read_family families[FAMILIES_MAX];
    int family_count;
    read_sample samples[SAMPLES_MAX];
    int sample_count;
    char help_of[NAME_MAX_]; /* HELP that waits for its TYPE */
} reading;

static bool is_name_char(char c, bool first)
{
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    return letter || (!first && c >= '0' && c <= '9');
}

/* The length of the name at `text`; at least 1. */
static size_t name_length(const char *text)
{
    size_t n = 0;
    while (is_name_char(text[n], n == 0))
        n++;
    assert_in_range(n, 1, NAME_MAX_ - 1);
    return n;
}

static read_family *find_family(reading *r, const char *name)
{
    for (int i = 0; i < r->family_count; i++)
        if (strcmp(r->families[i].name, name) == 0)
            return &r->families[i];
    return NULL;
}

static double value_of(const reading *r, const char *series)
{
    for (int i = 0; i < r->sample_count; i++)
        if (strcmp(r->samples[i].series, series) == 0)
            return r->samples[i].value;
    fail_msg("no series %s", series);
    return 0;
}

static void read_comment(reading *r, const char *line)
{
    char name[NAME_MAX_];
    const bool help = strncmp(line, "# HELP ", 7) == 0;
    assert_true(help || strncmp(line, "# TYPE ", 7) == 0);
    const size_t length = name_length(line + 7);
    (void)snprintf(name, sizeof name, "%.*s", (int)length, line + 7);
    assert_int_equal(line[7 + length], ' ');
    const char *rest = line + 8 + length;
    assert_true(strlen(rest) > 0);
    if (help) {
        assert_string_equal(r->help_of, "");
        assert_null(find_family(r, name));
        memcpy(r->help_of, name, sizeof name);
        return;
    }
    assert_string_equal(r->help_of, name);
    r->help_of[0] = '\0';
    assert_true(strcmp(rest, "counter") == 0 || strcmp(rest, "gauge") == 0 ||
                strcmp(rest, "histogram") == 0);
    assert_true(r->family_count < FAMILIES_MAX);
    read_family *f = &r->families[r->family_count++];
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    (void)snprintf(f->type, sizeof f->type, "%s", rest);
    (void)snprintf(f->labels, sizeof f->labels, "?");
}

/* Reads {a="b",c="d"}; names (without le) go to `names`. Returns what follows. */
static const char *read_labels(const char *at, char *names, size_t room)
{
    names[0] = '\0';
    if (*at != '{')
        return at;
    do {
        at++;
        const size_t length = name_length(at);
        if (length != 2 || memcmp(at, "le", 2) != 0) {
            const size_t used = strlen(names);
            (void)snprintf(names + used, room - used, "%s%.*s", used ? ", " : "", (int)length, at);
        }
        at += length;
        assert_memory_equal(at, "=\"", 2);
        for (at += 2; *at != '"'; at++) {
            assert_int_not_equal(*at, '\0');
            if (*at == '\\') {
                at++;
                assert_non_null(strchr("\\\"n", *at));
            }
        }
        at++;
    } while (*at == ',');
    assert_int_equal(*at, '}');
    return at + 1;
}

/* Samples of a family follow its TYPE, so the family is the last one announced. */
static void read_sample_line(reading *r, const char *line)
{
    char names[256], *end;
    assert_true(r->family_count > 0);
    read_family *f = &r->families[r->family_count - 1];
    const size_t length = name_length(line), own = strlen(f->name);
    assert_true(length >= own && memcmp(line, f->name, own) == 0);
    char suffix[NAME_MAX_];
    (void)snprintf(suffix, sizeof suffix, "%.*s", (int)(length - own), line + own);
    const bool part = strcmp(suffix, "_bucket") == 0 || strcmp(suffix, "_sum") == 0 ||
                      strcmp(suffix, "_count") == 0;
    assert_true(strcmp(f->type, "histogram") == 0 ? part : suffix[0] == '\0');

    const char *rest = read_labels(line + length, names, sizeof names);
    assert_int_equal(*rest, ' ');
    assert_true(strcmp(f->labels, "?") == 0 || strcmp(f->labels, names) == 0);
    memcpy(f->labels, names, sizeof names);

    assert_true(r->sample_count < SAMPLES_MAX);
    read_sample *s = &r->samples[r->sample_count];
    assert_true((size_t)(rest - line) < sizeof s->series);
    (void)snprintf(s->series, sizeof s->series, "%.*s", (int)(rest - line), line);
    s->value = strtod(rest + 1, &end);
    assert_true(end > rest + 1 && *end == '\0');
    assert_true(isfinite(s->value));
    assert_true(strcmp(f->type, "gauge") == 0 || s->value >= 0);
    for (int i = 0; i < r->sample_count; i++)
        assert_string_not_equal(r->samples[i].series, s->series);
    r->sample_count++;
}

/* The value of the label le of a bucket. */
static double bound_of(const char *series)
{
    const char *le = strstr(series, "le=\"");
    assert_non_null(le);
    return strncmp(le + 4, "+Inf\"", 5) == 0 ? INFINITY : strtod(le + 4, NULL);
}

/* Bounds rise, counts never fall, the last bucket is +Inf and equals _count; _sum is between. */
static void check_histograms(const reading *r)
{
    double bound = -INFINITY, count = 0;
    for (int i = 0; i < r->sample_count; i++) {
        const read_sample *s = &r->samples[i];
        if (strstr(s->series, "_bucket{")) {
            assert_true(bound_of(s->series) > bound);
            assert_true(s->value >= count);
            bound = bound_of(s->series);
            count = s->value;
        } else if (bound > -INFINITY) {
            assert_non_null(strstr(s->series, "_sum"));
            assert_true(isinf(bound));
            assert_true(++i < r->sample_count);
            assert_non_null(strstr(r->samples[i].series, "_count"));
            assert_true(r->samples[i].value == count);
            bound = -INFINITY;
            count = 0;
        }
    }
}

static reading *read_text(const shoal_strbuf *text)
{
    static reading r;
    memset(&r, 0, sizeof r);
    assert_true(text->bytes > 0 && text->data[text->bytes - 1] == '\n');
    char *copy = malloc(text->bytes + 1);
    assert_non_null(copy);
    memcpy(copy, text->data, text->bytes);
    copy[text->bytes] = '\0';
    assert_int_equal(strlen(copy), text->bytes);
    for (char *line = copy, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        *end = '\0';
        if (*line == '#')
            read_comment(&r, line);
        else
            read_sample_line(&r, line);
    }
    free(copy);
    assert_string_equal(r.help_of, "");
    check_histograms(&r);
    return &r;
}

/* ---- a cluster to report ---- */

static const shoal_rank_view three_ranks[] = {
    {true,
     "node-a",
     "avx512vnni",
     {0, 5},
     {0, 2},
     {0, 9},
     {0, 40},
     {1000, 1001, 5000, 5005, 900, 64},
     {100, 400, 10, 3, 1, 90000}},
    {true,
     "node-b",
     "avx2",
     {5, 12},
     {2, 4},
     {9, 9},
     {40, 41},
     {2000, 2000, 6000, 6000, 0, 0},
     {50, 200, 10, 3, 0.25, 0}},
    {false, "", "", {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0}},
};

static shoal_metrics_gauges a_cluster(void)
{
    return (shoal_metrics_gauges){
        .state = "recovering",
        .generation = 3,
        .connections = 7,
        .uptime_seconds = 12.5,
        .requests = 4,
        .scheduler = {5, 6, 30, 10, 40, 2, 900, 300},
        .ranks = three_ranks,
        .rank_count = 3,
        .load_fraction = 0.75,
    };
}

static reading *written(shoal_metrics *metrics)
{
    shoal_strbuf text = {0};
    const shoal_metrics_gauges gauges = a_cluster();
    assert_int_equal(shoal_metrics_write(metrics, &gauges, &text), SHOAL_OK);
    reading *r = read_text(&text);
    shoal_strbuf_free(&text);
    return r;
}

static shoal_metrics *create(const char *model)
{
    shoal_metrics *metrics;
    assert_int_equal(shoal_metrics_create(model, &metrics), SHOAL_OK);
    return metrics;
}

/* ---- tests ---- */

static void test_gauges(void **state)
{
    (void)state;
    static const struct {
        const char *series;
        double value;
    } wanted[] = {
        {"shoal_num_requests_running{model_name=\"m\"}", 5},
        {"shoal_num_requests_waiting{model_name=\"m\"}", 6},
        {"shoal_kv_cache_usage_perc{model_name=\"m\"}", 0.25},
        {"shoal_num_preemptions_total{model_name=\"m\"}", 2},
        {"shoal_prefix_cache_queries_total{model_name=\"m\"}", 900},
        {"shoal_prefix_cache_hits_total{model_name=\"m\"}", 300},
        {"shoal_kv_pages_total", 40},
        {"shoal_kv_pages_free", 30},
        {"shoal_kv_pages_cached", 10},
        {"shoal_state{state=\"loading\"}", 0},
        {"shoal_state{state=\"serving\"}", 0},
        {"shoal_state{state=\"recovering\"}", 1},
        {"shoal_state{state=\"draining\"}", 0},
        {"shoal_state{state=\"failed\"}", 0},
        {"shoal_generation", 3},
        {"shoal_uptime_seconds", 12.5},
        {"shoal_http_connections", 7},
        {"shoal_requests_in_flight", 4},
        {"shoal_load_fraction", 0.75},
        {"shoal_rank_up{rank=\"1\"}", 1},
        {"shoal_rank_up{rank=\"2\"}", 0},
        {"shoal_rank_info{rank=\"1\",host=\"node-b\",level=\"avx2\",q_heads=\"5-11\","
         "kv_heads=\"2-3\",units=\"none\",vocab=\"40-40\"}",
         1},
        {"shoal_rank_steps_total{rank=\"0\"}", 100},
        {"shoal_rank_step_seconds_total{rank=\"0\"}", 10},
        {"shoal_rank_compute_seconds_total{rank=\"0\"}", 7},
        {"shoal_rank_reduce_seconds_total{rank=\"0\"}", 2},
        {"shoal_rank_wait_seconds_total{rank=\"0\"}", 1},
        {"shoal_weights_planned_bytes{rank=\"0\"}", 1000},
        {"shoal_weights_read_bytes_total{rank=\"0\"}", 1001},
        {"shoal_weights_planned_resident_bytes{rank=\"0\"}", 5000},
        {"shoal_weights_resident_bytes{rank=\"0\"}", 5005},
        {"shoal_weights_pinned_bytes{rank=\"0\"}", 64},
        {"shoal_weights_planned_streamed_bytes{rank=\"0\"}", 900},
        {"shoal_weights_streamed_bytes_total{rank=\"0\"}", 90000},
    };
    shoal_metrics *metrics = create("m");
    const reading *r = written(metrics);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        assert_true(value_of(r, wanted[i].series) == wanted[i].value);
    shoal_metrics_destroy(metrics);
}

/* 1 s in 100 steps is 10 ms, 0.25 s in 50 steps is 5 ms: rank 1 waits least. A rank that has made
 * no step is no measure for others. */
static void test_skew(void **state)
{
    (void)state;
    shoal_metrics *metrics = create("m");
    const reading *r = written(metrics);
    assert_true(fabs(value_of(r, "shoal_rank_skew_seconds{rank=\"0\"}") - 0.005) < 1e-12);
    assert_true(value_of(r, "shoal_rank_skew_seconds{rank=\"1\"}") == 0);
    assert_true(value_of(r, "shoal_rank_skew_seconds{rank=\"2\"}") == 0);
    shoal_metrics_destroy(metrics);
}

static void test_totals(void **state)
{
    (void)state;
    shoal_metrics *metrics = create("m");
    for (int i = 0; i < SHOAL_COUNT_END; i++)
        shoal_metrics_add(metrics, (shoal_counter)i, (uint64_t)i + 10);
    shoal_metrics_add(metrics, SHOAL_COUNT_GENERATION_TOKENS, 1ull << 40);
    shoal_metrics_finished(metrics, SHOAL_FINISH_LENGTH);
    shoal_metrics_finished(metrics, SHOAL_FINISH_LENGTH);
    shoal_metrics_finished(metrics, SHOAL_FINISH_NONE);
    shoal_metrics_http(metrics, "/v1/models", "GET", 200);
    shoal_metrics_http(metrics, "/v1/models", "GET", 200);
    shoal_metrics_http(metrics, "/v1/models", "BREW", 405);
    shoal_metrics_observe(metrics, SHOAL_TIME_TO_FIRST_TOKEN, 0.03);
    shoal_metrics_observe(metrics, SHOAL_TIME_TO_FIRST_TOKEN, 0.5);

    const reading *r = written(metrics);
    assert_true(value_of(r, "shoal_prompt_tokens_total{model_name=\"m\"}") == 10);
    assert_true(value_of(r, "shoal_generation_tokens_total{model_name=\"m\"}") ==
                11 + (double)(1ull << 40));
    assert_true(value_of(r, "shoal_generation_starts_total") == 12);
    assert_true(value_of(r, "shoal_generation_losses_total") == 13);
    assert_true(value_of(r, "shoal_requests_replayed_total") == 14);
    assert_true(value_of(r, "shoal_requests_quarantined_total") == 15);
    assert_true(value_of(r, "shoal_requests_cancelled_total") == 16);
    assert_true(value_of(r, "shoal_requests_refused_total") == 17);
    assert_true(value_of(r, "shoal_steps_total") == 18);
#define FINISHED(word)                                                                             \
    value_of(r, "shoal_request_success_total{model_name=\"m\",finished_reason=\"" word "\"}")
    assert_true(FINISHED("length") == 2 && FINISHED("abort") == 1);
    assert_true(FINISHED("stop") == 0 && FINISHED("error") == 0);
#define HTTP(rest) value_of(r, "shoal_http_requests_total{handler=\"/v1/models\"," rest "}")
    assert_true(HTTP("method=\"GET\",status=\"200\"") == 2);
    assert_true(HTTP("method=\"other\",status=\"405\"") == 1);
#define FIRST(rest) value_of(r, "shoal_time_to_first_token_seconds" rest)
    assert_true(FIRST("_bucket{model_name=\"m\",le=\"0.02\"}") == 0);
    assert_true(FIRST("_bucket{model_name=\"m\",le=\"0.04\"}") == 1);
    assert_true(FIRST("_bucket{model_name=\"m\",le=\"0.5\"}") == 2);
    assert_true(FIRST("_sum{model_name=\"m\"}") == 0.53);
    shoal_metrics_destroy(metrics);
}

/* Quotes, backslashes and line ends of a name come back unharmed, and HELP stays on its line. */
static void test_escapes(void **state)
{
    (void)state;
    shoal_metrics *metrics = create("a\"b\\c\nd, {e} \xc3\xa9");
    const reading *r = written(metrics);
    assert_true(value_of(r, "shoal_num_requests_running"
                            "{model_name=\"a\\\"b\\\\c\\nd, {e} \xc3\xa9\"}") == 5);
    shoal_metrics_destroy(metrics);

    shoal_strbuf text = {0};
    shoal_exposition x = {.out = &text};
    shoal_exposition_family(&x, "f", "gauge", "a\\b\n\"c\"");
    assert_int_equal(x.status, SHOAL_OK);
    static const char wanted[] = "# HELP f a\\\\b\\n\"c\"\n# TYPE f gauge\n";
    assert_int_equal(text.bytes, sizeof wanted - 1);
    assert_memory_equal(text.data, wanted, text.bytes);
    shoal_strbuf_free(&text);
}

static void test_empty(void **state)
{
    (void)state;
    shoal_metrics *metrics = create("");
    const shoal_metrics_gauges nothing = {.state = "loading"};
    shoal_strbuf text = {0};
    assert_int_equal(shoal_metrics_write(metrics, &nothing, &text), SHOAL_OK);
    const reading *r = read_text(&text);
    assert_true(value_of(r, "shoal_kv_cache_usage_perc{model_name=\"\"}") == 0);
    assert_true(value_of(r, "shoal_state{state=\"loading\"}") == 1);
    shoal_strbuf_free(&text);
    shoal_metrics_destroy(metrics);
}

/* Every bucket against a plain count over the list of values, on bounds and beside them. */
static void test_buckets(void **state)
{
    (void)state;
    static const shoal_bounds bounds = {4, {0.5, 1, 2, 8}};
    static const double values[] = {0,   0.5, 0.500001, 1,  1,       1.5,      2,
                                    2.5, 8,   8.000001, 99, 7.99999, 0.499999, 1e300};
    const size_t count = sizeof values / sizeof values[0];
    shoal_buckets b = {.bounds = &bounds};
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        shoal_buckets_add(&b, values[i]);
        sum += values[i];
    }
    uint64_t below = 0;
    for (int i = 0; i < bounds.count; i++) {
        uint64_t wanted = 0;
        for (size_t v = 0; v < count; v++)
            wanted += values[v] <= bounds.at[i];
        below += b.counts[i];
        assert_int_equal(below, wanted);
    }
    assert_int_equal(below + b.counts[bounds.count], count);
    assert_true(b.sum == sum);

    shoal_buckets broken = {.bounds = &bounds};
    shoal_buckets_add(&broken, NAN);
    shoal_buckets_add(&broken, -3);
    assert_int_equal(broken.counts[0], 2);
    assert_true(broken.sum == 0);
}

/* What vLLM's dashboards ask for by le (vllm/v1/metrics/loggers.py). */
static void test_vllm_bounds(void **state)
{
    (void)state;
    static const char *const latency[] = {"0.3", "0.5", "0.8", "1",   "1.5", "2",    "2.5",
                                          "5",   "10",  "15",  "20",  "30",  "40",   "50",
                                          "60",  "120", "240", "480", "960", "1920", "7680"};
    static const char *const first[] = {
        "0.001", "0.005", "0.01", "0.02", "0.04", "0.06", "0.08", "0.1", "0.25", "0.5", "0.75",
        "1",     "2.5",   "5",    "7.5",  "10",   "20",   "40",   "80",  "160",  "640", "2560"};
    static const char *const inter[] = {"0.01", "0.025", "0.05", "0.075", "0.1", "0.15", "0.2",
                                        "0.3",  "0.4",   "0.5",  "0.75",  "1",   "2.5",  "5",
                                        "7.5",  "10",    "20",   "40",    "80"};
    static const char *const tokens[] = {"1",   "8",    "16",   "32",   "64",   "128",  "256",
                                         "512", "1024", "2048", "4096", "8192", "16384"};
    static const char *const sizes[] = {"1", "2", "5", "10", "20", "50", "100", "1000", "100000"};
#define BOUNDS(array) array, sizeof(array) / sizeof(array)[0]
    static const struct {
        const char *name;
        const char *const *bounds;
        size_t count;
    } wanted[] = {
        {"time_to_first_token_seconds", BOUNDS(first)},
        {"inter_token_latency_seconds", BOUNDS(inter)},
        {"e2e_request_latency_seconds", BOUNDS(latency)},
        {"request_queue_time_seconds", BOUNDS(latency)},
        {"request_prefill_time_seconds", BOUNDS(latency)},
        {"request_decode_time_seconds", BOUNDS(latency)},
        {"iteration_tokens_total", BOUNDS(tokens)},
        {"request_prompt_tokens", BOUNDS(sizes)},
        {"request_generation_tokens", BOUNDS(sizes)},
    };
    shoal_metrics *metrics = create("m");
    const reading *r = written(metrics);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        for (size_t b = 0; b < wanted[i].count; b++) {
            char series[256];
            (void)snprintf(series, sizeof series, "shoal_%s_bucket{model_name=\"m\",le=\"%s\"}",
                           wanted[i].name, wanted[i].bounds[b]);
            assert_true(value_of(r, series) == 0);
        }
    shoal_metrics_destroy(metrics);
}

/* A row of a table of docs/metrics.md that names a family: | `name` | type | labels | ... */
static bool read_row(const char *line, read_family *out)
{
    if (strncmp(line, "| `shoal_", 9) != 0)
        return false;
    memset(out, 0, sizeof *out);
    /* An empty cell is "| |", which %[ does not read. */
    if (sscanf(line, "| `%63[a-z0-9_]` | %15[a-z] | %255[^|]|", out->name, out->type, out->labels) <
        2)
        return false;
    size_t end = strlen(out->labels);
    while (end > 0 && out->labels[end - 1] == ' ')
        out->labels[--end] = '\0';
    return true;
}

static void test_docs(void **state)
{
    (void)state;
    shoal_metrics *metrics = create("m");
    shoal_metrics_http(metrics, "/", "GET", 200);
    reading *r = written(metrics);
    FILE *page = fopen("docs/metrics.md", "r");
    assert_non_null(page);
    char line[1024];
    int rows = 0;
    while (fgets(line, sizeof line, page)) {
        read_family row;
        if (!read_row(line, &row))
            continue;
        rows++;
        read_family *f = find_family(r, row.name);
        if (!f)
            fail_msg("docs/metrics.md names %s, which is not written (or twice there)", row.name);
        assert_string_equal(f->type, row.type);
        assert_string_equal(f->labels, row.labels);
        f->name[0] = '\0';
    }
    (void)fclose(page);
    for (int i = 0; i < r->family_count; i++)
        if (r->families[i].name[0])
            fail_msg("docs/metrics.md does not name %s", r->families[i].name);
    assert_int_equal(rows, r->family_count);
    shoal_metrics_destroy(metrics);
}

/* Clients choose targets and methods; series stay bounded, and every answer is counted somewhere.
 */
static void test_http_is_bounded(void **state)
{
    (void)state;
    enum { ANSWERS = 5000 };
    shoal_metrics *metrics = create("m");
    for (int i = 0; i < ANSWERS; i++) {
        char handler[128], method[32];
        (void)snprintf(handler, sizeof handler, "/%d%s", i % 1500,
                       i % 2 ? "" : "/a-path-that-is-longer-than-any-route-of-this-server");
        (void)snprintf(method, sizeof method, "M%d", i);
        shoal_metrics_http(metrics, handler, method, 200 + i % 3);
    }
    const reading *r = written(metrics);
    double sum = 0;
    int series = 0;
    for (int i = 0; i < r->sample_count; i++)
        if (strncmp(r->samples[i].series, "shoal_http_requests_total{", 26) == 0) {
            sum += r->samples[i].value;
            series++;
        }
    assert_true(sum == ANSWERS);
    assert_true(series <= 256);
    shoal_metrics_destroy(metrics);
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *add_many(void *context)
{
    shoal_metrics *metrics = context;
    for (int i = 0; i < ROUNDS; i++) {
        shoal_metrics_add(metrics, SHOAL_COUNT_STEPS, 1);
        shoal_metrics_observe(metrics, SHOAL_TIME_STEP, (i % 5) * 0.25);
        shoal_metrics_finished(metrics, SHOAL_FINISH_STOP);
        shoal_metrics_http(metrics, "/health", "GET", 200 + i % 2);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    shoal_metrics *metrics = create("m");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, metrics), 0);
    for (int i = 0; i < 20; i++)
        (void)written(metrics); /* the reader checks that a text agrees with itself */
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    const double all = (double)THREADS * ROUNDS;
    const reading *r = written(metrics);
    assert_true(value_of(r, "shoal_steps_total") == all);
    assert_true(value_of(r, "shoal_step_seconds_count") == all);
    assert_true(value_of(r, "shoal_step_seconds_sum") == all * 0.5);
    assert_true(
        value_of(r, "shoal_request_success_total{model_name=\"m\",finished_reason=\"stop\"}") ==
        all);
    shoal_metrics_destroy(metrics);
}

/* Adding must not fail, so it must not allocate: the failure ordered before it is still due after.
 */
static void test_adding_allocates_nothing(void **state)
{
    (void)state;
    shoal_metrics *metrics = create("m");
    shoal_mem_fail_nth(1);
    shoal_metrics_add(metrics, SHOAL_COUNT_STEPS, 1);
    shoal_metrics_observe(metrics, SHOAL_SIZE_PROMPT, 100);
    shoal_metrics_finished(metrics, SHOAL_FINISH_STOP);
    shoal_metrics_http(metrics, "/", "GET", 200);
    void *block;
    assert_int_equal(shoal_alloc(SHOAL_MEM_OTHER, 1, &block), SHOAL_ERR_TEMPORARY);
    shoal_metrics_destroy(metrics);
}

/* Each allocation of creating and writing fails once; nothing is lost. */
static void test_no_memory(void **state)
{
    (void)state;
    const uint64_t text_before = shoal_mem_live(SHOAL_MEM_TEXT);
    const uint64_t other_before = shoal_mem_live(SHOAL_MEM_OTHER);
    shoal_status st = SHOAL_ERR_TEMPORARY;
    uint64_t n = 1;
    for (; st != SHOAL_OK; n++) {
        shoal_metrics *metrics = NULL;
        shoal_strbuf text = {0};
        const shoal_metrics_gauges gauges = a_cluster();
        shoal_mem_fail_nth(n);
        st = shoal_metrics_create("m", &metrics);
        if (st == SHOAL_OK)
            st = shoal_metrics_write(metrics, &gauges, &text);
        assert_true(st == SHOAL_OK || st == SHOAL_ERR_TEMPORARY);
        shoal_mem_fail_nth(0);
        shoal_strbuf_free(&text);
        shoal_metrics_destroy(metrics);
        assert_int_equal(shoal_mem_live(SHOAL_MEM_TEXT), text_before);
        assert_int_equal(shoal_mem_live(SHOAL_MEM_OTHER), other_before);
    }
    assert_true(n > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gauges),
        cmocka_unit_test(test_skew),
        cmocka_unit_test(test_totals),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_vllm_bounds),
        cmocka_unit_test(test_docs),
        cmocka_unit_test(test_http_is_bounded),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_adding_allocates_nothing),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
