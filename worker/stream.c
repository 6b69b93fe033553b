#include "worker/stream.h"

#include <stdio.h>
#include <string.h>

#include "kernels/linear.h"
#include "shard/offload.h"

/* No place. */
#define NONE (-1)

struct shoal_stream {
    const shoal_manifest *manifest;
    int rank;
    shoal_pool *pool;
    uint8_t *buffer;
    uint64_t bytes, used; /* of the buffer; by the place that is being added */
    int64_t places, adding;
    int64_t *first; /* [places + 1]: tasks of place p are first[p] .. first[p + 1) */
    shoal_load_task *tasks;
    bool *filled;            /* per task, of the place that is in the buffer */
    shoal_load_task *wanted; /* those of one fetch */
    int64_t held;            /* the place in the buffer */
    uint64_t fetched;        /* bytes */
};

/* ---- making ---------------------------------------------------------------------------------- */

static shoal_status allocate(shoal_stream *s, uint64_t most, shoal_arena *arena)
{
    void *first, *tasks, *filled, *wanted, *buffer = NULL;
    if (s->bytes)
        SHOAL_TRY(shoal_arena_alloc(arena, s->bytes, &buffer));
    s->buffer = buffer;
    SHOAL_TRY(
        shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)s->places + 1, sizeof *s->first, &first));
    s->first = first;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, most, sizeof *s->tasks, &tasks));
    s->tasks = tasks;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, most, sizeof *s->filled, &filled));
    s->filled = filled;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, most, sizeof *s->wanted, &wanted));
    s->wanted = wanted;
    return SHOAL_OK;
}

shoal_status shoal_stream_create(const shoal_slicing *slicing, int rank, uint64_t bytes,
                                 uint64_t most, shoal_arena *arena, shoal_stream **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_stream), &block));
    shoal_stream *s = block;
    s->manifest = slicing->manifest;
    s->rank = rank;
    s->bytes = bytes;
    s->places = shoal_offload_places(slicing->manifest);
    s->held = NONE;
    const shoal_status st = allocate(s, most, arena);
    if (st == SHOAL_OK)
        *out = s;
    else
        shoal_stream_destroy(s);
    return st;
}

void shoal_stream_destroy(shoal_stream *s)
{
    if (!s)
        return;
    shoal_free(s->first);
    shoal_free(s->tasks);
    shoal_free(s->filled);
    shoal_free(s->wanted);
    shoal_free(s);
}

shoal_status shoal_stream_take(shoal_stream *s, int64_t place, uint64_t bytes, void **memory)
{
    if (place != s->adding)
        s->used = 0;
    s->adding = place;
    if (bytes > s->bytes - s->used)
        return shoal_fail(SHOAL_ERR_INTERNAL, "place %lld streams more than %llu bytes",
                          (long long)place, (unsigned long long)s->bytes);
    *memory = bytes ? s->buffer + s->used : NULL;
    s->used += bytes;
    return SHOAL_OK;
}

void shoal_stream_add(shoal_stream *s, int64_t place, const shoal_load_task *task)
{
    s->tasks[s->first[s->places]] = *task;
    for (int64_t later = place + 1; later <= s->places; later++)
        s->first[later]++;
}

void shoal_stream_start(shoal_stream *s, shoal_pool *pool)
{
    if (s)
        s->pool = pool;
}

uint64_t shoal_stream_bytes(const shoal_stream *s)
{
    return s ? s->fetched : 0;
}

/* ---- fetching -------------------------------------------------------------------------------- */

/* Which experts will be chosen nobody knows before. */
static bool is_of_choice(const shoal_load_task *task)
{
    return task->weight->expert > 0;
}

/* What was whole when it was loaded is not now: the file has changed. */
static shoal_status explain(const shoal_stream *s, shoal_status st)
{
    char text[SHOAL_ERROR_MAX];
    (void)snprintf(text, sizeof text, "%s", shoal_error_text());
    return shoal_fail(st == SHOAL_ERR_DATA ? SHOAL_ERR_IO : st,
                      "rank %d streams weights from %s: %s", s->rank,
                      shoal_checkpoint_file(s->manifest->checkpoint, 0), text);
}

static shoal_status fill(shoal_stream *s, int count)
{
    if (count == 0)
        return SHOAL_OK;
    for (int i = 0; i < count; i++)
        shoal_linear_clear_padding(s->wanted[i].linear);
    const shoal_status st = shoal_load_fill(s->manifest, s->wanted, count, s->pool, NULL, NULL);
    for (int i = 0; i < count && st == SHOAL_OK; i++)
        s->fetched += shoal_linear_packed_bytes(&s->wanted[i].linear->size);
    if (st == SHOAL_OK)
        return SHOAL_OK;
    s->held = NONE;
    return explain(s, st);
}

static int want(shoal_stream *s, int count, int64_t task)
{
    s->filled[task] = true;
    s->wanted[count] = s->tasks[task];
    return count + 1;
}

shoal_status shoal_stream_fetch(shoal_stream *s, int64_t place)
{
    int count = 0;
    if (!s || s->first[place] == s->first[place + 1])
        return SHOAL_OK;
    const int64_t begin = s->first[place], end = s->first[place + 1];
    if (s->held != place)
        memset(s->filled + begin, 0, (size_t)(end - begin) * sizeof *s->filled);
    s->held = place;
    for (int64_t t = begin; t < end; t++)
        if (!s->filled[t] && !is_of_choice(&s->tasks[t]))
            count = want(s, count, t);
    return fill(s, count);
}

shoal_status shoal_stream_fetch_experts(shoal_stream *s, int64_t place, const int64_t *first)
{
    int count = 0;
    for (int64_t t = s ? s->first[place] : 0; s && t < s->first[place + 1]; t++) {
        const int expert = s->tasks[t].weight->expert - 1;
        if (!s->filled[t] && is_of_choice(&s->tasks[t]) &&
            (!first || first[expert] < first[expert + 1]))
            count = want(s, count, t);
    }
    return count ? fill(s, count) : SHOAL_OK;
}
