/* coordinator/bench/stand.h - a model on the test stand: an engine, its work, and the yardsticks.
 *
 * One model under one setup. The rates are measured now, by as many threads as the ranks have, in
 * this process: an engine between two steps uses no core. */
#ifndef SHOAL_COORDINATOR_BENCH_STAND_H
#define SHOAL_COORDINATOR_BENCH_STAND_H

#include "coordinator/bench/rows.h"
#include "coordinator/bench/samples.h"
#include "coordinator/bench/session.h"
#include "coordinator/bench/setup.h"
#include "coordinator/bench/work.h"
#include "coordinator/bench/yard.h"

/* Tokens of a measured prompt, tokens before a measured decode step, and how many positions
 * decoding goes on before it begins again; less where the model's context is short. */
#define SHOAL_BENCH_PROMPT  512
#define SHOAL_BENCH_CONTEXT 128
#define SHOAL_BENCH_CYCLE   64

/* What to put on it. */
typedef struct {
    shoal_engine_request request; /* model and settings; ranks, threads, sizes follow from here */
    int cores;                    /* all ranks together may use */
    bool launched;                /* this is a rank of an MPI launch, perhaps bound to some */
    shoal_cpu_level cap;
    int sequences; /* most that are decoded together */
    uint64_t seed;
} shoal_bench_stand_plan;

typedef struct {
    shoal_bench_setup setup;
    int64_t prompt, context, cycle;
    uint64_t seed;
    shoal_bench_work work;
    shoal_engine *engine;
    int width; /* threads of the yard */
    shoal_bench_yard yard;
    const shoal_peak *peak;           /* of the model's products                        */
    uint8_t *memory;                  /* what is read, and what is copied               */
    uint64_t memory_at;               /* where the next read begins                     */
    shoal_bench_samples reads, peaks; /* every rate measured, bytes, operations per second */
    shoal_bench_session *session;     /* NULL: none */
    int64_t position;                 /* of its next decode step */
} shoal_bench_stand;

SHOAL_MUST_USE shoal_status shoal_bench_stand_open(const shoal_bench_stand_plan *plan,
                                                   const shoal_bench_setup *setup,
                                                   shoal_bench_stand *out);

/* The first failure of work that ended with `st` and of the closing, sentence and all. */
SHOAL_MUST_USE shoal_status shoal_bench_stand_close(shoal_bench_stand *stand, shoal_status st);

/* Bytes, operations per second. */
SHOAL_MUST_USE shoal_status shoal_bench_stand_read(shoal_bench_stand *stand, double *rate);
SHOAL_MUST_USE shoal_status shoal_bench_stand_peak(shoal_bench_stand *stand, double *rate);

/* Bytes per second of memcpy. */
double shoal_bench_stand_copy(shoal_bench_stand *stand);

/* Begin with `sequences` empty ones, each with room for the prompt or for context and cycle. */
SHOAL_MUST_USE shoal_status shoal_bench_stand_begin(shoal_bench_stand *stand, int sequences);

/* The whole prompt of sequence 0; the seconds it took. */
SHOAL_MUST_USE shoal_status shoal_bench_stand_prefill(shoal_bench_stand *stand, double *seconds);

/* Fill all sequences up to the context; then one token of each per step. */
SHOAL_MUST_USE shoal_status shoal_bench_stand_fill(shoal_bench_stand *stand, int sequences);
SHOAL_MUST_USE shoal_status shoal_bench_stand_decode(shoal_bench_stand *stand, int sequences,
                                                     double *seconds);

/* The medians of the rates measured so far as rows "read.t2", "peak.vpdpbusd.zmm.t2", unless they
 * are there. */
SHOAL_MUST_USE shoal_status shoal_bench_stand_report(shoal_bench_stand *stand,
                                                     shoal_bench_rows *yardsticks);

#endif
