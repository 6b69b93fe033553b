#include "shard/int4_packing.h"

#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"

#define LANES 32

/* What torchao pads K to before it packs tiles. */
#define TILED_PADDING 1024

static const char *const names[] = {
    [SHOAL_INT4_UNKNOWN] = "unknown", [SHOAL_INT4_TILED] = "tiled",
    [SHOAL_INT4_AVX512] = "avx512",   [SHOAL_INT4_AVX2] = "avx2",
    [SHOAL_INT4_GENERIC] = "generic", [SHOAL_INT4_NIBBLES] = "nibbles",
};

const char *shoal_int4_order_name(shoal_int4_order order)
{
    return names[order];
}

shoal_int4_order shoal_int4_order_find(const char *name)
{
    for (int i = SHOAL_INT4_TILED; i <= SHOAL_INT4_NIBBLES; i++)
        if (strcmp(names[i], name) == 0)
            return (shoal_int4_order)i;
    return SHOAL_INT4_UNKNOWN;
}

/* ---- shapes ---- */

static bool tiled_of(const shoal_tensor *t, int64_t n, int64_t k, shoal_int4_packing *out)
{
    if (t->rank != 4 || t->dtype != SHOAL_I32 || t->bytes == 0 || t->shape[2] != LANES ||
        (t->shape[3] != 1 && t->shape[3] != 2 && t->shape[3] != 4))
        return false;
    const int64_t inner = 2 * t->shape[3];
    *out = (shoal_int4_packing){SHOAL_INT4_TILED, 8 * t->shape[0], t->shape[1] * inner * 16, inner};
    return out->n == shoal_round_up(n, 8) &&
           (out->k == k || out->k == shoal_round_up(k, TILED_PADDING));
}

bool shoal_int4_packing_of(const shoal_tensor *tensor, shoal_int4_order order, int64_t n, int64_t k,
                           shoal_int4_packing *out)
{
    if (order == SHOAL_INT4_TILED)
        return tiled_of(tensor, n, k, out);
    *out = (shoal_int4_packing){order, n, k, 0};
    if (k % 2 || (order != SHOAL_INT4_NIBBLES && n % 2))
        return false;
    return tensor->rank == 2 && (tensor->dtype == SHOAL_U8 || tensor->dtype == SHOAL_I8) &&
           tensor->shape[0] == n && tensor->shape[1] == k / 2;
}

static int64_t band_rows(const shoal_int4_packing *p)
{
    switch (p->order) {
    case SHOAL_INT4_TILED: return 8;
    case SHOAL_INT4_AVX512: return 64;
    case SHOAL_INT4_NIBBLES: return 1;
    default: return 32;
    }
}

static int64_t step_inputs(const shoal_int4_packing *p)
{
    switch (p->order) {
    case SHOAL_INT4_TILED: return p->inner * 16;
    case SHOAL_INT4_NIBBLES: return 2;
    default: return 1;
    }
}

/* ---- rows ---- */

/* Row `row` of 8: its four lanes hold 8 inputs of every 32 in each word. */
static void unpack_tiled(const shoal_int4_packing *p, int64_t row, const uint8_t *bytes,
                         int64_t count, uint8_t *codes)
{
    const int64_t words = p->inner / 2, tile = p->inner * 16;
    for (int64_t k = 0; k < count; k++) {
        const int64_t in = k % tile, of_word = in % 32;
        const int64_t lane = 4 * row + of_word % 8 / 2;
        const int64_t word = (k / tile * LANES + lane) * words + in / 32;
        const int64_t nibble = of_word / 8 + 4 * (of_word % 2);
        codes[k] = (uint8_t)(shoal_load_le32(bytes + 4 * word) >> (4 * nibble) & 15);
    }
}

void shoal_int4_unpack_row(const shoal_int4_packing *packing, int64_t height, int64_t row,
                           const uint8_t *bytes, int64_t count, uint8_t *codes)
{
    int64_t byte = row / 2, half = row % 2;
    if (packing->order == SHOAL_INT4_TILED) {
        unpack_tiled(packing, row, bytes, count, codes);
        return;
    }
    if (packing->order == SHOAL_INT4_NIBBLES) {
        for (int64_t k = 0; k < count; k++)
            codes[k] = (bytes[k / 2] >> (k % 2 ? 4 : 0) & 15) ^ 8;
        return;
    }
    if (packing->order != SHOAL_INT4_GENERIC && height == band_rows(packing)) {
        byte = row % (height / 2);
        half = row / (height / 2);
    }
    for (int64_t k = 0; k < count; k++)
        codes[k] = bytes[k * (height / 2) + byte] >> (half ? 4 : 0) & 15;
}

/* ---- ranges ---- */

/* Bands of one height that hold a part of a range. */
typedef struct {
    int64_t first, count, height;
    int64_t k_begin, k_end; /* whole steps */
} bands;

/* The bands of a range: full ones, and perhaps one that is not. */
static int bands_of(const shoal_int4_packing *p, const shoal_int4_range *r, bands out[2])
{
    const int64_t rows = band_rows(p), step = step_inputs(p), full = p->n / rows;
    const int64_t begin = r->n_begin / rows, end = shoal_ceil_div(r->n_end, rows);
    const int64_t full_end = shoal_min_i64(end, full);
    const int64_t k_begin = r->k_begin / step * step;
    const int64_t k_end = shoal_round_up(r->k_end, step);
    int count = 0;
    if (r->n_end <= r->n_begin || r->k_end <= r->k_begin)
        return 0;
    if (full_end > begin)
        out[count++] = (bands){begin, full_end - begin, rows, k_begin, k_end};
    if (end > full)
        out[count++] = (bands){full, 1, p->n - full * rows, k_begin, k_end};
    return count;
}

static uint64_t bytes_of(const bands *b)
{
    return (uint64_t)(b->height * (b->k_end - b->k_begin) / 2);
}

uint64_t shoal_int4_read_bytes(const shoal_int4_packing *packing, const shoal_int4_range *range)
{
    bands parts[2];
    const int count = bands_of(packing, range, parts);
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += (uint64_t)parts[i].count * bytes_of(&parts[i]);
    return bytes;
}

/* The rows of one band that the range wants. */
static void unpack_band(const shoal_int4_packing *p, const shoal_int4_range *r, const bands *b,
                        int64_t band, const uint8_t *bytes, uint8_t *scratch, uint8_t *codes)
{
    const int64_t first = band * band_rows(p), k = r->k_end - r->k_begin;
    const int64_t begin = shoal_max_i64(first, r->n_begin);
    const int64_t end = shoal_min_i64(first + b->height, r->n_end);
    for (int64_t n = begin; n < end; n++) {
        shoal_int4_unpack_row(p, b->height, n - first, bytes, b->k_end - b->k_begin, scratch);
        memcpy(codes + (n - r->n_begin) * k, scratch + (r->k_begin - b->k_begin), (size_t)k);
    }
}

static shoal_status read_bands(const shoal_checkpoint *checkpoint, const shoal_tensor *tensor,
                               const shoal_int4_packing *p, const shoal_int4_range *r,
                               const bands *b, uint8_t *codes)
{
    const uint64_t stride = (uint64_t)(band_rows(p) * p->k / 2), bytes = bytes_of(b);
    const uint64_t offset = (uint64_t)b->first * stride + (uint64_t)(b->height * b->k_begin / 2);
    const uint64_t inputs = (uint64_t)(b->k_end - b->k_begin);
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, (uint64_t)b->count * bytes + inputs, &block));
    uint8_t *stored = block, *scratch = stored + (uint64_t)b->count * bytes;
    const shoal_status st = shoal_checkpoint_read_rows(checkpoint, tensor, offset, bytes, stride,
                                                       (uint64_t)b->count, stored);
    for (int64_t i = 0; i < b->count && st == SHOAL_OK; i++)
        unpack_band(p, r, b, b->first + i, stored + (uint64_t)i * bytes, scratch, codes);
    shoal_free(block);
    return st;
}

shoal_status shoal_int4_read(const shoal_checkpoint *checkpoint, const shoal_tensor *tensor,
                             const shoal_int4_packing *packing, const shoal_int4_range *range,
                             uint8_t *codes)
{
    bands parts[2];
    const int count = bands_of(packing, range, parts);
    for (int i = 0; i < count; i++)
        SHOAL_TRY(read_bands(checkpoint, tensor, packing, range, &parts[i], codes));
    return SHOAL_OK;
}
