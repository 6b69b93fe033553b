/* Layout cpu-panel64/1, both directions (picture in kernels/linear.h). */
#include <math.h>
#include <string.h>

#include "kernels/linear.h"
#include "kernels/linear_row.h"
#include "kernels/pack.h"
#include "proto/bytes.h"

/* Byte of column c inside one K step of a panel: tile c/16, four bytes per column. */
static size_t column_at(int64_t c)
{
    return (size_t)(c * 4);
}

/* Does the block hold what the linear holds? */
static shoal_status check_kind(const shoal_linear *w, const shoal_canonical *b)
{
    const shoal_linear_spec *s = &w->spec;
    if (b->kind != s->kind || b->k != s->k || b->groups != w->size.groups)
        return shoal_fail(SHOAL_ERR_DATA,
                          "a block of kind %d with %lld inputs in %lld groups does not match a "
                          "linear of kind %d with %lld inputs in %lld groups",
                          (int)b->kind, (long long)b->k, (long long)b->groups, (int)s->kind,
                          (long long)s->k, (long long)w->size.groups);
    if (s->kind == SHOAL_WEIGHT_FLOAT) {
        if (b->dtype != s->dtype)
            return shoal_fail(SHOAL_ERR_DATA, "a block of %s does not fit a linear of %s",
                              shoal_dtype_name(b->dtype), shoal_dtype_name(s->dtype));
        return SHOAL_OK;
    }
    if ((b->mins != NULL) != s->has_mins)
        return shoal_fail(SHOAL_ERR_DATA, "the block has %s minimums, the linear has %s",
                          b->mins ? "some" : "no", s->has_mins ? "some" : "none");
    const int64_t supers = s->super_group ? w->size.supers : 0;
    if (b->supers != supers)
        return shoal_fail(SHOAL_ERR_DATA, "the block has %lld super-groups, the linear %lld",
                          (long long)b->supers, (long long)supers);
    if (!s->has_zeros && (b->zeros || b->zero_const != s->zero_const))
        return shoal_fail(SHOAL_ERR_DATA, "the block's zero points are not the constant %d",
                          s->zero_const);
    return SHOAL_OK;
}

static shoal_status check_block(const shoal_linear *w, int64_t n_begin, const shoal_canonical *b)
{
    const int64_t n = w->spec.n;
    SHOAL_TRY(check_kind(w, b));
    if (n_begin < 0 || n_begin % SHOAL_PANEL || b->n < 0 || n_begin > n || b->n > n - n_begin ||
        ((n_begin + b->n) % SHOAL_PANEL && n_begin + b->n != n))
        return shoal_fail(SHOAL_ERR_DATA,
                          "outputs [%lld, %lld) are not whole panels of a linear of %lld outputs",
                          (long long)n_begin, (long long)n_begin + (long long)b->n, (long long)n);
    return SHOAL_OK;
}

/* Which of the columns has a code above 15? */
static shoal_status code_too_large(const shoal_canonical *b, int64_t i, int64_t columns,
                                   int64_t output)
{
    int64_t at = 0;
    while (at < columns * b->k - 1 && b->codes[i * b->k + at] <= 15)
        at++;
    return shoal_fail(SHOAL_ERR_DATA, "output %lld has a code above 15",
                      (long long)(output + at / b->k));
}

static void unpack_codes4(const shoal_linear *w, int64_t column, uint8_t *codes)
{
    const uint8_t *in = shoal_panel_codes(w, column / SHOAL_PANEL);
    in += column_at(column % SHOAL_PANEL);
    for (int64_t k = 0; k < w->spec.k; k++) {
        const uint8_t pair = in[k / 8 * 256 + k % 4];
        codes[k] = k % 8 < 4 ? pair & 15 : pair >> 4;
    }
}

static void unpack_codes8(const shoal_linear *w, int64_t column, uint8_t *codes)
{
    const uint8_t *in = shoal_panel_codes(w, column / SHOAL_PANEL);
    in += column_at(column % SHOAL_PANEL);
    for (int64_t k = 0; k < w->spec.k; k++)
        codes[k] = in[k / 4 * 256 + k % 4] ^ 0x80;
}

/* Index of (row, column) in arrays of `rows` rows a panel: groups for zeros and steps, supers for
 * scales and mins. */
static int64_t cell_of(int64_t rows, int64_t column, int64_t row)
{
    return (column / SHOAL_PANEL * rows + row) * SHOAL_PANEL + column % SHOAL_PANEL;
}

static int64_t cell(const shoal_linear *w, int64_t column, int64_t group)
{
    return cell_of(w->size.groups, column, group);
}

static shoal_status check_finite(const char *what, float value)
{
    const uint32_t bits = shoal_f32_bits(value) & 0x7fffffff;
    if (bits >= 0x7f800000)
        return shoal_fail(SHOAL_ERR_DATA, "a %s is %s", what,
                          bits > 0x7f800000 ? "NaN" : "infinite");
    return SHOAL_OK;
}

/* Scales come from a file of this type, so they must narrow without rounding. */
static shoal_status store_scale(const shoal_linear *w, int64_t at, float scale)
{
    SHOAL_TRY(check_finite("scale", scale));
    if (w->spec.dtype == SHOAL_F32) {
        memcpy(w->scales + 4 * at, &scale, 4);
        return SHOAL_OK;
    }
    const bool half = w->spec.dtype == SHOAL_F16;
    const uint16_t h = half ? shoal_f16_from_f32(scale) : shoal_bf16_from_f32(scale);
    if (shoal_f32_bits(half ? shoal_f32_from_f16(h) : shoal_f32_from_bf16(h)) !=
        shoal_f32_bits(scale))
        return shoal_fail(SHOAL_ERR_DATA, "the scale %.9g is not a number of type %s",
                          (double)scale, shoal_dtype_name(w->spec.dtype));
    memcpy(w->scales + 2 * at, &h, 2);
    return SHOAL_OK;
}

static shoal_status store_zero(const shoal_linear *w, int64_t at, int zero)
{
    SHOAL_TRY(shoal_linear_check_zero(w->spec.kind, zero));
    if (w->spec.kind == SHOAL_WEIGHT_INT4) {
        w->zeros[at] = (uint8_t)zero;
    } else {
        const int16_t shifted = (int16_t)(zero - 128);
        memcpy(w->zeros + 2 * at, &shifted, 2);
    }
    return SHOAL_OK;
}

static int load_zero(const shoal_linear *w, int64_t at)
{
    if (!w->spec.has_zeros)
        return w->spec.zero_const;
    if (w->spec.kind == SHOAL_WEIGHT_INT4)
        return w->zeros[at];
    int16_t shifted;
    memcpy(&shifted, w->zeros + 2 * at, 2);
    return shifted + 128;
}

static shoal_status pack_supers(shoal_linear *w, int64_t column, int64_t i,
                                const shoal_canonical *b)
{
    for (int64_t g = 0; g < w->size.supers; g++) {
        const int64_t at = cell_of(w->size.supers, column, g), from = i * b->supers + g;
        shoal_status st = store_scale(w, at, b->super_scales[from]);
        if (st == SHOAL_OK && w->spec.has_mins)
            st = check_finite("minimum", b->super_mins[from]);
        if (st != SHOAL_OK)
            return shoal_fail_within(st, "output %lld, super-group %lld", (long long)column,
                                     (long long)g);
        if (w->spec.has_mins)
            w->mins[at] = b->super_mins[from];
    }
    for (int64_t g = 0; g < w->size.groups; g++) {
        w->steps[cell(w, column, g)] = b->steps[i * b->groups + g];
        if (w->spec.has_mins)
            w->min_steps[cell(w, column, g)] = b->min_steps[i * b->groups + g];
    }
    return SHOAL_OK;
}

static shoal_status pack_groups(shoal_linear *w, int64_t column, int64_t i,
                                const shoal_canonical *b)
{
    const int64_t groups = w->size.groups;
    if (w->spec.super_group)
        return pack_supers(w, column, i, b);
    for (int64_t g = 0; g < groups; g++) {
        const int64_t at = cell(w, column, g), from = i * groups + g;
        shoal_status st = store_scale(w, at, b->scales[from]);
        if (st == SHOAL_OK && w->spec.has_zeros)
            st = store_zero(w, at, b->zeros ? b->zeros[from] : b->zero_const);
        if (st == SHOAL_OK && w->spec.has_mins)
            st = check_finite("minimum", b->mins[from]);
        if (st != SHOAL_OK)
            return shoal_fail_within(st, "output %lld, group %lld", (long long)column,
                                     (long long)g);
        if (w->spec.has_mins)
            w->mins[at] = b->mins[from];
    }
    return SHOAL_OK;
}

/* Columns [i, i + columns) of the block become outputs from `output` on, all of one panel. */
static shoal_status pack_run(shoal_linear *w, int64_t output, int64_t i, int64_t columns,
                             const shoal_canonical *b)
{
    const int64_t panel = output / SHOAL_PANEL, first = output % SHOAL_PANEL, k = b->k;
    const size_t size = shoal_dtype_bytes(w->spec.dtype);
    uint8_t *out = w->codes + (uint64_t)panel * (w->size.codes_bytes / (uint64_t)w->size.panels);
    if (w->spec.kind == SHOAL_WEIGHT_FLOAT) {
        const uint8_t *dense = (const uint8_t *)b->dense + (size_t)(i * k) * size;
        out += (size_t)first * size;
        if (size == 4)
            w->pack->dwords(dense, k * 4, columns, k, 0, out);
        else
            w->pack->halves(dense, k * 2, columns, k, out);
        return SHOAL_OK;
    }
    out += 4 * first;
    if (w->spec.kind == SHOAL_WEIGHT_INT8)
        shoal_pack_codes8(w->pack, b->codes + i * k, k, columns, k, out);
    else if (w->pack->codes4(b->codes + i * k, k, columns, k, out) > 15)
        return code_too_large(b, i, columns, output);
    for (int64_t c = 0; c < columns; c++)
        SHOAL_TRY(pack_groups(w, output + c, i + c, b));
    return SHOAL_OK;
}

shoal_status shoal_linear_pack(shoal_linear *w, int64_t n_begin, const shoal_canonical *block)
{
    SHOAL_TRY(check_block(w, n_begin, block));
    for (int64_t i = 0; i < block->n && block->k > 0; i += SHOAL_PANEL)
        SHOAL_TRY(pack_run(w, n_begin + i, i, shoal_min_i64(SHOAL_PANEL, block->n - i), block));
    return SHOAL_OK;
}

shoal_status shoal_linear_pack_columns(shoal_linear *w, const int32_t *to,
                                       const shoal_canonical *block)
{
    SHOAL_TRY(check_kind(w, block));
    for (int64_t i = 0; i < block->n && block->k > 0; i++) {
        if (to[i] >= w->spec.n)
            return shoal_fail(SHOAL_ERR_DATA, "output %d of a linear of %lld", (int)to[i],
                              (long long)w->spec.n);
        if (to[i] >= 0)
            SHOAL_TRY(pack_run(w, to[i], i, 1, block));
    }
    return SHOAL_OK;
}

/* [K][64] to [n][k]. */
static void unpack_dense(const shoal_linear *w, int64_t n_begin, const shoal_canonical *b)
{
    const size_t size = shoal_dtype_bytes(w->spec.dtype);
    for (int64_t i = 0; i < b->n; i++) {
        const int64_t column = n_begin + i;
        const uint8_t *panel = shoal_panel_codes(w, column / SHOAL_PANEL);
        uint8_t *dense = (uint8_t *)b->dense + (size_t)(i * b->k) * size;
        panel += (size_t)(column % SHOAL_PANEL) * size;
        for (int64_t k = 0; k < b->k; k++, panel += SHOAL_PANEL * size, dense += size)
            memcpy(dense, panel, size);
    }
}

/* Row of scales and mins that a local group belongs to. */
static int64_t scale_row(const shoal_linear *w, int64_t group)
{
    const shoal_linear_spec *s = &w->spec;
    if (!s->super_group)
        return group;
    const int64_t absolute = s->k_begin / s->group + group;
    return absolute * s->group / s->super_group - s->k_begin / s->super_group;
}

/* Scale and minimum of a group; products with steps are exact. */
static float group_scale(const shoal_linear *w, int64_t column, int64_t group)
{
    const int64_t at = cell_of(w->size.supers, column, scale_row(w, group));
    const float scale = shoal_load_f32(w->scales, w->spec.dtype, (size_t)at);
    return w->steps ? scale * (float)w->steps[cell(w, column, group)] : scale;
}

static float group_min(const shoal_linear *w, int64_t column, int64_t group)
{
    const float min = w->mins[cell_of(w->size.supers, column, scale_row(w, group))];
    return w->min_steps ? min * (float)w->min_steps[cell(w, column, group)] : min;
}

static void unpack_column(const shoal_linear *w, int64_t n_begin, int64_t i, shoal_canonical *b)
{
    const int64_t column = n_begin + i, groups = w->size.groups;
    if (w->spec.kind == SHOAL_WEIGHT_INT4)
        unpack_codes4(w, column, b->codes + i * b->k);
    else
        unpack_codes8(w, column, b->codes + i * b->k);
    for (int64_t g = 0; g < groups; g++) {
        const int64_t at = cell(w, column, g), to = i * groups + g;
        b->scales[to] = group_scale(w, column, g);
        if (b->zeros)
            b->zeros[to] = (int16_t)load_zero(w, at);
        if (b->mins)
            b->mins[to] = group_min(w, column, g);
        if (w->steps)
            b->steps[to] = w->steps[at];
        if (w->min_steps)
            b->min_steps[to] = w->min_steps[at];
    }
    for (int64_t g = 0; g < b->supers; g++) {
        const int64_t at = cell_of(b->supers, column, g), to = i * b->supers + g;
        b->super_scales[to] = shoal_load_f32(w->scales, w->spec.dtype, (size_t)at);
        if (b->super_mins)
            b->super_mins[to] = w->mins[at];
    }
}

shoal_status shoal_linear_unpack(const shoal_linear *w, int64_t n_begin, shoal_canonical *block)
{
    shoal_canonical as_stored = *block;
    as_stored.zero_const = w->spec.zero_const;
    if (!w->spec.has_zeros)
        as_stored.zeros = NULL; /* the caller may ask for an array of the constant */
    if (w->spec.has_zeros && !block->zeros)
        return shoal_fail(SHOAL_ERR_DATA, "unpack: no array for the zero points");
    SHOAL_TRY(check_block(w, n_begin, &as_stored));
    block->zero_const = w->spec.zero_const;
    block->dtype = w->spec.super_group ? SHOAL_F32 : w->spec.dtype;
    if (block->k == 0)
        return SHOAL_OK;
    if (w->spec.kind == SHOAL_WEIGHT_FLOAT) {
        unpack_dense(w, n_begin, block);
        return SHOAL_OK;
    }
    for (int64_t i = 0; i < block->n; i++)
        unpack_column(w, n_begin, i, block);
    return SHOAL_OK;
}

float shoal_linear_weight(const shoal_linear *w, int64_t n, int64_t k)
{
    const uint8_t *codes = shoal_panel_codes(w, n / SHOAL_PANEL);
    const int64_t c = n % SHOAL_PANEL;
    if (w->spec.kind == SHOAL_WEIGHT_FLOAT)
        return shoal_load_f32(codes, w->spec.dtype, (size_t)(k * SHOAL_PANEL + c));

    int code;
    if (w->spec.kind == SHOAL_WEIGHT_INT4) {
        const uint8_t pair = codes[k / 8 * 256 + c * 4 + k % 4];
        code = k % 8 < 4 ? pair & 15 : pair >> 4;
    } else {
        code = codes[k / 4 * 256 + c * 4 + k % 4] ^ 0x80;
    }
    const int64_t begin = w->spec.k_begin, group = w->spec.group;
    const int64_t g = (begin + k) / group - begin / group;
    const float scale = group_scale(w, n, g);
    const float centred = (float)(code - load_zero(w, cell(w, n, g)));
    return w->spec.has_mins ? fmaf(centred, scale, group_min(w, n, g)) : centred * scale;
}
