/* worker/comm_exchange.h - ranks that share memory: slots, counters, and waiting for a counter.
 *
 * A node's ranks (threads or processes) share a *region*: per rank a few counters, each on cache
 * lines of its own, and a small area for broadcasts. Beside it every rank has a slot of two
 * buffers. An operation writes its data, then raises a counter (release); the others wait for the
 * counter (acquire), then read (kernels/counter.h).
 *
 *     exchange s   fill buffer s & 1 of my slot │ published = s │ wait: everybody's published >= s
 *
 * Buffer s & 1 is filled again for s + 2, which begins after everybody published s + 1, and who
 * published s + 1 has finished reading s: no trailing barrier.
 *
 * This file knows neither MPI nor how the memory came to be; worker/comm_local.c and
 * worker/comm_mpi.c own the memory and call it. */
#ifndef SHOAL_WORKER_COMM_EXCHANGE_H
#define SHOAL_WORKER_COMM_EXCHANGE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/counter.h"
#include "proto/status.h"

#define SHOAL_EXCHANGE_LINE SHOAL_COUNTER_LINE

/* Broadcasts travel in pieces of this size, two in flight. */
#define SHOAL_EXCHANGE_PIECE (32u << 10)

typedef struct {
    alignas(SHOAL_EXCHANGE_LINE) shoal_counter counter;
} shoal_exchange_line;

/* One rank's counters; only that rank raises them. */
typedef struct {
    shoal_exchange_line published; /* exchanges it has filled its slot for               */
    shoal_exchange_line taken;     /* broadcast pieces it is done with                   */
    shoal_exchange_line arrived;   /* barriers it has entered                            */
    shoal_exchange_line answered;  /* what it has fetched from other nodes (leader only) */
    _Atomic uint32_t left;         /* it closed or failed and raises nothing any more    */
} shoal_exchange_rank;

typedef struct {
    shoal_exchange_line sent; /* broadcast pieces written, by whichever root */
    shoal_exchange_rank ranks[];
} shoal_exchange_region;

typedef struct {
    int rank, size; /* on this node */
    bool crowded;
    shoal_exchange_region *region; /* shared */
    uint8_t *area;                 /* shared, behind the counters: two pieces */
    uint8_t **slots;               /* [size] as this process sees them, or NULL */
    uint64_t slot_stride;          /* from one buffer of a slot to the other */
    uint32_t exchanges, pieces, barriers, answers;
    double *waited;
} shoal_exchange;

/* Bytes of the region (zeroed, aligned to SHOAL_EXCHANGE_LINE) for `size` ranks. */
uint64_t shoal_exchange_region_bytes(int size);

/* Bytes of a buffer of at least `slot_bytes`; a slot is two of them. */
uint64_t shoal_exchange_stride(uint64_t slot_bytes);

void shoal_exchange_init(shoal_exchange *x, int rank, int size, bool crowded, void *region,
                         double *waited);

/* This rank's buffer for the next exchange. */
void *shoal_exchange_slot(const shoal_exchange *x);

/* Rank r's buffer of the exchange published last. */
void *shoal_exchange_part(const shoal_exchange *x, int r);

/* Tell the others that my buffer is full; wait until everybody's is. */
void shoal_exchange_publish(shoal_exchange *x);
SHOAL_MUST_USE shoal_status shoal_exchange_wait_published(shoal_exchange *x);

SHOAL_MUST_USE shoal_status shoal_exchange_broadcast(shoal_exchange *x, void *data, uint64_t bytes,
                                                     int root);

SHOAL_MUST_USE shoal_status shoal_exchange_barrier(shoal_exchange *x);

/* Operations between nodes: rank 0 of the node acts for all, then answers; the others wait for the
 * answer. Every rank of the node counts the same answers. */
void shoal_exchange_answer(shoal_exchange *x);
SHOAL_MUST_USE shoal_status shoal_exchange_wait_answer(shoal_exchange *x);

/* This rank raises no counter any more; whoever waits for it fails. */
void shoal_exchange_leave(shoal_exchange *x);

/* Cores this process may use (sched_getaffinity), at least 1. */
int shoal_allowed_cores(void);

/* One turn of waiting for something that has no counter (a network): spins for microseconds, then
 * yields, then sleeps longer and longer. */
typedef struct {
    bool crowded;
    double begin;  /* 0: not yet */
    double waited; /* seconds since the first turn */
} shoal_backoff;
void shoal_backoff_turn(shoal_backoff *backoff);

#endif
