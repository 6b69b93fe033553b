#include "worker/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "kernels/linear_row.h"
#include "worker/answer.h"
#include "worker/assembly.h"
#include "worker/comm_exchange.h"
#include "worker/fault.h"

/* A block larger than this is no step. */
#define STEP_BYTES_MAX (64u << 20)

struct shoal_worker {
    shoal_comm *comm; /* borrowed */
    shoal_assembly parts;
    shoal_forward forward;
    shoal_sampler *sampler; /* rank 0 */
    shoal_step_limits limits;
    shoal_worker_facts facts;
    void *block; /* followers: the received step */
    uint64_t block_bytes;
    _Atomic uint64_t heartbeat;
    pthread_mutex_t timing_lock;
    shoal_worker_timing timing;
};

void shoal_worker_defaults(shoal_worker_settings *settings)
{
    *settings = (shoal_worker_settings){
        .activations = SHOAL_ACTIVATIONS_AUTO,
        .kv = -1,
        .threads = 1,
        .prefill_chunk = 256,
        .max_sequences = 8,
    };
}

static void state_facts(shoal_worker *w, double load_seconds)
{
    const shoal_assembly *p = &w->parts;
    const shoal_blueprint *b = p->blueprint;
    const shoal_rank_budget *planned = &b->budget.rank[w->comm->rank];
    w->limits = (shoal_step_limits){
        .vocab = b->model->vocab,
        .context = b->context,
        .pages = b->kv_tokens / SHOAL_PAGE,
        .rows_max = p->scratch_shape.rows_max,
        .sequences_max = p->scratch_shape.sequences_max,
    };
    w->facts = (shoal_worker_facts){
        .vocab = w->limits.vocab,
        .context = w->limits.context,
        .pages = w->limits.pages,
        .rows_max = w->limits.rows_max,
        .sequences_max = w->limits.sequences_max,
        .planned_read = planned->read_bytes,
        .measured_read = p->read_bytes,
        .planned_resident = planned->resident_bytes,
        .measured_resident = shoal_assembly_resident(p, w->comm),
        .planned_streamed = planned->streamed_bytes,
        .pinned = p->weights.pinned,
        .load_seconds = load_seconds,
        .arithmetic = b->arithmetic,
    };
}

shoal_status shoal_worker_open(const shoal_worker_settings *settings, shoal_comm *comm,
                               shoal_load_progress progress, void *context, shoal_worker **out)
{
    void *block = NULL;
    const double begin = shoal_seconds_now();
    shoal_status st = shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_worker), &block);
    shoal_worker *w = block;
    SHOAL_TRY_GOTO(shoal_comm_agree(comm, st), free_worker);
    w->comm = comm;
    (void)pthread_mutex_init(&w->timing_lock, NULL);
    SHOAL_TRY_GOTO(shoal_assembly_open(settings, comm, progress, context, &w->parts), free_worker);
    shoal_assembly_forward(&w->parts, comm, &w->heartbeat, &w->forward);
    if (comm->rank == 0)
        st = shoal_sampler_create(w->parts.blueprint->model->vocab, &w->sampler);
    SHOAL_TRY_GOTO(shoal_comm_agree(comm, st), close_parts);
    state_facts(w, shoal_seconds_now() - begin);
    *out = w;
    return SHOAL_OK;

close_parts:
    shoal_sampler_destroy(w->sampler);
    shoal_assembly_close(&w->parts);
free_worker:
    shoal_free(w);
    return st;
}

void shoal_worker_close(shoal_worker *worker)
{
    if (!worker)
        return;
    shoal_sampler_destroy(worker->sampler);
    shoal_assembly_close(&worker->parts);
    (void)pthread_mutex_destroy(&worker->timing_lock);
    shoal_free(worker->block);
    shoal_free(worker);
}

void shoal_worker_describe(const shoal_worker *worker, shoal_worker_facts *out)
{
    *out = worker->facts;
}

void shoal_worker_limits(const shoal_worker *worker, shoal_step_limits *out)
{
    *out = worker->limits;
}

uint64_t shoal_worker_heartbeat(const shoal_worker *worker)
{
    return atomic_load_explicit(&worker->heartbeat, memory_order_relaxed);
}

void shoal_worker_rows(const shoal_worker *worker,
                       void (*say)(void *context, const char *role, const char *layout,
                                   const char *decode, const char *prefill),
                       void *context)
{
    const shoal_weights *weights = &worker->parts.weights;
    const shoal_layer_weights *first = &weights->layers[0];
    for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++) {
        const shoal_linear *linear = first->experts && role >= SHOAL_ROLE_GATE
                                         ? &first->experts[0].linear[role - SHOAL_ROLE_GATE]
                                         : &first->linear[role];
        say(context, shoal_role_name(role), shoal_linear_layout(&linear->spec),
            linear->decode->name, linear->prefill->name);
    }
    const shoal_linear *head = &weights->lm_head;
    say(context, shoal_role_name(SHOAL_ROLE_LM_HEAD), shoal_linear_layout(&head->spec),
        head->decode->name, head->prefill->name);
}

uint64_t shoal_worker_exchanges(const shoal_worker *worker)
{
    return atomic_load_explicit(&worker->comm->sequence, memory_order_relaxed);
}

/* ---- timing ---------------------------------------------------------------------------------- */

void shoal_worker_timing_get(shoal_worker *worker, shoal_worker_timing *out)
{
    (void)pthread_mutex_lock(&worker->timing_lock);
    *out = worker->timing;
    (void)pthread_mutex_unlock(&worker->timing_lock);
}

/* Every rank shows its timing; `all` may be NULL. */
static shoal_status gather_timing(shoal_worker *w, shoal_worker_timing *all)
{
    shoal_worker_timing mine;
    uint64_t bytes[SHOAL_RANKS_MAX];
    const void *parts[SHOAL_RANKS_MAX];
    shoal_worker_timing_get(w, &mine);
    memcpy(shoal_comm_slot(w->comm), &mine, sizeof mine);
    for (int r = 0; r < w->comm->size; r++)
        bytes[r] = sizeof mine;
    SHOAL_TRY(shoal_comm_gather(w->comm, bytes, parts));
    for (int r = 0; all && r < w->comm->size; r++)
        memcpy(&all[r], parts[r], sizeof *all);
    return SHOAL_OK;
}

shoal_status shoal_worker_timing_all(shoal_worker *worker, shoal_worker_timing *all)
{
    shoal_step head = {.magic = SHOAL_STEP_MAGIC, .bytes = sizeof head, .kind = SHOAL_STEP_TIMING};
    SHOAL_TRY(shoal_comm_broadcast(worker->comm, &head, sizeof head, 0));
    return gather_timing(worker, all);
}

const shoal_timed_line *shoal_worker_profile(const shoal_worker *worker, int *count)
{
    *count = 0;
    return worker->parts.profiled ? shoal_backend_timed_lines(worker->parts.backend, count) : NULL;
}

void shoal_worker_profile_reset(shoal_worker *worker)
{
    if (worker->parts.profiled)
        shoal_backend_timed_reset(worker->parts.backend);
}

/* Clocks and counters when a step begins. */
typedef struct {
    uint64_t exchanges, streamed;
    double now, exchanged, waited;
} mark;

static mark begin_step(const shoal_worker *w)
{
    return (mark){w->comm->sequence, shoal_stream_bytes(w->parts.weights.stream),
                  shoal_seconds_now(), w->comm->exchanged, w->comm->waited};
}

static void end_step(shoal_worker *w, const mark *begin)
{
    const mark end = begin_step(w);
    (void)pthread_mutex_lock(&w->timing_lock);
    w->timing.steps++;
    w->timing.exchanges += end.exchanges - begin->exchanges;
    w->timing.step_seconds += end.now - begin->now;
    w->timing.exchange_seconds += end.exchanged - begin->exchanged;
    w->timing.waited_seconds += end.waited - begin->waited;
    w->timing.streamed_bytes += end.streamed - begin->streamed;
    (void)pthread_mutex_unlock(&w->timing_lock);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static shoal_status compute(shoal_worker *w, const shoal_step_view *view, shoal_row_sink sink,
                            void *context)
{
    shoal_fp_reset();
    SHOAL_FAULT_IN_STEP(shoal_step_is_prefill(view->step), view->tokens, view->step->token_count);
    atomic_fetch_add_explicit(&w->heartbeat, 1, memory_order_relaxed);
    return shoal_forward_step(&w->forward, view, sink, context);
}

shoal_status shoal_worker_step(shoal_worker *worker, const void *block, uint64_t bytes,
                               shoal_sequence_result *results, shoal_logits_sink sink,
                               void *context)
{
    shoal_step_view view;
    SHOAL_TRY(shoal_step_open(block, bytes, &worker->limits, &view));
    if (view.step->kind != SHOAL_STEP_FORWARD || bytes > STEP_BYTES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a step of kind %d and %llu bytes (at most %u)",
                          view.step->kind, (unsigned long long)bytes, STEP_BYTES_MAX);
    shoal_step head = *view.step;
    const mark begin = begin_step(worker);
    SHOAL_TRY(shoal_comm_broadcast(worker->comm, &head, sizeof head, 0));
    if (worker->comm->size > 1)
        SHOAL_TRY(shoal_comm_broadcast(worker->comm, (void *)(uintptr_t)block, bytes, 0));

    shoal_answer answer = {
        .sampler = worker->sampler,
        .view = &view,
        .scratch = worker->forward.scratch,
        .results = results,
        .sink = sink,
        .sink_context = context,
        .vocab = worker->limits.vocab,
        .layer_count = (int32_t)worker->parts.weights.layer_count,
    };
    shoal_answer_begin(&answer);
    const shoal_status st = compute(worker, &view, shoal_answer_row, &answer);
    worker->comm->broken |= st != SHOAL_OK; /* as in shoal_worker_follow */
    SHOAL_TRY(st);
    end_step(worker, &begin);
    return shoal_answer_end(&answer);
}

static shoal_status receive_head(shoal_worker *w, shoal_step *head)
{
    SHOAL_TRY(shoal_comm_broadcast(w->comm, head, sizeof *head, 0));
    if (head->magic != SHOAL_STEP_MAGIC || head->bytes > STEP_BYTES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "rank 0 sent a step of %llu bytes, magic %08x",
                          (unsigned long long)head->bytes, head->magic);
    return SHOAL_OK;
}

static shoal_status receive_block(shoal_worker *w, const shoal_step *head)
{
    if (head->bytes > w->block_bytes) {
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_WIRE, head->bytes, 1, &w->block));
        w->block_bytes = head->bytes;
    }
    return shoal_comm_broadcast(w->comm, w->block, head->bytes, 0);
}

static shoal_status follow_step(shoal_worker *w, bool *bye)
{
    shoal_step head;
    shoal_step_view view;
    SHOAL_FAULT(IDLE);
    SHOAL_TRY(receive_head(w, &head));
    const mark begin = begin_step(w);
    *bye = head.kind == SHOAL_STEP_BYE;
    if (*bye)
        return SHOAL_OK;
    if (head.kind == SHOAL_STEP_TIMING)
        return gather_timing(w, NULL);
    SHOAL_TRY(receive_block(w, &head));
    SHOAL_TRY(shoal_step_open(w->block, head.bytes, &w->limits, &view));
    SHOAL_TRY(compute(w, &view, NULL, NULL));
    end_step(w, &begin);
    return SHOAL_OK;
}

shoal_status shoal_worker_follow(shoal_worker *worker)
{
    shoal_status st = SHOAL_OK;
    for (bool bye = false; !bye && st == SHOAL_OK;)
        st = follow_step(worker, &bye);
    worker->comm->broken |= st != SHOAL_OK; /* the others may be waiting for this rank */
    return st;
}

shoal_status shoal_worker_bye(shoal_worker *worker)
{
    shoal_step head = {.magic = SHOAL_STEP_MAGIC, .bytes = sizeof head, .kind = SHOAL_STEP_BYE};
    return shoal_comm_broadcast(worker->comm, &head, sizeof head, 0);
}
