/* coordinator/cluster/cluster.h - the cluster engine from the inside: state, events, deadlines.
 *
 * One thread drives everything: `shoal_cluster_pump` waits a moment for whatever can happen (a
 * rank joins, a message, a closed link, the end of mpirun, a signal or the caller's stop_fd, a
 * deadline) and deals with it; opening, stepping, idling and closing pump until what they want is
 * there. The first thing that goes wrong ends the run: the sentence names the rank, and the engine
 * can only be closed. A cluster is one generation; the next is a new engine.
 *
 * Deadlines (coordinator/engine.h has the numbers): until all ranks have joined; while loading,
 * for a rank that says nothing and for all that make no progress; in a step the same two, with a
 * share for how long such steps take; at rest for a rank that says nothing. */
#ifndef SHOAL_COORDINATOR_CLUSTER_CLUSTER_H
#define SHOAL_COORDINATOR_CLUSTER_CLUSTER_H

#include <poll.h>

#include "coordinator/cluster/hello.h"
#include "coordinator/cluster/launch.h"
#include "coordinator/cluster/run_folder.h"
#include "coordinator/engine.h"
#include "worker/link.h"

typedef enum {
    SHOAL_CLUSTER_START,
    SHOAL_CLUSTER_LOAD,
    SHOAL_CLUSTER_IDLE,
    SHOAL_CLUSTER_STEP,
    SHOAL_CLUSTER_CLOSE
} shoal_cluster_phase;

typedef struct {
    shoal_link *link;     /* NULL before Hello and after the end */
    bool said_bye;        /*                                     */
    double heard;         /* when it last said anything          */
    uint64_t counter;     /* of its last heartbeat               */
    uint64_t exchanges;   /* the same                            */
    uint64_t done, total; /* bytes of its load                   */
} shoal_cluster_rank;

/* The step that rank 0 computes now. */
typedef struct {
    bool done, prefill;
    int sequences;
    uint64_t number;
    shoal_sequence_result *results;
    shoal_logits_sink sink;
    void *context;
    shoal_status sink_status; /* the sink's first failure, and its sentence */
    char sink_text[SHOAL_ERROR_MAX];
} shoal_cluster_step;

typedef struct {
    shoal_engine base;
    shoal_engine_request request;
    shoal_run_folder folder;
    char token[65], token_file[PATH_MAX + 16], address[PATH_MAX + 16], program[PATH_MAX];
    bool remote; /* ranks may be on other hosts */
    shoal_listener *listener;
    shoal_launch launch;
    shoal_roster roster;
    shoal_cluster_rank *ranks; /* [ranks] */
    struct pollfd *polls;      /* [ranks + 4] */
    int stop;                  /* readable: end; of signals, or the request's */
    int wake;                  /* readable: idling is over; -1: nobody idles */
    bool woken;
    shoal_deadlines deadlines; /* the defaults filled in */
    shoal_cluster_phase phase;
    double phase_began, progressed; /* when anything last moved */
    double average[2];              /* seconds of a decode step, of a prefill step */
    shoal_cluster_step step;
} shoal_cluster;

/* Wait at most `seconds` for events and handle them. */
SHOAL_MUST_USE shoal_status shoal_cluster_pump(shoal_cluster *cluster, double seconds);

void shoal_cluster_enter(shoal_cluster *cluster, shoal_cluster_phase phase);

/* Take one message of a rank (coordinator/cluster/messages.c). */
SHOAL_MUST_USE shoal_status shoal_cluster_take(shoal_cluster *cluster, int rank,
                                               const shoal_wire_message *message);

/* SHOAL_ERR_TEMPORARY when time is up for somebody (coordinator/cluster/deadlines.c). */
SHOAL_MUST_USE shoal_status shoal_cluster_check_deadlines(const shoal_cluster *cluster);

/* What the request leaves open becomes the default. */
void shoal_cluster_set_deadlines(shoal_cluster *cluster, const shoal_deadlines *given);

/* A rank's link has closed, or mpirun has ended: find out what happened and say it. Closes all
 * links, so that the other ranks leave. */
shoal_status shoal_cluster_lost_rank(shoal_cluster *cluster, int rank);
shoal_status shoal_cluster_lost_mpirun(shoal_cluster *cluster);

#endif
