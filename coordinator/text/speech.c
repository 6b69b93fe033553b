#include "coordinator/text/speech.h"

#include <string.h>

#include "coordinator/text/json_scan.h"
#include "coordinator/text/tool_calls.h"
#include "proto/arena.h"

typedef enum {
    TALKING,
    THINKING,
    CALLING,
    OVER,
} mode;

struct shoal_speech {
    shoal_speech_rules rules;
    mode mode;
    bool spoken; /* more than white space was said: calls without marks, and reasoning, only begin a
                    message */
    bool fresh;  /* behind a mark, where white space is dropped */
    /* Text that came and is not given out begins at `start`; it was searched for marks up to
       `looked`, and white space begins at `solid`. */
    shoal_strbuf held;
    size_t start, solid, looked;
    shoal_call_reader reader;
    int begun, complete; /* calls */
    shoal_speech_pieces pieces;
};

/* ---- questions about rules ---- */

bool shoal_speech_needed(const shoal_speech_rules *rules)
{
    return rules->calls || rules->think;
}

bool shoal_speech_wants(const shoal_speech_rules *rules, const char *token, size_t bytes)
{
    return (rules->calls && shoal_call_format_marks(rules->calls, token, bytes)) ||
           (rules->think && shoal_think_format_marks(rules->think, token, bytes));
}

bool shoal_speech_opened(const shoal_think_format *think, const char *prompt, size_t bytes)
{
    const size_t mark = think ? strlen(think->open) : 0;
    while (bytes > 0 && shoal_json_blank(prompt[bytes - 1]))
        bytes--;
    return think && bytes >= mark && memcmp(prompt + bytes - mark, think->open, mark) == 0;
}

/* ---- life ---- */

void shoal_speech_destroy(shoal_speech *s)
{
    if (!s)
        return;
    shoal_speech_pieces_free(&s->pieces);
    shoal_strbuf_free(&s->held);
    shoal_free(s);
}

shoal_status shoal_speech_create(const shoal_speech_rules *rules, shoal_speech **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_speech), &block));
    shoal_speech *s = block;
    s->rules = *rules;
    s->mode = rules->thinking ? THINKING : TALKING;
    s->fresh = rules->thinking;
    const shoal_status st = shoal_strbuf_reserve(&s->pieces.text, 1); /* an address for no text */
    if (st == SHOAL_OK)
        *out = s;
    else
        shoal_speech_destroy(s);
    return st;
}

/* ---- content and reasoning ---- */

/* Give out held text up to `end`. */
static shoal_status say(shoal_speech *s, size_t end)
{
    const shoal_speech_kind kind =
        s->mode == THINKING ? SHOAL_SPEECH_REASONING : SHOAL_SPEECH_CONTENT;
    while (s->fresh && s->start < end && shoal_json_blank(s->held.data[s->start]))
        s->start++;
    const size_t begin = s->start;
    if (begin >= end)
        return SHOAL_OK;
    s->start = end;
    s->fresh = false;
    return shoal_speech_add(&s->pieces, kind, 0, s->held.data + begin, end - begin);
}

/* Go on behind `at`, where a mark or a call ends. */
static void go_on(shoal_speech *s, size_t at, mode next)
{
    s->mode = next;
    s->start = s->solid = s->looked = at;
    s->fresh = true;
}

/* A call may begin at `at`; if it is none, the held text in front of it is content, too. */
static void begin_call(shoal_speech *s, size_t at, bool first)
{
    s->mode = CALLING;
    s->reader =
        shoal_call_reader_at(s->rules.calls, s->rules.forced, s->begun, first, at - s->start);
}

/* The mark that stands where the search is, among those that mean something here. */
typedef struct {
    shoal_mark found;
    const char *mark;
    mode next;
} sighting;

static void look(const shoal_speech *s, const char *mark, mode next, sighting *out)
{
    const size_t rest = s->held.bytes - s->looked;
    const shoal_mark found = shoal_mark_at(s->held.data + s->looked, rest, mark);
    if (found > out->found)
        *out = (sighting){found, mark, next};
}

static sighting look_around(const shoal_speech *s)
{
    const shoal_call_format *calls = s->rules.calls;
    const shoal_think_format *think = s->rules.think;
    sighting seen = {0};
    if (s->mode == THINKING)
        look(s, think->close, TALKING, &seen);
    if (think && !s->spoken)
        look(s, think->open, THINKING, &seen);
    if (calls && s->mode == TALKING)
        look(s, calls->open, CALLING, &seen);
    return seen;
}

/* Does the message begin with a call that has no mark? */
static bool is_bare_call(const shoal_speech *s)
{
    const shoal_call_format *calls = s->rules.calls;
    const char c = s->held.data[s->looked];
    return calls && calls->bare && s->mode == TALKING && !s->spoken && c != '\0' &&
           strchr(calls->bare, c);
}

static shoal_status pass_mark(shoal_speech *s, const sighting *seen)
{
    const size_t behind = s->looked + strlen(seen->mark);
    SHOAL_TRY(say(s, s->solid));
    s->spoken = seen->next == CALLING;
    if (seen->next == CALLING)
        begin_call(s, behind, true);
    else
        go_on(s, behind, seen->next);
    return SHOAL_OK;
}

/* Text up to the next mark; *again: there is one. */
static shoal_status listen(shoal_speech *s, bool final, bool *again)
{
    for (; s->looked < s->held.bytes; s->looked++) {
        const sighting seen = look_around(s);
        if (seen.found == SHOAL_MARK_BEGUN && !final)
            break;
        *again = seen.found == SHOAL_MARK_WHOLE || is_bare_call(s);
        if (seen.found == SHOAL_MARK_WHOLE)
            return pass_mark(s, &seen);
        if (*again) {
            begin_call(s, s->looked, true);
            return SHOAL_OK;
        }
        if (!shoal_json_blank(s->held.data[s->looked])) {
            s->solid = s->looked + 1;
            s->spoken = true;
        }
    }
    return say(s, final && s->mode == TALKING ? s->looked : s->solid);
}

/* ---- calls ---- */

/* What was taken for a call is content. */
static shoal_status take_back(shoal_speech *s)
{
    const size_t end = s->start + s->reader.at;
    if (s->reader.begun)
        SHOAL_TRY(shoal_speech_add(&s->pieces, SHOAL_SPEECH_NO_CALL, s->begun++, "", 0));
    s->mode = TALKING;
    s->spoken = true;
    s->solid = s->looked = end;
    while (s->solid > s->start && shoal_json_blank(s->held.data[s->solid - 1]))
        s->solid--;
    return say(s, s->solid);
}

static shoal_status hear_call(shoal_speech *s, bool final, bool *again)
{
    shoal_call_verdict verdict;
    SHOAL_TRY(shoal_call_read(&s->reader, s->held.data + s->start, s->held.bytes - s->start, final,
                              &s->pieces, &verdict));
    const size_t end = s->start + s->reader.at;
    *again = verdict != SHOAL_CALL_MORE;
    switch (verdict) {
    case SHOAL_CALL_DONE:
        s->begun++;
        s->complete++;
        s->spoken = true;
        go_on(s, end, s->rules.single ? OVER : CALLING);
        if (!s->rules.single)
            begin_call(s, end, false);
        break;
    case SHOAL_CALL_OVER: go_on(s, end, TALKING); break;
    case SHOAL_CALL_BROKEN: return take_back(s);
    case SHOAL_CALL_MORE: break;
    }
    return SHOAL_OK;
}

/* ---- all of it ---- */

/* What was given out makes room. */
static void drop_given(shoal_speech *s)
{
    if (s->mode == OVER)
        s->start = s->held.bytes;
    if (s->start == 0)
        return;
    s->held.bytes -= s->start;
    memmove(s->held.data, s->held.data + s->start, s->held.bytes);
    s->solid -= s->solid < s->start ? s->solid : s->start;
    s->looked -= s->looked < s->start ? s->looked : s->start;
    s->start = 0;
}

shoal_status shoal_speech_push(shoal_speech *s, const char *text, size_t bytes, bool final,
                               const shoal_speech_pieces **pieces)
{
    bool again = true;
    shoal_speech_clear(&s->pieces);
    SHOAL_TRY(shoal_strbuf_append(&s->held, text, bytes));
    while (again && s->mode != OVER && s->held.bytes > s->start) {
        again = false;
        SHOAL_TRY((s->mode == CALLING ? hear_call : listen)(s, final, &again));
    }
    drop_given(s);
    *pieces = &s->pieces;
    return SHOAL_OK;
}

int shoal_speech_calls(const shoal_speech *s)
{
    return s->complete;
}

bool shoal_speech_over(const shoal_speech *s)
{
    return s->mode == OVER;
}
