/* coordinator/step_builder.h - from what sequences contribute to the block of a step.
 *
 * Whoever schedules says which rows of which sequence and in which pages; the builder lays out the
 * block of worker/step.h and keeps its memory for the next one. */
#ifndef SHOAL_COORDINATOR_STEP_BUILDER_H
#define SHOAL_COORDINATOR_STEP_BUILDER_H

#include <stdint.h>

#include "proto/status.h"
#include "worker/step.h"

/* One sequence's share; everything is borrowed while the block is built. Its known tokens are
 * prompt[0, prompt_count) and then output[0, output_count). */
typedef struct {
    uint64_t id;
    const int32_t *prompt, *output;
    int64_t prompt_count, output_count;
    int64_t position, rows;
    const int32_t *pages; /* from position 0 on, covering position + rows tokens at least */
    shoal_want want;
    const shoal_sampling *sampling;
    const shoal_step_bias *biases;
    int32_t bias_count;
    const uint32_t *mask; /* a bit per id that may be chosen; NULL: all may */
    int32_t mask_words;
} shoal_step_part;

typedef struct {
    void *block;
    uint64_t bytes; /* of the step built last */
    uint64_t room;
} shoal_step_builder;

/* Build step `number` of `count` >= 1 parts. */
SHOAL_MUST_USE shoal_status shoal_step_build(shoal_step_builder *builder,
                                             const shoal_step_part *parts, int count,
                                             uint64_t number);
void shoal_step_builder_free(shoal_step_builder *builder);

#endif
