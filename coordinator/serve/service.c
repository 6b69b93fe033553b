#include "coordinator/serve/service.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "coordinator/clock.h"
#include "coordinator/cluster/hello.h"
#include "coordinator/serve/api_answer.h"
#include "coordinator/serve/clerk.h"
#include "coordinator/serve/page.h"
#include "coordinator/serve/reply.h"
#include "coordinator/serve/route.h"
#include "proto/arena.h"
#include "proto/log.h"

/* How long answers under way may take to reach their clients at the end. */
#define FLUSH_SECONDS 2.0

/* What a client that comes too early is told to wait, in seconds. */
#define RETRY_LOADING    5
#define RETRY_RECOVERING 2
#define RETRY_DRAINING   10
#define RETRY_FULL       2

/* How many bodies of the largest size may wait for clerks. */
#define BODIES_WAITING 32

typedef struct {
    const shoal_service_settings *settings;
    shoal_http_server *http;
    shoal_driver *driver;
    shoal_clerk *clerk;
    shoal_metrics *metrics;
    shoal_api_context api;
    shoal_reply_context replies;
    char fingerprint[16];
    int64_t started_at; /* seconds since 1970 */
    double began;
    bool announced, stopping, cut_off;
    double drain_until; /* 0: not draining */
    int signals_seen;
    shoal_id_map sequences; /* id → shoal_reply_part */
    shoal_driver_events events;
    shoal_reply *dead; /* destroyed when nobody is inside one any more */
    shoal_rank_view *ranks;
    shoal_status failure; /* of on_ready */
} service;

/* ---- signals --------------------------------------------------------------------------------- */

static _Atomic int signal_count;
static shoal_http_server *_Atomic signal_target;

static void on_signal(int number)
{
    shoal_http_server *target = atomic_load(&signal_target);
    (void)number;
    atomic_fetch_add(&signal_count, 1);
    if (target)
        shoal_http_server_wake(target);
}

static void listen_to_signals(shoal_http_server *target)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    const struct sigaction action = {.sa_handler = on_signal};
    atomic_store(&signal_target, target);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction old;
        /* What was ignored on purpose (nohup) stays ignored. */
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            (void)sigaction(numbers[i], &action, NULL);
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

static void answer_memory(shoal_http_exchange *x)
{
    shoal_api_error error = {.retry_after = 1};
    (void)shoal_api_refuse(&error, 503, "out_of_memory", NULL,
                           "The server has no memory for this request.");
    shoal_http_reply_error(x, &error);
}

/* What stands in the way of a route's needs now; false when nothing does. */
static bool unready(service *s, shoal_route_needs needs, shoal_api_error *error)
{
    shoal_step_limits limits;
    if (needs == SHOAL_NEEDS_NOTHING ||
        (needs == SHOAL_NEEDS_MODEL && shoal_driver_limits(s->driver, &limits)))
        return false;
    switch (shoal_driver_state_get(s->driver)) {
    case SHOAL_DRIVER_SERVING: return false;
    case SHOAL_DRIVER_LOADING:
        error->retry_after = RETRY_LOADING;
        (void)shoal_api_refuse(error, 503, "model_loading", NULL, "The model is loading (%.0f %%).",
                               100 * shoal_driver_load_fraction(s->driver));
        break;
    case SHOAL_DRIVER_RECOVERING:
        error->retry_after = RETRY_RECOVERING;
        (void)shoal_api_refuse(error, 503, "recovering", NULL, "Workers are being started again.");
        break;
    default:
        error->retry_after = RETRY_DRAINING;
        (void)shoal_api_refuse(error, 503, "draining", NULL, "The server is stopping.");
    }
    return true;
}

/* ---- small routes ---------------------------------------------------------------------------- */

static void answer_text(shoal_http_exchange *x, const char *type, shoal_status st,
                        shoal_strbuf *text)
{
    if (st == SHOAL_OK)
        shoal_http_reply(x, 200, type, NULL, text->data, text->bytes);
    else
        answer_memory(x);
    shoal_strbuf_free(text);
}

static void answer_ready(service *s, shoal_http_exchange *x)
{
    shoal_api_error error = {0};
    if (unready(s, SHOAL_NEEDS_SERVING, &error))
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

static void answer_page(shoal_http_exchange *x)
{
    size_t bytes;
    const char *page = shoal_page(&bytes);
    shoal_http_reply(x, 200, "text/html; charset=utf-8",
                     "Cache-Control: no-cache\r\n"
                     "Content-Security-Policy: default-src 'self' 'unsafe-inline'\r\n"
                     "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n",
                     page, bytes);
}

/* ---- requests for text ----------------------------------------------------------------------- */

static void bury(service *s, shoal_reply *reply)
{
    if (reply->buried)
        return;
    reply->buried = true;
    reply->next_dead = s->dead;
    s->dead = reply;
}

static void sweep(service *s)
{
    while (s->dead) {
        shoal_reply *reply = s->dead;
        s->dead = reply->next_dead;
        shoal_reply_destroy(reply);
    }
}

/* The driver need not go on with what is not wanted any more. */
static void let_go(service *s, shoal_reply *reply)
{
    for (int i = 0; i < reply->part_count; i++) {
        shoal_reply_part *part = &reply->parts[i];
        if (part->sequence == 0)
            continue;
        (void)shoal_id_map_remove(&s->sequences, part->sequence);
        if (!part->ended)
            shoal_driver_cancel(s->driver, part->sequence, SHOAL_FINISH_NONE);
        part->sequence = 0;
    }
    bury(s, reply);
}

static void refuse(service *s, shoal_reply *reply, const shoal_api_error *error)
{
    shoal_reply_refuse(reply, error);
    let_go(s, reply);
}

static void refuse_memory(service *s, shoal_reply *reply)
{
    const shoal_api_error error = {.status = 503,
                                   .retry_after = 1,
                                   .code = "out_of_memory",
                                   .message = "The server has no memory for this request."};
    refuse(s, reply, &error);
}

static shoal_status remember_parts(service *s, shoal_reply *reply, const uint64_t *ids)
{
    /* All ids first: whoever lets go of the reply must know them all. */
    for (int i = 0; i < reply->part_count; i++)
        reply->parts[i].sequence = ids[i];
    for (int i = 0; i < reply->part_count; i++)
        SHOAL_TRY(shoal_id_map_add(&s->sequences, ids[i], &reply->parts[i]));
    return SHOAL_OK;
}

static uint64_t random_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = (uint64_t)(shoal_clock_seconds() * 1e9);
    return seed;
}

/* What the driver is asked for one reply. */
typedef struct {
    shoal_journal_order orders[SHOAL_API_SEQUENCES_MAX];
    uint64_t ids[SHOAL_API_SEQUENCES_MAX];
} order_sheet;

static shoal_status hand_in(service *s, const shoal_reply *reply, order_sheet *sheet,
                            shoal_submit *taken)
{
    int32_t stops[SHOAL_API_STOP_IDS_MAX + SHOAL_EOS_MAX];
    const uint64_t seed = random_seed();
    /* All parts have the same rules, so they share one list of stop ids. */
    for (int i = 0; i < reply->part_count; i++)
        shoal_reply_order(reply, i, seed, stops, &sheet->orders[i]);
    return shoal_driver_submit(s->driver, sheet->orders, reply->part_count,
                               reply->request.prompt_count == 1, sheet->ids, taken);
}

/* What the queue could not hold if it were empty need not come again. */
static void full(service *s, shoal_reply *reply)
{
    shoal_api_error error = {0};
    if (reply->part_count > s->settings->waiting_max) {
        (void)shoal_api_refuse(&error, 400, "too_many_sequences", "n",
                               "These are %d sequences; the queue of this server holds %lld.",
                               reply->part_count, (long long)s->settings->waiting_max);
    } else {
        error.retry_after = RETRY_FULL;
        (void)shoal_api_refuse(&error, 429, "queue_full", NULL, "Too many requests are waiting.");
    }
    shoal_metrics_add(s->metrics, SHOAL_COUNT_REFUSED, 1);
    refuse(s, reply, &error);
}

static void not_serving(service *s, shoal_reply *reply)
{
    shoal_api_error error = {0};
    if (!unready(s, SHOAL_NEEDS_SERVING, &error)) { /* it came back in this very moment */
        error.retry_after = 1;
        (void)shoal_api_refuse(&error, 503, "recovering", NULL, "Workers are being started again.");
    }
    shoal_metrics_add(s->metrics, SHOAL_COUNT_REFUSED, 1);
    refuse(s, reply, &error);
}

/* echo with max_tokens 0: there is nothing to compute. */
static void answer_without_workers(service *s, shoal_reply *reply)
{
    const shoal_driver_event end = {.finish = SHOAL_FINISH_LENGTH};
    bool cancel;
    shoal_reply_begin(reply);
    for (int i = 0; i < reply->part_count; i++)
        shoal_reply_take(&reply->parts[i], &end, &cancel);
    bury(s, reply);
}

static void submit(service *s, shoal_reply *reply)
{
    shoal_submit taken;
    void *block;
    if (reply->request.max_tokens == 0) {
        answer_without_workers(s, reply);
        return;
    }
    if (shoal_alloc(SHOAL_MEM_OTHER, sizeof(order_sheet), &block) != SHOAL_OK) {
        refuse_memory(s, reply);
        return;
    }
    order_sheet *sheet = block;
    shoal_status st = hand_in(s, reply, sheet, &taken);
    if (st == SHOAL_OK && taken == SHOAL_SUBMIT_OK)
        st = remember_parts(s, reply, sheet->ids);
    shoal_free(block);
    if (st != SHOAL_OK)
        refuse_memory(s, reply);
    else if (taken == SHOAL_SUBMIT_FULL)
        full(s, reply);
    else if (taken == SHOAL_SUBMIT_NOT_SERVING)
        not_serving(s, reply);
    else
        shoal_reply_begin(reply);
    if (!reply->exchange)
        let_go(s, reply);
}

/* ---- what clerks have done ------------------------------------------------------------------- */

static void take_task(service *s, shoal_task *task)
{
    shoal_reply *reply = task->user;
    const bool whole = task->kind == SHOAL_TASK_TOKENIZE || task->kind == SHOAL_TASK_DETOKENIZE;
    if (!reply->exchange) {
        bury(s, reply);
    } else if (!task->fine) {
        refuse(s, reply, &task->error);
    } else if (whole) {
        shoal_http_exchange *x = reply->exchange;
        reply->exchange = NULL;
        shoal_http_reply(x, 200, "application/json", NULL, task->answer.data, task->answer.bytes);
        bury(s, reply);
    } else if (shoal_reply_prepare(reply, &task->request) != SHOAL_OK) {
        refuse_memory(s, reply);
    } else {
        submit(s, reply);
    }
    shoal_task_destroy(task);
}

static void take_tasks(service *s)
{
    for (shoal_task *task = shoal_clerk_collect(s->clerk); task;) {
        shoal_task *next = task->next;
        ((shoal_reply *)task->user)->asked = false;
        take_task(s, task);
        task = next;
    }
}

static void give_to_clerk(service *s, shoal_http_exchange *x, shoal_task_kind kind)
{
    shoal_reply *reply;
    shoal_task *task;
    size_t bytes;
    char *body = shoal_http_take_body(x, &bytes);
    if (shoal_reply_create(&s->replies, x, &reply) != SHOAL_OK) {
        shoal_free(body);
        answer_memory(x);
    } else if (shoal_task_create(kind, body, bytes, reply, &task) != SHOAL_OK) {
        shoal_free(body);
        refuse_memory(s, reply);
    } else {
        reply->asked = shoal_clerk_give(s->clerk, task);
        if (!reply->asked) {
            full(s, reply);
            shoal_task_destroy(task);
        }
    }
}

/* ---- what the driver has done ---------------------------------------------------------------- */

static void take_event(service *s, const shoal_driver_event *event)
{
    bool cancel;
    shoal_reply_part *part = shoal_id_map_find(&s->sequences, event->sequence);
    if (!part)
        return;
    shoal_reply *reply = part->reply;
    shoal_reply_take(part, event, &cancel);
    if (cancel)
        shoal_driver_cancel(s->driver, event->sequence, SHOAL_FINISH_STOP);
    if (!reply->exchange && part->sequence != 0)
        let_go(s, reply);
}

static void take_events(service *s)
{
    shoal_driver_collect(s->driver, &s->events);
    for (int i = 0; i < s->events.count; i++)
        take_event(s, &s->events.items[i]);
    s->events.count = 0;
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

static shoal_reply *first_reply(const service *s)
{
    return ((shoal_reply_part *)s->sequences.items[0].value)->reply;
}

/* End now; who still waits for an answer gets an error while there is time to flush it. */
static void cut_off(service *s)
{
    shoal_api_error error = {.retry_after = RETRY_DRAINING};
    (void)shoal_api_refuse(&error, 503, "draining", NULL,
                           "The server is stopping; the request cannot be finished.");
    s->cut_off |= s->sequences.count > 0;
    while (s->sequences.count > 0)
        refuse(s, first_reply(s), &error);
    stop(s);
}

static void follow_signals(service *s)
{
    const int count = atomic_load(&signal_count);
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
    if (state == SHOAL_DRIVER_ENDED || state == SHOAL_DRIVER_FAILED)
        stop(s);
}

/* ---- handlers -------------------------------------------------------------------------------- */

static bool has_key(const service *s, const shoal_http_exchange *x)
{
    static const char scheme[] = "Bearer ";
    const char *key = s->settings->api_key, *value = shoal_http_header(x, "Authorization");
    if (!value || strncmp(value, scheme, sizeof scheme - 1) != 0)
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
    } else if (unready(s, route->needs, &error)) {
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
    case SHOAL_ROUTE_MODEL: answer_models(s, x, shoal_route_parameter(route, request->path)); break;
    case SHOAL_ROUTE_CHAT: give_to_clerk(s, x, SHOAL_TASK_CHAT); break;
    case SHOAL_ROUTE_COMPLETION: give_to_clerk(s, x, SHOAL_TASK_COMPLETION); break;
    case SHOAL_ROUTE_TOKENIZE: give_to_clerk(s, x, SHOAL_TASK_TOKENIZE); break;
    case SHOAL_ROUTE_DETOKENIZE: give_to_clerk(s, x, SHOAL_TASK_DETOKENIZE); break;
    case SHOAL_ROUTE_NONE: answer_no_path(x); break;
    }
}

/* A reply that a clerk still holds is buried when the clerk is done with it. */
static void on_gone(void *context, shoal_http_exchange *x)
{
    service *s = context;
    shoal_reply *reply = shoal_http_user(x);
    if (!reply)
        return;
    reply->exchange = NULL;
    if (!reply->asked)
        let_go(s, reply);
}

static void on_wake(void *context)
{
    service *s = context;
    take_tasks(s);
    take_events(s);
    announce(s);
    follow_signals(s);
    follow_driver(s);
    sweep(s);
}

static void on_tick(void *context)
{
    service *s = context;
    for (int i = 0; i < s->sequences.count; i++)
        shoal_reply_ping(((shoal_reply_part *)s->sequences.items[i].value)->reply);
    follow_signals(s);
    sweep(s);
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

static void fill_contexts(service *s)
{
    const shoal_service_settings *g = s->settings;
    const shoal_blueprint *b = g->blueprint;
    s->api = (shoal_api_context){
        .model_name = g->model_name,
        .tokenizer = g->tokenizer,
        .chat = g->chat,
        .vocab = b->model->vocab,
        .context = b->context < b->kv_tokens ? b->context : b->kv_tokens,
    };
    make_fingerprint(s);
    s->replies = (shoal_reply_context){
        .tokenizer = g->tokenizer,
        .model = g->model_name,
        .fingerprint = s->fingerprint,
        .eos = b->model->eos,
        .eos_count = b->model->eos_count,
    };
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

static shoal_status open_parts(service *s)
{
    void *array;
    const uint64_t ranks = (uint64_t)s->settings->blueprint->plan.ranks;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, ranks, sizeof *s->ranks, &array));
    s->ranks = array;
    fill_contexts(s);
    SHOAL_TRY(shoal_metrics_create(s->settings->model_name, &s->metrics));
    SHOAL_TRY(open_http(s));
    SHOAL_TRY(shoal_clerk_start(&s->api, BODIES_WAITING * s->settings->http.body_max, wake, s,
                                &s->clerk));
    listen_to_signals(s->http);
    return start_driver(s);
}

/* The server goes last: clerks, driver and signals ring its bell. What clerks still held is not
 * answered any more, because no client is left. */
static void close_parts(service *s)
{
    if (s->clerk) {
        shoal_clerk_stop(s->clerk);
        take_tasks(s);
    }
    shoal_clerk_destroy(s->clerk);
    while (s->sequences.count > 0)
        let_go(s, first_reply(s));
    sweep(s);
    shoal_driver_destroy(s->driver);
    atomic_store(&signal_target, NULL);
    shoal_http_server_close(s->http);
    shoal_driver_events_free(&s->events);
    shoal_id_map_free(&s->sequences);
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
