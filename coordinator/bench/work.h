/* coordinator/bench/work.h - what a step of a model costs at least: bytes and operations.
 *
 * From headers alone, as the plan is. The bytes are those of the packed linears of all ranks
 * (codes, scales, zeros, minimums): a decode step reads each once, whatever the batch. Of the
 * embedding table it reads a row, of the KV pages what the context holds; neither is counted. A
 * multiply and an add are two operations; attention is not counted. */
#ifndef SHOAL_COORDINATOR_BENCH_WORK_H
#define SHOAL_COORDINATOR_BENCH_WORK_H

#include "kernels/yardstick.h"
#include "proto/status.h"
#include "worker/worker.h"

/* The linears of a layer as operations of kernels/backend.h see them on rank 0: one or several in
 * one call, outputs of all together; op NULL: the rank has no such call. */
typedef struct {
    const char *name, *op; /* "gate_up", "gated" */
    int64_t n, k;
} shoal_bench_linear_shape;

enum {
    SHOAL_BENCH_SHAPES = 5,  /* qkv, o, gate_up, down, lm_head */
    SHOAL_BENCH_PRODUCTS = 4 /* bits of shoal_peak_product     */
};

typedef struct {
    double weight_bytes;                        /* of all linears                            */
    double layer_operations;                    /* of a row of a step, in all layers         */
    double head_operations;                     /* of a row whose logits are wanted, lm_head */
    double operations_of[SHOAL_BENCH_PRODUCTS]; /* those of the layers, by product */
    shoal_peak_product product; /* what most of them are: its peak is the limit of all */
    shoal_bench_linear_shape shapes[SHOAL_BENCH_SHAPES]; /* of layer 0 and lm_head */
} shoal_bench_work;

/* For the model, quantization and activations of the settings, cut over `ranks`. */
SHOAL_MUST_USE shoal_status shoal_bench_work_of(const shoal_worker_settings *settings, int ranks,
                                                shoal_bench_work *out);

#endif
