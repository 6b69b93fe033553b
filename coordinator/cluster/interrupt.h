/* coordinator/cluster/interrupt.h - Ctrl-C and its relatives, without leaving anything behind.
 *
 * While somebody who must clean up listens, SIGINT, SIGTERM and SIGHUP only raise a flag (and make
 * a descriptor readable, for poll); the work ends with SHOAL_ERR_TEMPORARY, everything is taken
 * down, and at the very end the signal is raised again with its default action, so that a shell
 * sees what it expects. A second signal does not wait: it ends the process at once. */
#ifndef SHOAL_COORDINATOR_CLUSTER_INTERRUPT_H
#define SHOAL_COORDINATOR_CLUSTER_INTERRUPT_H

#include "proto/status.h"

/* Start listening; calls may repeat. *fd is readable after a signal and belongs to this file. */
SHOAL_MUST_USE shoal_status shoal_interrupt_listen(int *fd);

/* SHOAL_ERR_TEMPORARY naming the signal once one has come. */
SHOAL_MUST_USE shoal_status shoal_interrupt_check(void);

/* The same two for work that a descriptor of the caller (`stop_fd` > 0) ends once it is readable,
 * instead of signals (`stop_fd` 0): what to poll, and "stopped" or the signal. */
SHOAL_MUST_USE shoal_status shoal_interrupt_source(int stop_fd, int *fd);
SHOAL_MUST_USE shoal_status shoal_interrupt_asked(int stop_fd);

/* Raise the signal that came, if any, with its default action. */
void shoal_interrupt_finish(void);

#endif
