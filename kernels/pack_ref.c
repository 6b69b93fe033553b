/* The loops of packing in plain C: what the layout is (kernels/linear.h). */
#include <string.h>

#include "kernels/pack.h"
#include "proto/bytes.h"

#define STEP_BYTES 256

/* Nibbles 0..7 of a word to bytes of nibbles (0, 4), (1, 5), (2, 6), (3, 7). */
static uint32_t pair_nibbles(uint32_t word)
{
    uint32_t low = word & 0xffffu, high = word >> 16;
    low = (low | low << 8) & 0x00ff00ffu;
    low = (low | low << 4) & 0x0f0f0f0fu;
    high = (high | high << 8) & 0x00ff00ffu;
    high = (high | high << 4) & 0x0f0f0f0fu;
    return low | high << 4;
}

static void k_words(const uint8_t *words, int64_t stride, int64_t columns, int64_t k,
                    uint8_t *panel)
{
    for (int64_t at = 0; at < k; at += 8, words += stride, panel += STEP_BYTES) {
        const uint32_t there = k - at < 8 ? (1u << (4 * (k - at))) - 1 : ~0u;
        for (int64_t c = 0; c < columns; c++)
            shoal_store_le32(panel + 4 * c, pair_nibbles(shoal_load_le32(words + 4 * c) & there));
    }
}

static void column_words(const uint8_t *words, int64_t stride, int64_t columns, int64_t k,
                         uint8_t *panel)
{
    for (int64_t c = 0; c < columns; c++)
        for (int64_t at = 0; at < k; at += 8) {
            const uint32_t there = k - at < 8 ? (1u << (4 * (k - at))) - 1 : ~0u;
            shoal_store_le32(panel + at / 8 * STEP_BYTES + 4 * c,
                             pair_nibbles(shoal_load_le32(words + c * stride + at / 2) & there));
        }
}

/* The code of one input and column. */
typedef unsigned (*nibble_at)(const uint8_t *words, int64_t stride, int64_t k, int64_t column);

static unsigned nibble_along_n(const uint8_t *words, int64_t stride, int64_t k, int64_t column)
{
    static const uint8_t shift[8] = {0, 16, 4, 20, 8, 24, 12, 28};
    return shoal_load_le32(words + k * stride + column / 8 * 4) >> shift[column % 8] & 15u;
}

static unsigned nibble_of_fragments(const uint8_t *words, int64_t stride, int64_t k, int64_t column)
{
    const int64_t word = 16 * (column % 8) + 4 * (k % 8 / 2) + column / 16;
    const int nibble = (int)(k % 2 * 4 + column / 8 % 2 * 2 + k / 8 % 2);
    return shoal_load_le32(words + k / 16 * stride + 4 * word) >> (4 * nibble) & 15u;
}

static void nibble_by_nibble(nibble_at nibble, const uint8_t *words, int64_t stride,
                             int64_t columns, int64_t k, uint8_t *panel)
{
    for (int64_t at = 0; at < k; at += 8, panel += STEP_BYTES)
        for (int64_t c = 0; c < columns; c++)
            for (int64_t low = at; low < at + 4; low++) {
                unsigned pair = low < k ? nibble(words, stride, low, c) : 0;
                pair |= low + 4 < k ? nibble(words, stride, low + 4, c) << 4 : 0;
                panel[4 * c + low - at] = (uint8_t)pair;
            }
}

static void n_words(const uint8_t *words, int64_t stride, int64_t columns, int64_t k,
                    uint8_t *panel)
{
    nibble_by_nibble(nibble_along_n, words, stride, columns, k, panel);
}

static void fragments(const uint8_t *words, int64_t stride, int64_t columns, int64_t k,
                      uint8_t *panel)
{
    nibble_by_nibble(nibble_of_fragments, words, stride, columns, k, panel);
}

static unsigned codes4(const uint8_t *codes, int64_t stride, int64_t columns, int64_t k,
                       uint8_t *panel)
{
    unsigned all = 0;
    for (int64_t c = 0; c < columns; c++)
        for (int64_t at = 0; at < k; at += 8) {
            uint8_t eight[8] = {0}, *out = panel + at / 8 * STEP_BYTES + 4 * c;
            memcpy(eight, codes + c * stride + at, (size_t)shoal_min_i64(8, k - at));
            for (int j = 0; j < 4; j++) {
                all |= eight[j] | (unsigned)eight[j + 4];
                out[j] = (uint8_t)(eight[j] | eight[j + 4] << 4);
            }
        }
    return all;
}

static void dwords(const uint8_t *rows, int64_t stride, int64_t columns, int64_t count,
                   uint32_t flip, uint8_t *panel)
{
    for (int64_t c = 0; c < columns; c++)
        for (int64_t i = 0; i < count; i++)
            shoal_store_le32(panel + i * SHOAL_PANEL * 4 + 4 * c,
                             shoal_load_le32(rows + c * stride + 4 * i) ^ flip);
}

static void halves(const uint8_t *rows, int64_t stride, int64_t columns, int64_t count,
                   uint8_t *panel)
{
    for (int64_t c = 0; c < columns; c++)
        for (int64_t i = 0; i < count; i++)
            memcpy(panel + i * SHOAL_PANEL * 2 + 2 * c, rows + c * stride + 2 * i, 2);
}

const shoal_pack_row shoal_pack_ref = {SHOAL_CPU_REF, k_words, n_words, column_words,
                                       fragments,     codes4,  dwords,  halves};

/* K steps of 8-bit codes are four bytes of a column: whole ones move as words. */
void shoal_pack_codes8(const shoal_pack_row *row, const uint8_t *codes, int64_t stride,
                       int64_t columns, int64_t k, uint8_t *panel)
{
    const int64_t whole = k / 4;
    row->dwords(codes, stride, columns, whole, 0x80808080u, panel);
    for (int64_t c = 0; c < columns; c++)
        for (int64_t i = whole * 4; i < k; i++)
            panel[whole * STEP_BYTES + 4 * c + i % 4] = codes[c * stride + i] ^ 0x80;
}

const shoal_pack_row *shoal_pack_pick(shoal_cpu_level cap)
{
#if defined(__x86_64__)
    const shoal_pack_row *const rows[] = {&shoal_pack_avx512, &shoal_pack_avx2};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i]->needs <= cap && shoal_cpu_has(rows[i]->needs))
            return rows[i];
    }
#endif
    (void)cap;
    return &shoal_pack_ref;
}
