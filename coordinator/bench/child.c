#include "coordinator/bench/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coordinator/clock.h"
#include "coordinator/cluster/interrupt.h"

#define TERM_SECONDS 10.0
#define TICK_MICROS  5000

/* ---- start ----------------------------------------------------------------------------------- */

/* In the child: only calls that are safe after fork. `failure` closes on exec, else takes errno. */
static void become(const char *const *words, const char *folder, pid_t parent, int output,
                   int failure)
{
    sigset_t none;
    const int null = open("/dev/null", O_RDONLY);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)setsid();
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent && null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
        dup2(output, STDOUT_FILENO) >= 0 && (!folder || chdir(folder) == 0))
        (void)execvp(words[0], (char *const *)(uintptr_t)words);
    const int error = errno;
    if (write(failure, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

static shoal_status fork_child(const char *const *words, const char *folder, int output,
                               const int failure[2], shoal_bench_child *child)
{
    int error;
    ssize_t n;
    const pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "fork: %s", strerror(errno));
    if (pid == 0)
        become(words, folder, parent, output, failure[1]);
    (void)close(failure[1]);
    do
        n = read(failure[0], &error, sizeof error);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof error) {
        (void)waitpid(pid, NULL, 0);
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "%s cannot be started: %s", words[0],
                          strerror(error));
    }
    child->pid = pid;
    return SHOAL_OK;
}

shoal_status shoal_bench_child_start(const char *const *words, const char *folder,
                                     shoal_bench_child *out)
{
    int output[2], failure[2];
    shoal_bench_child child = {.output = -1};
    const char *slash = strrchr(words[0], '/');
    (void)snprintf(child.name, sizeof child.name, "%s", slash ? slash + 1 : words[0]);
    if (pipe2(output, O_CLOEXEC) != 0)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "pipe: %s", strerror(errno));
    if (pipe2(failure, O_CLOEXEC) != 0) {
        (void)close(output[0]);
        (void)close(output[1]);
        return shoal_fail(SHOAL_ERR_TEMPORARY, "pipe: %s", strerror(errno));
    }
    const shoal_status st = fork_child(words, folder, output[1], failure, &child);
    (void)close(output[1]);
    (void)close(failure[0]);
    if (st != SHOAL_OK) {
        (void)close(output[0]);
        return st;
    }
    child.output = output[0];
    *out = child;
    return SHOAL_OK;
}

/* ---- while it runs --------------------------------------------------------------------------- */

static bool poll_end(shoal_bench_child *child)
{
    if (!child->ended && waitpid(child->pid, &child->wait_status, WNOHANG) == child->pid)
        child->ended = true;
    return child->ended;
}

static bool wait_end(shoal_bench_child *child, double seconds)
{
    const double end = shoal_clock_seconds() + seconds;
    while (!poll_end(child) && shoal_clock_seconds() < end)
        (void)usleep(TICK_MICROS);
    return child->ended;
}

static shoal_status how_it_ended(const shoal_bench_child *child)
{
    const int status = child->wait_status;
    if (WIFSIGNALED(status))
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "%s was killed by signal %d (%s)", child->name,
                          WTERMSIG(status), strsignal(WTERMSIG(status)));
    return shoal_fail(SHOAL_ERR_UNAVAILABLE, "%s ended with code %d", child->name,
                      WEXITSTATUS(status));
}

shoal_status shoal_bench_child_check(shoal_bench_child *child, double seconds)
{
    return wait_end(child, seconds) ? how_it_ended(child) : SHOAL_OK;
}

/* Closing its stdout is as good as ending. */
static shoal_status closed_output(shoal_bench_child *child)
{
    SHOAL_TRY(shoal_bench_child_check(child, 1.0));
    return shoal_fail(SHOAL_ERR_UNAVAILABLE, "%s closed its output without a line", child->name);
}

shoal_status shoal_bench_child_line(shoal_bench_child *child, char *out, size_t room)
{
    int signal_fd;
    SHOAL_TRY(shoal_interrupt_listen(&signal_fd));
    for (size_t used = 0; used + 1 < room;) {
        struct pollfd fds[] = {{child->output, POLLIN, 0}, {signal_fd, POLLIN, 0}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return shoal_fail(SHOAL_ERR_TEMPORARY, "poll: %s", strerror(errno));
        SHOAL_TRY(shoal_interrupt_check());
        if (!fds[0].revents)
            continue;
        const ssize_t n = read(child->output, out + used, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return closed_output(child);
        if (out[used] == '\n') {
            out[used] = '\0';
            return SHOAL_OK;
        }
        used++;
    }
    return shoal_fail(SHOAL_ERR_UNAVAILABLE, "%s prints something else than one line", child->name);
}

bool shoal_bench_child_stop(shoal_bench_child *child, double grace)
{
    if (child->pid <= 0)
        return false;
    const bool by_itself = wait_end(child, grace);
    if (!by_itself) {
        (void)kill(child->pid, SIGTERM);
        if (!wait_end(child, TERM_SECONDS)) {
            (void)kill(-child->pid, SIGKILL);
            child->ended = waitpid(child->pid, &child->wait_status, 0) == child->pid;
        }
    }
    (void)close(child->output);
    child->pid = 0;
    return by_itself && WIFEXITED(child->wait_status) && WEXITSTATUS(child->wait_status) == 0;
}
