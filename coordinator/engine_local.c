#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "coordinator/cluster/interrupt.h"
#include "coordinator/engine.h"
#include "proto/log.h"

typedef struct local_engine local_engine;

/* One thread per rank above 0. */
typedef struct {
    local_engine *engine;
    shoal_comm *comm;
    shoal_worker *worker;
    pthread_t thread;
    bool started;
    _Atomic uint64_t done, total; /* bytes of the load */
} local_rank;

struct local_engine {
    shoal_engine base;
    shoal_worker_settings settings;
    shoal_load_progress progress;
    void *progress_context;
    int stop_fd;        /* of the request */
    local_rank *ranks;  /* [ranks] */
    shoal_comm **comms; /* [ranks] */
};

/* Every rank notes its own bytes; rank 0 also tells the sum. */
static void note_progress(void *context, uint64_t done, uint64_t total)
{
    local_rank *self = context;
    local_engine *e = self->engine;
    atomic_store(&self->done, done);
    atomic_store(&self->total, total);
    if (self->comm->rank != 0 || !e->progress)
        return;
    uint64_t done_sum = 0, total_sum = 0;
    for (int r = 0; r < e->base.ranks; r++) {
        done_sum += atomic_load(&e->ranks[r].done);
        total_sum += atomic_load(&e->ranks[r].total);
    }
    e->progress(e->progress_context, done_sum, total_sum);
}

/* A rank that cannot go on leaves the others waiting for it forever: the process ends instead. */
static void *rank_main(void *context)
{
    local_rank *self = context;
    shoal_status st =
        shoal_worker_open(&self->engine->settings, self->comm, note_progress, self, &self->worker);
    if (st == SHOAL_OK) {
        st = shoal_engine_gather_memory(self->comm, self->worker, NULL);
        if (st == SHOAL_OK)
            st = shoal_worker_follow(self->worker);
        if (st != SHOAL_OK) {
            shoal_log(SHOAL_LOG_ERROR, "rank", "rank %d: %s", self->comm->rank, shoal_error_text());
            _exit((int)st);
        }
        shoal_worker_close(self->worker);
    }
    shoal_comm_close(self->comm);
    return NULL;
}

/* A rank that was never started cannot be waited for, so none may be missing. */
static void start_ranks(local_engine *e)
{
    for (int r = 1; r < e->base.ranks; r++) {
        if (pthread_create(&e->ranks[r].thread, NULL, rank_main, &e->ranks[r]) != 0) {
            shoal_log(SHOAL_LOG_ERROR, "rank", "no thread for rank %d", r);
            _exit(SHOAL_ERR_TEMPORARY);
        }
        e->ranks[r].started = true;
    }
}

static void join_ranks(local_engine *e)
{
    for (int r = 1; r < e->base.ranks; r++)
        if (e->ranks[r].started)
            (void)pthread_join(e->ranks[r].thread, NULL);
}

static void release(local_engine *e)
{
    shoal_engine_free_reports(&e->base);
    shoal_free(e->ranks);
    shoal_free(e->comms);
    shoal_free(e);
}

static shoal_status local_step(shoal_engine *engine, const void *block, uint64_t bytes,
                               shoal_sequence_result *results, shoal_logits_sink sink,
                               void *context)
{
    local_engine *e = (local_engine *)engine;
    SHOAL_TRY(shoal_interrupt_asked(e->stop_fd));
    SHOAL_TRY(shoal_worker_step(e->ranks[0].worker, block, bytes, results, sink, context));
    for (int r = 0; r < engine->ranks; r++)
        shoal_worker_timing_get(e->ranks[r].worker, &engine->timing[r]);
    return SHOAL_OK;
}

static shoal_status local_idle(shoal_engine *engine, int fd, double seconds)
{
    const local_engine *e = (const local_engine *)engine;
    struct pollfd either[] = {{fd, POLLIN, 0}, {e->stop_fd > 0 ? e->stop_fd : -1, POLLIN, 0}};
    (void)poll(either, 2, (int)(seconds * 1000));
    return shoal_interrupt_asked(e->stop_fd);
}

/* What cannot be closed in order any more stays where it is until the process ends. */
static local_engine *volatile abandoned;

/* After a failed step the others may wait inside an exchange for good; they end with the process.
 */
static shoal_status local_close(shoal_engine *engine)
{
    local_engine *e = (local_engine *)engine;
    if (engine->broken && engine->ranks > 1) {
        abandoned = e;
        return SHOAL_OK;
    }
    shoal_status st = SHOAL_OK;
    if (engine->ranks > 1)
        st = shoal_worker_bye(e->ranks[0].worker);
    if (st != SHOAL_OK)
        return st;
    join_ranks(e);
    shoal_worker_close(e->ranks[0].worker);
    shoal_comm_close(e->comms[0]);
    release(e);
    return SHOAL_OK;
}

static const shoal_engine_ops local_ops = {"local", local_step, local_idle, local_close, NULL};

static shoal_status allocate(int ranks, local_engine **out)
{
    shoal_status st = SHOAL_OK;
    void *block, *array;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(local_engine), &block));
    local_engine *e = block;
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)ranks, sizeof *e->ranks, &array),
                   fail);
    e->ranks = array;
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)ranks, sizeof *e->comms, &array),
                   fail);
    e->comms = array;
    e->base.ops = &local_ops;
    e->base.ranks = ranks;
    SHOAL_TRY_GOTO(shoal_engine_make_reports(&e->base), fail);
    *out = e;
    return SHOAL_OK;

fail:
    release(e);
    return st;
}

shoal_status shoal_engine_local_open(const shoal_engine_request *request, int ranks,
                                     shoal_engine **out)
{
    shoal_status st = SHOAL_OK;
    local_engine *e;
    int stop;
    SHOAL_TRY(shoal_interrupt_source(request->stop_fd, &stop));
    SHOAL_TRY(allocate(ranks, &e));
    e->stop_fd = request->stop_fd;
    e->settings = request->settings;
    if (e->settings.threads == 0)
        e->settings.threads = shoal_default_threads(ranks);
    e->progress = request->progress;
    e->progress_context = request->progress_context;
    SHOAL_TRY_GOTO(shoal_comm_local_create(ranks, e->settings.threads, e->comms), free_engine);
    for (int r = 0; r < ranks; r++) {
        e->ranks[r].engine = e;
        e->ranks[r].comm = e->comms[r];
    }
    start_ranks(e);
    local_rank *first = &e->ranks[0];
    SHOAL_TRY_GOTO(
        shoal_worker_open(&e->settings, e->comms[0], note_progress, first, &first->worker), join);
    shoal_engine_describe(&e->base, first->worker);
    e->base.first = first->worker;
    SHOAL_TRY(shoal_engine_gather_memory(e->comms[0], first->worker, e->base.memory));
    for (int r = 0; r < ranks; r++)
        shoal_engine_identify(&e->base.identities[r]);
    *out = &e->base;
    return SHOAL_OK;

join:
    join_ranks(e);
    shoal_comm_close(e->comms[0]);
free_engine:
    release(e);
    return st;
}
