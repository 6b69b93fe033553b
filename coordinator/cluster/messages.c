/* What ranks say, one handler per kind of message. Declared in cluster.h. */
#include <stdio.h>
#include <string.h>

#include "coordinator/clock.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/cluster/stats.h"
#include "proto/log.h"

static void tell_progress(shoal_cluster *c)
{
    uint64_t done = 0, total = 0;
    for (int r = 0; r < c->base.ranks; r++) {
        if (c->ranks[r].total == 0)
            return; /* a bar that jumps back helps nobody */
        done += c->ranks[r].done;
        total += c->ranks[r].total;
    }
    if (c->request.progress)
        c->request.progress(c->request.progress_context, done, total);
}

static shoal_status take_progress(shoal_cluster *c, int rank, const shoal_wire_message *m)
{
    c->progressed = shoal_clock_seconds();
    c->ranks[rank].done = m->load_progress.done;
    c->ranks[rank].total = m->load_progress.total;
    tell_progress(c);
    return SHOAL_OK;
}

static void copy_kernels(shoal_engine *e, const shoal_wire_ready *r)
{
    e->kernel_count = 0;
    for (size_t i = 0; i < r->kernel_count && i < SHOAL_ENGINE_KERNELS_MAX; i++) {
        shoal_engine_kernel *k = &e->kernels[e->kernel_count++];
        (void)snprintf(k->role, sizeof k->role, "%s", r->kernels[i].role);
        (void)snprintf(k->layout, sizeof k->layout, "%s", r->kernels[i].layout);
        (void)snprintf(k->decode, sizeof k->decode, "%s", r->kernels[i].decode);
        (void)snprintf(k->prefill, sizeof k->prefill, "%s", r->kernels[i].prefill);
    }
}

static void describe(shoal_engine *e, const shoal_wire_ready *r)
{
    (void)snprintf(e->arithmetic, sizeof e->arithmetic, "%s", r->arithmetic);
    e->facts = (shoal_worker_facts){
        .vocab = r->vocab,
        .context = r->context,
        .pages = r->pages,
        .rows_max = r->rows_max,
        .sequences_max = r->sequences_max,
        .planned_read = r->planned_read,
        .measured_read = r->measured_read,
        .planned_resident = r->planned_resident,
        .measured_resident = r->measured_resident,
        .planned_streamed = r->planned_streamed,
        .pinned = r->pinned,
        .load_seconds = r->load_seconds,
        .arithmetic = e->arithmetic,
    };
    e->limits = (shoal_step_limits){
        .vocab = r->vocab,
        .context = r->context,
        .pages = r->pages,
        .rows_max = r->rows_max,
        .sequences_max = r->sequences_max,
    };
    copy_kernels(e, r);
}

static shoal_status take_ready(shoal_cluster *c, int rank, const shoal_wire_message *m)
{
    const shoal_wire_ready *r = &m->ready;
    SHOAL_TRY(shoal_roster_ready(&c->roster, rank, r));
    c->progressed = shoal_clock_seconds();
    c->base.memory[rank] =
        (shoal_rank_memory){r->planned_read,      r->measured_read,    r->planned_resident,
                            r->measured_resident, r->planned_streamed, r->pinned};
    if (rank == 0)
        describe(&c->base, r);
    return SHOAL_OK;
}

static shoal_status take_heartbeat(shoal_cluster *c, int rank, const shoal_wire_message *m)
{
    if (m->heartbeat.counter != c->ranks[rank].counter)
        c->progressed = shoal_clock_seconds();
    c->ranks[rank].counter = m->heartbeat.counter;
    c->ranks[rank].exchanges = m->heartbeat.exchanges;
    return SHOAL_OK;
}

/* ---- results of a step ----------------------------------------------------------------------- */

static shoal_status take_rows(shoal_cluster *c, const shoal_wire_step_result *r)
{
    shoal_cluster_step *s = &c->step;
    if (r->width != c->base.limits.vocab || r->sequence < 0 || r->sequence >= s->sequences ||
        !s->sink)
        return shoal_fail(SHOAL_ERR_DATA, "rank 0 sent logits that nobody asked for");
    for (int32_t i = 0; i < r->row_count && s->sink_status == SHOAL_OK; i++) {
        const uint8_t *row = r->logits.data + (uint64_t)i * (uint64_t)r->width * sizeof(float);
        s->sink_status = s->sink(s->context, r->sequence, r->first_row + i,
                                 (const float *)(const void *)row, r->width);
        if (s->sink_status != SHOAL_OK)
            (void)snprintf(s->sink_text, sizeof s->sink_text, "%s", shoal_error_text());
    }
    return SHOAL_OK;
}

static void copy_result(const shoal_wire_result *from, shoal_sequence_result *to)
{
    *to = (shoal_sequence_result){
        .id = from->id,
        .token = from->token,
        .logprob = from->logprob,
        .top_count = from->top_count < SHOAL_LOGPROBS_MAX ? from->top_count : SHOAL_LOGPROBS_MAX,
        .failed_layer = from->failed_layer,
        .failed_row = from->failed_row,
        .nll = from->nll,
    };
    memcpy(to->top_ids, from->top_ids, (size_t)to->top_count * sizeof *to->top_ids);
    memcpy(to->top_logprobs, from->top_logprobs, (size_t)to->top_count * sizeof *to->top_logprobs);
}

static shoal_status take_result(shoal_cluster *c, int rank, const shoal_wire_message *m)
{
    const shoal_wire_step_result *r = &m->step_result;
    shoal_cluster_step *s = &c->step;
    c->progressed = shoal_clock_seconds();
    if (rank != 0 || c->phase != SHOAL_CLUSTER_STEP || s->done || r->number != s->number)
        return shoal_fail(SHOAL_ERR_DATA, "rank %d sent a result that nobody waits for", rank);
    if (!r->last)
        return take_rows(c, r);
    if (r->result_count != (size_t)s->sequences)
        return shoal_fail(SHOAL_ERR_DATA, "rank 0 sent %zu results for %d sequences",
                          r->result_count, s->sequences);
    for (int i = 0; i < s->sequences; i++) {
        if (r->results[i].token >= c->base.limits.vocab)
            return shoal_fail(SHOAL_ERR_DATA,
                              "rank 0 chose the token %d; the vocabulary ends at %lld",
                              r->results[i].token, (long long)c->base.limits.vocab - 1);
        copy_result(&r->results[i], &s->results[i]);
    }
    s->done = true;
    return SHOAL_OK;
}

/* ---- endings --------------------------------------------------------------------------------- */

/* The rank knows better than we what went wrong: its code, its sentence. */
static shoal_status take_error(shoal_cluster *c, int rank, const shoal_wire_message *m)
{
    (void)c;
    shoal_log(SHOAL_LOG_DEBUG, "error", "from rank %d: %s", rank, m->error.sentence);
    return shoal_fail(m->error.status, "%s", m->error.sentence);
}

static shoal_status take_bye(shoal_cluster *c, int rank, const shoal_wire_message *m)
{
    if (c->phase != SHOAL_CLUSTER_CLOSE)
        return shoal_fail(SHOAL_ERR_DATA, "rank %d said Bye before its time", rank);
    c->ranks[rank].said_bye = true;
    if (m->bye.status != SHOAL_OK)
        return shoal_fail(m->bye.status, "rank %d ended with code %d", rank, (int)m->bye.status);
    return SHOAL_OK;
}

static shoal_status take_stats(shoal_cluster *c, int rank, const shoal_wire_message *m)
{
    shoal_stats_read(&m->stats, &c->base.timing[rank]);
    return SHOAL_OK;
}

shoal_status shoal_cluster_take(shoal_cluster *c, int rank, const shoal_wire_message *m)
{
    static shoal_status (*const handlers[SHOAL_WIRE_TYPE_END])(shoal_cluster *, int,
                                                               const shoal_wire_message *) = {
        [SHOAL_WIRE_LOAD_PROGRESS] = take_progress,
        [SHOAL_WIRE_READY] = take_ready,
        [SHOAL_WIRE_STEP_RESULT] = take_result,
        [SHOAL_WIRE_HEARTBEAT] = take_heartbeat,
        [SHOAL_WIRE_STATS] = take_stats,
        [SHOAL_WIRE_ERROR] = take_error,
        [SHOAL_WIRE_BYE] = take_bye,
    };
    c->ranks[rank].heard = shoal_clock_seconds();
    if (!handlers[m->type])
        return shoal_fail(SHOAL_ERR_DATA, "rank %d sent %s, which is not for the coordinator", rank,
                          shoal_wire_name(m->type));
    return handlers[m->type](c, rank, m);
}
