/* kernels/pack.h - into panels straight from the words of a file, and the loops of packing that
 * have a variant per level.
 *
 * A stored block is a tile of a linear as files hold it: 32-bit little-endian words, scales and
 * zeros as rows of groups. Packing one gives the bytes of packing its canonical form
 * (shoal_linear_pack), without a byte per code in between. Forms of words, lowest nibble first:
 *
 *     ALONG_K    [k / 8][n]: word (r, c) holds inputs 8r .. 8r+7 of column c ([k / 4][n] for 8-bit
 *                codes)                                                          GPTQ
 *     ALONG_N    [k][n / 8]: word (k, w) holds columns 8w + 0, 2, 4, 6, 1, 3, 5, 7  AWQ gemm
 *     BY_COLUMN  [n][k / 8]: word (c, r) holds inputs 8r .. 8r+7 of column c ([n][k / 4] for 8-bit
 *                codes)                                    AWQ gemv, compressed-tensors
 *     FRAGMENTS  [k / 16][n / 64][128]: word 4t + j of a tile holds inputs r, r+8 of column c, of
 *                column c+8, then inputs r+1, r+9 likewise: r = 2 (t % 4), c = 16j + t / 4  Marlin
 *
 * Counts are rounded up. */
#ifndef SHOAL_KERNELS_PACK_H
#define SHOAL_KERNELS_PACK_H

#include <stdint.h>

#include "kernels/cpu.h"
#include "kernels/linear.h"
#include "proto/status.h"

typedef enum {
    SHOAL_WORDS_ALONG_K,
    SHOAL_WORDS_ALONG_N,
    SHOAL_WORDS_BY_COLUMN,
    SHOAL_WORDS_FRAGMENTS
} shoal_words_form;

typedef struct {
    shoal_words_form form;
    int64_t n, k;          /* columns and inputs                                            */
    const uint8_t *codes;  /* words of the first row, for FRAGMENTS of a row of tiles       */
    int64_t stride;        /* bytes from a row of words to the next                         */
    int64_t groups;        /* rows of scales and zeros; may be fewer than the inputs touch  */
    const uint8_t *scales; /* [groups][n] finite elements of the linear's dtype            */
    const uint8_t *zeros;  /* [groups][n], int4: 0..16; NULL where the linear has none      */
} shoal_stored;

/* Where a stored block goes, in local columns, inputs and groups. */
typedef struct {
    int64_t n, k, group;
} shoal_place;

/* Pack `block`. place.n is a multiple of 64 and the block ends at one or at the last output;
 * place.k is a multiple of 8 (8-bit codes: 4) and the block ends at one or at the last input.
 * SHOAL_ERR_DATA when the block does not match the linear or a zero point is none. Blocks that
 * share no panel, or no K step, may be packed at the same time. */
SHOAL_MUST_USE shoal_status shoal_linear_pack_stored(shoal_linear *linear, const shoal_place *place,
                                                     const shoal_stored *block);

/* Each writes `k` inputs of one panel from its `columns` (1 to 64) columns on; what lies beyond in
 * the last K step becomes zero, columns that are not there are left alone. Rows of the source are
 * `stride` bytes apart. */
struct shoal_pack_row {
    shoal_cpu_level needs;
    /* Words of 4-bit codes, one function per form, to K steps of 256 bytes. */
    void (*k_words)(const uint8_t *words, int64_t stride, int64_t columns, int64_t k,
                    uint8_t *panel);
    void (*n_words)(const uint8_t *words, int64_t stride, int64_t columns, int64_t k,
                    uint8_t *panel);
    void (*column_words)(const uint8_t *words, int64_t stride, int64_t columns, int64_t k,
                         uint8_t *panel);
    void (*fragments)(const uint8_t *words, int64_t stride, int64_t columns, int64_t k,
                      uint8_t *panel);
    /* A byte per 4-bit code, row c = column c; returns the OR of all codes. */
    unsigned (*codes4)(const uint8_t *codes, int64_t stride, int64_t columns, int64_t k,
                       uint8_t *panel);
    /* [columns][count] to [count][64]: `count` elements of 4 bytes, XORed with `flip`; or of 2. */
    void (*dwords)(const uint8_t *rows, int64_t stride, int64_t columns, int64_t count,
                   uint32_t flip, uint8_t *panel);
    void (*halves)(const uint8_t *rows, int64_t stride, int64_t columns, int64_t count,
                   uint8_t *panel);
};

/* 8-bit codes, row c = column c: K steps of 256 bytes. */
void shoal_pack_codes8(const shoal_pack_row *row, const uint8_t *codes, int64_t stride,
                       int64_t columns, int64_t k, uint8_t *panel);

/* The one for `cap` on this machine. */
const shoal_pack_row *shoal_pack_pick(shoal_cpu_level cap);

/* The definition, and what the others do with ragged edges. */
extern const shoal_pack_row shoal_pack_ref;
#if defined(__x86_64__)
extern const shoal_pack_row shoal_pack_avx2;
extern const shoal_pack_row shoal_pack_avx512;
#endif

#endif
