/* proto/arena.h - memory by purpose: tagged allocations, counted, and made to fail in tests.
 *
 * Every block is 64-byte aligned, zeroed and carries a tag that says what it is for; the counts
 * are what `--memory` and the plan's "measured" column report. A block of 2 MiB or more starts
 * on a 2 MiB boundary, asks for huge pages, and takes no page before somebody writes to it.
 *
 * An arena groups allocations that die together (one rank's weights, one step's scratch): it only
 * grows, knows its own byte count, and frees everything at once. An arena belongs to one thread
 * at a time; shoal_alloc and shoal_free are thread-safe. */
#ifndef SHOAL_PROTO_ARENA_H
#define SHOAL_PROTO_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

typedef enum {
    SHOAL_MEM_WEIGHTS,    /* packed slices, scales, norms, embedding rows          */
    SHOAL_MEM_KV,         /* key/value pages                                       */
    SHOAL_MEM_SCRATCH,    /* activations of a step                                 */
    SHOAL_MEM_WINDOW,     /* all-reduce slots                                      */
    SHOAL_MEM_CHECKPOINT, /* headers, tensor tables, staging while loading         */
    SHOAL_MEM_TEXT,       /* tokenizer, strings                                    */
    SHOAL_MEM_WIRE,       /* frames and messages                                   */
    SHOAL_MEM_OTHER,
    SHOAL_MEM_TAGS
} shoal_mem_tag;

/* *out = `bytes` zeroed bytes (at least 1), or SHOAL_ERR_TEMPORARY naming tag and size. */
SHOAL_MUST_USE shoal_status shoal_alloc(shoal_mem_tag tag, uint64_t bytes, void **out);

/* The same for who fills it: its contents are undefined. */
SHOAL_MUST_USE shoal_status shoal_alloc_unset(shoal_mem_tag tag, uint64_t bytes, void **out);

/* As shoal_alloc for `count` elements of `size` bytes; the product is checked. */
SHOAL_MUST_USE shoal_status shoal_alloc_array(shoal_mem_tag tag, uint64_t count, uint64_t size,
                                              void **out);

/* Grow (or create, *block NULL) an array to `count` elements, keeping its contents; new elements
 * are zero. On failure *block is untouched. */
SHOAL_MUST_USE shoal_status shoal_realloc_array(shoal_mem_tag tag, uint64_t count, uint64_t size,
                                                void **block);

/* A copy of a string. */
SHOAL_MUST_USE shoal_status shoal_strdup(shoal_mem_tag tag, const char *text, char **out);

/* NULL is allowed. */
void shoal_free(void *block);

/* Live and highest-ever payload bytes of a tag in this process, and the tag's name. */
uint64_t shoal_mem_live(shoal_mem_tag tag);
uint64_t shoal_mem_peak(shoal_mem_tag tag);
const char *shoal_mem_name(shoal_mem_tag tag);

/* Test hook: the n-th allocation from now fails once (1 = the next); 0 switches it off. */
void shoal_mem_fail_nth(uint64_t n);

typedef struct shoal_arena shoal_arena;

SHOAL_MUST_USE shoal_status shoal_arena_create(shoal_mem_tag tag, shoal_arena **out);
void shoal_arena_destroy(shoal_arena *arena);

/* Set `bytes` aside in one piece, from which the next blocks come: what is known to be needed (the
 * sum of their sizes, each rounded up to 64) then lies together in huge pages. */
SHOAL_MUST_USE shoal_status shoal_arena_reserve(shoal_arena *arena, uint64_t bytes);

/* A zeroed (until a reset), 64-byte aligned block that lives as long as the arena. */
SHOAL_MUST_USE shoal_status shoal_arena_alloc(shoal_arena *arena, uint64_t bytes, void **out);
SHOAL_MUST_USE shoal_status shoal_arena_array(shoal_arena *arena, uint64_t count, uint64_t size,
                                              void **out);

/* Give back all blocks and keep the memory for those to come, whose contents are undefined: work
 * that is done over and over asks the system once. */
void shoal_arena_reset(shoal_arena *arena);

/* Sum of the sizes asked for, each rounded up to 64: what a plan predicts exactly. */
uint64_t shoal_arena_bytes(const shoal_arena *arena);

#endif
