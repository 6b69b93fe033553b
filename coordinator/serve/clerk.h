/* coordinator/serve/clerk.h - threads that turn bodies into requests.
 *
 * Parsing, rendering and tokenizing megabytes takes time that the thread of the sockets must not
 * spend: a few clerks do it. Tasks are done in the order they are given, except that short ones
 * may overtake a long one. */
#ifndef SHOAL_COORDINATOR_SERVE_CLERK_H
#define SHOAL_COORDINATOR_SERVE_CLERK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/serve/api_request.h"

#define SHOAL_CLERKS 2

typedef enum {
    SHOAL_TASK_CHAT,
    SHOAL_TASK_COMPLETION,
    SHOAL_TASK_TOKENIZE,
    SHOAL_TASK_DETOKENIZE
} shoal_task_kind;

/* One body, then what became of it: an error, a request, or (tokenize) the whole answer. */
typedef struct shoal_task {
    shoal_task_kind kind;
    char *body; /* owned */
    size_t bytes;
    void *user;
    bool fine; /* else `error` says what is wrong */
    shoal_api_request request;
    shoal_strbuf answer;
    shoal_api_error error;
    struct shoal_task *next;
} shoal_task;

SHOAL_MUST_USE shoal_status shoal_task_create(shoal_task_kind kind, char *body, size_t bytes,
                                              void *user, shoal_task **out);
void shoal_task_destroy(shoal_task *task);

typedef struct shoal_clerk shoal_clerk;

/* `context` is borrowed and must be filled before the first task; `waiting_max`: bytes of bodies
 * that may wait; `notify` is called from a clerk's thread when a task is done. */
SHOAL_MUST_USE shoal_status shoal_clerk_start(const shoal_api_context *context,
                                              uint64_t waiting_max, void (*notify)(void *),
                                              void *notify_context, shoal_clerk **out);

/* Hand a task over. False when too much waits already: the task is still the caller's. A body that
 * finds no other waiting is taken whatever its size. */
bool shoal_clerk_give(shoal_clerk *clerk, shoal_task *task);

/* The tasks that are done, as a list the caller owns; NULL if there are none. */
shoal_task *shoal_clerk_collect(shoal_clerk *clerk);

/* Wait for the tasks under way; all others are done as they are, not fine, to be collected. */
void shoal_clerk_stop(shoal_clerk *clerk);
void shoal_clerk_destroy(shoal_clerk *clerk);

#endif
