/* worker/step.h - one step: which rows to compute, for which sequences, and what to say about them.
 *
 * A step mixes prefill chunks and decodes of many sequences. It is one flat block of memory of
 * fixed layout (no pointers), built by whoever schedules, broadcast by rank 0 as it is, and
 * checked by every rank before it indexes anything: token ids against the vocabulary, pages
 * against the pool, rows against the limits.
 *
 * The sequences' tokens lie one after another in the order of the sequences and fill the array. A
 * page that receives rows in a step is listed by no other sequence of it (full pages of a common
 * prefix may be shared: they are only read). Reserved words are 0. */
#ifndef SHOAL_WORKER_STEP_H
#define SHOAL_WORKER_STEP_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

#define SHOAL_STEP_MAGIC    0x50545353u /* "SSTP" */
#define SHOAL_SEQUENCES_MAX 1024
#define SHOAL_STEP_ROWS_MAX 8192
#define SHOAL_LOGPROBS_MAX  20

typedef enum {
    SHOAL_WANT_NOTHING, /* a prefill chunk that is not the last                              */
    SHOAL_WANT_TOKEN,   /* sample after the last row                                         */
    SHOAL_WANT_LOGITS,  /* the logits of every row                                           */
    SHOAL_WANT_NLL      /* per row but the last: negative log-likelihood of the next token   */
} shoal_want;

/* How to choose a token (docs/arithmetic.md rule 6). Off: temperature 0 = greedy, top_k 0,
 * top_p 1, min_p 0, penalties 1 and 0. */
typedef struct {
    float temperature, top_p, min_p;
    float repetition_penalty, frequency_penalty, presence_penalty;
    int32_t top_k;
    uint32_t choice; /* which of n parallel choices of a request */
    uint64_t seed;
    int32_t logprobs; /* how many of the best to report, -1: none */
    uint32_t reserved;
} shoal_sampling;

typedef struct {
    uint64_t id;      /* of the sequence, chosen by the scheduler                            */
    int64_t position; /* of the first row                                                    */
    int32_t rows;     /* tokens of this sequence in the step                                 */
    int32_t first_token, first_page; /* into the step's tokens and pages                     */
    int32_t page_count;              /* pages covering positions 0 .. position + rows - 1    */
    int32_t want;                    /* shoal_want                                           */
    int32_t first_history;  /* into history: every token so far (prompt, then output), only   */
    int32_t history_count;  /*   sent while penalties are on                                  */
    int32_t history_prompt; /* how many of them are prompt                                   */
    int32_t first_bias, bias_count; /* logit_bias pairs, into biases                         */
    int32_t allowed_first;          /* grammar mask: word offset into masks, -1: none        */
    int32_t reserved;
    shoal_sampling sampling;
} shoal_step_sequence;

typedef struct {
    int32_t id;
    float bias;
} shoal_step_bias;

/* The header; the arrays follow, each 8-byte aligned, in this order. */
typedef struct {
    uint32_t magic, generation;
    uint64_t number; /* rises by one per step */
    uint64_t bytes;  /* of the whole block */
    int32_t sequence_count, token_count, page_count, history_count, bias_count, mask_words;
    int32_t kind; /* shoal_step_kind */
    int32_t reserved;
} shoal_step;

typedef enum { SHOAL_STEP_FORWARD, SHOAL_STEP_BYE, SHOAL_STEP_TIMING } shoal_step_kind;

/* Does any sequence have more than one row? Such steps take longer. */
static inline bool shoal_step_is_prefill(const shoal_step *step)
{
    return step->token_count > step->sequence_count;
}

/* Views into a checked step. */
typedef struct {
    const shoal_step *step;
    const shoal_step_sequence *sequences;
    const int32_t *tokens, *pages, *history;
    const shoal_step_bias *biases;
    const uint32_t *masks;
} shoal_step_view;

/* What a step must respect. */
typedef struct {
    int64_t vocab, context, pages, rows_max, sequences_max;
} shoal_step_limits;

/* Size of a block with these counts. */
uint64_t shoal_step_bytes(int32_t sequences, int32_t tokens, int32_t pages, int32_t history,
                          int32_t biases, int32_t mask_words);

/* Lay out an empty block (`block` of shoal_step_bytes, zeroed) and give writable places. */
typedef struct {
    shoal_step *step;
    shoal_step_sequence *sequences;
    int32_t *tokens, *pages, *history;
    shoal_step_bias *biases;
    uint32_t *masks;
} shoal_step_draft;
void shoal_step_layout(void *block, int32_t sequences, int32_t tokens, int32_t pages,
                       int32_t history, int32_t biases, int32_t mask_words, shoal_step_draft *out);

/* Check a received block of `bytes` against the limits; SHOAL_ERR_DATA names what is wrong. */
SHOAL_MUST_USE shoal_status shoal_step_open(const void *block, uint64_t bytes,
                                            const shoal_step_limits *limits, shoal_step_view *out);

/* What rank 0 reports of one sequence. */
typedef struct {
    uint64_t id;
    int32_t token;     /* WANT_TOKEN: the choice; else -1                                */
    float logprob;     /* of the choice                                                  */
    int32_t top_count; /* filled entries below                                           */
    int32_t top_ids[SHOAL_LOGPROBS_MAX];
    float top_logprobs[SHOAL_LOGPROBS_MAX];
    int32_t failed_layer; /* -1: fine; else a row error ended the sequence, in this layer (the */
    int32_t failed_row;   /*   number of layers: after the last), at this one of its rows; then */
                          /*   nothing else is reported                                      */
    double nll;           /* WANT_NLL: sum over the rows                                    */
} shoal_sequence_result;

#endif
