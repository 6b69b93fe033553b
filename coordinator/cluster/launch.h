/* coordinator/cluster/launch.h - start mpirun, watch it, and leave nothing of it behind.
 *
 * mpirun gets a session of its own, an environment without the traces of other launches, and a
 * private folder for its files; everything it and the ranks print comes through one pipe. Lines
 * in the form of our log pass on to stderr; mpirun's own are kept and shown when a start fails.
 *
 * Nothing survives: mpirun gets SIGTERM when this process dies, the ranks die with mpirun (the
 * kernel's parent-death signal, set by the ranks) and when their control link closes; and stop
 * ends whatever still runs in the session, stopped processes too. The exit code of mpirun is a
 * hint, never a proof. Not here: the control link (coordinator/cluster/cluster.h).
 *
 * The kernel ties a parent-death signal to the *thread* that forked: the thread that starts a
 * launch must live as long as the launch. Other threads may run; the child makes only calls that
 * are safe after fork, inherits no descriptor but its output, and begins with all signals at their
 * defaults. */
#ifndef SHOAL_COORDINATOR_CLUSTER_LAUNCH_H
#define SHOAL_COORDINATOR_CLUSTER_LAUNCH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proto/status.h"

#define SHOAL_LAUNCH_WORDS_MAX 128
#define SHOAL_LAUNCH_TAIL      8192

typedef struct {
    int ranks;
    const char *program;          /* path of an executable                                    */
    const char *const *arguments; /* of the program; NULL at the end                          */
    const char *folder;           /* private, for mpirun's session files; or NULL             */
    const char *shared_folder;    /* private, in shared memory, for the ranks' segments; or NULL */
    const char *hostfile;         /* or NULL                                                  */
    const char *mpi_args;         /* or NULL                                                  */
    const char *const *variables; /* "NAME=value" for the ranks, NULL at the end; or NULL     */
    bool as_root;
} shoal_launch_request;

/* The words of the command line, for execve. Values of variables are not among them: everybody can
 * read those words. */
typedef struct {
    const char *words[SHOAL_LAUNCH_WORDS_MAX + 1]; /* NULL at the end */
    int count;
    char text[8192]; /* what some of them point to */
    size_t text_used;
} shoal_launch_command;

/* SHOAL_ERR_USAGE when mpi_args has an open quote or too many words. Pure. */
SHOAL_MUST_USE shoal_status shoal_launch_compose(const shoal_launch_request *request,
                                                 shoal_launch_command *out);

/* Does a variable ("NAME=value") survive into mpirun's environment? What other launches left
 * (OMPI_*, PMIX_*, ...) does not; parameters the user sets (OMPI_MCA_*) do. Pure. */
bool shoal_launch_keeps(const char *variable);

/* Path of this executable, as ranks on this host can start it. */
void shoal_own_path(char out[PATH_MAX]);

/* What mpirun says about the first rank that died: by which signal, or (signal 0) with which code.
 * It needs several lines for that: give them one by one to the same record, which begins with rank
 * -1. True once all is said. Pure. */
typedef struct {
    int rank, signal, code;
} shoal_launch_victim;
bool shoal_launch_parse_victim(const char *line, shoal_launch_victim *victim);

typedef struct {
    pid_t pid;  /* of mpirun; also its session. 0: none */
    int output; /* readable end of what it prints; -1: closed */
    bool ended;
    int wait_status; /* of mpirun, once ended */
    bool victim_known;
    shoal_launch_victim victim;
    char line[2048]; /* an unfinished line */
    size_t line_used;
    char tail[SHOAL_LAUNCH_TAIL]; /* mpirun's last own lines */
    size_t tail_used;
} shoal_launch;

/* SHOAL_ERR_UNAVAILABLE when there is no mpirun. */
SHOAL_MUST_USE shoal_status shoal_launch_start(const shoal_launch_request *request,
                                               shoal_launch *out);

/* Take what can be read and see whether mpirun has ended; never blocks. */
void shoal_launch_poll(shoal_launch *launch);

/* "mpirun was killed by signal 9 (Killed)" or "mpirun ended with code 1". */
void shoal_launch_describe_end(const shoal_launch *launch, char *out, size_t room);

/* Print mpirun's own last lines on stderr. */
void shoal_launch_show_tail(const shoal_launch *launch);

/* Let mpirun end by itself for `grace` seconds, then TERM, after a second KILL, and everything
 * that is left of its session; reap all. */
void shoal_launch_stop(shoal_launch *launch, double grace);

/* The same at once. Where ranks run on other hosts, stop is better: mpirun then tells them. */
void shoal_launch_kill(shoal_launch *launch);

#endif
