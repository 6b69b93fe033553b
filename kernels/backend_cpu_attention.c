/* The attention step: every row's key and value enter the cache before any row attends.
 *
 * The work is a list of blocks: some rows of one sequence, one kv head, its query heads. Threads
 * take them one by one. Where every block has all rows of its sequence, its thread appends them
 * first and the step is one run of the pool; else appending is a run of its own. Where blocks are
 * fewer than threads can share evenly, each is cut into pieces at chunks, and the last thread that
 * leaves a block joins its parts. Whoever finishes a head quantizes it. */
#include <stdatomic.h>
#include <string.h>

#include "kernels/backend_cpu.h"
#include "kernels/kv.h"
#include "proto/arena.h"
#include "proto/bytes.h"

/* Queries of a block: what is widened once serves so many, and their scores stay in a cache. */
#define QUERIES_LEAST 16
#define QUERIES_MOST  128

/* Blocks or pieces per thread that even out unequal ones. */
#define SHARES 4

/* Floats that the parts of cut blocks may take, 16 MiB: longer contexts are not cut, which gives
 * the same bits. */
#define PARTS_MAX (INT64_C(1) << 22)

struct shoal_attention_block {
    const shoal_sequence_rows *sequence;
    int64_t kv_head;
    int64_t row, rows;     /* of the step                                                       */
    int64_t head, heads;   /* query heads of this rank; none: only to append                    */
    int64_t chunk, chunks; /* that some row sees                                                */
    float *parts;          /* pieces > 1: [chunks][queries][shoal_part_floats]                  */
    _Atomic int left;      /* pieces not yet attended                                           */
};

typedef struct shoal_attention_block block;

typedef struct {
    shoal_backend_cpu *cpu;
    const shoal_attention_args *a;
    int64_t blocks, pieces; /* of the step; of each block                                       */
    int64_t queries;        /* most of a block                                                  */
    bool append_first;      /* a block's thread appends its rows                                */
    bool quantize_heads;    /* the act's groups lie inside heads                                */
    _Atomic int64_t next;
} step;

/* ---- rows ----------------------------------------------------------------------------------- */

static shoal_status map_rows(shoal_backend_cpu *cpu, const shoal_attention_args *a)
{
    if (a->rows > cpu->row_room) {
        void *rows = cpu->row_sequence;
        SHOAL_TRY(
            shoal_realloc_array(SHOAL_MEM_SCRATCH, (uint64_t)a->rows, sizeof(int32_t), &rows));
        cpu->row_sequence = rows;
        cpu->row_room = a->rows;
    }
    for (int64_t row = 0; row < a->rows; row++)
        cpu->row_sequence[row] = -1;
    for (int64_t s = 0; s < a->sequence_count; s++) {
        const shoal_sequence_rows *sequence = &a->sequences[s];
        if (sequence->row < 0 || sequence->rows < 0 || sequence->row > a->rows - sequence->rows)
            return shoal_fail(SHOAL_ERR_INTERNAL, "sequence %lld has rows [%lld, +%lld) of %lld",
                              (long long)s, (long long)sequence->row, (long long)sequence->rows,
                              (long long)a->rows);
        for (int64_t i = 0; i < sequence->rows; i++)
            cpu->row_sequence[sequence->row + i] = (int32_t)s;
    }
    return SHOAL_OK;
}

/* Heads of one row may belong to different threads. */
static void count_errors(const shoal_attention_args *a, int64_t row, int64_t errors)
{
    if (errors != 0 && a->pending)
        (void)__atomic_fetch_add(&a->pending[row], errors, __ATOMIC_RELAXED);
}

static int64_t position_of(const shoal_sequence_rows *sequence, int64_t row)
{
    return sequence->position + (row - sequence->row);
}

/* out = the head, normalised and turned as the model asks. */
static void prepare(const step *s, int64_t row, const float *head, const float *norm, float *out)
{
    const shoal_attention_args *a = s->a;
    const int64_t half = a->rope_dim / 2;
    if (norm)
        s->cpu->ops->norm(head, a->head_dim, norm, a->norm_eps, out);
    else
        memcpy(out, head, (size_t)a->head_dim * sizeof *out);
    if (a->cos)
        s->cpu->ops->rope(out, a->rope_dim, a->cos + row * half, a->sin + row * half);
}

static void append(const step *s, const shoal_sequence_rows *sequence, int64_t row, int64_t kv_head)
{
    const shoal_attention_args *a = s->a;
    const int64_t position = position_of(sequence, row);
    const int64_t at = (row * a->kv_heads + kv_head) * a->head_dim;
    float key[SHOAL_HEAD_DIM_MAX];
    prepare(s, row, a->k + at, a->k_norm, key);
    count_errors(a, row,
                 shoal_kv_append(s->cpu->ops, s->cpu->quantize, a->kv, kv_head,
                                 sequence->pages[position / SHOAL_PAGE], position % SHOAL_PAGE, key,
                                 a->v + at));
}

static void append_task(void *context, int thread, int threads)
{
    const step *s = context;
    const shoal_attention_args *a = s->a;
    int64_t begin, end;
    shoal_share(a->rows * a->kv_heads, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = i / a->kv_heads;
        if (s->cpu->row_sequence[row] >= 0)
            append(s, &a->sequences[s->cpu->row_sequence[row]], row, i % a->kv_heads);
    }
}

static void append_block(const step *s, const block *b)
{
    for (int64_t row = b->row; row < b->row + b->rows; row++)
        append(s, b->sequence, row, b->kv_head);
}

static void quantize_head(const step *s, int64_t row, int64_t head)
{
    const shoal_attention_args *a = s->a;
    const int64_t at = head * a->head_dim;
    if (s->quantize_heads)
        count_errors(a, row,
                     shoal_quantize_part(s->cpu->base.cap,
                                         a->out + row * a->heads * a->head_dim + at, row, at,
                                         a->head_dim, a->act));
}

/* Rows of no sequence: nothing to see, the output is 0. */
static void clear_rows(const step *s, int thread, int threads)
{
    const shoal_attention_args *a = s->a;
    const int64_t width = a->heads * a->head_dim;
    int64_t begin, end;
    shoal_share(a->rows, thread, threads, &begin, &end);
    for (int64_t row = begin; row < end; row++) {
        if (s->cpu->row_sequence[row] >= 0)
            continue;
        memset(a->out + row * width, 0, (size_t)width * sizeof *a->out);
        for (int64_t head = 0; head < a->heads; head++)
            quantize_head(s, row, head);
    }
}

/* ---- blocks --------------------------------------------------------------------------------- */

/* One thread's memory, in floats. */
typedef struct {
    float *queries; /* [queries][SHOAL_QUERY_LD], of fp32 or int8                               */
    float *scales;  /* [queries]                                                                */
    int32_t *sums;  /* [queries]                                                                */
    float *parts;   /* [queries][shoal_part_floats]                                             */
    float *room;    /* of shoal_attend                                                          */
} memory;

static int64_t memory_floats(const step *s)
{
    const int64_t n = s->a->head_dim;
    return s->queries * (SHOAL_QUERY_LD + shoal_part_floats(n)) +
           2 * shoal_round_up(s->queries, 16) + shoal_attend_room(n, s->queries);
}

static memory memory_of(const step *s, int thread)
{
    float *at = s->cpu->scratch + thread * s->cpu->scratch_each;
    memory m;
    m.queries = at;
    at += s->queries * SHOAL_QUERY_LD;
    m.scales = at;
    at += shoal_round_up(s->queries, 16);
    m.sums = (int32_t *)(void *)at;
    at += shoal_round_up(s->queries, 16);
    m.parts = at;
    m.room = at + s->queries * shoal_part_floats(s->a->head_dim);
    return m;
}

/* The block's queries as the cache wants them. */
static shoal_queries take_queries(const step *s, const block *b, const memory *m, bool count)
{
    const shoal_attention_args *a = s->a;
    const bool int8 = a->kv->type == SHOAL_KV_INT8;
    const int64_t n = a->head_dim;
    int8_t *q = (int8_t *)m->queries;
    float query[SHOAL_HEAD_DIM_MAX];
    for (int64_t i = 0; i < b->rows * b->heads; i++) {
        const int64_t row = b->row + i / b->heads, head = b->head + i % b->heads;
        float *to = int8 ? query : m->queries + i * SHOAL_QUERY_LD;
        int8_t *q_to = q + i * SHOAL_QUERY_LD;
        prepare(s, row, a->q + (row * a->heads + head) * n, a->q_norm, to);
        if (!int8)
            continue;
        const int64_t errors =
            shoal_quantize_group(s->cpu->quantize, query, n, q_to, &m->scales[i]);
        m->sums[i] = s->cpu->quantize->sum(q_to, n);
        if (count)
            count_errors(a, row, errors);
    }
    return (shoal_queries){
        .kv = a->kv,
        .kv_head = b->kv_head,
        .pages = b->sequence->pages,
        .position = position_of(b->sequence, b->row),
        .rows = b->rows,
        .heads = b->heads,
        .window = a->window,
        .scale = a->scale,
        .soft_cap = a->soft_cap,
        .f32 = int8 ? NULL : m->queries,
        .q = int8 ? q : NULL,
        .scales = int8 ? m->scales : NULL,
        .sums = int8 ? m->sums : NULL,
    };
}

static void finish_block(const step *s, const block *b, const float *parts)
{
    const shoal_attention_args *a = s->a;
    for (int64_t i = 0; i < b->rows * b->heads; i++) {
        const int64_t row = b->row + i / b->heads, head = b->head + i % b->heads;
        s->cpu->attention->finish(parts + i * shoal_part_floats(a->head_dim), a->head_dim,
                                  a->out + (row * a->heads + head) * a->head_dim);
        quantize_head(s, row, head);
    }
}

/* A share of the block's chunks; the last one to leave joins all of them. */
static void attend_piece(const step *s, block *b, int64_t piece, const memory *m)
{
    const shoal_attention_row *row = s->cpu->attention;
    const shoal_queries q = take_queries(s, b, m, piece == 0);
    const int64_t each = b->rows * b->heads * shoal_part_floats(s->a->head_dim);
    int64_t begin, end;
    shoal_share(b->chunks, (int)piece, (int)s->pieces, &begin, &end);
    for (int64_t c = begin; c < end; c++)
        row->chunk(&q, b->chunk + c, m->room, b->parts + c * each);
    if (atomic_fetch_sub(&b->left, 1) > 1)
        return;
    for (int64_t c = 0; c < b->chunks; c++)
        shoal_attend_join(row, &q, b->chunk + c, b->parts + c * each, m->parts);
    finish_block(s, b, m->parts);
}

static void attend_block(const step *s, const block *b, const memory *m)
{
    const shoal_queries q = take_queries(s, b, m, true);
    shoal_attend(s->cpu->attention, &q, m->room, m->parts);
    finish_block(s, b, m->parts);
}

static void attend_task(void *context, int thread, int threads)
{
    step *s = context;
    const memory m = memory_of(s, thread);
    clear_rows(s, thread, threads);
    for (;;) {
        const int64_t i = atomic_fetch_add(&s->next, 1), which = i / s->pieces;
        if (which >= s->blocks)
            return;
        block *b = &s->cpu->blocks[which];
        if (s->append_first)
            append_block(s, b);
        if (b->heads == 0)
            continue;
        if (s->pieces > 1)
            attend_piece(s, b, i % s->pieces, &m);
        else
            attend_block(s, b, &m);
    }
}

static void quantize_task(void *context, int thread, int threads)
{
    const step *s = context;
    const shoal_attention_args *a = s->a;
    const int64_t width = a->heads * a->head_dim;
    int64_t begin, end;
    shoal_share(a->rows, thread, threads, &begin, &end);
    if (begin < end)
        shoal_quantize_rows(s->cpu->base.cap, a->out + begin * width, width, begin, end - begin,
                            a->act, a->pending ? a->pending + begin : NULL);
}

/* ---- the list ------------------------------------------------------------------------------- */

/* Rows of a block: few enough that every thread gets some, enough to pay for the widening. */
static int64_t rows_of_block(const step *s, int64_t threads)
{
    const shoal_attention_args *a = s->a;
    const int64_t heads = shoal_min_i64(a->group, a->heads);
    const int64_t least = shoal_ceil_div(QUERIES_LEAST, heads);
    const int64_t most = shoal_max_i64(QUERIES_MOST / heads, 1);
    const int64_t even = a->rows * a->kv_heads / (SHARES * threads);
    return shoal_min_i64(shoal_max_i64(even, least), most);
}

static void put_block(step *s, const shoal_sequence_rows *sequence, int64_t first, int64_t rows,
                      int64_t kv_head)
{
    const shoal_attention_args *a = s->a;
    const int64_t from = (a->kv_head_first + kv_head) * a->group - a->head_first;
    const int64_t head = shoal_max_i64(from, 0);
    const int64_t past = shoal_min_i64(from + a->group, a->heads);
    const int64_t position = sequence->position + first;
    const int64_t begin = a->window > 0 ? shoal_max_i64(position + 1 - a->window, 0) : 0;
    block *b = &s->cpu->blocks[s->blocks++];
    b->sequence = sequence;
    b->kv_head = kv_head;
    b->row = sequence->row + first;
    b->rows = rows;
    b->head = head;
    b->heads = shoal_max_i64(past - head, 0);
    b->chunk = begin / SHOAL_CHUNK;
    b->chunks = shoal_ceil_div(position + rows, SHOAL_CHUNK) - b->chunk;
    s->queries = shoal_max_i64(s->queries, b->rows * b->heads);
}

/* Longest first: later rows see more. One thread goes forward, as it appends on the way. */
static shoal_status list_blocks(step *s, int64_t threads)
{
    const shoal_attention_args *a = s->a;
    const int64_t each = rows_of_block(s, threads);
    int64_t count = 0;
    s->append_first = true;
    for (int64_t i = 0; i < a->sequence_count; i++) {
        const int64_t blocks = shoal_ceil_div(a->sequences[i].rows, each);
        count += blocks * a->kv_heads;
        s->append_first &= threads == 1 || blocks <= 1;
    }
    if (count > s->cpu->block_room) {
        void *list = s->cpu->blocks;
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_SCRATCH, (uint64_t)count, sizeof(block), &list));
        s->cpu->blocks = list;
        s->cpu->block_room = count;
    }
    for (int64_t i = 0; i < a->sequence_count; i++) {
        const shoal_sequence_rows *sequence = &a->sequences[i];
        const int64_t blocks = shoal_ceil_div(sequence->rows, each);
        for (int64_t k = 0; k < blocks; k++) {
            const int64_t first = (s->append_first ? k : blocks - 1 - k) * each;
            for (int64_t kv_head = 0; kv_head < a->kv_heads; kv_head++)
                put_block(s, sequence, first, shoal_min_i64(each, sequence->rows - first), kv_head);
        }
    }
    return SHOAL_OK;
}

/* Cut blocks where that lets the threads finish together. */
static shoal_status cut_blocks(step *s, int64_t threads)
{
    const int64_t part = shoal_part_floats(s->a->head_dim);
    int64_t chunks = 0, floats = 0;
    s->pieces = 1;
    if (threads == 1 || s->blocks == 0 || s->blocks >= SHARES * threads ||
        (s->a->sequence_count == 1 && s->blocks % threads == 0))
        return SHOAL_OK;
    for (int64_t i = 0; i < s->blocks; i++) {
        const block *b = &s->cpu->blocks[i];
        chunks = shoal_max_i64(chunks, b->chunks);
        floats += b->chunks * b->rows * b->heads * part;
    }
    if (floats <= PARTS_MAX)
        s->pieces = shoal_min_i64(chunks, shoal_ceil_div(SHARES * threads, s->blocks));
    if (s->pieces == 1)
        return SHOAL_OK;
    s->append_first = false;
    if (floats > s->cpu->part_room) {
        void *room;
        SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_SCRATCH, (uint64_t)floats, sizeof(float), &room));
        shoal_free(s->cpu->parts);
        s->cpu->parts = room;
        s->cpu->part_room = floats;
    }
    floats = 0;
    for (int64_t i = 0; i < s->blocks; i++) {
        block *b = &s->cpu->blocks[i];
        b->parts = s->cpu->parts + floats;
        floats += b->chunks * b->rows * b->heads * part;
        atomic_store(&b->left, (int)s->pieces);
    }
    return SHOAL_OK;
}

static shoal_status check(const shoal_attention_args *a)
{
    if (a->head_dim < 1 || a->head_dim > SHOAL_HEAD_DIM_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "attention: head_dim %lld; the limit is %d",
                          (long long)a->head_dim, SHOAL_HEAD_DIM_MAX);
    if (a->heads == 0)
        return SHOAL_OK;
    const int64_t first = a->head_first / a->group - a->kv_head_first;
    const int64_t last = (a->head_first + a->heads - 1) / a->group - a->kv_head_first;
    if (first < 0 || last >= a->kv_heads)
        return shoal_fail(
            SHOAL_ERR_INTERNAL,
            "attention: query heads [%lld, +%lld) need kv heads outside [%lld, +%lld)",
            (long long)a->head_first, (long long)a->heads, (long long)a->kv_head_first,
            (long long)a->kv_heads);
    return SHOAL_OK;
}

/* Can a head be quantized as soon as it is finished? */
static bool heads_hold_groups(const shoal_attention_args *a)
{
    const shoal_act *act = a->act;
    return act && !act->perm && (!act->q || a->head_dim % act->like->spec.act_group == 0);
}

shoal_status shoal_backend_cpu_attention(shoal_backend *backend, const shoal_attention_args *args)
{
    shoal_backend_cpu *cpu = (shoal_backend_cpu *)backend;
    const int64_t threads = shoal_pool_threads(cpu->pool);
    step s = {.cpu = cpu, .a = args, .quantize_heads = heads_hold_groups(args)};
    SHOAL_TRY(check(args));
    SHOAL_TRY(map_rows(cpu, args));
    if (args->heads == 0) {
        shoal_pool_run(cpu->pool, append_task, &s);
        return SHOAL_OK;
    }
    SHOAL_TRY(list_blocks(&s, threads));
    SHOAL_TRY(cut_blocks(&s, threads));
    SHOAL_TRY(shoal_backend_cpu_scratch(cpu, memory_floats(&s)));
    if (!s.append_first)
        shoal_pool_run(cpu->pool, append_task, &s);
    shoal_pool_run(cpu->pool, attend_task, &s);
    if (args->act && !s.quantize_heads)
        shoal_pool_run(cpu->pool, quantize_task, &s);
    return SHOAL_OK;
}
