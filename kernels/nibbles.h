/* kernels/nibbles.h - 4-bit codes of a byte each to two in a byte and back, and matrices turned:
 * what the words of stored forms are made of.
 *
 * Forms differ in which of 16 codes lies in which nibble of 8 bytes, lowest nibble of the first
 * byte first, and in whether rows go along inputs or outputs. Each function has a variant per
 * level; all give the same bytes. */
#ifndef SHOAL_KERNELS_NIBBLES_H
#define SHOAL_KERNELS_NIBBLES_H

#include <stdint.h>

#include "kernels/cpu.h"

typedef struct {
    uint8_t code[16];   /* that nibble i holds     */
    uint8_t nibble[16]; /* that code i lies in     */
} shoal_nibble_order;

/* One after the other; as words of AWQ hold 8 columns. */
extern const shoal_nibble_order shoal_nibbles_plain, shoal_nibbles_awq;

typedef struct {
    shoal_cpu_level needs;
    /* `count` codes, 0 to 15: an even number, which the order may cut only where its nibbles hold
     * no code of beyond. */
    void (*pack)(const uint8_t *codes, int64_t count, const shoal_nibble_order *order,
                 uint8_t *packed);
    /* Any count; the rest as above. */
    void (*unpack)(const uint8_t *packed, int64_t count, const shoal_nibble_order *order,
                   uint8_t *codes);
    /* to[c][r] = from[r][c], elements of one byte or of four; strides are bytes between rows. */
    void (*turn_bytes)(const uint8_t *from, int64_t from_stride, int64_t rows, int64_t columns,
                       uint8_t *to, int64_t to_stride);
    void (*turn_words)(const uint8_t *from, int64_t from_stride, int64_t rows, int64_t columns,
                       uint8_t *to, int64_t to_stride);
} shoal_nibbles_row;

/* The one for `cap` on this machine. */
const shoal_nibbles_row *shoal_nibbles_pick(shoal_cpu_level cap);

/* The best of this machine, whatever SHOAL_CPU says: that chooses kernels.
 * tests/unit/test_nibbles.c holds it against the reference. */
static inline const shoal_nibbles_row *shoal_nibbles_best(void)
{
    return shoal_nibbles_pick(SHOAL_CPU_LEVELS - 1);
}

/* The definition, and what the others do with ragged edges. */
extern const shoal_nibbles_row shoal_nibbles_ref;
#if defined(__x86_64__)
extern const shoal_nibbles_row shoal_nibbles_avx2;
#endif

#endif
