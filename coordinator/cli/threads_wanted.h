/* coordinator/cli/threads_wanted.h - how many threads a verb without ranks works on: --threads, or
 * as many as cores are allowed, at least 1. */
#ifndef SHOAL_COORDINATOR_CLI_THREADS_WANTED_H
#define SHOAL_COORDINATOR_CLI_THREADS_WANTED_H

#include "coordinator/cli/options.h"

int shoal_threads_wanted(const shoal_options *options);

#endif
