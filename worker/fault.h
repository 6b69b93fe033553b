/* worker/fault.h - faults on demand, so that supervision can be tested at every place.
 *
 * Only in builds with SHOAL_FAULTS (CMake option, never in a release): elsewhere the macros are
 * empty and nothing of this is in the program. A rank started with
 *
 *     SHOAL_FAULT="rank=1,phase=decode,step=37,act=kill"
 *
 * does what `act` says when it comes to `phase` for the `step`-th time:
 *
 *     phase       start hello plan read pack comm_init ready prefill decode reduce sample idle
 *                 finalize; read and pack count linears, reduce counts exchanges
 *     act         kill stop exit0 exit1 segv abort; hang (computes no more, heartbeats go on); mute
 *                 (heartbeats stop, too); error (reports a failure, code 74); slow:MS (sleeps,
 *                 this time and every later time)
 *     rank        -1: every rank. Default 0
 *     step        default 1
 *     generation  of the cluster; 0: every one. Default 1
 *     token       only steps that hold this token id come to the phase
 *
 * A rank knows its generation from SHOAL_GENERATION, which the coordinator sets. */
#ifndef SHOAL_WORKER_FAULT_H
#define SHOAL_WORKER_FAULT_H

#include <stdint.h>

#include "proto/status.h"

#ifdef SHOAL_FAULTS

typedef enum {
    SHOAL_FAULT_START,
    SHOAL_FAULT_HELLO,
    SHOAL_FAULT_PLAN,
    SHOAL_FAULT_READ,
    SHOAL_FAULT_PACK,
    SHOAL_FAULT_COMM_INIT,
    SHOAL_FAULT_READY,
    SHOAL_FAULT_PREFILL,
    SHOAL_FAULT_DECODE,
    SHOAL_FAULT_REDUCE,
    SHOAL_FAULT_SAMPLE,
    SHOAL_FAULT_IDLE,
    SHOAL_FAULT_FINALIZE,
    SHOAL_FAULT_PHASES
} shoal_fault_phase;

typedef enum {
    SHOAL_ACT_KILL,
    SHOAL_ACT_STOP,
    SHOAL_ACT_EXIT0,
    SHOAL_ACT_EXIT1,
    SHOAL_ACT_SEGV,
    SHOAL_ACT_ABORT,
    SHOAL_ACT_HANG,
    SHOAL_ACT_MUTE,
    SHOAL_ACT_ERROR,
    SHOAL_ACT_SLOW,
    SHOAL_ACTS
} shoal_fault_act;

typedef struct {
    int rank;
    shoal_fault_phase phase;
    shoal_fault_act act;
    uint64_t step;
    uint32_t generation;
    int64_t token; /* -1: any */
    uint32_t milliseconds;
} shoal_fault;

/* SHOAL_ERR_USAGE names what is wrong. Pure. */
SHOAL_MUST_USE shoal_status shoal_fault_parse(const char *text, shoal_fault *out);

/* What the environment asks for is well said; for the process that starts ranks, whose mpirun may
 * lose the last words of a rank that ends so early. */
SHOAL_MUST_USE shoal_status shoal_fault_check(void);

/* This process is that rank; takes the fault from the environment, if there is one. */
SHOAL_MUST_USE shoal_status shoal_fault_join(int rank);

/* The computing thread is at `phase`, with these tokens; returns only a failure to report. */
SHOAL_MUST_USE shoal_status shoal_fault_reach(shoal_fault_phase phase, const int32_t *tokens,
                                              int64_t count);

/* Another thread does not come back from here once the rank is mute. */
void shoal_fault_hush(void);

#define SHOAL_FAULT_CHECK()    SHOAL_TRY(shoal_fault_check())
#define SHOAL_FAULT_JOIN(rank) SHOAL_TRY(shoal_fault_join(rank))
#define SHOAL_FAULT(phase)     SHOAL_TRY(shoal_fault_reach(SHOAL_FAULT_##phase, NULL, 0))
#define SHOAL_FAULT_IN_STEP(prefill, tokens, count)                                                \
    SHOAL_TRY(                                                                                     \
        shoal_fault_reach((prefill) ? SHOAL_FAULT_PREFILL : SHOAL_FAULT_DECODE, tokens, count))
#define SHOAL_FAULT_HUSH() shoal_fault_hush()

#else

#define SHOAL_FAULT_CHECK()                         ((void)0)
#define SHOAL_FAULT_JOIN(rank)                      ((void)0)
#define SHOAL_FAULT(phase)                          ((void)0)
#define SHOAL_FAULT_IN_STEP(prefill, tokens, count) ((void)0)
#define SHOAL_FAULT_HUSH()                          ((void)0)

#endif
#endif
