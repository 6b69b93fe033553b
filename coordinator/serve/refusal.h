/* coordinator/serve/refusal.h - what clients are told who come at the wrong moment.
 *
 * The server is not ready, full, ending or without memory: nothing is wrong with the request, so
 * each of these says when to come again. */
#ifndef SHOAL_COORDINATOR_SERVE_REFUSAL_H
#define SHOAL_COORDINATOR_SERVE_REFUSAL_H

#include <stdbool.h>

#include "coordinator/serve/api_error.h"
#include "coordinator/serve/driver.h"
#include "coordinator/serve/route.h"

/* True, with *error filled, when something stands in the way of these needs now. */
bool shoal_refusal_unready(shoal_driver *driver, shoal_route_needs needs, shoal_api_error *error);

/* Fill *error. */
void shoal_refusal_full(shoal_api_error *error);
void shoal_refusal_memory(shoal_api_error *error);
void shoal_refusal_recovering(shoal_api_error *error);

/* The workers, or the server, ended before the answer did. */
void shoal_refusal_cut_off(shoal_api_error *error);

#endif
