/* shard/pack_write.c - see pack_write.h. */
#include "shard/pack_write.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "kernels/threads.h"
#include "proto/digest.h"
#include "shard/convert_read.h"
#include "shard/convert_source.h"
#include "shard/new_file.h"
#include "shard/pack_plan.h"
#include "shard/packed.h"

/* Bytes of plain rows that are copied at a time. */
#define ROWS_BYTES (1ull << 20)

typedef struct {
    const shoal_pack_request *request;
    shoal_pack_progress progress;
    void *context;
    shoal_convert_source source;
    shoal_convert_plan *plan;
    shoal_pack_plan pack;
    shoal_pool *pool;
    shoal_new_file file;
    _Atomic uint64_t done; /* bytes */
} packing;

/* The entry that all threads are at. */
typedef struct {
    packing *p;
    const shoal_pack_entry *entry;
    const int32_t *order;
    int64_t tasks;
    uint64_t runs_per_task;
    _Atomic int64_t next;
    atomic_bool failed;
    struct {
        shoal_status status;
        char text[SHOAL_ERROR_MAX];
    } * findings; /* per thread */
} crew;

static shoal_status put(packing *p, uint64_t offset, const void *data, uint64_t bytes)
{
    SHOAL_TRY(shoal_new_file_put(&p->file, offset, data, bytes));
    p->done += bytes;
    return SHOAL_OK;
}

/* Write runs [first, ...) of an entry and note their digests. */
static shoal_status put_runs(packing *p, const shoal_pack_entry *e, uint64_t first,
                             const void *data, uint64_t bytes)
{
    for (uint64_t at = 0; at < bytes; at += e->run_bytes) {
        const uint64_t left = bytes - at, length = left < e->run_bytes ? left : e->run_bytes;
        uint8_t *digest =
            p->pack.digests + (e->digest + first + at / e->run_bytes) * SHOAL_XXH128_BYTES;
        shoal_xxh128((const char *)data + at, length, digest);
    }
    return put(p, e->offset + first * e->run_bytes, data, bytes);
}

/* ---- runs of integers ---- */

static void pack_words(const shoal_pack_linear *l, const shoal_canonical *b, uint8_t *out)
{
    const int64_t fields = shoal_pack_fields(l), rows = shoal_ceil_div(b->k, fields);
    const int bits = (int)(32 / fields);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t n = 0; n < b->n; n++) {
            const uint8_t *codes = b->codes + n * b->k + r * fields;
            const int64_t there = shoal_min_i64(fields, b->k - r * fields);
            uint32_t word = 0;
            if (fields == 8 && there == 8)
                word = shoal_pack_nibbles(shoal_load_le64(codes));
            else
                for (int64_t i = 0; i < there; i++)
                    word |= (uint32_t)codes[i] << (bits * i);
            shoal_store_le32(out + 4 * (r * b->n + n), word);
        }
}

static void pack_groups(const shoal_pack_linear *l, const shoal_pack_run *run,
                        const shoal_canonical *b, uint8_t *out)
{
    for (int64_t g = 0; g < b->groups; g++)
        for (int64_t n = 0; n < b->n; n++) {
            const int64_t from = n * b->groups + g, at = g * b->n + n;
            shoal_store_float(out + run->scales, l->dtype, (size_t)at, b->scales[from]);
            if (l->has_zeros)
                memcpy(out + run->zeros + 2 * at,
                       &(const uint8_t[]){(uint8_t)b->zeros[from], (uint8_t)(b->zeros[from] >> 8)},
                       2);
            if (l->has_mins)
                shoal_store_float(out + run->mins, SHOAL_F32, (size_t)at, b->mins[from]);
        }
}

static shoal_status read_run(const crew *c, const shoal_pack_run *run, shoal_arena *arena,
                             shoal_canonical *block)
{
    const shoal_writer_module *m = c->entry->module;
    const shoal_manifest *manifest = c->p->source.manifest;
    const shoal_rect rect = {.n_begin = run->n_begin,
                             .n_end = run->n_end,
                             .k_begin = run->k_begin,
                             .k_end = run->k_end,
                             .order = c->order};
    if (!c->entry->linear.along_k)
        return shoal_convert_read(manifest, m, c->order, run->n_begin, run->n_end, arena, block);
    return shoal_weight_read(manifest, m->weights[0], &rect, arena, block);
}

static shoal_status write_run(const crew *c, int64_t index, shoal_arena *arena)
{
    const shoal_pack_linear *l = &c->entry->linear;
    const shoal_pack_run run = shoal_pack_run_at(l, index);
    shoal_canonical block;
    void *data;
    SHOAL_TRY(read_run(c, &run, arena, &block));
    SHOAL_TRY(shoal_arena_alloc(arena, run.bytes, &data));
    if (l->kind == SHOAL_WEIGHT_FLOAT) {
        memcpy(data, block.dense, (size_t)(block.n * block.k) * shoal_dtype_bytes(l->dtype));
    } else {
        pack_words(l, &block, data);
        pack_groups(l, &run, &block, data);
    }
    return put_runs(c->p, c->entry, (uint64_t)index, data, run.bytes);
}

/* ---- plain tensors ---- */

static shoal_status write_rows(const crew *c, int64_t task, shoal_arena *arena)
{
    shoal_canonical block;
    const shoal_writer_module *m = c->entry->module;
    const int64_t step = (int64_t)c->runs_per_task, begin = task * step;
    SHOAL_TRY(shoal_convert_read(c->p->source.manifest, m, NULL, begin,
                                 shoal_min_i64(begin + step, m->n), arena, &block));
    return put_runs(c->p, c->entry, (uint64_t)begin, block.dense,
                    (uint64_t)block.n * c->entry->run_bytes);
}

static shoal_status write_order(const crew *c, shoal_arena *arena)
{
    void *data;
    SHOAL_TRY(shoal_arena_alloc(arena, c->entry->bytes, &data));
    for (int64_t i = 0; i < c->entry->module->k; i++)
        shoal_store_le32((uint8_t *)data + 4 * i, (uint32_t)c->order[i]);
    return put_runs(c->p, c->entry, 0, data, c->entry->bytes);
}

static shoal_status write_vector(const crew *c, shoal_arena *arena)
{
    void *values, *data;
    const shoal_pack_entry *e = c->entry;
    SHOAL_TRY(shoal_arena_array(arena, (uint64_t)e->shape[0], sizeof(float), &values));
    SHOAL_TRY(shoal_arena_alloc(arena, e->bytes, &data));
    SHOAL_TRY(shoal_vector_read(c->p->source.manifest, e->vector, 0, e->shape[0], NULL, values));
    for (int64_t i = 0; i < e->shape[0]; i++) {
        const float value = ((const float *)values)[i], stored = value - e->added;
        if (e->added != 0 && stored + e->added != value)
            return shoal_fail(SHOAL_ERR_DATA, "tensor %s: element %lld has no exact number less %g",
                              e->vector->name, (long long)i, (double)e->added);
        shoal_store_float(data, e->dtype, (size_t)i, stored);
    }
    return put_runs(c->p, e, 0, data, e->bytes);
}

/* ---- threads ---- */

static shoal_status do_task(const crew *c, int64_t task)
{
    shoal_arena *arena;
    shoal_status st = SHOAL_OK;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &arena));
    switch (c->entry->kind) {
    case SHOAL_PACKED_RUNS: st = write_run(c, task, arena); break;
    case SHOAL_PACKED_ROWS: st = write_rows(c, task, arena); break;
    case SHOAL_PACKED_ORDER: st = write_order(c, arena); break;
    case SHOAL_PACKED_VECTOR: st = write_vector(c, arena); break;
    }
    shoal_arena_destroy(arena);
    return st;
}

static void run_tasks(void *context, int thread, int threads)
{
    crew *c = context;
    (void)threads;
    for (int64_t task; !c->failed && (task = atomic_fetch_add(&c->next, 1)) < c->tasks;) {
        const shoal_status st = do_task(c, task);
        if (st != SHOAL_OK) {
            c->findings[thread].status = st;
            (void)snprintf(c->findings[thread].text, SHOAL_ERROR_MAX, "%s", shoal_error_text());
            c->failed = true;
            return;
        }
        if (thread == 0 && c->p->progress)
            c->p->progress(c->p->context, c->p->done, c->p->pack.bytes);
    }
}

static shoal_status write_entry(packing *p, const shoal_pack_entry *e)
{
    void *block;
    int32_t *order = NULL;
    shoal_status st = SHOAL_OK;
    const int threads = shoal_pool_threads(p->pool);
    crew c = {.p = p, .entry = e, .tasks = 1, .runs_per_task = 1};
    if (e->module)
        SHOAL_TRY(shoal_convert_order(p->source.manifest, e->module, &order));
    c.order = order;
    SHOAL_TRY_GOTO(
        shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)threads, sizeof *c.findings, &block), done);
    c.findings = block;
    if (e->kind == SHOAL_PACKED_ROWS)
        c.runs_per_task = e->run_bytes < ROWS_BYTES ? ROWS_BYTES / e->run_bytes : 1;
    if (e->kind == SHOAL_PACKED_ROWS || e->kind == SHOAL_PACKED_RUNS)
        c.tasks = shoal_ceil_div((int64_t)e->runs, (int64_t)c.runs_per_task);
    shoal_pool_run(p->pool, run_tasks, &c);
    for (int t = 0; t < threads && st == SHOAL_OK; t++)
        if (c.findings[t].status != SHOAL_OK)
            st = shoal_fail(c.findings[t].status, "%s", c.findings[t].text);
    shoal_free(block);
done:
    shoal_free(order);
    return st;
}

/* ---- the file ---- */

static shoal_status write_head(packing *p)
{
    uint8_t preamble[SHOAL_PACK_PREAMBLE] = {0};
    const shoal_pack_plan *plan = &p->pack;
    uint64_t at = SHOAL_PACK_PREAMBLE + plan->header_bytes;
    char *header;
    SHOAL_TRY(shoal_pack_header(plan, &header));
    memcpy(preamble, SHOAL_PACK_MAGIC, 8);
    shoal_store_le32(preamble + 8, SHOAL_PACK_VERSION);
    shoal_store_le32(preamble + 12, SHOAL_PACK_ORDER);
    shoal_store_le64(preamble + 16, plan->header_bytes);
    shoal_xxh128(header, plan->header_bytes, preamble + 24);
    shoal_status st = put(p, SHOAL_PACK_PREAMBLE, header, plan->header_bytes);
    shoal_free(header);
    if (st == SHOAL_OK)
        st = put(p, at, plan->digests, plan->digest_count * SHOAL_XXH128_BYTES);
    at += plan->digest_count * SHOAL_XXH128_BYTES;
    for (size_t i = 0; i < plan->text_count && st == SHOAL_OK; i++) {
        st = put(p, at, plan->texts[i].data, plan->texts[i].bytes);
        at += plan->texts[i].bytes;
    }
    return st == SHOAL_OK ? put(p, 0, preamble, sizeof preamble) : st;
}

static shoal_status write_file(packing *p)
{
    SHOAL_TRY(shoal_new_file_create(p->request->destination, &p->file));
    for (size_t i = 0; i < p->pack.count; i++)
        SHOAL_TRY(write_entry(p, &p->pack.entries[i]));
    SHOAL_TRY(shoal_checkpoint_verify_unchanged(p->source.checkpoint));
    SHOAL_TRY(write_head(p));
    return shoal_new_file_publish(&p->file);
}

static shoal_status open_source(packing *p)
{
    const shoal_pack_request *r = p->request;
    static const shoal_target target = {.writer = &shoal_writer_pack};
    SHOAL_TRY(shoal_convert_source_open(r->source, r->quantize, r->keep, &p->source));
    SHOAL_TRY(shoal_convert_plan_make(p->source.manifest, &target, UINT64_MAX, &p->plan));
    SHOAL_TRY(shoal_pack_plan_make(p->plan, r->source, &p->pack));
    return shoal_pool_create(r->threads, true, &p->pool);
}

static void release(packing *p)
{
    shoal_new_file_discard(&p->file);
    if (p->pool)
        shoal_pool_destroy(p->pool);
    shoal_pack_plan_free(&p->pack);
    shoal_convert_plan_free(p->plan);
    shoal_convert_source_close(&p->source);
}

shoal_status shoal_pack_write(const shoal_pack_request *request, shoal_pack_progress progress,
                              void *context, shoal_pack_result *out)
{
    packing p = {.request = request, .progress = progress, .context = context, .file = {.fd = -1}};
    shoal_status st = open_source(&p);
    if (st == SHOAL_OK)
        st = write_file(&p);
    if (st == SHOAL_OK)
        *out = (shoal_pack_result){p.pack.bytes, p.pack.count, p.plan->consumed};
    release(&p);
    return st;
}
