/* coordinator/serve/driver.h - the thread that turns requests into steps, generation after
 * generation.
 *
 * It opens the engine, plans steps (scheduler.h), runs them, and hands out what they gave. When
 * the workers are lost it closes what is left of them, starts the next generation and replays the
 * journal (journal.h), so that whoever holds a sequence notices a pause and nothing else. Those who
 * were in the fatal step are replayed one at a time until each has brought a token: whoever is
 * alone in a second fatal step is quarantined, and nobody with it.
 *
 * Sequences are handed in from any thread; what happens to them comes out as events, in order, to
 * be collected by one other thread after `notify` was called (from the driver's thread). */
#ifndef SHOAL_COORDINATOR_SERVE_DRIVER_H
#define SHOAL_COORDINATOR_SERVE_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/engine.h"
#include "coordinator/serve/choice.h"
#include "coordinator/serve/journal.h"
#include "coordinator/serve/metrics.h"
#include "shard/plan.h"

typedef struct shoal_driver shoal_driver;

typedef enum {
    SHOAL_DRIVER_LOADING,    /* the first generation */
    SHOAL_DRIVER_SERVING,    /*                      */
    SHOAL_DRIVER_RECOVERING, /* a later one is being started */
    SHOAL_DRIVER_DRAINING,   /* what is here is finished, nothing new is taken */
    SHOAL_DRIVER_FAILED,     /* gave up */
    SHOAL_DRIVER_ENDED       /* drained, or stopped */
} shoal_driver_state;

/* Why a sequence ended with SHOAL_FINISH_ERROR. */
typedef enum {
    SHOAL_CAUSE_NONE,
    SHOAL_CAUSE_OVERFLOW,    /* a value beyond what the arithmetic can hold */
    SHOAL_CAUSE_QUARANTINED, /* it takes the workers down */
    SHOAL_CAUSE_MEMORY,      /* there is none for it */
    SHOAL_CAUSE_FORM,        /* no token goes on in the form it must have */
    SHOAL_CAUSE_FORM_WORK,   /* following that form takes too much work   */
    SHOAL_CAUSE_GONE         /* the server gives up or stops */
} shoal_cause;

/* Something that happened to a sequence: a token, its end, or both at once. */
typedef struct {
    uint64_t sequence;
    bool has_token;
    bool hidden; /* the token is a stop token: it has no text */
    shoal_choice_token token;
    shoal_finish finish; /* NONE: it goes on */
    shoal_cause cause;
} shoal_driver_event;

typedef struct {
    const shoal_engine_request *engine; /* borrowed as long as the driver lives */
    shoal_status (*open)(const shoal_engine_request *, shoal_engine **); /* shoal_engine_open */
    const shoal_plan *plan; /* borrowed; for the view of the ranks */
    shoal_metrics *metrics; /* borrowed */
    int64_t waiting_max;
    bool prefix_cache;
    void (*notify)(void *context); /* there are events, or the state has changed */
    void *context;
} shoal_driver_settings;

SHOAL_MUST_USE shoal_status shoal_driver_start(const shoal_driver_settings *settings,
                                               shoal_driver **out);

shoal_driver_state shoal_driver_state_get(shoal_driver *driver);

/* What the steps must respect; true once a generation has been ready. */
bool shoal_driver_limits(shoal_driver *driver, shoal_step_limits *out);

/* Share of the weights read by the generation that is being loaded, 0 to 1. */
double shoal_driver_load_fraction(shoal_driver *driver);

typedef enum { SHOAL_SUBMIT_OK, SHOAL_SUBMIT_FULL, SHOAL_SUBMIT_NOT_SERVING } shoal_submit;

/* Hand in `count` sequences, all or none; ids[count] are theirs. With `share_prompt` all but the
 * first wait until the first has computed the prompt they have in common. SHOAL_ERR_TEMPORARY for
 * want of memory; *taken says whether they were accepted. */
SHOAL_MUST_USE shoal_status shoal_driver_submit(shoal_driver *driver,
                                                const shoal_journal_order *orders, int count,
                                                bool share_prompt, uint64_t *ids,
                                                shoal_submit *taken);

/* It is not wanted any more: given up (NONE), or its text is complete (STOP). No events come for it
 * after those already there. Unknown ids are ignored. */
void shoal_driver_cancel(shoal_driver *driver, uint64_t id, shoal_finish why);

/* The events so far: the driver's list is swapped with *events, which must be empty ({0} at first)
 * and keeps its memory. */
typedef struct {
    shoal_driver_event *items;
    int count, room;
} shoal_driver_events;
void shoal_driver_collect(shoal_driver *driver, shoal_driver_events *events);
void shoal_driver_events_free(shoal_driver_events *events);

/* Finish what is here, take nothing new; then the state is ENDED. */
void shoal_driver_drain(shoal_driver *driver);

/* Fill the gauges (state, generation, scheduler, ranks); ranks[] has room for `room` records. */
void shoal_driver_view(shoal_driver *driver, shoal_metrics_gauges *gauges, shoal_rank_view *ranks,
                       int room);

/* Stop now, drained or not, and wait for the end. The first failure that made it give up, with its
 * sentence; SHOAL_OK after a drain or a stop. */
SHOAL_MUST_USE shoal_status shoal_driver_stop(shoal_driver *driver);
/* Stops it, too. */
void shoal_driver_destroy(shoal_driver *driver);

#endif
