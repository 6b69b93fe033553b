/* The driver's thread: generations, one after another. Declared in driver_state.h. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/clock.h"
#include "coordinator/serve/driver_state.h"
#include "proto/arena.h"
#include "proto/log.h"

/* How long to idle before the ranks' numbers are looked at again. */
#define IDLE_SECONDS 1.0

/* How often what is seen of the ranks is brought up to date. */
#define VIEW_SECONDS 0.25

static void enter(shoal_driver *d, shoal_driver_state state)
{
    (void)pthread_mutex_lock(&d->lock);
    d->state = state;
    (void)pthread_mutex_unlock(&d->lock);
    d->settings.notify(d->settings.context);
}

/* ---- inbox ----------------------------------------------------------------------------------- */

static void admit(shoal_driver *d, shoal_journal_entry *entry)
{
    const uint64_t id = entry->id;
    const shoal_scheduler_entry wanted = {
        .id = id,
        .tokens = &entry->tokens,
        /* the last token is never computed itself */
        .tokens_max = entry->prompt_count + entry->max_tokens - 1,
        .priority = entry->priority,
        .follows = entry->follows,
    };
    if (shoal_journal_add(&d->journal, entry) != SHOAL_OK) {
        shoal_journal_entry_destroy(entry);
        shoal_driver_fail_entry(d, id, SHOAL_CAUSE_MEMORY);
    } else if (shoal_scheduler_add(d->scheduler, &wanted) != SHOAL_OK) {
        shoal_log(SHOAL_LOG_WARN, "schedule", "%s", shoal_error_text());
        shoal_driver_fail_entry(d, id, SHOAL_CAUSE_MEMORY);
    } else {
        (void)shoal_driver_look_ahead(d, entry);
    }
}

static void cancel(shoal_driver *d, const shoal_driver_cancelled *cancelled)
{
    const shoal_journal_entry *entry = shoal_journal_find(&d->journal, cancelled->id);
    if (!entry)
        return;
    shoal_driver_end_entry(d, entry, cancelled->why);
    if (cancelled->why == SHOAL_FINISH_NONE)
        shoal_metrics_add(d->settings.metrics, SHOAL_COUNT_CANCELLED, 1);
}

/* Take everything that was handed in; entries before cancels, because a cancel may be for one. */
static void take_inbox(shoal_driver *d)
{
    (void)pthread_mutex_lock(&d->lock);
    shoal_journal inbox = d->inbox;
    shoal_driver_cancelled *cancels = d->cancels;
    const int cancel_count = d->cancel_count;
    d->inbox = (shoal_journal){0};
    d->cancels = NULL;
    d->cancel_count = d->cancel_room = 0;
    d->waiting += inbox.count;
    (void)pthread_mutex_unlock(&d->lock);

    for (int i = 0; i < inbox.count; i++)
        admit(d, shoal_journal_at(&inbox, i));
    for (int i = 0; i < cancel_count; i++)
        cancel(d, &cancels[i]);
    if (d->events.count > 0) /* some could not be admitted, and perhaps no step follows */
        shoal_driver_post(d);
    shoal_id_map_free(&inbox);
    shoal_free(cancels);
}

/* ---- what others may see --------------------------------------------------------------------- */

static void view_ranks(shoal_driver *d)
{
    for (int r = 0; r < d->rank_count; r++) {
        shoal_rank_view *view = &d->rank_views[r];
        view->up = d->engine != NULL;
        if (!d->engine)
            continue;
        const shoal_rank_identity *who = &d->engine->identities[r];
        view->memory = d->engine->memory[r];
        view->timing = d->engine->timing[r];
        memcpy(view->host, who->host, sizeof view->host);
        memcpy(view->level, who->level, sizeof view->level);
    }
}

/* They are lost before what is left of their engine is closed. */
static void view_loss(shoal_driver *d)
{
    (void)pthread_mutex_lock(&d->lock);
    for (int r = 0; r < d->rank_count; r++)
        d->rank_views[r].up = false;
    (void)pthread_mutex_unlock(&d->lock);
}

static void publish(shoal_driver *d)
{
    const double now = shoal_clock_seconds();
    shoal_scheduler_stats stats = {0};
    if (d->scheduler)
        shoal_scheduler_stats_get(d->scheduler, &stats);
    (void)pthread_mutex_lock(&d->lock);
    d->scheduler_stats = stats;
    d->waiting = stats.waiting;
    d->live = d->journal.count;
    if (!d->engine || now - d->ranks_viewed >= VIEW_SECONDS) {
        view_ranks(d);
        d->ranks_viewed = now;
    }
    (void)pthread_mutex_unlock(&d->lock);
}

/* ---- serving --------------------------------------------------------------------------------- */

static void hush(int fd)
{
    uint64_t count;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
}

static shoal_status serve(shoal_driver *d)
{
    for (;;) {
        shoal_schedule plan;
        if (atomic_load(&d->stopping))
            return shoal_fail(SHOAL_ERR_TEMPORARY, "stopped");
        /* Asked before the inbox is taken: nothing comes in after it. */
        const bool draining = atomic_load(&d->draining);
        hush(d->wake_fd);
        take_inbox(d);
        SHOAL_TRY(shoal_scheduler_plan(d->scheduler, &plan));
        publish(d);
        if (plan.count > 0)
            SHOAL_TRY(shoal_driver_step(d, &plan));
        else if (draining && d->journal.count == 0)
            return SHOAL_OK;
        else
            SHOAL_TRY(shoal_engine_idle(d->engine, d->wake_fd, IDLE_SECONDS));
    }
}

/* ---- a generation ---------------------------------------------------------------------------- */

static void note_progress(void *context, uint64_t done, uint64_t total)
{
    shoal_driver *d = context;
    const shoal_engine_request *engine = d->settings.engine;
    atomic_store(&d->load_fraction, total > 0 ? (double)done / (double)total : 0);
    if (engine->progress && d->generation == 1)
        engine->progress(engine->progress_context, done, total);
}

static bool same_limits(const shoal_step_limits *a, const shoal_step_limits *b)
{
    return a->vocab == b->vocab && a->context == b->context && a->pages == b->pages &&
           a->rows_max == b->rows_max && a->sequences_max == b->sequences_max;
}

/* The first generation says how large everything is; the others must be like it. */
static shoal_status adopt_limits(shoal_driver *d)
{
    const shoal_step_limits *limits = &d->engine->limits;
    const shoal_scheduler_limits wanted = {
        .rows_max = limits->rows_max,
        .sequences_max = limits->sequences_max,
        .chunk = limits->rows_max,
        .pages = limits->pages,
        .waiting_max = d->settings.waiting_max,
        .prefix_cache = d->settings.prefix_cache,
    };
    if (d->limits_known)
        return same_limits(limits, &d->limits)
                   ? SHOAL_OK
                   : shoal_fail(SHOAL_ERR_CONFIG, "the workers came back with other limits");
    SHOAL_TRY(shoal_driver_make_room(d, (uint64_t)limits->sequences_max));
    SHOAL_TRY(shoal_scheduler_create(&wanted, &d->scheduler));
    (void)pthread_mutex_lock(&d->lock);
    d->limits = *limits;
    d->limits_known = true;
    (void)pthread_mutex_unlock(&d->lock);
    return SHOAL_OK;
}

static void announce(shoal_driver *d)
{
    const double now = d->ready_at = shoal_clock_seconds();
    atomic_store(&d->load_fraction, 1);
    if (d->lost_at > 0) {
        shoal_metrics_observe(d->settings.metrics, SHOAL_TIME_RECOVERY, now - d->lost_at);
        shoal_log(SHOAL_LOG_WARN, "recover",
                  "generation %u is ready after %.2f s; %d sequences go on", d->generation,
                  now - d->lost_at, d->journal.count);
    }
    d->lost_at = 0;
    d->ranks_viewed = 0;
    enter(d, SHOAL_DRIVER_SERVING);
}

static shoal_status open_generation(shoal_driver *d)
{
    shoal_engine_request request = *d->settings.engine;
    (void)pthread_mutex_lock(&d->lock);
    request.generation = ++d->generation;
    (void)pthread_mutex_unlock(&d->lock);
    request.supervised = true;
    request.stop_fd = d->stop_fd;
    request.progress = note_progress;
    request.progress_context = d;
    d->progressed = false;
    d->ready_at = -1;
    d->in_step_count = 0;
    atomic_store(&d->load_fraction, 0);
    enter(d, d->limits_known ? SHOAL_DRIVER_RECOVERING : SHOAL_DRIVER_LOADING);
    shoal_metrics_add(d->settings.metrics, SHOAL_COUNT_GENERATIONS, 1);
    return d->settings.open(&request, &d->engine);
}

static void keep_sentence(shoal_driver *d)
{
    (void)snprintf(d->failure_text, sizeof d->failure_text, "%s", shoal_error_text());
}

/* Remembers how it ended before the engine's end is looked after. */
static shoal_status run_generation(shoal_driver *d)
{
    shoal_status st = open_generation(d);
    if (st == SHOAL_OK)
        st = adopt_limits(d);
    if (st == SHOAL_OK) {
        announce(d);
        st = serve(d);
    }
    if (st != SHOAL_OK) {
        d->lost_at = shoal_clock_seconds();
        keep_sentence(d);
        view_loss(d);
        if (d->engine)
            d->engine->broken = true;
        if (d->limits_known && !atomic_load(&d->stopping))
            enter(d, SHOAL_DRIVER_RECOVERING);
    }
    if (shoal_engine_close(d->engine) != SHOAL_OK)
        shoal_log(SHOAL_LOG_WARN, "close", "%s", shoal_error_text());
    d->engine = NULL;
    return st;
}

/* ---- after a loss ---------------------------------------------------------------------------- */

/* Those who were in the fatal step are replayed alone, or not at all. */
static void question(shoal_driver *d, shoal_journal_entry *entry)
{
    if (shoal_journal_lost(entry)) {
        entry->apart = true;
        return;
    }
    shoal_log(SHOAL_LOG_ERROR, "quarantine",
              "sequence %llu (%lld tokens) was in the step when workers died, twice running",
              (unsigned long long)entry->id, (long long)entry->tokens.count);
    shoal_metrics_add(d->settings.metrics, SHOAL_COUNT_QUARANTINED, 1);
    shoal_driver_fail_entry(d, entry->id, SHOAL_CAUSE_QUARANTINED);
}

static void prepare_replay(shoal_driver *d)
{
    if (!d->scheduler)
        return;
    shoal_scheduler_reset(d->scheduler);
    for (int i = 0; i < d->in_step_count; i++)
        question(d, d->in_step[i]);
    for (int i = 0; i < d->journal.count; i++) {
        const shoal_journal_entry *entry = shoal_journal_at(&d->journal, i);
        if (entry->apart)
            shoal_scheduler_hold_apart(d->scheduler, entry->id, true);
    }
    shoal_metrics_add(d->settings.metrics, SHOAL_COUNT_GENERATIONS_LOST, 1);
    shoal_metrics_add(d->settings.metrics, SHOAL_COUNT_REPLAYED, (uint64_t)d->journal.count);
    publish(d);
    shoal_driver_post(d);
}

/* A model that cannot be loaded does not become loadable; only what may pass is tried again. */
static bool may_pass(const shoal_driver *d, shoal_status st)
{
    return d->limits_known || st == SHOAL_ERR_TEMPORARY || st == SHOAL_ERR_UNAVAILABLE;
}

static void wait_before_restart(shoal_driver *d, double pause)
{
    struct pollfd stop = {.fd = d->stop_fd, .events = POLLIN};
    if (pause > 0)
        (void)poll(&stop, 1, (int)(pause * 1000));
}

static bool restart(shoal_driver *d, shoal_restart_policy *policy, shoal_status st)
{
    double pause;
    const double lived = d->ready_at < 0 ? -1 : d->lost_at - d->ready_at;
    if (!may_pass(d, st)) {
        d->failure = st;
        return false;
    }
    shoal_log(SHOAL_LOG_WARN, "lost", "generation %u: %s", d->generation, d->failure_text);
    if (atomic_load(&d->draining) && d->journal.count == 0)
        return false; /* for nobody */
    if (!shoal_restart_again(policy, d->progressed, lived, &pause)) {
        d->failure =
            shoal_fail(SHOAL_ERR_INTERNAL, "the workers died %d times in a row; the last time: %s",
                       policy->failures, d->failure_text);
        keep_sentence(d);
        return false;
    }
    prepare_replay(d);
    wait_before_restart(d, pause);
    return true;
}

/* Whoever is still here gets an end. */
static void dismiss(shoal_driver *d)
{
    (void)pthread_mutex_lock(&d->lock);
    d->state = d->failure == SHOAL_OK ? SHOAL_DRIVER_ENDED : SHOAL_DRIVER_FAILED;
    shoal_journal inbox = d->inbox;
    d->inbox = (shoal_journal){0};
    (void)pthread_mutex_unlock(&d->lock);
    for (int i = 0; i < inbox.count; i++)
        shoal_driver_fail_entry(d, inbox.items[i].id, SHOAL_CAUSE_GONE);
    while (d->journal.count > 0)
        shoal_driver_fail_entry(d, d->journal.items[0].id, SHOAL_CAUSE_GONE);
    shoal_journal_free(&inbox);
    publish(d);
    shoal_driver_post(d);
}

void *shoal_driver_main(void *context)
{
    shoal_driver *d = context;
    shoal_restart_policy policy = {0};
    for (;;) {
        const shoal_status st = run_generation(d);
        if (st == SHOAL_OK || atomic_load(&d->stopping) || !restart(d, &policy, st))
            break;
        if (atomic_load(&d->stopping))
            break;
    }
    dismiss(d);
    return NULL;
}
