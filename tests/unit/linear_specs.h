/* tests/unit/linear_specs.h - shapes that tests of linears begin with. */
#ifndef SHOAL_TESTS_LINEAR_SPECS_H
#define SHOAL_TESTS_LINEAR_SPECS_H

#include "kernels/linear.h"

static const shoal_linear_spec int4_g128 = {.kind = SHOAL_WEIGHT_INT4,
                                            .dtype = SHOAL_F16,
                                            .n = 64,
                                            .k = 256,
                                            .group = 128,
                                            .zero_const = 8,
                                            .act = SHOAL_ACT_INT8,
                                            .act_group = 128};

/* zeros, mins and scale types take turns over the shapes; so do the row counts. */
static inline shoal_linear_spec vary(shoal_linear_spec s, unsigned turn)
{
    static const shoal_dtype types[] = {SHOAL_F16, SHOAL_BF16, SHOAL_F32};
    s.dtype = types[turn % 3];
    s.has_zeros = turn % 2;
    s.has_mins = turn % 4 == 2 || turn % 8 == 3;
    s.zero_const = s.kind == SHOAL_WEIGHT_INT4 ? 8 : 128;
    return s;
}

#endif
