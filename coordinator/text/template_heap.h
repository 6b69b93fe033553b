/* coordinator/text/template_heap.h - memory and work of one template or one rendering, limited.
 *
 * A template comes from a model folder and its input from a request: both may be hostile. Every
 * block, every step and every level of nesting is taken from here; what exceeds a limit ends the
 * rendering with SHOAL_ERR_DATA and a sentence, never the process. Blocks die together when the
 * heap is closed. A heap belongs to one thread at a time. */
#ifndef SHOAL_COORDINATOR_TEXT_TEMPLATE_HEAP_H
#define SHOAL_COORDINATOR_TEXT_TEMPLATE_HEAP_H

#include <stddef.h>
#include <stdint.h>

#include "proto/arena.h"
#include "proto/status.h"

#define SHOAL_HEAP_BYTES_MAX (64u << 20)
#define SHOAL_HEAP_STEPS_MAX 10000000u
/* Nested expressions, statements, macro calls and values together. Such a level takes less than
 * 600 bytes of stack: a thread of 256 KiB is enough. */
#define SHOAL_HEAP_DEPTH_MAX 300

typedef struct {
    shoal_arena *arena;
    char *piece; /* small blocks are cut from it */
    size_t left;
    uint64_t steps;
    int depth;
} shoal_heap;

/* Bytes of a text; not NUL-terminated, valid UTF-8. Borrowed from a heap, a template or JSON. data
 * is NULL only where "no text" is something else than an empty one. */
typedef struct {
    const char *data;
    size_t bytes;
} shoal_text;

#define SHOAL_TEXT(literal) ((shoal_text){literal, sizeof(literal) - 1})

SHOAL_MUST_USE shoal_status shoal_heap_open(shoal_heap *heap);
void shoal_heap_close(shoal_heap *heap);

/* *out = `count` (at least 1) zeroed elements of `size` bytes. */
SHOAL_MUST_USE shoal_status shoal_heap_take(shoal_heap *heap, size_t count, size_t size,
                                            void **out);

/* Room for one more element in an array of `count` with room for *capacity; moves it when full. */
SHOAL_MUST_USE shoal_status shoal_heap_grow(shoal_heap *heap, size_t count, size_t size,
                                            void **array, size_t *capacity);

/* One step, and one more per 32 bytes (or elements) that are looked at. */
SHOAL_MUST_USE shoal_status shoal_heap_work(shoal_heap *heap, size_t bytes);

/* One level deeper; each success is paired with a leave. */
SHOAL_MUST_USE shoal_status shoal_heap_enter(shoal_heap *heap);
void shoal_heap_leave(shoal_heap *heap);

/* ---- a text in the making ---- */

typedef struct {
    shoal_heap *heap;
    char *data;
    size_t bytes, capacity;
    size_t most; /* bytes; more is an error */
} shoal_builder;

/* An empty one, limited only by its heap. */
shoal_builder shoal_builder_in(shoal_heap *heap);
SHOAL_MUST_USE shoal_status shoal_builder_put(shoal_builder *builder, shoal_text text);
SHOAL_MUST_USE shoal_status shoal_builder_format(shoal_builder *builder, const char *fmt, ...)
    SHOAL_PRINTF(2, 3); /* at most 63 bytes */
shoal_text shoal_builder_text(const shoal_builder *builder);

#endif
