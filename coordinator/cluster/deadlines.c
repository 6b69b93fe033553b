/* When a rank that is silent, or a phase that stands still, counts as lost. Declared in cluster.h.
 */
#include <stdio.h>

#include "coordinator/clock.h"
#include "coordinator/cluster/cluster.h"
#include "proto/log.h"

#define START_SECONDS   30.0
#define LOAD_SECONDS    30.0
#define DECODE_SECONDS  2.0
#define PREFILL_SECONDS 5.0
#define CLOSE_SECONDS   10.0

/* What a step may add to its deadline, in moving averages of such steps; and how far that goes.
 * Nothing is known of the first step of a kind: it gets as much as any. */
#define AVERAGES         20.0
#define STEP_SECONDS_MAX 30.0

static double or_default(double given, double otherwise)
{
    return given > 0 ? given : otherwise;
}

void shoal_cluster_set_deadlines(shoal_cluster *c, const shoal_deadlines *given)
{
    c->deadlines = (shoal_deadlines){
        .start = or_default(given->start, START_SECONDS),
        .load = or_default(given->load, LOAD_SECONDS),
        .decode = or_default(given->decode, DECODE_SECONDS),
        .prefill = or_default(given->prefill, PREFILL_SECONDS),
    };
}

static double step_seconds_least(const shoal_cluster *c, bool prefill)
{
    return prefill ? c->deadlines.prefill : c->deadlines.decode;
}

static double step_seconds_most(const shoal_cluster *c, bool prefill)
{
    const double least = step_seconds_least(c, prefill);
    return least > STEP_SECONDS_MAX ? least : STEP_SECONDS_MAX;
}

/* Heartbeats come whatever a step takes, so that silence means the same before the first step. */
static double silence_limit(const shoal_cluster *c, bool prefill)
{
    const double limit = step_seconds_least(c, prefill) + AVERAGES * c->average[prefill];
    const double most = step_seconds_most(c, prefill);
    return limit < most ? limit : most;
}

static double step_limit(const shoal_cluster *c, bool prefill)
{
    return c->average[prefill] > 0 ? silence_limit(c, prefill) : step_seconds_most(c, prefill);
}

static shoal_status check_silence(const shoal_cluster *c, double now, double limit)
{
    char name[128];
    for (int r = 0; r < c->base.ranks; r++) {
        const shoal_cluster_rank *rank = &c->ranks[r];
        if (!rank->link || rank->said_bye || now - rank->heard <= limit)
            continue;
        shoal_roster_name(&c->roster, r, name, sizeof name);
        return shoal_fail(SHOAL_ERR_TEMPORARY, "%s has said nothing for %.1f s", name,
                          now - rank->heard);
    }
    return SHOAL_OK;
}

static shoal_status check_start(const shoal_cluster *c, double now)
{
    if (now - c->phase_began <= c->deadlines.start)
        return SHOAL_OK;
    shoal_launch_show_tail(&c->launch);
    return shoal_fail(SHOAL_ERR_TEMPORARY, "only %d of %d ranks have come after %.0f s",
                      c->roster.joined, c->base.ranks, now - c->phase_began);
}

static shoal_status check_load(const shoal_cluster *c, double now)
{
    SHOAL_TRY(check_silence(c, now, c->deadlines.load));
    if (now - c->progressed <= c->deadlines.load)
        return SHOAL_OK;
    shoal_launch_show_tail(&c->launch);
    return shoal_fail(SHOAL_ERR_TEMPORARY, "the load has made no progress for %.1f s",
                      now - c->progressed);
}

/* Every rank counts the same phases of the same steps: one that has come less far than the others
 * holds them up. */
static shoal_status stands_still(const shoal_cluster *c, double seconds)
{
    char name[128];
    int first = 0, last = 0;
    for (int r = 0; r < c->base.ranks; r++) {
        const shoal_cluster_rank *rank = &c->ranks[r];
        shoal_log(SHOAL_LOG_WARN, "stall", "rank %d: phase %llu, after %llu exchanges", r,
                  (unsigned long long)rank->counter, (unsigned long long)rank->exchanges);
        first = rank->counter > c->ranks[first].counter ? r : first;
        last = rank->counter < c->ranks[last].counter ? r : last;
    }
    shoal_roster_name(&c->roster, last, name, sizeof name);
    return shoal_fail(SHOAL_ERR_TEMPORARY, "the step has made no progress for %.1f s%s%s%s",
                      seconds, first == last ? "" : ": ", first == last ? "" : name,
                      first == last ? "" : " is behind the others");
}

static shoal_status check_step(const shoal_cluster *c, double now)
{
    const double limit = step_limit(c, c->step.prefill);
    SHOAL_TRY(check_silence(c, now, silence_limit(c, c->step.prefill)));
    return now - c->progressed <= limit ? SHOAL_OK : stands_still(c, now - c->progressed);
}

static shoal_status check_close(const shoal_cluster *c, double now)
{
    if (now - c->phase_began <= CLOSE_SECONDS)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_TEMPORARY, "the ranks have not ended after %.0f s",
                      now - c->phase_began);
}

shoal_status shoal_cluster_check_deadlines(const shoal_cluster *c)
{
    const double now = shoal_clock_seconds();
    switch (c->phase) {
    case SHOAL_CLUSTER_START: return check_start(c, now);
    case SHOAL_CLUSTER_LOAD: return check_load(c, now);
    case SHOAL_CLUSTER_STEP: return check_step(c, now);
    case SHOAL_CLUSTER_CLOSE: return check_close(c, now);
    case SHOAL_CLUSTER_IDLE: return check_silence(c, now, silence_limit(c, false));
    }
    return SHOAL_OK;
}
