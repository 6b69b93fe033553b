/* coordinator/cli/verb_bench.h - the kinds of `shoal bench` that have a file of their own. */
#ifndef SHOAL_COORDINATOR_CLI_VERB_BENCH_H
#define SHOAL_COORDINATOR_CLI_VERB_BENCH_H

#include "coordinator/cli/options.h"

/* Inside an MPI launch every rank calls these, but for load and convert. */
shoal_status shoal_verb_bench_convert(const shoal_options *options);
shoal_status shoal_verb_bench_load(const shoal_options *options);
shoal_status shoal_verb_bench_model(const shoal_options *options);
shoal_status shoal_verb_bench_scaling(const shoal_options *options);
shoal_status shoal_verb_bench_reduce(const shoal_options *options);

#endif
