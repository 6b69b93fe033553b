/* coordinator/cluster/cluster.h - the cluster engine from the inside: state, events, deadlines.
 *
 * One thread drives everything: `shoal_cluster_pump` waits a moment for whatever can happen (a
 * rank joins, a message, a closed link, the end of mpirun, a signal, a deadline) and deals with
 * it; opening, stepping and closing pump until what they want is there. The first thing that goes
 * wrong ends the run: the sentence names the rank, and the engine can only be closed.
 *
 * Deadlines: start 30 s until all ranks have joined; load 30 s without a byte; in a step, 5 s and
 * 20 times what such a step takes until a rank that sends no heartbeats counts as lost, and
 * another 30 s while all send heartbeats but nobody makes progress. */
#ifndef SHOAL_COORDINATOR_CLUSTER_CLUSTER_H
#define SHOAL_COORDINATOR_CLUSTER_CLUSTER_H

#include <poll.h>

#include "coordinator/cluster/hello.h"
#include "coordinator/cluster/launch.h"
#include "coordinator/cluster/run_folder.h"
#include "coordinator/engine.h"
#include "worker/link.h"

/* The only generation of a run from the command line. */
#define SHOAL_CLUSTER_GENERATION 1

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
    struct pollfd *polls;      /* [ranks + 3] */
    int signals;
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

/* SHOAL_ERR_TEMPORARY when time is up for somebody. */
SHOAL_MUST_USE shoal_status shoal_cluster_check_deadlines(const shoal_cluster *cluster);

/* A rank's link has closed, or mpirun has ended: find out what happened and say it. Closes all
 * links, so that the other ranks leave. */
shoal_status shoal_cluster_lost_rank(shoal_cluster *cluster, int rank);
shoal_status shoal_cluster_lost_mpirun(shoal_cluster *cluster);

#endif
