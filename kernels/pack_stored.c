/* Packing of stored blocks. See pack.h. */
#include "kernels/pack.h"

#include <string.h>

#include "proto/bytes.h"

static int64_t k_step(const shoal_linear *w)
{
    return w->spec.kind == SHOAL_WEIGHT_INT4 ? 8 : 4;
}

/* Does [at, at + count) begin at a multiple of `step` and end at one or at `all`? */
static bool fits(int64_t at, int64_t count, int64_t step, int64_t all)
{
    return at >= 0 && count >= 0 && at <= all && count <= all - at && at % step == 0 &&
           ((at + count) % step == 0 || at + count == all);
}

static shoal_status check(const shoal_linear *w, const shoal_place *place,
                          const shoal_stored *block)
{
    const shoal_linear_spec *s = &w->spec;
    const bool nibbles = block->form == SHOAL_WORDS_ALONG_N || block->form == SHOAL_WORDS_FRAGMENTS;
    if (s->kind == SHOAL_WEIGHT_FLOAT || s->has_mins || s->super_group ||
        s->has_zeros != (block->zeros != NULL) || (nibbles && s->kind != SHOAL_WEIGHT_INT4))
        return shoal_fail(SHOAL_ERR_DATA, "stored words do not match a linear of %s",
                          shoal_linear_layout(s));
    if (!fits(place->n, block->n, SHOAL_PANEL, s->n) ||
        !fits(place->k, block->k, k_step(w), s->k) ||
        !fits(place->group, block->groups, 1, w->size.groups))
        return shoal_fail(
            SHOAL_ERR_DATA,
            "a stored block of %lld outputs, %lld inputs and %lld groups at %lld, %lld and %lld of "
            "a linear of %lld x %lld",
            (long long)block->n, (long long)block->k, (long long)block->groups, (long long)place->n,
            (long long)place->k, (long long)place->group, (long long)s->n, (long long)s->k);
    return SHOAL_OK;
}

/* Words of 8-bit codes are K steps already, but for their sign and the bytes beyond the end. */
static void k_words8(const uint8_t *words, int64_t stride, int64_t columns, int64_t k,
                     uint8_t *panel)
{
    for (int64_t at = 0; at < k; at += 4, words += stride, panel += 256) {
        const uint32_t there = k - at < 4 ? (1u << (8 * (k - at))) - 1 : ~0u;
        for (int64_t c = 0; c < columns; c++)
            shoal_store_le32(panel + 4 * c, (shoal_load_le32(words + 4 * c) ^ 0x80808080u) & there);
    }
}

static void pack_codes(const shoal_linear *w, int64_t k_begin, const shoal_stored *b, int64_t n,
                       int64_t columns, int64_t panel)
{
    uint8_t *out = w->codes + (uint64_t)panel * (w->size.codes_bytes / (uint64_t)w->size.panels) +
                   (uint64_t)(k_begin / k_step(w)) * 256;
    const bool int4 = w->spec.kind == SHOAL_WEIGHT_INT4;
    switch (b->form) {
    case SHOAL_WORDS_ALONG_K:
        (int4 ? w->pack->k_words : k_words8)(b->codes + 4 * n, b->stride, columns, b->k, out);
        break;
    case SHOAL_WORDS_ALONG_N:
        w->pack->n_words(b->codes + n / 2, b->stride, columns, b->k, out);
        break;
    case SHOAL_WORDS_BY_COLUMN:
        if (int4)
            w->pack->column_words(b->codes + n * b->stride, b->stride, columns, b->k, out);
        else
            shoal_pack_codes8(w->pack, b->codes + n * b->stride, b->stride, columns, b->k, out);
        break;
    case SHOAL_WORDS_FRAGMENTS:
        w->pack->fragments(b->codes + n * 8, b->stride, columns, b->k, out);
        break;
    }
}

static shoal_status pack_zeros(const shoal_linear *w, const uint8_t *zeros, int64_t columns,
                               int64_t cell)
{
    int most = 0;
    for (int64_t c = 0; c < columns; c++)
        most = zeros[c] > most ? zeros[c] : most;
    SHOAL_TRY(shoal_linear_check_zero(w->spec.kind, most));
    if (w->spec.kind == SHOAL_WEIGHT_INT4) {
        memcpy(w->zeros + cell, zeros, (size_t)columns);
        return SHOAL_OK;
    }
    for (int64_t c = 0; c < columns; c++) {
        const int16_t shifted = (int16_t)(zeros[c] - 128);
        memcpy(w->zeros + 2 * (cell + c), &shifted, 2);
    }
    return SHOAL_OK;
}

shoal_status shoal_linear_pack_stored(shoal_linear *w, const shoal_place *place,
                                      const shoal_stored *block)
{
    const size_t size = shoal_dtype_bytes(w->spec.dtype);
    SHOAL_TRY(check(w, place, block));
    for (int64_t n = 0; n < block->n; n += SHOAL_PANEL) {
        const int64_t columns = shoal_min_i64(SHOAL_PANEL, block->n - n);
        const int64_t panel = (place->n + n) / SHOAL_PANEL;
        pack_codes(w, place->k, block, n, columns, panel);
        for (int64_t g = 0; g < block->groups; g++) {
            const int64_t cell = (panel * w->size.groups + place->group + g) * SHOAL_PANEL;
            memcpy(w->scales + (size_t)cell * size,
                   block->scales + (size_t)(g * block->n + n) * size, (size_t)columns * size);
            if (block->zeros)
                SHOAL_TRY(pack_zeros(w, block->zeros + g * block->n + n, columns, cell));
        }
    }
    return SHOAL_OK;
}
