/* kernels/pack.h - into panels straight from the words of a file, and the loops of packing that
 * have a variant per level.
 *
 * A stored block is a tile of a linear as GPTQ and AWQ files hold it: rows of 32-bit little-endian
 * words along k, scales and zeros as rows of groups. Packing one gives the bytes of packing its
 * canonical form (shoal_linear_pack), without a byte per code in between. Two forms of words:
 *
 *     ALONG_K  [k / 8][n]: word (r, c) holds inputs 8r .. 8r+7 of column c, lowest first
 *              ([k / 4][n] for 8-bit codes)
 *     ALONG_N  [k][n / 8 rounded up]: word (k, w) holds columns 8w + 0, 2, 4, 6, 1, 3, 5, 7, lowest
 * first */
#ifndef SHOAL_KERNELS_PACK_H
#define SHOAL_KERNELS_PACK_H

#include <stdint.h>

#include "kernels/cpu.h"
#include "kernels/linear.h"
#include "proto/status.h"

typedef enum { SHOAL_WORDS_ALONG_K, SHOAL_WORDS_ALONG_N } shoal_words_form;

typedef struct {
    shoal_words_form form;
    int64_t n, k;          /* columns and inputs                                            */
    const uint8_t *codes;  /* words of the first row                                        */
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
 * SHOAL_ERR_DATA when the block does not match the linear. Blocks that share no panel, or no K
 * step, may be packed at the same time. */
SHOAL_MUST_USE shoal_status shoal_linear_pack_stored(shoal_linear *linear, const shoal_place *place,
                                                     const shoal_stored *block);

/* Each writes `k` inputs of one panel from its `columns` (1 to 64) columns on; what lies beyond in
 * the last K step becomes zero, columns that are not there are left alone. Rows of the source are
 * `stride` bytes apart. */
struct shoal_pack_row {
    shoal_cpu_level needs;
    /* Words along k of 4-bit codes, or along n, to K steps of 256 bytes. */
    void (*k_words)(const uint8_t *words, int64_t stride, int64_t columns, int64_t k,
                    uint8_t *panel);
    void (*n_words)(const uint8_t *words, int64_t stride, int64_t columns, int64_t k,
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

/* The one for `cap` on this machine. */
const shoal_pack_row *shoal_pack_pick(shoal_cpu_level cap);

/* The definition, and what the others do with ragged edges. */
extern const shoal_pack_row shoal_pack_ref;
#if defined(__x86_64__)
extern const shoal_pack_row shoal_pack_avx2;
extern const shoal_pack_row shoal_pack_avx512;
#endif

#endif
