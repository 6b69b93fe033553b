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

static unsigned nibble_along_n(const uint8_t *row, int64_t column)
{
    static const uint8_t shift[8] = {0, 16, 4, 20, 8, 24, 12, 28};
    return shoal_load_le32(row + column / 8 * 4) >> shift[column % 8] & 15u;
}

static void n_words(const uint8_t *words, int64_t stride, int64_t columns, int64_t k,
                    uint8_t *panel)
{
    for (int64_t at = 0; at < k; at += 8, panel += STEP_BYTES)
        for (int64_t c = 0; c < columns; c++)
            for (int64_t j = 0; j < 4; j++) {
                const uint8_t *low = words + (at + j) * stride, *high = low + 4 * stride;
                unsigned pair = at + j < k ? nibble_along_n(low, c) : 0;
                pair |= at + j + 4 < k ? nibble_along_n(high, c) << 4 : 0;
                panel[4 * c + j] = (uint8_t)pair;
            }
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

const shoal_pack_row shoal_pack_ref = {SHOAL_CPU_REF, k_words, n_words, codes4, dwords, halves};

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
