/* bf16 inputs x integer weights by vdpbf16ps: 6 rows x 64 columns. Weights are expanded a piece of
 * K at a time, which stays in L1 while the rows pass. */
#include "kernels/linear_row.h"
#include "kernels/x86/bf16_pairs.h"
#include "kernels/x86/rows.h"
#include "proto/bytes.h"

#include "kernels/x86/bf16_runs.inc"

#define PIECE 256 /* inputs: 32 KiB */
#define R_MAX 6
#define T     4

/* `pairs` pairs of inputs of R rows x 64 columns. */
typedef struct {
    const uint8_t *weights;
    const uint16_t *x;
    int64_t ld, pairs;
    float *acc;
} strip;

ALWAYS_INLINE vf dot2(vf sum, vi inputs, const uint8_t *weights)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)inputs, (__m512bh)vi_load(weights));
}

ALWAYS_INLINE void run_strip(const int R, const strip *g)
{
    vf c[R_MAX][T];
    UNROLL for (int r = 0; r < R; r++)
    {
        UNROLL for (int t = 0; t < T; t++) c[r][t] = vf_load(g->acc + r * SHOAL_PANEL + t * LANES);
    }
    const uint8_t *weights = g->weights;
    for (int64_t k = 0; k < g->pairs; k++, weights += PAIR_BYTES) {
        UNROLL for (int r = 0; r < R; r++)
        {
            const vi two = vi_set(load_dword((const int8_t *)(g->x + r * g->ld + 2 * k)));
            UNROLL for (int t = 0; t < T; t++) c[r][t] = dot2(c[r][t], two, weights + 64 * t);
        }
    }
    UNROLL for (int r = 0; r < R; r++)
    {
        UNROLL for (int t = 0; t < T; t++) vf_store(g->acc + r * SHOAL_PANEL + t * LANES, c[r][t]);
    }
}

static void all_strips(strip g, int64_t rows)
{
    for (int64_t left = rows, height; left > 0; left -= height) {
        height = shoal_ceil_div(left, shoal_ceil_div(left, R_MAX));
        switch (height) {
        case 1: run_strip(1, &g); break;
        case 2: run_strip(2, &g); break;
        case 3: run_strip(3, &g); break;
        case 4: run_strip(4, &g); break;
        case 5: run_strip(5, &g); break;
        default: run_strip(R_MAX, &g); break;
        }
        g.x += height * g.ld;
        g.acc += height * SHOAL_PANEL;
    }
}

void shoal_linear_accumulate_bf16_dot(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                      int64_t rows, int64_t panel, int64_t seg_begin,
                                      int64_t seg_end, float *acc)
{
    if (seg_begin == seg_end)
        return;
    _Alignas(64) uint8_t scratch[PIECE / 2 * PAIR_BYTES];
    const shoal_segment *last = &w->segments[seg_end - 1];
    const int64_t end = last->k + last->count;
    for (int64_t k = w->segments[seg_begin].k, next; k < end; k = next) {
        next = shoal_min_i64(end, k + PIECE);
        expand_piece(w, panel, &seg_begin, k, next, scratch);
        for (int column = 0; column < SHOAL_PANEL; column += LANES)
            clear_inputs(scratch + column * COLUMN_BYTES, next - k, shoal_round_up(next - k, 2));
        all_strips((strip){.weights = scratch,
                           .x = a->bf16 + row0 * a->ld + k,
                           .ld = a->ld,
                           .pairs = shoal_ceil_div(next - k, 2),
                           .acc = acc},
                   rows);
    }
}
