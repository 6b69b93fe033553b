/* coordinator/cluster/mailbox.h - a rank's control link with a thread of its own.
 *
 * The thread receives into a short queue, sends heartbeats, and watches: when the coordinator
 * closes the link, or dies, the process ends there and then (_exit), wherever its other threads
 * are, because nobody would ever tell it to stop. Sending is for any thread. */
#ifndef SHOAL_COORDINATOR_CLUSTER_MAILBOX_H
#define SHOAL_COORDINATOR_CLUSTER_MAILBOX_H

#include "worker/link.h"
#include "worker/worker.h"

typedef struct shoal_mailbox shoal_mailbox;

/* Takes over a link that has been introduced. */
SHOAL_MUST_USE shoal_status shoal_mailbox_open(shoal_link *link, shoal_mailbox **out);

/* The coordinator may leave from now on: its going is no accident. */
void shoal_mailbox_leave(shoal_mailbox *mailbox);

/* The next message; waits for ever. The caller frees it. */
void shoal_mailbox_next(shoal_mailbox *mailbox, shoal_wire_message *out);

/* Send. A coordinator that cannot be told anything is gone: the process ends. */
void shoal_mailbox_send(shoal_mailbox *mailbox, const shoal_wire_message *message);

/* What heartbeats say: the phase, and the worker's counters and timing once there is one. */
void shoal_mailbox_phase(shoal_mailbox *mailbox, shoal_wire_phase phase);
void shoal_mailbox_watch(shoal_mailbox *mailbox, shoal_worker *worker);

/* No heartbeat looks at the worker after this returns. */
void shoal_mailbox_unwatch(shoal_mailbox *mailbox);

#endif
