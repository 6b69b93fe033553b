/* worker/answer.h - from rows of logits to what rank 0 reports of each sequence.
 *
 * Where no token can be chosen (no logit is a number, the mask allows none) that sequence ends as
 * by a row error after the last layer; the others do not notice. A sink that refuses must not stop
 * the step either, because the other ranks are already computing it: its failure is remembered and
 * returned at the end. */
#ifndef SHOAL_WORKER_ANSWER_H
#define SHOAL_WORKER_ANSWER_H

#include "worker/sampler.h"
#include "worker/scratch.h"
#include "worker/step.h"
#include "worker/worker.h"

/* One step being answered. */
typedef struct {
    shoal_sampler *sampler;
    const shoal_step_view *view;
    const shoal_scratch *scratch;
    shoal_sequence_result *results; /* [sequence_count] */
    shoal_logits_sink sink;
    void *sink_context;
    int64_t vocab;
    int32_t layer_count;
    shoal_status failed; /* of the sink */
    char failure[SHOAL_ERROR_MAX];
} shoal_answer;

void shoal_answer_begin(shoal_answer *answer);

/* A shoal_row_sink; `context` is the shoal_answer. */
shoal_status shoal_answer_row(void *context, int64_t pick, const float *logits);

/* Row errors into the results; the sink's failure, if any. */
SHOAL_MUST_USE shoal_status shoal_answer_end(shoal_answer *answer);

#endif
