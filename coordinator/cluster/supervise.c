/* Events and deaths. Declared in cluster.h. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coordinator/clock.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/cluster/interrupt.h"
#include "proto/log.h"

/* After a death: mpirun gets this long to see it, then so long to end once the other ranks leave.
 * Of a rank on another host nobody here can tell when mpirun has seen it. */
#define NOTICE_SECONDS        0.5
#define NOTICE_REMOTE_SECONDS 0.05
#define VICTIM_SECONDS        1.5
#define TICK_MICROS           2000

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

/* Has mpirun taken note of this rank's death? Then it has buried the process. */
static bool is_buried(const shoal_cluster *c, int rank)
{
    const pid_t pid = c->roster.members[rank].pid;
    return !c->remote && pid > 0 && kill(pid, 0) != 0;
}

static void wait_for_notice(shoal_cluster *c, int rank)
{
    const double until =
        shoal_clock_seconds() + (c->remote ? NOTICE_REMOTE_SECONDS : NOTICE_SECONDS);
    shoal_launch_poll(&c->launch);
    while (!c->launch.ended && !is_buried(c, rank) && shoal_clock_seconds() < until) {
        (void)usleep(TICK_MICROS);
        shoal_launch_poll(&c->launch);
    }
}

static void wait_for_mpirun(shoal_cluster *c)
{
    const double until = shoal_clock_seconds() + VICTIM_SECONDS;
    shoal_launch_poll(&c->launch);
    while (!c->launch.ended && shoal_clock_seconds() < until) {
        (void)usleep(TICK_MICROS);
        shoal_launch_poll(&c->launch);
    }
}

/* The rank that mpirun saw die first, else `otherwise`. */
static int victim_or(const shoal_cluster *c, int otherwise)
{
    const shoal_launch *l = &c->launch;
    const bool known = l->victim_known && l->victim.rank >= 0 && l->victim.rank < c->base.ranks;
    return known ? l->victim.rank : otherwise;
}

static shoal_status too_early(const shoal_cluster *c, shoal_status code, const char *end)
{
    return shoal_fail(code, "%s before all ranks had come (%d of %d)", end, c->roster.joined,
                      c->base.ranks);
}

static shoal_status mpirun_ended(const shoal_cluster *c)
{
    char end[128];
    shoal_launch_describe_end(&c->launch, end, sizeof end);
    if (c->phase != SHOAL_CLUSTER_START)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "%s; the ranks are gone with it", end);
    shoal_launch_show_tail(&c->launch);
    return too_early(c, SHOAL_ERR_UNAVAILABLE, end);
}

/* No signal is known of. Who leaves with a code before anything has begun will do so again. */
static shoal_status rank_ended(const shoal_cluster *c, int rank)
{
    char name[128], end[192];
    const bool by_code = c->launch.victim_known;
    shoal_roster_name(&c->roster, rank, name, sizeof name);
    if (by_code)
        (void)snprintf(end, sizeof end, "%s ended with code %d", name, c->launch.victim.code);
    else
        (void)snprintf(end, sizeof end, "%s ended", name);
    shoal_launch_show_tail(&c->launch);
    if (c->phase == SHOAL_CLUSTER_START)
        return too_early(c, by_code ? SHOAL_ERR_UNAVAILABLE : SHOAL_ERR_TEMPORARY, end);
    return shoal_fail(SHOAL_ERR_TEMPORARY, "%s without saying why", end);
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

/* Only mpirun sees how a rank dies, and which died first: so the other ranks may leave, as they do
 * when their links close, only after it has taken note. */
shoal_status shoal_cluster_lost_rank(shoal_cluster *c, int rank)
{
    char name[128];
    wait_for_notice(c, rank);
    const shoal_status said = last_words(c);
    close_links(c);
    wait_for_mpirun(c);
    SHOAL_TRY(said);
    const int victim = victim_or(c, rank);
    const int signal = c->launch.victim.signal;
    shoal_roster_name(&c->roster, victim, name, sizeof name);
    if (c->launch.victim_known && signal)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "%s was killed by signal %d (%s)", name, signal,
                          strsignal(signal));
    if (c->launch.ended && !WIFEXITED(c->launch.wait_status))
        return mpirun_ended(c);
    return rank_ended(c, victim);
}

shoal_status shoal_cluster_lost_mpirun(shoal_cluster *c)
{
    const int victim = victim_or(c, -1);
    if (victim >= 0)
        return shoal_cluster_lost_rank(c, victim);
    close_links(c);
    return mpirun_ended(c);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void identify(shoal_cluster *c, int rank)
{
    const shoal_member *m = &c->roster.members[rank];
    shoal_rank_identity *id = &c->base.identities[rank];
    id->pid = m->pid;
    memcpy(id->host, m->host, sizeof id->host);
    memcpy(id->level, m->level, sizeof id->level);
}

/* Who does not hold the token is turned away and forgotten. */
static shoal_status let_in(shoal_cluster *c)
{
    shoal_link *link;
    shoal_wire_message hello;
    if (shoal_link_accept(c->listener, 0, &link) != SHOAL_OK)
        return SHOAL_OK;
    shoal_status st =
        shoal_link_challenge(link, c->token, strlen(c->token), c->request.generation, &hello);
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
    identify(c, rank);
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

/* Places in polls: a rank's link at its number, then the four below. */
static void fill_polls(shoal_cluster *c)
{
    const int n = c->base.ranks;
    for (int r = 0; r < n; r++)
        c->polls[r] =
            (struct pollfd){c->ranks[r].link ? shoal_link_fd(c->ranks[r].link) : -1, POLLIN, 0};
    const bool open = c->listener && c->roster.joined < n;
    c->polls[n] = (struct pollfd){open ? shoal_listener_fd(c->listener) : -1, POLLIN, 0};
    c->polls[n + 1] = (struct pollfd){c->launch.output, POLLIN, 0};
    c->polls[n + 2] = (struct pollfd){c->stop, POLLIN, 0};
    c->polls[n + 3] = (struct pollfd){c->wake, POLLIN, 0};
}

shoal_status shoal_cluster_pump(shoal_cluster *c, double seconds)
{
    const int n = c->base.ranks;
    fill_polls(c);
    (void)poll(c->polls, (nfds_t)n + 4, (int)(seconds * 1000) + 1);
    SHOAL_TRY(shoal_interrupt_asked(c->request.stop_fd));
    if (c->polls[n].revents)
        SHOAL_TRY(let_in(c));
    for (int r = 0; r < n; r++)
        if (c->polls[r].revents)
            SHOAL_TRY(hear(c, r));
    c->woken = c->polls[n + 3].revents != 0;
    const bool had_ended = c->launch.ended;
    shoal_launch_poll(&c->launch);
    /* What ranks said before mpirun ended is worth more than its end: one more round for them. */
    if (had_ended && c->phase != SHOAL_CLUSTER_CLOSE)
        return shoal_cluster_lost_mpirun(c);
    return shoal_cluster_check_deadlines(c);
}
