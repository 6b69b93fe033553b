#include "shard/whole_zeros.h"

#include <math.h>

/* The product is exact: s has 24 bits at most and the steps are few, so fmaf rounds nothing to 0.
 */
static bool whole_steps(float scale, float minimum, float *steps)
{
    *steps = scale == 0 ? 0 : rintf(minimum / scale);
    return fabsf(*steps) <= 255 && fmaf(*steps, scale, -minimum) == 0;
}

bool shoal_whole_zeros(const shoal_canonical *block, int bits, int16_t *zeros)
{
    const int top = (1 << bits) - 1;
    for (int64_t i = 0; i < block->n * block->groups; i++) {
        float steps;
        if (!whole_steps(block->scales[i], block->mins[i], &steps))
            return false;
        const int zero = block->zero_const - (int)steps;
        if (zero < 0 || zero > top)
            return false;
        zeros[i] = (int16_t)zero;
    }
    return true;
}
