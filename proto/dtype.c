#include "proto/dtype.h"

#include "proto/bytes.h"

typedef struct {
    const char *name;
    unsigned bits;
} dtype_row;

static const dtype_row rows[SHOAL_DTYPE_COUNT] = {
    [SHOAL_F32] = {"F32", 32},
    [SHOAL_F16] = {"F16", 16},
    [SHOAL_BF16] = {"BF16", 16},
    [SHOAL_I8] = {"I8", 8},
    [SHOAL_U8] = {"U8", 8},
    [SHOAL_I16] = {"I16", 16},
    [SHOAL_U16] = {"U16", 16},
    [SHOAL_I32] = {"I32", 32},
    [SHOAL_U32] = {"U32", 32},
    [SHOAL_I64] = {"I64", 64},
    [SHOAL_U64] = {"U64", 64},
    [SHOAL_F64] = {"F64", 64},
    [SHOAL_BOOL] = {"BOOL", 8},
    [SHOAL_F8_E4M3] = {"F8_E4M3", 8},
    [SHOAL_F8_E5M2] = {"F8_E5M2", 8},
    [SHOAL_F8_E8M0] = {"F8_E8M0", 8},
    [SHOAL_F4] = {"F4", 4},
    [SHOAL_F6_E2M3] = {"F6_E2M3", 6},
    [SHOAL_F6_E3M2] = {"F6_E3M2", 6},
    [SHOAL_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
    [SHOAL_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
    [SHOAL_C64] = {"C64", 64},
};

const char *shoal_dtype_name(shoal_dtype type)
{
    return rows[type].name;
}

bool shoal_dtype_parse(const char *name, shoal_dtype *out)
{
    for (int i = 0; i < SHOAL_DTYPE_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            *out = (shoal_dtype)i;
            return true;
        }
    }
    return false;
}

unsigned shoal_dtype_bits(shoal_dtype type)
{
    return rows[type].bits;
}

size_t shoal_dtype_bytes(shoal_dtype type)
{
    return rows[type].bits / 8;
}

bool shoal_dtype_is_float(shoal_dtype type)
{
    return type == SHOAL_F32 || type == SHOAL_F16 || type == SHOAL_BF16;
}

float shoal_f32_from_f16(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t exponent = (h >> 10) & 0x1fu;
    uint32_t fraction = h & 0x3ffu;

    if (exponent == 0x1f)
        return shoal_f32_from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0)
        return shoal_f32_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    if (fraction == 0)
        return shoal_f32_from_bits(sign);
    uint32_t shifts = 0;
    while (!(fraction & 0x400u)) { /* subnormal: normalise */
        fraction <<= 1;
        shifts++;
    }
    return shoal_f32_from_bits(sign | (113 - shifts) << 23 | (fraction & 0x3ffu) << 13);
}

/* Drop the low `shift` bits of `value`, rounding half to even. */
static uint32_t drop_bits(uint32_t value, unsigned shift)
{
    const uint32_t half = 1u << (shift - 1);
    const uint32_t rest = value & ((1u << shift) - 1);
    const uint32_t kept = value >> shift;
    return kept + (rest > half || (rest == half && (kept & 1u)));
}

uint16_t shoal_f16_from_f32(float f)
{
    const uint32_t bits = shoal_f32_bits(f);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    const uint32_t magnitude = bits & 0x7fffffffu;

    if (magnitude > 0x7f800000u) /* NaN stays NaN, quiet */
        return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x47800000u) /* 65536 and up, infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude >= 0x38800000u) /* normal in fp16; a carry may reach infinity */
        return (uint16_t)(sign | drop_bits(magnitude - 0x38000000u, 13));
    const uint32_t exponent = magnitude >> 23;
    if (exponent < 102) /* below half of the smallest subnormal */
        return sign;
    const uint32_t fraction = (magnitude & 0x7fffffu) | 0x800000u;
    return (uint16_t)(sign | drop_bits(fraction, 126 - exponent));
}

uint16_t shoal_bf16_from_f32(float f)
{
    const uint32_t bits = shoal_f32_bits(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)(bits >> 31 << 15 | drop_bits(bits & 0x7fffffffu, 16));
}

float shoal_load_f32(const void *array, shoal_dtype type, size_t index)
{
    const unsigned char *at = (const unsigned char *)array + index * shoal_dtype_bytes(type);
    switch (type) {
    case SHOAL_F16: return shoal_f32_from_f16(shoal_load_le16(at));
    case SHOAL_BF16: return shoal_f32_from_bf16(shoal_load_le16(at));
    default: return shoal_f32_from_bits(shoal_load_le32(at));
    }
}

/* shoal_f32_from_f16 without branches, so that a loop of it becomes vectors: subnormals are exact
 * products too, and what the format keeps for infinity and NaN is put right by its exponent. */
static float widen_f16(uint16_t h)
{
    const uint32_t magnitude = (uint32_t)(h & 0x7fffu) << 13;
    const uint32_t bits = shoal_f32_bits(shoal_f32_from_bits(magnitude) * 0x1p112f);
    const uint32_t special = magnitude >= 0x0f800000u ? 0x7f800000u : 0;
    return shoal_f32_from_bits(bits | special | (uint32_t)(h & 0x8000u) << 16);
}

void shoal_widen_f32(const void *array, shoal_dtype type, size_t count, float *out)
{
    const unsigned char *from = array;
    switch (type) {
    case SHOAL_F16:
        for (size_t i = 0; i < count; i++)
            out[i] = widen_f16(shoal_load_le16(from + 2 * i));
        return;
    case SHOAL_BF16:
        for (size_t i = 0; i < count; i++)
            out[i] = shoal_f32_from_bf16(shoal_load_le16(from + 2 * i));
        return;
    default:
        for (size_t i = 0; i < count; i++)
            out[i] = shoal_f32_from_bits(shoal_load_le32(from + 4 * i));
    }
}

/* The two functions above without branches, so that loops of them become vectors. Below the normal
 * numbers of fp16 the adder rounds: the last bit of a half is that of its subnormals. */
static uint16_t narrow_f16(float f)
{
    const uint32_t bits = shoal_f32_bits(f), magnitude = bits & 0x7fffffffu;
    const uint32_t odd = magnitude >> 13 & 1u;
    const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + odd) >> 13;
    const uint32_t small = shoal_f32_bits(shoal_f32_from_bits(magnitude) + 0.5f) - 0x3f000000u;
    const uint32_t nan = 0x7e00u | (magnitude >> 13 & 0x3ffu);
    uint32_t half = magnitude < 0x38800000u ? small : normal;
    half = magnitude >= 0x47800000u ? 0x7c00u : half;
    half = magnitude > 0x7f800000u ? nan : half;
    return (uint16_t)(half | (bits >> 16 & 0x8000u));
}

static uint16_t narrow_bf16(float f)
{
    const uint32_t bits = shoal_f32_bits(f);
    const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 0x40u : rounded);
}

void shoal_narrow_f32(const float *values, shoal_dtype type, size_t count, void *array)
{
    const float *restrict from = values;
    unsigned char *restrict to = array;
    if (type == SHOAL_F32) {
        memcpy(to, from, 4 * count);
        return;
    }
    for (size_t i = 0; type == SHOAL_F16 && i < count; i++)
        memcpy(to + 2 * i, &(uint16_t){narrow_f16(from[i])}, 2);
    for (size_t i = 0; type == SHOAL_BF16 && i < count; i++)
        memcpy(to + 2 * i, &(uint16_t){narrow_bf16(from[i])}, 2);
}
