#include "coordinator/text/pretokenizer.h"

#include <string.h>

#include "coordinator/text/byte_level.h"
#include "coordinator/text/utf8.h"

static void free_step(shoal_pretoken_step *step)
{
    shoal_strbuf_free(&step->text);
    shoal_pattern_free(step->pattern);
}

shoal_status shoal_pretokenizer_add(shoal_pretokenizer *pre, const shoal_pretoken_step *step)
{
    shoal_pretoken_step copy = *step;
    if (pre->count == SHOAL_PRETOKENIZER_STEPS_MAX) {
        free_step(&copy);
        return shoal_fail(SHOAL_ERR_DATA, "more than %d pre-tokenizer steps",
                          SHOAL_PRETOKENIZER_STEPS_MAX);
    }
    pre->steps[pre->count++] = copy;
    return SHOAL_OK;
}

void shoal_pretokenizer_free(shoal_pretokenizer *pre)
{
    for (int i = 0; i < pre->count; i++)
        free_step(&pre->steps[i]);
    pre->count = 0;
}

void shoal_words_free(shoal_words *words)
{
    shoal_strbuf_free(&words->text);
    shoal_strbuf_free(&words->spare_text);
    shoal_spans_free(&words->spans);
    shoal_spans_free(&words->spare_spans);
}

/* ---- split ---- */

/* One word on its way through a split. The word being built is held back, because a later part
 * may still join it. */
typedef struct {
    const shoal_pretoken_step *step;
    shoal_spans *out;
    size_t base;
    shoal_span held;
    bool holds, last_was_match;
} cutter;

static shoal_status release(cutter *c)
{
    const bool holds = c->holds;
    c->holds = false;
    return holds ? shoal_spans_push(c->out, c->base + c->held.begin, c->base + c->held.end)
                 : SHOAL_OK;
}

/* The next part, a match or what lies between matches. */
static shoal_status part(cutter *c, size_t begin, size_t end, bool match)
{
    const bool after_match = c->last_was_match;
    bool joins = false;
    match = match != c->step->invert;
    c->last_was_match = match;
    switch (c->step->behavior) {
    case SHOAL_SPLIT_REMOVED:
        if (match)
            return SHOAL_OK;
        break;
    case SHOAL_SPLIT_ISOLATED: break;
    case SHOAL_SPLIT_WITH_PREVIOUS: joins = match && !after_match; break;
    case SHOAL_SPLIT_WITH_NEXT: joins = !match && after_match; break;
    case SHOAL_SPLIT_CONTIGUOUS: joins = match == after_match; break;
    }
    if (joins && c->holds) {
        c->held.end = end;
        return SHOAL_OK;
    }
    SHOAL_TRY(release(c));
    c->held = (shoal_span){begin, end};
    c->holds = true;
    return SHOAL_OK;
}

static shoal_status split_word(const shoal_pretoken_step *step, shoal_matcher *matcher,
                               const char *word, size_t bytes, size_t base, shoal_spans *out)
{
    cutter c = {.step = step, .out = out, .base = base};
    shoal_matches matches = {step->pattern, matcher, word, bytes, 0, 0, false};
    size_t done = 0;
    for (;;) {
        bool found;
        shoal_span m;
        SHOAL_TRY(shoal_matches_next(&matches, &found, &m));
        if (!found)
            break;
        if (m.begin > done)
            SHOAL_TRY(part(&c, done, m.begin, false));
        SHOAL_TRY(part(&c, m.begin, m.end, true));
        done = m.end;
    }
    if (done < bytes)
        SHOAL_TRY(part(&c, done, bytes, false));
    return release(&c);
}

static shoal_status cut_lengths(size_t length, const char *word, size_t bytes, size_t base,
                                shoal_spans *out)
{
    for (size_t at = 0; at < bytes;) {
        const size_t begin = at;
        for (size_t i = 0; i < length && at < bytes; i++)
            (void)shoal_utf8_next(word, &at);
        SHOAL_TRY(shoal_spans_push(out, base + begin, base + at));
    }
    return SHOAL_OK;
}

static shoal_status cut(const shoal_pretoken_step *step, shoal_matcher *matcher, shoal_words *w)
{
    w->spare_spans.count = 0;
    for (size_t i = 0; i < w->spans.count; i++) {
        const shoal_span s = w->spans.data[i];
        const char *word = w->text.data + s.begin;
        if (step->kind == SHOAL_PRETOKEN_LENGTH)
            SHOAL_TRY(cut_lengths(step->length, word, s.end - s.begin, s.begin, &w->spare_spans));
        else
            SHOAL_TRY(split_word(step, matcher, word, s.end - s.begin, s.begin, &w->spare_spans));
    }
    const shoal_spans swap = w->spans;
    w->spans = w->spare_spans;
    w->spare_spans = swap;
    w->begins_text = w->begins_text && w->spans.count && w->spans.data[0].begin == 0;
    return SHOAL_OK;
}

/* ---- rewriting ---- */

static bool begins_with(const char *word, size_t bytes, const shoal_strbuf *text)
{
    return bytes >= text->bytes && memcmp(word, text->data, text->bytes) == 0;
}

/* `first`: the word begins the whole text. */
static shoal_status rewrite_word(const shoal_pretoken_step *step, shoal_matcher *matcher,
                                 const char *word, size_t bytes, bool first, shoal_strbuf *out)
{
    if (step->kind == SHOAL_PRETOKEN_BYTE_ALPHABET)
        return shoal_byte_level_encode(word, bytes, out);
    if (step->kind == SHOAL_PRETOKEN_REPLACE)
        return shoal_pattern_replace(step->pattern, matcher, word, bytes, &step->text, SIZE_MAX,
                                     out);
    if ((first || !step->first_only) && !begins_with(word, bytes, &step->text))
        SHOAL_TRY(shoal_strbuf_append(out, step->text.data, step->text.bytes));
    return shoal_strbuf_append(out, word, bytes);
}

/* A word that is rewritten to nothing is no longer there. */
static shoal_status rewrite(const shoal_pretoken_step *step, shoal_matcher *matcher, shoal_words *w)
{
    size_t kept = 0;
    w->spare_text.bytes = 0;
    for (size_t i = 0; i < w->spans.count; i++) {
        const shoal_span s = w->spans.data[i];
        const size_t begin = w->spare_text.bytes;
        SHOAL_TRY(rewrite_word(step, matcher, w->text.data + s.begin, s.end - s.begin,
                               i == 0 && w->begins_text, &w->spare_text));
        if (w->spare_text.bytes > begin)
            w->spans.data[kept++] = (shoal_span){begin, w->spare_text.bytes};
    }
    w->spans.count = kept;
    const shoal_strbuf swap = w->text;
    w->text = w->spare_text;
    w->spare_text = swap;
    return SHOAL_OK;
}

shoal_status shoal_pretokenizer_run(const shoal_pretokenizer *pre, shoal_matcher *matcher,
                                    const char *text, size_t bytes, bool begins_text,
                                    shoal_words *words)
{
    words->begins_text = begins_text;
    words->text.bytes = 0;
    words->spans.count = 0;
    SHOAL_TRY(shoal_strbuf_append(&words->text, text, bytes));
    SHOAL_TRY(shoal_spans_push(&words->spans, 0, bytes));
    for (int i = 0; i < pre->count; i++) {
        const shoal_pretoken_step *step = &pre->steps[i];
        if (step->kind == SHOAL_PRETOKEN_SPLIT || step->kind == SHOAL_PRETOKEN_LENGTH)
            SHOAL_TRY(cut(step, matcher, words));
        else
            SHOAL_TRY(rewrite(step, matcher, words));
        SHOAL_TRY(shoal_check_grown(words->text.bytes, shoal_grown_max(bytes)));
    }
    return SHOAL_OK;
}
