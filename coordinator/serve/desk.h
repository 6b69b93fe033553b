/* coordinator/serve/desk.h - where requests are taken in and answers given out.
 *
 * A request goes from the desk to a clerk, comes back as numbers, goes to the driver as sequences,
 * and what the driver says of them goes to the client (reply.h). The desk owns the clerks and all
 * replies, and knows whose each sequence is. Belongs to the thread of the sockets. */
#ifndef SHOAL_COORDINATOR_SERVE_DESK_H
#define SHOAL_COORDINATOR_SERVE_DESK_H

#include "coordinator/serve/clerk.h"
#include "coordinator/serve/reply.h"

typedef struct {
    shoal_driver *driver; /* borrowed, as all pointers here are */
    shoal_metrics *metrics;
    shoal_api_context api;
    shoal_reply_context replies;
    uint64_t bodies_max;           /* bytes of bodies that may wait for clerks */
    int64_t waiting_max;           /* sequences that may wait, as the driver was told */
    void (*notify)(void *context); /* from a clerk's thread: there is work for the desk */
    void *context;
} shoal_desk_settings;

typedef struct shoal_desk shoal_desk;

SHOAL_MUST_USE shoal_status shoal_desk_open(const shoal_desk_settings *settings, shoal_desk **out);

/* A request with its body: it will be answered. */
void shoal_desk_take(shoal_desk *desk, shoal_http_exchange *exchange, shoal_task_kind kind);

/* The exchange is lost; also one that was never at the desk. */
void shoal_desk_lose(shoal_desk *desk, shoal_http_exchange *exchange);

/* Pass on what clerks and driver have done. Not from inside of other calls. */
void shoal_desk_work(shoal_desk *desk);

/* Now and then, as shoal_desk_work: keep silent streams alive. */
void shoal_desk_tick(shoal_desk *desk);

/* Bodies that clerks have and that are not answered yet. */
int shoal_desk_reading(const shoal_desk *desk);

/* Answer all whose sequences are being computed with an error; how many sequences that were. */
int shoal_desk_cut_off(shoal_desk *desk);

/* When no exchange is left, and before the driver is destroyed. NULL is allowed. */
void shoal_desk_close(shoal_desk *desk);

#endif
