#include "coordinator/cluster/cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "coordinator/clock.h"
#include "coordinator/cluster/interrupt.h"
#include "proto/log.h"
#include "worker/fault.h"

/* How often to look at mpirun and the clock when nothing happens. */
#define TICK_SECONDS      0.1
#define IDLE_TICK_SECONDS 0.5

#define SEND_MS 10000

/* How long mpirun may take to end by itself: after all is well, and after a failure. */
#define GRACE_FINE   3.0
#define GRACE_FAILED 0.3

/* Ranks on other hosts find the token here: mpirun carries the variable. */
#define TOKEN_VARIABLE "SHOAL_LINK_TOKEN"

/* Every rank finds here which start it belongs to. */
#define GENERATION_VARIABLE "SHOAL_GENERATION"

/* hwloc, under mpirun and MPI, looks for graphics cards by opening X displays; where no name server
 * answers for "localhost" that takes seconds. */
#define NO_DISPLAYS "HWLOC_COMPONENTS=-gl"

/* ---- before the start ------------------------------------------------------------------------ */

/* May mpirun place ranks on other hosts? */
static bool spans_hosts(const shoal_engine_request *request)
{
    static const char *const allocations[] = {"PBS_NODEFILE", "LSB_MCPU_HOSTS", "PE_HOSTFILE"};
    const char *nodes = getenv("SLURM_JOB_NUM_NODES");
    for (size_t i = 0; i < sizeof allocations / sizeof *allocations; i++)
        if (getenv(allocations[i]))
            return true;
    if (request->mpi_args &&
        (strstr(request->mpi_args, "host") || strstr(request->mpi_args, "machinefile")))
        return true;
    return request->hostfile || (nodes && strtol(nodes, NULL, 10) > 1);
}

static shoal_status make_token(shoal_cluster *c)
{
    uint8_t bytes[32];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "no random numbers: %s", strerror(errno));
    for (size_t i = 0; i < sizeof bytes; i++)
        (void)snprintf(c->token + 2 * i, 3, "%02x", bytes[i]);
    if (c->remote) {
        (void)snprintf(c->token_file, sizeof c->token_file, "env:%s", TOKEN_VARIABLE);
        return SHOAL_OK;
    }
    (void)snprintf(c->token_file, sizeof c->token_file, "%s/token", c->folder.path);
    const int fd = open(c->token_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const bool fine = fd >= 0 && write(fd, c->token, strlen(c->token)) == (ssize_t)strlen(c->token);
    if (fd >= 0)
        (void)close(fd);
    if (!fine)
        return shoal_fail(SHOAL_ERR_CREATE, "%s: %s", c->token_file, strerror(errno));
    return SHOAL_OK;
}

/* Ranks elsewhere need a host name; the listener only knows that it listens everywhere. */
static shoal_status start_listening(shoal_cluster *c)
{
    char address[PATH_MAX + 16], host[256] = "";
    (void)snprintf(address, sizeof address, "unix:%s/link", c->folder.path);
    SHOAL_TRY(shoal_link_listen(c->remote ? "0.0.0.0:0" : address, &c->listener));
    const char *actual = shoal_listener_address(c->listener);
    (void)gethostname(host, sizeof host - 1);
    if (c->remote)
        (void)snprintf(c->address, sizeof c->address, "%s%s", host, strrchr(actual, ':'));
    else
        (void)snprintf(c->address, sizeof c->address, "%s", actual);
    return SHOAL_OK;
}

static shoal_status start_mpirun(shoal_cluster *c)
{
    SHOAL_FAULT_CHECK();
    const shoal_engine_request *r = &c->request;
    const char *arguments[] = {"worker",      "--coordinator",
                               c->address,    "--token-file",
                               c->token_file, r->force_network ? "--comm" : NULL,
                               "network",     NULL};
    char generation[64], token[sizeof TOKEN_VARIABLE "=" + sizeof c->token];
    const char *variables[4] = {generation};
    int count = 1;
    if (!getenv("HWLOC_COMPONENTS"))
        variables[count++] = NO_DISPLAYS;
    if (c->remote)
        variables[count] = token;
    (void)snprintf(generation, sizeof generation, "%s=%u", GENERATION_VARIABLE, r->generation);
    (void)snprintf(token, sizeof token, "%s=%s", TOKEN_VARIABLE, c->token);
    const shoal_launch_request request = {
        .ranks = c->base.ranks,
        .program = c->program,
        .arguments = arguments,
        .folder = c->remote ? NULL : c->folder.path,
        .shared_folder = c->remote || !c->folder.shared[0] ? NULL : c->folder.shared,
        .hostfile = r->hostfile,
        .mpi_args = r->mpi_args,
        .variables = variables,
        .as_root = geteuid() == 0,
    };
    if (r->program)
        (void)snprintf(c->program, sizeof c->program, "%s", r->program);
    else
        shoal_own_path(c->program);
    return shoal_launch_start(&request, &c->launch);
}

/* ---- opening --------------------------------------------------------------------------------- */

static shoal_status wait_for_all(shoal_cluster *c, const int *count)
{
    while (*count < c->base.ranks)
        SHOAL_TRY(shoal_cluster_pump(c, TICK_SECONDS));
    return SHOAL_OK;
}

/* Workers have their own working directory; the path must mean the same there. */
static shoal_status absolute(const char *path, char out[PATH_MAX])
{
    char here[PATH_MAX];
    int n;
    if (path[0] == '/')
        n = snprintf(out, PATH_MAX, "%s", path);
    else if (getcwd(here, sizeof here))
        n = snprintf(out, PATH_MAX, "%s/%s", here, path);
    else
        return shoal_fail(SHOAL_ERR_IO, "the current directory: %s", strerror(errno));
    if (n < 0 || n >= PATH_MAX)
        return shoal_fail(SHOAL_ERR_USAGE, "%.200s...: the path is too long", path);
    return SHOAL_OK;
}

static shoal_status send_load(shoal_cluster *c)
{
    const shoal_worker_settings *s = &c->request.settings;
    char model[PATH_MAX];
    SHOAL_TRY(absolute(s->model, model));
    const shoal_wire_message message = {
        .type = SHOAL_WIRE_LOAD,
        .load = {.model = model,
                 .quantize = s->quantize,
                 .keep_regex = s->keep_regex,
                 .offload = s->offload,
                 .cpu = s->cpu,
                 .activations = (int32_t)s->activations,
                 .kv = s->kv,
                 .reduce = (int32_t)s->reduce,
                 .threads = s->threads,
                 .ranks = c->base.ranks,
                 .prefill_chunk = s->prefill_chunk,
                 .max_sequences = s->max_sequences,
                 .context = s->context,
                 .kv_tokens = s->kv_tokens,
                 .memory = s->memory,
                 .capacity = s->capacity,
                 .capacity_count = s->capacity ? (size_t)c->base.ranks : 0,
                 .expert_parallel = s->expert_parallel,
                 .push = s->push,
                 .probe = s->probe},
    };
    for (int r = 0; r < c->base.ranks; r++)
        if (shoal_link_send(c->ranks[r].link, &message, SEND_MS) != SHOAL_OK)
            return shoal_cluster_lost_rank(c, r);
    return SHOAL_OK;
}

/* Once all have come the door is shut: nobody else can join, and the token opens nothing. */
static void shut_door(shoal_cluster *c)
{
    shoal_listener_close(c->listener);
    c->listener = NULL;
    if (!c->remote)
        (void)unlink(c->token_file);
}

static shoal_status bring_up(shoal_cluster *c)
{
    shoal_cluster_enter(c, SHOAL_CLUSTER_START);
    SHOAL_TRY(make_token(c));
    SHOAL_TRY(start_listening(c));
    SHOAL_TRY(start_mpirun(c));
    SHOAL_TRY(wait_for_all(c, &c->roster.joined));
    shut_door(c);
    shoal_log(SHOAL_LOG_INFO, "start", "%d ranks after %.2f s", c->base.ranks,
              shoal_clock_seconds() - c->phase_began);
    shoal_cluster_enter(c, SHOAL_CLUSTER_LOAD);
    SHOAL_TRY(send_load(c));
    SHOAL_TRY(wait_for_all(c, &c->roster.ready));
    shoal_log(SHOAL_LOG_INFO, "ready", "loaded in %.2f s", shoal_clock_seconds() - c->phase_began);
    shoal_cluster_enter(c, SHOAL_CLUSTER_IDLE);
    return SHOAL_OK;
}

/* ---- ending ---------------------------------------------------------------------------------- */

/* The recorded sentence survives. Once it is known why a run has failed nobody waits for mpirun,
 * unless it must tell other hosts. */
static void destroy(shoal_cluster *c, bool fine)
{
    const double begin = shoal_clock_seconds();
    for (int r = 0; c->ranks && r < c->base.ranks; r++)
        shoal_link_close(c->ranks[r].link);
    shoal_listener_close(c->listener);
    if (fine || c->remote)
        shoal_launch_stop(&c->launch, fine ? GRACE_FINE : GRACE_FAILED);
    else
        shoal_launch_kill(&c->launch);
    shoal_log(SHOAL_LOG_INFO, "down", "taken down in %.2f s", shoal_clock_seconds() - begin);
    shoal_run_folder_remove(&c->folder);
    shoal_engine_free_reports(&c->base);
    shoal_free(c->ranks);
    shoal_free(c->polls);
    shoal_free(c);
}

static bool all_said_bye(const shoal_cluster *c)
{
    for (int r = 0; r < c->base.ranks; r++)
        if (!c->ranks[r].said_bye)
            return false;
    return true;
}

static shoal_status say_bye(shoal_cluster *c)
{
    const shoal_wire_message bye = {.type = SHOAL_WIRE_BYE, .bye = {SHOAL_OK}};
    shoal_cluster_enter(c, SHOAL_CLUSTER_CLOSE);
    for (int r = 0; r < c->base.ranks; r++)
        if (!c->ranks[r].link || shoal_link_send(c->ranks[r].link, &bye, SEND_MS) != SHOAL_OK)
            return shoal_cluster_lost_rank(c, r);
    while (!all_said_bye(c))
        SHOAL_TRY(shoal_cluster_pump(c, TICK_SECONDS));
    return SHOAL_OK;
}

static shoal_status cluster_close(shoal_engine *engine)
{
    shoal_cluster *c = (shoal_cluster *)engine;
    if (engine->broken) {
        destroy(c, false);
        return SHOAL_OK;
    }
    const shoal_status st = say_bye(c);
    destroy(c, st == SHOAL_OK);
    return st;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static shoal_status finish_step(shoal_cluster *c)
{
    double *average = &c->average[c->step.prefill];
    const double took = shoal_clock_seconds() - c->phase_began;
    *average = *average > 0 ? 0.8 * *average + 0.2 * took : took;
    shoal_cluster_enter(c, SHOAL_CLUSTER_IDLE);
    if (c->step.sink_status != SHOAL_OK)
        return shoal_fail(c->step.sink_status, "%s", c->step.sink_text);
    return SHOAL_OK;
}

static shoal_status cluster_step(shoal_engine *engine, const void *block, uint64_t bytes,
                                 shoal_sequence_result *results, shoal_logits_sink sink,
                                 void *context)
{
    shoal_cluster *c = (shoal_cluster *)engine;
    const shoal_step *step = block;
    const shoal_wire_message message = {.type = SHOAL_WIRE_STEP, .step = {{block, bytes}}};
    c->step = (shoal_cluster_step){.prefill = shoal_step_is_prefill(step),
                                   .sequences = step->sequence_count,
                                   .number = step->number,
                                   .results = results,
                                   .sink = sink,
                                   .context = context};
    shoal_cluster_enter(c, SHOAL_CLUSTER_STEP);
    if (!c->ranks[0].link || shoal_link_send(c->ranks[0].link, &message, SEND_MS) != SHOAL_OK)
        return shoal_cluster_lost_rank(c, 0);
    while (!c->step.done)
        SHOAL_TRY(shoal_cluster_pump(c, TICK_SECONDS));
    return finish_step(c);
}

/* ---- at rest --------------------------------------------------------------------------------- */

static shoal_status cluster_idle(shoal_engine *engine, int fd, double seconds)
{
    shoal_cluster *c = (shoal_cluster *)engine;
    const double end = shoal_clock_seconds() + seconds;
    double left = seconds;
    c->wake = fd;
    c->woken = false;
    do {
        SHOAL_TRY(shoal_cluster_pump(c, left < IDLE_TICK_SECONDS ? left : IDLE_TICK_SECONDS));
        left = end - shoal_clock_seconds();
    } while (!c->woken && left > 0);
    c->wake = -1;
    return SHOAL_OK;
}

/* Every rank tells with a heartbeat. */
static shoal_status cluster_refresh(shoal_engine *engine)
{
    return cluster_idle(engine, -1, 2 * IDLE_TICK_SECONDS);
}

static const shoal_engine_ops cluster_ops = {"cluster", cluster_step, cluster_idle, cluster_close,
                                             cluster_refresh};

/* ---- the engine ------------------------------------------------------------------------------ */

/* mpirun's own words about a missing one fill a page. */
static shoal_status check_hostfile(const char *path)
{
    if (!path || access(path, R_OK) == 0)
        return SHOAL_OK;
    return shoal_fail(errno == ENOENT ? SHOAL_ERR_NOTFOUND : SHOAL_ERR_IO, "hostfile %s: %s", path,
                      strerror(errno));
}

static shoal_status allocate(const shoal_engine_request *request, shoal_cluster **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    const uint64_t ranks = (uint64_t)request->ranks;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_cluster), &block));
    shoal_cluster *c = block;
    c->base.ops = &cluster_ops;
    c->base.ranks = c->roster.ranks = request->ranks;
    c->request = *request;
    if (c->request.generation == 0)
        c->request.generation = 1;
    c->remote = spans_hosts(request);
    c->launch.output = c->wake = -1;
    shoal_cluster_set_deadlines(c, &request->deadlines);
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_OTHER, ranks, sizeof *c->ranks, &block), fail);
    c->ranks = block;
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_OTHER, ranks + 4, sizeof *c->polls, &block), fail);
    c->polls = block;
    SHOAL_TRY_GOTO(shoal_engine_make_reports(&c->base), fail);
    SHOAL_TRY_GOTO(check_hostfile(request->hostfile), fail);
    SHOAL_TRY_GOTO(shoal_interrupt_source(request->stop_fd, &c->stop), fail);
    SHOAL_TRY_GOTO(shoal_run_folder_create(&c->folder), fail);
    *out = c;
    return SHOAL_OK;

fail:
    destroy(c, false);
    return st;
}

shoal_status shoal_engine_cluster_open(const shoal_engine_request *request, shoal_engine **out)
{
    shoal_cluster *c;
    SHOAL_TRY(allocate(request, &c));
    const shoal_status st = bring_up(c);
    if (st != SHOAL_OK) {
        destroy(c, false);
        return st;
    }
    *out = &c->base;
    return SHOAL_OK;
}
