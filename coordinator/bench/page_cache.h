/* coordinator/bench/page_cache.h - how fast the weights of a model can be read when the system
 * holds them in memory: the yardstick of a load. Reading once puts them there. */
#ifndef SHOAL_COORDINATOR_BENCH_PAGE_CACHE_H
#define SHOAL_COORDINATOR_BENCH_PAGE_CACHE_H

#include <stdbool.h>

#include "kernels/threads.h"

/* Read the weight files of a folder (*.safetensors, *.bin, *.gguf), or the file that `model` is,
 * from the first byte to the last, each thread its share of every file, a gibibyte of all at most.
 * `keep`: into fresh memory of that size, as a loader has to, pages and all; else into a buffer
 * that stays in cache. *rate in GB/s; NAN when there is nothing to read. */
SHOAL_MUST_USE shoal_status shoal_bench_page_cache_read(const char *model, shoal_pool *pool,
                                                        bool keep, double *rate);

#endif
