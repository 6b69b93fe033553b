/* shard/gguf_block_write.c - the other direction of gguf_block.c: what a block holds to its bytes.
 */
#include <string.h>

#include "proto/bytes.h"
#include "proto/dtype.h"
#include "shard/gguf_block.h"

static void put_half(uint8_t *at, float value)
{
    const uint16_t half = shoal_f16_from_f32(value);
    at[0] = (uint8_t)half;
    at[1] = (uint8_t)(half >> 8);
}

/* ---- blocks of 32 ---- */

static void put_nibbles_32(const uint8_t *codes, uint8_t *out)
{
    for (int j = 0; j < 16; j++)
        out[j] = (uint8_t)((codes[j] & 15) | codes[j + 16] << 4);
}

static void put_fifth_bits_32(const uint8_t *codes, uint8_t *out)
{
    uint32_t word = 0;
    for (int j = 0; j < 32; j++)
        word |= (uint32_t)(codes[j] >> 4 & 1) << j;
    shoal_store_le32(out, word);
}

static void encode_q4_0(const shoal_gguf_content *in, uint8_t *block)
{
    put_half(block, in->scale);
    put_nibbles_32(in->codes, block + 2);
}

static void encode_q4_1(const shoal_gguf_content *in, uint8_t *block)
{
    put_half(block, in->scale);
    put_half(block + 2, in->min);
    put_nibbles_32(in->codes, block + 4);
}

static void encode_q5_0(const shoal_gguf_content *in, uint8_t *block)
{
    put_half(block, in->scale);
    put_fifth_bits_32(in->codes, block + 2);
    put_nibbles_32(in->codes, block + 6);
}

static void encode_q5_1(const shoal_gguf_content *in, uint8_t *block)
{
    put_half(block, in->scale);
    put_half(block + 2, in->min);
    put_fifth_bits_32(in->codes, block + 4);
    put_nibbles_32(in->codes, block + 8);
}

static void encode_q8_0(const shoal_gguf_content *in, uint8_t *block)
{
    put_half(block, in->scale);
    for (int j = 0; j < 32; j++)
        block[2 + j] = in->codes[j] ^ 0x80;
}

/* ---- codes through a table ---- */

/* The place of a value in the table, which is ascending. */
static uint8_t place_of(const uint8_t *table, uint8_t value)
{
    uint8_t place = 0;
    while (place < SHOAL_GGUF_TABLE - 1 && table[place] < value)
        place++;
    return place;
}

static void put_table_32(const uint8_t *codes, uint8_t *out)
{
    uint8_t places[32];
    for (int j = 0; j < 32; j++)
        places[j] = place_of(shoal_gguf_iq4_codes, codes[j]);
    put_nibbles_32(places, out);
}

static void encode_iq4_nl(const shoal_gguf_content *in, uint8_t *block)
{
    put_half(block, in->scale);
    put_table_32(in->codes, block + 2);
}

static void encode_iq4_xs(const shoal_gguf_content *in, uint8_t *block)
{
    unsigned high = 0;
    put_half(block, in->scale);
    for (int g = 0; g < 8; g++) {
        const unsigned step = (unsigned)(in->steps[g] + 32);
        high |= (step >> 4 & 3) << (2 * g);
        block[4 + g / 2] |= (uint8_t)((step & 15) << (g % 2 * 4));
        put_table_32(in->codes + 32 * g, block + 8 + 16 * g);
    }
    block[2] = (uint8_t)high;
    block[3] = (uint8_t)(high >> 8);
}

/* ---- super-blocks of 256 ---- */

static void put_pairs_256(const uint8_t *codes, uint8_t *out)
{
    for (int half = 0; half < 2; half++)
        for (int j = 0; j < 4; j++)
            for (int l = 0; l < 32; l++)
                out[32 * half + l] |= (uint8_t)((codes[128 * half + 32 * j + l] & 3) << (2 * j));
}

static void encode_q2_k(const shoal_gguf_content *in, uint8_t *block)
{
    for (int g = 0; g < 16; g++)
        block[g] = (uint8_t)(in->steps[g] | in->min_steps[g] << 4);
    put_pairs_256(in->codes, block + 16);
    put_half(block + 80, in->scale);
    put_half(block + 82, -in->min);
}

static void encode_q3_k(const shoal_gguf_content *in, uint8_t *block)
{
    uint8_t *packed = block + 96;
    for (int k = 0; k < 256; k++)
        block[k % 32] |= (uint8_t)((in->codes[k] >> 2 & 1) << (k / 32));
    put_pairs_256(in->codes, block + 32);
    for (int g = 0; g < 16; g++) {
        const unsigned step = (unsigned)(in->steps[g] + 32);
        packed[g % 8] |= (uint8_t)((step & 15) << (g / 8 * 4));
        packed[8 + g % 4] |= (uint8_t)((step >> 4 & 3) << (2 * (g / 4)));
    }
    put_half(block + 108, in->scale);
}

static void put_steps_of_12(const shoal_gguf_content *in, uint8_t *block)
{
    uint8_t *s = block + 4;
    put_half(block, in->scale);
    put_half(block + 2, -in->min);
    for (int g = 0; g < 4; g++) {
        s[g] = (uint8_t)(in->steps[g] | in->steps[g + 4] >> 4 << 6);
        s[g + 4] = (uint8_t)(in->min_steps[g] | in->min_steps[g + 4] >> 4 << 6);
        s[g + 8] = (uint8_t)((in->steps[g + 4] & 15) | (in->min_steps[g + 4] & 15) << 4);
    }
}

static void put_nibbles_256(const uint8_t *codes, uint8_t *out)
{
    for (int i = 0; i < 4; i++)
        for (int l = 0; l < 32; l++)
            out[32 * i + l] =
                (uint8_t)((codes[64 * i + l] & 15) | (codes[64 * i + 32 + l] & 15) << 4);
}

static void encode_q4_k(const shoal_gguf_content *in, uint8_t *block)
{
    put_steps_of_12(in, block);
    put_nibbles_256(in->codes, block + 16);
}

static void encode_q5_k(const shoal_gguf_content *in, uint8_t *block)
{
    put_steps_of_12(in, block);
    for (int k = 0; k < 256; k++)
        block[16 + k % 32] |= (uint8_t)((in->codes[k] >> 4 & 1) << (k / 32));
    put_nibbles_256(in->codes, block + 48);
}

static void encode_q6_k(const shoal_gguf_content *in, uint8_t *block)
{
    for (int k = 0; k < 256; k++) {
        const int half = k / 128, quarter = k / 32 % 4, l = k % 32;
        block[64 * half + 32 * (quarter % 2) + l] |=
            (uint8_t)((in->codes[k] & 15) << (quarter / 2 * 4));
        block[128 + 32 * half + l] |= (uint8_t)((in->codes[k] >> 4 & 3) << (2 * quarter));
    }
    for (int g = 0; g < 16; g++)
        block[192 + g] = (uint8_t)in->steps[g];
    put_half(block + 208, in->scale);
}

void shoal_gguf_encode(const shoal_gguf_block *form, const shoal_gguf_content *content,
                       uint8_t *block)
{
    static const struct {
        uint32_t type;
        void (*encode)(const shoal_gguf_content *in, uint8_t *block);
    } rows[] = {
        {2, encode_q4_0},  {3, encode_q4_1},  {6, encode_q5_0},    {7, encode_q5_1},
        {8, encode_q8_0},  {10, encode_q2_k}, {11, encode_q3_k},   {12, encode_q4_k},
        {13, encode_q5_k}, {14, encode_q6_k}, {20, encode_iq4_nl}, {23, encode_iq4_xs},
    };
    size_t i = 0;
    while (rows[i].type != form->type)
        i++;
    memset(block, 0, (size_t)form->bytes);
    rows[i].encode(content, block);
}
