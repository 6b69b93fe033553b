/* shard/int4_packing.h - how torchao and PyTorch pack 4-bit codes [n][k].
 *
 * Every packing cuts the outputs into bands and walks k inside a band by steps; a band of h rows
 * takes h * k / 2 bytes, one after the other:
 *
 *     tiled     bands of 8, steps of inner * 16: the tensor-core layout, [n/8][k/(inner*16)][32]
 *               [inner/2] words; lane 4r + j holds k = 2j + {0, 8, 16, 24, 1, 9, 17, 25} of row r
 *     avx512    bands of 64, steps of 1: byte i of 32 holds rows i and i + 32
 *     avx2      bands of 32, steps of 1: byte i of 16 holds rows i and i + 16
 *     generic   bands of 32, steps of 1: byte i of 16 holds rows 2i and 2i + 1
 *     nibbles   bands of 1, steps of 2: the even k in the low half, codes as two's complement
 *
 * A last band of the three CPU packings that is not full is in the order of `generic`. Sources:
 * PyTorch int4mm.cu and int4mm_kernel.cpp, checked against what they write. */
#ifndef SHOAL_SHARD_INT4_PACKING_H
#define SHOAL_SHARD_INT4_PACKING_H

#include "shard/checkpoint.h"

typedef enum {
    SHOAL_INT4_UNKNOWN,
    SHOAL_INT4_TILED,
    SHOAL_INT4_AVX512,
    SHOAL_INT4_AVX2,
    SHOAL_INT4_GENERIC,
    SHOAL_INT4_NIBBLES,
} shoal_int4_order;

typedef struct {
    shoal_int4_order order;
    int64_t n, k;  /* as packed: with the padding */
    int64_t inner; /* of tiled: 2, 4 or 8 */
} shoal_int4_packing;

/* "tiled", "avx512", ...; SHOAL_INT4_UNKNOWN for another text. */
const char *shoal_int4_order_name(shoal_int4_order order);
shoal_int4_order shoal_int4_order_find(const char *name);

/* Does a tensor of this dtype and shape hold n x k codes (or, tiled, more) in this order? Then
 * *out says how. */
bool shoal_int4_packing_of(const shoal_tensor *tensor, shoal_int4_order order, int64_t n, int64_t k,
                           shoal_int4_packing *out);

/* Rows and inputs. */
typedef struct {
    int64_t n_begin, n_end, k_begin, k_end;
} shoal_int4_range;

/* Bytes that reading a range takes: whole bands over whole steps. */
uint64_t shoal_int4_read_bytes(const shoal_int4_packing *packing, const shoal_int4_range *range);

/* Codes [n][k] of a range, 0 .. 15. */
SHOAL_MUST_USE shoal_status shoal_int4_read(const shoal_checkpoint *checkpoint,
                                            const shoal_tensor *tensor,
                                            const shoal_int4_packing *packing,
                                            const shoal_int4_range *range, uint8_t *codes);

/* Codes of row `row` of a band of `height` rows whose bytes of `count` inputs, from a step on, are
 * `bytes`. */
void shoal_int4_unpack_row(const shoal_int4_packing *packing, int64_t height, int64_t row,
                           const uint8_t *bytes, int64_t count, uint8_t *codes);

#endif
