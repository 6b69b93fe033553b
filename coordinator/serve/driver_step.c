/* One step of the driver: from a plan to events. Declared in driver_state.h. */
#include <string.h>

#include "coordinator/clock.h"
#include "coordinator/serve/driver_state.h"
#include "proto/arena.h"
#include "proto/log.h"

shoal_status shoal_driver_make_room(shoal_driver *d, uint64_t sequences)
{
    void *parts = d->parts, *in_step = d->in_step, *results = d->results;
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_OTHER, sequences, sizeof *d->parts, &parts));
    d->parts = parts;
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_OTHER, sequences, sizeof *d->in_step, &in_step));
    d->in_step = in_step;
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_OTHER, sequences, sizeof *d->results, &results));
    d->results = results;
    return SHOAL_OK;
}

/* ---- before ---------------------------------------------------------------------------------- */

static void note_scheduled(shoal_driver *d, shoal_journal_entry *entry, double now)
{
    if (entry->scheduled > 0)
        return;
    entry->scheduled = now;
    shoal_metrics_observe(d->settings.metrics, SHOAL_TIME_QUEUE, now - entry->submitted);
    shoal_metrics_observe(d->settings.metrics, SHOAL_SIZE_PROMPT, (double)entry->prompt_count);
    shoal_metrics_add(d->settings.metrics, SHOAL_COUNT_PROMPT_TOKENS,
                      (uint64_t)entry->prompt_count);
}

static shoal_status build(shoal_driver *d, const shoal_schedule *plan, double now)
{
    for (int i = 0; i < plan->count; i++) {
        const shoal_scheduler_part *part = &plan->parts[i];
        shoal_journal_entry *entry = shoal_journal_find(&d->journal, part->id);
        if (!entry)
            return shoal_fail(SHOAL_ERR_INTERNAL, "a plan with a sequence nobody knows");
        note_scheduled(d, entry, now);
        d->in_step[i] = entry;
        d->parts[i] = (shoal_step_part){
            .id = part->id,
            .prompt = entry->tokens.data,
            .output = entry->tokens.data + entry->prompt_count,
            .prompt_count = entry->prompt_count,
            .output_count = shoal_journal_output(entry),
            .position = part->position,
            .rows = part->rows,
            .pages = part->pages,
            .want = part->last ? SHOAL_WANT_TOKEN : SHOAL_WANT_NOTHING,
            .sampling = &entry->sampling,
            .biases = entry->biases,
            .bias_count = (int32_t)shoal_journal_biases(entry),
        };
        if (entry->guide)
            d->parts[i].mask = shoal_guide_mask(entry->guide, &d->parts[i].mask_words);
    }
    return shoal_step_build(&d->builder, d->parts, plan->count, ++d->engine->steps);
}

/* ---- after ----------------------------------------------------------------------------------- */

static void note_token(const shoal_driver *d, shoal_journal_entry *entry, double now)
{
    shoal_metrics *m = d->settings.metrics;
    shoal_metrics_add(m, SHOAL_COUNT_GENERATION_TOKENS, 1);
    if (entry->first_token > 0) {
        shoal_metrics_observe(m, SHOAL_TIME_INTER_TOKEN, now - entry->last_token);
    } else {
        entry->first_token = now;
        shoal_metrics_observe(m, SHOAL_TIME_TO_FIRST_TOKEN, now - entry->submitted);
        shoal_metrics_observe(m, SHOAL_TIME_PREFILL, now - entry->scheduled);
    }
    entry->last_token = now;
}

static void note_end(const shoal_driver *d, const shoal_journal_entry *entry, shoal_finish finish,
                     double now)
{
    shoal_metrics *m = d->settings.metrics;
    shoal_metrics_finished(m, finish);
    shoal_metrics_observe(m, SHOAL_TIME_REQUEST, now - entry->submitted);
    shoal_metrics_observe(m, SHOAL_SIZE_GENERATION, (double)shoal_journal_output(entry));
    if (entry->first_token > 0)
        shoal_metrics_observe(m, SHOAL_TIME_DECODE, now - entry->first_token);
}

void shoal_driver_end_entry(shoal_driver *d, const shoal_journal_entry *entry, shoal_finish finish)
{
    const uint64_t id = entry->id;
    note_end(d, entry, finish, shoal_clock_seconds());
    shoal_scheduler_remove(d->scheduler, id);
    shoal_journal_remove(&d->journal, id);
}

void shoal_driver_fail_entry(shoal_driver *d, uint64_t id, shoal_cause cause)
{
    const shoal_journal_entry *entry = shoal_journal_find(&d->journal, id);
    const shoal_driver_event event = {.sequence = id, .finish = SHOAL_FINISH_ERROR, .cause = cause};
    shoal_driver_push_event(&d->events, &event);
    if (entry)
        shoal_driver_end_entry(d, entry, SHOAL_FINISH_ERROR);
}

static void copy_token(const shoal_sequence_result *from, shoal_choice_token *to)
{
    to->token = from->token;
    to->logprob = from->logprob;
    to->top_count = from->top_count;
    memcpy(to->top_ids, from->top_ids, (size_t)from->top_count * sizeof *to->top_ids);
    memcpy(to->top_logprobs, from->top_logprobs,
           (size_t)from->top_count * sizeof *to->top_logprobs);
}

/* It has brought a token: it is above suspicion. */
static void acquit(shoal_driver *d, shoal_journal_entry *entry)
{
    entry->losses = 0;
    if (entry->apart)
        shoal_scheduler_hold_apart(d->scheduler, entry->id, false);
    entry->apart = false;
}

/* If it is not for want of memory, the vocabulary or a limit of the form is to blame. */
static void fail_form(shoal_driver *d, const shoal_journal_entry *entry, shoal_status st)
{
    const shoal_cause cause = st == SHOAL_ERR_TEMPORARY         ? SHOAL_CAUSE_MEMORY
                              : shoal_guide_spent(entry->guide) ? SHOAL_CAUSE_FORM_WORK
                                                                : SHOAL_CAUSE_FORM;
    shoal_log(SHOAL_LOG_WARN, "form", "sequence %llu: %s", (unsigned long long)entry->id,
              shoal_error_text());
    shoal_driver_fail_entry(d, entry->id, cause);
}

bool shoal_driver_look_ahead(shoal_driver *d, shoal_journal_entry *entry)
{
    const shoal_status st = shoal_journal_look(entry);
    if (st != SHOAL_OK)
        fail_form(d, entry, st);
    return st == SHOAL_OK;
}

/* A form that is complete ends the text, and one that may be complete when nothing can follow. */
static shoal_finish finish_of(const shoal_journal_entry *entry, bool stops)
{
    if (stops || (entry->guide && shoal_guide_must_end(entry->guide)))
        return SHOAL_FINISH_STOP;
    if (shoal_journal_output(entry) < entry->max_tokens)
        return SHOAL_FINISH_NONE;
    return entry->guide && shoal_guide_may_end(entry->guide) ? SHOAL_FINISH_STOP
                                                             : SHOAL_FINISH_LENGTH;
}

static void take_token(shoal_driver *d, shoal_journal_entry *entry,
                       const shoal_sequence_result *result, double now)
{
    shoal_driver_event event = {
        .sequence = entry->id,
        .has_token = true,
        .hidden = shoal_journal_stops(entry, result->token),
    };
    const shoal_status st = shoal_journal_take(entry, result->token);
    if (st != SHOAL_OK) {
        fail_form(d, entry, st);
        return;
    }
    copy_token(result, &event.token);
    acquit(d, entry);
    note_token(d, entry, now);
    d->progressed = true;
    event.finish = finish_of(entry, event.hidden);
    shoal_driver_push_event(&d->events, &event);
    if (event.finish != SHOAL_FINISH_NONE)
        shoal_driver_end_entry(d, entry, event.finish);
    else
        (void)shoal_driver_look_ahead(d, entry);
}

/* Before the scheduler hears that the step was done: what an error spoilt must not be found in the
 * prefix cache. */
static void drop_spoilt(shoal_driver *d)
{
    for (int i = 0; i < d->in_step_count; i++) {
        const shoal_sequence_result *result = &d->results[i];
        const uint64_t id = d->in_step[i]->id;
        if (result->failed_layer < 0)
            continue;
        shoal_log(SHOAL_LOG_WARN, "overflow",
                  "sequence %llu: layer %d, row %d: a value beyond what the arithmetic can hold",
                  (unsigned long long)id, result->failed_layer, result->failed_row);
        d->in_step[i] = NULL;
        shoal_driver_fail_entry(d, id, SHOAL_CAUSE_OVERFLOW);
    }
}

static void take_tokens(shoal_driver *d, double now)
{
    for (int i = 0; i < d->in_step_count; i++)
        if (d->in_step[i] && d->parts[i].want == SHOAL_WANT_TOKEN)
            take_token(d, d->in_step[i], &d->results[i], now);
    d->in_step_count = 0;
}

/* ---- the step -------------------------------------------------------------------------------- */

shoal_status shoal_driver_step(shoal_driver *d, const shoal_schedule *plan)
{
    const double begin = shoal_clock_seconds();
    SHOAL_TRY(build(d, plan, begin));
    d->in_step_count = plan->count; /* a step that was never begun makes nobody suspect */
    SHOAL_TRY(
        shoal_engine_step(d->engine, d->builder.block, d->builder.bytes, d->results, NULL, NULL));
    const double now = shoal_clock_seconds();
    shoal_metrics_observe(d->settings.metrics, SHOAL_TIME_STEP, now - begin);
    shoal_metrics_observe(d->settings.metrics, SHOAL_SIZE_STEP, (double)plan->rows);
    shoal_metrics_add(d->settings.metrics, SHOAL_COUNT_STEPS, 1);
    drop_spoilt(d);
    shoal_scheduler_done(d->scheduler);
    take_tokens(d, now);
    shoal_driver_post(d);
    return SHOAL_OK;
}
