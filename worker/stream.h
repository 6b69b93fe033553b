/* worker/stream.h - linears that are not held: read again for every step (shard/offload.h).
 *
 * The places of a model (its layers, and lm_head behind them) use one buffer in turn. Before a
 * place is computed shoal_stream_fetch fills it on all threads, by the same code that loads a
 * model: every run's checksum is compared again. Of the experts of a layer those come that rows
 * have chosen. Reads go through the system's cache of the file, which keeps what it has room for
 * and reads ahead from a disk: of 4 GB read from one, 4 % were waited for, and a thread of ours
 * that asked for the next layer in time made it neither less nor faster.
 *
 * Loading fills every place once: what is damaged is found there. So a checksum that is wrong later
 * means that the file is no longer what was loaded: SHOAL_ERR_IO, as for a read that fails, with
 * the rank and the file. Nothing is mapped: a file that is cut short is an error, not a signal. */
#ifndef SHOAL_WORKER_STREAM_H
#define SHOAL_WORKER_STREAM_H

#include <stdint.h>

#include "kernels/threads.h"
#include "proto/arena.h"
#include "shard/load.h"
#include "shard/slices.h"

typedef struct shoal_stream shoal_stream;

/* A buffer of `bytes` from `arena`, and room for `most` linears. */
SHOAL_MUST_USE shoal_status shoal_stream_create(const shoal_slicing *slicing, int rank,
                                                uint64_t bytes, uint64_t most, shoal_arena *arena,
                                                shoal_stream **out);
void shoal_stream_destroy(shoal_stream *stream);

/* While loading, in the order of places: memory for the packed arrays of the next linear of
 * `place`; and the linear that was made there, with how to fill it. What the task points to stays
 * while the stream is used. */
SHOAL_MUST_USE shoal_status shoal_stream_take(shoal_stream *stream, int64_t place, uint64_t bytes,
                                              void **memory);
void shoal_stream_add(shoal_stream *stream, int64_t place, const shoal_load_task *task);

/* All are added: from now on fetches run on `pool`, which is borrowed. NULL, here and below: there
 * is nothing to stream. */
void shoal_stream_start(shoal_stream *stream, shoal_pool *pool);

/* Fill the linears of a place but those of its experts (the shared one, which all rows take, is
 * filled). What is there already stays. */
SHOAL_MUST_USE shoal_status shoal_stream_fetch(shoal_stream *stream, int64_t place);

/* Packed bytes that fetches have filled so far. NULL: 0. */
uint64_t shoal_stream_bytes(const shoal_stream *stream);

/* After it, experts: expert e is wanted if first[e] < first[e + 1]; NULL: all. */
SHOAL_MUST_USE shoal_status shoal_stream_fetch_experts(shoal_stream *stream, int64_t place,
                                                       const int64_t *first);

#endif
