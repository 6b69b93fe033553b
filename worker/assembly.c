#include "worker/assembly.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/backend_timed.h"
#include "proto/log.h"
#include "worker/fault.h"
#include "worker/probe.h"
#include "worker/residual.h"

typedef struct {
    const shoal_worker_settings *settings;
    shoal_comm *comm;
    shoal_assembly *a;
    shoal_load_progress progress;
    void *progress_context;
    shoal_cpu_level cap;
} job;

/* --load push and --probe are phases of their own: a rank that alone has one of them would wait in
 * it, and the others in the next, for ever. */
static shoal_status start(job *j)
{
    const shoal_worker_settings *s = j->settings;
    const uint8_t mine[] = {s->push, s->probe};
    uint8_t first[sizeof mine];
    memcpy(first, mine, sizeof first);
    SHOAL_TRY(shoal_comm_broadcast(j->comm, first, sizeof first, 0));
    shoal_status st = shoal_cpu_cap(s->cpu, &j->cap);
    if (st == SHOAL_OK && memcmp(first, mine, sizeof mine) != 0)
        st = shoal_fail(SHOAL_ERR_CONFIG,
                        "--load push and --probe are for all ranks or for none: rank 0 has them "
                        "%s and %s, this rank %s and %s",
                        first[0] ? "on" : "off", first[1] ? "on" : "off", mine[0] ? "on" : "off",
                        mine[1] ? "on" : "off");
    if (st == SHOAL_OK && (s->threads < 1 || s->threads > SHOAL_THREADS_MAX))
        st = shoal_fail(SHOAL_ERR_USAGE, "--threads %d: it is 1 to %d", s->threads,
                        SHOAL_THREADS_MAX);
    return shoal_comm_agree(j->comm, st);
}

/* Where ranks and threads go. What hwloc cannot find out or do is left to the kernel. */
static shoal_status settle(const job *j)
{
    const shoal_comm *comm = j->comm;
    const int threads = j->settings->threads;
    if (comm->crowded && comm->rank == 0)
        shoal_log(SHOAL_LOG_WARN, "worker",
                  "%d ranks of %d threads share fewer cores: they yield instead of spinning",
                  comm->size, threads);
    if (comm->crowded)
        return SHOAL_OK;
    const shoal_status st = shoal_topology_read(&j->a->topology);
    if (st == SHOAL_OK)
        (void)shoal_topology_settle(&j->a->topology, comm->share, comm->shares);
    return st == SHOAL_ERR_UNAVAILABLE ? SHOAL_OK : st;
}

static shoal_status open_blueprint(const job *j, const char *folder)
{
    SHOAL_FAULT(PLAN);
    return shoal_blueprint_open(j->settings, folder, j->comm->size, &j->a->blueprint);
}

static shoal_status look(const job *j)
{
    const shoal_worker_settings *s = j->settings;
    shoal_status st = SHOAL_OK;
    const bool sees_files = !s->push || j->comm->rank == 0;
    if (sees_files)
        st = open_blueprint(j, s->model);
    SHOAL_TRY(shoal_comm_agree(j->comm, st));
    if (!s->push)
        return SHOAL_OK;
    SHOAL_TRY(shoal_push_share(j->comm, sees_files ? j->a->blueprint->checkpoint : NULL, s->model,
                               j->a->skeleton));
    if (!sees_files)
        st = open_blueprint(j, j->a->skeleton);
    return shoal_comm_agree(j->comm, st);
}

/* Rank 0's digest is the measure; who differs says so. */
static shoal_status compare(const job *j)
{
    uint8_t mine[16], first[16];
    shoal_status st = SHOAL_OK;
    shoal_blueprint_digest(j->settings, j->a->blueprint, mine);
    memcpy(first, mine, sizeof first);
    SHOAL_TRY(shoal_comm_broadcast(j->comm, first, sizeof first, 0));
    if (memcmp(first, mine, sizeof mine) != 0)
        st = shoal_fail(SHOAL_ERR_CONFIG,
                        "this rank sees another model, plan, arithmetic or size of steps than "
                        "rank 0 (%s, %s)",
                        j->settings->model, j->a->blueprint->arithmetic);
    if (st == SHOAL_OK)
        st = shoal_blueprint_check_fit(j->settings, j->a->blueprint);
    return shoal_comm_agree(j->comm, st);
}

static void tell_progress(void *context)
{
    const job *j = context;
    if (j->progress)
        j->progress(j->progress_context, shoal_checkpoint_bytes_read(j->a->blueprint->checkpoint),
                    j->a->blueprint->budget.rank[j->comm->rank].read_bytes);
}

/* A rank that asks rank 0 for its bytes does so on one thread, the communicator's. */
static shoal_status load_own(void *context)
{
    job *j = context;
    shoal_pool *pool = NULL;
    const bool asks = j->a->skeleton[0] != '\0';
    SHOAL_TRY(shoal_pool_create(asks ? 1 : j->settings->threads, j->comm->crowded, &pool));
    const shoal_status st = shoal_weights_load(&j->a->blueprint->slicing, j->comm->rank, j->cap,
                                               pool, tell_progress, j, &j->a->weights);
    shoal_pool_destroy(pool);
    return st;
}

static shoal_status load(job *j)
{
    shoal_checkpoint *checkpoint = j->a->blueprint->checkpoint;
    shoal_status st =
        j->settings->push ? shoal_push_turns(j->comm, checkpoint, load_own, j) : load_own(j);
    if (st == SHOAL_OK && j->a->skeleton[0] == '\0')
        st = shoal_checkpoint_verify_unchanged(checkpoint);
    j->a->read_bytes = shoal_checkpoint_bytes_read(checkpoint);
    return shoal_comm_agree(j->comm, st);
}

static shoal_status open_backend(const job *j)
{
    const int threads = j->settings->threads;
    void *block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)threads, sizeof(int), &block));
    int *processors = block;
    const bool placed =
        shoal_topology_place(&j->a->topology, j->comm->share, j->comm->shares, threads, processors);
    const shoal_backend_options options = {.threads = threads,
                                           .crowded = j->comm->crowded,
                                           .processors = placed ? processors : NULL,
                                           .cap = j->cap};
    const shoal_status st = shoal_backend_cpu_open(&options, &j->a->backend);
    shoal_free(processors);
    return st;
}

static shoal_status prepare_own(const job *j)
{
    shoal_assembly *a = j->a;
    const shoal_blueprint *b = a->blueprint;
    shoal_kv_shape kv;
    shoal_blueprint_kv(b, j->comm->rank, &kv);
    SHOAL_TRY(shoal_kv_create(&kv, &a->kv));
    SHOAL_TRY(shoal_scratch_create(&a->scratch_shape, &a->weights, &a->scratch));
    for (int i = 0; i < b->model->rope_count; i++) {
        void *block;
        SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)b->model->ropes[i].dim / 2,
                                    sizeof(float), &block));
        a->inv_freq[i] = block;
        shoal_rope_frequencies(&b->model->ropes[i], b->context, a->inv_freq[i]);
    }
    SHOAL_TRY(open_backend(j));
    shoal_stream_start(a->weights.stream, shoal_backend_cpu_pool(a->backend));
    if (!j->settings->profile)
        return SHOAL_OK;
    shoal_backend *inner = a->backend;
    a->backend = NULL;
    SHOAL_TRY(shoal_backend_timed_open(inner, &a->backend));
    a->profiled = true;
    return SHOAL_OK;
}

static shoal_status prepare(const job *j)
{
    const shoal_blueprint *b = j->a->blueprint;
    shoal_blueprint_scratch(j->settings, b, j->comm->rank, &j->a->scratch_shape);
    SHOAL_TRY(shoal_comm_agree(j->comm, prepare_own(j)));
    return shoal_comm_open_slots(j->comm, shoal_forward_slot_bytes(&j->a->scratch_shape, &b->plan));
}

shoal_status shoal_assembly_open(const shoal_worker_settings *settings, shoal_comm *comm,
                                 shoal_load_progress progress, void *context,
                                 shoal_assembly *assembly)
{
    shoal_status st = SHOAL_OK;
    job j = {settings, comm, assembly, progress, context, SHOAL_CPU_REF};
    *assembly = (shoal_assembly){
        .pushed = settings->push,
        .deal_rows = settings->deal_rows ? settings->deal_rows : SHOAL_DEAL_ROWS,
    };
    shoal_fp_reset(); /* tables and quantize-at-load are arithmetic too */
    SHOAL_TRY_GOTO(start(&j), close);
    SHOAL_TRY_GOTO(shoal_comm_agree(comm, settle(&j)), close);
    SHOAL_TRY_GOTO(look(&j), close);
    SHOAL_TRY_GOTO(compare(&j), close);
    SHOAL_TRY_GOTO(load(&j), close);
    SHOAL_TRY_GOTO(prepare(&j), close);
    if (settings->probe)
        SHOAL_TRY_GOTO(shoal_probe_run(assembly, comm, tell_progress, &j), close);
    /* Not before: the probe compares sums to the bit. */
    shoal_comm_round(comm, settings->reduce, (uint64_t)assembly->blueprint->model->hidden + 1);
    return SHOAL_OK;

close:
    shoal_assembly_close(assembly);
    return st;
}

void shoal_assembly_close(shoal_assembly *a)
{
    if (a->backend)
        a->backend->ops->close(a->backend);
    for (int i = 0; i < SHOAL_ROPES_MAX; i++)
        shoal_free(a->inv_freq[i]);
    shoal_topology_free(&a->topology);
    shoal_scratch_destroy(&a->scratch);
    shoal_kv_destroy(&a->kv);
    shoal_weights_destroy(&a->weights);
    shoal_blueprint_close(a->blueprint);
    shoal_push_remove(a->skeleton);
    *a = (shoal_assembly){0};
}

void shoal_assembly_forward(shoal_assembly *a, shoal_comm *comm, _Atomic uint64_t *heartbeat,
                            shoal_forward *out)
{
    *out = (shoal_forward){
        .model = a->blueprint->model,
        .plan = &a->blueprint->plan,
        .weights = &a->weights,
        .kv = &a->kv,
        .scratch = &a->scratch,
        .backend = a->backend,
        .comm = comm,
        .logit_rows = a->scratch_shape.logit_rows,
        .deal_rows = a->deal_rows,
        .heartbeat = heartbeat,
    };
    out->dealt_row_bytes = shoal_residual_row_bytes(out);
    for (int i = 0; i < SHOAL_ROPES_MAX; i++)
        out->inv_freq[i] = a->inv_freq[i];
}

uint64_t shoal_assembly_resident(const shoal_assembly *a, const shoal_comm *comm)
{
    return shoal_weights_bytes(&a->weights) + shoal_arena_bytes(a->kv.arena) +
           shoal_arena_bytes(a->scratch.arena) + comm->bytes_held;
}
