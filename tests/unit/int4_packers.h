/* tests/unit/int4_packers.h - packers of 4-bit codes, each written as the kernel that reads them
 * walks them, so that a reader is not compared with itself. */
#ifndef SHOAL_TESTS_INT4_PACKERS_H
#define SHOAL_TESTS_INT4_PACKERS_H

#include <stdint.h>
#include <string.h>

#include "proto/bytes.h"
#include "shard/int4_packing.h"

/* Thread t of a warp takes row t / 4 and, of every 16 inputs, four: two pairs 8 apart. A word joins
 * two such quadruples, second elements of pairs in its upper half. */
static inline void pack_tiled(int inner, const uint8_t *u, int64_t n, int64_t k, uint8_t *out)
{
    for (int64_t tile = 0; tile < n / 8; tile++)
        for (int64_t outer = 0; outer < k / (16 * inner); outer++)
            for (int64_t t = 0; t < 32; t++)
                for (int64_t pair = 0; pair < inner; pair += 2) {
                    const uint8_t *row = u + (8 * tile + t / 4) * k;
                    uint32_t word = 0;
                    for (int half = 0; half < 2; half++)
                        for (int i = 0; i < 4; i++) {
                            const int64_t block = outer * inner + pair + i / 2;
                            const int64_t at = 16 * block + 8 * (i % 2) + 2 * (t % 4) + half;
                            word |= (uint32_t)row[at] << (16 * half + 4 * i);
                        }
                    shoal_store_le32(out, word);
                    out += 4;
                }
}

/* One band: for each input the bytes of a column of `rows` codes. */
static inline void pack_band(shoal_int4_order order, const uint8_t *u, int64_t rows, int64_t k,
                             uint8_t *out)
{
    for (int64_t i = 0; i < k; i++)
        for (int64_t d = 0; d < rows / 2; d++) {
            int64_t low = 2 * d, high = 2 * d + 1;
            if (order == SHOAL_INT4_AVX512 && rows == 64) {
                low = d;
                high = d + 32;
            } else if (order == SHOAL_INT4_AVX2 && rows == 32) {
                low = d;
                high = d + 16;
            }
            *out++ = (uint8_t)(u[high * k + i] << 4 | u[low * k + i]);
        }
}

/* Codes u[n][k] in one of the orders; `inner` is that of tiles. */
static inline void pack_int4(shoal_int4_order order, int inner, const uint8_t *u, int64_t n,
                             int64_t k, uint8_t *out)
{
    const int64_t band = order == SHOAL_INT4_AVX512 ? 64 : 32;
    if (order == SHOAL_INT4_TILED) {
        pack_tiled(inner, u, n, k, out);
        return;
    }
    for (int64_t i = 0; order == SHOAL_INT4_NIBBLES && i < n * k / 2; i++)
        out[i] = (uint8_t)(((u[2 * i + 1] ^ 8) << 4) | (u[2 * i] ^ 8));
    for (int64_t row = 0; order != SHOAL_INT4_NIBBLES && row < n; row += band)
        pack_band(order, u + row * k, n - row < band ? n - row : band, k, out + row * k / 2);
}

#endif
