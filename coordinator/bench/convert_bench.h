/* coordinator/bench/convert_bench.h - how near a conversion comes to copying its bytes.
 *
 * The model M is converted to the form F three times, into a folder that is removed again:
 *
 *     convert.M.F          GB/s of the bytes read and written together, without the time of syncing
 *                          limit: memcpy with as many threads
 *     convert.M.F.seconds  of all, and convert.M.F.sync of that until the disk has the files
 *     convert.M.F.memory   most bytes that its tensors took at once, in 10^6
 *                          limit: three times the largest tensor and 256 MiB
 *
 * Files lie in the page cache, but for the first of the three conversions perhaps. */
#ifndef SHOAL_COORDINATOR_BENCH_CONVERT_BENCH_H
#define SHOAL_COORDINATOR_BENCH_CONVERT_BENCH_H

#include "coordinator/bench/rows.h"
#include "shard/convert.h"

/* `request` without a destination; `label` is the M of rows. Adds to `rows`. */
SHOAL_MUST_USE shoal_status shoal_bench_convert_run(const shoal_convert_request *request,
                                                    const char *label, shoal_bench_rows *rows);

#endif
