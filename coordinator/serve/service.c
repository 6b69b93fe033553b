#include "coordinator/serve/service.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "coordinator/clock.h"
#include "coordinator/cluster/hello.h"
#include "coordinator/serve/api_answer.h"
#include "coordinator/serve/desk.h"
#include "coordinator/serve/end_signals.h"
#include "coordinator/serve/http_message.h"
#include "coordinator/serve/page.h"
#include "coordinator/serve/refusal.h"
#include "coordinator/serve/route.h"
#include "proto/arena.h"
#include "proto/log.h"

/* How long answers under way may take to reach their clients at the end. */
#define FLUSH_SECONDS 2.0

/* How many bodies of the largest size may wait for clerks. */
#define BODIES_WAITING 32

typedef struct {
    const shoal_service_settings *settings;
    shoal_http_server *http;
    shoal_driver *driver;
    shoal_desk *desk;
    shoal_metrics *metrics;
    shoal_vocab_trie trie; /* empty when the tokenizer allows none */
    char fingerprint[16];
    int64_t started_at; /* seconds since 1970 */
    double began;
    bool announced, stopping, cut_off;
    double drain_until; /* 0: not draining */
    shoal_rank_view *ranks;
    shoal_status failure; /* of on_ready */
} service;

/* ---- small routes ---------------------------------------------------------------------------- */

static void answer_text(shoal_http_exchange *x, const char *type, shoal_status st,
                        shoal_strbuf *text)
{
    shoal_api_error error = {0};
    if (st == SHOAL_OK) {
        shoal_http_reply(x, 200, type, NULL, text->data, text->bytes);
    } else {
        shoal_refusal_memory(&error);
        shoal_http_reply_error(x, &error);
    }
    shoal_strbuf_free(text);
}

static void answer_ready(service *s, shoal_http_exchange *x)
{
    shoal_api_error error = {0};
    if (shoal_refusal_unready(s->driver, SHOAL_NEEDS_SERVING, &error))
        shoal_http_reply_error(x, &error);
    else
        shoal_http_reply(x, 200, "application/json", NULL, "{\"status\":\"ready\"}", 18);
}

static void answer_metrics(service *s, shoal_http_exchange *x)
{
    shoal_strbuf text = {0};
    shoal_metrics_gauges gauges = {
        .connections = shoal_http_server_connections(s->http),
        .uptime_seconds = shoal_clock_seconds() - s->began,
    };
    shoal_driver_view(s->driver, &gauges, s->ranks, s->settings->blueprint->plan.ranks);
    const shoal_status st = shoal_metrics_write(s->metrics, &gauges, &text);
    answer_text(x, "text/plain; version=0.0.4; charset=utf-8", st, &text);
}

static void answer_models(service *s, shoal_http_exchange *x, const char *name)
{
    shoal_strbuf text = {0};
    shoal_api_error error = {0};
    const char *own = s->settings->model_name;
    if (name && strcmp(name, own) != 0) {
        (void)shoal_api_refuse(&error, 404, "model_not_found", "model",
                               "The model '%.100s' does not exist here.", name);
        shoal_http_reply_error(x, &error);
        return;
    }
    const shoal_status st = shoal_answer_models(own, s->started_at, s->settings->blueprint->context,
                                                name == NULL, &text);
    answer_text(x, "application/json", st, &text);
}

static void answer_model(service *s, shoal_http_exchange *x, const shoal_route *route,
                         const char *path)
{
    char name[SHOAL_HTTP_TARGET_MAX];
    if (!shoal_route_parameter(route, path, name, sizeof name))
        name[0] = '\0'; /* the name of no model */
    answer_models(s, x, name);
}

static void answer_page(shoal_http_exchange *x)
{
    size_t bytes;
    const char *page = shoal_page(&bytes);
    shoal_http_reply(
        x, 200, "text/html; charset=utf-8",
        "Cache-Control: no-cache\r\n"
        "Content-Security-Policy: default-src 'self' 'unsafe-inline'; img-src data:\r\n"
        "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n",
        page, bytes);
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void stop(service *s)
{
    if (!s->stopping)
        shoal_http_server_stop(s->http, FLUSH_SECONDS);
    s->stopping = true;
}

/* The limits are there before anybody is let in: a request is read only once they are known. */
static void announce(service *s)
{
    shoal_step_limits limits;
    if (s->announced || shoal_driver_state_get(s->driver) != SHOAL_DRIVER_SERVING ||
        !shoal_driver_limits(s->driver, &limits))
        return;
    s->announced = true;
    s->failure = s->settings->on_ready(s->settings->context, shoal_http_server_address(s->http));
    if (s->failure != SHOAL_OK)
        stop(s);
}

/* End now; who still waits for an answer gets an error while there is time to flush it. */
static void cut_off(service *s)
{
    s->cut_off |= shoal_desk_cut_off(s->desk) > 0;
    stop(s);
}

static void follow_signals(service *s)
{
    const int count = shoal_end_signals_count();
    if (count > 0 && s->drain_until == 0) {
        shoal_log(SHOAL_LOG_INFO, "drain", "finishing what is here, %.0f s at most",
                  s->settings->drain_seconds);
        s->drain_until = shoal_clock_seconds() + s->settings->drain_seconds;
        shoal_driver_drain(s->driver);
        if (!s->announced) /* nobody is here yet */
            stop(s);
    }
    if (s->drain_until > 0 && (count > 1 || shoal_clock_seconds() > s->drain_until))
        cut_off(s);
}

static void follow_driver(service *s)
{
    const shoal_driver_state state = shoal_driver_state_get(s->driver);
    if (state == SHOAL_DRIVER_FAILED ||
        (state == SHOAL_DRIVER_ENDED && shoal_desk_reading(s->desk) == 0))
        stop(s);
}

/* ---- handlers -------------------------------------------------------------------------------- */

static bool has_key(const service *s, const shoal_http_exchange *x)
{
    static const char scheme[] = "Bearer ";
    const char *key = s->settings->api_key, *value = shoal_http_header(x, "Authorization");
    if (!value || strncasecmp(value, scheme, sizeof scheme - 1) != 0)
        return false;
    value += sizeof scheme - 1;
    return strlen(value) == strlen(key) && shoal_secret_equal(value, key, strlen(key));
}

/* Who asks must be told how it would be right. */
static void answer_with(shoal_http_exchange *x, const shoal_api_error *error, const char *headers)
{
    shoal_strbuf text = {0};
    if (shoal_api_error_write(error, &text) != SHOAL_OK)
        text.bytes = 0; /* the status still says it */
    shoal_http_reply(x, error->status, "application/json", headers, text.data, text.bytes);
    shoal_strbuf_free(&text);
}

static void answer_no_key(shoal_http_exchange *x)
{
    shoal_api_error error = {0};
    (void)shoal_api_refuse(&error, 401, "invalid_api_key", NULL, "Incorrect API key.");
    answer_with(x, &error, "WWW-Authenticate: Bearer\r\n");
}

static void answer_wrong_method(shoal_http_exchange *x, const char *method,
                                const shoal_route *route)
{
    char headers[64];
    shoal_api_error error = {0};
    (void)snprintf(headers, sizeof headers, "Allow: %s\r\n", shoal_route_methods(route));
    (void)shoal_api_refuse(&error, 405, NULL, NULL, "%.20s is not allowed here.", method);
    answer_with(x, &error, headers);
}

static void answer_no_path(shoal_http_exchange *x)
{
    shoal_api_error error = {0};
    (void)shoal_api_refuse(&error, 404, NULL, NULL, "There is no such path.");
    shoal_http_reply_error(x, &error);
}

static bool on_head(void *context, shoal_http_exchange *x, const shoal_http_request *request)
{
    service *s = context;
    shoal_api_error error = {0};
    const shoal_route *route = shoal_route_find(request->path);
    if (s->settings->api_key && !(route && route->public) && !has_key(s, x)) {
        answer_no_key(x);
    } else if (!route) {
        answer_no_path(x);
    } else if (!shoal_route_allows(route, request->method)) {
        answer_wrong_method(x, request->method, route);
    } else if (shoal_refusal_unready(s->driver, route->needs, &error)) {
        shoal_metrics_add(s->metrics, SHOAL_COUNT_REFUSED, 1);
        shoal_http_reply_error(x, &error);
    } else {
        return true;
    }
    return false;
}

static void on_request(void *context, shoal_http_exchange *x, const shoal_http_request *request)
{
    service *s = context;
    const shoal_route *route = shoal_route_find(request->path);
    switch (route ? route->id : SHOAL_ROUTE_NONE) {
    case SHOAL_ROUTE_PAGE: answer_page(x); break;
    case SHOAL_ROUTE_LIVE:
        shoal_http_reply(x, 200, "application/json", NULL, "{\"status\":\"live\"}", 17);
        break;
    case SHOAL_ROUTE_READY: answer_ready(s, x); break;
    case SHOAL_ROUTE_METRICS: answer_metrics(s, x); break;
    case SHOAL_ROUTE_MODELS: answer_models(s, x, NULL); break;
    case SHOAL_ROUTE_MODEL: answer_model(s, x, route, request->path); break;
    case SHOAL_ROUTE_CHAT: shoal_desk_take(s->desk, x, SHOAL_TASK_CHAT); break;
    case SHOAL_ROUTE_COMPLETION: shoal_desk_take(s->desk, x, SHOAL_TASK_COMPLETION); break;
    case SHOAL_ROUTE_TOKENIZE: shoal_desk_take(s->desk, x, SHOAL_TASK_TOKENIZE); break;
    case SHOAL_ROUTE_DETOKENIZE: shoal_desk_take(s->desk, x, SHOAL_TASK_DETOKENIZE); break;
    case SHOAL_ROUTE_NONE: answer_no_path(x); break;
    }
}

static void on_gone(void *context, shoal_http_exchange *x)
{
    shoal_desk_lose(((service *)context)->desk, x);
}

static void on_wake(void *context)
{
    service *s = context;
    shoal_desk_work(s->desk);
    announce(s);
    follow_signals(s);
    follow_driver(s);
}

static void on_tick(void *context)
{
    service *s = context;
    shoal_desk_tick(s->desk);
    follow_signals(s);
}

static void on_done(void *context, const shoal_http_request *request, const char *request_id,
                    int status, double seconds, uint64_t bytes_sent)
{
    const service *s = context;
    const shoal_route *route = shoal_route_find(request->path);
    shoal_metrics_http(s->metrics, route ? route->path : "other", request->method, status);
    shoal_log(SHOAL_LOG_INFO, "http", "%s %s %s %d %.1f ms %llu bytes", request_id, request->method,
              request->path, status, 1e3 * seconds, (unsigned long long)bytes_sent);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void wake(void *context)
{
    service *s = context;
    shoal_http_server_wake(s->http);
}

/* Equal for equal model, arithmetic and build, whatever the number of workers. */
static void make_fingerprint(service *s)
{
    char build[SHOAL_BUILD_MAX], hex[9];
    uint8_t hash[SHOAL_XXH128_BYTES];
    shoal_xxh128_stream stream;
    const shoal_checkpoint *files = s->settings->blueprint->checkpoint;
    const char *arithmetic = s->settings->blueprint->arithmetic;
    shoal_build_name(build);
    shoal_xxh128_begin(&stream);
    shoal_xxh128_add(&stream, build, strlen(build));
    shoal_xxh128_add(&stream, arithmetic, strlen(arithmetic));
    for (size_t i = 0; i < shoal_checkpoint_count(files); i++) {
        const shoal_tensor *t = shoal_checkpoint_at(files, i);
        shoal_xxh128_add(&stream, t->name, strlen(t->name));
        shoal_xxh128_add_i64(&stream, (int64_t)t->offset);
    }
    shoal_xxh128_finish(&stream, hash);
    shoal_hex(hash, 4, hex);
    (void)snprintf(s->fingerprint, sizeof s->fingerprint, "fp_%s", hex);
}

static shoal_status open_http(service *s)
{
    const shoal_http_handlers handlers = {
        .on_head = on_head,
        .on_request = on_request,
        .on_gone = on_gone,
        .on_wake = on_wake,
        .on_tick = on_tick,
        .on_done = on_done,
        .context = s,
    };
    return shoal_http_server_open(&s->settings->http, &handlers, &s->http);
}

static shoal_status start_driver(service *s)
{
    const shoal_driver_settings settings = {
        .engine = s->settings->engine,
        .open = shoal_engine_open,
        .plan = &s->settings->blueprint->plan,
        .metrics = s->metrics,
        .waiting_max = s->settings->waiting_max,
        .prefix_cache = s->settings->prefix_cache,
        .notify = wake,
        .context = s,
    };
    return shoal_driver_start(&settings, &s->driver);
}

/* A tokenizer that allows no trie only means that answers cannot be held to a form. */
static shoal_status build_trie(service *s)
{
    if (!s->settings->tokenizer)
        return SHOAL_OK;
    const shoal_status st = shoal_vocab_trie_build(s->settings->tokenizer,
                                                   s->settings->blueprint->model->vocab, &s->trie);
    if (st != SHOAL_ERR_USAGE)
        return st;
    shoal_log(SHOAL_LOG_WARN, "form", "%s: constrained answers are refused", shoal_error_text());
    return SHOAL_OK;
}

static shoal_status open_desk(service *s)
{
    const shoal_service_settings *g = s->settings;
    const shoal_blueprint *b = g->blueprint;
    SHOAL_TRY(build_trie(s));
    make_fingerprint(s);
    const shoal_desk_settings settings = {
        .driver = s->driver,
        .metrics = s->metrics,
        .api = {.model_name = g->model_name,
                .tokenizer = g->tokenizer,
                .chat = g->chat,
                .trie = s->trie.nodes ? &s->trie : NULL,
                .vocab = b->model->vocab,
                .context = b->context < b->kv_tokens ? b->context : b->kv_tokens},
        .replies = {.tokenizer = g->tokenizer,
                    .model = g->model_name,
                    .fingerprint = s->fingerprint,
                    .eos = b->model->eos,
                    .eos_count = b->model->eos_count},
        .bodies_max = BODIES_WAITING * g->http.body_max,
        .waiting_max = g->waiting_max,
        .notify = wake,
        .context = s,
    };
    return shoal_desk_open(&settings, &s->desk);
}

static shoal_status open_parts(service *s)
{
    void *array;
    const uint64_t ranks = (uint64_t)s->settings->blueprint->plan.ranks;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, ranks, sizeof *s->ranks, &array));
    s->ranks = array;
    SHOAL_TRY(shoal_metrics_create(s->settings->model_name, &s->metrics));
    SHOAL_TRY(open_http(s));
    shoal_end_signals_listen(s->http);
    SHOAL_TRY(start_driver(s));
    return open_desk(s);
}

/* The server goes last: clerks, driver and signals ring its bell. */
static void close_parts(service *s)
{
    shoal_desk_close(s->desk);
    shoal_driver_destroy(s->driver);
    shoal_end_signals_listen(NULL);
    shoal_http_server_close(s->http);
    shoal_vocab_trie_free(&s->trie);
    shoal_metrics_destroy(s->metrics);
    shoal_free(s->ranks);
}

static shoal_status serve(service *s)
{
    SHOAL_TRY(shoal_http_server_run(s->http));
    SHOAL_TRY(shoal_driver_stop(s->driver));
    if (s->failure != SHOAL_OK)
        return s->failure;
    if (s->cut_off)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "requests were still running and were cut off");
    return SHOAL_OK;
}

shoal_status shoal_service_run(const shoal_service_settings *settings)
{
    service s = {
        .settings = settings,
        .started_at = (int64_t)time(NULL),
        .began = shoal_clock_seconds(),
    };
    shoal_status st = open_parts(&s);
    if (st == SHOAL_OK)
        st = serve(&s);
    close_parts(&s);
    return st;
}
