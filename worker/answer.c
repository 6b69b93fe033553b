#include "worker/answer.h"

#include <string.h>

#include "proto/log.h"
#include "worker/fault.h"

/* Nothing to report but, perhaps, a row error. */
static shoal_sequence_result nothing(const shoal_answer *a, int32_t which, int32_t failed_layer,
                                     int32_t failed_row)
{
    return (shoal_sequence_result){.id = a->view->sequences[which].id,
                                   .token = -1,
                                   .failed_layer = failed_layer,
                                   .failed_row = failed_row};
}

void shoal_answer_begin(shoal_answer *answer)
{
    for (int32_t i = 0; i < answer->view->step->sequence_count; i++)
        answer->results[i] = nothing(answer, i, -1, -1);
    answer->failed = SHOAL_OK;
}

static void choose(shoal_answer *a, int32_t which, const float *logits)
{
    const shoal_step_sequence *seq = &a->view->sequences[which];
    const shoal_step_view *v = a->view;
    const shoal_sample_request request = {
        .sampling = &seq->sampling,
        .history = v->history + seq->first_history,
        .history_count = seq->history_count,
        .history_prompt = seq->history_prompt,
        .biases = v->biases + seq->first_bias,
        .bias_count = seq->bias_count,
        .allowed = seq->allowed_first < 0 ? NULL : v->masks + seq->allowed_first,
        .position = seq->position + seq->rows,
    };
    if (shoal_sample(a->sampler, logits, &request, &a->results[which]) == SHOAL_OK)
        return;
    shoal_log(SHOAL_LOG_WARN, "sampler", "sequence %llu: %s", (unsigned long long)seq->id,
              shoal_error_text());
    a->results[which] = nothing(a, which, a->layer_count, seq->rows - 1);
}

static shoal_status answer_one(shoal_answer *a, int64_t pick, const float *logits)
{
    const int32_t which = a->scratch->pick_sequence[pick];
    const shoal_step_sequence *seq = &a->view->sequences[which];
    const int32_t row = a->scratch->pick[pick] - seq->first_token;

    if (a->scratch->failed_layer[a->scratch->pick[pick]] >= 0)
        return SHOAL_OK; /* reported at the end */
    switch ((shoal_want)seq->want) {
    case SHOAL_WANT_TOKEN:
        SHOAL_FAULT(SAMPLE);
        choose(a, which, logits);
        return SHOAL_OK;
    case SHOAL_WANT_LOGITS:
        return a->sink ? a->sink(a->sink_context, which, row, logits, a->vocab) : SHOAL_OK;
    case SHOAL_WANT_NLL: {
        const int32_t next = a->view->tokens[seq->first_token + row + 1];
        a->results[which].nll += (double)(shoal_logits_lse(logits, a->vocab) - logits[next]);
        return SHOAL_OK;
    }
    case SHOAL_WANT_NOTHING: break;
    }
    return SHOAL_OK;
}

shoal_status shoal_answer_row(void *context, int64_t pick, const float *logits)
{
    shoal_answer *a = context;
    if (a->failed != SHOAL_OK)
        return SHOAL_OK;
    a->failed = answer_one(a, pick, logits);
    if (a->failed != SHOAL_OK)
        memcpy(a->failure, shoal_error_text(), sizeof a->failure);
    return SHOAL_OK;
}

shoal_status shoal_answer_end(shoal_answer *answer)
{
    for (int32_t i = 0; i < answer->view->step->sequence_count; i++) {
        const shoal_step_sequence *seq = &answer->view->sequences[i];
        const int32_t *failed_layer = answer->scratch->failed_layer + seq->first_token;
        int32_t r = 0;
        while (r < seq->rows && failed_layer[r] < 0)
            r++;
        if (r < seq->rows)
            answer->results[i] = nothing(answer, i, failed_layer[r], r);
    }
    if (answer->failed != SHOAL_OK)
        return shoal_fail(answer->failed, "%s", answer->failure);
    return SHOAL_OK;
}
