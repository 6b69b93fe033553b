/* worker/payload.h - rows of sums as they travel between nodes: exact, or declared inexact.
 *
 * A row is `width` int64 with 28 fractional bits and one more int64, a count that is always exact.
 * On a slow network it may travel rounded, a part per node, and rounded once: the receivers add
 * what they got as integers in the same order, so all of them have the same bits. What a node's
 * part p loses: bf16 at most |p| / 255, int8 at most a 253rd of the largest |p| of 128 values
 * side by side (and 2^-28 in both).
 *
 * The exact payload has no rows of this kind: it is the int64 themselves. */
#ifndef SHOAL_WORKER_PAYLOAD_H
#define SHOAL_WORKER_PAYLOAD_H

#include <stdint.h>

#define SHOAL_PAYLOAD_GROUP 128

typedef enum { SHOAL_PAYLOAD_EXACT, SHOAL_PAYLOAD_BF16, SHOAL_PAYLOAD_INT8 } shoal_payload;

/* Bytes of a travelling row: the count, scales, values; a multiple of 8. */
uint64_t shoal_payload_bytes(shoal_payload payload, uint64_t width);

/* row [width + 1] */
void shoal_payload_pack(shoal_payload payload, const int64_t *row, uint64_t width, uint8_t *out);

/* row [width + 1] += what `packed` holds; a value that no sum of units can be adds 1 to the count
 * instead. */
void shoal_payload_add(shoal_payload payload, const uint8_t *packed, uint64_t width, int64_t *row);

#endif
