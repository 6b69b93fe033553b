/* shard/load_fill.c - the pieces of a load, and the threads that take them. See load.h. */
#include <limits.h>
#include <stdatomic.h>
#include <string.h>

#include "proto/bytes.h"
#include "shard/dialect.h"
#include "shard/load.h"

/* Bytes of a tile of words as the file holds them, inputs that it has at least, and bytes of rows
 * copied at a time. */
#define TILE_BYTES (512ll << 10)
#define TILE_K     32ll
#define ROWS_BYTES (1ll << 20)

typedef enum { STORED, CANONICAL, PERMUTED, ROWS } way;

/* How a task is cut: a grid of n_step columns (rows: of the table) x k_step inputs, row by row. */
typedef struct {
    way how;
    int64_t n, k;
    int64_t n_step, k_step;
    int64_t first; /* its first piece, counted over all tasks */
} cut;

typedef struct {
    int64_t piece; /* INT64_MAX: none */
    shoal_status status;
    char text[SHOAL_ERROR_MAX];
} failure;

/* Pieces [next, end) that nobody has taken. Each on its own cache line. */
typedef struct {
    _Alignas(64) _Atomic int64_t next;
    int64_t end;
} span;

typedef struct {
    const shoal_manifest *manifest;
    const shoal_load_task *tasks;
    const cut *cuts;
    int count;
    int64_t pieces;
    _Atomic int64_t stop; /* the first piece that failed */
    span *spans;          /* per thread: the share of pieces that it begins with */
    failure *failures;    /* per thread */
    shoal_load_tell tell;
    void *context;
} fill;

/* ---- cutting ---- */

static int64_t round_down(int64_t value, int64_t step, int64_t least)
{
    return shoal_max_i64(value / step * step, least);
}

static void cut_stored(const shoal_weight *weight, const shoal_rect *rect, cut *c)
{
    const int64_t columns =
        round_down(TILE_BYTES * 8 / weight->bits / TILE_K, SHOAL_PANEL, SHOAL_PANEL);
    c->how = STORED;
    if (weight->dialect->tile) {
        weight->dialect->tile(weight, rect, &c->n_step, &c->k_step);
        return;
    }
    c->n_step = shoal_min_i64(columns, c->n);
    c->k_step = round_down(TILE_BYTES * 8 / weight->bits / c->n_step, TILE_K, TILE_K);
}

static cut cut_task(const shoal_load_task *task)
{
    const shoal_rect *rect = &task->rect;
    const shoal_weight *weight = task->weight;
    cut c = {CANONICAL, rect->n_end - rect->n_begin, rect->k_end - rect->k_begin, 1, 1, 0};
    if (shoal_rect_empty(rect))
        return c;
    c.k_step = c.k;
    if (!task->linear) {
        const int64_t row = c.k * (int64_t)shoal_dtype_bytes(weight->dtype);
        c.how = ROWS;
        c.n_step = shoal_max_i64(ROWS_BYTES / row, 1);
        return c;
    }
    const bool plain = !rect->columns && weight->run == 0 && task->linear->pack != &shoal_pack_ref;
    if (plain && weight->dialect->storable && weight->dialect->storable(weight, rect)) {
        cut_stored(weight, rect, &c);
        return c;
    }
    if (rect->columns) {
        c.how = PERMUTED;
        c.n = weight->n;
    }
    c.n_step = shoal_rect_staging_columns(weight, rect);
    return c;
}

static int64_t pieces_of(const cut *c)
{
    return c->n > 0 && c->k > 0 ? shoal_ceil_div(c->n, c->n_step) * shoal_ceil_div(c->k, c->k_step)
                                : 0;
}

/* Piece `index` of a task in its own columns and inputs. */
static shoal_rect piece_at(const cut *c, int64_t index)
{
    const int64_t across = shoal_ceil_div(c->n, c->n_step);
    const int64_t n = index % across * c->n_step, k = index / across * c->k_step;
    return (shoal_rect){.n_begin = n,
                        .n_end = shoal_min_i64(n + c->n_step, c->n),
                        .k_begin = k,
                        .k_end = shoal_min_i64(k + c->k_step, c->k)};
}

/* ---- pieces ---- */

/* A group goes with the tile that has its first input in this rectangle. */
static int64_t groups_before(const shoal_rect *rect, int64_t group, int64_t k)
{
    return k == rect->k_begin ? k / group : shoal_ceil_div(k, group);
}

static shoal_status fill_stored(const shoal_manifest *manifest, const shoal_load_task *task,
                                const shoal_rect *piece, shoal_staging *staging)
{
    const shoal_rect *rect = &task->rect;
    const shoal_weight *weight = task->weight;
    shoal_stored block;
    shoal_tile tile = {.rect = {.n_begin = rect->n_begin + piece->n_begin,
                                .n_end = rect->n_begin + piece->n_end,
                                .k_begin = rect->k_begin + piece->k_begin,
                                .k_end = rect->k_begin + piece->k_end}};
    tile.group_begin = groups_before(rect, weight->group, tile.rect.k_begin);
    tile.group_end = shoal_ceil_div(tile.rect.k_end, weight->group);
    const shoal_place place = {piece->n_begin, piece->k_begin,
                               tile.group_begin - rect->k_begin / weight->group};
    SHOAL_TRY(weight->dialect->read_stored(manifest, weight, &tile, staging, &block));
    return shoal_linear_pack_stored(task->linear, &place, &block);
}

/* Floats as they lie in a module are canonical: they need no memory but what the thread has. */
static shoal_status fill_floats(const shoal_manifest *manifest, const shoal_load_task *task,
                                const shoal_rect *strip, int64_t n_begin, shoal_staging *staging)
{
    const shoal_weight *weight = task->weight;
    shoal_canonical block = {.kind = SHOAL_WEIGHT_FLOAT,
                             .n = strip->n_end - strip->n_begin,
                             .k = strip->k_end - strip->k_begin,
                             .dtype = weight->dtype};
    const uint64_t cells = (uint64_t)block.n * (uint64_t)block.k;
    uint8_t *dense;
    SHOAL_TRY(shoal_staging_take(staging, SHOAL_STAGE_CODES,
                                 cells * shoal_dtype_bytes(weight->dtype), &dense));
    block.dense = dense;
    SHOAL_TRY(weight->dialect->read(manifest, weight, strip, &block));
    return shoal_linear_pack(task->linear, n_begin, &block);
}

static shoal_status fill_canonical(const shoal_manifest *manifest, const shoal_load_task *task,
                                   const shoal_rect *piece, shoal_staging *staging)
{
    shoal_rect strip = task->rect;
    shoal_arena *aside = NULL;
    shoal_canonical block;
    shoal_status st;
    strip.n_begin = task->rect.n_begin + piece->n_begin;
    strip.n_end = task->rect.n_begin + piece->n_end;
    if (task->weight->kind == SHOAL_WEIGHT_FLOAT && task->weight->run == 0)
        return fill_floats(manifest, task, &strip, piece->n_begin, staging);
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &aside));
    SHOAL_TRY_GOTO(shoal_weight_read(manifest, task->weight, &strip, aside, &block), done);
    st = shoal_linear_pack(task->linear, piece->n_begin, &block);
done:
    shoal_arena_destroy(aside);
    return st;
}

/* The strip's columns are the weight's own; those of the slice find their places. A column that
 * the slice has twice is packed twice: `to` holds one place, the rest follow in another round. */
static shoal_status pack_wanted(const shoal_load_task *task, int64_t first,
                                const shoal_canonical *block, int32_t *to)
{
    const shoal_rect *rect = &task->rect;
    const int64_t n = rect->n_end - rect->n_begin;
    for (int64_t begin = 0, end; begin < n; begin = end) {
        for (int64_t i = 0; i < block->n; i++)
            to[i] = -1;
        for (end = begin; end < n; end++) {
            const int64_t i = rect->columns[end] - first;
            if (i < 0 || i >= block->n)
                continue;
            if (to[i] >= 0)
                break;
            to[i] = (int32_t)end;
        }
        SHOAL_TRY(shoal_linear_pack_columns(task->linear, to, block));
    }
    return SHOAL_OK;
}

static shoal_status fill_permuted(const shoal_manifest *manifest, const shoal_load_task *task,
                                  const shoal_rect *piece)
{
    shoal_rect strip = task->rect;
    shoal_arena *aside = NULL;
    shoal_canonical block;
    void *to;
    shoal_status st;
    strip.columns = NULL;
    strip.n_begin = piece->n_begin;
    strip.n_end = piece->n_end;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &aside));
    SHOAL_TRY_GOTO(shoal_weight_read(manifest, task->weight, &strip, aside, &block), done);
    SHOAL_TRY_GOTO(shoal_arena_array(aside, (uint64_t)block.n, sizeof(int32_t), &to), done);
    st = pack_wanted(task, strip.n_begin, &block, to);
done:
    shoal_arena_destroy(aside);
    return st;
}

static shoal_status fill_rows(const shoal_manifest *manifest, const shoal_load_task *task,
                              const shoal_rect *piece)
{
    const shoal_weight *weight = task->weight;
    const int64_t row = task->rect.k_end * (int64_t)shoal_dtype_bytes(weight->dtype);
    const shoal_rect rect = {.n_begin = task->rect.n_begin + piece->n_begin,
                             .n_end = task->rect.n_begin + piece->n_end,
                             .k_end = task->rect.k_end};
    shoal_canonical rows = {.kind = SHOAL_WEIGHT_FLOAT,
                            .n = rect.n_end - rect.n_begin,
                            .k = rect.k_end,
                            .dtype = weight->dtype,
                            .dense = task->rows + piece->n_begin * row};
    return weight->dialect->read(manifest, weight, &rect, &rows);
}

/* ---- threads ---- */

static shoal_status fill_piece(const fill *f, int64_t index, shoal_staging *staging)
{
    int t = f->count - 1;
    while (f->cuts[t].first > index)
        t--;
    const cut *c = &f->cuts[t];
    const shoal_load_task *task = &f->tasks[t];
    const shoal_rect piece = piece_at(c, index - c->first);
    switch (c->how) {
    case STORED: return fill_stored(f->manifest, task, &piece, staging);
    case CANONICAL: return fill_canonical(f->manifest, task, &piece, staging);
    case PERMUTED: return fill_permuted(f->manifest, task, &piece);
    default: return fill_rows(f->manifest, task, &piece);
    }
}

/* Pieces before the first failure are all tried, so which failure is first does not depend on the
 * threads. */
static void note_failure(fill *f, int thread, int64_t piece, shoal_status status)
{
    failure *mine = &f->failures[thread];
    int64_t stop = atomic_load(&f->stop);
    mine->piece = piece;
    mine->status = status;
    memcpy(mine->text, shoal_error_text(), sizeof mine->text);
    while (piece < stop && !atomic_compare_exchange_weak(&f->stop, &stop, piece))
        ;
}

/* Take the pieces that are left of `from`. False after a failure. */
static bool take_span(fill *f, span *from, int thread, shoal_staging *staging)
{
    for (;;) {
        const int64_t piece = atomic_fetch_add(&from->next, 1);
        if (piece >= from->end || piece >= atomic_load(&f->stop))
            return true;
        const shoal_status st = fill_piece(f, piece, staging);
        if (st != SHOAL_OK) {
            note_failure(f, thread, piece, st);
            return false;
        }
        if (thread == 0 && f->tell)
            f->tell(f->context);
    }
}

/* Its own share first, so that a thread reads and writes one stretch and no two threads meet on a
 * fresh page; then what the others have left. */
static void take_pieces(void *context, int thread, int threads)
{
    fill *f = context;
    shoal_staging staging = {0};
    bool going = true;
    for (int i = 0; i < threads && going; i++)
        going = take_span(f, &f->spans[(thread + i) % threads], thread, &staging);
    shoal_staging_free(&staging);
}

static shoal_status first_failure(const fill *f, int threads)
{
    const int64_t stop = atomic_load(&f->stop);
    for (int t = 0; t < threads; t++)
        if (f->failures[t].status != SHOAL_OK && f->failures[t].piece == stop)
            return shoal_fail(f->failures[t].status, "%s", f->failures[t].text);
    return SHOAL_OK;
}

/* Cut the tasks, and deal the pieces to the threads. */
static void deal(fill *f, cut *cuts, int threads)
{
    for (int t = 0; t < f->count; t++) {
        cuts[t] = cut_task(&f->tasks[t]);
        cuts[t].first = f->pieces;
        f->pieces += pieces_of(&cuts[t]);
    }
    for (int t = 0; t < threads; t++) {
        int64_t begin;
        shoal_share(f->pieces, t, threads, &begin, &f->spans[t].end);
        atomic_init(&f->spans[t].next, begin);
    }
    atomic_init(&f->stop, INT64_MAX);
}

shoal_status shoal_load_fill(const shoal_manifest *manifest, const shoal_load_task *tasks,
                             int count, shoal_pool *pool, shoal_load_tell tell, void *context)
{
    const int threads = pool ? shoal_pool_threads(pool) : 1;
    fill f = {
        .manifest = manifest, .tasks = tasks, .count = count, .tell = tell, .context = context};
    shoal_arena *aside = NULL;
    void *cuts, *spans, *failures;
    shoal_status st;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &aside));
    SHOAL_TRY_GOTO(shoal_arena_array(aside, (uint64_t)count, sizeof(cut), &cuts), done);
    SHOAL_TRY_GOTO(shoal_arena_array(aside, (uint64_t)threads, sizeof(span), &spans), done);
    SHOAL_TRY_GOTO(shoal_arena_array(aside, (uint64_t)threads, sizeof(failure), &failures), done);
    f.cuts = cuts;
    f.spans = spans;
    f.failures = failures;
    for (int t = 0; t < count; t++)
        if (tasks[t].linear && !shoal_rect_empty(&tasks[t].rect))
            SHOAL_TRY_GOTO(shoal_weight_check(tasks[t].weight, &tasks[t].rect), done);
    deal(&f, cuts, threads);
    if (pool)
        shoal_pool_run(pool, take_pieces, &f);
    else
        take_pieces(&f, 0, 1);
    st = first_failure(&f, threads);
    if (st == SHOAL_OK && tell)
        tell(context);
done:
    shoal_arena_destroy(aside);
    return st;
}
