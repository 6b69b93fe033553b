/* shard/convert_item.c - see convert_item.h. */
#include "shard/convert_item.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "proto/bytes.h"
#include "shard/convert_read.h"

/* What the threads of one module share. */
typedef struct {
    const shoal_convert_plan *plan;
    const shoal_convert_item *item;
    const shoal_written_module *written;
    shoal_st_writer *writer;
    const int32_t *order;
    const shoal_convert_desk *desk; /* what is pending: the first thread that comes writes it */
    uint8_t *parts[SHOAL_WRITER_PARTS_MAX]; /* NULL for floats: they go straight into the file */
    int64_t step;                           /* columns of a strip */
    _Atomic int64_t next;                   /* column of the next strip */
    _Atomic uint64_t done;
    atomic_bool put, failed;
    shoal_convert_advance advance;
    void *context;
} work;

/* What one thread found; joined when all are done. */
typedef struct {
    shoal_loss loss;
    shoal_status status;
    int64_t column; /* of the strip that failed; -1: the module before */
    char text[SHOAL_ERROR_MAX];
} finding;

typedef struct {
    work *work;
    finding *findings; /* per thread */
} crew;

/* Do strips go into the file as they are? */
static bool goes_straight(const work *w)
{
    return w->written->form.kind == SHOAL_WEIGHT_FLOAT && !w->plan->target->writer->packs_floats;
}

static shoal_status put_floats(const work *w, int64_t column, const shoal_canonical *block)
{
    const shoal_convert_tensor *tensor = &w->plan->tensors[w->item->first];
    const uint64_t row = (uint64_t)block->k * shoal_dtype_bytes(block->dtype);
    return shoal_st_writer_put(w->writer, tensor->place, (uint64_t)column * row, block->dense,
                               (uint64_t)block->n * row);
}

static shoal_status write_strip(work *w, int64_t begin, int64_t end, shoal_arena *arena,
                                shoal_loss *loss)
{
    const shoal_written_module *m = &w->written[0];
    const shoal_target *target = w->plan->target;
    shoal_canonical stored, block;
    SHOAL_TRY(
        shoal_convert_read(w->plan->manifest, &m->module, w->order, begin, end, arena, &stored));
    const shoal_status st =
        shoal_reform(&stored, m->module.weights[0]->group, w->order, &m->form, arena, &block, loss);
    if (st != SHOAL_OK)
        return shoal_fail_within(st, "%s", m->module.name);
    if (goes_straight(w))
        return put_floats(w, begin, &block);
    const shoal_strip strip = {
        target, &m->module, &m->form, &block, begin, m->form.act_order ? w->order : NULL, w->parts};
    return target->writer->pack(&strip);
}

static shoal_status take_strip(work *w, int64_t begin, shoal_arena **arena, finding *f)
{
    shoal_loss loss;
    const int64_t end = shoal_min_i64(begin + w->step, w->written->module.n);
    if (!*arena)
        SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, arena));
    SHOAL_TRY(write_strip(w, begin, end, *arena, &loss));
    shoal_arena_reset(*arena);
    f->loss = shoal_loss_join(f->loss, loss);
    w->done += (uint64_t)((end - begin) * w->written->module.k);
    return SHOAL_OK;
}

static shoal_status put_pending(const shoal_convert_plan *plan, shoal_st_writer *writer,
                                const shoal_convert_desk *desk)
{
    for (int i = 0; desk->pending && i < desk->pending->count; i++) {
        const shoal_convert_tensor *tensor = &plan->tensors[desk->pending->first + (size_t)i];
        SHOAL_TRY(shoal_st_writer_put(writer, tensor->place, 0, desk->full.at[i], tensor->bytes));
    }
    return SHOAL_OK;
}

static void clear_desk(shoal_convert_desk *desk)
{
    for (int i = 0; i < SHOAL_WRITER_PARTS_MAX; i++) {
        shoal_free(desk->full.at[i]);
        shoal_free(desk->empty.at[i]);
    }
    for (int t = 0; t < desk->threads; t++)
        shoal_arena_destroy(desk->arenas[t]);
    shoal_free((void *)desk->arenas);
    *desk = (shoal_convert_desk){0};
}

/* Note what ended a thread's work. */
static bool went_well(work *w, int64_t column, finding *f)
{
    if (f->status == SHOAL_OK)
        return true;
    f->column = column;
    (void)snprintf(f->text, sizeof f->text, "%s", shoal_error_text());
    w->failed = true;
    return false;
}

static void run(void *context, int thread, int threads)
{
    crew *c = context;
    work *w = c->work;
    finding *f = &c->findings[thread];
    (void)threads;
    if (!atomic_exchange(&w->put, true)) {
        f->status = put_pending(w->plan, w->writer, w->desk);
        if (!went_well(w, -1, f))
            return;
    }
    for (int64_t begin;
         !w->failed && (begin = atomic_fetch_add(&w->next, w->step)) < w->written->module.n;) {
        f->status = take_strip(w, begin, &w->desk->arenas[thread], f);
        if (!went_well(w, begin, f))
            return;
        if (thread == 0)
            w->advance(w->context, w->done);
    }
}

static int threads_of(const shoal_pool *pool)
{
    return pool ? shoal_pool_threads(pool) : 1;
}

static shoal_status run_crew(work *w, shoal_pool *pool, shoal_loss *loss)
{
    void *block;
    const int threads = threads_of(pool);
    const finding *first = NULL;
    shoal_status st = SHOAL_OK;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)threads, sizeof(finding), &block));
    crew c = {w, block};
    for (int t = 0; t < threads; t++)
        c.findings[t].loss = (shoal_loss){true, 0};
    if (pool)
        shoal_pool_run(pool, run, &c);
    else
        run(&c, 0, 1);
    *loss = (shoal_loss){true, 0};
    for (int t = 0; t < threads; t++) {
        const finding *f = &c.findings[t];
        *loss = shoal_loss_join(*loss, f->loss);
        if (f->status != SHOAL_OK && (!first || f->column < first->column))
            first = f;
    }
    if (first)
        st = shoal_fail(first->status, "%s", first->text);
    shoal_free(block);
    return st;
}

/* Memory for tensors, zero where their bytes are put together. */
static shoal_status allocate_parts(work *w, shoal_convert_parts *parts)
{
    for (int i = 0; !goes_straight(w) && i < w->item->count; i++) {
        const shoal_convert_tensor *tensor = &w->plan->tensors[w->item->first + (size_t)i];
        if (tensor->bytes > parts->room[i] || !parts->at[i]) {
            shoal_free(parts->at[i]);
            parts->at[i] = NULL;
            SHOAL_TRY(shoal_alloc_unset(SHOAL_MEM_CHECKPOINT, tensor->bytes, &parts->at[i]));
            parts->room[i] = tensor->bytes;
        }
        if (i > 0 || !w->plan->target->writer->whole_codes)
            memset(parts->at[i], 0, tensor->bytes);
        w->parts[i] = parts->at[i];
    }
    return SHOAL_OK;
}

static shoal_status allocate_arenas(shoal_convert_desk *desk, int threads)
{
    void *block;
    if (desk->arenas)
        return SHOAL_OK;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)threads, sizeof *desk->arenas, &block));
    desk->arenas = block;
    desk->threads = threads;
    return SHOAL_OK;
}

/* What was pending is put meanwhile; then this module is. */
static shoal_status write_module(work *w, shoal_pool *pool, shoal_convert_desk *desk,
                                 shoal_loss *loss)
{
    shoal_status st;
    int32_t *order;
    SHOAL_TRY(shoal_convert_order(w->plan->manifest, &w->written->module, &order));
    w->order = order;
    w->desk = desk;
    st = allocate_arenas(desk, threads_of(pool));
    if (st == SHOAL_OK)
        st = allocate_parts(w, &desk->empty);
    if (st == SHOAL_OK)
        st = run_crew(w, pool, loss);
    shoal_free(order);
    const shoal_convert_parts put = desk->full;
    desk->full = desk->empty;
    desk->empty = put;
    desk->pending = goes_straight(w) ? NULL : w->item;
    return st;
}

shoal_status shoal_convert_item_flush(const shoal_convert_plan *plan, shoal_st_writer *writer,
                                      shoal_convert_desk *desk, shoal_status st)
{
    if (st == SHOAL_OK)
        st = put_pending(plan, writer, desk);
    clear_desk(desk);
    return st;
}

static shoal_status write_vector(const shoal_convert_plan *plan, shoal_convert_item *item,
                                 shoal_st_writer *writer)
{
    const shoal_convert_tensor *tensor = &plan->tensors[item->first];
    const int64_t count = item->vector->shape[0];
    shoal_status st;
    void *values = NULL, *stored = NULL;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, (uint64_t)count, sizeof(float), &values));
    SHOAL_TRY_GOTO(shoal_vector_read(plan->manifest, item->vector, 0, count, NULL, values), done);
    SHOAL_TRY_GOTO(shoal_alloc(SHOAL_MEM_CHECKPOINT, tensor->bytes, &stored), done);
    const float offset = shoal_convert_norm_offset(plan->manifest, item->weight, item->vector);
    for (int64_t i = 0; i < count; i++) {
        const float value = ((const float *)values)[i];
        const size_t at =
            (size_t)(plan->target->row ? plan->target->row(plan->target, item->weight, i) : i);
        shoal_store_float(stored, tensor->decl.dtype, at, value - offset);
        const float back = shoal_load_f32(stored, tensor->decl.dtype, at) + offset;
        const double error = value > back ? (double)value - back : (double)back - value;
        item->loss = shoal_loss_join(item->loss, (shoal_loss){value == back, error});
    }
    st = shoal_st_writer_put(writer, tensor->place, 0, stored, tensor->bytes);
done:
    shoal_free(stored);
    shoal_free(values);
    return st;
}

shoal_status shoal_convert_item_write(const shoal_convert_plan *plan, shoal_convert_item *item,
                                      shoal_st_writer *writer, shoal_pool *pool,
                                      shoal_convert_desk *desk, shoal_convert_advance advance,
                                      void *context)
{
    item->loss = (shoal_loss){true, 0};
    if (item->module < 0)
        return write_vector(plan, item, writer);
    const shoal_written_module *written = &plan->modules[item->module];
    work w = {.plan = plan,
              .item = item,
              .written = written,
              .writer = writer,
              .step = shoal_convert_strip_columns(&written->module),
              .advance = advance,
              .context = context};
    return write_module(&w, pool, desk, &item->loss);
}
