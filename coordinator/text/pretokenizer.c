#include "coordinator/text/pretokenizer.h"

#include "coordinator/text/byte_level.h"
#include "coordinator/text/utf8.h"

shoal_status shoal_pretokenizer_add(shoal_pretokenizer *pre, const shoal_pretoken_step *step)
{
    if (pre->count == SHOAL_PRETOKENIZER_STEPS_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "more than %d pre-tokenizer steps",
                          SHOAL_PRETOKENIZER_STEPS_MAX);
    pre->steps[pre->count++] = *step;
    return SHOAL_OK;
}

void shoal_pretokenizer_free(shoal_pretokenizer *pre)
{
    for (int i = 0; i < pre->count; i++)
        shoal_pattern_free(pre->steps[i].pattern);
    *pre = (shoal_pretokenizer){0};
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

/* Cut one word. An empty match cuts too, but not directly behind another match. */
static shoal_status split_word(const shoal_pretoken_step *step, shoal_matcher *matcher,
                               const char *word, size_t bytes, size_t base, shoal_spans *out)
{
    cutter c = {.step = step, .out = out, .base = base};
    size_t from = 0, done = 0;
    bool any = false;
    while (from <= bytes) {
        bool found;
        shoal_span m;
        SHOAL_TRY(shoal_pattern_find(step->pattern, matcher, word, bytes, from, &found, &m));
        if (!found)
            break;
        if (m.begin == m.end && any && m.end == done) {
            if (from == bytes)
                break;
            (void)shoal_utf8_next(word, &from);
            continue;
        }
        if (m.begin > done)
            SHOAL_TRY(part(&c, done, m.begin, false));
        SHOAL_TRY(part(&c, m.begin, m.end, true));
        any = true;
        from = done = m.end;
    }
    if (done < bytes)
        SHOAL_TRY(part(&c, done, bytes, false));
    return release(&c);
}

static shoal_status split(const shoal_pretoken_step *step, shoal_matcher *matcher, shoal_words *w)
{
    w->spare_spans.count = 0;
    for (size_t i = 0; i < w->spans.count; i++) {
        const shoal_span s = w->spans.data[i];
        SHOAL_TRY(split_word(step, matcher, w->text.data + s.begin, s.end - s.begin, s.begin,
                             &w->spare_spans));
    }
    const shoal_spans swap = w->spans;
    w->spans = w->spare_spans;
    w->spare_spans = swap;
    return SHOAL_OK;
}

/* ---- rewriting ---- */

static shoal_status rewrite_word(shoal_pretoken_kind kind, const char *word, size_t bytes,
                                 shoal_strbuf *out)
{
    if (kind == SHOAL_PRETOKEN_BYTE_ALPHABET)
        return shoal_byte_level_encode(word, bytes, out);
    if (word[0] != ' ')
        SHOAL_TRY(shoal_strbuf_append(out, " ", 1));
    return shoal_strbuf_append(out, word, bytes);
}

static shoal_status rewrite(shoal_pretoken_kind kind, shoal_words *w)
{
    w->spare_text.bytes = 0;
    for (size_t i = 0; i < w->spans.count; i++) {
        shoal_span *s = &w->spans.data[i];
        const size_t begin = w->spare_text.bytes;
        SHOAL_TRY(rewrite_word(kind, w->text.data + s->begin, s->end - s->begin, &w->spare_text));
        *s = (shoal_span){begin, w->spare_text.bytes};
    }
    const shoal_strbuf swap = w->text;
    w->text = w->spare_text;
    w->spare_text = swap;
    return SHOAL_OK;
}

shoal_status shoal_pretokenizer_run(const shoal_pretokenizer *pre, shoal_matcher *matcher,
                                    const char *text, size_t bytes, shoal_words *words)
{
    words->text.bytes = 0;
    words->spans.count = 0;
    SHOAL_TRY(shoal_strbuf_append(&words->text, text, bytes));
    SHOAL_TRY(shoal_spans_push(&words->spans, 0, bytes));
    for (int i = 0; i < pre->count; i++) {
        const shoal_pretoken_step *step = &pre->steps[i];
        if (step->kind == SHOAL_PRETOKEN_SPLIT)
            SHOAL_TRY(split(step, matcher, words));
        else
            SHOAL_TRY(rewrite(step->kind, words));
    }
    return SHOAL_OK;
}
