/* kernels/attention.h - attention of a block of queries over the chunks of a KV cache (rule 5).
 *
 * The queries of a block share one kv head of one sequence: some consecutive rows, and of each row
 * the query heads of the group. A chunk gives each query that sees a part of it a *part*: the
 * highest score m, the sum of weights l, the weighted values o. Parts are joined in ascending order
 * of chunks, whoever computed them, so work may be cut between threads at any chunk.
 *
 * One table row per kernel level, all with the bits of the reference (attention_ref.c). Nothing
 * here allocates or fails; all memory is the caller's. */
#ifndef SHOAL_KERNELS_ATTENTION_H
#define SHOAL_KERNELS_ATTENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/backend.h"
#include "kernels/cpu.h"
#include "proto/bytes.h"

/* Lanes of the sum of attention weights. */
#define SHOAL_SUM_LANES 16

/* Elements from one query to the next: a constant, so that a tile of queries needs one address
 * register; no power of two, so that they do not share cache sets. */
#define SHOAL_QUERY_LD (SHOAL_HEAD_DIM_MAX + 64)

typedef struct {
    const shoal_kv_layer *kv;
    int64_t kv_head;
    const int32_t *pages; /* of the sequence, by position / SHOAL_PAGE                            */
    int64_t position;    /* of row 0; row r is at position + r and sees itself and what is before */
    int64_t rows, heads; /* rows * heads queries, in that order; both >= 1                       */
    int64_t window;      /* a row sees at most so many positions; 0: all                         */
    float scale, soft_cap;
    const float *f32;    /* fp32 and fp16 caches: [queries][SHOAL_QUERY_LD], or                   */
    const int8_t *q;     /* int8 cache: [queries][SHOAL_QUERY_LD] by rule 2's quantizer,          */
    const float *scales; /*   [queries] and                                                       */
    const int32_t *sums; /*   the sums of q [queries]                                             */
} shoal_queries;

/* A part is m, l, and from float SHOAL_PART_O on o[head_dim], padded to whole vectors. */
#define SHOAL_PART_O   16
#define SHOAL_PART_PAD 32

static inline int64_t shoal_part_floats(int64_t head_dim)
{
    return SHOAL_PART_O + shoal_round_up(head_dim, SHOAL_PART_PAD);
}

/* Positions [*begin, *end) of `chunk` that a row sees, counted from the chunk's first one; is there
 * any? Neither bound ever falls from one row to the next. */
static inline bool shoal_row_sees(const shoal_queries *q, int64_t row, int64_t chunk,
                                  int32_t *begin, int32_t *end)
{
    const int64_t past = q->position + row + 1 - chunk * SHOAL_CHUNK;
    const int64_t from = q->window > 0 ? past - q->window : -chunk * SHOAL_CHUNK;
    *begin = (int32_t)shoal_min_i64(shoal_max_i64(from, 0), SHOAL_CHUNK);
    *end = (int32_t)shoal_min_i64(shoal_max_i64(past, 0), SHOAL_CHUNK);
    return *begin < *end;
}

/* Chunks [*first, *past) that some query of the block sees. */
static inline void shoal_queries_chunks(const shoal_queries *q, int64_t *first, int64_t *past)
{
    const int64_t begin = q->window > 0 ? shoal_max_i64(q->position + 1 - q->window, 0) : 0;
    *first = begin / SHOAL_CHUNK;
    *past = shoal_ceil_div(q->position + q->rows, SHOAL_CHUNK);
}

typedef struct {
    const char *name; /* "attention-avx2": reports, tests */
    shoal_cpu_level needs;

    /* parts [queries][shoal_part_floats]: those of the queries that see something of `chunk`; the
     * others are not looked at. `room`: shoal_chunk_room() floats on a cache line. */
    void (*chunk)(const shoal_queries *q, int64_t chunk, float *room, float *parts);

    /* part = part joined by the part of a later chunk. */
    void (*join)(float *part, const float *next, int64_t head_dim);

    /* out[head_dim] = o * (1 / l). */
    void (*finish)(const float *part, int64_t head_dim, float *out);
} shoal_attention_row;

/* Floats of working memory of chunk() and of shoal_attend for so many queries. */
int64_t shoal_chunk_room(int64_t head_dim, int64_t queries);
int64_t shoal_attend_room(int64_t head_dim, int64_t queries);

/* Take the parts of `chunk` into those of the block. Called in ascending order of chunks. */
void shoal_attend_join(const shoal_attention_row *kernel, const shoal_queries *q, int64_t chunk,
                       const float *next, float *parts);

/* All chunks of a block: parts [queries][shoal_part_floats] on a cache line. */
void shoal_attend(const shoal_attention_row *kernel, const shoal_queries *q, float *room,
                  float *parts);

/* Fastest first, the reference last. */
extern const shoal_attention_row *const shoal_attention_rows[];
extern const int shoal_attention_row_count;

/* The first row that this machine has and `cap` allows. */
const shoal_attention_row *shoal_attention_pick(shoal_cpu_level cap);

extern const shoal_attention_row shoal_attention_ref;
#if defined(__x86_64__)
extern const shoal_attention_row shoal_attention_avx2;
extern const shoal_attention_row shoal_attention_avxvnni;
extern const shoal_attention_row shoal_attention_avx512;
extern const shoal_attention_row shoal_attention_avx512vnni;
#endif

#endif
