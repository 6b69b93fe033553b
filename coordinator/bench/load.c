#include "coordinator/bench/load.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "coordinator/bench/exchange.h"
#include "coordinator/bench/random.h"
#include "coordinator/cli/report.h"
#include "coordinator/clock.h"
#include "coordinator/cluster/interrupt.h"
#include "proto/arena.h"

#define EVENTS_AT_ONCE 256
#define TICK_MILLIS    100
#define TOKEN_TIMER    UINT64_MAX
#define TOKEN_SIGNAL   (UINT64_MAX - 1)

/* Descriptors beside those of the requests. */
#define FILES_RESERVED 64

typedef struct {
    const shoal_bench_load *load;
    shoal_bench_tally *tally;
    shoal_bench_exchange *exchanges; /* [places] */
    int *spare;                      /* places without a request, [spare_count] */
    int places, spare_count;
    int epoll, timer;    /* the timer: the next arrival of an open loop */
    double start, due;   /* due: of that arrival */
    uint64_t randomness; /* of arrivals */
    shoal_progress progress;
} runner;

/* ---- requests begin and end ------------------------------------------------------------------ */

static bool may_begin(const runner *r, double now)
{
    const shoal_bench_tally *t = r->tally;
    return (r->load->requests == 0 || t->begun < r->load->requests) &&
           t->failed < SHOAL_BENCH_FAILURES_MAX && now - r->start < r->load->begin_seconds;
}

static shoal_status watch(const runner *r, int place, int operation)
{
    const shoal_bench_exchange *x = &r->exchanges[place];
    struct epoll_event event = {.events = shoal_bench_exchange_writes(x) ? EPOLLOUT : EPOLLIN,
                                .data.u64 = (uint64_t)place};
    if (epoll_ctl(r->epoll, operation, x->fd, &event) != 0)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "watching a connection: %s", strerror(errno));
    return SHOAL_OK;
}

static void leave(runner *r, int place)
{
    shoal_bench_exchange_reset(&r->exchanges[place]);
    r->spare[r->spare_count++] = place;
}

static shoal_status try_begin(runner *r, int place, double due)
{
    shoal_strbuf body = {0};
    shoal_bench_exchange *x = &r->exchanges[place];
    const uint64_t number = r->load->first_number + (uint64_t)r->tally->begun;
    shoal_status st = shoal_bench_prompt_body(r->load->prompts, number, &body);
    if (st == SHOAL_OK)
        st = shoal_bench_target_request(r->load->target, "/v1/completions", &body, &x->request);
    shoal_strbuf_free(&body);
    SHOAL_TRY(st);
    SHOAL_TRY(shoal_bench_exchange_begin(x, r->load->target, due));
    return watch(r, place, EPOLL_CTL_ADD);
}

static void begin(runner *r, double due)
{
    if (r->spare_count == 0) { /* open loop: the server is hopelessly behind */
        r->tally->begun++;
        (void)shoal_fail(SHOAL_ERR_UNAVAILABLE, "more than %d requests under way", r->places);
        shoal_bench_tally_fail(r->tally);
        return;
    }
    const int place = r->spare[--r->spare_count];
    const shoal_status st = try_begin(r, place, due);
    r->tally->begun++;
    if (st != SHOAL_OK) {
        shoal_bench_tally_fail(r->tally);
        leave(r, place);
    }
}

/* Closed loop: fill all places. A begin that fails leaves its place free: once round is enough. */
static void refill(runner *r)
{
    for (int i = r->spare_count; i > 0 && may_begin(r, shoal_clock_seconds()); i--)
        begin(r, shoal_clock_seconds());
}

static void finish(runner *r, int place)
{
    const shoal_bench_exchange *x = &r->exchanges[place];
    const double now = shoal_clock_seconds();
    if (shoal_bench_samples_add(&r->tally->total, now - x->due) != SHOAL_OK) {
        shoal_bench_tally_fail(r->tally);
    } else {
        r->tally->finished++;
        r->tally->tokens += shoal_bench_exchange_tokens(x);
    }
    r->tally->seconds = now - r->start;
}

static shoal_status advance(runner *r, int place)
{
    bool ended;
    shoal_bench_exchange *x = &r->exchanges[place];
    const bool wrote = shoal_bench_exchange_writes(x);
    const shoal_status st = shoal_bench_exchange_step(x, r->tally, &ended);
    if (st != SHOAL_OK)
        shoal_bench_tally_fail(r->tally);
    else if (ended)
        finish(r, place);
    else
        return wrote != shoal_bench_exchange_writes(x) ? watch(r, place, EPOLL_CTL_MOD) : SHOAL_OK;
    leave(r, place);
    return SHOAL_OK;
}

static void cut_the_rest(runner *r)
{
    for (int place = 0; place < r->places; place++) {
        if (r->exchanges[place].fd < 0)
            continue;
        r->tally->cut++;
        r->tally->tokens += shoal_bench_exchange_tokens(&r->exchanges[place]);
        r->tally->seconds = shoal_clock_seconds() - r->start;
        leave(r, place);
    }
}

/* ---- arrivals of an open loop ---------------------------------------------------------------- */

static shoal_status plan_arrival(runner *r)
{
    r->due += shoal_bench_random_wait(&r->randomness, r->load->rate);
    const double seconds = r->due > 1e-9 ? r->due : 1e-9; /* zero would switch the timer off */
    struct itimerspec when = {0};
    when.it_value.tv_sec = (time_t)seconds;
    when.it_value.tv_nsec = (long)(1e9 * (seconds - (double)when.it_value.tv_sec));
    if (timerfd_settime(r->timer, TFD_TIMER_ABSTIME, &when, NULL) != 0)
        return shoal_fail(SHOAL_ERR_INTERNAL, "setting a timer: %s", strerror(errno));
    return SHOAL_OK;
}

static shoal_status arrive(runner *r)
{
    uint64_t times;
    if (read(r->timer, &times, sizeof times) < 0)
        return SHOAL_OK;
    if (!may_begin(r, r->due))
        return SHOAL_OK;
    begin(r, r->due);
    return plan_arrival(r);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static bool over(const runner *r)
{
    const double now = shoal_clock_seconds();
    return now - r->start >= r->load->end_seconds ||
           (r->spare_count == r->places && !may_begin(r, r->load->streams ? now : r->due));
}

static void show_progress(runner *r)
{
    const double time = (shoal_clock_seconds() - r->start) / r->load->begin_seconds;
    const int64_t ended = r->tally->finished + r->tally->failed;
    const double count = r->load->requests ? (double)ended / (double)r->load->requests : 0;
    const double part = time > count ? time : count;
    shoal_progress_update(&r->progress, (uint64_t)(1000 * (part < 1 ? part : 0.999)), 1000);
}

static shoal_status handle(runner *r, const struct epoll_event *event)
{
    if (event->data.u64 == TOKEN_SIGNAL)
        return shoal_interrupt_check();
    if (event->data.u64 == TOKEN_TIMER)
        return arrive(r);
    return advance(r, (int)event->data.u64);
}

static shoal_status loop(runner *r)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    while (!over(r)) {
        if (r->load->streams)
            refill(r);
        const int count = epoll_wait(r->epoll, events, EVENTS_AT_ONCE, TICK_MILLIS);
        if (count < 0 && errno != EINTR)
            return shoal_fail(SHOAL_ERR_TEMPORARY, "epoll_wait: %s", strerror(errno));
        for (int i = 0; i < count; i++)
            SHOAL_TRY(handle(r, &events[i]));
        show_progress(r);
    }
    return SHOAL_OK;
}

/* ---- set up and take down -------------------------------------------------------------------- */

static shoal_status watch_fixed(const runner *r, int fd, uint64_t token)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = token};
    if (fd < 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "epoll or timer: %s", strerror(errno));
    return SHOAL_OK;
}

/* Thousands of connections need more descriptors than a shell usually grants at first. */
static void raise_file_limit(int places)
{
    struct rlimit limit;
    const rlim_t wanted = (rlim_t)(places + FILES_RESERVED);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* a failure shows as failed requests */
}

static shoal_status open_runner(runner *r)
{
    void *block;
    int signal_fd;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)r->places, sizeof *r->spare, &block));
    r->spare = block;
    SHOAL_TRY(
        shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)r->places, sizeof *r->exchanges, &block));
    r->exchanges = block;
    for (int place = 0; place < r->places; place++) {
        r->exchanges[place].fd = -1;
        r->spare[r->spare_count++] = place;
    }
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    r->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    SHOAL_TRY(watch_fixed(r, r->timer, TOKEN_TIMER));
    SHOAL_TRY(shoal_interrupt_listen(&signal_fd));
    SHOAL_TRY(watch_fixed(r, signal_fd, TOKEN_SIGNAL));
    raise_file_limit(r->places);
    r->start = r->due = shoal_clock_seconds();
    return r->load->streams ? SHOAL_OK : plan_arrival(r);
}

static void close_runner(runner *r)
{
    for (int place = 0; r->exchanges && place < r->places; place++)
        shoal_bench_exchange_free(&r->exchanges[place]);
    shoal_free(r->exchanges);
    shoal_free(r->spare);
    if (r->timer >= 0)
        (void)close(r->timer);
    if (r->epoll >= 0)
        (void)close(r->epoll);
}

shoal_status shoal_bench_load_run(const shoal_bench_load *load, shoal_bench_tally *tally)
{
    runner r = {.load = load,
                .tally = tally,
                .places = load->streams ? load->streams : SHOAL_BENCH_STREAMS_MAX,
                .epoll = -1,
                .timer = -1,
                .randomness = load->prompts->seed};
    shoal_progress_begin(&r.progress, load->label);
    shoal_status st = open_runner(&r);
    if (st == SHOAL_OK)
        st = loop(&r);
    if (st == SHOAL_OK)
        cut_the_rest(&r);
    shoal_progress_end(&r.progress);
    close_runner(&r);
    shoal_bench_tally_sort(tally);
    return st;
}
