#include "worker/stream.h"

#include <pthread.h>
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
    /* What the reader thread is asked for. */
    pthread_t reader;
    bool reads; /* it was started */
    pthread_mutex_t lock;
    pthread_cond_t asked;
    int64_t expected; /* place, or NONE */
    bool leave;
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
    s->held = s->expected = NONE;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->asked, NULL);
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
    if (s->reads) {
        (void)pthread_mutex_lock(&s->lock);
        s->leave = true;
        (void)pthread_cond_signal(&s->asked);
        (void)pthread_mutex_unlock(&s->lock);
        (void)pthread_join(s->reader, NULL);
    }
    (void)pthread_cond_destroy(&s->asked);
    (void)pthread_mutex_destroy(&s->lock);
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

/* ---- reading ahead --------------------------------------------------------------------------- */

/* Which experts will be chosen nobody knows. */
static bool is_of_choice(const shoal_load_task *task)
{
    return task->weight->expert > 0;
}

/* Say of every linear of a place that it will be read, unless another place is asked for. */
static void expect_place(shoal_stream *s, int64_t place)
{
    for (int64_t t = s->first[place]; t < s->first[place + 1]; t++) {
        if (s->leave || s->expected != place)
            return;
        (void)pthread_mutex_unlock(&s->lock);
        if (!is_of_choice(&s->tasks[t]))
            shoal_load_expect(s->manifest, &s->tasks[t]);
        (void)pthread_mutex_lock(&s->lock);
    }
    if (s->expected == place)
        s->expected = NONE;
}

static void *reader_main(void *context)
{
    shoal_stream *s = context;
    (void)pthread_mutex_lock(&s->lock);
    while (!s->leave) {
        if (s->expected == NONE)
            (void)pthread_cond_wait(&s->asked, &s->lock);
        else
            expect_place(s, s->expected);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

shoal_status shoal_stream_start(shoal_stream *s, shoal_pool *pool)
{
    if (!s)
        return SHOAL_OK;
    s->pool = pool;
    const int error = pthread_create(&s->reader, NULL, reader_main, s);
    if (error)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "cannot start a thread to read ahead: %s",
                          strerror(error));
    s->reads = true;
    return SHOAL_OK;
}

/* The next place that streams, after the last the first again: steps follow each other. */
static void ask_for_next(shoal_stream *s, int64_t place)
{
    int64_t next = (place + 1) % s->places;
    while (s->first[next] == s->first[next + 1])
        next = (next + 1) % s->places;
    if (next == place)
        return;
    (void)pthread_mutex_lock(&s->lock);
    s->expected = next;
    (void)pthread_cond_signal(&s->asked);
    (void)pthread_mutex_unlock(&s->lock);
}

/* ---- fetching -------------------------------------------------------------------------------- */

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
    SHOAL_TRY(fill(s, count));
    ask_for_next(s, place);
    return SHOAL_OK;
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
