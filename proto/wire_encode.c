#include <protobuf-c/protobuf-c.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/cluster.pb-c.h"
#include "proto/wire.h"
#include "proto/wire_check.h"
#include "proto/wire_scan.h"

/* protobuf-c's structs have no const; packing only reads. */
static char *text(const char *s)
{
    return s ? (char *)(uintptr_t)s : (char *)(uintptr_t) "";
}

static ProtobufCBinaryData blob(shoal_wire_bytes b)
{
    return (ProtobufCBinaryData){b.bytes, (uint8_t *)(uintptr_t)b.data};
}

typedef struct {
    shoal_wire_type type;
    uint32_t generation;
    shoal_wire_buffer *buffer;
} target;

/* Append header and packed message; what the other side would refuse is refused here. */
static shoal_status emit(const target *to, const ProtobufCMessage *pb)
{
    shoal_wire_buffer *b = to->buffer;
    const uint64_t bytes = protobuf_c_message_get_packed_size(pb);
    if (bytes > SHOAL_FRAME_PAYLOAD_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "message %s: %llu bytes, at most %u fit a frame",
                          shoal_wire_name(to->type), (unsigned long long)bytes,
                          SHOAL_FRAME_PAYLOAD_MAX);
    SHOAL_TRY(shoal_wire_buffer_reserve(b, b->bytes + SHOAL_FRAME_HEADER + bytes));
    uint8_t *at = b->data + b->bytes;
    (void)protobuf_c_message_pack(pb, at + SHOAL_FRAME_HEADER);
    SHOAL_TRY(shoal_wire_scan(pb->descriptor, at + SHOAL_FRAME_HEADER, bytes));
    shoal_frame_write(&(shoal_frame_header){to->generation, to->type, (uint32_t)bytes}, at);
    b->bytes += SHOAL_FRAME_HEADER + bytes;
    return SHOAL_OK;
}

static shoal_status encode_challenge(const shoal_wire_challenge *m, const target *to)
{
    Shoal__Wire__Challenge pb = SHOAL__WIRE__CHALLENGE__INIT;
    pb.nonce = blob(m->nonce);
    pb.protocol = m->protocol;
    return emit(to, &pb.base);
}

static shoal_status encode_hello(const shoal_wire_hello *m, const target *to)
{
    Shoal__Wire__Hello pb = SHOAL__WIRE__HELLO__INIT;
    pb.protocol = m->protocol;
    pb.rank = m->rank;
    pb.size = m->size;
    pb.slot = m->slot;
    pb.pid = m->pid;
    pb.host = text(m->host);
    pb.build = text(m->build);
    pb.arithmetic = text(m->arithmetic);
    pb.kernel_level = text(m->kernel_level);
    pb.proof = blob(m->proof);
    pb.plan_hash = blob(m->plan_hash);
    pb.manifest_hash = blob(m->manifest_hash);
    pb.byte_order = blob(m->byte_order);
    return emit(to, &pb.base);
}

static shoal_status encode_load(const shoal_wire_load *m, const target *to)
{
    Shoal__Wire__Load pb = SHOAL__WIRE__LOAD__INIT;
    pb.model = text(m->model);
    pb.quantize = text(m->quantize);
    pb.keep_regex = text(m->keep_regex);
    pb.cpu = text(m->cpu);
    pb.activations = m->activations;
    pb.kv = m->kv;
    pb.reduce = m->reduce;
    pb.threads = m->threads;
    pb.ranks = m->ranks;
    pb.prefill_chunk = m->prefill_chunk;
    pb.max_sequences = m->max_sequences;
    pb.context = m->context;
    pb.kv_tokens = m->kv_tokens;
    pb.memory = m->memory;
    pb.n_capacity = m->capacity_count;
    pb.capacity = (double *)(uintptr_t)m->capacity;
    pb.push = m->push;
    pb.probe = m->probe;
    pb.expert_parallel = m->expert_parallel;
    pb.offload = text(m->offload);
    return emit(to, &pb.base);
}

static shoal_status encode_plan(const shoal_wire_plan *m, const target *to)
{
    Shoal__Wire__Plan pb = SHOAL__WIRE__PLAN__INIT;
    pb.ranks = m->ranks;
    pb.digest = blob(m->digest);
    pb.n_q_heads = pb.n_kv_heads = pb.n_units = pb.n_vocab_panels = 2 * (size_t)m->ranks;
    pb.q_heads = (int64_t *)(uintptr_t)m->q_heads;
    pb.kv_heads = (int64_t *)(uintptr_t)m->kv_heads;
    pb.units = (int64_t *)(uintptr_t)m->units;
    pb.vocab_panels = (int64_t *)(uintptr_t)m->vocab_panels;
    return emit(to, &pb.base);
}

static shoal_status encode_load_progress(const shoal_wire_load_progress *m, const target *to)
{
    Shoal__Wire__LoadProgress pb = SHOAL__WIRE__LOAD_PROGRESS__INIT;
    pb.done = m->done;
    pb.total = m->total;
    return emit(to, &pb.base);
}

static shoal_status encode_ready(const shoal_wire_ready *m, const target *to)
{
    Shoal__Wire__Ready pb = SHOAL__WIRE__READY__INIT;
    Shoal__Wire__KernelRow rows[SHOAL_WIRE_KERNELS_MAX];
    Shoal__Wire__KernelRow *list[SHOAL_WIRE_KERNELS_MAX];
    pb.vocab = m->vocab;
    pb.context = m->context;
    pb.pages = m->pages;
    pb.rows_max = m->rows_max;
    pb.sequences_max = m->sequences_max;
    pb.planned_read = m->planned_read;
    pb.measured_read = m->measured_read;
    pb.planned_resident = m->planned_resident;
    pb.measured_resident = m->measured_resident;
    pb.planned_streamed = m->planned_streamed;
    pb.pinned = m->pinned;
    pb.load_seconds = m->load_seconds;
    pb.arithmetic = text(m->arithmetic);
    pb.plan_hash = blob(m->plan_hash);
    pb.manifest_hash = blob(m->manifest_hash);
    pb.n_kernels = m->kernel_count;
    pb.kernels = list;
    for (size_t i = 0; i < m->kernel_count; i++) {
        shoal__wire__kernel_row__init(&rows[i]);
        rows[i].role = text(m->kernels[i].role);
        rows[i].layout = text(m->kernels[i].layout);
        rows[i].decode = text(m->kernels[i].decode);
        rows[i].prefill = text(m->kernels[i].prefill);
        list[i] = &rows[i];
    }
    return emit(to, &pb.base);
}

static shoal_status encode_step(const shoal_wire_step *m, const target *to)
{
    Shoal__Wire__Step pb = SHOAL__WIRE__STEP__INIT;
    pb.block = blob(m->block);
    return emit(to, &pb.base);
}

static void fill_result(const shoal_wire_result *m, Shoal__Wire__SequenceResult *pb)
{
    shoal__wire__sequence_result__init(pb);
    pb->id = m->id;
    pb->token = m->token;
    pb->logprob = m->logprob;
    pb->n_top_ids = pb->n_top_logprobs = (size_t)m->top_count;
    pb->top_ids = (int32_t *)(uintptr_t)m->top_ids;
    pb->top_logprobs = (float *)(uintptr_t)m->top_logprobs;
    pb->failed_layer = m->failed_layer;
    pb->failed_row = m->failed_row;
    pb->nll = m->nll;
}

static shoal_status encode_step_result(const shoal_wire_step_result *m, const target *to)
{
    Shoal__Wire__StepResult pb = SHOAL__WIRE__STEP_RESULT__INIT;
    Shoal__Wire__SequenceResult *list[SHOAL_WIRE_SEQUENCES_MAX];
    void *block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_WIRE, m->result_count, sizeof **list, &block));
    Shoal__Wire__SequenceResult *results = block;
    for (size_t i = 0; i < m->result_count; i++) {
        fill_result(&m->results[i], &results[i]);
        list[i] = &results[i];
    }
    pb.number = m->number;
    pb.n_results = m->result_count;
    pb.results = list;
    pb.sequence = m->sequence;
    pb.first_row = m->first_row;
    pb.row_count = m->row_count;
    pb.width = m->width;
    pb.logits = blob(m->logits);
    pb.last = m->last;
    const shoal_status st = emit(to, &pb.base);
    shoal_free(block);
    return st;
}

static shoal_status encode_cancel(const shoal_wire_cancel *m, const target *to)
{
    Shoal__Wire__Cancel pb = SHOAL__WIRE__CANCEL__INIT;
    pb.sequence = m->sequence;
    return emit(to, &pb.base);
}

static shoal_status encode_heartbeat(const shoal_wire_heartbeat *m, const target *to)
{
    Shoal__Wire__Heartbeat pb = SHOAL__WIRE__HEARTBEAT__INIT;
    pb.counter = m->counter;
    pb.phase = (int32_t)m->phase;
    pb.exchanges = m->exchanges;
    return emit(to, &pb.base);
}

static shoal_status encode_stats(const shoal_wire_stats *m, const target *to)
{
    Shoal__Wire__Stats pb = SHOAL__WIRE__STATS__INIT;
    char *list[SHOAL_WIRE_STATS_MAX];
    for (size_t i = 0; i < m->count; i++)
        list[i] = text(m->names[i]);
    pb.n_names = pb.n_values = m->count;
    pb.names = list;
    pb.values = (double *)(uintptr_t)m->values;
    return emit(to, &pb.base);
}

static shoal_status encode_error(const shoal_wire_error *m, const target *to)
{
    Shoal__Wire__Error pb = SHOAL__WIRE__ERROR__INIT;
    pb.status = (int32_t)m->status;
    pb.sentence = text(m->sentence);
    pb.rank = m->rank;
    return emit(to, &pb.base);
}

static shoal_status encode_bye(const shoal_wire_bye *m, const target *to)
{
    Shoal__Wire__Bye pb = SHOAL__WIRE__BYE__INIT;
    pb.status = (int32_t)m->status;
    return emit(to, &pb.base);
}

shoal_status shoal_wire_encode(const shoal_wire_message *m, uint32_t generation,
                               shoal_wire_buffer *buffer)
{
    const target to = {m->type, generation, buffer};
    SHOAL_TRY(shoal_wire_check(m));
    switch (m->type) {
    case SHOAL_WIRE_CHALLENGE: return encode_challenge(&m->challenge, &to);
    case SHOAL_WIRE_HELLO: return encode_hello(&m->hello, &to);
    case SHOAL_WIRE_LOAD: return encode_load(&m->load, &to);
    case SHOAL_WIRE_PLAN: return encode_plan(&m->plan, &to);
    case SHOAL_WIRE_LOAD_PROGRESS: return encode_load_progress(&m->load_progress, &to);
    case SHOAL_WIRE_READY: return encode_ready(&m->ready, &to);
    case SHOAL_WIRE_STEP: return encode_step(&m->step, &to);
    case SHOAL_WIRE_STEP_RESULT: return encode_step_result(&m->step_result, &to);
    case SHOAL_WIRE_CANCEL: return encode_cancel(&m->cancel, &to);
    case SHOAL_WIRE_HEARTBEAT: return encode_heartbeat(&m->heartbeat, &to);
    case SHOAL_WIRE_STATS: return encode_stats(&m->stats, &to);
    case SHOAL_WIRE_ERROR: return encode_error(&m->error, &to);
    case SHOAL_WIRE_BYE: return encode_bye(&m->bye, &to);
    case SHOAL_WIRE_TYPE_END: break;
    }
    return SHOAL_ERR_INTERNAL; /* the check refused it */
}
