#include "coordinator/text/template_heap.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/bytes.h"

#define PIECE_BYTES (16u << 10)
#define ALIGN       16u
/* Elements of the first array, bytes of the first text. */
#define FIRST_COUNT 4u
#define FIRST_BYTES 64u

shoal_status shoal_heap_open(shoal_heap *heap)
{
    *heap = (shoal_heap){.steps = SHOAL_HEAP_STEPS_MAX};
    return shoal_arena_create(SHOAL_MEM_TEXT, &heap->arena);
}

void shoal_heap_close(shoal_heap *heap)
{
    shoal_arena_destroy(heap->arena);
    *heap = (shoal_heap){0};
}

static shoal_status take_from_arena(shoal_heap *heap, uint64_t bytes, void **out)
{
    if (bytes > SHOAL_HEAP_BYTES_MAX ||
        shoal_arena_bytes(heap->arena) > SHOAL_HEAP_BYTES_MAX - bytes)
        return shoal_fail(SHOAL_ERR_DATA, "a template may hold at most %u MiB of values",
                          SHOAL_HEAP_BYTES_MAX >> 20);
    return shoal_arena_alloc(heap->arena, bytes, out);
}

shoal_status shoal_heap_take(shoal_heap *heap, size_t count, size_t size, void **out)
{
    uint64_t bytes;
    if (count == 0)
        count = 1;
    if (!shoal_mul_u64(count, size, &bytes) || !shoal_pad_u64(bytes, ALIGN, &bytes))
        bytes = UINT64_MAX;
    if (bytes > PIECE_BYTES / 4)
        return take_from_arena(heap, bytes, out);
    if (bytes > heap->left) {
        void *piece;
        SHOAL_TRY(take_from_arena(heap, PIECE_BYTES, &piece));
        heap->piece = piece;
        heap->left = PIECE_BYTES;
    }
    *out = heap->piece;
    heap->piece += bytes;
    heap->left -= (size_t)bytes;
    return SHOAL_OK;
}

/* A larger block with the same beginning. */
static shoal_status move(shoal_heap *heap, size_t used, size_t wanted, size_t size, void **block)
{
    void *bigger;
    SHOAL_TRY(shoal_heap_take(heap, wanted, size, &bigger));
    if (used)
        memcpy(bigger, *block, used * size);
    *block = bigger;
    return SHOAL_OK;
}

shoal_status shoal_heap_grow(shoal_heap *heap, size_t count, size_t size, void **array,
                             size_t *capacity)
{
    if (count < *capacity)
        return SHOAL_OK;
    const size_t wanted = count ? 2 * count : FIRST_COUNT;
    SHOAL_TRY(move(heap, count, wanted, size, array));
    *capacity = wanted;
    return SHOAL_OK;
}

shoal_status shoal_heap_work(shoal_heap *heap, size_t bytes)
{
    const uint64_t steps = 1 + bytes / 32;
    if (steps > heap->steps)
        return shoal_fail(SHOAL_ERR_DATA, "a template may take at most %u steps",
                          SHOAL_HEAP_STEPS_MAX);
    heap->steps -= steps;
    return SHOAL_OK;
}

shoal_status shoal_heap_enter(shoal_heap *heap)
{
    if (heap->depth >= SHOAL_HEAP_DEPTH_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "nested deeper than %d levels", SHOAL_HEAP_DEPTH_MAX);
    heap->depth++;
    return SHOAL_OK;
}

void shoal_heap_leave(shoal_heap *heap)
{
    heap->depth--;
}

shoal_builder shoal_builder_in(shoal_heap *heap)
{
    return (shoal_builder){.heap = heap, .most = SHOAL_HEAP_BYTES_MAX};
}

shoal_status shoal_builder_put(shoal_builder *b, shoal_text text)
{
    SHOAL_TRY(shoal_heap_work(b->heap, text.bytes));
    if (text.bytes > b->most - b->bytes)
        return shoal_fail(SHOAL_ERR_DATA, "a text of more than %zu MiB", b->most >> 20);
    if (text.bytes > b->capacity - b->bytes) {
        const size_t need = b->bytes + text.bytes;
        const size_t wanted = need < FIRST_BYTES ? FIRST_BYTES : need + need / 2;
        void *block = b->data;
        SHOAL_TRY(move(b->heap, b->bytes, wanted, 1, &block));
        b->data = block;
        b->capacity = wanted;
    }
    if (text.bytes)
        memcpy(b->data + b->bytes, text.data, text.bytes);
    b->bytes += text.bytes;
    return SHOAL_OK;
}

shoal_status shoal_builder_format(shoal_builder *b, const char *fmt, ...)
{
    char line[64];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    return shoal_builder_put(b, (shoal_text){line, n > 0 ? (size_t)n : 0});
}

shoal_text shoal_builder_text(const shoal_builder *b)
{
    return (shoal_text){b->data ? b->data : "", b->bytes};
}
