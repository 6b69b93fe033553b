#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/engine.h"
#include "proto/log.h"

typedef struct {
    shoal_engine base;
    shoal_worker *worker;
    shoal_comm *comm;
    char model[PATH_MAX]; /* where rank 0 says it is, for ranks that were not told */
} world_engine;

static shoal_status world_step(shoal_engine *engine, const void *block, uint64_t bytes,
                               shoal_sequence_result *results, shoal_logits_sink sink,
                               void *context)
{
    world_engine *e = (world_engine *)engine;
    SHOAL_TRY(shoal_worker_step(e->worker, block, bytes, results, sink, context));
    shoal_worker_timing_get(e->worker, &e->base.timing[0]);
    return SHOAL_OK;
}

static shoal_status world_refresh(shoal_engine *engine)
{
    return shoal_worker_timing_all(((world_engine *)engine)->worker, engine->timing);
}

/* What cannot be closed in order any more stays where it is until the process ends. */
static world_engine *volatile abandoned;

/* After a failed step nothing collective is safe; this process ends with a code that is not 0,
 * and the launcher ends the others. */
static shoal_status world_close(shoal_engine *engine)
{
    world_engine *e = (world_engine *)engine;
    if (engine->broken) {
        abandoned = e;
        return SHOAL_OK;
    }
    SHOAL_TRY(shoal_worker_bye(e->worker));
    shoal_worker_close(e->worker);
    shoal_comm_close(e->comm);
    shoal_engine_free_reports(&e->base);
    shoal_free(e);
    return SHOAL_OK;
}

static const shoal_engine_ops world_ops = {"world", world_step, shoal_engine_wait, world_close,
                                           world_refresh};

static void follow_and_exit(world_engine *e)
{
    const shoal_status st = shoal_worker_follow(e->worker);
    if (st != SHOAL_OK) {
        shoal_log(SHOAL_LOG_ERROR, "follow", "%s", shoal_error_text());
        exit((int)st);
    }
    shoal_worker_close(e->worker);
    shoal_comm_close(e->comm);
    shoal_engine_free_reports(&e->base);
    shoal_free(e);
    exit(0);
}

/* Rank 0 decides the sizes of the run; only it has seen the input. */
typedef struct {
    int64_t prefill_chunk, max_sequences, context, kv_tokens;
    char model[PATH_MAX];
} shared_settings;

static shoal_status share_settings(world_engine *e, shoal_worker_settings *s)
{
    shared_settings shared = {s->prefill_chunk, s->max_sequences, s->context, s->kv_tokens, ""};
    if (s->model)
        (void)snprintf(shared.model, sizeof shared.model, "%s", s->model);
    SHOAL_TRY(shoal_comm_broadcast(e->comm, &shared, sizeof shared, 0));
    s->prefill_chunk = shared.prefill_chunk;
    s->max_sequences = shared.max_sequences;
    s->context = shared.context;
    s->kv_tokens = shared.kv_tokens;
    if (!s->model) {
        memcpy(e->model, shared.model, sizeof e->model);
        s->model = e->model;
    }
    return SHOAL_OK;
}

static shoal_status open_worker(const shoal_engine_request *request, int threads, world_engine *e)
{
    shoal_worker_settings settings = request->settings;
    settings.threads = threads;
    const bool first = e->comm->rank == 0;
    if (request->ranks_given && request->ranks != e->comm->size)
        return shoal_fail(SHOAL_ERR_USAGE, "-n %d inside an MPI launch of %d ranks", request->ranks,
                          e->comm->size);
    e->base.ranks = e->comm->size;
    SHOAL_TRY(shoal_engine_make_reports(&e->base));
    SHOAL_TRY(share_settings(e, &settings));
    SHOAL_TRY(shoal_worker_open(&settings, e->comm, first ? request->progress : NULL,
                                request->progress_context, &e->worker));
    return shoal_engine_gather_memory(e->comm, e->worker, e->base.memory);
}

shoal_status shoal_engine_world_open(const shoal_engine_request *request, int rank, int size,
                                     shoal_engine **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    int threads = request->settings.threads;
    shoal_log_speaker("rank", rank);
    shoal_die_with_parent();
    if (threads == 0)
        threads = shoal_default_threads(shoal_ranks_on_node(size));
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(world_engine), &block));
    world_engine *e = block;
    e->base.ops = &world_ops;
    SHOAL_TRY_GOTO(shoal_comm_mpi_open(threads, request->force_network, &e->comm), free_engine);
    SHOAL_TRY_GOTO(open_worker(request, threads, e), close_comm);
    if (e->comm->rank > 0)
        follow_and_exit(e);
    shoal_engine_describe(&e->base, e->worker);
    e->base.first = e->worker;
    shoal_engine_identify(&e->base.identities[0]);
    *out = &e->base;
    return SHOAL_OK;

close_comm:
    shoal_comm_close(e->comm);
free_engine:
    shoal_engine_free_reports(&e->base);
    shoal_free(e);
    return st;
}
