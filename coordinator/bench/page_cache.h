/* coordinator/bench/page_cache.h - how fast the weights of a folder can be read when the system
 * holds them in memory: the yardstick of a load. Reading once puts them there. */
#ifndef SHOAL_COORDINATOR_BENCH_PAGE_CACHE_H
#define SHOAL_COORDINATOR_BENCH_PAGE_CACHE_H

#include "kernels/threads.h"

/* Read the weight files (*.safetensors, *.bin) in `folder`, each thread its share of every file,
 * a gibibyte of all at most. *rate in GB/s; NAN when there is nothing to read. */
SHOAL_MUST_USE shoal_status shoal_bench_page_cache_read(const char *folder, shoal_pool *pool,
                                                        double *rate);

#endif
