/* proto/wire.h - the messages between coordinator and workers as plain structs.
 *
 * Encoding and decoding go through protobuf-c, whose headers only proto/wire*.c see. A message is
 * a type and a union; pointers in a message to encode are borrowed, pointers in a decoded message
 * live until shoal_wire_free. Strings are never NULL in a decoded message; NULL and "" are the
 * same to the encoder.
 *
 * Everything is checked in both directions by the same functions: counts and lengths against the
 * caps below (before anything is allocated for them), numbers with a meaning against their range.
 * Decoding fails with SHOAL_ERR_DATA and a sentence; bytes may be anything. Fields unknown to this
 * build, repeated single fields and strings with NUL inside are refused, too. Structs that mirror
 * one of another floor say which. */
#ifndef SHOAL_PROTO_WIRE_H
#define SHOAL_PROTO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/digest.h"
#include "proto/frame.h"
#include "proto/status.h"

#define SHOAL_WIRE_PROTOCOL 1

#define SHOAL_WIRE_STRING_MAX    4096 /* bytes of any string, without NUL */
#define SHOAL_WIRE_RANKS_MAX     1024
#define SHOAL_WIRE_SEQUENCES_MAX 1024
#define SHOAL_WIRE_TOP_MAX       20
#define SHOAL_WIRE_KERNELS_MAX   256
#define SHOAL_WIRE_STATS_MAX     256

/* What an unauthenticated peer may send at most. */
#define SHOAL_WIRE_HELLO_MAX 16384

#define SHOAL_NONCE_BYTES 32

typedef struct {
    const uint8_t *data;
    uint64_t bytes;
} shoal_wire_bytes;

typedef struct {
    uint32_t protocol;
    shoal_wire_bytes nonce; /* SHOAL_NONCE_BYTES */
} shoal_wire_challenge;

typedef struct {
    uint32_t protocol;
    int32_t rank, size, slot; /* 0 <= rank, slot < size <= SHOAL_WIRE_RANKS_MAX */
    int64_t pid;
    const char *host, *build, *arithmetic, *kernel_level;
    shoal_wire_bytes proof;                    /* SHOAL_SHA256_BYTES */
    shoal_wire_bytes plan_hash, manifest_hash; /* 16 or 32 bytes, or none */
    shoal_wire_bytes byte_order;               /* 4 */
} shoal_wire_hello;

/* shoal_worker_settings of worker/worker.h, and the number of ranks. */
typedef struct {
    const char *model, *quantize, *keep_regex, *cpu, *offload;
    int32_t activations; /* 0 to 7 */
    int32_t kv;          /* -1 to 7 */
    int32_t reduce;      /* 0 to 7 */
    int32_t threads, ranks;
    int64_t prefill_chunk, max_sequences, context, kv_tokens;
    uint64_t memory;
    const double *capacity; /* [capacity_count]: none, or one positive number per rank */
    size_t capacity_count;
    bool push, probe, expert_parallel;
} shoal_wire_load;

/* Ends of half-open ranges, [2 * ranks] each: shoal_plan of shard/plan.h. */
typedef struct {
    int32_t ranks;
    shoal_wire_bytes digest; /* 16 */
    const int64_t *q_heads, *kv_heads, *units, *vocab_panels;
} shoal_wire_plan;

typedef struct {
    uint64_t done, total;
} shoal_wire_load_progress;

typedef struct {
    const char *role, *layout, *decode, *prefill;
} shoal_wire_kernel;

/* shoal_worker_facts and shoal_worker_rows of worker/worker.h. */
typedef struct {
    int64_t vocab, context, pages, rows_max, sequences_max; /* >= 0 */
    uint64_t planned_read, measured_read, planned_resident, measured_resident;
    uint64_t planned_streamed, pinned;
    double load_seconds;
    const char *arithmetic;
    shoal_wire_bytes plan_hash, manifest_hash;
    const shoal_wire_kernel *kernels;
    size_t kernel_count;
} shoal_wire_ready;

/* A block of worker/step.h. */
typedef struct {
    shoal_wire_bytes block;
} shoal_wire_step;

/* shoal_sequence_result of worker/step.h. */
typedef struct {
    uint64_t id;
    int32_t token; /* -1: none */
    float logprob;
    int32_t top_count;
    int32_t top_ids[SHOAL_WIRE_TOP_MAX];
    float top_logprobs[SHOAL_WIRE_TOP_MAX];
    int32_t failed_layer, failed_row; /* -1: fine */
    double nll;
} shoal_wire_result;

/* Either rows of logits (last false) or the results (last true, no logits). */
typedef struct {
    uint64_t number;
    const shoal_wire_result *results;
    size_t result_count;
    int32_t sequence, first_row, row_count;
    int64_t width;
    shoal_wire_bytes logits; /* row_count * width fp32, little-endian */
    bool last;
} shoal_wire_step_result;

typedef struct {
    uint64_t sequence;
} shoal_wire_cancel;

typedef enum {
    SHOAL_PHASE_START,
    SHOAL_PHASE_LOAD,
    SHOAL_PHASE_IDLE,
    SHOAL_PHASE_STEP,
    SHOAL_PHASE_CLOSE,
    SHOAL_PHASE_END
} shoal_wire_phase;

typedef struct {
    uint64_t counter, exchanges;
    shoal_wire_phase phase;
} shoal_wire_heartbeat;

typedef struct {
    const char *const *names; /* [count] */
    const double *values;     /* [count] */
    size_t count;
} shoal_wire_stats;

typedef struct {
    shoal_status status; /* never SHOAL_OK */
    const char *sentence;
    int32_t rank; /* -1: no rank in particular */
} shoal_wire_error;

typedef struct {
    shoal_status status;
} shoal_wire_bye;

typedef struct {
    shoal_wire_type type;
    union {
        shoal_wire_challenge challenge;
        shoal_wire_hello hello;
        shoal_wire_load load;
        shoal_wire_plan plan;
        shoal_wire_load_progress load_progress;
        shoal_wire_ready ready;
        shoal_wire_step step;
        shoal_wire_step_result step_result;
        shoal_wire_cancel cancel;
        shoal_wire_heartbeat heartbeat;
        shoal_wire_stats stats;
        shoal_wire_error error;
        shoal_wire_bye bye;
    };
    void *storage; /* of a decoded message */
} shoal_wire_message;

/* "Hello", "StepResult", …: for logs and sentences. */
const char *shoal_wire_name(shoal_wire_type type);

/* Bytes that grow; zero-initialised is empty. */
typedef struct {
    uint8_t *data;
    uint64_t bytes, capacity;
} shoal_wire_buffer;
void shoal_wire_buffer_free(shoal_wire_buffer *buffer);

/* Make room for `bytes` in all; the contents stay. */
SHOAL_MUST_USE shoal_status shoal_wire_buffer_reserve(shoal_wire_buffer *buffer, uint64_t bytes);

/* Append the message as a whole frame. On failure the buffer is as before. */
SHOAL_MUST_USE shoal_status shoal_wire_encode(const shoal_wire_message *message,
                                              uint32_t generation, shoal_wire_buffer *buffer);

/* Decode a frame's payload. */
SHOAL_MUST_USE shoal_status shoal_wire_decode(shoal_wire_type type, const void *payload,
                                              uint64_t bytes, shoal_wire_message *out);

/* Free what a decoded message holds; a zeroed message is fine. */
void shoal_wire_free(shoal_wire_message *message);

#endif
