/* Events, deadlines and deaths. Declared in cluster.h. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coordinator/clock.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/cluster/interrupt.h"
#include "proto/log.h"

#define START_SECONDS   30.0
#define LOAD_SECONDS    30.0
#define PREPARE_SECONDS 600.0 /* from the last byte to Ready: packing, probe */
#define CLOSE_SECONDS   10.0
#define SILENCE_SECONDS 5.0
#define STALL_SECONDS   30.0
#define AVERAGES        20.0

/* After a death: mpirun gets this long to see it, then so long to end once the other ranks leave.
 */
#define NOTICE_SECONDS 0.05
#define VICTIM_SECONDS 1.5

void shoal_cluster_enter(shoal_cluster *c, shoal_cluster_phase phase)
{
    c->phase = phase;
    c->phase_began = c->progressed = shoal_clock_seconds();
    for (int r = 0; r < c->base.ranks; r++)
        c->ranks[r].heard = c->progressed;
}

/* ---- deaths ---------------------------------------------------------------------------------- */

static void close_links(shoal_cluster *c)
{
    for (int r = 0; r < c->base.ranks; r++) {
        shoal_link_close(c->ranks[r].link);
        c->ranks[r].link = NULL;
    }
}

static void wait_for_mpirun(shoal_cluster *c, double seconds)
{
    const double end = shoal_clock_seconds() + seconds;
    shoal_launch_poll(&c->launch);
    while (!c->launch.ended && shoal_clock_seconds() < end) {
        (void)usleep(2000);
        shoal_launch_poll(&c->launch);
    }
}

static shoal_status mpirun_ended(shoal_cluster *c)
{
    char end[128];
    shoal_launch_describe_end(&c->launch, end, sizeof end);
    if (c->phase == SHOAL_CLUSTER_START) {
        shoal_launch_show_tail(&c->launch);
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "%s before all ranks had come (%d of %d)", end,
                          c->roster.joined, c->base.ranks);
    }
    return shoal_fail(SHOAL_ERR_TEMPORARY, "%s; the ranks are gone with it", end);
}

shoal_status shoal_cluster_lost_mpirun(shoal_cluster *c)
{
    close_links(c);
    if (c->launch.victim_known && c->launch.victim.rank >= 0 &&
        c->launch.victim.rank < c->base.ranks)
        return shoal_cluster_lost_rank(c, c->launch.victim.rank);
    return mpirun_ended(c);
}

/* Another rank may have said what went wrong, and its words be waiting. */
static shoal_status last_words(shoal_cluster *c)
{
    for (int r = 0; r < c->base.ranks; r++) {
        shoal_wire_message message;
        while (c->ranks[r].link && shoal_link_receive(c->ranks[r].link, 0, &message) == SHOAL_OK) {
            const bool error = message.type == SHOAL_WIRE_ERROR;
            const shoal_status st = error ? shoal_cluster_take(c, r, &message) : SHOAL_OK;
            shoal_wire_free(&message);
            SHOAL_TRY(st);
        }
    }
    return SHOAL_OK;
}

/* Only mpirun sees a rank's signal. It waits a second for the other ranks, unless they leave: they
 * do when their links close. */
shoal_status shoal_cluster_lost_rank(shoal_cluster *c, int rank)
{
    char name[128];
    const shoal_launch_victim *v = &c->launch.victim;
    wait_for_mpirun(c, NOTICE_SECONDS);
    const shoal_status said = last_words(c);
    close_links(c);
    wait_for_mpirun(c, VICTIM_SECONDS);
    SHOAL_TRY(said);
    shoal_roster_name(&c->roster, rank, name, sizeof name);
    if (c->launch.victim_known && v->rank == rank)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "%s was killed by signal %d (%s)", name, v->signal,
                          strsignal(v->signal));
    if (c->launch.ended && !WIFEXITED(c->launch.wait_status))
        return mpirun_ended(c);
    shoal_launch_show_tail(&c->launch);
    return shoal_fail(SHOAL_ERR_TEMPORARY, "%s ended without saying why", name);
}

/* ---- deadlines ------------------------------------------------------------------------------- */

static shoal_status too_late(const shoal_cluster *c, const char *what, double seconds)
{
    shoal_launch_show_tail(&c->launch);
    return shoal_fail(SHOAL_ERR_TEMPORARY, "%s for %.1f s", what, seconds);
}

static shoal_status check_silence(const shoal_cluster *c, double limit)
{
    const double now = shoal_clock_seconds();
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
    if (now - c->phase_began <= START_SECONDS)
        return SHOAL_OK;
    shoal_launch_show_tail(&c->launch);
    return shoal_fail(SHOAL_ERR_TEMPORARY, "only %d of %d ranks have come after %.0f s",
                      c->roster.joined, c->base.ranks, now - c->phase_began);
}

static shoal_status check_load(const shoal_cluster *c, double now)
{
    bool reading = false;
    for (int r = 0; r < c->base.ranks; r++)
        reading |= c->ranks[r].total == 0 || c->ranks[r].done < c->ranks[r].total;
    SHOAL_TRY(check_silence(c, LOAD_SECONDS));
    if (now - c->progressed > (reading ? LOAD_SECONDS : PREPARE_SECONDS))
        return too_late(c, "the load has made no progress", now - c->progressed);
    return SHOAL_OK;
}

static shoal_status check_step(const shoal_cluster *c, double now)
{
    const double silence = SILENCE_SECONDS + AVERAGES * c->average[c->step.prefill];
    SHOAL_TRY(check_silence(c, silence));
    if (now - c->progressed > silence + STALL_SECONDS)
        return too_late(c, "the step has made no progress", now - c->progressed);
    return SHOAL_OK;
}

shoal_status shoal_cluster_check_deadlines(const shoal_cluster *c)
{
    const double now = shoal_clock_seconds();
    switch (c->phase) {
    case SHOAL_CLUSTER_START: return check_start(c, now);
    case SHOAL_CLUSTER_LOAD: return check_load(c, now);
    case SHOAL_CLUSTER_STEP: return check_step(c, now);
    case SHOAL_CLUSTER_CLOSE:
        if (now - c->phase_began > CLOSE_SECONDS)
            return too_late(c, "the ranks have not ended", now - c->phase_began);
        return SHOAL_OK;
    case SHOAL_CLUSTER_IDLE: return SHOAL_OK;
    }
    return SHOAL_OK;
}

/* ---- events ---------------------------------------------------------------------------------- */

/* Who does not hold the token is turned away and forgotten. */
static shoal_status let_in(shoal_cluster *c)
{
    shoal_link *link;
    shoal_wire_message hello;
    if (shoal_link_accept(c->listener, 0, &link) != SHOAL_OK)
        return SHOAL_OK;
    shoal_status st =
        shoal_link_challenge(link, c->token, strlen(c->token), SHOAL_CLUSTER_GENERATION, &hello);
    if (st != SHOAL_OK) {
        shoal_log(SHOAL_LOG_WARN, "join", "turned away: %s", shoal_error_text());
        shoal_link_close(link);
        return st == SHOAL_ERR_CONFIG ? st : SHOAL_OK;
    }
    const int rank = hello.hello.rank;
    st = shoal_roster_hello(&c->roster, &hello.hello);
    shoal_wire_free(&hello);
    if (st != SHOAL_OK) {
        shoal_link_close(link);
        return st;
    }
    c->ranks[rank].link = link;
    c->ranks[rank].heard = c->progressed = shoal_clock_seconds();
    return SHOAL_OK;
}

/* All messages that are there. */
static shoal_status hear(shoal_cluster *c, int rank)
{
    while (c->ranks[rank].link) {
        shoal_wire_message message;
        shoal_status st = shoal_link_receive(c->ranks[rank].link, 0, &message);
        if (st == SHOAL_ERR_TEMPORARY)
            return SHOAL_OK;
        if (st == SHOAL_ERR_UNAVAILABLE && c->ranks[rank].said_bye) {
            shoal_link_close(c->ranks[rank].link);
            c->ranks[rank].link = NULL;
            return SHOAL_OK;
        }
        if (st == SHOAL_ERR_UNAVAILABLE)
            return shoal_cluster_lost_rank(c, rank);
        if (st != SHOAL_OK)
            return shoal_fail_within(st, "rank %d", rank);
        st = shoal_cluster_take(c, rank, &message);
        shoal_wire_free(&message);
        SHOAL_TRY(st);
    }
    return SHOAL_OK;
}

/* Places in polls: a rank's link at its number, then the three below. */
static void fill_polls(shoal_cluster *c)
{
    const int n = c->base.ranks;
    for (int r = 0; r < n; r++)
        c->polls[r] =
            (struct pollfd){c->ranks[r].link ? shoal_link_fd(c->ranks[r].link) : -1, POLLIN, 0};
    const bool open = c->listener && c->roster.joined < n;
    c->polls[n] = (struct pollfd){open ? shoal_listener_fd(c->listener) : -1, POLLIN, 0};
    c->polls[n + 1] = (struct pollfd){c->launch.output, POLLIN, 0};
    c->polls[n + 2] = (struct pollfd){c->signals, POLLIN, 0};
}

shoal_status shoal_cluster_pump(shoal_cluster *c, double seconds)
{
    const int n = c->base.ranks;
    fill_polls(c);
    (void)poll(c->polls, (nfds_t)n + 3, (int)(seconds * 1000));
    SHOAL_TRY(shoal_interrupt_check());
    if (c->polls[n].revents)
        SHOAL_TRY(let_in(c));
    for (int r = 0; r < n; r++)
        if (c->polls[r].revents)
            SHOAL_TRY(hear(c, r));
    const bool had_ended = c->launch.ended;
    shoal_launch_poll(&c->launch);
    /* What ranks said before mpirun ended is worth more than its end: one more round for them. */
    if (had_ended && c->phase != SHOAL_CLUSTER_CLOSE)
        return shoal_cluster_lost_mpirun(c);
    return shoal_cluster_check_deadlines(c);
}
