#include "coordinator/step_builder.h"

#include <string.h>

#include "kernels/backend.h"
#include "proto/arena.h"
#include "proto/bytes.h"

/* How much of every array the parts need. */
typedef struct {
    int32_t tokens, pages, history, biases, mask_words;
} step_counts;

static int32_t token_at(const shoal_step_part *part, int64_t index)
{
    return index < part->prompt_count ? part->prompt[index]
                                      : part->output[index - part->prompt_count];
}

static bool wants_history(const shoal_step_part *part)
{
    const shoal_sampling *s = part->sampling;
    return part->want == SHOAL_WANT_TOKEN &&
           (s->repetition_penalty != 1.0f || s->frequency_penalty != 0.0f ||
            s->presence_penalty != 0.0f);
}

static step_counts counts_of(const shoal_step_part *part)
{
    return (step_counts){
        .tokens = (int32_t)part->rows,
        .pages = (int32_t)shoal_ceil_div(part->position + part->rows, SHOAL_PAGE),
        .history = wants_history(part) ? (int32_t)(part->prompt_count + part->output_count) : 0,
        .biases = part->want == SHOAL_WANT_TOKEN ? part->bias_count : 0,
        .mask_words = part->want == SHOAL_WANT_TOKEN && part->mask ? part->mask_words : 0,
    };
}

static void advance(step_counts *at, const step_counts *by)
{
    at->tokens += by->tokens;
    at->pages += by->pages;
    at->history += by->history;
    at->biases += by->biases;
    at->mask_words += by->mask_words;
}

static void fill_part(const shoal_step_part *part, const step_counts *at, const step_counts *counts,
                      shoal_step_draft *draft, shoal_step_sequence *seq)
{
    *seq = (shoal_step_sequence){
        .id = part->id,
        .position = part->position,
        .rows = counts->tokens,
        .first_token = at->tokens,
        .first_page = at->pages,
        .page_count = counts->pages,
        .want = (int32_t)part->want,
        .first_history = at->history,
        .history_count = counts->history,
        .history_prompt = counts->history ? (int32_t)part->prompt_count : 0,
        .first_bias = at->biases,
        .bias_count = counts->biases,
        .allowed_first = counts->mask_words ? at->mask_words : -1,
        .sampling = *part->sampling,
    };
    for (int32_t k = 0; k < counts->tokens; k++)
        draft->tokens[at->tokens + k] = token_at(part, part->position + k);
    memcpy(draft->pages + at->pages, part->pages, (size_t)counts->pages * sizeof(int32_t));
    for (int32_t k = 0; k < counts->history; k++)
        draft->history[at->history + k] = token_at(part, k);
    if (counts->biases)
        memcpy(draft->biases + at->biases, part->biases,
               (size_t)counts->biases * sizeof *part->biases);
    if (counts->mask_words)
        memcpy(draft->masks + at->mask_words, part->mask,
               (size_t)counts->mask_words * sizeof *part->mask);
}

shoal_status shoal_step_build(shoal_step_builder *builder, const shoal_step_part *parts, int count,
                              uint64_t number)
{
    step_counts all = {0}, at = {0};
    shoal_step_draft draft;
    for (int i = 0; i < count; i++) {
        const step_counts counts = counts_of(&parts[i]);
        advance(&all, &counts);
    }
    const uint64_t bytes =
        shoal_step_bytes(count, all.tokens, all.pages, all.history, all.biases, all.mask_words);
    if (bytes > builder->room) {
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_WIRE, bytes, 1, &builder->block));
        builder->room = bytes;
    }
    memset(builder->block, 0, bytes);
    builder->bytes = bytes;
    shoal_step_layout(builder->block, count, all.tokens, all.pages, all.history, all.biases,
                      all.mask_words, &draft);
    draft.step->number = number;
    for (int i = 0; i < count; i++) {
        const step_counts counts = counts_of(&parts[i]);
        fill_part(&parts[i], &at, &counts, &draft, &draft.sequences[i]);
        advance(&at, &counts);
    }
    return SHOAL_OK;
}

void shoal_step_builder_free(shoal_step_builder *builder)
{
    shoal_free(builder->block);
    *builder = (shoal_step_builder){0};
}
