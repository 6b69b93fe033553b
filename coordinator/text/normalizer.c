#include "coordinator/text/normalizer.h"

#include "coordinator/text/byte_level.h"
#include "coordinator/text/utf8.h"

static void free_step(shoal_normal_step *step)
{
    shoal_sentencepiece_normalizer_destroy(step->sentencepiece);
    shoal_charsmap_destroy(step->charsmap);
    shoal_strbuf_free(&step->text);
    shoal_pattern_free(step->pattern);
}

shoal_status shoal_normalizer_add(shoal_normalizer *normalizer, const shoal_normal_step *step)
{
    shoal_normal_step copy = *step;
    if (normalizer->count == SHOAL_NORMALIZER_STEPS_MAX) {
        free_step(&copy);
        return shoal_fail(SHOAL_ERR_DATA, "more than %d normalizer steps",
                          SHOAL_NORMALIZER_STEPS_MAX);
    }
    normalizer->steps[normalizer->count++] = copy;
    return SHOAL_OK;
}

void shoal_normalizer_free(shoal_normalizer *normalizer)
{
    for (int i = 0; i < normalizer->count; i++)
        free_step(&normalizer->steps[i]);
    normalizer->count = 0;
}

/* ---- the kinds: each appends what becomes of the text ---- */

static shoal_status map_characters(shoal_char_map map, const char *text, size_t bytes,
                                   shoal_strbuf *out)
{
    for (size_t at = 0; at < bytes;) {
        uint32_t become[SHOAL_CHAR_MAP_MAX];
        const size_t count = map(shoal_utf8_next(text, &at), become);
        SHOAL_TRY(shoal_strbuf_reserve(out, SHOAL_CHAR_MAP_MAX * SHOAL_UTF8_MAX));
        for (size_t i = 0; i < count; i++)
            out->bytes += shoal_utf8_put(become[i], out->data + out->bytes);
    }
    return SHOAL_OK;
}

static shoal_status strip(const shoal_normal_step *step, const char *text, size_t bytes,
                          shoal_strbuf *out)
{
    size_t begin = 0, end = bytes;
    for (size_t at = 0; step->left && at < bytes; begin = at)
        if (!shoal_unicode_is_space(shoal_utf8_next(text, &at)))
            break;
    for (size_t at = end; step->right && at > begin; end = at)
        if (!shoal_unicode_is_space(shoal_utf8_previous(text, &at)))
            break;
    return shoal_strbuf_append(out, text + begin, end - begin);
}

static shoal_status prepend(const shoal_normal_step *step, const char *text, size_t bytes,
                            shoal_strbuf *out)
{
    if (bytes)
        SHOAL_TRY(shoal_strbuf_append(out, step->text.data, step->text.bytes));
    return shoal_strbuf_append(out, text, bytes);
}

/* The shortest key that the text begins with: append what it becomes. */
static shoal_status map_shortest(const shoal_charsmap *map, const char *text, size_t bytes,
                                 bool *found, shoal_strbuf *out)
{
    for (size_t end = 0; end < bytes;) {
        const char *become;
        size_t become_bytes;
        (void)shoal_utf8_next(text, &end);
        (void)shoal_charsmap_next(map, text, end, &become, &become_bytes);
        *found = become != text;
        if (*found)
            return shoal_strbuf_append(out, become, become_bytes);
    }
    return SHOAL_OK;
}

/* What the library of tokenizer.json makes of a charsmap: a short grapheme cluster that begins with
 * a key becomes what the shortest such key does, all of it; otherwise its characters do, one by
 * one. */
#define SHORT_GRAPHEME 6 /* bytes from which a cluster is not looked up as a whole */

static shoal_status map_grapheme(const shoal_charsmap *map, const char *text, size_t bytes,
                                 shoal_strbuf *out)
{
    bool found = false;
    if (bytes < SHORT_GRAPHEME)
        SHOAL_TRY(map_shortest(map, text, bytes, &found, out));
    for (size_t at = 0; !found && at < bytes;) {
        const size_t begin = at;
        bool known = false;
        (void)shoal_utf8_next(text, &at);
        SHOAL_TRY(map_shortest(map, text + begin, at - begin, &known, out));
        if (!known)
            SHOAL_TRY(shoal_strbuf_append(out, text + begin, at - begin));
    }
    return SHOAL_OK;
}

static shoal_status map_graphemes(const shoal_charsmap *map, const char *text, size_t bytes,
                                  size_t most, shoal_strbuf *out)
{
    for (size_t at = 0; at < bytes;) {
        const size_t end = shoal_unicode_grapheme(text, bytes, at);
        SHOAL_TRY(map_grapheme(map, text + at, end - at, out));
        SHOAL_TRY(shoal_check_grown(out->bytes, most));
        at = end;
    }
    return SHOAL_OK;
}

/* `most`: how long the text may become; steps that multiply its length by little check it behind
 * them. */
static shoal_status run_step(const shoal_normal_step *step, shoal_matcher *matcher,
                             const char *text, size_t bytes, size_t most, shoal_strbuf *out)
{
    switch (step->kind) {
    case SHOAL_NORMAL_FORM: return shoal_unicode_normalize(step->form, text, bytes, out);
    case SHOAL_NORMAL_CHARACTERS: return map_characters(step->map, text, bytes, out);
    case SHOAL_NORMAL_STRIP: return strip(step, text, bytes, out);
    case SHOAL_NORMAL_PREPEND: return prepend(step, text, bytes, out);
    case SHOAL_NORMAL_REPLACE:
        return shoal_pattern_replace(step->pattern, matcher, text, bytes, &step->text, most, out);
    case SHOAL_NORMAL_SENTENCEPIECE:
        return shoal_sentencepiece_normalize(step->sentencepiece, text, bytes, most, out);
    case SHOAL_NORMAL_CHARSMAP_GRAPHEMES:
        return map_graphemes(step->charsmap, text, bytes, most, out);
    case SHOAL_NORMAL_BYTE_ALPHABET: return shoal_byte_level_encode(text, bytes, out);
    }
    return shoal_fail(SHOAL_ERR_INTERNAL, "normalizer step %d does not exist", (int)step->kind);
}

shoal_status shoal_normalizer_run(const shoal_normalizer *normalizer, shoal_matcher *matcher,
                                  const char *text, size_t bytes, shoal_strbuf *out)
{
    shoal_status st = SHOAL_OK;
    shoal_strbuf next = {0};
    const size_t most = shoal_grown_max(bytes);
    out->bytes = 0;
    SHOAL_TRY(shoal_strbuf_reserve(out, 1)); /* an address also for no bytes */
    SHOAL_TRY(shoal_strbuf_append(out, text, bytes));
    for (int i = 0; i < normalizer->count; i++) {
        next.bytes = 0;
        SHOAL_TRY_GOTO(shoal_strbuf_reserve(&next, 1), done);
        SHOAL_TRY_GOTO(run_step(&normalizer->steps[i], matcher, out->data, out->bytes, most, &next),
                       done);
        SHOAL_TRY_GOTO(shoal_check_grown(next.bytes, most), done);
        const shoal_strbuf swap = *out;
        *out = next;
        next = swap;
    }
done:
    shoal_strbuf_free(&next);
    return st;
}
