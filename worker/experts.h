/* worker/experts.h - the MLP of a layer of experts on one rank (docs/arithmetic.md rule 4).
 *
 * Every rank scores and chooses for every row; then the rows of a step are sorted by expert, each
 * expert's go through it together, and the weighted unit sums are added up in the rank's slot. The
 * experts that no row chose are not touched. */
#ifndef SHOAL_WORKER_EXPERTS_H
#define SHOAL_WORKER_EXPERTS_H

#include "worker/forward.h"

/* From the normed rows of stage GATE_UP to the unit sums in this rank's slot. */
SHOAL_MUST_USE shoal_status shoal_experts_step(const shoal_forward *f, int64_t layer, int64_t rows);

#endif
