/* worker/sampler.h - from a row of logits to a token: pure, seeded, the same everywhere.
 *
 * Order (docs/arithmetic.md rule 6): logit_bias, repetition penalty, frequency and presence
 * penalty, grammar mask, temperature, top_k, top_p, min_p. Definitions:
 *
 *     bias         x += b
 *     repetition   every distinct id of prompt and output: x < 0 ? x * r : x / r
 *     frequency,   ids of the output, c times there: x -= c * f + p
 *     presence
 *     temperature  x /= T; 0, or so small that the quotient overflows: the largest x, lowest id
 *     top_k        the k best and whatever ties with the k-th
 *     top_p        best first, until the sum of those kept reaches p; at least one
 *     min_p        probability >= m times the largest
 *
 * Candidates are ordered by (logit descending, id ascending); cumulative sums run in double in
 * that order; a probability below fp32's smallest number is 0. The random number is Philox4x32-10
 * (Salmon et al., SC 2011) keyed by (seed, choice, position), so a replay draws the same token.
 * NaN and -inf are never chosen. Ids and counts come checked (worker/step.h). */
#ifndef SHOAL_WORKER_SAMPLER_H
#define SHOAL_WORKER_SAMPLER_H

#include <stdint.h>

#include "worker/step.h"

typedef struct shoal_sampler shoal_sampler; /* scratch for one vocabulary */

SHOAL_MUST_USE shoal_status shoal_sampler_create(int64_t vocab, shoal_sampler **out);
void shoal_sampler_destroy(shoal_sampler *sampler);

typedef struct {
    const shoal_sampling *sampling;
    const int32_t *history; /* prompt, then output */
    int32_t history_count, history_prompt;
    const shoal_step_bias *biases;
    int32_t bias_count;
    const uint32_t *allowed; /* bit per id, or NULL */
    int64_t position;        /* absolute position the chosen token will have */
} shoal_sample_request;

/* Choose a token from logits[vocab] (not changed) and fill token, logprob and the top list; other
 * fields are left alone. The reported log-probabilities are of the unmodified distribution; with
 * sampling->logprobs -1 none is computed and logprob is 0. SHOAL_ERR_DATA when nothing may be
 * chosen (mask empty, all logits NaN). */
SHOAL_MUST_USE shoal_status shoal_sample(shoal_sampler *sampler, const float *logits,
                                         const shoal_sample_request *request,
                                         shoal_sequence_result *result);

/* Probabilities after all steps, probs[vocab]; what shoal_sample draws from (tests). */
SHOAL_MUST_USE shoal_status shoal_sample_probabilities(shoal_sampler *sampler, const float *logits,
                                                       const shoal_sample_request *request,
                                                       double *probs);

/* log-sum-exp of logits[vocab] in 64 lanes and the fixed tree; a NaN among them gives NaN. */
float shoal_logits_lse(const float *logits, int64_t vocab);

/* 32 random bits for (seed, choice, position). */
uint32_t shoal_philox(uint64_t seed, uint32_t choice, uint64_t position);

#endif
