#include "coordinator/text/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/text/unicode.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"

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
    size_t first[257]; /* rows of first byte b: [first[b], first[b + 1]) */
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

void shoal_added_set_seal(shoal_added_set *set)
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
    memset(set->first, 0, sizeof set->first);
    for (size_t i = 0; i < kept; i++)
        set->first[(unsigned char)set->rows[i].text[0] + 1]++;
    for (int b = 0; b < 256; b++)
        set->first[b + 1] += set->first[b];
}

/* First row of [low, high) whose byte number `depth` is `byte` or more; they share what is before
 * it and are longer than it. */
static size_t lower_bound(const shoal_added_set *set, size_t low, size_t high, size_t depth,
                          unsigned byte)
{
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if ((unsigned char)set->rows[middle].text[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest token that the text begins with, or NULL. */
static const row *longest(const shoal_added_set *set, const char *text, size_t bytes)
{
    const row *best = NULL;
    size_t low = set->first[(unsigned char)text[0]];
    size_t high = set->first[(unsigned char)text[0] + 1];
    for (size_t depth = 1; low < high; depth++) {
        /* The row that ends here sorts before those that go on. */
        if (set->rows[low].bytes == depth)
            best = &set->rows[low++];
        if (depth == bytes)
            break;
        const unsigned byte = (unsigned char)text[depth];
        low = lower_bound(set, low, high, depth, byte);
        high = lower_bound(set, low, high, depth, byte + 1);
    }
    return best;
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

shoal_status shoal_added_set_split(const shoal_added_set *set, const char *text, size_t bytes,
                                   bool plain, shoal_segments *out)
{
    size_t done = 0; /* end of the last token, white space included */
    out->count = 0;
    for (size_t at = 0; at < bytes;) {
        const row *r = longest(set, text + at, bytes - at);
        if (!r) {
            at++;
            continue;
        }
        const shoal_added_token *t = &r->token;
        shoal_span m = {at, at + r->bytes};
        at = m.end; /* the search goes on behind the bare token, even one that does not count */
        if ((plain && t->special) || (t->single_word && !stands_alone(text, bytes, m)))
            continue;
        if (t->lstrip) /* what the token before has swallowed is its own */
            m.begin = m.begin < done ? done : spaces_before(text, m.begin, done);
        if (t->rstrip) /* up to `done` it is known to be white space */
            m.end = spaces_behind(text, m.end > done ? m.end : done, bytes);
        SHOAL_TRY(push(out, (shoal_span){done, m.begin}, -1));
        SHOAL_TRY(push(out, m, t->id));
        done = m.end;
    }
    return push(out, (shoal_span){done, bytes}, -1);
}

void shoal_segments_free(shoal_segments *segments)
{
    shoal_free(segments->data);
    *segments = (shoal_segments){0};
}
