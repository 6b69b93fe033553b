#include "coordinator/text/decoder.h"

#include <string.h>

#include "coordinator/text/byte_level.h"
#include "coordinator/text/utf8.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */
#define SPACE_MARK  "\xE2\x96\x81" /* U+2581 */

/* ---- the list ---- */

static void free_step(shoal_decode_step *step)
{
    shoal_strbuf_free(&step->text);
    shoal_pattern_free(step->pattern);
}

static bool joins(const shoal_decode_step *step)
{
    return step->kind == SHOAL_DECODE_BYTE_LEVEL || step->kind == SHOAL_DECODE_FUSE;
}

/* Is it about what stands between tokens? */
static bool says_nothing_joined(const shoal_decode_step *step)
{
    return step->kind == SHOAL_DECODE_FUSE || step->kind == SHOAL_DECODE_SPACE ||
           step->kind == SHOAL_DECODE_SPACE_UNLESS;
}

/* What a step means behind one that joins: there is one token, the first and last. */
static shoal_status settle_joined(shoal_decode_step *step)
{
    const shoal_strbuf *literal = step->pattern ? shoal_pattern_literal(step->pattern) : NULL;
    step->joined = true;
    if (step->kind == SHOAL_DECODE_BYTE_LEVEL || step->kind == SHOAL_DECODE_BYTE_FALLBACK)
        return shoal_fail(SHOAL_ERR_DATA,
                          "decoder: bytes behind ByteLevel or Fuse are unsupported");
    if (step->pattern && (!literal || literal->bytes > SHOAL_DECODER_LITERAL_MAX))
        return shoal_fail(SHOAL_ERR_DATA,
                          "decoder: behind ByteLevel or Fuse only a String of up to %u bytes can "
                          "be replaced",
                          SHOAL_DECODER_LITERAL_MAX);
    if (step->kind == SHOAL_DECODE_WORD_END || step->drop_in_first)
        step->text.bytes = 0;
    if (step->kind == SHOAL_DECODE_WORD_END)
        step->kind = SHOAL_DECODE_REPLACE;
    return SHOAL_OK;
}

shoal_status shoal_decoder_add(shoal_decoder *decoder, const shoal_decode_step *step)
{
    shoal_decode_step copy = *step;
    shoal_status st = SHOAL_OK;
    for (int i = 0; i < decoder->count && !copy.joined; i++)
        copy.joined = joins(&decoder->steps[i]);
    if (decoder->count == SHOAL_DECODER_STEPS_MAX)
        st = shoal_fail(SHOAL_ERR_DATA, "more than %d decoder steps", SHOAL_DECODER_STEPS_MAX);
    else if (copy.joined)
        st = settle_joined(&copy);
    if (st != SHOAL_OK) {
        free_step(&copy);
        return st;
    }
    if (copy.joined && says_nothing_joined(&copy)) {
        free_step(&copy);
        return SHOAL_OK;
    }
    decoder->regex |= copy.pattern && !shoal_pattern_literal(copy.pattern);
    decoder->steps[decoder->count++] = copy;
    return SHOAL_OK;
}

bool shoal_decoder_separates(const shoal_decoder *decoder)
{
    for (int i = 0; i < decoder->count; i++) {
        const shoal_decode_kind kind = decoder->steps[i].kind;
        if (kind == SHOAL_DECODE_SPACE || kind == SHOAL_DECODE_SPACE_UNLESS ||
            kind == SHOAL_DECODE_WORD_END)
            return true;
    }
    return false;
}

void shoal_decoder_free(shoal_decoder *decoder)
{
    for (int i = 0; i < decoder->count; i++)
        free_step(&decoder->steps[i]);
    decoder->count = 0;
}

/* ---- one token ---- */

static bool begins_with(const char *text, size_t bytes, const shoal_strbuf *what)
{
    return what->bytes <= bytes && memcmp(text, what->data, what->bytes) == 0;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "<0xNN>" stands for; -1 if it is something else. */
static int byte_token(const char *text, size_t bytes)
{
    if (bytes != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    const int high = hex(text[3]), low = hex(text[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* How many of text[0, bytes) are `most` or fewer repetitions of `what` at the beginning, or at the
 * end. */
static size_t repeats_first(const char *text, size_t bytes, const shoal_strbuf *what, size_t most)
{
    size_t at = 0;
    for (size_t i = 0; i < most && begins_with(text + at, bytes - at, what); i++)
        at += what->bytes;
    return at;
}

static size_t repeats_last(const char *text, size_t bytes, const shoal_strbuf *what, size_t most)
{
    size_t end = bytes;
    for (size_t i = 0; i < most && end >= what->bytes; i++) {
        if (!begins_with(text + end - what->bytes, what->bytes, what))
            break;
        end -= what->bytes;
    }
    return bytes - end;
}

/* Append what the step makes of a token that is not joined with others, at most `most` bytes where
 * it multiplies. */
static shoal_status rewrite(const shoal_decode_step *step, shoal_matcher *matcher, bool first,
                            const char *text, size_t bytes, size_t most, shoal_strbuf *out)
{
    static const shoal_strbuf nothing = {0};
    if (step->kind == SHOAL_DECODE_REPLACE)
        return shoal_pattern_replace(step->pattern, matcher, text, bytes,
                                     first && step->drop_in_first ? &nothing : &step->text, most,
                                     out);
    if (step->kind == SHOAL_DECODE_STRIP) {
        const size_t begin = repeats_first(text, bytes, &step->text, step->start);
        bytes -= begin + repeats_last(text + begin, bytes - begin, &step->text, step->stop);
        return shoal_strbuf_append(out, text + begin, bytes);
    }
    const bool spaced = step->kind == SHOAL_DECODE_SPACE || step->kind == SHOAL_DECODE_SPACE_UNLESS;
    size_t skip = 0;
    if (spaced && !first) {
        const bool unless = step->kind == SHOAL_DECODE_SPACE_UNLESS;
        if (unless && begins_with(text, bytes, &step->text))
            skip = step->text.bytes;
        else
            SHOAL_TRY(shoal_strbuf_append(out, " ", 1));
    }
    return shoal_strbuf_append(out, text + skip, bytes - skip);
}

/* ---- the walk ---- */

static shoal_status feed(shoal_decode_walk *w, int at, const char *text, size_t bytes);

static shoal_status pass_on(shoal_decode_walk *w, int at)
{
    shoal_decode_memory *m = &w->memory[at];
    return m->out.bytes ? feed(w, at + 1, m->out.data, m->out.bytes) : SHOAL_OK;
}

/* The held bytes as far as they are characters, broken ones replaced. */
static shoal_status release_bytes(shoal_decode_walk *w, int at, bool final)
{
    shoal_decode_memory *m = &w->memory[at];
    size_t used;
    SHOAL_TRY(shoal_utf8_repair(m->held.data, m->held.bytes, final, &m->out, &used));
    m->held.bytes -= used;
    if (m->held.bytes)
        memmove(m->held.data, m->held.data + used, m->held.bytes);
    return pass_on(w, at);
}

static shoal_status take_byte_level(shoal_decode_walk *w, int at, const char *text, size_t bytes)
{
    SHOAL_TRY(shoal_byte_level_decode(text, bytes, &w->memory[at].held));
    return w->whole ? SHOAL_OK : release_bytes(w, at, false);
}

static shoal_status end_bytes(shoal_decode_walk *w, int at)
{
    return release_bytes(w, at, true);
}

/* Must the whole run be known? Also where the next step looks at tokens, for a run is one. */
static bool run_stays_whole(const shoal_decode_walk *w, int at)
{
    const shoal_decoder *d = w->decoder;
    return w->whole || (at + 1 < d->count && !joins(&d->steps[at + 1]));
}

/* A run of bytes has ended. When it is known as a whole and no UTF-8, none of it counts as a
 * character, and each byte is a token. */
static shoal_status end_run(shoal_decode_walk *w, int at)
{
    shoal_decode_memory *m = &w->memory[at];
    const size_t run = m->held.bytes;
    if (!run)
        return SHOAL_OK;
    if (!run_stays_whole(w, at) || shoal_utf8_valid(m->held.data, run) == run)
        return release_bytes(w, at, true);
    for (size_t i = 0; i < run; i++)
        SHOAL_TRY(feed(w, at + 1, REPLACEMENT, strlen(REPLACEMENT)));
    m->held.bytes = 0;
    return SHOAL_OK;
}

static shoal_status take_byte_fallback(shoal_decode_walk *w, int at, const char *text, size_t bytes)
{
    const int byte = byte_token(text, bytes);
    if (byte < 0) {
        SHOAL_TRY(end_run(w, at));
        return feed(w, at + 1, text, bytes);
    }
    SHOAL_TRY(shoal_strbuf_append(&w->memory[at].held, &(char){(char)byte}, 1));
    return run_stays_whole(w, at) ? SHOAL_OK : release_bytes(w, at, false);
}

static shoal_status take_any(shoal_decode_walk *w, int at, const char *text, size_t bytes)
{
    return feed(w, at + 1, text, bytes);
}

static shoal_status take_token(shoal_decode_walk *w, int at, const char *text, size_t bytes)
{
    shoal_decode_memory *m = &w->memory[at];
    const bool first = !m->begun;
    m->begun = true;
    SHOAL_TRY(rewrite(&w->decoder->steps[at], w->matcher, first, text, bytes,
                      shoal_grown_max(w->taken), &m->out));
    return feed(w, at + 1, m->out.data, m->out.bytes);
}

/* Joined text: what could be the beginning of the literal at its end is held back. */
static shoal_status take_replace(shoal_decode_walk *w, int at, const char *text, size_t bytes)
{
    const shoal_decode_step *step = &w->decoder->steps[at];
    shoal_decode_memory *m = &w->memory[at];
    if (!step->joined)
        return take_token(w, at, text, bytes);
    const shoal_strbuf *literal = shoal_pattern_literal(step->pattern);
    SHOAL_TRY(shoal_strbuf_append(&m->held, text, bytes));
    shoal_matches matches = {step->pattern, NULL, m->held.data, m->held.bytes, 0, 0, false};
    size_t done = 0;
    for (;;) {
        bool found;
        shoal_span match;
        SHOAL_TRY(shoal_matches_next(&matches, &found, &match));
        if (!found)
            break;
        SHOAL_TRY(shoal_strbuf_append(&m->out, m->held.data + done, match.begin - done));
        SHOAL_TRY(shoal_strbuf_append(&m->out, step->text.data, step->text.bytes));
        SHOAL_TRY(shoal_check_grown(m->out.bytes, shoal_grown_max(w->taken)));
        done = match.end;
    }
    size_t rest = m->held.bytes - done, keep = rest < literal->bytes ? rest : literal->bytes - 1;
    while (keep && memcmp(m->held.data + m->held.bytes - keep, literal->data, keep) != 0)
        keep--;
    SHOAL_TRY(shoal_strbuf_append(&m->out, m->held.data + done, rest - keep));
    memmove(m->held.data, m->held.data + m->held.bytes - keep, keep);
    m->held.bytes = keep;
    return pass_on(w, at);
}

static shoal_status end_replace(shoal_decode_walk *w, int at)
{
    shoal_decode_memory *m = &w->memory[at];
    SHOAL_TRY(shoal_strbuf_append(&m->out, m->held.data, m->held.bytes));
    m->held.bytes = 0;
    return pass_on(w, at);
}

/* Joined text: what would be cut if it ended here is held back, and dropped by the end. */
static shoal_status take_strip(shoal_decode_walk *w, int at, const char *text, size_t bytes)
{
    const shoal_decode_step *step = &w->decoder->steps[at];
    shoal_decode_memory *m = &w->memory[at];
    if (!step->joined)
        return take_token(w, at, text, bytes);
    if (m->cut == step->start && step->stop == 0) /* where most of a text stands */
        return feed(w, at + 1, text, bytes);
    const size_t begin = repeats_first(text, bytes, &step->text, step->start - m->cut);
    m->cut = begin < bytes ? step->start : m->cut + begin / step->text.bytes;
    SHOAL_TRY(shoal_strbuf_append(&m->held, text + begin, bytes - begin));
    const size_t keep = repeats_last(m->held.data, m->held.bytes, &step->text, step->stop);
    const size_t go = m->held.bytes - keep;
    SHOAL_TRY(shoal_strbuf_append(&m->out, m->held.data, go));
    memmove(m->held.data, m->held.data + go, keep);
    m->held.bytes = keep;
    return pass_on(w, at);
}

static shoal_status end_strip(shoal_decode_walk *w, int at)
{
    w->memory[at].held.bytes = 0;
    return SHOAL_OK;
}

/* A token that holds the mark waits until it is known whether it is the last. */
static shoal_status release_word(shoal_decode_walk *w, int at, const char *space)
{
    const shoal_decode_step *step = &w->decoder->steps[at];
    shoal_decode_memory *m = &w->memory[at];
    char blank[] = " ";
    const shoal_strbuf become = {blank, strlen(space), 1};
    if (!m->begun)
        return SHOAL_OK;
    m->begun = false;
    SHOAL_TRY(shoal_pattern_replace(step->pattern, NULL, m->held.data, m->held.bytes, &become,
                                    SIZE_MAX, &m->out));
    m->held.bytes = 0;
    return feed(w, at + 1, m->out.data, m->out.bytes);
}

static shoal_status take_word_end(shoal_decode_walk *w, int at, const char *text, size_t bytes)
{
    shoal_decode_memory *m = &w->memory[at];
    bool found;
    shoal_span match;
    SHOAL_TRY(release_word(w, at, " "));
    SHOAL_TRY(
        shoal_pattern_find(w->decoder->steps[at].pattern, NULL, text, bytes, 0, &found, &match));
    if (!found)
        return feed(w, at + 1, text, bytes);
    m->begun = true;
    return shoal_strbuf_append(&m->held, text, bytes);
}

static shoal_status end_word(shoal_decode_walk *w, int at)
{
    return release_word(w, at, "");
}

/* Bytes as far as they are characters. As in the SentencePiece library each byte of what is broken
 * is replaced by itself. */
static shoal_status release_single_bytes(shoal_decode_walk *w, int at, bool final)
{
    shoal_decode_memory *m = &w->memory[at];
    size_t done = 0;
    while (done < m->held.bytes) {
        const char *text = m->held.data + done;
        size_t length;
        const shoal_utf8_kind kind = shoal_utf8_look(text, m->held.bytes - done, &length);
        if (kind == SHOAL_UTF8_PARTIAL && !final)
            break;
        if (kind != SHOAL_UTF8_WHOLE) {
            text = REPLACEMENT;
            length = 1;
        }
        SHOAL_TRY(shoal_strbuf_append(&m->out, text,
                                      kind == SHOAL_UTF8_WHOLE ? length : strlen(REPLACEMENT)));
        done += length;
    }
    m->begun |= done > 0;
    m->held.bytes -= done;
    if (m->held.bytes)
        memmove(m->held.data, m->held.data + done, m->held.bytes);
    return pass_on(w, at);
}

static shoal_status append_spaced(const char *text, size_t bytes, shoal_strbuf *out)
{
    const size_t mark = strlen(SPACE_MARK);
    for (const char *end = text + bytes; text < end;) {
        const char *found = memmem(text, (size_t)(end - text), SPACE_MARK, mark);
        SHOAL_TRY(shoal_strbuf_append(out, text, (size_t)((found ? found : end) - text)));
        if (!found)
            break;
        SHOAL_TRY(shoal_strbuf_append(out, " ", 1));
        text = found + mark;
    }
    return SHOAL_OK;
}

static bool is_literal(const shoal_decode_step *step, const char *text, size_t bytes)
{
    const shoal_strbuf *literal = shoal_pattern_literal(step->pattern);
    return literal->bytes == bytes && memcmp(text, literal->data, bytes) == 0;
}

static shoal_status take_sentencepiece(shoal_decode_walk *w, int at, const char *text, size_t bytes)
{
    const shoal_decode_step *step = &w->decoder->steps[at];
    shoal_decode_memory *m = &w->memory[at];
    const int byte = byte_token(text, bytes);
    if (byte >= 0) {
        SHOAL_TRY(shoal_strbuf_append(&m->held, &(char){(char)byte}, 1));
        return w->whole ? SHOAL_OK : release_single_bytes(w, at, false);
    }
    SHOAL_TRY(release_single_bytes(w, at, true));
    m->out.bytes = 0;
    if (is_literal(step, text, bytes)) {
        SHOAL_TRY(shoal_strbuf_append(&m->out, step->text.data, step->text.bytes));
    } else {
        const size_t mark = strlen(SPACE_MARK);
        const bool drop = !m->begun && m->cut < step->start && bytes >= mark &&
                          memcmp(text, SPACE_MARK, mark) == 0;
        m->cut += drop;
        SHOAL_TRY(append_spaced(text + (drop ? mark : 0), bytes - (drop ? mark : 0), &m->out));
    }
    m->begun |= m->out.bytes > 0;
    return pass_on(w, at);
}

static shoal_status end_sentencepiece(shoal_decode_walk *w, int at)
{
    return release_single_bytes(w, at, true);
}

static const struct {
    shoal_status (*take)(shoal_decode_walk *w, int at, const char *text, size_t bytes);
    shoal_status (*end)(shoal_decode_walk *w, int at); /* NULL: nothing is held back */
} kinds[] = {
    [SHOAL_DECODE_BYTE_LEVEL] = {take_byte_level, end_bytes},
    [SHOAL_DECODE_BYTE_FALLBACK] = {take_byte_fallback, end_run},
    [SHOAL_DECODE_FUSE] = {take_any, NULL},
    [SHOAL_DECODE_SPACE] = {take_token, NULL},
    [SHOAL_DECODE_SPACE_UNLESS] = {take_token, NULL},
    [SHOAL_DECODE_REPLACE] = {take_replace, end_replace},
    [SHOAL_DECODE_STRIP] = {take_strip, end_strip},
    [SHOAL_DECODE_SENTENCEPIECE] = {take_sentencepiece, end_sentencepiece},
    [SHOAL_DECODE_WORD_END] = {take_word_end, end_word},
};

/* A token, or a portion of joined text, enters a step. */
static shoal_status feed(shoal_decode_walk *w, int at, const char *text, size_t bytes)
{
    const size_t most = shoal_grown_max(w->taken);
    SHOAL_TRY(shoal_check_grown(bytes, most));
    if (at == w->decoder->count) {
        w->given += bytes;
        SHOAL_TRY(shoal_check_grown(w->given, most));
        return shoal_strbuf_append(w->out, text, bytes);
    }
    w->memory[at].out.bytes = 0;
    return kinds[w->decoder->steps[at].kind].take(w, at, text, bytes);
}

/* Before the first use: what steps write to has an address, also for no bytes. */
static shoal_status prepare(shoal_decode_walk *w)
{
    if (w->ready)
        return SHOAL_OK;
    for (int i = 0; i < w->decoder->count; i++) {
        SHOAL_TRY(shoal_strbuf_reserve(&w->memory[i].held, 1));
        SHOAL_TRY(shoal_strbuf_reserve(&w->memory[i].out, 1));
    }
    if (w->decoder->regex && !w->matcher)
        SHOAL_TRY(shoal_matcher_create(&w->matcher));
    w->ready = true;
    return SHOAL_OK;
}

shoal_status shoal_decode_push(shoal_decode_walk *walk, const char *piece, size_t bytes)
{
    SHOAL_TRY(prepare(walk));
    walk->taken += bytes;
    return feed(walk, 0, piece, bytes);
}

shoal_status shoal_decode_finish(shoal_decode_walk *walk)
{
    SHOAL_TRY(prepare(walk));
    for (int i = 0; i < walk->decoder->count; i++) {
        shoal_decode_memory *m = &walk->memory[i];
        m->out.bytes = 0;
        if (kinds[walk->decoder->steps[i].kind].end)
            SHOAL_TRY(kinds[walk->decoder->steps[i].kind].end(walk, i));
        m->begun = false;
        m->cut = 0;
    }
    walk->taken = walk->given = 0;
    return SHOAL_OK;
}

void shoal_decode_walk_free(shoal_decode_walk *walk)
{
    for (int i = 0; i < walk->decoder->count; i++) {
        shoal_strbuf_free(&walk->memory[i].held);
        shoal_strbuf_free(&walk->memory[i].out);
    }
    shoal_matcher_free(walk->matcher);
}

/* ---- a piece by itself ---- */

/* The step's part in it; what joined text loses at its ends does not concern the middle. */
static shoal_status piece_step(const shoal_decode_step *step, shoal_matcher *matcher,
                               const char *text, size_t bytes, size_t most, bool *raw,
                               shoal_strbuf *out)
{
    const bool sentencepiece = step->kind == SHOAL_DECODE_SENTENCEPIECE;
    const int byte =
        sentencepiece || step->kind == SHOAL_DECODE_BYTE_FALLBACK ? byte_token(text, bytes) : -1;
    *raw = byte >= 0;
    if (*raw)
        return shoal_strbuf_append(out, &(char){(char)byte}, 1);
    if (sentencepiece)
        return is_literal(step, text, bytes)
                   ? shoal_strbuf_append(out, step->text.data, step->text.bytes)
                   : append_spaced(text, bytes, out);
    if (step->kind == SHOAL_DECODE_BYTE_LEVEL)
        return shoal_byte_level_decode(text, bytes, out);
    if (step->kind == SHOAL_DECODE_WORD_END)
        return shoal_pattern_replace(step->pattern, matcher, text, bytes,
                                     &(shoal_strbuf){(char[]){' '}, 1, 1}, SIZE_MAX, out);
    if (step->joined && step->kind != SHOAL_DECODE_REPLACE)
        return shoal_strbuf_append(out, text, bytes);
    return rewrite(step, matcher, false, text, bytes, most, out);
}

shoal_status shoal_decoder_piece(const shoal_decoder *decoder, const char *piece, size_t bytes,
                                 shoal_strbuf *out)
{
    shoal_status st = SHOAL_OK;
    shoal_matcher *matcher = NULL;
    shoal_strbuf text = {0}, next = {0};
    bool raw = false; /* bytes that are no characters: no step has more to say */
    if (decoder->regex)
        SHOAL_TRY(shoal_matcher_create(&matcher));
    SHOAL_TRY_GOTO(shoal_strbuf_append(&text, piece, bytes), done);
    for (int i = 0; i < decoder->count && !raw; i++) {
        next.bytes = 0;
        SHOAL_TRY_GOTO(piece_step(&decoder->steps[i], matcher, text.data, text.bytes,
                                  shoal_grown_max(bytes), &raw, &next),
                       done);
        const shoal_strbuf swap = text;
        text = next;
        next = swap;
    }
    st = shoal_strbuf_append(out, text.data, text.bytes);
done:
    shoal_strbuf_free(&next);
    shoal_strbuf_free(&text);
    shoal_matcher_free(matcher);
    return st;
}
