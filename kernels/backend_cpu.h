/* kernels/backend_cpu.h - inside of the CPU filling of kernels/backend.h; for its own files only.
 *
 * Operations share rows, heads or panels among the threads of one pool; which thread does what
 * never changes a bit, because no sum is cut between threads. */
#ifndef SHOAL_KERNELS_BACKEND_CPU_H
#define SHOAL_KERNELS_BACKEND_CPU_H

#include "kernels/attention.h"
#include "kernels/backend.h"
#include "kernels/ops.h"
#include "kernels/quantize_rows.h"

/* A block of queries of the attention step (kernels/backend_cpu_attention.c). */
typedef struct shoal_attention_block shoal_attention_block;

typedef struct {
    shoal_backend base;
    shoal_pool *pool;
    const shoal_ops_row *ops;
    const shoal_attention_row *attention;
    const shoal_quantize_row *quantize;
    float *scratch;        /* [threads][scratch_each]                                          */
    int64_t scratch_each;  /* floats, a multiple of 16                                         */
    int32_t *row_sequence; /* [row_room]: the sequence a row of the step belongs to, or -1     */
    int64_t row_room;
    shoal_attention_block *blocks; /* [block_room]                                             */
    int64_t block_room;
    float *parts; /* [part_room]: of the blocks that several threads attend                    */
    int64_t part_room;
} shoal_backend_cpu;

/* Room for `each` floats on every thread; what was in it is lost. */
SHOAL_MUST_USE shoal_status shoal_backend_cpu_scratch(shoal_backend_cpu *cpu, int64_t each);

shoal_status shoal_backend_cpu_attention(shoal_backend *backend, const shoal_attention_args *args);

#endif
