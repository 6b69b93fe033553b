#include "worker/step.h"

#include <math.h>
#include <string.h>

#include "kernels/backend.h"
#include "proto/bytes.h"

/* The block travels between processes as it is: its layout must have no holes. */
_Static_assert(sizeof(shoal_step) == 56, "layout of a step's header");
_Static_assert(sizeof(shoal_sampling) == 48, "layout of sampling");
_Static_assert(sizeof(shoal_step_sequence) == 112, "layout of a step's sequence");
_Static_assert(sizeof(shoal_step_bias) == 8, "layout of a bias");

/* Where each array of a block starts. */
typedef struct {
    uint64_t sequences, tokens, pages, history, biases, masks, end;
} block_places;

static uint64_t array_bytes(int32_t count, uint64_t size)
{
    const uint64_t bytes = (uint64_t)count * size;
    return (bytes + 7) / 8 * 8;
}

/* Counts are not negative, so no sum can pass 2^40. */
static block_places places_of(int32_t sequences, int32_t tokens, int32_t pages, int32_t history,
                              int32_t biases, int32_t mask_words)
{
    block_places p;
    p.sequences = sizeof(shoal_step);
    p.tokens = p.sequences + array_bytes(sequences, sizeof(shoal_step_sequence));
    p.pages = p.tokens + array_bytes(tokens, sizeof(int32_t));
    p.history = p.pages + array_bytes(pages, sizeof(int32_t));
    p.biases = p.history + array_bytes(history, sizeof(int32_t));
    p.masks = p.biases + array_bytes(biases, sizeof(shoal_step_bias));
    p.end = p.masks + array_bytes(mask_words, sizeof(uint32_t));
    return p;
}

uint64_t shoal_step_bytes(int32_t sequences, int32_t tokens, int32_t pages, int32_t history,
                          int32_t biases, int32_t mask_words)
{
    return places_of(sequences, tokens, pages, history, biases, mask_words).end;
}

void shoal_step_layout(void *block, int32_t sequences, int32_t tokens, int32_t pages,
                       int32_t history, int32_t biases, int32_t mask_words, shoal_step_draft *out)
{
    const block_places at = places_of(sequences, tokens, pages, history, biases, mask_words);
    char *base = block;
    out->step = block;
    *out->step = (shoal_step){
        .magic = SHOAL_STEP_MAGIC,
        .bytes = at.end,
        .sequence_count = sequences,
        .token_count = tokens,
        .page_count = pages,
        .history_count = history,
        .bias_count = biases,
        .mask_words = mask_words,
        .kind = SHOAL_STEP_FORWARD,
    };
    out->sequences = (void *)(base + at.sequences);
    out->tokens = (void *)(base + at.tokens);
    out->pages = (void *)(base + at.pages);
    out->history = (void *)(base + at.history);
    out->biases = (void *)(base + at.biases);
    out->masks = (void *)(base + at.masks);
}

static shoal_status check_count(const char *what, int32_t count, int64_t most)
{
    if (count < 0 || count > most)
        return shoal_fail(SHOAL_ERR_DATA, "step: %d %s, at most %lld are allowed", count, what,
                          (long long)most);
    return SHOAL_OK;
}

static int64_t pages_for(int64_t tokens)
{
    return shoal_ceil_div(tokens, SHOAL_PAGE);
}

static int64_t mask_words_for(int64_t vocab)
{
    return shoal_ceil_div(vocab, 32);
}

/* The header and the size of the block; afterwards every array lies inside the block. */
static shoal_status check_header(const shoal_step *step, uint64_t bytes,
                                 const shoal_step_limits *limits)
{
    if (step->magic != SHOAL_STEP_MAGIC)
        return shoal_fail(SHOAL_ERR_DATA, "step: the block starts with 0x%08x, not 0x%08x",
                          step->magic, SHOAL_STEP_MAGIC);
    if (step->kind != SHOAL_STEP_FORWARD && step->kind != SHOAL_STEP_BYE)
        return shoal_fail(SHOAL_ERR_DATA, "step: unknown kind %d", step->kind);
    if (step->reserved != 0)
        return shoal_fail(SHOAL_ERR_DATA, "step: the reserved word of the header is not 0");

    const int64_t sequences = shoal_min_i64(limits->sequences_max, SHOAL_SEQUENCES_MAX);
    const int64_t rows = shoal_min_i64(limits->rows_max, SHOAL_STEP_ROWS_MAX);
    SHOAL_TRY(check_count("sequences", step->sequence_count, sequences));
    SHOAL_TRY(check_count("tokens", step->token_count, rows));
    const int64_t count = step->sequence_count;
    SHOAL_TRY(check_count("pages", step->page_count, count * pages_for(limits->context)));
    SHOAL_TRY(check_count("history tokens", step->history_count, count * limits->context));
    SHOAL_TRY(check_count("biases", step->bias_count, count * limits->vocab));
    SHOAL_TRY(check_count("mask words", step->mask_words, count * mask_words_for(limits->vocab)));
    if (step->kind == SHOAL_STEP_FORWARD ? count == 0 : count != 0 || step->token_count != 0)
        return shoal_fail(SHOAL_ERR_DATA, "step: kind %d with %d sequences and %d tokens",
                          step->kind, step->sequence_count, step->token_count);

    const uint64_t expected =
        shoal_step_bytes(step->sequence_count, step->token_count, step->page_count,
                         step->history_count, step->bias_count, step->mask_words);
    if (step->bytes != bytes || expected != bytes)
        return shoal_fail(SHOAL_ERR_DATA,
                          "step: a block of %llu bytes says %llu and its counts make %llu",
                          (unsigned long long)bytes, (unsigned long long)step->bytes,
                          (unsigned long long)expected);
    return SHOAL_OK;
}

static shoal_status check_range(int index, const char *what, int64_t first, int64_t count,
                                int64_t total)
{
    if (first < 0 || count < 0 || first > total || count > total - first)
        return shoal_fail(SHOAL_ERR_DATA,
                          "step: sequence %d takes %s [%lld, +%lld) of %lld in the step", index,
                          what, (long long)first, (long long)count, (long long)total);
    return SHOAL_OK;
}

static shoal_status check_ids(int index, const char *what, const int32_t *ids, int64_t count,
                              int64_t limit)
{
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= limit)
            return shoal_fail(SHOAL_ERR_DATA,
                              "step: sequence %d: %s %lld is %d, allowed are 0 to %lld", index,
                              what, (long long)i, ids[i], (long long)limit - 1);
    return SHOAL_OK;
}

static bool is_share(float x)
{
    return x >= 0.0f && x <= 1.0f; /* false for NaN */
}

static shoal_status check_sampling(int index, const shoal_sampling *s)
{
    const char *wrong = NULL;
    if (!isfinite(s->temperature) || s->temperature < 0)
        wrong = "temperature";
    else if (!is_share(s->top_p))
        wrong = "top_p";
    else if (!is_share(s->min_p))
        wrong = "min_p";
    else if (!isfinite(s->repetition_penalty) || s->repetition_penalty <= 0)
        wrong = "repetition_penalty";
    else if (!isfinite(s->frequency_penalty))
        wrong = "frequency_penalty";
    else if (!isfinite(s->presence_penalty))
        wrong = "presence_penalty";
    else if (s->top_k < 0)
        wrong = "top_k";
    else if (s->logprobs < -1 || s->logprobs > SHOAL_LOGPROBS_MAX)
        wrong = "logprobs";
    else if (s->reserved != 0)
        wrong = "the reserved word of sampling";
    if (wrong)
        return shoal_fail(SHOAL_ERR_DATA, "step: sequence %d: %s is out of range", index, wrong);
    return SHOAL_OK;
}

/* What the choice of a token needs: history, biases, mask. */
static shoal_status check_choice(int index, const shoal_step_sequence *s,
                                 const shoal_step_view *view, const shoal_step_limits *limits)
{
    const shoal_step *step = view->step;
    SHOAL_TRY(
        check_range(index, "history", s->first_history, s->history_count, step->history_count));
    SHOAL_TRY(
        check_range(index, "prompt tokens of the history", 0, s->history_prompt, s->history_count));
    SHOAL_TRY(check_ids(index, "history token", view->history + s->first_history, s->history_count,
                        limits->vocab));
    SHOAL_TRY(check_range(index, "biases", s->first_bias, s->bias_count, step->bias_count));
    for (int32_t i = 0; i < s->bias_count; i++) {
        const shoal_step_bias *bias = &view->biases[s->first_bias + i];
        SHOAL_TRY(check_ids(index, "biased token", &bias->id, 1, limits->vocab));
        if (!isfinite(bias->bias))
            return shoal_fail(SHOAL_ERR_DATA,
                              "step: sequence %d: the bias of token %d is no number", index,
                              bias->id);
    }
    if (s->allowed_first != -1)
        SHOAL_TRY(check_range(index, "mask words", s->allowed_first, mask_words_for(limits->vocab),
                              step->mask_words));
    return s->want == SHOAL_WANT_TOKEN ? check_sampling(index, &s->sampling) : SHOAL_OK;
}

static shoal_status check_sequence(int index, int32_t next_token, const shoal_step_view *view,
                                   const shoal_step_limits *limits)
{
    const shoal_step_sequence *s = &view->sequences[index];
    if (s->want < SHOAL_WANT_NOTHING || s->want > SHOAL_WANT_NLL)
        return shoal_fail(SHOAL_ERR_DATA, "step: sequence %d wants %d, which is nothing known",
                          index, s->want);
    if (s->reserved != 0)
        return shoal_fail(SHOAL_ERR_DATA, "step: sequence %d: the reserved word is not 0", index);
    if (s->rows < 1 || s->position < 0 || s->position > limits->context ||
        s->rows > limits->context - s->position)
        return shoal_fail(SHOAL_ERR_DATA,
                          "step: sequence %d: %d rows at position %lld, the context holds %lld",
                          index, s->rows, (long long)s->position, (long long)limits->context);
    if (s->first_token != next_token)
        return shoal_fail(SHOAL_ERR_DATA,
                          "step: sequence %d starts at token %d, the one before it ends at %d",
                          index, s->first_token, next_token);
    SHOAL_TRY(check_range(index, "tokens", s->first_token, s->rows, view->step->token_count));
    SHOAL_TRY(check_ids(index, "token", view->tokens + s->first_token, s->rows, limits->vocab));
    SHOAL_TRY(check_range(index, "pages", s->first_page, s->page_count, view->step->page_count));
    if (s->page_count < pages_for(s->position + s->rows) ||
        s->page_count > pages_for(limits->context))
        return shoal_fail(SHOAL_ERR_DATA, "step: sequence %d: %d pages for %lld positions", index,
                          s->page_count, (long long)(s->position + s->rows));
    SHOAL_TRY(check_ids(index, "page", view->pages + s->first_page, s->page_count, limits->pages));
    return check_choice(index, s, view, limits);
}

/* Pages that receive keys and values in this step: a hash set on the stack. A written page has a
 * row of its own, so there are at most SHOAL_STEP_ROWS_MAX of them. */
#define SET_SLOTS (2 * SHOAL_STEP_ROWS_MAX)
typedef struct {
    int32_t page[SET_SLOTS]; /* page + 1; 0: empty */
} page_set;

static uint32_t set_find(const page_set *set, int32_t page)
{
    uint32_t at = (uint32_t)page * 2654435769u >> 18;
    while (set->page[at] != 0 && set->page[at] != page + 1)
        at = (at + 1) % SET_SLOTS;
    return at;
}
_Static_assert(SET_SLOTS == 1 << 14, "the hash keeps 14 bits");

/* A page written in this step belongs to one sequence alone: a second writer would destroy it, and
 * a reader would see it half written. */
static shoal_status check_writes(const shoal_step_view *view)
{
    page_set set;
    memset(&set, 0, sizeof set);
    for (int i = 0; i < view->step->sequence_count; i++) {
        const shoal_step_sequence *s = &view->sequences[i];
        for (int64_t p = s->position / SHOAL_PAGE; p < pages_for(s->position + s->rows); p++) {
            const int32_t page = view->pages[s->first_page + p];
            const uint32_t at = set_find(&set, page);
            if (set.page[at] != 0)
                return shoal_fail(SHOAL_ERR_DATA, "step: page %d is written twice (sequence %d)",
                                  page, i);
            set.page[at] = page + 1;
        }
    }
    for (int i = 0; i < view->step->sequence_count; i++) {
        const shoal_step_sequence *s = &view->sequences[i];
        for (int64_t p = 0; p < s->position / SHOAL_PAGE; p++) {
            const int32_t page = view->pages[s->first_page + p];
            if (set.page[set_find(&set, page)] != 0)
                return shoal_fail(SHOAL_ERR_DATA,
                                  "step: page %d is read by sequence %d and written elsewhere",
                                  page, i);
        }
    }
    return SHOAL_OK;
}

shoal_status shoal_step_open(const void *block, uint64_t bytes, const shoal_step_limits *limits,
                             shoal_step_view *out)
{
    if (bytes < sizeof(shoal_step) || (uintptr_t)block % 8 != 0)
        return shoal_fail(SHOAL_ERR_DATA, "step: a block of %llu bytes, or not aligned to 8",
                          (unsigned long long)bytes);
    const shoal_step *step = block;
    SHOAL_TRY(check_header(step, bytes, limits));

    const block_places at = places_of(step->sequence_count, step->token_count, step->page_count,
                                      step->history_count, step->bias_count, step->mask_words);
    const char *base = block;
    const shoal_step_view view = {
        .step = step,
        .sequences = (const void *)(base + at.sequences),
        .tokens = (const void *)(base + at.tokens),
        .pages = (const void *)(base + at.pages),
        .history = (const void *)(base + at.history),
        .biases = (const void *)(base + at.biases),
        .masks = (const void *)(base + at.masks),
    };
    int32_t next_token = 0;
    for (int i = 0; i < step->sequence_count; i++) {
        SHOAL_TRY(check_sequence(i, next_token, &view, limits));
        next_token += view.sequences[i].rows;
    }
    if (next_token != step->token_count)
        return shoal_fail(SHOAL_ERR_DATA, "step: %d tokens, but the sequences have %d rows",
                          step->token_count, next_token);
    SHOAL_TRY(check_writes(&view));
    *out = view;
    return SHOAL_OK;
}
