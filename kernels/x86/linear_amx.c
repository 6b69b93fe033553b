/* int8 inputs x int4/int8 weights on AMX tiles: 16 or 32 rows x 64 columns.
 *
 * A panel's K steps are already what a B tile wants (4 inputs of 16 columns in 64 bytes, steps
 * 256 bytes apart). int8 codes are used in place as t = u - 128; int4 codes are widened, a piece of
 * K at a time, to signed bytes u - z. Tiles cover 64 inputs, or 32 where segments ask for it. Few
 * rows, and rows that do not fill a tile, go to the AVX-512 VNNI row: the bits are the same. */
#include <immintrin.h>

#include "kernels/linear_row.h"
#include "kernels/x86/inline.h"
#include "kernels/x86/rows.h"
#include "kernels/x86/vec512.h"
#include "proto/bytes.h"

#define TILE_ROWS 16
#define CHUNK     512 /* inputs widened at a time */
#define DEPTH_MAX 64

/* Tile registers: 0-3 sums (row tile * 2 + column tile), 4-5 inputs, 6-7 weights. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;

_Static_assert(sizeof(tile_shapes) == 64, "what ldtilecfg reads");

static void configure(int depth)
{
    tile_shapes shapes = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        shapes.rows[i] = i < 6 ? TILE_ROWS : (uint8_t)(depth / 4);
        shapes.row_bytes[i] = i == 4 || i == 5 ? (uint16_t)depth : 64;
    }
    /* gcc 12 believes that ldtilecfg reads 8 bytes and would drop the other stores. */
    __asm__ volatile("" : : "r"(&shapes) : "memory");
    _tile_loadconfig(&shapes);
}

typedef struct {
    const shoal_linear *w;
    const shoal_act *a;
    int64_t panel;
    int depth;
    const uint8_t *weights; /* signed bytes [..][256] from local input k0 on */
    int64_t k0;
    const uint8_t *tail; /* the step at local input tail_k, padded; the stream ends inside it */
    int64_t tail_k;
} view;

typedef int32_t sums_block[4][TILE_ROWS][16];

/* Tiles of one segment: `pairs` (1 or 2) row tiles x the column tiles 2 * half and 2 * half + 1. */
ALWAYS_INLINE void multiply(const int pairs, const view *v, const shoal_segment *s, int64_t row,
                            int half, sums_block out)
{
    const int64_t ld = v->a->ld;
    const int8_t *q = v->a->q + row * ld + s->k;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int32_t k = 0; k < s->count; k += v->depth) {
        const int64_t at = s->k + k;
        const uint8_t *b = at == v->tail_k ? v->tail : v->weights + (at - v->k0) / 4 * 256;
        _tile_loadd(4, q + k, (size_t)ld);
        _tile_loadd(6, b + 128 * half, 256);
        _tile_loadd(7, b + 128 * half + 64, 256);
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        if (pairs == 2) {
            _tile_loadd(5, q + k + TILE_ROWS * ld, (size_t)ld);
            _tile_dpbssd(2, 5, 6);
            _tile_dpbssd(3, 5, 7);
        }
    }
    _tile_stored(0, out[0], 64);
    _tile_stored(1, out[1], 64);
    if (pairs == 2) {
        _tile_stored(2, out[2], 64);
        _tile_stored(3, out[3], 64);
    }
}

/* What int8 sums of t still lack: (128 - z) * sum(q); false when that is nothing. */
static bool correction(const view *v, int64_t cell, vi *out)
{
    const shoal_linear *w = v->w;
    if (w->spec.kind == SHOAL_WEIGHT_INT4 || (!w->zeros && w->spec.zero_const == 128))
        return false;
    const vi z = w->zeros ? vi_from_i16(shoal_panel_zeros(w, v->panel) + 2 * cell)
                          : vi_set(w->spec.zero_const - 128);
    *out = vi_sub(vi_set(0), z);
    return true;
}

/* One tile of sums into 16 rows x 16 columns of acc. */
static void join(const view *v, int64_t index, int64_t row, int64_t column,
                 const int32_t (*sums)[16], float *acc)
{
    const shoal_linear *w = v->w;
    const shoal_segment *s = &w->segments[index];
    const int64_t cell = (int64_t)s->weight_group * SHOAL_PANEL + column;
    const int64_t ld_scales = w->size.act_groups, ld_sums = w->size.segments;
    const float *sa = v->a->scales + row * ld_scales + s->act_group;
    const int32_t *sumq = v->a->sums + row * ld_sums + index;
    const vf scale = vf_load_as(w->spec.dtype, shoal_panel_scales(w, v->panel), cell);
    vi missing = vi_set(0);
    const bool corrected = correction(v, cell, &missing);
    for (int r = 0; r < TILE_ROWS; r++) {
        float *at = acc + r * SHOAL_PANEL + column;
        vi dot = vi_load(sums[r]);
        if (corrected)
            dot = _mm512_add_epi32(dot, vi_mul(missing, vi_set(sumq[r * ld_sums])));
        const float sa_row = sa[r * ld_scales];
        vf sum = vf_fma(vf_from_i(dot), vf_mul(vf_set(sa_row), scale), vf_load(at));
        if (w->mins) {
            const vf m = vf_load(shoal_panel_mins(w, v->panel) + cell);
            sum = vf_fma(vf_set((float)sumq[r * ld_sums] * sa_row), m, sum);
        }
        vf_store(at, sum);
    }
}

/* 16 * pairs rows over the segments [begin, end). */
ALWAYS_INLINE void run_strip(const int pairs, const view *v, int64_t row, int64_t begin,
                             int64_t end, float *acc)
{
    _Alignas(64) sums_block sums;
    for (int64_t i = begin; i < end; i++) {
        for (int half = 0; half < 2; half++) {
            multiply(pairs, v, &v->w->segments[i], row, half, sums);
            for (int t = 0; t < 2 * pairs; t++) {
                const int64_t first = t / 2 * TILE_ROWS;
                join(v, i, row + first, half * 32 + t % 2 * 16, (const int32_t(*)[16])sums[t],
                     acc + first * SHOAL_PANEL);
            }
        }
    }
}

static void all_strips(const view *v, int64_t row, int64_t rows, int64_t begin, int64_t end,
                       float *acc)
{
    for (; rows >= 2 * TILE_ROWS; rows -= 2 * TILE_ROWS) {
        run_strip(2, v, row, begin, end, acc);
        row += 2 * TILE_ROWS;
        acc += 2 * TILE_ROWS * SHOAL_PANEL;
    }
    if (rows >= TILE_ROWS)
        run_strip(1, v, row, begin, end, acc);
}

/* Zero points of 16 columns, each four times: a vector to subtract from codes. */
static vi zero_bytes(const shoal_linear *w, int64_t panel, int64_t cell)
{
    if (!w->zeros)
        return vi_set8((int8_t)w->spec.zero_const);
    return vi_mul(vi_from_u8(shoal_panel_zeros(w, panel) + cell), vi_set(0x01010101));
}

/* Segments [begin, end) of int4 codes as signed bytes u - z; zero steps up to the tile's depth. */
static void widen(const view *v, int64_t begin, int64_t end, uint8_t *out)
{
    const shoal_linear *w = v->w;
    const vi mask = vi_set8(15);
    int64_t filled = 0;
    for (int64_t i = begin; i < end; i++) {
        const shoal_segment *s = &w->segments[i];
        const uint8_t *in = shoal_panel_codes(w, v->panel) + s->k / 8 * 256;
        const int64_t cell = (int64_t)s->weight_group * SHOAL_PANEL;
        vi z[4];
        UNROLL for (int t = 0; t < 4; t++) z[t] = zero_bytes(w, v->panel, cell + 16 * t);
        for (int32_t k = 0; k < s->count; k += 8, in += 256, out += 512, filled += 8) {
            UNROLL for (int t = 0; t < 4; t++)
            {
                const vi x = vi_load(in + 64 * t);
                vi_store(out + 64 * t, _mm512_sub_epi8(vi_and(x, mask), z[t]));
                vi_store(out + 256 + 64 * t, _mm512_sub_epi8(vi_and(vi_high(x), mask), z[t]));
            }
        }
    }
    memset(out, 0, (size_t)(shoal_round_up(filled, v->depth) - filled) * SHOAL_PANEL);
}

/* The end of the segments that fit a chunk starting with segment `begin`; at least one. */
static int64_t chunk_end(const shoal_linear *w, int64_t begin, int64_t end)
{
    const int32_t k = w->segments[begin].k;
    int64_t i = begin + 1;
    while (i < end && w->segments[i].k + w->segments[i].count - k <= CHUNK)
        i++;
    return i;
}

/* The deepest tile whose steps do not leave a segment of [begin, end) for the next one. */
static int depth_of(const shoal_linear *w, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i <= end && i < w->size.segments; i++) {
        if (w->segments[i].k % DEPTH_MAX)
            return DEPTH_MAX / 2;
    }
    return DEPTH_MAX;
}

/* Tiles read whole steps: the last inputs of an int8 stream are copied where that is safe. */
static void copy_tail(view *v, uint8_t *tail)
{
    const shoal_linear *w = v->w;
    const int64_t whole = w->size.k_padded / v->depth * v->depth;
    if (whole == w->size.k_padded)
        return;
    const size_t bytes = (size_t)(w->size.k_padded - whole) * SHOAL_PANEL;
    memcpy(tail, v->weights + whole / 4 * 256, bytes);
    memset(tail + bytes, 0, (size_t)v->depth * SHOAL_PANEL - bytes);
    v->tail = tail;
    v->tail_k = whole;
}

static void accumulate_tiles(const shoal_linear *w, const shoal_act *a, int64_t row0, int64_t rows,
                             int64_t panel, int64_t seg_begin, int64_t seg_end, float *acc)
{
    _Alignas(64) uint8_t scratch[CHUNK * SHOAL_PANEL];
    const bool int4 = w->spec.kind == SHOAL_WEIGHT_INT4;
    view v = {.w = w,
              .a = a,
              .panel = panel,
              .depth = depth_of(w, seg_begin, seg_end),
              .weights = int4 ? scratch : shoal_panel_codes(w, panel),
              .tail_k = -1};
    if (!int4)
        copy_tail(&v, scratch);
    configure(v.depth);
    for (int64_t begin = seg_begin, end; begin < seg_end; begin = end) {
        end = chunk_end(w, begin, seg_end);
        if (int4) {
            v.k0 = w->segments[begin].k;
            widen(&v, begin, end, scratch);
        }
        all_strips(&v, row0, rows, begin, end, acc);
    }
    _tile_release();
}

void shoal_linear_accumulate_amx(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                 int64_t rows, int64_t panel, int64_t seg_begin, int64_t seg_end,
                                 float *acc)
{
    const int64_t tiled = rows / TILE_ROWS * TILE_ROWS;
    if (tiled && seg_begin < seg_end)
        accumulate_tiles(w, a, row0, tiled, panel, seg_begin, seg_end, acc);
    if (rows > tiled)
        shoal_linear_accumulate_avx512vnni(w, a, row0 + tiled, rows - tiled, panel, seg_begin,
                                           seg_end, acc + tiled * SHOAL_PANEL);
}
