/* coordinator/cli/inspection.h - a model that `shoal inspect` looks at, and what it says of it.
 *
 * A folder whose tensors can be listed is inspected even when no model can be made of it; then
 * `problem` and its sentence say why, and what needs a model fails with them. */
#ifndef SHOAL_COORDINATOR_CLI_INSPECTION_H
#define SHOAL_COORDINATOR_CLI_INSPECTION_H

#include <jansson.h>

#include "coordinator/cli/options.h"
#include "shard/dialect.h"

typedef struct {
    const shoal_options *options;
    const char *path; /* of the model */
    shoal_checkpoint *checkpoint;
    shoal_model *model;
    shoal_manifest *manifest; /* NULL: the model cannot be read as one; see problem */
    shoal_status problem;
    char sentence[SHOAL_ERROR_MAX];
    const shoal_weight **owners; /* [tensors]: the weight that a tensor is part of, or NULL */
    const char **roles;          /* [tensors]: "q_proj", "q_proj.bias", ... or NULL         */
} shoal_inspection;

/* Close it whatever comes back; `out` is {0} before. */
SHOAL_MUST_USE shoal_status shoal_inspection_open(const shoal_options *options, const char *path,
                                                  shoal_inspection *out);
void shoal_inspection_close(shoal_inspection *inspection);

/* The problem, where there is one. */
SHOAL_MUST_USE shoal_status shoal_inspection_need(const shoal_inspection *inspection);

/* Name of the dialect that reads it, or NULL. */
const char *shoal_inspection_dialect(const shoal_weight *owner);

/* inspect_list.c: all tensors, as JSON, as a page by role, or as a table. */
SHOAL_MUST_USE shoal_status shoal_inspect_json(const shoal_inspection *inspection);
SHOAL_MUST_USE shoal_status shoal_inspect_page(const shoal_inspection *inspection);
SHOAL_MUST_USE shoal_status shoal_inspect_table(const shoal_inspection *inspection);

/* {"method", "bits", "group_size", "symmetric", "desc_act"} */
json_t *shoal_inspect_quantization(const shoal_inspection *inspection);

/* [2, 3] */
json_t *shoal_inspect_shape(const shoal_tensor *tensor);

/* inspect_tensor.c: one linear or tensor, with statistics and a histogram of its codes. */
SHOAL_MUST_USE shoal_status shoal_inspect_tensor(const shoal_inspection *inspection,
                                                 const char *name);

/* inspect_compare.c: where `first` and `second` differ in the canonical form. */
SHOAL_MUST_USE shoal_status shoal_inspect_compare(const shoal_inspection *first,
                                                  const shoal_inspection *second);

#endif
