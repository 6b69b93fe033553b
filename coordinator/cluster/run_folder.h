/* coordinator/cluster/run_folder.h - a place for the files of one start, and the broom.
 *
 * mpirun's session files, the control socket and the token lie in a private folder under TMPDIR;
 * the ranks' shared memory segments in one under /dev/shm. Both are removed at the end. When this
 * process is killed nobody removes them: they are locked while it lives, and the next start sweeps
 * away what is no longer locked. */
#ifndef SHOAL_COORDINATOR_CLUSTER_RUN_FOLDER_H
#define SHOAL_COORDINATOR_CLUSTER_RUN_FOLDER_H

#include <limits.h>

#include "proto/status.h"

typedef struct {
    char path[PATH_MAX];
    char shared[64];       /* "" when there is no /dev/shm */
    int lock, shared_lock; /* -1: none */
} shoal_run_folder;

SHOAL_MUST_USE shoal_status shoal_run_folder_create(shoal_run_folder *out);

/* Remove the folders with what is in them. A zeroed record is fine. */
void shoal_run_folder_remove(shoal_run_folder *folder);

#endif
