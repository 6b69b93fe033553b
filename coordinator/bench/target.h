/* coordinator/bench/target.h - the server under load: where it listens and how it is greeted.
 *
 * Plain HTTP only. A name is resolved once, before anything is measured. */
#ifndef SHOAL_COORDINATOR_BENCH_TARGET_H
#define SHOAL_COORDINATOR_BENCH_TARGET_H

#include <sys/socket.h>

#include "coordinator/text/growable.h"

#define SHOAL_BENCH_HOST_MAX 255
#define SHOAL_BENCH_KEY_MAX  1024

typedef struct {
    char host[SHOAL_BENCH_HOST_MAX + 1]; /* "127.0.0.1", "::1" (without brackets), "name" */
    int port;
    char authority[SHOAL_BENCH_HOST_MAX + 16]; /* as in the URL: "[::1]:8000" */
    char key[SHOAL_BENCH_KEY_MAX + 1];         /* bearer token; "": none */
    struct sockaddr_storage address;
    socklen_t address_bytes; /* 0: not resolved */
} shoal_bench_target;

/* "http://HOST[:PORT][/]", port 80 by default; SHOAL_ERR_USAGE for anything else. Pure. */
SHOAL_MUST_USE shoal_status shoal_bench_target_parse(const char *url, shoal_bench_target *out);

/* SHOAL_ERR_NOTFOUND when the name has no address. */
SHOAL_MUST_USE shoal_status shoal_bench_target_resolve(shoal_bench_target *target);

/* The first line of a file as key. SHOAL_ERR_NOTFOUND when it cannot be read, SHOAL_ERR_DATA when
 * it is empty, too long or holds what no header may hold. */
SHOAL_MUST_USE shoal_status shoal_bench_target_read_key(const char *path,
                                                        shoal_bench_target *target);

/* Append a whole POST request with this JSON body. */
SHOAL_MUST_USE shoal_status shoal_bench_target_request(const shoal_bench_target *target,
                                                       const char *path, const shoal_strbuf *body,
                                                       shoal_strbuf *out);

#endif
