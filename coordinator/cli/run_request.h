/* coordinator/cli/run_request.h - from options to what engine and worker want to know, and the
 * parts of reports that all running verbs share. */
#ifndef SHOAL_COORDINATOR_CLI_RUN_REQUEST_H
#define SHOAL_COORDINATOR_CLI_RUN_REQUEST_H

#include <jansson.h>

#include "coordinator/cli/options.h"
#include "coordinator/cli/report.h"
#include "coordinator/engine.h"
#include "shard/model.h"
#include "shard/slices.h"

typedef struct {
    shoal_engine_request engine;
    double capacity[SHOAL_RANKS_MAX]; /* what engine.settings.capacity points to, if given */
    shoal_progress progress;
} shoal_run_request;

/* Settings of the worker for `ranks` ranks (capacity is checked against it). `capacity` has room
 * for SHOAL_RANKS_MAX numbers and must outlive the settings, as must the options. */
SHOAL_MUST_USE shoal_status shoal_settings_from(const shoal_options *options, int ranks,
                                                double *capacity, shoal_worker_settings *out);

/* The whole request, with a progress display. `out` must stay where it is while an engine opens. */
SHOAL_MUST_USE shoal_status shoal_run_request_from(const shoal_options *options,
                                                   shoal_run_request *out);

/* Pool and length for one-shot verbs: `tokens` of KV for all sequences together. Never changes
 * the length the model is set up for, unless memory is limited. */
void shoal_run_request_size(shoal_run_request *request, int64_t tokens, int64_t sequences);

/* Where the length decides about bits (shoal_model_minds_length) it is that of the longest sequence
 * of the run, unless --max-model-len gave one. */
void shoal_run_request_longest(shoal_run_request *request, const shoal_model *model,
                               int64_t longest);

/* Close the engine after work that ended with `st`: the first failure of the two, sentence and all.
 */
SHOAL_MUST_USE shoal_status shoal_run_request_close(shoal_engine *engine, shoal_status st);

/* {"q_proj": {"layout": ..., "decode": ..., "prefill": ...}, ...} */
json_t *shoal_json_kernels(const shoal_engine_kernel *kernels, int count);

/* The rows that a linear of this spec would choose, without a weight; named `role`. */
SHOAL_MUST_USE shoal_status shoal_predict_kernel(const shoal_linear_spec *spec, shoal_cpu_level cap,
                                                 const char *role, shoal_arena *arena,
                                                 shoal_engine_kernel *out);

/* The rows that rank 0 of this slicing would choose for layer 0 and lm_head, without a weight. */
SHOAL_MUST_USE shoal_status shoal_predict_kernels(const shoal_slicing *slicing, shoal_cpu_level cap,
                                                  shoal_engine_kernel *kernels, int *count);

/* [{"rank", "planned_read", "measured_read", "planned_resident", "measured_resident",
 *   "planned_streamed", "pinned"}] */
json_t *shoal_json_memory(const shoal_engine *engine);

#endif
