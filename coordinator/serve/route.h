/* coordinator/serve/route.h - which paths there are, and what each needs.
 *
 * One table, from which methods, keys and readiness are checked for all routes alike. Pure. */
#ifndef SHOAL_COORDINATOR_SERVE_ROUTE_H
#define SHOAL_COORDINATOR_SERVE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    SHOAL_ROUTE_PAGE,
    SHOAL_ROUTE_LIVE,
    SHOAL_ROUTE_READY,
    SHOAL_ROUTE_METRICS,
    SHOAL_ROUTE_MODELS,
    SHOAL_ROUTE_MODEL,
    SHOAL_ROUTE_CHAT,
    SHOAL_ROUTE_COMPLETION,
    SHOAL_ROUTE_TOKENIZE,
    SHOAL_ROUTE_DETOKENIZE,
    SHOAL_ROUTE_NONE
} shoal_route_id;

/* What has to be true before a request is read. */
typedef enum {
    SHOAL_NEEDS_NOTHING,
    SHOAL_NEEDS_MODEL,  /* it has been loaded once */
    SHOAL_NEEDS_SERVING /* workers compute, and newcomers are taken */
} shoal_route_needs;

typedef struct {
    shoal_route_id id;
    const char *path; /* ends with '/': what follows is a parameter */
    bool post;        /* POST; else GET and HEAD */
    bool public;      /* needs no key */
    shoal_route_needs needs;
} shoal_route;

/* The route of a path, or NULL. */
const shoal_route *shoal_route_find(const char *path);

/* The parameter of a path, with its %XX as the bytes they stand for; "" if the route takes none.
 * False when it does not fit into `room` bytes, or a '%' is not followed by two digits or by 00. */
bool shoal_route_parameter(const shoal_route *route, const char *path, char *out, size_t room);

bool shoal_route_allows(const shoal_route *route, const char *method);

/* "POST" or "GET, HEAD". */
const char *shoal_route_methods(const shoal_route *route);

#endif
