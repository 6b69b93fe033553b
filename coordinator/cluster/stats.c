#include "coordinator/cluster/stats.h"

#include <string.h>

/* Counts travel as doubles, exact up to 2^53. */
#define COUNT_MAX 9007199254740992.0

static const char *const names[SHOAL_STATS_COUNT] = {
    "steps", "exchanges", "step_seconds", "exchange_seconds", "waited_seconds", "streamed_bytes",
};

void shoal_stats_write(const shoal_worker_timing *timing, shoal_stats_page *page,
                       shoal_wire_message *out)
{
    *page = (shoal_stats_page){
        .values = {(double)timing->steps, (double)timing->exchanges, timing->step_seconds,
                   timing->exchange_seconds, timing->waited_seconds,
                   (double)timing->streamed_bytes},
    };
    memcpy(page->names, names, sizeof names);
    *out = (shoal_wire_message){
        .type = SHOAL_WIRE_STATS,
        .stats = {page->names, page->values, SHOAL_STATS_COUNT},
    };
}

static uint64_t count_of(double value)
{
    return value >= 0 && value <= COUNT_MAX ? (uint64_t)value : 0;
}

void shoal_stats_read(const shoal_wire_stats *stats, shoal_worker_timing *timing)
{
    double values[SHOAL_STATS_COUNT] = {(double)timing->steps,  (double)timing->exchanges,
                                        timing->step_seconds,   timing->exchange_seconds,
                                        timing->waited_seconds, (double)timing->streamed_bytes};
    for (size_t i = 0; i < stats->count; i++)
        for (size_t k = 0; k < SHOAL_STATS_COUNT; k++)
            if (strcmp(stats->names[i], names[k]) == 0)
                values[k] = stats->values[i];
    *timing = (shoal_worker_timing){count_of(values[0]), count_of(values[1]), values[2],
                                    values[3],           values[4],           count_of(values[5])};
}
