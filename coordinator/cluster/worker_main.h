/* coordinator/cluster/worker_main.h - the other end of a control link: one rank as a program.
 *
 * The rank connects, proves the token, gets its settings (Load), opens its worker, says Ready, and
 * then computes: rank 0 what the Steps say, the others what rank 0 broadcasts. An auxiliary thread
 * owns the receiving side of the link: it queues messages, sends a heartbeat every half second,
 * and ends the process at once when the coordinator is gone. */
#ifndef SHOAL_COORDINATOR_CLUSTER_WORKER_MAIN_H
#define SHOAL_COORDINATOR_CLUSTER_WORKER_MAIN_H

#include <stdbool.h>

#include "proto/status.h"

/* `token_file` is a path, or "env:NAME". Returns what the rank ended with; the coordinator has
 * been told. */
SHOAL_MUST_USE shoal_status shoal_worker_main(const char *address, const char *token_file,
                                              bool force_network);

#endif
