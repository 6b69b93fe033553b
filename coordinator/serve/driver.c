#include "coordinator/serve/driver.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "coordinator/clock.h"
#include "coordinator/serve/driver_state.h"
#include "proto/arena.h"
#include "proto/log.h"

static void ring(int fd)
{
    const uint64_t one = 1;
    ssize_t n;
    do
        n = write(fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
}

/* ---- events ---------------------------------------------------------------------------------- */

void shoal_driver_push_event(shoal_driver_events *events, const shoal_driver_event *event)
{
    if (events->count == events->room) {
        void *array = events->items;
        const int room = events->room ? 2 * events->room : 64;
        if (shoal_realloc_array(SHOAL_MEM_OTHER, (uint64_t)room, sizeof *events->items, &array) !=
            SHOAL_OK) {
            shoal_log(SHOAL_LOG_ERROR, "memory", "%s", shoal_error_text());
            _exit(SHOAL_ERR_TEMPORARY);
        }
        events->items = array;
        events->room = room;
    }
    events->items[events->count++] = *event;
}

void shoal_driver_post(shoal_driver *d)
{
    if (d->events.count > 0) {
        (void)pthread_mutex_lock(&d->lock);
        for (int i = 0; i < d->events.count; i++)
            shoal_driver_push_event(&d->outbox, &d->events.items[i]);
        (void)pthread_mutex_unlock(&d->lock);
        d->events.count = 0;
    }
    d->settings.notify(d->settings.context);
}

void shoal_driver_collect(shoal_driver *d, shoal_driver_events *events)
{
    (void)pthread_mutex_lock(&d->lock);
    const shoal_driver_events full = d->outbox;
    d->outbox = *events;
    d->outbox.count = 0;
    *events = full;
    (void)pthread_mutex_unlock(&d->lock);
}

void shoal_driver_events_free(shoal_driver_events *events)
{
    shoal_free(events->items);
    *events = (shoal_driver_events){0};
}

/* ---- looking --------------------------------------------------------------------------------- */

shoal_driver_state shoal_driver_state_get(shoal_driver *d)
{
    (void)pthread_mutex_lock(&d->lock);
    const shoal_driver_state state = d->state;
    (void)pthread_mutex_unlock(&d->lock);
    const bool alive = state != SHOAL_DRIVER_FAILED && state != SHOAL_DRIVER_ENDED;
    return alive && atomic_load(&d->draining) ? SHOAL_DRIVER_DRAINING : state;
}

bool shoal_driver_limits(shoal_driver *d, shoal_step_limits *out)
{
    (void)pthread_mutex_lock(&d->lock);
    const bool known = d->limits_known;
    if (known)
        *out = d->limits;
    (void)pthread_mutex_unlock(&d->lock);
    return known;
}

double shoal_driver_load_fraction(shoal_driver *d)
{
    return atomic_load(&d->load_fraction);
}

void shoal_driver_view(shoal_driver *d, shoal_metrics_gauges *gauges, shoal_rank_view *ranks,
                       int room)
{
    static const char *const names[] = {"loading",  "serving", "recovering",
                                        "draining", "failed",  "ended"};
    gauges->state = names[shoal_driver_state_get(d)];
    gauges->load_fraction = shoal_driver_load_fraction(d);
    gauges->ranks = ranks;
    (void)pthread_mutex_lock(&d->lock);
    gauges->generation = d->generation;
    gauges->scheduler = d->scheduler_stats;
    gauges->scheduler.waiting += d->inbox.count;
    gauges->requests = d->live + d->inbox.count;
    gauges->rank_count = d->rank_count < room ? d->rank_count : room;
    memcpy(ranks, d->rank_views, (size_t)gauges->rank_count * sizeof *ranks);
    (void)pthread_mutex_unlock(&d->lock);
}

/* ---- handing in ------------------------------------------------------------------------------ */

static void forget_newest(shoal_journal *inbox, int count)
{
    for (int i = 0; i < count; i++)
        shoal_journal_remove(inbox, inbox->items[inbox->count - 1].id);
}

static shoal_status put_one(shoal_driver *d, const shoal_journal_order *order, uint64_t follows,
                            uint64_t *id)
{
    shoal_status st = SHOAL_OK;
    shoal_journal_entry *entry;
    shoal_journal_order own = *order;
    own.follows = follows;
    *id = d->next_id++;
    SHOAL_TRY(shoal_journal_entry_create(*id, &own, &entry));
    entry->submitted = shoal_clock_seconds();
    SHOAL_TRY_GOTO(shoal_journal_add(&d->inbox, entry), fail);
    return SHOAL_OK;

fail:
    shoal_journal_entry_destroy(entry);
    return st;
}

static shoal_status put_all(shoal_driver *d, const shoal_journal_order *orders, int count,
                            bool share_prompt, uint64_t *ids)
{
    for (int i = 0; i < count; i++) {
        const uint64_t follows = share_prompt && i > 0 ? ids[0] : 0;
        const shoal_status st = put_one(d, &orders[i], follows, &ids[i]);
        if (st != SHOAL_OK) {
            forget_newest(&d->inbox, i);
            return st;
        }
    }
    return SHOAL_OK;
}

shoal_status shoal_driver_submit(shoal_driver *d, const shoal_journal_order *orders, int count,
                                 bool share_prompt, uint64_t *ids, shoal_submit *taken)
{
    shoal_status st = SHOAL_OK;
    (void)pthread_mutex_lock(&d->lock);
    *taken = SHOAL_SUBMIT_OK;
    if (d->state != SHOAL_DRIVER_SERVING || atomic_load(&d->draining))
        *taken = SHOAL_SUBMIT_NOT_SERVING;
    else if (d->inbox.count + d->waiting + count > d->settings.waiting_max)
        *taken = SHOAL_SUBMIT_FULL;
    else
        st = put_all(d, orders, count, share_prompt, ids);
    (void)pthread_mutex_unlock(&d->lock);
    if (st == SHOAL_OK && *taken == SHOAL_SUBMIT_OK)
        ring(d->wake_fd);
    return st;
}

void shoal_driver_cancel(shoal_driver *d, uint64_t id, shoal_finish why)
{
    bool room = true;
    (void)pthread_mutex_lock(&d->lock);
    if (d->cancel_count == d->cancel_room) {
        void *array = d->cancels;
        const int more = d->cancel_room ? 2 * d->cancel_room : 64;
        room = shoal_realloc_array(SHOAL_MEM_OTHER, (uint64_t)more, sizeof *d->cancels, &array) ==
               SHOAL_OK;
        if (room) {
            d->cancels = array;
            d->cancel_room = more;
        }
    }
    if (room) /* without memory the sequence runs to its own end, unheard */
        d->cancels[d->cancel_count++] = (shoal_driver_cancelled){id, why};
    (void)pthread_mutex_unlock(&d->lock);
    ring(d->wake_fd);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void show_range(shoal_range from, int64_t to[2])
{
    to[0] = from.begin;
    to[1] = from.end;
}

static void show_plan(const shoal_plan *plan, shoal_rank_view *views)
{
    for (int r = 0; r < plan->ranks; r++) {
        show_range(plan->rank[r].q_heads, views[r].q_heads);
        show_range(plan->rank[r].kv_heads, views[r].kv_heads);
        show_range(shoal_plan_units(plan, r), views[r].units);
        show_range(plan->rank[r].vocab_panels, views[r].vocab);
    }
}

static shoal_status open_parts(shoal_driver *d)
{
    void *array;
    d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    d->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (d->wake_fd < 0 || d->stop_fd < 0)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "eventfd: %s", strerror(errno));
    d->rank_count = d->settings.plan->ranks;
    SHOAL_TRY(
        shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)d->rank_count, sizeof *d->rank_views, &array));
    d->rank_views = array;
    show_plan(d->settings.plan, d->rank_views);
    return SHOAL_OK;
}

shoal_status shoal_driver_start(const shoal_driver_settings *settings, shoal_driver **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_driver), &block));
    shoal_driver *d = block;
    d->settings = *settings;
    d->next_id = 1;
    d->wake_fd = d->stop_fd = -1;
    d->joined = true;
    (void)pthread_mutex_init(&d->lock, NULL);
    SHOAL_TRY_GOTO(open_parts(d), fail);
    if (pthread_create(&d->thread, NULL, shoal_driver_main, d) != 0) {
        st = shoal_fail(SHOAL_ERR_TEMPORARY, "no thread for the driver");
        goto fail;
    }
    d->joined = false;
    *out = d;
    return SHOAL_OK;

fail:
    shoal_driver_destroy(d);
    return st;
}

void shoal_driver_drain(shoal_driver *d)
{
    atomic_store(&d->draining, true);
    ring(d->wake_fd);
}

static void end_thread(shoal_driver *d)
{
    if (d->joined)
        return;
    atomic_store(&d->stopping, true);
    ring(d->stop_fd);
    ring(d->wake_fd);
    (void)pthread_join(d->thread, NULL);
    d->joined = true;
}

shoal_status shoal_driver_stop(shoal_driver *d)
{
    end_thread(d);
    return d->failure == SHOAL_OK ? SHOAL_OK : shoal_fail(d->failure, "%s", d->failure_text);
}

void shoal_driver_destroy(shoal_driver *d)
{
    if (!d)
        return;
    end_thread(d);
    if (d->wake_fd >= 0)
        (void)close(d->wake_fd);
    if (d->stop_fd >= 0)
        (void)close(d->stop_fd);
    (void)pthread_mutex_destroy(&d->lock);
    shoal_journal_free(&d->inbox);
    shoal_journal_free(&d->journal);
    shoal_scheduler_destroy(d->scheduler);
    shoal_step_builder_free(&d->builder);
    shoal_driver_events_free(&d->outbox);
    shoal_driver_events_free(&d->events);
    shoal_free(d->cancels);
    shoal_free(d->rank_views);
    shoal_free(d->parts);
    shoal_free(d->in_step);
    shoal_free(d->results);
    shoal_free(d);
}
