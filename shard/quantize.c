/* shard/quantize.c - see quantize.h. */
#include "shard/quantize.h"

#include <string.h>

#include "proto/dtype.h"

static const struct {
    const char *word;
    shoal_quantizer quantizer;
} words[] = {
    {"int4-g128", {SHOAL_WEIGHT_INT4, 128, 8}},
    {"int4-g64", {SHOAL_WEIGHT_INT4, 64, 8}},
    {"int4-g32", {SHOAL_WEIGHT_INT4, 32, 8}},
    {"int8", {SHOAL_WEIGHT_INT8, 0, 128}},
};

shoal_status shoal_quantizer_parse(const char *word, shoal_quantizer *out)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(word, words[i].word) == 0) {
            *out = words[i].quantizer;
            return SHOAL_OK;
        }
    return shoal_fail(SHOAL_ERR_USAGE, "--quantize %s: it is int4-g128, int4-g64, int4-g32 or int8",
                      word);
}

/* The largest magnitude, found on the bits so that NaN (the largest of all) cannot hide. Signed,
 * because vectors of every level compare signed numbers. */
static uint32_t absmax_bits(const float *weights, int64_t count)
{
    int32_t most = 0;
    for (int64_t i = 0; i < count; i++) {
        const int32_t bits = (int32_t)(shoal_f32_bits(weights[i]) & 0x7fffffffu);
        most = bits > most ? bits : most;
    }
    return (uint32_t)most;
}

/* rintf for |x| < 2^22, by the adder: 1.5 * 2^23 leaves no bit for fractions. */
static float round_small(float x)
{
    return (x + 0x1.8p23f) - 0x1.8p23f;
}

bool shoal_quantize_weight_group(const float *weights, int64_t count, shoal_weight_kind kind,
                                 uint8_t *codes, float *scale)
{
    const bool wide = kind == SHOAL_WEIGHT_INT8;
    const float steps = wide ? 127.0f : 7.0f;
    const float zero = wide ? 128.0f : 8.0f;
    const float top = wide ? 255.0f : 15.0f;
    const uint32_t most = absmax_bits(weights, count);
    if (most >= 0x7f800000u)
        return false;
    const float s = shoal_f32_from_bits(most) / steps;
    if (s > 0.0f) {
        /* Among subnormals the quotient can pass the range by rounding of s: hence the clamp. */
        for (int64_t i = 0; i < count; i++) {
            float code = round_small(weights[i] / s) + zero;
            code = code > top ? top : code;
            code = code < 0.0f ? 0.0f : code;
            codes[i] = (uint8_t)(int32_t)code;
        }
    } else {
        memset(codes, (int)zero, (size_t)count);
    }
    *scale = s;
    return true;
}
