#include "coordinator/text/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/text/piece_starts.h"
#include "coordinator/text/unicode.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"

/* Bytes of a text that are looked at together. */
#define WINDOW (64u << 10)

typedef struct {
    const char *text; /* in `strings`, once sealed */
    size_t at, bytes;
    size_t number; /* order of adding */
    shoal_added_token token;
} row;

struct shoal_added_set {
    row *rows; /* sorted by content, once sealed */
    size_t count, capacity;
    shoal_strbuf strings;
    shoal_piece_starts *starts; /* of the rows, once sealed; NULL where there are none */
};

shoal_status shoal_added_set_create(shoal_added_set **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_added_set), &block));
    *out = block;
    return SHOAL_OK;
}

void shoal_added_set_destroy(shoal_added_set *set)
{
    if (!set)
        return;
    shoal_piece_starts_destroy(set->starts);
    shoal_strbuf_free(&set->strings);
    shoal_free(set->rows);
    shoal_free(set);
}

shoal_status shoal_added_set_add(shoal_added_set *set, const char *content, size_t bytes,
                                 const shoal_added_token *token)
{
    if (set->count == set->capacity) {
        void *block = set->rows;
        const size_t wanted = set->capacity ? 2 * set->capacity : 16;
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, wanted, sizeof *set->rows, &block));
        set->rows = block;
        set->capacity = wanted;
    }
    const size_t at = set->strings.bytes;
    if (bytes > SHOAL_ADDED_BYTES_MAX - at)
        return shoal_fail(SHOAL_ERR_DATA, "the added tokens have more than %u bytes together",
                          SHOAL_ADDED_BYTES_MAX);
    SHOAL_TRY(shoal_strbuf_append(&set->strings, content, bytes));
    set->rows[set->count] = (row){.at = at, .bytes = bytes, .number = set->count, .token = *token};
    set->count++;
    return SHOAL_OK;
}

static int compare_content(const row *a, const row *b)
{
    const size_t common = a->bytes < b->bytes ? a->bytes : b->bytes;
    const int order = memcmp(a->text, b->text, common);
    if (order != 0)
        return order;
    return (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static int compare_rows(const void *left, const void *right)
{
    const row *a = left, *b = right;
    const int order = compare_content(a, b);
    return order ? order : (a->number > b->number) - (a->number < b->number);
}

/* Sort the rows; of those with one content the last stays. */
static void settle(shoal_added_set *set)
{
    size_t kept = 0;
    for (size_t i = 0; i < set->count; i++)
        set->rows[i].text = set->strings.data + set->rows[i].at;
    if (set->count)
        qsort(set->rows, set->count, sizeof *set->rows, compare_rows);
    for (size_t i = 0; i < set->count; i++) {
        if (kept && compare_content(&set->rows[kept - 1], &set->rows[i]) == 0)
            kept--; /* said again */
        set->rows[kept++] = set->rows[i];
    }
    set->count = kept;
}

shoal_status shoal_added_set_seal(shoal_added_set *set)
{
    void *block;
    settle(set);
    if (set->count == 0)
        return SHOAL_OK;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, set->count, sizeof(shoal_piece), &block));
    shoal_piece *pieces = block;
    for (size_t i = 0; i < set->count; i++)
        pieces[i] = (shoal_piece){set->rows[i].text, set->rows[i].bytes};
    const shoal_status st = shoal_piece_starts_create(pieces, set->count, &set->starts);
    shoal_free(pieces);
    return st;
}

static bool stands_alone(const char *text, size_t bytes, shoal_span m)
{
    size_t at = m.begin;
    if (m.begin > 0 && shoal_unicode_is_word(shoal_utf8_previous(text, &at)))
        return false;
    at = m.end;
    return m.end == bytes || !shoal_unicode_is_word(shoal_utf8_next(text, &at));
}

static size_t spaces_before(const char *text, size_t end, size_t floor)
{
    while (end > floor) {
        size_t at = end;
        if (!shoal_unicode_is_space(shoal_utf8_previous(text, &at)))
            break;
        end = at;
    }
    return end;
}

static size_t spaces_behind(const char *text, size_t begin, size_t bytes)
{
    while (begin < bytes) {
        size_t at = begin;
        if (!shoal_unicode_is_space(shoal_utf8_next(text, &at)))
            break;
        begin = at;
    }
    return begin;
}

static shoal_status push(shoal_segments *out, shoal_span span, int32_t id)
{
    if (span.begin >= span.end)
        return SHOAL_OK;
    if (out->count == out->capacity) {
        void *block = out->data;
        const size_t wanted = out->capacity ? 2 * out->capacity : 16;
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, wanted, sizeof *out->data, &block));
        out->data = block;
        out->capacity = wanted;
    }
    out->data[out->count++] = (shoal_segment){span, id};
    return SHOAL_OK;
}

/* Make room for what one look into a text finds: at least as many places as the bytes that must be
 * looked at behind them, so that those at most double the work. */
static shoal_status reserve_starts(const shoal_added_set *set, size_t bytes, shoal_segments *out)
{
    const size_t longest = shoal_piece_starts_longest(set->starts);
    const size_t most = longest > WINDOW ? longest : WINDOW;
    const size_t wanted = bytes < most ? bytes : most;
    void *block = out->starts;
    if (wanted <= out->starts_capacity)
        return SHOAL_OK;
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, wanted, sizeof *out->starts, &block));
    out->starts = block;
    out->starts_capacity = wanted;
    return SHOAL_OK;
}

/* The tokens in the text, found in one look after the other. */
typedef struct {
    const shoal_added_set *set;
    const char *text;
    size_t bytes;
    shoal_segments *out;
    size_t begin, end; /* places that were looked at last */
} finder;

/* The longest token at a place or behind it, *at being its place; NULL: there are no more. */
static const row *next_token(finder *f, size_t *at)
{
    for (; *at < f->bytes; ++*at) {
        if (*at >= f->end) {
            const size_t room = f->out->starts_capacity, rest = f->bytes - *at;
            f->begin = *at;
            f->end = *at + (rest < room ? rest : room);
            f->out->steps += shoal_piece_starts_find(f->set->starts, f->text, f->bytes, f->begin,
                                                     f->end, f->out->starts);
        }
        const int32_t number = f->out->starts[*at - f->begin];
        if (number >= 0)
            return &f->set->rows[number];
    }
    return NULL;
}

static shoal_status split(finder *f, bool plain, size_t *done)
{
    const row *r;
    for (size_t at = 0; (r = next_token(f, &at));) {
        const shoal_added_token *t = &r->token;
        shoal_span m = {at, at + r->bytes};
        at = m.end; /* the search goes on behind the bare token, even one that does not count */
        if ((plain && t->special) || (t->single_word && !stands_alone(f->text, f->bytes, m)))
            continue;
        if (t->lstrip) /* what the token before has swallowed is its own */
            m.begin = m.begin < *done ? *done : spaces_before(f->text, m.begin, *done);
        if (t->rstrip) /* up to *done it is known to be white space */
            m.end = spaces_behind(f->text, m.end > *done ? m.end : *done, f->bytes);
        SHOAL_TRY(push(f->out, (shoal_span){*done, m.begin}, -1));
        SHOAL_TRY(push(f->out, m, t->id));
        *done = m.end;
    }
    return SHOAL_OK;
}

shoal_status shoal_added_set_split(const shoal_added_set *set, const char *text, size_t bytes,
                                   bool plain, shoal_segments *out)
{
    finder f = {.set = set, .text = text, .bytes = bytes, .out = out};
    size_t done = 0; /* end of the last token, white space included */
    out->count = 0;
    out->steps = 0;
    if (set->starts) {
        SHOAL_TRY(reserve_starts(set, bytes, out));
        SHOAL_TRY(split(&f, plain, &done));
    }
    return push(out, (shoal_span){done, bytes}, -1);
}

void shoal_segments_free(shoal_segments *segments)
{
    shoal_free(segments->data);
    shoal_free(segments->starts);
    *segments = (shoal_segments){0};
}
