#include <protobuf-c/protobuf-c.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/cluster.pb-c.h"
#include "proto/wire.h"
#include "proto/wire_check.h"
#include "proto/wire_scan.h"

/* What a decoded message's pointers point into. */
typedef struct {
    ProtobufCMessage *pb;
    void *list; /* records converted to ours */
} storage;

static void *pb_alloc(void *no_memory, size_t bytes)
{
    void *block = NULL;
    if (shoal_alloc(SHOAL_MEM_WIRE, bytes, &block) != SHOAL_OK)
        *(bool *)no_memory = true;
    return block;
}

static void pb_free(void *unused, void *block)
{
    (void)unused;
    shoal_free(block);
}

static shoal_wire_bytes bytes_of(ProtobufCBinaryData b)
{
    return (shoal_wire_bytes){b.data, b.len};
}

static void take_challenge(const Shoal__Wire__Challenge *pb, shoal_wire_challenge *m)
{
    m->protocol = pb->protocol;
    m->nonce = bytes_of(pb->nonce);
}

static void take_hello(const Shoal__Wire__Hello *pb, shoal_wire_hello *m)
{
    m->protocol = pb->protocol;
    m->rank = pb->rank;
    m->size = pb->size;
    m->slot = pb->slot;
    m->pid = pb->pid;
    m->host = pb->host;
    m->build = pb->build;
    m->arithmetic = pb->arithmetic;
    m->kernel_level = pb->kernel_level;
    m->proof = bytes_of(pb->proof);
    m->plan_hash = bytes_of(pb->plan_hash);
    m->manifest_hash = bytes_of(pb->manifest_hash);
    m->byte_order = bytes_of(pb->byte_order);
}

static void take_load(const Shoal__Wire__Load *pb, shoal_wire_load *m)
{
    m->model = pb->model;
    m->quantize = pb->quantize;
    m->keep_regex = pb->keep_regex;
    m->cpu = pb->cpu;
    m->activations = pb->activations;
    m->kv = pb->kv;
    m->reduce = pb->reduce;
    m->threads = pb->threads;
    m->ranks = pb->ranks;
    m->prefill_chunk = pb->prefill_chunk;
    m->max_sequences = pb->max_sequences;
    m->context = pb->context;
    m->kv_tokens = pb->kv_tokens;
    m->memory = pb->memory;
    m->capacity = pb->capacity;
    m->capacity_count = pb->n_capacity;
    m->push = pb->push;
    m->probe = pb->probe;
    m->expert_parallel = pb->expert_parallel;
    m->offload = pb->offload;
}

static shoal_status take_plan(const Shoal__Wire__Plan *pb, shoal_wire_plan *m)
{
    const size_t ends = pb->ranks > 0 ? 2 * (size_t)pb->ranks : 0;
    if (pb->n_q_heads != ends || pb->n_kv_heads != ends || pb->n_units != ends ||
        pb->n_vocab_panels != ends)
        return shoal_fail(SHOAL_ERR_DATA, "message Plan: the ranges are not of %d ranks",
                          pb->ranks);
    m->ranks = pb->ranks;
    m->digest = bytes_of(pb->digest);
    m->q_heads = pb->q_heads;
    m->kv_heads = pb->kv_heads;
    m->units = pb->units;
    m->vocab_panels = pb->vocab_panels;
    return SHOAL_OK;
}

static shoal_status take_ready(const Shoal__Wire__Ready *pb, shoal_wire_ready *m, void **list)
{
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_WIRE, pb->n_kernels, sizeof(shoal_wire_kernel), list));
    shoal_wire_kernel *rows = *list;
    for (size_t i = 0; i < pb->n_kernels; i++) {
        const Shoal__Wire__KernelRow *row = pb->kernels[i];
        rows[i] = (shoal_wire_kernel){row->role, row->layout, row->decode, row->prefill};
    }
    m->vocab = pb->vocab;
    m->context = pb->context;
    m->pages = pb->pages;
    m->rows_max = pb->rows_max;
    m->sequences_max = pb->sequences_max;
    m->planned_read = pb->planned_read;
    m->measured_read = pb->measured_read;
    m->planned_resident = pb->planned_resident;
    m->measured_resident = pb->measured_resident;
    m->planned_streamed = pb->planned_streamed;
    m->pinned = pb->pinned;
    m->load_seconds = pb->load_seconds;
    m->arithmetic = pb->arithmetic;
    m->plan_hash = bytes_of(pb->plan_hash);
    m->manifest_hash = bytes_of(pb->manifest_hash);
    m->kernels = rows;
    m->kernel_count = pb->n_kernels;
    return SHOAL_OK;
}

/* The scan has capped both lists at SHOAL_WIRE_TOP_MAX. */
static shoal_status take_result(const Shoal__Wire__SequenceResult *pb, shoal_wire_result *m)
{
    if (pb->n_top_ids != pb->n_top_logprobs || pb->n_top_ids > SHOAL_WIRE_TOP_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "message StepResult: %zu top ids, %zu log-probabilities",
                          pb->n_top_ids, pb->n_top_logprobs);
    *m = (shoal_wire_result){.id = pb->id,
                             .token = pb->token,
                             .logprob = pb->logprob,
                             .top_count = (int32_t)pb->n_top_ids,
                             .failed_layer = pb->failed_layer,
                             .failed_row = pb->failed_row,
                             .nll = pb->nll};
    for (size_t i = 0; i < pb->n_top_ids; i++) {
        m->top_ids[i] = pb->top_ids[i];
        m->top_logprobs[i] = pb->top_logprobs[i];
    }
    return SHOAL_OK;
}

static shoal_status take_step_result(const Shoal__Wire__StepResult *pb, shoal_wire_step_result *m,
                                     void **list)
{
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_WIRE, pb->n_results, sizeof(shoal_wire_result), list));
    shoal_wire_result *results = *list;
    for (size_t i = 0; i < pb->n_results; i++)
        SHOAL_TRY(take_result(pb->results[i], &results[i]));
    m->number = pb->number;
    m->results = results;
    m->result_count = pb->n_results;
    m->sequence = pb->sequence;
    m->first_row = pb->first_row;
    m->row_count = pb->row_count;
    m->width = pb->width;
    m->logits = bytes_of(pb->logits);
    m->last = pb->last;
    return SHOAL_OK;
}

static shoal_status take_stats(const Shoal__Wire__Stats *pb, shoal_wire_stats *m)
{
    if (pb->n_names != pb->n_values)
        return shoal_fail(SHOAL_ERR_DATA, "message Stats: %zu names, %zu values", pb->n_names,
                          pb->n_values);
    m->names = (const char *const *)pb->names;
    m->values = pb->values;
    m->count = pb->n_names;
    return SHOAL_OK;
}

/* protobuf-c's struct into ours; `s->list` holds what had to be converted. */
static shoal_status take(shoal_wire_message *m, storage *s)
{
    const void *pb = s->pb;
    switch (m->type) {
    case SHOAL_WIRE_CHALLENGE: take_challenge(pb, &m->challenge); break;
    case SHOAL_WIRE_HELLO: take_hello(pb, &m->hello); break;
    case SHOAL_WIRE_LOAD: take_load(pb, &m->load); break;
    case SHOAL_WIRE_PLAN: return take_plan(pb, &m->plan);
    case SHOAL_WIRE_LOAD_PROGRESS: {
        const Shoal__Wire__LoadProgress *p = pb;
        m->load_progress = (shoal_wire_load_progress){p->done, p->total};
        break;
    }
    case SHOAL_WIRE_READY: return take_ready(pb, &m->ready, &s->list);
    case SHOAL_WIRE_STEP: m->step.block = bytes_of(((const Shoal__Wire__Step *)pb)->block); break;
    case SHOAL_WIRE_STEP_RESULT: return take_step_result(pb, &m->step_result, &s->list);
    case SHOAL_WIRE_CANCEL: m->cancel.sequence = ((const Shoal__Wire__Cancel *)pb)->sequence; break;
    case SHOAL_WIRE_HEARTBEAT: {
        const Shoal__Wire__Heartbeat *h = pb;
        if (h->phase < 0 || h->phase >= SHOAL_PHASE_END)
            return shoal_fail(SHOAL_ERR_DATA, "message Heartbeat: phase %d", h->phase);
        m->heartbeat = (shoal_wire_heartbeat){h->counter, h->exchanges, (shoal_wire_phase)h->phase};
        break;
    }
    case SHOAL_WIRE_STATS: return take_stats(pb, &m->stats);
    case SHOAL_WIRE_ERROR: {
        const Shoal__Wire__Error *e = pb;
        m->error = (shoal_wire_error){(shoal_status)e->status, e->sentence, e->rank};
        break;
    }
    case SHOAL_WIRE_BYE:
        m->bye.status = (shoal_status)((const Shoal__Wire__Bye *)pb)->status;
        break;
    case SHOAL_WIRE_TYPE_END: break;
    }
    return SHOAL_OK;
}

static const ProtobufCMessageDescriptor *const descriptors[SHOAL_WIRE_TYPE_END] = {
    [SHOAL_WIRE_CHALLENGE] = &shoal__wire__challenge__descriptor,
    [SHOAL_WIRE_HELLO] = &shoal__wire__hello__descriptor,
    [SHOAL_WIRE_LOAD] = &shoal__wire__load__descriptor,
    [SHOAL_WIRE_PLAN] = &shoal__wire__plan__descriptor,
    [SHOAL_WIRE_LOAD_PROGRESS] = &shoal__wire__load_progress__descriptor,
    [SHOAL_WIRE_READY] = &shoal__wire__ready__descriptor,
    [SHOAL_WIRE_STEP] = &shoal__wire__step__descriptor,
    [SHOAL_WIRE_STEP_RESULT] = &shoal__wire__step_result__descriptor,
    [SHOAL_WIRE_CANCEL] = &shoal__wire__cancel__descriptor,
    [SHOAL_WIRE_HEARTBEAT] = &shoal__wire__heartbeat__descriptor,
    [SHOAL_WIRE_STATS] = &shoal__wire__stats__descriptor,
    [SHOAL_WIRE_ERROR] = &shoal__wire__error__descriptor,
    [SHOAL_WIRE_BYE] = &shoal__wire__bye__descriptor,
};

static shoal_status unpack(shoal_wire_type type, const void *payload, uint64_t bytes,
                           ProtobufCMessage **out)
{
    bool no_memory = false;
    ProtobufCAllocator allocator = {pb_alloc, pb_free, &no_memory};
    static const uint8_t nothing[1];
    ProtobufCMessage *pb =
        protobuf_c_message_unpack(descriptors[type], &allocator, bytes, bytes ? payload : nothing);
    if (!pb)
        return no_memory ? SHOAL_ERR_TEMPORARY
                         : shoal_fail(SHOAL_ERR_DATA, "message %s: %llu bytes that are none",
                                      shoal_wire_name(type), (unsigned long long)bytes);
    *out = pb;
    return SHOAL_OK;
}

static void free_storage(storage *s)
{
    ProtobufCAllocator allocator = {pb_alloc, pb_free, NULL};
    if (!s)
        return;
    shoal_free(s->list);
    if (s->pb)
        protobuf_c_message_free_unpacked(s->pb, &allocator);
    shoal_free(s);
}

shoal_status shoal_wire_decode(shoal_wire_type type, const void *payload, uint64_t bytes,
                               shoal_wire_message *out)
{
    shoal_status st = SHOAL_OK;
    shoal_wire_message m;
    void *block;
    if (type < SHOAL_WIRE_CHALLENGE || type >= SHOAL_WIRE_TYPE_END)
        return shoal_fail(SHOAL_ERR_DATA, "unknown message type %d", (int)type);
    if (bytes > SHOAL_FRAME_PAYLOAD_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "message %s: %llu bytes", shoal_wire_name(type),
                          (unsigned long long)bytes);
    SHOAL_TRY(shoal_wire_scan(descriptors[type], payload, bytes));
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_WIRE, sizeof(storage), &block));
    storage *s = block;
    memset(&m, 0, sizeof m);
    m.type = type;
    m.storage = s;
    SHOAL_TRY_GOTO(unpack(type, payload, bytes, &s->pb), unwind);
    SHOAL_TRY_GOTO(take(&m, s), unwind);
    SHOAL_TRY_GOTO(shoal_wire_check(&m), unwind);
    *out = m;
    return SHOAL_OK;

unwind:
    free_storage(s);
    return st;
}

void shoal_wire_free(shoal_wire_message *message)
{
    free_storage(message->storage);
    memset(message, 0, sizeof *message);
}
