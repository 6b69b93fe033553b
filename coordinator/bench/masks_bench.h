/* coordinator/bench/masks_bench.h - what it takes to know which tokens may come next: random texts
 * of a schema, token by token, one thread.
 *
 * Rows: masks.trie (ms, once per model), masks.mean, masks.p50, masks.p99 and masks.most (ms per
 * token: finding the mask, and going on by a token), masks.count. There is no yardstick: what they
 * are to be compared with is the time of a decode step. */
#ifndef SHOAL_COORDINATOR_BENCH_MASKS_BENCH_H
#define SHOAL_COORDINATOR_BENCH_MASKS_BENCH_H

#include "coordinator/bench/rows.h"

/* `model` as for shoal_tokenizer_open; `path` is a file with a JSON Schema. SHOAL_ERR_DATA when it
 * is none that can be followed. */
SHOAL_MUST_USE shoal_status shoal_bench_masks_run(const char *model, const char *path,
                                                  shoal_bench_rows *rows);

#endif
