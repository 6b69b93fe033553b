#include "coordinator/engine.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "kernels/cpu.h"
#include "kernels/topology.h"

int shoal_default_threads(int ranks_on_node)
{
    shoal_topology topology;
    if (shoal_topology_read(&topology) != SHOAL_OK)
        return 1;
    /* A launcher that binds ranks gave each cores of its own, or several of them a socket: those
     * cores are ours alone only if the machine has as many for every rank. */
    const bool bound = getenv("OMPI_MCA_orte_bound_at_launch") != NULL;
    const bool alone =
        bound && (int64_t)topology.processors * ranks_on_node <= sysconf(_SC_NPROCESSORS_ONLN);
    const int threads = shoal_topology_threads(&topology, alone ? 1 : ranks_on_node);
    shoal_topology_free(&topology);
    return threads;
}

int shoal_default_ranks(void)
{
    shoal_topology topology;
    if (shoal_topology_read(&topology) != SHOAL_OK)
        return 1;
    const int ranks = shoal_topology_ranks(&topology);
    shoal_topology_free(&topology);
    return ranks;
}

int shoal_ranks_on_node(int world_size)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "PMIX_LOCAL_SIZE",
                                        "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        const long value = text ? strtol(text, NULL, 10) : 0;
        if (value > 0 && value <= SHOAL_RANKS_MAX)
            return (int)value;
    }
    return world_size;
}

/* The parent may have died just before; then its place was taken by a stranger. */
void shoal_die_with_parent(void)
{
    const pid_t parent = getppid();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        (void)raise(SIGKILL);
}

void shoal_engine_identify(shoal_rank_identity *out)
{
    *out = (shoal_rank_identity){.pid = getpid()};
    (void)gethostname(out->host, sizeof out->host - 1);
    (void)snprintf(out->level, sizeof out->level, "%s", shoal_cpu_name(shoal_cpu_best()));
}

static void say_kernel(void *context, const char *role, const char *layout, const char *decode,
                       const char *prefill)
{
    shoal_engine *engine = context;
    if (engine->kernel_count >= SHOAL_ENGINE_KERNELS_MAX)
        return;
    shoal_engine_kernel *k = &engine->kernels[engine->kernel_count++];
    (void)snprintf(k->role, sizeof k->role, "%s", role);
    (void)snprintf(k->layout, sizeof k->layout, "%s", layout);
    (void)snprintf(k->decode, sizeof k->decode, "%s", decode);
    (void)snprintf(k->prefill, sizeof k->prefill, "%s", prefill);
}

void shoal_engine_describe(shoal_engine *engine, const shoal_worker *worker)
{
    shoal_worker_describe(worker, &engine->facts);
    shoal_worker_limits(worker, &engine->limits);
    (void)snprintf(engine->arithmetic, sizeof engine->arithmetic, "%s", engine->facts.arithmetic);
    engine->facts.arithmetic = engine->arithmetic;
    engine->kernel_count = 0;
    shoal_worker_rows(worker, say_kernel, engine);
}

bool shoal_engine_is_follower(void)
{
    int rank, size;
    return shoal_comm_mpi_launched(&rank, &size) && rank > 0;
}

shoal_status shoal_engine_gather_memory(shoal_comm *comm, const shoal_worker *worker,
                                        shoal_rank_memory *all)
{
    shoal_worker_facts facts;
    uint64_t bytes[SHOAL_RANKS_MAX];
    const void *parts[SHOAL_RANKS_MAX];
    shoal_worker_describe(worker, &facts);
    const shoal_rank_memory mine = {facts.planned_read,     facts.measured_read,
                                    facts.planned_resident, facts.measured_resident,
                                    facts.planned_streamed, facts.pinned};
    memcpy(shoal_comm_slot(comm), &mine, sizeof mine);
    for (int r = 0; r < comm->size; r++)
        bytes[r] = sizeof mine;
    SHOAL_TRY(shoal_comm_gather(comm, bytes, parts));
    for (int r = 0; all && r < comm->size; r++)
        memcpy(&all[r], parts[r], sizeof *all);
    return SHOAL_OK;
}

static shoal_status open_in_world(const shoal_engine_request *request, int rank, int size,
                                  shoal_engine **out)
{
    if (request->emulate > 0)
        return shoal_fail(SHOAL_ERR_USAGE, "--emulate-ranks makes no sense inside an MPI launch");
    if (request->ranks_given && size > 0 && request->ranks != size)
        return shoal_fail(SHOAL_ERR_USAGE,
                          "-n %d inside an MPI launch of %d ranks; leave it out, or say %d",
                          request->ranks, size, size);
    return shoal_engine_world_open(request, rank, size, out);
}

shoal_status shoal_engine_open(const shoal_engine_request *request, shoal_engine **out)
{
    int rank, size;
    if (shoal_comm_mpi_launched(&rank, &size))
        return open_in_world(request, rank, size, out);
    if (request->emulate > 0 && request->ranks_given && request->ranks != request->emulate)
        return shoal_fail(SHOAL_ERR_USAGE, "-n %d and --emulate-ranks %d contradict each other",
                          request->ranks, request->emulate);
    if (request->emulate > 0)
        return shoal_engine_local_open(request, request->emulate, out);
    if (request->ranks == 1 && !request->supervised)
        return shoal_engine_local_open(request, 1, out);
    return shoal_engine_cluster_open(request, out);
}

shoal_status shoal_engine_step(shoal_engine *engine, const void *block, uint64_t bytes,
                               shoal_sequence_result *results, shoal_logits_sink sink,
                               void *context)
{
    if (engine->broken)
        return shoal_fail(SHOAL_ERR_INTERNAL, "a step on an engine that has failed");
    const shoal_status st = engine->ops->step(engine, block, bytes, results, sink, context);
    engine->broken = st != SHOAL_OK;
    return st;
}

shoal_status shoal_engine_idle(shoal_engine *engine, int fd, double seconds)
{
    if (engine->broken)
        return shoal_fail(SHOAL_ERR_INTERNAL, "waiting on an engine that has failed");
    const shoal_status st = engine->ops->idle(engine, fd, seconds);
    engine->broken = st != SHOAL_OK;
    return st;
}

shoal_status shoal_engine_refresh(shoal_engine *engine)
{
    if (engine->broken)
        return shoal_fail(SHOAL_ERR_INTERNAL, "timing of an engine that has failed");
    const shoal_status st = engine->ops->refresh ? engine->ops->refresh(engine) : SHOAL_OK;
    engine->broken = st != SHOAL_OK;
    return st;
}

shoal_status shoal_engine_wait(shoal_engine *engine, int fd, double seconds)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    (void)engine;
    (void)poll(&one, 1, (int)(seconds * 1000));
    return SHOAL_OK;
}

shoal_status shoal_engine_make_reports(shoal_engine *engine)
{
    shoal_status st = SHOAL_OK;
    const uint64_t ranks = (uint64_t)engine->ranks;
    void *array;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, ranks, sizeof *engine->memory, &array));
    engine->memory = array;
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_OTHER, ranks, sizeof *engine->timing, &array), fail);
    engine->timing = array;
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_OTHER, ranks, sizeof *engine->identities, &array),
                   fail);
    engine->identities = array;
    return SHOAL_OK;

fail:
    shoal_engine_free_reports(engine);
    return st;
}

void shoal_engine_free_reports(shoal_engine *engine)
{
    shoal_free(engine->memory);
    shoal_free(engine->timing);
    shoal_free(engine->identities);
    engine->memory = NULL;
    engine->timing = NULL;
    engine->identities = NULL;
}

shoal_status shoal_engine_close(shoal_engine *engine)
{
    return engine ? engine->ops->close(engine) : SHOAL_OK;
}

double shoal_engine_load_rate(const shoal_engine *engine)
{
    const double seconds = engine->facts.load_seconds;
    uint64_t bytes = 0;
    for (int r = 0; r < engine->ranks; r++)
        bytes += engine->memory[r].measured_read;
    return seconds > 0 ? (double)bytes / seconds * 1e-9 : 0;
}
