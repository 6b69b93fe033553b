/* coordinator/bench/child.h - a program started for a while: the server under load, or gnuplot.
 *
 * It gets a session of its own (Ctrl-C at the terminal is ours to hand on), our stderr, and a pipe
 * for its stdout. It is never left behind: the kernel sends it SIGTERM when this process dies, and
 * shoal_bench_child_stop waits until it is gone. */
#ifndef SHOAL_COORDINATOR_BENCH_CHILD_H
#define SHOAL_COORDINATOR_BENCH_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proto/status.h"

typedef struct {
    pid_t pid;     /* 0: none */
    char name[32]; /* of the program, for sentences */
    int output;    /* readable end of its stdout */
    bool ended;
    int wait_status; /* once ended */
} shoal_bench_child;

/* `words`: program (looked up in PATH) and arguments, NULL at the end. `folder`: where it runs, or
 * NULL. SHOAL_ERR_UNAVAILABLE when it cannot be started. */
SHOAL_MUST_USE shoal_status shoal_bench_child_start(const char *const *words, const char *folder,
                                                    shoal_bench_child *out);

/* Wait for the next line of its stdout. SHOAL_ERR_UNAVAILABLE when it ends before, or says more
 * than `room` bytes without a line end; SHOAL_ERR_TEMPORARY after a signal to us. */
SHOAL_MUST_USE shoal_status shoal_bench_child_line(shoal_bench_child *child, char *out,
                                                   size_t room);

/* SHOAL_ERR_UNAVAILABLE saying how it ended, if it did; an end that may be under way gets
 * `seconds` to come. */
SHOAL_MUST_USE shoal_status shoal_bench_child_check(shoal_bench_child *child, double seconds);

/* Let it end by itself for `grace` seconds, then SIGTERM, after ten seconds SIGKILL; reap it.
 * True when it ended by itself with code 0. */
bool shoal_bench_child_stop(shoal_bench_child *child, double grace);

#endif
