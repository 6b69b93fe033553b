/* worker/push.h - `--load push`: rank 0 reads the model for ranks that cannot see its files.
 *
 * The other ranks get a skeleton of the model folder in a private temporary directory: the small
 * JSON files whole, each weight file as what of it is no tensor, with holes of the right length.
 * They open it like any model, so every check runs everywhere; only reads of weight bytes are
 * answered by rank 0. Ranks load one after the other, each asking for exactly the ranges it needs.
 */
#ifndef SHOAL_WORKER_PUSH_H
#define SHOAL_WORKER_PUSH_H

#include "shard/checkpoint.h"
#include "worker/comm.h"

#define SHOAL_PUSH_PATH_MAX 4096

/* Collective. Rank 0 gives its open checkpoint and folder; the others get the path of their
 * skeleton in local[SHOAL_PUSH_PATH_MAX] (empty on rank 0). Ends in agreement. */
SHOAL_MUST_USE shoal_status shoal_push_share(shoal_comm *comm, const shoal_checkpoint *checkpoint,
                                             const char *folder, char *local);

/* Remove a skeleton; "" is allowed. */
void shoal_push_remove(const char *local);

typedef shoal_status (*shoal_push_task)(void *context);

/* Collective: every rank runs task(context) in its turn, rank 0 first; while a rank above 0 runs,
 * its checkpoint's reads are answered by rank 0. Returns this rank's own result; agree after. */
SHOAL_MUST_USE shoal_status shoal_push_turns(shoal_comm *comm, shoal_checkpoint *checkpoint,
                                             shoal_push_task task, void *context);

#endif
