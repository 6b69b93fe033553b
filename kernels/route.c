#include "kernels/route.h"

#include <math.h>

#include "kernels/mathf.h"
#include "proto/dtype.h"

/* An integer that orders scores as numbers: -0 and +0 are one, a NaN comes before all. */
static int32_t order_of(float score)
{
    if (isnan(score))
        return INT32_MIN;
    const uint32_t bits = shoal_f32_bits(score + 0.0f);
    return (int32_t)(bits & 0x80000000u ? ~bits ^ 0x80000000u : bits);
}

/* Does (a, i) come before (b, j): a larger score, or an equal one of a lower index? */
static bool before(int32_t a, int64_t i, int32_t b, int64_t j)
{
    return a > b || (a == b && i < j);
}

/* The first expert that comes after `last` (-1: of all). */
static int64_t next_best(const float *scores, int64_t experts, int64_t last)
{
    const int32_t bound = last < 0 ? 0 : order_of(scores[last]);
    int64_t best = -1;
    for (int64_t i = 0; i < experts; i++) {
        const int32_t order = order_of(scores[i]);
        if (last >= 0 && !before(bound, last, order, i))
            continue;
        if (best < 0 || before(order, i, order_of(scores[best]), best))
            best = i;
    }
    return best;
}

/* Put `value` where it belongs among `count` ascending ones. */
static void insert(int32_t *sorted, int64_t count, int32_t value)
{
    int64_t at = count;
    for (; at > 0 && sorted[at - 1] > value; at--)
        sorted[at] = sorted[at - 1];
    sorted[at] = value;
}

int64_t shoal_route_row(const shoal_ops_row *ops, const float *scores, int64_t experts,
                        int64_t chosen, bool renormalize, int32_t *index, float *weight,
                        float *scratch)
{
    const int64_t first = next_best(scores, experts, -1);
    int64_t errors = 0, last = -1;
    float sum = 0.0f;
    for (int64_t i = 0; i < chosen; i++) {
        last = i == 0 ? first : next_best(scores, experts, last);
        insert(index, i, (int32_t)last);
    }
    for (int64_t i = 0; i < experts; i++) {
        errors |= !isfinite(scores[i]);
        scratch[i] = scores[i] - scores[first];
    }
    ops->map(SHOAL_MAP_EXP, scratch, experts, scratch);
    for (int64_t i = 0; i < (renormalize ? chosen : experts); i++)
        sum += scratch[renormalize ? index[i] : i];
    for (int64_t i = 0; i < chosen; i++)
        weight[i] = scratch[index[i]] / sum;
    return errors;
}

float shoal_route_shared(float score)
{
    return 1.0f / (1.0f + shoal_expf(-score));
}
