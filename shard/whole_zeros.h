/* shard/whole_zeros.h - minimums that are zero points in another form.
 *
 * Where a group's minimum is exactly (c - z) * s, with c the zero of its block and a whole z from 0
 * to the largest code, (u - c) * s + m and (u - z) * s are the same number for every code: both
 * round the same exact value once (docs/arithmetic.md rule 1). torchao and GGUF write such minimums
 * for integer zero points; as zero points again they fit forms that have no minimums. */
#ifndef SHOAL_SHARD_WHOLE_ZEROS_H
#define SHOAL_SHARD_WHOLE_ZEROS_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/canonical.h"

/* The zero points that stand for `block`'s minimums, codes having `bits`, into zeros[n][groups].
 * False where one is no whole number; `zeros` is then undefined. Looks at no code. */
bool shoal_whole_zeros(const shoal_canonical *block, int bits, int16_t *zeros);

#endif
