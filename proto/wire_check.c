#include "proto/wire_check.h"

#include <math.h>

#include "proto/bytes.h"

static shoal_status bad(const shoal_wire_message *m, const char *field)
{
    return shoal_fail(SHOAL_ERR_DATA, "message %s: %s is out of range", shoal_wire_name(m->type),
                      field);
}

static bool within(int64_t value, int64_t low, int64_t high)
{
    return value >= low && value <= high;
}

/* A digest, or none. */
static bool is_hash(shoal_wire_bytes b)
{
    return b.bytes == 0 || b.bytes == SHOAL_XXH128_BYTES || b.bytes == SHOAL_SHA256_BYTES;
}

static bool is_status(int64_t code)
{
    switch (code) {
    case SHOAL_OK:
    case SHOAL_ERR_NOFIT:
    case SHOAL_ERR_USAGE:
    case SHOAL_ERR_DATA:
    case SHOAL_ERR_NOTFOUND:
    case SHOAL_ERR_UNAVAILABLE:
    case SHOAL_ERR_INTERNAL:
    case SHOAL_ERR_CREATE:
    case SHOAL_ERR_IO:
    case SHOAL_ERR_TEMPORARY:
    case SHOAL_ERR_CONFIG: return true;
    default: return false;
    }
}

static shoal_status check_hello(const shoal_wire_message *m)
{
    const shoal_wire_hello *h = &m->hello;
    if (!within(h->size, 1, SHOAL_WIRE_RANKS_MAX) || !within(h->rank, 0, h->size - 1))
        return bad(m, "rank or size");
    if (!within(h->slot, 0, h->size - 1))
        return bad(m, "slot");
    if (h->proof.bytes != SHOAL_SHA256_BYTES)
        return bad(m, "the length of proof");
    if (!is_hash(h->plan_hash) || !is_hash(h->manifest_hash))
        return bad(m, "the length of a hash");
    return h->byte_order.bytes == 4 ? SHOAL_OK : bad(m, "the length of byte_order");
}

static shoal_status check_load(const shoal_wire_message *m)
{
    const shoal_wire_load *l = &m->load;
    if (!l->model || !*l->model)
        return bad(m, "model");
    if (!within(l->activations, 0, 7) || !within(l->kv, -1, 7))
        return bad(m, "activations or kv");
    if (!within(l->reduce, 0, 7))
        return bad(m, "reduce");
    if (!within(l->ranks, 1, SHOAL_WIRE_RANKS_MAX) || !within(l->threads, 0, 4096))
        return bad(m, "ranks or threads");
    if (l->prefill_chunk < 0 || l->max_sequences < 0 || l->context < 0 || l->kv_tokens < 0)
        return bad(m, "a size");
    if (l->capacity_count != 0 && l->capacity_count != (size_t)l->ranks)
        return bad(m, "the number of capacities");
    for (size_t i = 0; i < l->capacity_count; i++)
        if (!isfinite(l->capacity[i]) || l->capacity[i] <= 0)
            return bad(m, "a capacity");
    return SHOAL_OK;
}

static shoal_status check_plan(const shoal_wire_message *m)
{
    const shoal_wire_plan *p = &m->plan;
    if (!within(p->ranks, 1, SHOAL_WIRE_RANKS_MAX))
        return bad(m, "ranks");
    if (p->digest.bytes != SHOAL_XXH128_BYTES)
        return bad(m, "the length of digest");
    const int64_t *const lists[] = {p->q_heads, p->kv_heads, p->units, p->vocab_panels};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (int32_t r = 0; r < p->ranks; r++)
            if (lists[i][2 * r] < 0 || lists[i][2 * r] > lists[i][2 * r + 1])
                return bad(m, "a range");
    return SHOAL_OK;
}

static shoal_status check_ready(const shoal_wire_message *m)
{
    const shoal_wire_ready *r = &m->ready;
    if (r->vocab < 0 || r->context < 0 || r->pages < 0 || r->rows_max < 0 || r->sequences_max < 0)
        return bad(m, "a limit");
    if (!isfinite(r->load_seconds) || r->load_seconds < 0)
        return bad(m, "load_seconds");
    if (!is_hash(r->plan_hash) || !is_hash(r->manifest_hash))
        return bad(m, "the length of a hash");
    return r->kernel_count <= SHOAL_WIRE_KERNELS_MAX ? SHOAL_OK : bad(m, "the number of kernels");
}

/* Rows of logits. */
static shoal_status check_rows(const shoal_wire_message *m)
{
    const shoal_wire_step_result *r = &m->step_result;
    uint64_t bytes;
    if (r->result_count != 0)
        return bad(m, "the number of results");
    if (!within(r->sequence, 0, SHOAL_WIRE_SEQUENCES_MAX - 1) || r->first_row < 0 ||
        r->row_count < 1 || r->width < 1)
        return bad(m, "a row");
    if (!shoal_mul_u64((uint64_t)r->row_count, (uint64_t)r->width, &bytes) ||
        !shoal_mul_u64(bytes, sizeof(float), &bytes) || bytes != r->logits.bytes)
        return bad(m, "the length of logits");
    return SHOAL_OK;
}

static shoal_status check_step_result(const shoal_wire_message *m)
{
    const shoal_wire_step_result *r = &m->step_result;
    if (!r->last)
        return check_rows(m);
    if (r->logits.bytes != 0 || r->row_count != 0 || r->first_row != 0 || r->sequence != 0 ||
        r->width != 0)
        return bad(m, "a row");
    if (r->result_count > SHOAL_WIRE_SEQUENCES_MAX)
        return bad(m, "the number of results");
    for (size_t i = 0; i < r->result_count; i++) {
        const shoal_wire_result *one = &r->results[i];
        if (!within(one->top_count, 0, SHOAL_WIRE_TOP_MAX) || one->token < -1 ||
            one->failed_layer < -1 || one->failed_row < -1)
            return bad(m, "a result");
        for (int32_t k = 0; k < one->top_count; k++)
            if (one->top_ids[k] < 0)
                return bad(m, "a top id");
    }
    return SHOAL_OK;
}

shoal_status shoal_wire_check(const shoal_wire_message *m)
{
    switch (m->type) {
    case SHOAL_WIRE_CHALLENGE:
        return m->challenge.nonce.bytes == SHOAL_NONCE_BYTES ? SHOAL_OK
                                                             : bad(m, "the length of nonce");
    case SHOAL_WIRE_HELLO: return check_hello(m);
    case SHOAL_WIRE_LOAD: return check_load(m);
    case SHOAL_WIRE_PLAN: return check_plan(m);
    case SHOAL_WIRE_READY: return check_ready(m);
    case SHOAL_WIRE_STEP: return m->step.block.bytes ? SHOAL_OK : bad(m, "block");
    case SHOAL_WIRE_STEP_RESULT: return check_step_result(m);
    case SHOAL_WIRE_HEARTBEAT:
        return within((int64_t)m->heartbeat.phase, 0, SHOAL_PHASE_END - 1) ? SHOAL_OK
                                                                           : bad(m, "phase");
    case SHOAL_WIRE_STATS:
        return m->stats.count <= SHOAL_WIRE_STATS_MAX ? SHOAL_OK : bad(m, "the number of values");
    case SHOAL_WIRE_ERROR:
        if (!is_status(m->error.status) || m->error.status == SHOAL_OK)
            return bad(m, "status");
        return within(m->error.rank, -1, SHOAL_WIRE_RANKS_MAX - 1) ? SHOAL_OK : bad(m, "rank");
    case SHOAL_WIRE_BYE: return is_status(m->bye.status) ? SHOAL_OK : bad(m, "status");
    case SHOAL_WIRE_LOAD_PROGRESS:
    case SHOAL_WIRE_CANCEL: return SHOAL_OK;
    case SHOAL_WIRE_TYPE_END: break;
    }
    return shoal_fail(SHOAL_ERR_DATA, "unknown message type %d", (int)m->type);
}
