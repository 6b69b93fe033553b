/* worker/answer.h - from rows of logits to what rank 0 reports of each sequence.
 *
 * A failure here (nothing may be chosen, the caller's sink refuses) must not stop the step: the
 * other ranks are already computing it. It is remembered and returned at the end. */
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
    shoal_status failed;
    char failure[SHOAL_ERROR_MAX];
} shoal_answer;

void shoal_answer_begin(shoal_answer *answer);

/* A shoal_row_sink; `context` is the shoal_answer. */
shoal_status shoal_answer_row(void *context, int64_t pick, const float *logits);

/* Row errors into the results; the remembered failure, if any. */
SHOAL_MUST_USE shoal_status shoal_answer_end(shoal_answer *answer);

#endif
