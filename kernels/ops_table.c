#include "kernels/ops.h"

const shoal_ops_row *const shoal_ops_rows[] = {
#if defined(__x86_64__)
    &shoal_ops_avx512,
    &shoal_ops_avx2,
#endif
    &shoal_ops_ref,
};

const int shoal_ops_row_count = (int)(sizeof shoal_ops_rows / sizeof shoal_ops_rows[0]);

const shoal_ops_row *shoal_ops_pick(shoal_cpu_level cap)
{
    for (int i = 0; i < shoal_ops_row_count; i++) {
        const shoal_ops_row *row = shoal_ops_rows[i];
        if (row->needs <= cap && shoal_cpu_has(row->needs))
            return row;
    }
    return &shoal_ops_ref;
}
