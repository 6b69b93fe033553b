/* The attention step: every row's key and value enter the cache before any row attends. */
#include <stdatomic.h>
#include <string.h>

#include "kernels/backend_cpu.h"
#include "proto/arena.h"
#include "proto/bytes.h"

typedef struct {
    shoal_backend_cpu *cpu;
    const shoal_attention_args *a;
    _Atomic int64_t next; /* the next (row, head) to attend: later rows take longer */
} step;

static shoal_status map_rows(shoal_backend_cpu *cpu, const shoal_attention_args *a)
{
    if (a->rows > cpu->row_room) {
        void *block = cpu->row_sequence;
        SHOAL_TRY(
            shoal_realloc_array(SHOAL_MEM_SCRATCH, (uint64_t)a->rows, sizeof(int32_t), &block));
        cpu->row_sequence = block;
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

static void append(const step *s, int64_t row, int64_t kv_head)
{
    const shoal_attention_args *a = s->a;
    const shoal_sequence_rows *sequence = &a->sequences[s->cpu->row_sequence[row]];
    const int64_t position = position_of(sequence, row);
    const int64_t at = (row * a->kv_heads + kv_head) * a->head_dim;
    float key[SHOAL_HEAD_DIM_MAX];
    prepare(s, row, a->k + at, a->k_norm, key);
    count_errors(a, row,
                 shoal_kv_append(s->cpu->ops, s->cpu->quantize, a->kv, kv_head,
                                 sequence->pages[position / SHOAL_PAGE], position % SHOAL_PAGE, key,
                                 a->v + at));
}

/* Each row is heads queries, kept in `out` until they attend, and kv_heads positions to append. */
static void append_task(void *context, int thread, int threads)
{
    const step *s = context;
    const shoal_attention_args *a = s->a;
    const int64_t each = a->heads + a->kv_heads;
    int64_t begin, end;
    shoal_share(a->rows * each, thread, threads, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = i / each, head = i % each;
        const int64_t at = (row * a->heads + head) * a->head_dim;
        if (s->cpu->row_sequence[row] < 0)
            continue;
        if (head < a->heads)
            prepare(s, row, a->q + at, a->q_norm, a->out + at);
        else
            append(s, row, head - a->heads);
    }
}

static void attend(const step *s, int64_t row, int64_t head)
{
    const shoal_attention_args *a = s->a;
    const int32_t which = s->cpu->row_sequence[row];
    float *out = a->out + (row * a->heads + head) * a->head_dim;
    if (which < 0) { /* no sequence's row: nothing to see, nothing to quantize */
        memset(out, 0, (size_t)a->head_dim * sizeof *out);
        return;
    }
    const shoal_sequence_rows *sequence = &a->sequences[which];
    const int64_t position = position_of(sequence, row);
    shoal_span span = {
        .kv = a->kv,
        .kv_head = (a->head_first + head) / a->group - a->kv_head_first,
        .pages = sequence->pages,
        .begin = a->window > 0 ? shoal_max_i64(0, position + 1 - a->window) : 0,
        .end = position + 1,
        .scale = a->scale,
        .soft_cap = a->soft_cap,
    };
    float query[SHOAL_HEAD_DIM_MAX], room[SHOAL_HEAD_DIM_MAX];
    memcpy(query, out, (size_t)a->head_dim * sizeof *query);
    count_errors(a, row, shoal_span_query(s->cpu->quantize, query, room, &span));
    s->cpu->ops->attend(&span, out);
}

static void attend_task(void *context, int thread, int threads)
{
    step *s = context;
    const int64_t heads = s->a->heads, all = s->a->rows * heads;
    (void)thread;
    (void)threads;
    for (;;) {
        const int64_t i = atomic_fetch_add(&s->next, 1);
        if (i >= all)
            return;
        attend(s, i / heads, i % heads);
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

shoal_status shoal_backend_cpu_attention(shoal_backend *backend, const shoal_attention_args *args)
{
    shoal_backend_cpu *cpu = (shoal_backend_cpu *)backend;
    step s = {.cpu = cpu, .a = args};
    SHOAL_TRY(check(args));
    SHOAL_TRY(map_rows(cpu, args));
    shoal_pool_run(cpu->pool, append_task, &s);
    if (args->heads == 0)
        return SHOAL_OK;
    shoal_pool_run(cpu->pool, attend_task, &s);
    if (args->act)
        shoal_pool_run(cpu->pool, quantize_task, &s);
    return SHOAL_OK;
}
