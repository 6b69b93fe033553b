/* coordinator/serve/end_signals.h - SIGINT, SIGTERM and SIGHUP, counted.
 *
 * Each rings the bell of the server; what was ignored on purpose (nohup) stays ignored. One server
 * at a time. */
#ifndef SHOAL_COORDINATOR_SERVE_END_SIGNALS_H
#define SHOAL_COORDINATOR_SERVE_END_SIGNALS_H

#include "coordinator/serve/http_server.h"

/* Count from 0 on, and wake this server; NULL: nobody is woken any more. */
void shoal_end_signals_listen(shoal_http_server *server);

int shoal_end_signals_count(void);

#endif
