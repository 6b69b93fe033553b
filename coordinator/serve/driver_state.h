/* coordinator/serve/driver_state.h - the driver from the inside (private to driver*.c).
 *
 * What stands under `lock` is shared between threads; the rest belongs to the driver's thread. */
#ifndef SHOAL_COORDINATOR_SERVE_DRIVER_STATE_H
#define SHOAL_COORDINATOR_SERVE_DRIVER_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "coordinator/serve/driver.h"
#include "coordinator/serve/restart_policy.h"
#include "coordinator/step_builder.h"

typedef struct {
    uint64_t id;
    shoal_finish why;
} shoal_driver_cancelled;

struct shoal_driver {
    shoal_driver_settings settings;
    pthread_t thread;
    bool joined;
    int wake_fd, stop_fd; /* eventfds: something to do; stop now */
    _Atomic bool draining, stopping;
    _Atomic double load_fraction;

    pthread_mutex_t lock;
    shoal_driver_state state;
    shoal_journal inbox; /* handed in, not yet taken */
    int64_t waiting;     /* sequences that wait for their first step, outside the inbox */
    shoal_driver_cancelled *cancels;
    int cancel_count, cancel_room;
    uint64_t next_id;
    shoal_driver_events outbox;
    bool limits_known;
    shoal_step_limits limits;
    uint32_t generation;
    shoal_scheduler_stats scheduler_stats;
    int64_t live;                /* entries of the journal */
    shoal_rank_view *rank_views; /* [rank_count] */
    int rank_count;

    shoal_engine *engine;
    shoal_scheduler *scheduler; /* made when the first generation is ready */
    shoal_journal journal;
    shoal_step_builder builder;
    shoal_step_part *parts;         /* [sequences_max] */
    shoal_journal_entry **in_step;  /* [sequences_max] */
    shoal_sequence_result *results; /* [sequences_max] */
    int in_step_count;              /* whose step is being computed, or was lost */
    shoal_driver_events events;     /* of this step */
    bool progressed;                /* this generation brought a token */
    double ready_at;                /* of this generation; -1: never */
    double lost_at;                 /* when the last one was lost; 0: none, or recovered */
    double ranks_viewed;            /* when rank_views was last filled */
    shoal_status failure;
    char failure_text[SHOAL_ERROR_MAX];
};

/* driver_thread.c */
void *shoal_driver_main(void *context);

/* driver_step.c: build, compute and account for one planned step. On failure in_step holds those
 * who were in it. */
SHOAL_MUST_USE shoal_status shoal_driver_step(shoal_driver *driver, const shoal_schedule *plan);

/* Room for steps of so many sequences; may be called again after it has failed. */
SHOAL_MUST_USE shoal_status shoal_driver_make_room(shoal_driver *driver, uint64_t sequences);

/* Count an entry of the journal as ended, and forget it. */
void shoal_driver_end_entry(shoal_driver *driver, const shoal_journal_entry *entry,
                            shoal_finish finish);

/* End an entry of the journal with an error event, and forget it. */
void shoal_driver_fail_entry(shoal_driver *driver, uint64_t id, shoal_cause cause);

/* Find out which tokens may come next. False: none, or there is no memory; it has ended. */
bool shoal_driver_look_ahead(shoal_driver *driver, shoal_journal_entry *entry);

/* Hand the collected events over and notify. */
void shoal_driver_post(shoal_driver *driver);

/* Append; an event that finds no memory ends the process: a client would wait for ever. */
void shoal_driver_push_event(shoal_driver_events *events, const shoal_driver_event *event);

#endif
