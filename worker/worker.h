/* worker/worker.h - one rank: its slice of a model, its KV pages, its steps.
 *
 * Every rank opens a worker on its communicator with the same settings; opening is collective and
 * ends with all ranks agreeing that it went well or with the same failure everywhere. Then rank 0
 * calls shoal_worker_step for every step and the other ranks sit in shoal_worker_follow, which
 * receives, computes and returns when rank 0 calls shoal_worker_bye. A worker belongs to one
 * thread; it owns its backend (and the backend's threads) but not the communicator. */
#ifndef SHOAL_WORKER_WORKER_H
#define SHOAL_WORKER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/backend.h"
#include "kernels/backend_timed.h"
#include "shard/budget.h"
#include "shard/plan.h"
#include "worker/comm.h"
#include "worker/step.h"

/* What to run and how; the same on every rank. Strings are borrowed while the worker is open. */
typedef struct {
    const char *model;      /* folder */
    const char *quantize;   /* see shard/manifest.h; NULL: as the file is */
    const char *keep_regex; /* NULL: none */
    const char *offload;    /* where weights lie: shard/offload.h; NULL: all are held */
    const char *cpu;        /* SHOAL_CPU word; NULL: the best this machine has */
    shoal_activations activations;
    shoal_payload reduce;   /* how sums travel between nodes */
    int kv;                 /* shoal_kv_type, or -1: auto */
    int threads;            /* per rank */
    int64_t prefill_chunk;  /* most rows of one sequence in a step; rows of all sequences too */
    int64_t max_sequences;  /* at once */
    int64_t context;        /* longest sequence, tokens; 0: the model's own, capped           */
    int64_t kv_tokens;      /* pool size in tokens; 0: max_sequences x context                */
    int64_t deal_rows;      /* rows of a step from which ranks deal them; 0: as measured      */
    uint64_t memory;        /* bytes per rank; 0: no limit */
    const double *capacity; /* [ranks] or NULL */
    bool expert_parallel;   /* whole experts are dealt to ranks, not units of all */
    bool push;              /* rank 0 reads for all */
    bool probe;             /* check every linear after load */
    bool profile;           /* keep books: shoal_worker_profile */
} shoal_worker_settings;

/* Defaults for everything but the model. */
void shoal_worker_defaults(shoal_worker_settings *settings);

typedef struct shoal_worker shoal_worker;

/* Called while loading, on every rank: bytes read so far and in total. May be NULL. */
typedef void (*shoal_load_progress)(void *context, uint64_t done, uint64_t total);

SHOAL_MUST_USE shoal_status shoal_worker_open(const shoal_worker_settings *settings,
                                              shoal_comm *comm, shoal_load_progress progress,
                                              void *context, shoal_worker **out);
void shoal_worker_close(shoal_worker *worker);

/* Numbers everybody asks about. Row names are of the kernel chosen per linear. */
typedef struct {
    int64_t vocab, context, pages, rows_max, sequences_max;
    uint64_t planned_read, measured_read;
    uint64_t planned_resident, measured_resident;
    uint64_t planned_streamed; /* what is not held, packed: bytes of a step that takes all of it */
    uint64_t pinned;           /* bytes of what is held that are locked in memory */
    double load_seconds;
    const char *arithmetic; /* "cpu-int8/1", "cpu-bf16-amx/1" … */
} shoal_worker_facts;
void shoal_worker_describe(const shoal_worker *worker, shoal_worker_facts *out);

/* The kernel rows in use: calls `say` once per (linear role, decode row, prefill row). */
void shoal_worker_rows(const shoal_worker *worker,
                       void (*say)(void *context, const char *role, const char *layout,
                                   const char *decode, const char *prefill),
                       void *context);

/* What the steps need of the pool. */
void shoal_worker_limits(const shoal_worker *worker, shoal_step_limits *out);

/* Logits of one row on rank 0: `sequence` indexes the step, `row` counts within the sequence. */
typedef shoal_status (*shoal_logits_sink)(void *context, int sequence, int row, const float *logits,
                                          int64_t vocab);

/* Rank 0: broadcast the block, compute it, fill results[sequence_count]. `sink` receives the rows
 * of WANT_LOGITS sequences (may be NULL when there are none). */
SHOAL_MUST_USE shoal_status shoal_worker_step(shoal_worker *worker, const void *block,
                                              uint64_t bytes, shoal_sequence_result *results,
                                              shoal_logits_sink sink, void *context);

/* Ranks 1..: compute whatever rank 0 sends until it says bye. */
SHOAL_MUST_USE shoal_status shoal_worker_follow(shoal_worker *worker);

/* Rank 0: end the others' follow. */
SHOAL_MUST_USE shoal_status shoal_worker_bye(shoal_worker *worker);

/* A number that rises with every phase of every step, and the exchanges done, for watchdogs;
 * readable from any thread. */
uint64_t shoal_worker_heartbeat(const shoal_worker *worker);
uint64_t shoal_worker_exchanges(const shoal_worker *worker);

/* Sums over the steps of this rank. In seconds: whole steps, of these the time inside exchanges
 * (waiting included), and of that the waiting for other ranks alone. The wait for the next step to
 * come is in none of them. Compute is step - exchange. Streamed bytes are those of packed weights
 * that were read again (worker/stream.h). */
typedef struct {
    uint64_t steps, exchanges;
    double step_seconds, exchange_seconds, waited_seconds;
    uint64_t streamed_bytes;
} shoal_worker_timing;

/* As of the last whole step; from any thread. */
void shoal_worker_timing_get(shoal_worker *worker, shoal_worker_timing *out);

/* Rank 0, between steps: the timing of every rank, all[size]; the others answer from their follow.
 */
SHOAL_MUST_USE shoal_status shoal_worker_timing_all(shoal_worker *worker, shoal_worker_timing *all);

/* With settings.profile: where the time of this rank's operations went since the last reset, as
 * kernels/backend_timed.h counts it; none (*count 0) without. For the thread that steps. */
const shoal_timed_line *shoal_worker_profile(const shoal_worker *worker, int *count);
void shoal_worker_profile_reset(shoal_worker *worker);

#endif
