/* Nibbles, 64 codes at a time, and matrices turned in blocks of registers. */
#include "kernels/nibbles.h"
#include "kernels/x86/vec256.h"

ALWAYS_INLINE vi both_lanes(const uint8_t bytes[16])
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)bytes));
}

/* 32 codes in the order of their nibbles to 16 numbers of 8 bits. */
ALWAYS_INLINE vi join(const uint8_t *codes, vi order)
{
    return _mm256_maddubs_epi16(_mm256_shuffle_epi8(vi_load(codes), order),
                                _mm256_set1_epi16(0x1001));
}

static void pack(const uint8_t *codes, int64_t count, const shoal_nibble_order *order,
                 uint8_t *packed)
{
    const vi place = both_lanes(order->code);
    int64_t i = 0;
    for (; i + 64 <= count; i += 64) {
        const vi two = _mm256_packus_epi16(join(codes + i, place), join(codes + i + 32, place));
        vi_store(packed + i / 2, _mm256_permute4x64_epi64(two, 0xd8));
    }
    shoal_nibbles_ref.pack(codes + i, count - i, order, packed + i / 2);
}

static void unpack(const uint8_t *packed, int64_t count, const shoal_nibble_order *order,
                   uint8_t *codes)
{
    const vi place = both_lanes(order->nibble), mask = _mm256_set1_epi8(15);
    int64_t i = 0;
    for (; i + 64 <= count; i += 64) {
        const vi two = vi_load(packed + i / 2);
        const vi even = vi_and(two, mask), odd = vi_and(_mm256_srli_epi16(two, 4), mask);
        const vi low = _mm256_shuffle_epi8(_mm256_unpacklo_epi8(even, odd), place);
        const vi high = _mm256_shuffle_epi8(_mm256_unpackhi_epi8(even, odd), place);
        vi_store(codes + i, _mm256_permute2x128_si256(low, high, 0x20));
        vi_store(codes + i + 32, _mm256_permute2x128_si256(low, high, 0x31));
    }
    shoal_nibbles_ref.unpack(packed + i / 2, count - i, order, codes + i);
}

/* ---- turning ---- */

#define SIDE 16

/* Rows i of 16 bytes in the low lane, row i + 16 in the high one: their columns. Each round deals
 * the halves of what there is into each other. */
ALWAYS_INLINE void turn_lanes(vi v[SIDE])
{
    vi t[SIDE];
    for (int round = 0; round < 2; round++) {
        UNROLL
        for (int i = 0; i < SIDE / 2; i++) {
            t[2 * i] = _mm256_unpacklo_epi8(v[i], v[i + SIDE / 2]);
            t[2 * i + 1] = _mm256_unpackhi_epi8(v[i], v[i + SIDE / 2]);
        }
        UNROLL
        for (int i = 0; i < SIDE / 2; i++) {
            v[2 * i] = _mm256_unpacklo_epi8(t[i], t[i + SIDE / 2]);
            v[2 * i + 1] = _mm256_unpackhi_epi8(t[i], t[i + SIDE / 2]);
        }
    }
}

ALWAYS_INLINE __m128i load16(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* 32 rows of 16 bytes. */
static void turn_block(const uint8_t *from, int64_t from_stride, uint8_t *to, int64_t to_stride)
{
    vi v[SIDE];
    UNROLL
    for (int i = 0; i < SIDE; i++)
        v[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(from + i * from_stride)),
                                       load16(from + (i + SIDE) * from_stride), 1);
    turn_lanes(v);
    UNROLL
    for (int i = 0; i < SIDE; i++)
        vi_store(to + i * to_stride, v[i]);
}

static void turn_bytes(const uint8_t *from, int64_t from_stride, int64_t rows, int64_t columns,
                       uint8_t *to, int64_t to_stride)
{
    const int64_t r_end = rows / 32 * 32, c_end = columns / SIDE * SIDE;
    for (int64_t c = 0; c < c_end; c += SIDE)
        for (int64_t r = 0; r < r_end; r += 32)
            turn_block(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
    shoal_nibbles_ref.turn_bytes(from + c_end, from_stride, r_end, columns - c_end,
                                 to + c_end * to_stride, to_stride);
    shoal_nibbles_ref.turn_bytes(from + r_end * from_stride, from_stride, rows - r_end, columns,
                                 to + r_end, to_stride);
}

static void turn_words(const uint8_t *from, int64_t from_stride, int64_t rows, int64_t columns,
                       uint8_t *to, int64_t to_stride)
{
    const int64_t r_end = rows / LANES * LANES, c_end = columns / LANES * LANES;
    for (int64_t c = 0; c < c_end; c += LANES)
        for (int64_t r = 0; r < r_end; r += LANES) {
            vi v[LANES];
            UNROLL
            for (int i = 0; i < LANES; i++)
                v[i] = vi_load(from + (r + i) * from_stride + 4 * c);
            vi_transpose(v);
            UNROLL
            for (int i = 0; i < LANES; i++)
                vi_store(to + (c + i) * to_stride + 4 * r, v[i]);
        }
    shoal_nibbles_ref.turn_words(from + 4 * c_end, from_stride, r_end, columns - c_end,
                                 to + c_end * to_stride, to_stride);
    shoal_nibbles_ref.turn_words(from + r_end * from_stride, from_stride, rows - r_end, columns,
                                 to + 4 * r_end, to_stride);
}

const shoal_nibbles_row shoal_nibbles_avx2 = {SHOAL_CPU_AVX2, pack, unpack, turn_bytes, turn_words};
