/* coordinator/text/normalizer.h - what happens to text before it is cut: a list of steps.
 *
 * Filled while a tokenizer is opened, read-only afterwards. No step is the identity. */
#ifndef SHOAL_COORDINATOR_TEXT_NORMALIZER_H
#define SHOAL_COORDINATOR_TEXT_NORMALIZER_H

#include <stddef.h>

#include "coordinator/text/growable.h"

#define SHOAL_NORMALIZER_STEPS_MAX 16

/* One row of the table of kinds in normalizer.c. */
typedef struct shoal_normalizer_kind shoal_normalizer_kind;

typedef struct {
    const shoal_normalizer_kind *steps[SHOAL_NORMALIZER_STEPS_MAX];
    int count;
} shoal_normalizer;

/* Add the step that tokenizer.json calls `name`; SHOAL_ERR_DATA when it is unsupported. */
SHOAL_MUST_USE shoal_status shoal_normalizer_add(shoal_normalizer *normalizer, const char *name);

/* Replace the contents of *out by the normalized text (valid UTF-8 in, valid UTF-8 out). */
SHOAL_MUST_USE shoal_status shoal_normalizer_run(const shoal_normalizer *normalizer,
                                                 const char *text, size_t bytes, shoal_strbuf *out);

#endif
