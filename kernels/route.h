/* kernels/route.h - which experts a row goes through (docs/arithmetic.md rule 4).
 *
 * Every rank does this for every row, from the same scores, so all ranks choose alike. */
#ifndef SHOAL_KERNELS_ROUTE_H
#define SHOAL_KERNELS_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/ops.h"

/* The `chosen` experts of the largest scores [experts], of equal ones the lower index: index
 * [chosen] in ascending order, and their weights [chosen]. The weights are exp(score - largest) by
 * its sum over the chosen ones (`renormalize`) or over all, in ascending order. `scratch`
 * [experts]. Returns 1 for a row error: a score that is not finite. */
int64_t shoal_route_row(const shoal_ops_row *ops, const float *scores, int64_t experts,
                        int64_t chosen, bool renormalize, int32_t *index, float *weight,
                        float *scratch);

/* 1 / (1 + exp(-score)), each step rounded. */
float shoal_route_shared(float score);

#endif
