/* shard/gguf_quantize.h - weights to blocks of GGUF: a search for scales and minimums, then codes.
 *
 * What is sought is the smallest sum of squared errors, each group by itself:
 *
 *     one scale   w ~ s * v, v a code less its zero, or a value of the table. The weight furthest
 *                 from zero goes to the lowest v, and to places a little to both sides of it: 19
 *                 starts. Each gives codes, they a scale by least squares, it codes and a scale
 *                 again; the best of all counts.
 *     minimum     w ~ s * v + m. 21 starts, the range of the group over a little less or more than
 *                 all codes; s and m by least squares, twice. K-quants have m <= 0.
 *
 * In K-quants and IQ4_XS the largest scale (and minimum) of a block is the largest step of a half
 * float; then every group takes the step (and minimum's step) out of the nearest and its neighbours
 * that errs least. Codes are always made last, to the nearest of what is stored. Sums are fp32 in a
 * fixed order: the same weights give the same bytes everywhere. */
#ifndef SHOAL_SHARD_GGUF_QUANTIZE_H
#define SHOAL_SHARD_GGUF_QUANTIZE_H

#include <stdbool.h>

#include "proto/status.h"
#include "shard/gguf_block.h"

/* The form->elements weights of a block. False where one of them is not finite, or where they are
 * too large for half floats. */
SHOAL_MUST_USE bool shoal_gguf_quantize(const shoal_gguf_block *form, const float *weights,
                                        shoal_gguf_content *out);

#endif
