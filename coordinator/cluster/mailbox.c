#include "coordinator/cluster/mailbox.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "coordinator/clock.h"
#include "coordinator/cluster/stats.h"
#include "proto/arena.h"
#include "proto/log.h"
#include "worker/fault.h"

#define BEAT_SECONDS 0.5

/* One step may be queued ahead, and Bye or Cancel behind it. */
#define QUEUE_MAX 8

struct shoal_mailbox {
    shoal_link *link;
    pthread_t thread;
    pthread_mutex_t lock; /* queue and worker */
    pthread_cond_t arrived;
    shoal_wire_message queue[QUEUE_MAX];
    int first, count;
    shoal_worker *worker;
    shoal_worker_timing told; /* last, by the thread */
    _Atomic int phase;
    _Atomic bool leaving;
};

/* No cleanup: other threads may hold any lock, or spin in MPI. */
static void coordinator_gone(const shoal_mailbox *m)
{
    if (!atomic_load(&m->leaving))
        shoal_log(SHOAL_LOG_INFO, "link", "the coordinator is gone: %s", shoal_error_text());
    _exit(atomic_load(&m->leaving) ? 0 : SHOAL_ERR_TEMPORARY);
}

static void put(shoal_mailbox *m, const shoal_wire_message *message)
{
    (void)pthread_mutex_lock(&m->lock);
    const bool full = m->count == QUEUE_MAX;
    if (!full)
        m->queue[(m->first + m->count++) % QUEUE_MAX] = *message;
    (void)pthread_cond_signal(&m->arrived);
    (void)pthread_mutex_unlock(&m->lock);
    if (full) {
        shoal_log(SHOAL_LOG_ERROR, "link", "more than %d messages are waiting", QUEUE_MAX);
        _exit(SHOAL_ERR_DATA);
    }
}

/* Everything that has arrived. */
static void take_all(shoal_mailbox *m)
{
    for (;;) {
        shoal_wire_message message;
        const shoal_status st = shoal_link_receive(m->link, 0, &message);
        if (st == SHOAL_ERR_TEMPORARY)
            return;
        if (st != SHOAL_OK)
            coordinator_gone(m);
        put(m, &message);
    }
}

/* Timing follows a heartbeat when it has changed. */
static void beat(shoal_mailbox *m)
{
    shoal_worker_timing timing = m->told;
    shoal_stats_page page;
    shoal_wire_message stats;
    shoal_wire_message message = {.type = SHOAL_WIRE_HEARTBEAT,
                                  .heartbeat.phase = (shoal_wire_phase)atomic_load(&m->phase)};
    (void)pthread_mutex_lock(&m->lock);
    if (m->worker) {
        message.heartbeat.counter = shoal_worker_heartbeat(m->worker);
        message.heartbeat.exchanges = shoal_worker_exchanges(m->worker);
        shoal_worker_timing_get(m->worker, &timing);
    }
    (void)pthread_mutex_unlock(&m->lock);
    shoal_mailbox_send(m, &message);
    if (timing.steps == m->told.steps)
        return;
    m->told = timing;
    shoal_stats_write(&timing, &page, &stats);
    shoal_mailbox_send(m, &stats);
}

static void *watch_link(void *context)
{
    shoal_mailbox *m = context;
    double next = shoal_clock_seconds();
    for (;;) {
        struct pollfd fd = {shoal_link_fd(m->link), POLLIN, 0};
        const double left = next - shoal_clock_seconds();
        SHOAL_FAULT_HUSH();
        if (left <= 0) {
            beat(m);
            next = shoal_clock_seconds() + BEAT_SECONDS;
            continue;
        }
        if (poll(&fd, 1, (int)(left * 1000) + 1) > 0)
            take_all(m);
    }
    return NULL;
}

shoal_status shoal_mailbox_open(shoal_link *link, shoal_mailbox **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_WIRE, sizeof(shoal_mailbox), &block));
    shoal_mailbox *m = block;
    m->link = link;
    (void)pthread_mutex_init(&m->lock, NULL);
    (void)pthread_cond_init(&m->arrived, NULL);
    if (pthread_create(&m->thread, NULL, watch_link, m) != 0) {
        shoal_free(m);
        return shoal_fail(SHOAL_ERR_TEMPORARY, "no thread for the control link");
    }
    (void)pthread_detach(m->thread);
    *out = m;
    return SHOAL_OK;
}

void shoal_mailbox_leave(shoal_mailbox *m)
{
    atomic_store(&m->leaving, true);
}

void shoal_mailbox_next(shoal_mailbox *m, shoal_wire_message *out)
{
    (void)pthread_mutex_lock(&m->lock);
    while (m->count == 0)
        (void)pthread_cond_wait(&m->arrived, &m->lock);
    *out = m->queue[m->first];
    m->first = (m->first + 1) % QUEUE_MAX;
    m->count--;
    (void)pthread_mutex_unlock(&m->lock);
}

void shoal_mailbox_send(shoal_mailbox *m, const shoal_wire_message *message)
{
    const shoal_status st = shoal_link_send(m->link, message, -1);
    if (st == SHOAL_ERR_UNAVAILABLE)
        coordinator_gone(m);
    if (st != SHOAL_OK) {
        shoal_log(SHOAL_LOG_ERROR, "link", "cannot send %s: %s", shoal_wire_name(message->type),
                  shoal_error_text());
        _exit((int)st);
    }
}

void shoal_mailbox_phase(shoal_mailbox *m, shoal_wire_phase phase)
{
    atomic_store(&m->phase, (int)phase);
}

void shoal_mailbox_watch(shoal_mailbox *m, shoal_worker *worker)
{
    (void)pthread_mutex_lock(&m->lock);
    m->worker = worker;
    (void)pthread_mutex_unlock(&m->lock);
}

void shoal_mailbox_unwatch(shoal_mailbox *m)
{
    shoal_mailbox_watch(m, NULL);
}
