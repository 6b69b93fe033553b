#include "proto/arena.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "proto/bytes.h"

#define ALIGN       64u
#define HUGE_PAGE   (2u << 20)
#define ARENA_CHUNK (64u << 10)

/* In front of every block, one alignment unit long. */
typedef struct {
    uint64_t bytes;
    void *base; /* what free() takes */
    shoal_mem_tag tag;
} block_head;

static _Atomic uint64_t live_bytes[SHOAL_MEM_TAGS];
static _Atomic uint64_t peak_bytes[SHOAL_MEM_TAGS];
static _Atomic uint64_t fail_countdown;

static const char *const tag_names[SHOAL_MEM_TAGS] = {
    [SHOAL_MEM_WEIGHTS] = "weights",
    [SHOAL_MEM_KV] = "kv",
    [SHOAL_MEM_SCRATCH] = "scratch",
    [SHOAL_MEM_WINDOW] = "window",
    [SHOAL_MEM_CHECKPOINT] = "checkpoint",
    [SHOAL_MEM_TEXT] = "text",
    [SHOAL_MEM_WIRE] = "wire",
    [SHOAL_MEM_OTHER] = "other",
};

static bool made_to_fail(void)
{
    uint64_t n = atomic_load(&fail_countdown);
    while (n > 0) {
        if (atomic_compare_exchange_weak(&fail_countdown, &n, n - 1))
            return n == 1;
    }
    return false;
}

static void count_up(shoal_mem_tag tag, uint64_t bytes)
{
    const uint64_t now = atomic_fetch_add(&live_bytes[tag], bytes) + bytes;
    uint64_t peak = atomic_load(&peak_bytes[tag]);
    while (now > peak && !atomic_compare_exchange_weak(&peak_bytes[tag], &peak, now))
        ;
}

/* The first multiple of `align` with room for a head before it. */
static char *align_up(void *base, uint64_t align)
{
    const uintptr_t address = (uintptr_t)base;
    return (char *)base + ((address + ALIGN + align - 1) / align * align - address);
}

/* To clear a block, calloc: it knows which pages are fresh from the system and leaves those alone,
 * so that a large block is touched first by whoever fills it. */
static shoal_status allocate(shoal_mem_tag tag, uint64_t bytes, bool cleared, void **out)
{
    const uint64_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGN;
    uint64_t total;
    if (bytes == 0)
        bytes = 1;
    if (!shoal_add_u64(bytes, align + ALIGN, &total) || total > PTRDIFF_MAX)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "an allocation of %llu bytes (%s) is too large",
                          (unsigned long long)bytes, tag_names[tag]);

    void *base = made_to_fail() ? NULL : cleared ? calloc(1, total) : malloc(total);
    if (!base)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for %llu bytes (%s)",
                          (unsigned long long)bytes, tag_names[tag]);
    char *block = align_up(base, align);
    if (align == HUGE_PAGE)
        (void)madvise(block, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    *(block_head *)(void *)(block - ALIGN) = (block_head){bytes, base, tag};
    count_up(tag, bytes);
    *out = block;
    return SHOAL_OK;
}

shoal_status shoal_alloc(shoal_mem_tag tag, uint64_t bytes, void **out)
{
    return allocate(tag, bytes, true, out);
}

shoal_status shoal_alloc_unset(shoal_mem_tag tag, uint64_t bytes, void **out)
{
    return allocate(tag, bytes, false, out);
}

shoal_status shoal_alloc_array(shoal_mem_tag tag, uint64_t count, uint64_t size, void **out)
{
    uint64_t bytes;
    if (!shoal_mul_u64(count, size, &bytes))
        return shoal_fail(SHOAL_ERR_TEMPORARY, "an array of %llu x %llu bytes (%s) is too large",
                          (unsigned long long)count, (unsigned long long)size, tag_names[tag]);
    return shoal_alloc(tag, bytes, out);
}

static block_head *head_of(void *block)
{
    return (block_head *)(void *)((char *)block - ALIGN);
}

shoal_status shoal_realloc_array(shoal_mem_tag tag, uint64_t count, uint64_t size, void **block)
{
    void *bigger;
    SHOAL_TRY(shoal_alloc_array(tag, count, size, &bigger));
    if (*block) {
        const uint64_t old = head_of(*block)->bytes;
        memcpy(bigger, *block, old < count * size ? old : count * size);
        shoal_free(*block);
    }
    *block = bigger;
    return SHOAL_OK;
}

shoal_status shoal_strdup(shoal_mem_tag tag, const char *text, char **out)
{
    const size_t bytes = strlen(text) + 1;
    void *copy = NULL;
    SHOAL_TRY(shoal_alloc(tag, bytes, &copy));
    memcpy(copy, text, bytes);
    *out = copy;
    return SHOAL_OK;
}

void shoal_free(void *block)
{
    if (!block)
        return;
    const block_head head = *head_of(block);
    atomic_fetch_sub(&live_bytes[head.tag], head.bytes);
    free(head.base);
}

uint64_t shoal_mem_live(shoal_mem_tag tag)
{
    return atomic_load(&live_bytes[tag]);
}

uint64_t shoal_mem_peak(shoal_mem_tag tag)
{
    return atomic_load(&peak_bytes[tag]);
}

const char *shoal_mem_name(shoal_mem_tag tag)
{
    return tag_names[tag];
}

void shoal_mem_fail_nth(uint64_t n)
{
    atomic_store(&fail_countdown, n);
}

/* Chunks form a list; small requests share one, a large request gets its own. */
typedef struct arena_chunk {
    struct arena_chunk *next;
    char *data;
    uint64_t used, capacity;
} arena_chunk;

struct shoal_arena {
    shoal_mem_tag tag;
    arena_chunk *chunks;
    uint64_t bytes;
    uint64_t wanted; /* what took several chunks before a reset: the next has room for all */
};

shoal_status shoal_arena_create(shoal_mem_tag tag, shoal_arena **out)
{
    void *block = NULL;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_arena), &block));
    shoal_arena *arena = block;
    arena->tag = tag;
    *out = arena;
    return SHOAL_OK;
}

static void free_chunks(shoal_arena *arena)
{
    for (arena_chunk *c = arena->chunks; c;) {
        arena_chunk *next = c->next;
        shoal_free(c->data);
        shoal_free(c);
        c = next;
    }
    arena->chunks = NULL;
}

void shoal_arena_destroy(shoal_arena *arena)
{
    if (!arena)
        return;
    free_chunks(arena);
    shoal_free(arena);
}

void shoal_arena_reset(shoal_arena *arena)
{
    arena_chunk *only = arena->chunks;
    if (only && only->next) {
        arena->wanted = 0;
        for (const arena_chunk *c = only; c; c = c->next)
            arena->wanted += c->capacity;
        free_chunks(arena);
    } else if (only) {
        only->used = 0;
    }
    arena->bytes = 0;
}

static shoal_status add_chunk(shoal_arena *arena, uint64_t capacity)
{
    shoal_status st = SHOAL_OK;
    void *record, *data;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(arena_chunk), &record));
    SHOAL_TRY_GOTO(shoal_alloc(arena->tag, capacity, &data), free_record);
    arena_chunk *chunk = record;
    *chunk = (arena_chunk){arena->chunks, data, 0, capacity};
    arena->chunks = chunk;
    return SHOAL_OK;

free_record:
    shoal_free(record);
    return st;
}

shoal_status shoal_arena_reserve(shoal_arena *arena, uint64_t bytes)
{
    return bytes ? add_chunk(arena, bytes) : SHOAL_OK;
}

shoal_status shoal_arena_alloc(shoal_arena *arena, uint64_t bytes, void **out)
{
    uint64_t padded;
    if (!shoal_pad_u64(bytes ? bytes : 1, ALIGN, &padded))
        return shoal_fail(SHOAL_ERR_TEMPORARY, "an allocation of %llu bytes (%s) is too large",
                          (unsigned long long)bytes, tag_names[arena->tag]);
    arena_chunk *c = arena->chunks;
    if (!c || c->capacity - c->used < padded) {
        const uint64_t chunk = padded > ARENA_CHUNK / 4 ? padded : ARENA_CHUNK;
        SHOAL_TRY(add_chunk(arena, chunk > arena->wanted ? chunk : arena->wanted));
        arena->wanted = 0;
        c = arena->chunks;
    }
    *out = c->data + c->used;
    c->used += padded;
    arena->bytes += padded;
    return SHOAL_OK;
}

shoal_status shoal_arena_array(shoal_arena *arena, uint64_t count, uint64_t size, void **out)
{
    uint64_t bytes;
    if (!shoal_mul_u64(count, size, &bytes))
        return shoal_fail(SHOAL_ERR_TEMPORARY, "an array of %llu x %llu bytes (%s) is too large",
                          (unsigned long long)count, (unsigned long long)size,
                          tag_names[arena->tag]);
    return shoal_arena_alloc(arena, bytes, out);
}

uint64_t shoal_arena_bytes(const shoal_arena *arena)
{
    return arena->bytes;
}
