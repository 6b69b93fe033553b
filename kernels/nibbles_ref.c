/* Nibbles and turned matrices in plain C. See nibbles.h. */
#include <string.h>

#include "kernels/nibbles.h"

const shoal_nibble_order shoal_nibbles_plain = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

const shoal_nibble_order shoal_nibbles_awq = {
    {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15},
    {0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15}};

static void pack(const uint8_t *codes, int64_t count, const shoal_nibble_order *order,
                 uint8_t *packed)
{
    for (int64_t i = 0; i < count; i += 2) {
        const uint8_t *from = codes + i / 16 * 16, *place = order->code + i % 16;
        packed[i / 2] = (uint8_t)(from[place[0]] | from[place[1]] << 4);
    }
}

static void unpack(const uint8_t *packed, int64_t count, const shoal_nibble_order *order,
                   uint8_t *codes)
{
    for (int64_t i = 0; i < count; i++) {
        const int place = order->nibble[i % 16];
        codes[i] = packed[i / 16 * 8 + place / 2] >> (place % 2 * 4) & 15;
    }
}

static void turn_bytes(const uint8_t *from, int64_t from_stride, int64_t rows, int64_t columns,
                       uint8_t *to, int64_t to_stride)
{
    for (int64_t c = 0; c < columns; c++)
        for (int64_t r = 0; r < rows; r++)
            to[c * to_stride + r] = from[r * from_stride + c];
}

static void turn_words(const uint8_t *from, int64_t from_stride, int64_t rows, int64_t columns,
                       uint8_t *to, int64_t to_stride)
{
    for (int64_t c = 0; c < columns; c++)
        for (int64_t r = 0; r < rows; r++)
            memcpy(to + c * to_stride + 4 * r, from + r * from_stride + 4 * c, 4);
}

const shoal_nibbles_row shoal_nibbles_ref = {SHOAL_CPU_REF, pack, unpack, turn_bytes, turn_words};

const shoal_nibbles_row *shoal_nibbles_pick(shoal_cpu_level cap)
{
#if defined(__x86_64__)
    if (shoal_nibbles_avx2.needs <= cap && shoal_cpu_has(shoal_nibbles_avx2.needs))
        return &shoal_nibbles_avx2;
#endif
    (void)cap;
    return &shoal_nibbles_ref;
}
