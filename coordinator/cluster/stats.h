/* coordinator/cluster/stats.h - a rank's timing as named numbers of a Stats message.
 *
 * The rank writes, the coordinator reads; names it does not know it leaves alone, so that either
 * side may know more than the other. Pure. */
#ifndef SHOAL_COORDINATOR_CLUSTER_STATS_H
#define SHOAL_COORDINATOR_CLUSTER_STATS_H

#include "proto/wire.h"
#include "worker/worker.h"

#define SHOAL_STATS_COUNT 6

/* What a message points to while it is sent. */
typedef struct {
    const char *names[SHOAL_STATS_COUNT];
    double values[SHOAL_STATS_COUNT];
} shoal_stats_page;

/* `out` borrows from the page. */
void shoal_stats_write(const shoal_worker_timing *timing, shoal_stats_page *page,
                       shoal_wire_message *out);

/* What the message does not name stays. */
void shoal_stats_read(const shoal_wire_stats *stats, shoal_worker_timing *timing);

#endif
