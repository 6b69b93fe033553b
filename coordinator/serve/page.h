/* coordinator/serve/page.h - the status and chat page: serve/page.html, part of the program. */
#ifndef SHOAL_COORDINATOR_SERVE_PAGE_H
#define SHOAL_COORDINATOR_SERVE_PAGE_H

#include <stddef.h>

/* One HTML document in UTF-8 that needs nothing else but this server: it reads /metrics and
 * /v1/models and streams /v1/chat/completions. Constant; no terminating NUL. */
const char *shoal_page(size_t *bytes);

#endif
