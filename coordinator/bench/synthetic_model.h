/* coordinator/bench/synthetic_model.h - a checkpoint of a known shape with random weights.
 *
 * Speed does not depend on what a model says, so a bench needs none: it writes a Llama-shaped
 * folder of GPTQ int4 weights (symmetric, groups of 128, fp16 scales, lm_head too; the embedding
 * table is bf16) and loads it like any other. Scales are such that outputs stay about as large as
 * inputs. The same shape and seed give the same bytes. Weights are streamed, never held. */
#ifndef SHOAL_COORDINATOR_BENCH_SYNTHETIC_MODEL_H
#define SHOAL_COORDINATOR_BENCH_SYNTHETIC_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

typedef struct {
    const char *name; /* "1b", "3b", "tiny" */
    int64_t layers, hidden, intermediate, heads, kv_heads, head_dim, vocab, context;
    bool tied; /* the embedding table is lm_head, too */
} shoal_bench_shape;

/* NULL when there is no such shape. */
const shoal_bench_shape *shoal_bench_shape_find(const char *name);

/* Write config.json and model.safetensors into an existing folder. SHOAL_ERR_TEMPORARY after a
 * signal to this process; what was written by then is the caller's to remove. */
SHOAL_MUST_USE shoal_status shoal_bench_synthetic_write(const shoal_bench_shape *shape,
                                                        uint64_t seed, const char *folder);

#endif
