/* The reference: docs/arithmetic.md rules 2 and 3, read aloud. It is meant to be seen right, not
 * to be fast; every other row of the table must give its bits. */
#include <math.h>
#include <string.h>

#include "kernels/linear_row.h"

/* Code u and zero point z of (k, column c) in a panel. */
static int32_t code_of(const shoal_linear *w, const uint8_t *codes, int64_t k, int64_t c)
{
    if (w->spec.kind == SHOAL_WEIGHT_INT8)
        return codes[k / 4 * 256 + c * 4 + k % 4] ^ 0x80;
    const uint8_t pair = codes[k / 8 * 256 + c * 4 + k % 4];
    return k % 8 < 4 ? pair & 15 : pair >> 4;
}

static int32_t zero_of(const shoal_linear *w, int64_t panel, int64_t cell)
{
    if (!w->spec.has_zeros)
        return w->spec.zero_const;
    if (w->spec.kind == SHOAL_WEIGHT_INT4)
        return shoal_panel_zeros(w, panel)[cell];
    int16_t shifted;
    memcpy(&shifted, shoal_panel_zeros(w, panel) + 2 * cell, 2);
    return shifted + 128;
}

/* The scale of one cell [group][64]. */
static float scale_of(const shoal_linear *w, int64_t panel, int64_t cell)
{
    return shoal_load_f32(shoal_panel_scales(w, panel), w->spec.dtype, (size_t)cell);
}

/* Sum of q * (u - z) over one segment. */
static int32_t segment_dot(const shoal_linear *w, const shoal_act *a, int64_t row, int64_t panel,
                           const shoal_segment *s, int64_t c)
{
    const uint8_t *codes = shoal_panel_codes(w, panel);
    const int32_t zero = zero_of(w, panel, (int64_t)s->weight_group * SHOAL_PANEL + c);
    const int8_t *q = a->q + row * a->ld + s->k;
    uint32_t dot = 0; /* wraps on the way; the sum itself fits int32 */
    for (int32_t i = 0; i < s->count; i++)
        dot += (uint32_t)(q[i] * (code_of(w, codes, s->k + i, c) - zero));
    return (int32_t)dot;
}

/* acc = fmaf((float)dot, sa * s, acc); with a minimum also acc = fmaf((float)sum * sa, m, acc). */
static float join_int8(const shoal_linear *w, const shoal_act *a, int64_t row, int64_t panel,
                       const shoal_segment *s, int64_t segment, int64_t c, float acc)
{
    const int64_t cell = (int64_t)s->weight_group * SHOAL_PANEL + c;
    const int32_t dot = segment_dot(w, a, row, panel, s, c);
    const float sa = a->scales[row * w->size.act_groups + s->act_group];
    acc = fmaf((float)dot, sa * scale_of(w, panel, cell), acc);
    if (w->spec.has_mins) {
        const int32_t sum = a->sums[row * w->size.segments + segment];
        acc = fmaf((float)sum * sa, shoal_panel_mins(w, panel)[cell], acc);
    }
    return acc;
}

/* A whole run at its last segment: acc = fmaf((float)D, sa * s, acc) of D = sum of step * dot; with
 * a minimum also acc = fmaf((float)M, sa * m, acc) of M = sum of min_step * sum(q). */
static float join_run(const shoal_linear *w, const shoal_act *a, int64_t row, int64_t panel,
                      int64_t last, int64_t c, float acc)
{
    const shoal_segment *s = &w->segments[last];
    const int64_t top = (int64_t)s->scale_group * SHOAL_PANEL + c;
    int32_t dots = 0, sums = 0;
    if (!s->ends_run)
        return acc;
    for (int64_t i = s->run; i <= last; i++) {
        const int64_t cell = (int64_t)w->segments[i].weight_group * SHOAL_PANEL + c;
        dots += shoal_panel_steps(w, w->steps, panel)[cell] *
                segment_dot(w, a, row, panel, &w->segments[i], c);
        if (w->min_steps)
            sums += shoal_panel_steps(w, w->min_steps, panel)[cell] *
                    a->sums[row * w->size.segments + i];
    }
    const float sa = a->scales[row * w->size.act_groups + s->act_group];
    acc = fmaf((float)dots, sa * scale_of(w, panel, top), acc);
    return w->min_steps ? fmaf((float)sums, sa * shoal_panel_mins(w, panel)[top], acc) : acc;
}

/* One fmaf per input, ascending; an integer weight is dequantized first, rounded once. */
static float join_f32(const shoal_linear *w, const shoal_act *a, int64_t row, int64_t panel,
                      const shoal_segment *s, int64_t c, float acc)
{
    const float *x = a->f32 + row * a->ld;
    for (int64_t k = s->k; k < s->k + s->count; k++)
        acc = fmaf(x[k], shoal_linear_weight(w, panel * SHOAL_PANEL + c, k), acc);
    return acc;
}

/* Steps of up to 32 inputs, which start where the segment starts. */
static float join_bf16(const shoal_linear *w, const shoal_act *a, int64_t row, int64_t panel,
                       const shoal_segment *s, int64_t c, float acc)
{
    const uint16_t *x = a->bf16 + row * a->ld + s->k;
    float weights[SHOAL_BF16_STEP];
    for (int32_t i = 0, count; i < s->count; i += count) {
        count = s->count - i < SHOAL_BF16_STEP ? s->count - i : SHOAL_BF16_STEP;
        for (int32_t j = 0; j < count; j++) {
            const float exact = shoal_linear_weight(w, panel * SHOAL_PANEL + c, s->k + i + j);
            weights[j] = shoal_bf16_weight(w->bf16, exact);
        }
        acc = shoal_bf16_dot(w->bf16, x + i, weights, count, acc);
    }
    return acc;
}

static float join(const shoal_linear *w, const shoal_act *a, int64_t row, int64_t panel,
                  int64_t segment, int64_t c, float acc)
{
    const shoal_segment *s = &w->segments[segment];
    switch (w->spec.act) {
    case SHOAL_ACT_INT8:
        return w->steps ? join_run(w, a, row, panel, segment, c, acc)
                        : join_int8(w, a, row, panel, s, segment, c, acc);
    case SHOAL_ACT_BF16: return join_bf16(w, a, row, panel, s, c, acc);
    default: return join_f32(w, a, row, panel, s, c, acc);
    }
}

void shoal_linear_accumulate_ref(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                 int64_t rows, int64_t panel, int64_t seg_begin, int64_t seg_end,
                                 float *acc)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < SHOAL_PANEL; c++) {
            float sum = acc[r * SHOAL_PANEL + c];
            for (int64_t i = seg_begin; i < seg_end; i++)
                sum = join(w, a, row0 + r, panel, i, c, sum);
            acc[r * SHOAL_PANEL + c] = sum;
        }
    }
}
