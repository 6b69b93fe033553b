/* coordinator/text/growable.h - the three vectors of the text room: bytes, token ids, spans.
 *
 * Each owns its block (tag SHOAL_MEM_TEXT) and doubles when full. All zero is a valid empty one;
 * free leaves an empty one behind. Bytes carry no terminating NUL: U+0000 is a legal character.
 * Growing fails only with SHOAL_ERR_TEMPORARY and leaves the contents alone. */
#ifndef SHOAL_COORDINATOR_TEXT_GROWABLE_H
#define SHOAL_COORDINATOR_TEXT_GROWABLE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

typedef struct {
    char *data;
    size_t bytes, capacity;
} shoal_strbuf;

typedef struct {
    int32_t *data;
    size_t count, capacity;
} shoal_ids;

/* Bytes [begin, end) of some text. */
typedef struct {
    size_t begin, end;
} shoal_span;

typedef struct {
    shoal_span *data;
    size_t count, capacity;
} shoal_spans;

/* For vectors of other things: make room for `more` elements of `size` bytes behind `used`. */
SHOAL_MUST_USE shoal_status shoal_grow(void **block, size_t size, size_t used, size_t more,
                                       size_t *capacity);

/* How long a text of so many bytes may become in the steps of a tokenizer. Honest steps stay far
 * below; steps of a hostile file that multiply a text are stopped there, by shoal_check_grown. */
size_t shoal_grown_max(size_t bytes);
SHOAL_MUST_USE shoal_status shoal_check_grown(size_t bytes, size_t most);

/* Make room for `more` further bytes. */
SHOAL_MUST_USE shoal_status shoal_strbuf_reserve(shoal_strbuf *buf, size_t more);
SHOAL_MUST_USE shoal_status shoal_strbuf_append(shoal_strbuf *buf, const char *text, size_t bytes);
void shoal_strbuf_free(shoal_strbuf *buf);

SHOAL_MUST_USE shoal_status shoal_ids_reserve(shoal_ids *ids, size_t more);
SHOAL_MUST_USE shoal_status shoal_ids_push(shoal_ids *ids, int32_t id);
SHOAL_MUST_USE shoal_status shoal_ids_append(shoal_ids *ids, const shoal_ids *tail);
void shoal_ids_free(shoal_ids *ids);

/* An empty span is dropped: no later step wants one. */
SHOAL_MUST_USE shoal_status shoal_spans_push(shoal_spans *spans, size_t begin, size_t end);
void shoal_spans_free(shoal_spans *spans);

#endif
