#include "kernels/attention.h"

#include <string.h>

const shoal_attention_row *const shoal_attention_rows[] = {
#if defined(__x86_64__)
    &shoal_attention_avx512vnni, &shoal_attention_avx512,
    &shoal_attention_avxvnni,    &shoal_attention_avx2,
#endif
    &shoal_attention_ref,
};

const int shoal_attention_row_count =
    (int)(sizeof shoal_attention_rows / sizeof shoal_attention_rows[0]);

const shoal_attention_row *shoal_attention_pick(shoal_cpu_level cap)
{
    for (int i = 0; i < shoal_attention_row_count; i++) {
        const shoal_attention_row *row = shoal_attention_rows[i];
        if (row->needs <= cap && shoal_cpu_has(row->needs))
            return row;
    }
    return &shoal_attention_ref;
}

/* Keys and values of a chunk widened; per query its scores (and a page's slack), what it sees and,
 * for an int8 cache, its values as floats. */
int64_t shoal_chunk_room(int64_t head_dim, int64_t queries)
{
    const int64_t padded = shoal_round_up(head_dim, SHOAL_PART_PAD);
    return 2 * SHOAL_CHUNK * padded + shoal_round_up(2 * queries, 16) +
           queries * (SHOAL_CHUNK + SHOAL_PAGE + SHOAL_QUERY_LD);
}

int64_t shoal_attend_room(int64_t head_dim, int64_t queries)
{
    return queries * shoal_part_floats(head_dim) + shoal_chunk_room(head_dim, queries);
}

void shoal_attend_join(const shoal_attention_row *kernel, const shoal_queries *q, int64_t chunk,
                       const float *next, float *parts)
{
    const int64_t floats = shoal_part_floats(q->kv->head_dim);
    const int64_t each = floats * q->heads;
    for (int64_t row = 0; row < q->rows; row++, parts += each, next += each) {
        int32_t begin, end, b, e;
        if (!shoal_row_sees(q, row, chunk, &begin, &end))
            continue;
        if (chunk == 0 || !shoal_row_sees(q, row, chunk - 1, &b, &e)) {
            memcpy(parts, next, (size_t)each * sizeof *parts);
            continue;
        }
        for (int64_t head = 0; head < q->heads; head++)
            kernel->join(parts + head * floats, next + head * floats, q->kv->head_dim);
    }
}

void shoal_attend(const shoal_attention_row *kernel, const shoal_queries *q, float *room,
                  float *parts)
{
    float *next = room + shoal_chunk_room(q->kv->head_dim, q->rows * q->heads);
    int64_t first, past;
    shoal_queries_chunks(q, &first, &past);
    for (int64_t chunk = first; chunk < past; chunk++) {
        kernel->chunk(q, chunk, room, next);
        shoal_attend_join(kernel, q, chunk, next, parts);
    }
}
