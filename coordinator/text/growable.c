#include "coordinator/text/growable.h"

#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"

/* A first block that most words and sentences fit in. */
#define FIRST 64u

shoal_status shoal_grow(void **block, size_t size, size_t used, size_t more, size_t *capacity)
{
    uint64_t need;
    if (!shoal_add_u64(used, more, &need))
        return shoal_fail(SHOAL_ERR_TEMPORARY, "a text of %zu + %zu elements is too large", used,
                          more);
    if (need <= *capacity)
        return SHOAL_OK;
    uint64_t wanted = *capacity ? *capacity : FIRST;
    while (wanted < need)
        if (!shoal_mul_u64(wanted, 2, &wanted))
            wanted = need;
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, wanted, size, block));
    *capacity = (size_t)wanted;
    return SHOAL_OK;
}

/* Of honest steps a normal form multiplies most: one character of three bytes becomes eighteen
 * of some two each. */
#define GROWN_BASE  (1u << 20)
#define GROWN_TIMES 64u

size_t shoal_grown_max(size_t bytes)
{
    return bytes < (SIZE_MAX - GROWN_BASE) / GROWN_TIMES ? GROWN_BASE + GROWN_TIMES * bytes
                                                         : SIZE_MAX;
}

shoal_status shoal_check_grown(size_t bytes, size_t most)
{
    if (bytes > most)
        return shoal_fail(SHOAL_ERR_DATA,
                          "the tokenizer makes a text longer than it may become (%zu bytes)", most);
    return SHOAL_OK;
}

shoal_status shoal_strbuf_reserve(shoal_strbuf *buf, size_t more)
{
    void *block = buf->data;
    SHOAL_TRY(shoal_grow(&block, 1, buf->bytes, more, &buf->capacity));
    buf->data = block;
    return SHOAL_OK;
}

shoal_status shoal_strbuf_append(shoal_strbuf *buf, const char *text, size_t bytes)
{
    if (bytes > buf->capacity - buf->bytes)
        SHOAL_TRY(shoal_strbuf_reserve(buf, bytes));
    if (bytes)
        memcpy(buf->data + buf->bytes, text, bytes);
    buf->bytes += bytes;
    return SHOAL_OK;
}

void shoal_strbuf_free(shoal_strbuf *buf)
{
    shoal_free(buf->data);
    *buf = (shoal_strbuf){0};
}

shoal_status shoal_ids_reserve(shoal_ids *ids, size_t more)
{
    void *block = ids->data;
    SHOAL_TRY(shoal_grow(&block, sizeof *ids->data, ids->count, more, &ids->capacity));
    ids->data = block;
    return SHOAL_OK;
}

shoal_status shoal_ids_push(shoal_ids *ids, int32_t id)
{
    if (ids->count == ids->capacity)
        SHOAL_TRY(shoal_ids_reserve(ids, 1));
    ids->data[ids->count++] = id;
    return SHOAL_OK;
}

shoal_status shoal_ids_append(shoal_ids *ids, const shoal_ids *tail)
{
    SHOAL_TRY(shoal_ids_reserve(ids, tail->count));
    if (tail->count)
        memcpy(ids->data + ids->count, tail->data, tail->count * sizeof *ids->data);
    ids->count += tail->count;
    return SHOAL_OK;
}

void shoal_ids_free(shoal_ids *ids)
{
    shoal_free(ids->data);
    *ids = (shoal_ids){0};
}

shoal_status shoal_spans_push(shoal_spans *spans, size_t begin, size_t end)
{
    if (begin >= end)
        return SHOAL_OK;
    if (spans->count == spans->capacity) {
        void *block = spans->data;
        SHOAL_TRY(shoal_grow(&block, sizeof *spans->data, spans->count, 1, &spans->capacity));
        spans->data = block;
    }
    spans->data[spans->count++] = (shoal_span){begin, end};
    return SHOAL_OK;
}

void shoal_spans_free(shoal_spans *spans)
{
    shoal_free(spans->data);
    *spans = (shoal_spans){0};
}
