#include "coordinator/serve/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/serve/buckets.h"
#include "coordinator/serve/exposition.h"
#include "proto/arena.h"

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof(array)[0]))

/* Different (route, method, status); more than routes times what can become of a request. */
#define HTTP_SERIES_MAX  256
#define HTTP_HANDLER_MAX 40

typedef struct {
    const char *name, *type, *help;
    bool of_model; /* vLLM has it too, with the label model_name */
} family;

typedef struct {
    char handler[HTTP_HANDLER_MAX];
    const char *method; /* of `methods` */
    int status;
    uint64_t count;
} http_series;

/* All that is added to. */
typedef struct {
    uint64_t counters[SHOAL_COUNT_END];
    uint64_t finished[SHOAL_FINISH_ERROR + 1];
    shoal_buckets histograms[SHOAL_HISTOGRAM_END];
    http_series http[HTTP_SERIES_MAX];
    int http_count;
} totals;

struct shoal_metrics {
    pthread_mutex_t lock; /* of `now` */
    totals now;
    char *model_name;
};

/* ---- what there is ---- */

static const family counter_families[SHOAL_COUNT_END] = {
    [SHOAL_COUNT_PROMPT_TOKENS] = {"shoal_prompt_tokens_total", "counter",
                                   "Prompt tokens of the requests taken.", true},
    [SHOAL_COUNT_GENERATION_TOKENS] = {"shoal_generation_tokens_total", "counter",
                                       "Tokens generated.", true},
    [SHOAL_COUNT_GENERATIONS] = {"shoal_generation_starts_total", "counter",
                                 "Starts of the cluster of workers.", false},
    [SHOAL_COUNT_GENERATIONS_LOST] = {"shoal_generation_losses_total", "counter",
                                      "Clusters that lost a worker and were torn down.", false},
    [SHOAL_COUNT_REPLAYED] = {"shoal_requests_replayed_total", "counter",
                              "Requests carried over to a new cluster.", false},
    [SHOAL_COUNT_QUARANTINED] = {"shoal_requests_quarantined_total", "counter",
                                 "Requests given up because workers died of them.", false},
    [SHOAL_COUNT_CANCELLED] = {"shoal_requests_cancelled_total", "counter",
                               "Requests whose client left before the answer was complete.", false},
    [SHOAL_COUNT_REFUSED] = {"shoal_requests_refused_total", "counter",
                             "Requests refused: the queue was full or no cluster was ready.",
                             false},
    [SHOAL_COUNT_STEPS] = {"shoal_steps_total", "counter", "Steps computed.", false},
};

/* vLLM's bounds; where a small model is faster than its lowest one, finer ones precede it. */
static const shoal_bounds first_token = {22, {0.001, 0.005, 0.01, 0.02, 0.04,  0.06, 0.08, 0.1,
                                              0.25,  0.5,   0.75, 1,    2.5,   5,    7.5,  10,
                                              20,    40,    80,   160,  640.0, 2560}};
static const shoal_bounds inter_token = {22, {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                                              0.15,  0.2,    0.3,   0.4,  0.5,   0.75, 1,     2.5,
                                              5,     7.5,    10,    20,   40,    80}};
static const shoal_bounds latency = {24, {0.01, 0.03, 0.1, 0.3, 0.5, 0.8, 1,    1.5,
                                          2,    2.5,  5,   10,  15,  20,  30,   40,
                                          50,   60,   120, 240, 480, 960, 1920, 7680}};
static const shoal_bounds request_tokens = {19,
                                            {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000,
                                             10000, 20000, 50000, 100000, 200000, 500000, 1000000}};
static const shoal_bounds step_tokens = {
    13, {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384}};
static const shoal_bounds step_seconds = {
    16, {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40}};
static const shoal_bounds recovery_seconds = {
    14, {0.25, 0.5, 1, 1.5, 2, 3, 5, 8, 15, 30, 60, 120, 300, 600}};

static const struct {
    family family;
    const shoal_bounds *bounds;
} histograms[SHOAL_HISTOGRAM_END] = {
    [SHOAL_TIME_TO_FIRST_TOKEN] = {{"shoal_time_to_first_token_seconds", "histogram",
                                    "From a request's arrival to its first token.", true},
                                   &first_token},
    [SHOAL_TIME_INTER_TOKEN] = {{"shoal_inter_token_latency_seconds", "histogram",
                                 "Between one token of a sequence and the next.", true},
                                &inter_token},
    [SHOAL_TIME_REQUEST] = {{"shoal_e2e_request_latency_seconds", "histogram",
                             "From a request's arrival to the end of its answer.", true},
                            &latency},
    [SHOAL_TIME_QUEUE] = {{"shoal_request_queue_time_seconds", "histogram",
                           "From a request's arrival to its first admission.", true},
                          &latency},
    [SHOAL_TIME_PREFILL] = {{"shoal_request_prefill_time_seconds", "histogram",
                             "From a request's first admission to its first token.", true},
                            &latency},
    [SHOAL_TIME_DECODE] = {{"shoal_request_decode_time_seconds", "histogram",
                            "From a request's first token to its last.", true},
                           &latency},
    [SHOAL_TIME_STEP] = {{"shoal_step_seconds", "histogram",
                          "A step, as the coordinator waits for it.", false},
                         &step_seconds},
    [SHOAL_TIME_RECOVERY] = {{"shoal_recovery_seconds", "histogram",
                              "From the loss of a worker to a cluster that serves again.", false},
                             &recovery_seconds},
    [SHOAL_SIZE_PROMPT] = {{"shoal_request_prompt_tokens", "histogram",
                            "Prompt tokens of a request.", true},
                           &request_tokens},
    [SHOAL_SIZE_GENERATION] = {{"shoal_request_generation_tokens", "histogram",
                                "Tokens generated for a request.", true},
                               &request_tokens},
    [SHOAL_SIZE_STEP] = {{"shoal_iteration_tokens_total", "histogram",
                          "Tokens of a step, prompt and generated together.", true},
                         &step_tokens},
};

static const family finished_family = {"shoal_request_success_total", "counter",
                                       "Requests by how they ended.", true};
static const family http_family = {"shoal_http_requests_total", "counter",
                                   "Answers by route, method and status.", false};
static const family state_family = {"shoal_state", "gauge",
                                    "1 for the state the cluster is in, 0 for the others.", false};
static const family info_family = {"shoal_rank_info", "gauge",
                                   "Who a rank is and what of the model it holds.", false};

/* vLLM's words; "abort" is what it calls a request that its client gave up. */
static const char *const finish_names[] = {[SHOAL_FINISH_NONE] = "abort",
                                           [SHOAL_FINISH_STOP] = "stop",
                                           [SHOAL_FINISH_LENGTH] = "length",
                                           [SHOAL_FINISH_ERROR] = "error"};

static const char *const states[] = {"loading", "serving", "recovering", "draining", "failed"};

static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "POST", "other"};

enum {
    RUNNING,
    WAITING,
    KV_USAGE,
    PREEMPTIONS,
    CACHE_QUERIES,
    CACHE_HITS,
    KV_TOTAL,
    KV_FREE,
    KV_CACHED,
    GENERATION,
    UPTIME,
    CONNECTIONS,
    IN_FLIGHT,
    LOADED,
    GAUGES
};

static const family gauge_families[GAUGES] = {
    [RUNNING] = {"shoal_num_requests_running", "gauge", "Sequences being computed.", true},
    [WAITING] = {"shoal_num_requests_waiting", "gauge", "Sequences waiting for admission.", true},
    [KV_USAGE] = {"shoal_kv_cache_usage_perc", "gauge",
                  "Share of the KV pages in use; 1 means all.", true},
    [PREEMPTIONS] = {"shoal_num_preemptions_total", "counter",
                     "Times a sequence gave its pages back to others.", true},
    [CACHE_QUERIES] = {"shoal_prefix_cache_queries_total", "counter",
                       "Tokens looked up in the prefix cache.", true},
    [CACHE_HITS] = {"shoal_prefix_cache_hits_total", "counter", "Tokens found in the prefix cache.",
                    true},
    [KV_TOTAL] = {"shoal_kv_pages_total", "gauge", "KV pages there are.", false},
    [KV_FREE] = {"shoal_kv_pages_free", "gauge", "KV pages that can be had, cached ones included.",
                 false},
    [KV_CACHED] = {"shoal_kv_pages_cached", "gauge", "KV pages that only the prefix cache keeps.",
                   false},
    [GENERATION] = {"shoal_generation", "gauge", "Which start of the cluster this is, from 1.",
                    false},
    [UPTIME] = {"shoal_uptime_seconds", "gauge", "Since the coordinator started.", false},
    [CONNECTIONS] = {"shoal_http_connections", "gauge", "Open connections of clients.", false},
    [IN_FLIGHT] = {"shoal_requests_in_flight", "gauge", "Requests being answered.", false},
    [LOADED] = {"shoal_load_fraction", "gauge", "How much of the weights is loaded; 1 means all.",
                false},
};

enum {
    RANK_UP,
    RANK_STEPS,
    RANK_STEP_SECONDS,
    RANK_COMPUTE,
    RANK_REDUCE,
    RANK_WAIT,
    RANK_SKEW,
    RANK_PLANNED_READ,
    RANK_READ,
    RANK_PLANNED_RESIDENT,
    RANK_RESIDENT,
    RANK_PINNED,
    RANK_PLANNED_STREAMED,
    RANK_STREAMED,
    RANK_VALUES
};

static const family rank_families[RANK_VALUES] = {
    [RANK_UP] = {"shoal_rank_up", "gauge", "1 while the rank is there.", false},
    [RANK_STEPS] = {"shoal_rank_steps_total", "counter", "Steps of the rank since it started.",
                    false},
    [RANK_STEP_SECONDS] = {"shoal_rank_step_seconds_total", "counter",
                           "Time the rank spent in steps.", false},
    [RANK_COMPUTE] = {"shoal_rank_compute_seconds_total", "counter",
                      "Time in steps, outside exchanges.", false},
    [RANK_REDUCE] = {"shoal_rank_reduce_seconds_total", "counter",
                     "Time in exchanges, without waiting for other ranks.", false},
    [RANK_WAIT] = {"shoal_rank_wait_seconds_total", "counter",
                   "Time in exchanges, waiting for other ranks.", false},
    [RANK_SKEW] = {"shoal_rank_skew_seconds", "gauge",
                   "How much longer the rank waits per step than the rank that waits least.",
                   false},
    [RANK_PLANNED_READ] = {"shoal_weights_planned_bytes", "gauge",
                           "Bytes of weights the plan has the rank read.", false},
    [RANK_READ] = {"shoal_weights_read_bytes_total", "counter",
                   "Bytes of weights the rank has read.", false},
    [RANK_PLANNED_RESIDENT] = {"shoal_weights_planned_resident_bytes", "gauge",
                               "Bytes the plan has the rank hold.", false},
    [RANK_RESIDENT] = {"shoal_weights_resident_bytes", "gauge", "Bytes the rank holds.", false},
    [RANK_PINNED] = {"shoal_weights_pinned_bytes", "gauge",
                     "Of the bytes the rank holds, those of weights locked in memory.", false},
    [RANK_PLANNED_STREAMED] = {"shoal_weights_planned_streamed_bytes", "gauge",
                               "Bytes of weights the plan does not have the rank hold: a step "
                               "streams them.",
                               false},
    [RANK_STREAMED] = {"shoal_weights_streamed_bytes_total", "counter",
                       "Bytes of weights the rank's steps have streamed.", false},
};

/* ---- adding ---- */

shoal_status shoal_metrics_create(const char *model_name, shoal_metrics **out)
{
    shoal_status st;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_metrics), &block));
    shoal_metrics *metrics = block;
    SHOAL_TRY_GOTO(shoal_strdup(SHOAL_MEM_OTHER, model_name, &metrics->model_name), free_metrics);
    for (int i = 0; i < SHOAL_HISTOGRAM_END; i++)
        metrics->now.histograms[i].bounds = histograms[i].bounds;
    (void)pthread_mutex_init(&metrics->lock, NULL);
    *out = metrics;
    return SHOAL_OK;

free_metrics:
    shoal_free(metrics);
    return st;
}

void shoal_metrics_destroy(shoal_metrics *metrics)
{
    if (!metrics)
        return;
    (void)pthread_mutex_destroy(&metrics->lock);
    shoal_free(metrics->model_name);
    shoal_free(metrics);
}

static void lock(shoal_metrics *metrics)
{
    (void)pthread_mutex_lock(&metrics->lock);
}

static void unlock(shoal_metrics *metrics)
{
    (void)pthread_mutex_unlock(&metrics->lock);
}

void shoal_metrics_add(shoal_metrics *metrics, shoal_counter counter, uint64_t more)
{
    lock(metrics);
    metrics->now.counters[counter] += more;
    unlock(metrics);
}

void shoal_metrics_observe(shoal_metrics *metrics, shoal_histogram histogram, double value)
{
    lock(metrics);
    shoal_buckets_add(&metrics->now.histograms[histogram], value);
    unlock(metrics);
}

void shoal_metrics_finished(shoal_metrics *metrics, shoal_finish finish)
{
    lock(metrics);
    metrics->now.finished[finish]++;
    unlock(metrics);
}

/* Clients choose the word, so only known ones become a series. */
static const char *known_method(const char *method)
{
    const int other = COUNT_OF(methods) - 1;
    for (int i = 0; i < other; i++)
        if (strcmp(method, methods[i]) == 0)
            return methods[i];
    return methods[other];
}

/* The series asked for, new if need be. The last place is for all that find none any more. */
static http_series *find_http(totals *now, const char *handler, const char *method, int status)
{
    for (int i = 0; i < now->http_count; i++) {
        http_series *s = &now->http[i];
        if (s->status == status && s->method == method && strcmp(s->handler, handler) == 0)
            return s;
    }
    if (now->http_count == HTTP_SERIES_MAX)
        return &now->http[HTTP_SERIES_MAX - 1];
    http_series *s = &now->http[now->http_count++];
    const bool last = now->http_count == HTTP_SERIES_MAX;
    (void)snprintf(s->handler, sizeof s->handler, "%s", last ? "more" : handler);
    s->method = last ? methods[COUNT_OF(methods) - 1] : method;
    s->status = last ? 0 : status;
    return s;
}

void shoal_metrics_http(shoal_metrics *metrics, const char *handler, const char *method, int status)
{
    const char *known = strlen(handler) < HTTP_HANDLER_MAX ? handler : "other";
    lock(metrics);
    find_http(&metrics->now, known, known_method(method), status)->count++;
    unlock(metrics);
}

/* ---- writing ---- */

static void announce(shoal_exposition *x, const family *f)
{
    shoal_exposition_family(x, f->name, f->type, f->help);
}

/* One family with one sample. */
static void write_single(shoal_exposition *x, const family *f, const shoal_label *model,
                         double value)
{
    announce(x, f);
    shoal_exposition_sample(x, "", model, f->of_model ? 1 : 0, value);
}

static void write_totals(shoal_exposition *x, const totals *now, const shoal_label *model)
{
    for (int i = 0; i < SHOAL_COUNT_END; i++)
        write_single(x, &counter_families[i], model, (double)now->counters[i]);

    announce(x, &finished_family);
    for (int i = 0; i < COUNT_OF(finish_names); i++) {
        const shoal_label labels[] = {*model, {"finished_reason", finish_names[i]}};
        shoal_exposition_sample(x, "", labels, 2, (double)now->finished[i]);
    }

    announce(x, &http_family);
    for (int i = 0; i < now->http_count; i++) {
        char status[16];
        (void)snprintf(status, sizeof status, "%d", now->http[i].status);
        const shoal_label labels[] = {
            {"handler", now->http[i].handler}, {"method", now->http[i].method}, {"status", status}};
        shoal_exposition_sample(x, "", labels, 3, (double)now->http[i].count);
    }

    for (int i = 0; i < SHOAL_HISTOGRAM_END; i++) {
        announce(x, &histograms[i].family);
        shoal_buckets_write(&now->histograms[i], histograms[i].family.of_model ? model : NULL, x);
    }
}

static void write_gauges(shoal_exposition *x, const shoal_metrics_gauges *gauges,
                         const shoal_label *model)
{
    const shoal_scheduler_stats *s = &gauges->scheduler;
    const double pages = (double)s->pages_total;
    const double values[GAUGES] = {
        [RUNNING] = (double)s->running,
        [WAITING] = (double)s->waiting,
        [KV_USAGE] = pages > 0 ? (pages - (double)s->pages_free) / pages : 0,
        [PREEMPTIONS] = (double)s->preemptions,
        [CACHE_QUERIES] = (double)s->cache_queries,
        [CACHE_HITS] = (double)s->cache_hits,
        [KV_TOTAL] = pages,
        [KV_FREE] = (double)s->pages_free,
        [KV_CACHED] = (double)s->pages_cached,
        [GENERATION] = gauges->generation,
        [UPTIME] = gauges->uptime_seconds,
        [CONNECTIONS] = gauges->connections,
        [IN_FLIGHT] = (double)gauges->requests,
        [LOADED] = gauges->load_fraction,
    };
    announce(x, &state_family);
    for (int i = 0; i < COUNT_OF(states); i++)
        shoal_exposition_sample(x, "", &(shoal_label){"state", states[i]}, 1,
                                strcmp(states[i], gauges->state) == 0);
    for (int i = 0; i < GAUGES; i++)
        write_single(x, &gauge_families[i], model, values[i]);
}

static double wait_per_step(const shoal_rank_timing *t)
{
    return t->waited_seconds / (double)t->steps;
}

/* Of the ranks that have made steps; 0 if none has. */
static double least_wait_per_step(const shoal_metrics_gauges *gauges)
{
    double least = INFINITY;
    for (int r = 0; r < gauges->rank_count; r++)
        if (gauges->ranks[r].timing.steps)
            least = fmin(least, wait_per_step(&gauges->ranks[r].timing));
    return isfinite(least) ? least : 0;
}

static double rank_value(const shoal_rank_view *rank, double least_wait, int which)
{
    const shoal_rank_timing *t = &rank->timing;
    const double values[RANK_VALUES] = {
        [RANK_UP] = rank->up,
        [RANK_STEPS] = (double)t->steps,
        [RANK_STEP_SECONDS] = t->step_seconds,
        [RANK_COMPUTE] = t->step_seconds - t->exchange_seconds,
        [RANK_REDUCE] = t->exchange_seconds - t->waited_seconds,
        [RANK_WAIT] = t->waited_seconds,
        [RANK_SKEW] = t->steps ? wait_per_step(t) - least_wait : 0,
        [RANK_PLANNED_READ] = (double)rank->memory.planned_read,
        [RANK_READ] = (double)rank->memory.measured_read,
        [RANK_PLANNED_RESIDENT] = (double)rank->memory.planned_resident,
        [RANK_RESIDENT] = (double)rank->memory.measured_resident,
        [RANK_PINNED] = (double)rank->memory.pinned,
        [RANK_PLANNED_STREAMED] = (double)rank->memory.planned_streamed,
        [RANK_STREAMED] = (double)t->streamed_bytes,
    };
    return values[which];
}

/* [0, 4) as "0-3". */
static void format_range(const int64_t range[2], char out[48])
{
    if (range[0] >= range[1])
        (void)snprintf(out, 48, "none");
    else
        (void)snprintf(out, 48, "%lld-%lld", (long long)range[0], (long long)range[1] - 1);
}

static void write_rank_info(shoal_exposition *x, int rank, const shoal_rank_view *view)
{
    char number[16], q_heads[48], kv_heads[48], units[48], vocab[48];
    (void)snprintf(number, sizeof number, "%d", rank);
    format_range(view->q_heads, q_heads);
    format_range(view->kv_heads, kv_heads);
    format_range(view->units, units);
    format_range(view->vocab, vocab);
    const shoal_label labels[] = {
        {"rank", number},       {"host", view->host}, {"level", view->level}, {"q_heads", q_heads},
        {"kv_heads", kv_heads}, {"units", units},     {"vocab", vocab},
    };
    shoal_exposition_sample(x, "", labels, COUNT_OF(labels), 1);
}

static void write_ranks(shoal_exposition *x, const shoal_metrics_gauges *gauges)
{
    const double least_wait = least_wait_per_step(gauges);
    announce(x, &info_family);
    for (int r = 0; r < gauges->rank_count; r++)
        write_rank_info(x, r, &gauges->ranks[r]);
    for (int i = 0; i < RANK_VALUES; i++) {
        announce(x, &rank_families[i]);
        for (int r = 0; r < gauges->rank_count; r++) {
            char number[16];
            (void)snprintf(number, sizeof number, "%d", r);
            shoal_exposition_sample(x, "", &(shoal_label){"rank", number}, 1,
                                    rank_value(&gauges->ranks[r], least_wait, i));
        }
    }
}

shoal_status shoal_metrics_write(shoal_metrics *metrics, const shoal_metrics_gauges *gauges,
                                 shoal_strbuf *out)
{
    /* A copy, so that nobody who adds waits for the text. */
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(totals), &block));
    totals *copy = block;
    lock(metrics);
    *copy = metrics->now;
    unlock(metrics);

    const shoal_label model = {"model_name", metrics->model_name};
    shoal_exposition x = {.out = out};
    write_gauges(&x, gauges, &model);
    write_totals(&x, copy, &model);
    write_ranks(&x, gauges);
    shoal_free(copy);
    return x.status;
}
