#include "shard/gguf_block.h"

#include <stddef.h>

#include "proto/bytes.h"
#include "proto/dtype.h"

static float half_at(const uint8_t *at)
{
    return shoal_f32_from_f16(shoal_load_le16(at));
}

/* ---- blocks of 32: one scale, one minimum at most ---- */

/* Element j in the low, j + 16 in the high half of byte j. */
static void nibbles_32(const uint8_t *in, uint8_t *codes)
{
    for (int j = 0; j < 16; j++) {
        codes[j] = in[j] & 15;
        codes[j + 16] = in[j] >> 4;
    }
}

/* The fifth bit of element j is bit j of a word. */
static void fifth_bits_32(const uint8_t *in, uint8_t *codes)
{
    const uint32_t word = shoal_load_le32(in);
    for (int j = 0; j < 32; j++)
        codes[j] = (uint8_t)(codes[j] | (word >> j & 1) << 4);
}

static void decode_q4_0(const uint8_t *block, shoal_gguf_content *out)
{
    out->scale = half_at(block);
    nibbles_32(block + 2, out->codes);
}

static void decode_q4_1(const uint8_t *block, shoal_gguf_content *out)
{
    out->scale = half_at(block);
    out->min = half_at(block + 2);
    nibbles_32(block + 4, out->codes);
}

static void decode_q5_0(const uint8_t *block, shoal_gguf_content *out)
{
    out->scale = half_at(block);
    nibbles_32(block + 6, out->codes);
    fifth_bits_32(block + 2, out->codes);
}

static void decode_q5_1(const uint8_t *block, shoal_gguf_content *out)
{
    out->scale = half_at(block);
    out->min = half_at(block + 2);
    nibbles_32(block + 8, out->codes);
    fifth_bits_32(block + 4, out->codes);
}

static void decode_q8_0(const uint8_t *block, shoal_gguf_content *out)
{
    out->scale = half_at(block);
    for (int j = 0; j < 32; j++)
        out->codes[j] = block[2 + j] ^ 0x80;
}

/* ---- codes through a table ---- */

const uint8_t shoal_gguf_iq4_codes[SHOAL_GGUF_TABLE] = {1,   24,  45,  63,  79,  93,  106, 118,
                                                        129, 141, 153, 166, 181, 197, 217, 241};

static void table_32(const uint8_t *in, uint8_t *codes)
{
    nibbles_32(in, codes);
    for (int j = 0; j < 32; j++)
        codes[j] = shoal_gguf_iq4_codes[codes[j]];
}

static void decode_iq4_nl(const uint8_t *block, shoal_gguf_content *out)
{
    out->scale = half_at(block);
    table_32(block + 2, out->codes);
}

/* half d | u16 high bits of scales | u8[4] low nibbles of scales | u8[128] codes */
static void decode_iq4_xs(const uint8_t *block, shoal_gguf_content *out)
{
    const unsigned high = shoal_load_le16(block + 2);
    out->scale = half_at(block);
    for (int g = 0; g < 8; g++) {
        const int low = block[4 + g / 2] >> (g % 2 * 4) & 15;
        out->steps[g] = (int8_t)((low | (int)(high >> (2 * g) & 3) << 4) - 32);
        table_32(block + 8 + 16 * g, out->codes + 32 * g);
    }
}

/* ---- super-blocks of 256: scales of 4 and 6 bits ---- */

/* Two bits each: halves of 128 elements in 32 bytes, four shifts of 32 elements. */
static void pairs_256(const uint8_t *in, uint8_t *codes)
{
    for (int half = 0; half < 2; half++)
        for (int j = 0; j < 4; j++)
            for (int l = 0; l < 32; l++)
                codes[128 * half + 32 * j + l] = in[32 * half + l] >> (2 * j) & 3;
}

/* u8[16] scale and minimum of 4 bits each | u8[64] codes | half d | half dmin */
static void decode_q2_k(const uint8_t *block, shoal_gguf_content *out)
{
    out->scale = half_at(block + 80);
    out->min = -half_at(block + 82);
    for (int g = 0; g < 16; g++) {
        out->steps[g] = (int8_t)(block[g] & 15);
        out->min_steps[g] = (int8_t)(block[g] >> 4);
    }
    pairs_256(block + 16, out->codes);
}

/* u8[32] third bits | u8[64] low bits | u8[12] scales of 6 bits | half d */
static void decode_q3_k(const uint8_t *block, shoal_gguf_content *out)
{
    const uint8_t *packed = block + 96;
    out->scale = half_at(block + 108);
    for (int g = 0; g < 16; g++) {
        const int low = g < 8 ? packed[g] & 15 : packed[g - 8] >> 4;
        out->steps[g] = (int8_t)((low | (packed[8 + g % 4] >> (2 * (g / 4)) & 3) << 4) - 32);
    }
    pairs_256(block + 32, out->codes);
    for (int k = 0; k < 256; k++)
        out->codes[k] = (uint8_t)(out->codes[k] | (block[k % 32] >> (k / 32) & 1) << 2);
}

/* half d | half dmin | u8[12]: steps of 6 bits. */
static void steps_of_12(const uint8_t *block, shoal_gguf_content *out)
{
    const uint8_t *s = block + 4;
    out->scale = half_at(block);
    out->min = -half_at(block + 2);
    for (int g = 0; g < 8; g++) {
        int scale = s[g % 4] & 63, min = s[g % 4 + 4] & 63;
        if (g >= 4) {
            min = s[g + 4] >> 4 | (s[g] >> 6) << 4;
            scale = (s[g + 4] & 15) | (s[g - 4] >> 6) << 4;
        }
        out->steps[g] = (int8_t)scale;
        out->min_steps[g] = (int8_t)min;
    }
}

/* Groups 2i and 2i + 1 are the low and high nibbles of 32 bytes. */
static void nibbles_256(const uint8_t *in, uint8_t *codes)
{
    for (int i = 0; i < 4; i++)
        for (int l = 0; l < 32; l++) {
            codes[64 * i + l] = in[32 * i + l] & 15;
            codes[64 * i + 32 + l] = in[32 * i + l] >> 4;
        }
}

/* half d | half dmin | u8[12] scales | u8[128] codes */
static void decode_q4_k(const uint8_t *block, shoal_gguf_content *out)
{
    steps_of_12(block, out);
    nibbles_256(block + 16, out->codes);
}

/* half d | half dmin | u8[12] scales | u8[32] fifth bits | u8[128] codes */
static void decode_q5_k(const uint8_t *block, shoal_gguf_content *out)
{
    steps_of_12(block, out);
    nibbles_256(block + 48, out->codes);
    for (int k = 0; k < 256; k++)
        out->codes[k] = (uint8_t)(out->codes[k] | (block[16 + k % 32] >> (k / 32) & 1) << 4);
}

/* u8[128] low nibbles | u8[64] high pairs of bits | i8[16] scales | half d */
static void decode_q6_k(const uint8_t *block, shoal_gguf_content *out)
{
    out->scale = half_at(block + 208);
    for (int g = 0; g < 16; g++)
        out->steps[g] = (int8_t)block[192 + g];
    for (int k = 0; k < 256; k++) {
        const int half = k / 128, quarter = k / 32 % 4, l = k % 32;
        const int low = block[64 * half + 32 * (quarter % 2) + l] >> (quarter / 2 * 4) & 15;
        const int high = block[128 + 32 * half + l] >> (2 * quarter) & 3;
        out->codes[k] = (uint8_t)(low | high << 4);
    }
}

/* ---- the table ---- */

static const shoal_gguf_block blocks[] = {
    {2, 32, 18, 32, 4, SHOAL_WEIGHT_INT4, 8, false, decode_q4_0},
    {3, 32, 20, 32, 4, SHOAL_WEIGHT_INT4, 0, true, decode_q4_1},
    {6, 32, 22, 32, 5, SHOAL_WEIGHT_INT8, 16, false, decode_q5_0},
    {7, 32, 24, 32, 5, SHOAL_WEIGHT_INT8, 0, true, decode_q5_1},
    {8, 32, 34, 32, 8, SHOAL_WEIGHT_INT8, 128, false, decode_q8_0},
    {10, 256, 84, 16, 2, SHOAL_WEIGHT_INT4, 0, true, decode_q2_k},
    {11, 256, 110, 16, 3, SHOAL_WEIGHT_INT4, 4, false, decode_q3_k},
    {12, 256, 144, 32, 4, SHOAL_WEIGHT_INT4, 0, true, decode_q4_k},
    {13, 256, 176, 32, 5, SHOAL_WEIGHT_INT8, 0, true, decode_q5_k},
    {14, 256, 210, 16, 6, SHOAL_WEIGHT_INT8, 32, false, decode_q6_k},
    {20, 32, 18, 32, 4, SHOAL_WEIGHT_INT8, 128, false, decode_iq4_nl},
    {23, 256, 136, 32, 4, SHOAL_WEIGHT_INT8, 128, false, decode_iq4_xs},
};

const shoal_gguf_block *shoal_gguf_block_find(uint32_t type)
{
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        if (blocks[i].type == type)
            return &blocks[i];
    return NULL;
}

const char *shoal_gguf_block_list(void)
{
    return "Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS";
}
