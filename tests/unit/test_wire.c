/* Wire messages: every field survives the trip, the bytes are those of the protobuf standard, and
 * whatever is cut, damaged or out of range is refused without a crash (run under ASan and UBSan).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/arena.h"
#include "proto/bytes.h"
#include "proto/wire.h"

/* --- one full sample of every message -------------------------------------------------------- */

static const uint8_t digits[40] = {9,  8,  7,  6,  5,  4,  3,  2,  1,   0,  11, 12,
                                   13, 14, 15, 16, 17, 18, 19, 20, 21,  22, 23, 24,
                                   25, 26, 27, 28, 29, 30, 31, 32, 255, 0,  254};
static const double capacities[3] = {2.0, 1.0, 0.5};
static const int64_t ranges[4][6] = {{0, 1, 1, 2, 2, 2},
                                     {0, 3, 3, 5, 5, 9},
                                     {0, 100, 100, 1000, 1000, INT64_MAX},
                                     {1, 1, 1, 1, 1, 1}};
static const shoal_wire_kernel kernels[2] = {{"q_proj", "cpu-panel64-int4/1", "ref", "avx2"},
                                             {"lm_head", "cpu-panel64-f16/1", "a", ""}};
static shoal_wire_result results[2];
static const float rows[6] = {1.5f, -2.25f, 0.0f, 1e30f, -1e-40f, 3.0f};
static const char *const stat_names[2] = {"waited", "pages_free"};
static const double stat_values[2] = {0.125, -4096.0};

static shoal_wire_bytes some(uint64_t bytes)
{
    return (shoal_wire_bytes){digits, bytes};
}

static void fill_results(void)
{
    for (int i = 0; i < 2; i++) {
        results[i] = (shoal_wire_result){.id = UINT64_MAX - (uint64_t)i,
                                         .token = i ? -1 : 151643,
                                         .logprob = -0.25f * (float)(i + 1),
                                         .top_count = i ? SHOAL_WIRE_TOP_MAX : 0,
                                         .failed_layer = i ? 7 : -1,
                                         .failed_row = i ? 3 : -1,
                                         .nll = 1.0 / 3.0 + i};
        for (int k = 0; k < results[i].top_count; k++) {
            results[i].top_ids[k] = k * 1000;
            results[i].top_logprobs[k] = -0.5f * (float)k;
        }
    }
}

static shoal_wire_hello sample_hello(void)
{
    return (shoal_wire_hello){.protocol = 3,
                              .rank = 2,
                              .size = 5,
                              .slot = 1,
                              .pid = 123456789012,
                              .host = "node7",
                              .build = "0123abcd",
                              .arithmetic = "cpu-int8/1",
                              .kernel_level = "avx512vnni",
                              .proof = some(32),
                              .plan_hash = some(16),
                              .manifest_hash = some(32),
                              .byte_order = some(4)};
}

static shoal_wire_load sample_load(void)
{
    return (shoal_wire_load){.model = "/models/ä",
                             .quantize = "int4-g128",
                             .keep_regex = "lm_head|.*down",
                             .cpu = "avx2",
                             .offload = "lm_head=host,mmap",
                             .activations = 2,
                             .kv = -1,
                             .reduce = 1,
                             .threads = 16,
                             .ranks = 3,
                             .prefill_chunk = 256,
                             .max_sequences = 64,
                             .context = 131072,
                             .kv_tokens = 1000000,
                             .memory = UINT64_MAX,
                             .capacity = capacities,
                             .capacity_count = 3,
                             .push = true,
                             .probe = true,
                             .expert_parallel = true};
}

static shoal_wire_ready sample_ready(void)
{
    return (shoal_wire_ready){.vocab = 1,
                              .context = 2,
                              .pages = 3,
                              .rows_max = 4,
                              .sequences_max = 5,
                              .planned_read = 6,
                              .measured_read = 7,
                              .planned_resident = 8,
                              .measured_resident = 9,
                              .planned_streamed = 10,
                              .pinned = 11,
                              .load_seconds = 1.25,
                              .arithmetic = "cpu-f32/1",
                              .plan_hash = some(32),
                              .manifest_hash = some(16),
                              .kernels = kernels,
                              .kernel_count = 2};
}

static shoal_wire_message sample(shoal_wire_type type)
{
    shoal_wire_message m = {.type = type};
    fill_results();
    switch (type) {
    case SHOAL_WIRE_CHALLENGE:
        m.challenge = (shoal_wire_challenge){SHOAL_WIRE_PROTOCOL, some(SHOAL_NONCE_BYTES)};
        break;
    case SHOAL_WIRE_HELLO: m.hello = sample_hello(); break;
    case SHOAL_WIRE_LOAD: m.load = sample_load(); break;
    case SHOAL_WIRE_PLAN:
        m.plan = (shoal_wire_plan){3, some(16), ranges[0], ranges[1], ranges[2], ranges[3]};
        break;
    case SHOAL_WIRE_LOAD_PROGRESS: m.load_progress = (shoal_wire_load_progress){150, 300}; break;
    case SHOAL_WIRE_READY: m.ready = sample_ready(); break;
    case SHOAL_WIRE_STEP: m.step.block = some(40); break;
    case SHOAL_WIRE_STEP_RESULT:
        m.step_result = (shoal_wire_step_result){
            .number = 99, .results = results, .result_count = 2, .last = true};
        break;
    case SHOAL_WIRE_CANCEL: m.cancel.sequence = 1u << 31; break;
    case SHOAL_WIRE_HEARTBEAT:
        m.heartbeat = (shoal_wire_heartbeat){12345, 678, SHOAL_PHASE_STEP};
        break;
    case SHOAL_WIRE_STATS: m.stats = (shoal_wire_stats){stat_names, stat_values, 2}; break;
    case SHOAL_WIRE_ERROR:
        m.error = (shoal_wire_error){SHOAL_ERR_NOTFOUND, "x.safetensors: gone", -1};
        break;
    case SHOAL_WIRE_BYE: m.bye.status = SHOAL_ERR_TEMPORARY; break;
    case SHOAL_WIRE_TYPE_END: break;
    }
    return m;
}

static shoal_wire_message row_sample(void)
{
    shoal_wire_message m = {.type = SHOAL_WIRE_STEP_RESULT};
    m.step_result = (shoal_wire_step_result){.number = 5,
                                             .sequence = 1,
                                             .first_row = 7,
                                             .row_count = 2,
                                             .width = 3,
                                             .logits = {(const uint8_t *)rows, sizeof rows}};
    return m;
}

static shoal_wire_buffer encoded(const shoal_wire_message *m, uint32_t generation)
{
    shoal_wire_buffer b = {0};
    const shoal_status st = shoal_wire_encode(m, generation, &b);
    if (st != SHOAL_OK)
        fail_msg("%s: %s", shoal_wire_name(m->type), shoal_error_text());
    return b;
}

/* --- every field arrives --------------------------------------------------------------------- */

static void same_bytes(shoal_wire_bytes a, shoal_wire_bytes b)
{
    assert_int_equal(a.bytes, b.bytes);
    if (a.bytes)
        assert_memory_equal(a.data, b.data, a.bytes);
}

static void same_doubles(const double *a, const double *b, size_t n)
{
    assert_memory_equal(a, b, n * sizeof *a);
}

static void same_hello(const shoal_wire_hello *a, const shoal_wire_hello *b)
{
    assert_int_equal(a->protocol, b->protocol);
    assert_int_equal(a->rank, b->rank);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->slot, b->slot);
    assert_int_equal(a->pid, b->pid);
    assert_string_equal(a->host, b->host);
    assert_string_equal(a->build, b->build);
    assert_string_equal(a->arithmetic, b->arithmetic);
    assert_string_equal(a->kernel_level, b->kernel_level);
    same_bytes(a->proof, b->proof);
    same_bytes(a->plan_hash, b->plan_hash);
    same_bytes(a->manifest_hash, b->manifest_hash);
    same_bytes(a->byte_order, b->byte_order);
}

static void same_load(const shoal_wire_load *a, const shoal_wire_load *b)
{
    assert_string_equal(a->model, b->model);
    assert_string_equal(a->quantize, b->quantize);
    assert_string_equal(a->keep_regex, b->keep_regex);
    assert_string_equal(a->cpu, b->cpu);
    assert_string_equal(a->offload, b->offload);
    assert_int_equal(a->activations, b->activations);
    assert_int_equal(a->kv, b->kv);
    assert_int_equal(a->reduce, b->reduce);
    assert_int_equal(a->threads, b->threads);
    assert_int_equal(a->ranks, b->ranks);
    assert_int_equal(a->prefill_chunk, b->prefill_chunk);
    assert_int_equal(a->max_sequences, b->max_sequences);
    assert_int_equal(a->context, b->context);
    assert_int_equal(a->kv_tokens, b->kv_tokens);
    assert_int_equal(a->memory, b->memory);
    assert_int_equal(a->capacity_count, b->capacity_count);
    same_doubles(a->capacity, b->capacity, a->capacity_count);
    assert_int_equal(a->push, b->push);
    assert_int_equal(a->probe, b->probe);
    assert_int_equal(a->expert_parallel, b->expert_parallel);
}

static void same_plan(const shoal_wire_plan *a, const shoal_wire_plan *b)
{
    const size_t bytes = 2 * (size_t)a->ranks * sizeof(int64_t);
    assert_int_equal(a->ranks, b->ranks);
    same_bytes(a->digest, b->digest);
    assert_memory_equal(a->q_heads, b->q_heads, bytes);
    assert_memory_equal(a->kv_heads, b->kv_heads, bytes);
    assert_memory_equal(a->units, b->units, bytes);
    assert_memory_equal(a->vocab_panels, b->vocab_panels, bytes);
}

static void same_ready(const shoal_wire_ready *a, const shoal_wire_ready *b)
{
    assert_int_equal(a->vocab, b->vocab);
    assert_int_equal(a->context, b->context);
    assert_int_equal(a->pages, b->pages);
    assert_int_equal(a->rows_max, b->rows_max);
    assert_int_equal(a->sequences_max, b->sequences_max);
    assert_int_equal(a->planned_read, b->planned_read);
    assert_int_equal(a->measured_read, b->measured_read);
    assert_int_equal(a->planned_resident, b->planned_resident);
    assert_int_equal(a->measured_resident, b->measured_resident);
    assert_int_equal(a->planned_streamed, b->planned_streamed);
    assert_int_equal(a->pinned, b->pinned);
    same_doubles(&a->load_seconds, &b->load_seconds, 1);
    assert_string_equal(a->arithmetic, b->arithmetic);
    same_bytes(a->plan_hash, b->plan_hash);
    same_bytes(a->manifest_hash, b->manifest_hash);
    assert_int_equal(a->kernel_count, b->kernel_count);
    for (size_t i = 0; i < a->kernel_count; i++) {
        assert_string_equal(a->kernels[i].role, b->kernels[i].role);
        assert_string_equal(a->kernels[i].layout, b->kernels[i].layout);
        assert_string_equal(a->kernels[i].decode, b->kernels[i].decode);
        assert_string_equal(a->kernels[i].prefill, b->kernels[i].prefill);
    }
}

static void same_step_result(const shoal_wire_step_result *a, const shoal_wire_step_result *b)
{
    assert_int_equal(a->number, b->number);
    assert_int_equal(a->sequence, b->sequence);
    assert_int_equal(a->first_row, b->first_row);
    assert_int_equal(a->row_count, b->row_count);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->last, b->last);
    same_bytes(a->logits, b->logits);
    assert_int_equal(a->result_count, b->result_count);
    for (size_t i = 0; i < a->result_count; i++) {
        const shoal_wire_result *x = &a->results[i], *y = &b->results[i];
        assert_int_equal(x->id, y->id);
        assert_int_equal(x->token, y->token);
        assert_memory_equal(&x->logprob, &y->logprob, sizeof(float));
        assert_int_equal(x->top_count, y->top_count);
        assert_memory_equal(x->top_ids, y->top_ids, sizeof x->top_ids);
        assert_memory_equal(x->top_logprobs, y->top_logprobs, sizeof x->top_logprobs);
        assert_int_equal(x->failed_layer, y->failed_layer);
        assert_int_equal(x->failed_row, y->failed_row);
        same_doubles(&x->nll, &y->nll, 1);
    }
}

static void same_stats(const shoal_wire_stats *a, const shoal_wire_stats *b)
{
    assert_int_equal(a->count, b->count);
    same_doubles(a->values, b->values, a->count);
    for (size_t i = 0; i < a->count; i++)
        assert_string_equal(a->names[i], b->names[i]);
}

static void same_message(const shoal_wire_message *a, const shoal_wire_message *b)
{
    assert_int_equal(a->type, b->type);
    switch (a->type) {
    case SHOAL_WIRE_CHALLENGE:
        assert_int_equal(a->challenge.protocol, b->challenge.protocol);
        same_bytes(a->challenge.nonce, b->challenge.nonce);
        break;
    case SHOAL_WIRE_HELLO: same_hello(&a->hello, &b->hello); break;
    case SHOAL_WIRE_LOAD: same_load(&a->load, &b->load); break;
    case SHOAL_WIRE_PLAN: same_plan(&a->plan, &b->plan); break;
    case SHOAL_WIRE_LOAD_PROGRESS:
        assert_int_equal(a->load_progress.done, b->load_progress.done);
        assert_int_equal(a->load_progress.total, b->load_progress.total);
        break;
    case SHOAL_WIRE_READY: same_ready(&a->ready, &b->ready); break;
    case SHOAL_WIRE_STEP: same_bytes(a->step.block, b->step.block); break;
    case SHOAL_WIRE_STEP_RESULT: same_step_result(&a->step_result, &b->step_result); break;
    case SHOAL_WIRE_CANCEL: assert_int_equal(a->cancel.sequence, b->cancel.sequence); break;
    case SHOAL_WIRE_HEARTBEAT:
        assert_int_equal(a->heartbeat.counter, b->heartbeat.counter);
        assert_int_equal(a->heartbeat.exchanges, b->heartbeat.exchanges);
        assert_int_equal(a->heartbeat.phase, b->heartbeat.phase);
        break;
    case SHOAL_WIRE_STATS: same_stats(&a->stats, &b->stats); break;
    case SHOAL_WIRE_ERROR:
        assert_int_equal(a->error.status, b->error.status);
        assert_string_equal(a->error.sentence, b->error.sentence);
        assert_int_equal(a->error.rank, b->error.rank);
        break;
    case SHOAL_WIRE_BYE: assert_int_equal(a->bye.status, b->bye.status); break;
    case SHOAL_WIRE_TYPE_END: fail();
    }
}

static void round_trip(const shoal_wire_message *m)
{
    shoal_wire_buffer b = encoded(m, 4), again;
    shoal_frame_header header;
    shoal_wire_message back;
    assert_int_equal(shoal_frame_parse(b.data, 4, &header), SHOAL_OK);
    assert_int_equal(header.type, m->type);
    assert_int_equal(header.generation, 4);
    assert_int_equal(header.length + SHOAL_FRAME_HEADER, b.bytes);
    if (shoal_wire_decode(header.type, b.data + SHOAL_FRAME_HEADER, header.length, &back) !=
        SHOAL_OK)
        fail_msg("%s: %s", shoal_wire_name(m->type), shoal_error_text());
    same_message(m, &back);
    again = encoded(&back, 4);
    assert_int_equal(again.bytes, b.bytes);
    assert_memory_equal(again.data, b.data, b.bytes);
    shoal_wire_free(&back);
    shoal_wire_free(&back); /* harmless */
    shoal_wire_buffer_free(&again);
    shoal_wire_buffer_free(&b);
}

static void every_message_round_trips(void **state)
{
    (void)state;
    for (shoal_wire_type t = SHOAL_WIRE_CHALLENGE; t < SHOAL_WIRE_TYPE_END; t++) {
        const shoal_wire_message m = sample(t);
        round_trip(&m);
    }
    const shoal_wire_message m = row_sample();
    round_trip(&m);
}

static void empty_fields_are_empty_strings(void **state)
{
    (void)state;
    shoal_wire_message m = {.type = SHOAL_WIRE_LOAD}, back;
    m.load.model = "m";
    m.load.ranks = 1;
    shoal_wire_buffer b = encoded(&m, 0);
    assert_int_equal(
        shoal_wire_decode(m.type, b.data + SHOAL_FRAME_HEADER, b.bytes - SHOAL_FRAME_HEADER, &back),
        SHOAL_OK);
    assert_string_equal(back.load.quantize, "");
    assert_string_equal(back.load.keep_regex, "");
    assert_int_equal(back.load.capacity_count, 0);
    shoal_wire_free(&back);
    shoal_wire_buffer_free(&b);
}

/* By hand from the encoding rules of protobuf (varint 150 = 96 01 is their own example). */
static void standard_bytes(void **state)
{
    (void)state;
    static const uint8_t progress[] = {'S', 'H', 'F', '1', 9, 0,    0,    0,    5,    0,    0,
                                       0,   6,   0,   0,   0, 0x08, 0x96, 0x01, 0x10, 0xac, 0x02};
    const shoal_wire_message p = sample(SHOAL_WIRE_LOAD_PROGRESS);
    shoal_wire_buffer b = encoded(&p, 9);
    assert_int_equal(b.bytes, sizeof progress);
    assert_memory_equal(b.data, progress, sizeof progress);
    shoal_wire_buffer_free(&b);

    static const uint8_t error[] = {0x08, 0x84, 0x01, 0x12, 0x02, 'n', 'o', 0x18, 0x01};
    shoal_wire_message e;
    assert_int_equal(shoal_wire_decode(SHOAL_WIRE_ERROR, error, sizeof error, &e), SHOAL_OK);
    assert_int_equal(e.error.status, SHOAL_ERR_NOTFOUND); /* zigzag 132 = 66 */
    assert_string_equal(e.error.sentence, "no");
    assert_int_equal(e.error.rank, -1);
    shoal_wire_free(&e);
}

/* --- refusals -------------------------------------------------------------------------------- */

static void frame_headers(void **state)
{
    (void)state;
    const shoal_frame_header good = {7, SHOAL_WIRE_STEP, SHOAL_FRAME_PAYLOAD_MAX};
    uint8_t bytes[SHOAL_FRAME_HEADER], bad[SHOAL_FRAME_HEADER];
    shoal_frame_header h = {0};
    shoal_frame_write(&good, bytes);
    assert_int_equal(shoal_frame_parse(bytes, 7, &h), SHOAL_OK);
    assert_memory_equal(&h, &good, sizeof h);
    assert_int_equal(shoal_frame_parse(bytes, SHOAL_GENERATION_ANY, &h), SHOAL_OK);
    assert_int_equal(shoal_frame_parse(bytes, 6, &h), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "generation"));

    static const struct {
        int at;
        uint32_t value;
    } wrong[] = {{0, 0},
                 {8, 0},
                 {8, SHOAL_WIRE_TYPE_END},
                 {8, UINT32_MAX},
                 {12, SHOAL_FRAME_PAYLOAD_MAX + 1},
                 {12, UINT32_MAX}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memcpy(bad, bytes, sizeof bad);
        shoal_store_le32(bad + wrong[i].at, wrong[i].value);
        assert_int_equal(shoal_frame_parse(bad, 7, &h), SHOAL_ERR_DATA);
    }
}

/* Exactly as long as it says, so that ASan sees a byte too many. */
static shoal_status decode_copy(shoal_wire_type type, const uint8_t *data, uint64_t bytes)
{
    shoal_wire_message m;
    uint8_t *copy = malloc(bytes ? bytes : 1);
    if (bytes)
        memcpy(copy, data, bytes);
    const shoal_status st = shoal_wire_decode(type, copy, bytes, &m);
    free(copy); /* a decoded message does not point into the input */
    if (st == SHOAL_OK) {
        shoal_wire_buffer b = {0};
        assert_int_equal(shoal_wire_encode(&m, 1, &b), SHOAL_OK); /* legal in, legal out */
        shoal_wire_buffer_free(&b);
        shoal_wire_free(&m);
    }
    assert_true(st == SHOAL_OK || st == SHOAL_ERR_DATA);
    return st;
}

static void truncated_at_every_byte(void **state)
{
    (void)state;
    for (shoal_wire_type t = SHOAL_WIRE_CHALLENGE; t < SHOAL_WIRE_TYPE_END; t++) {
        const shoal_wire_message m = sample(t);
        shoal_wire_buffer b = encoded(&m, 1);
        const uint64_t whole = b.bytes - SHOAL_FRAME_HEADER;
        for (uint64_t bytes = 0; bytes < whole; bytes++)
            (void)decode_copy(t, b.data + SHOAL_FRAME_HEADER, bytes);
        assert_int_equal(decode_copy(t, b.data + SHOAL_FRAME_HEADER, whole), SHOAL_OK);
        shoal_wire_buffer_free(&b);
    }
    assert_int_equal(shoal_mem_live(SHOAL_MEM_WIRE), 0);
}

static uint64_t random_state = 11;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % below;
}

static void random_damage(void **state)
{
    (void)state;
    int refused = 0, accepted = 0;
    for (int round = 0; round < 1500; round++)
        for (shoal_wire_type t = SHOAL_WIRE_CHALLENGE; t < SHOAL_WIRE_TYPE_END; t++) {
            const shoal_wire_message m = sample(t);
            shoal_wire_buffer b = encoded(&m, 1);
            uint8_t *data = b.data + SHOAL_FRAME_HEADER;
            const uint32_t bytes = (uint32_t)b.bytes - SHOAL_FRAME_HEADER;
            for (uint32_t i = 0; i <= next_random(3); i++)
                data[next_random(bytes)] ^= (uint8_t)(1u << next_random(8));
            if (decode_copy(t, data, bytes - (next_random(4) ? 0 : next_random(bytes))) == SHOAL_OK)
                accepted++;
            else
                refused++;
            shoal_wire_buffer_free(&b);
        }
    printf("damaged messages: %d refused, %d still legal\n", refused, accepted);
    assert_true(refused > accepted);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_WIRE), 0);
}

static void refused_bytes(shoal_wire_type type, const uint8_t *data, size_t bytes, const char *word)
{
    shoal_error_clear();
    assert_int_equal(decode_copy(type, data, bytes), SHOAL_ERR_DATA);
    if (!strstr(shoal_error_text(), word))
        fail_msg("expected \"%s\" in \"%s\"", word, shoal_error_text());
}

static void hostile_bytes(void **state)
{
    (void)state;
    static const uint8_t unknown[] = {0x78, 1}; /* field 15 of Cancel        */
    static const uint8_t big_field[] = {0xf8, 0xff, 0xff, 0xff, 0xff, 0x7f, 1};
    static const uint8_t twice[] = {0x08, 1, 0x08, 2};
    static const uint8_t as_string[] = {0x0a, 1, 'x'}; /* Cancel.sequence as a block */
    static const uint8_t group[] = {0x0b, 0x0c};
    static const uint8_t cut[] = {0x08, 0xff};
    static const uint8_t long_varint[] = {0x08, 0xff, 0xff, 0xff, 0xff, 0xff,
                                          0xff, 0xff, 0xff, 0xff, 0x02};
    static const uint8_t beyond[] = {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f};
    static const uint8_t wrap[] = {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 0x01, 0};
    static const uint8_t nul[] = {0x12, 2, 'a', 0}; /* Error.sentence            */
    static const uint8_t odd_doubles[] = {0x12, 7, 0, 0, 0, 0, 0, 0, 0}; /* Stats.values     */
    refused_bytes(SHOAL_WIRE_CANCEL, unknown, sizeof unknown, "unknown");
    refused_bytes(SHOAL_WIRE_CANCEL, big_field, sizeof big_field, "unknown");
    refused_bytes(SHOAL_WIRE_CANCEL, twice, sizeof twice, "too many");
    refused_bytes(SHOAL_WIRE_CANCEL, as_string, sizeof as_string, "wire type");
    refused_bytes(SHOAL_WIRE_CANCEL, group, sizeof group, "wire type");
    refused_bytes(SHOAL_WIRE_CANCEL, cut, sizeof cut, "cut");
    refused_bytes(SHOAL_WIRE_CANCEL, long_varint, sizeof long_varint, "cut");
    refused_bytes(SHOAL_WIRE_STEP, beyond, sizeof beyond, "beyond");
    refused_bytes(SHOAL_WIRE_STEP, wrap, sizeof wrap, "beyond");
    refused_bytes(SHOAL_WIRE_ERROR, nul, sizeof nul, "NUL");
    refused_bytes(SHOAL_WIRE_STATS, odd_doubles, sizeof odd_doubles, "cut");
    refused_bytes(SHOAL_WIRE_STEP, NULL, 0, "block");

    static uint8_t many[2 * (SHOAL_WIRE_SEQUENCES_MAX + 1)];
    for (size_t i = 0; i < sizeof many; i += 2)
        many[i] = 0x12; /* an empty SequenceResult */
    refused_bytes(SHOAL_WIRE_STEP_RESULT, many, sizeof many, "too many");
    static uint8_t longest[5 + SHOAL_WIRE_STRING_MAX + 1] = {0x0a, 0x81, 0x20};
    memset(longest + 3, 'm', sizeof longest - 3);
    refused_bytes(SHOAL_WIRE_LOAD, longest, 3 + SHOAL_WIRE_STRING_MAX + 1, "too long");
    static uint8_t tops[] = {0x12, 23, 0x22, 21, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                             0,    0,  0,    0,  0, 0, 0, 0, 0, 0, 0, 0};
    refused_bytes(SHOAL_WIRE_STEP_RESULT, tops, sizeof tops, "too many");

    shoal_wire_message m;
    assert_int_equal(shoal_wire_decode((shoal_wire_type)0, tops, 1, &m), SHOAL_ERR_DATA);
    assert_int_equal(shoal_wire_decode((shoal_wire_type)99, tops, 1, &m), SHOAL_ERR_DATA);
    assert_int_equal(shoal_wire_decode(SHOAL_WIRE_STEP, tops, SHOAL_FRAME_PAYLOAD_MAX + 1ull, &m),
                     SHOAL_ERR_DATA);
}

static void refused_message(shoal_wire_message m)
{
    shoal_wire_buffer b = {0};
    assert_int_equal(shoal_wire_encode(&m, 1, &b), SHOAL_ERR_DATA);
    assert_int_equal(b.bytes, 0);
    shoal_wire_buffer_free(&b);
}

#define REFUSED(TYPE, change)                                                                      \
    do {                                                                                           \
        shoal_wire_message m = sample(TYPE);                                                       \
        change;                                                                                    \
        refused_message(m);                                                                        \
    } while (0)

static void numbers_out_of_range(void **state)
{
    (void)state;
    static char long_text[SHOAL_WIRE_STRING_MAX + 2];
    memset(long_text, 'x', sizeof long_text - 1);
    REFUSED(SHOAL_WIRE_CHALLENGE, m.challenge.nonce.bytes = 31);
    REFUSED(SHOAL_WIRE_HELLO, m.hello.rank = 5);
    REFUSED(SHOAL_WIRE_HELLO, m.hello.rank = -1);
    REFUSED(SHOAL_WIRE_HELLO, m.hello.size = SHOAL_WIRE_RANKS_MAX + 1);
    REFUSED(SHOAL_WIRE_HELLO, m.hello.slot = 5);
    REFUSED(SHOAL_WIRE_HELLO, m.hello.proof.bytes = 31);
    REFUSED(SHOAL_WIRE_HELLO, m.hello.plan_hash.bytes = 17);
    REFUSED(SHOAL_WIRE_HELLO, m.hello.byte_order.bytes = 8);
    REFUSED(SHOAL_WIRE_HELLO, m.hello.host = long_text);
    REFUSED(SHOAL_WIRE_LOAD, m.load.model = "");
    REFUSED(SHOAL_WIRE_LOAD, m.load.kv = -2);
    REFUSED(SHOAL_WIRE_LOAD, m.load.activations = 8);
    REFUSED(SHOAL_WIRE_LOAD, m.load.reduce = 8);
    REFUSED(SHOAL_WIRE_LOAD, m.load.ranks = 0);
    REFUSED(SHOAL_WIRE_LOAD, m.load.ranks = 4); /* three capacities */
    REFUSED(SHOAL_WIRE_LOAD, m.load.threads = -1);
    REFUSED(SHOAL_WIRE_LOAD, m.load.context = -1);
    REFUSED(SHOAL_WIRE_LOAD, m.load.capacity = ((const double[]){1, 0, 1}));
    REFUSED(SHOAL_WIRE_LOAD, m.load.capacity = ((const double[]){1, (double)INFINITY, 1}));
    REFUSED(SHOAL_WIRE_PLAN, m.plan.digest.bytes = 15);
    REFUSED(SHOAL_WIRE_PLAN, m.plan.ranks = 0);
    REFUSED(SHOAL_WIRE_PLAN, m.plan.units = ((const int64_t[]){0, 2, 2, 1, 1, 1}));
    REFUSED(SHOAL_WIRE_READY, m.ready.pages = -1);
    REFUSED(SHOAL_WIRE_READY, m.ready.load_seconds = -1);
    REFUSED(SHOAL_WIRE_READY, m.ready.kernel_count = SHOAL_WIRE_KERNELS_MAX + 1);
    REFUSED(SHOAL_WIRE_STEP, m.step.block.bytes = 0);
    REFUSED(SHOAL_WIRE_STEP_RESULT, m.step_result.row_count = 1);
    REFUSED(SHOAL_WIRE_STEP_RESULT, m.step_result.last = false);
    REFUSED(SHOAL_WIRE_STEP_RESULT, m.step_result.result_count = SHOAL_WIRE_SEQUENCES_MAX + 1);
    REFUSED(SHOAL_WIRE_STEP_RESULT, results[0].top_count = SHOAL_WIRE_TOP_MAX + 1);
    REFUSED(SHOAL_WIRE_STEP_RESULT, results[0].token = -2);
    REFUSED(SHOAL_WIRE_STEP_RESULT, m = row_sample(); m.step_result.width = 2);
    REFUSED(SHOAL_WIRE_STEP_RESULT, m = row_sample(); m.step_result.width = INT64_MAX);
    REFUSED(SHOAL_WIRE_STEP_RESULT, m = row_sample(); m.step_result.sequence = 1024);
    REFUSED(SHOAL_WIRE_HEARTBEAT, m.heartbeat.phase = SHOAL_PHASE_END);
    REFUSED(SHOAL_WIRE_STATS, m.stats.count = SHOAL_WIRE_STATS_MAX + 1);
    REFUSED(SHOAL_WIRE_ERROR, m.error.status = SHOAL_OK);
    REFUSED(SHOAL_WIRE_ERROR, m.error.status = (shoal_status)1);
    REFUSED(SHOAL_WIRE_ERROR, m.error.rank = -2);
    REFUSED(SHOAL_WIRE_BYE, m.bye.status = (shoal_status)3);
    REFUSED(SHOAL_WIRE_BYE, m.type = SHOAL_WIRE_TYPE_END);
}

/* A full load of logits fits a frame; one row more does not. */
static void largest_frame(void **state)
{
    (void)state;
    const uint64_t bytes = SHOAL_FRAME_PAYLOAD_MAX;
    uint8_t *block = calloc(1, bytes);
    shoal_wire_message m = {.type = SHOAL_WIRE_STEP};
    m.step.block = (shoal_wire_bytes){block, bytes - 16};
    round_trip(&m);
    m.step.block.bytes = bytes;
    refused_message(m);
    free(block);
}

static void no_memory(void **state)
{
    (void)state;
    for (shoal_wire_type t = SHOAL_WIRE_CHALLENGE; t < SHOAL_WIRE_TYPE_END; t++) {
        const shoal_wire_message m = sample(t);
        shoal_wire_buffer b = encoded(&m, 1);
        shoal_status st = SHOAL_ERR_TEMPORARY;
        for (uint64_t n = 1; st != SHOAL_OK && n < 200; n++) {
            shoal_wire_message back;
            shoal_mem_fail_nth(n);
            st = shoal_wire_decode(t, b.data + SHOAL_FRAME_HEADER, b.bytes - SHOAL_FRAME_HEADER,
                                   &back);
            if (st == SHOAL_OK)
                shoal_wire_free(&back);
            else
                assert_int_equal(st, SHOAL_ERR_TEMPORARY);
        }
        shoal_mem_fail_nth(0);
        assert_int_equal(st, SHOAL_OK);
        shoal_wire_buffer_free(&b);
    }
    assert_int_equal(shoal_mem_live(SHOAL_MEM_WIRE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_round_trips),
        cmocka_unit_test(empty_fields_are_empty_strings),
        cmocka_unit_test(standard_bytes),
        cmocka_unit_test(frame_headers),
        cmocka_unit_test(truncated_at_every_byte),
        cmocka_unit_test(random_damage),
        cmocka_unit_test(hostile_bytes),
        cmocka_unit_test(numbers_out_of_range),
        cmocka_unit_test(largest_frame),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
