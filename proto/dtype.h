/* proto/dtype.h - element types of stored tensors: names, sizes, exact widening to fp32.
 *
 * Names are those of the safetensors format. Widening is exact for every type listed as a float
 * here; narrowing rounds half to even (IEEE 754). */
#ifndef SHOAL_PROTO_DTYPE_H
#define SHOAL_PROTO_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum {
    SHOAL_F32,
    SHOAL_F16,
    SHOAL_BF16,
    SHOAL_I8,
    SHOAL_U8,
    SHOAL_I16,
    SHOAL_U16,
    SHOAL_I32,
    SHOAL_U32,
    SHOAL_I64,
    SHOAL_U64,
    SHOAL_F64,
    SHOAL_BOOL,
    SHOAL_F8_E4M3,
    SHOAL_F8_E5M2,
    SHOAL_F8_E8M0,
    SHOAL_F4,
    SHOAL_F6_E2M3,
    SHOAL_F6_E3M2,
    SHOAL_F8_E4M3FNUZ,
    SHOAL_F8_E5M2FNUZ,
    SHOAL_C64,
    SHOAL_DTYPE_COUNT
} shoal_dtype;

/* "F32", "BF16", … ; the inverse returns false for an unknown name. */
const char *shoal_dtype_name(shoal_dtype type);
bool shoal_dtype_parse(const char *name, shoal_dtype *out);

/* Bits of one element: 4 to 64. */
unsigned shoal_dtype_bits(shoal_dtype type);

/* Whole bytes of one element; 0 for types smaller than a byte. */
size_t shoal_dtype_bytes(shoal_dtype type);

/* Is it F32, F16 or BF16: a type that weights, scales and norms may have? */
bool shoal_dtype_is_float(shoal_dtype type);

static inline float shoal_f32_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t shoal_f32_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float shoal_f32_from_bf16(uint16_t h)
{
    return shoal_f32_from_bits((uint32_t)h << 16);
}

float shoal_f32_from_f16(uint16_t h);
uint16_t shoal_f16_from_f32(float f);
uint16_t shoal_bf16_from_f32(float f);

/* Widen element `index` of an array of `type` (F32, F16 or BF16; any alignment) to fp32. */
float shoal_load_f32(const void *array, shoal_dtype type, size_t index);

/* Widen `count` elements into `out`; needs denormals on, as docs/arithmetic.md rule 0 has it. */
void shoal_widen_f32(const void *array, shoal_dtype type, size_t count, float *out);

/* And back: round `count` numbers to elements of `type`. */
void shoal_narrow_f32(const float *values, shoal_dtype type, size_t count, void *array);

#endif
