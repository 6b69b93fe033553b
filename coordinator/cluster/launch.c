#include "coordinator/cluster/launch.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coordinator/clock.h"
#include "proto/arena.h"
#include "proto/log.h"

extern char **environ;

#define TERM_SECONDS 1.0
#define KILL_SECONDS 1.0
#define TICK_MILLIS  5

void shoal_own_path(char out[PATH_MAX])
{
    const ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = '\0';
}

/* ---- start ----------------------------------------------------------------------------------- */

/* What the child needs, made before the fork. */
typedef struct {
    char path[PATH_MAX]; /* of mpirun */
    shoal_launch_command command;
    const char **environment;
    pid_t parent;
    int output;  /* becomes stdout and stderr */
    int failure; /* closes on exec; else takes errno */
} child_plan;

/* As a shell finds it. */
static shoal_status find_mpirun(char out[PATH_MAX])
{
    const char *path = getenv("PATH");
    for (const char *at = path ? path : "/usr/bin:/bin"; *at;) {
        const size_t n = strcspn(at, ":");
        if (n > 0 && snprintf(out, PATH_MAX, "%.*s/mpirun", (int)n, at) < PATH_MAX &&
            access(out, X_OK) == 0)
            return SHOAL_OK;
        at += n + (at[n] == ':');
    }
    return shoal_fail(SHOAL_ERR_UNAVAILABLE,
                      "mpirun was not found; install Open MPI (Debian: openmpi-bin), or run the "
                      "ranks in this process with --emulate-ranks");
}

static bool same_name(const char *a, const char *b)
{
    const size_t n = strcspn(a, "=");
    return strncmp(a, b, n) == 0 && b[n] == '=';
}

static bool among(const char *variable, const char *const *list)
{
    for (; list && *list; list++)
        if (same_name(*list, variable))
            return true;
    return false;
}

/* Ours with those of the request, which come instead of others of the same name. */
static shoal_status make_environment(const char *const *variables, const char ***out)
{
    size_t count = 0, more = 0, used = 0;
    void *array;
    while (environ[count])
        count++;
    while (variables && variables[more])
        more++;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, count + more + 1, sizeof(char *), &array));
    const char **list = array;
    for (size_t i = 0; i < count; i++)
        if (shoal_launch_keeps(environ[i]) && !among(environ[i], variables))
            list[used++] = environ[i];
    for (size_t i = 0; i < more; i++)
        list[used++] = variables[i];
    *out = list;
    return SHOAL_OK;
}

/* All signals are blocked here: a handler of ours must not run in the child. */
static void reset_signals(void)
{
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_DFL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child: only calls that are safe after fork, and plain system calls. */
static void become_mpirun(const child_plan *plan)
{
    const int null = open("/dev/null", O_RDONLY);
    reset_signals();
    (void)setsid();
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == plan->parent && null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
        dup2(plan->output, STDOUT_FILENO) >= 0 && dup2(plan->output, STDERR_FILENO) >= 0) {
        (void)close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC);
        (void)execve(plan->path, (char *const *)(uintptr_t)plan->command.words,
                     (char *const *)(uintptr_t)plan->environment);
    }
    const int error = errno;
    if (write(plan->failure, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

static pid_t fork_with_signals_blocked(const child_plan *plan)
{
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const pid_t pid = fork();
    if (pid == 0)
        become_mpirun(plan);
    const int error = errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

static shoal_status fork_mpirun(child_plan *plan, const int failure[2], shoal_launch *launch)
{
    int error = 0;
    const pid_t pid = fork_with_signals_blocked(plan);
    if (pid < 0)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "fork: %s", strerror(errno));
    (void)close(failure[1]);
    ssize_t n;
    do
        n = read(failure[0], &error, sizeof error);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof error) {
        (void)waitpid(pid, NULL, 0);
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "mpirun cannot be started: %s", strerror(error));
    }
    launch->pid = pid;
    return SHOAL_OK;
}

static shoal_status start_with_pipes(child_plan *plan, shoal_launch *launch)
{
    int output[2], failure[2];
    if (pipe2(output, O_CLOEXEC) != 0)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "pipe: %s", strerror(errno));
    if (pipe2(failure, O_CLOEXEC) != 0) {
        (void)close(output[0]);
        (void)close(output[1]);
        return shoal_fail(SHOAL_ERR_TEMPORARY, "pipe: %s", strerror(errno));
    }
    plan->output = output[1];
    plan->failure = failure[1];
    const shoal_status st = fork_mpirun(plan, failure, launch);
    (void)close(output[1]);
    (void)close(failure[0]);
    if (st != SHOAL_OK) {
        (void)close(output[0]);
        return st;
    }
    (void)fcntl(output[0], F_SETFL, O_NONBLOCK);
    launch->output = output[0];
    return SHOAL_OK;
}

/* Ranks orphaned by mpirun's death become our children, so that we can reap them. */
shoal_status shoal_launch_start(const shoal_launch_request *request, shoal_launch *out)
{
    child_plan plan = {.parent = getpid()};
    *out = (shoal_launch){.output = -1, .victim.rank = -1};
    SHOAL_TRY(find_mpirun(plan.path));
    SHOAL_TRY(shoal_launch_compose(request, &plan.command));
    SHOAL_TRY(make_environment(request->variables, &plan.environment));
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        shoal_log(SHOAL_LOG_WARN, "launch", "cannot become a subreaper: %s", strerror(errno));
    const shoal_status st = start_with_pipes(&plan, out);
    shoal_free(plan.environment);
    if (st == SHOAL_OK)
        shoal_log(SHOAL_LOG_INFO, "launch", "mpirun has the process id %ld", (long)out->pid);
    return st;
}

/* ---- what it prints -------------------------------------------------------------------------- */

/* "2026-11-21T12:34:56.789Z ..." or {"time":...: a line of proto/log.h, whole and signed. */
static bool is_log_line(const char *line)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ ";
    if (strncmp(line, "{\"time\":\"", 9) == 0)
        return true;
    for (size_t i = 0; shape[i]; i++)
        if (shape[i] == 'd' ? !isdigit((unsigned char)line[i]) : line[i] != shape[i])
            return false;
    return true;
}

static void keep_in_tail(shoal_launch *launch, const char *line)
{
    const size_t n = strlen(line);
    if (launch->tail_used + n + 2 > sizeof launch->tail) {
        const size_t half = launch->tail_used / 2;
        memmove(launch->tail, launch->tail + half, launch->tail_used - half);
        launch->tail_used -= half;
    }
    memcpy(launch->tail + launch->tail_used, line, n);
    launch->tail_used += n;
    launch->tail[launch->tail_used++] = '\n';
    launch->tail[launch->tail_used] = '\0';
}

static void take_line(shoal_launch *launch, char *line)
{
    if (is_log_line(line)) {
        (void)fprintf(stderr, "%s\n", line);
        return;
    }
    if (!launch->victim_known)
        launch->victim_known = shoal_launch_parse_victim(line, &launch->victim);
    keep_in_tail(launch, line);
    shoal_log(SHOAL_LOG_DEBUG, "mpirun", "%s", line);
}

static void take_bytes(shoal_launch *launch, const char *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        const bool full = launch->line_used + 1 >= sizeof launch->line;
        if (data[i] != '\n' && data[i] != '\0' && !full)
            launch->line[launch->line_used++] = data[i];
        if (data[i] == '\n' || full) {
            launch->line[launch->line_used] = '\0';
            launch->line_used = 0;
            take_line(launch, launch->line);
        }
    }
}

static void read_output(shoal_launch *launch)
{
    char data[4096];
    while (launch->output >= 0) {
        const ssize_t n = read(launch->output, data, sizeof data);
        if (n > 0) {
            take_bytes(launch, data, (size_t)n);
            continue;
        }
        if (n == 0) {
            (void)close(launch->output);
            launch->output = -1;
        }
        if (n == 0 || errno != EINTR)
            return;
    }
}

void shoal_launch_poll(shoal_launch *launch)
{
    int status;
    read_output(launch);
    if (launch->pid > 0 && !launch->ended &&
        waitpid(launch->pid, &status, WNOHANG) == launch->pid) {
        launch->ended = true;
        launch->wait_status = status;
        read_output(launch);
    }
}

void shoal_launch_describe_end(const shoal_launch *launch, char *out, size_t room)
{
    const int status = launch->wait_status;
    if (WIFSIGNALED(status))
        (void)snprintf(out, room, "mpirun was killed by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    else
        (void)snprintf(out, room, "mpirun ended with code %d", WEXITSTATUS(status));
}

void shoal_launch_show_tail(const shoal_launch *launch)
{
    if (launch->tail_used)
        (void)fprintf(stderr, "mpirun said:\n%s", launch->tail);
}

/* ---- stop ------------------------------------------------------------------------------------ */

/* Session and state of a process, from the part of /proc/PID/stat behind the name. */
static bool process_session(const char *pid, long *session, char *state)
{
    char path[64], text[512];
    (void)snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    const size_t n = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[n] = '\0';
    const char *end = strrchr(text, ')');
    return end && sscanf(end + 1, " %c %*d %*d %ld", state, session) == 2;
}

/* Send a signal to every living process of the session, stopped ones too; how many there were. The
 * dead among them are our children, once mpirun is gone (see shoal_launch_start): bury them. */
static int signal_session(pid_t session, int number)
{
    int alive = 0;
    DIR *proc = opendir("/proc");
    if (!proc)
        return 0;
    for (const struct dirent *e = readdir(proc); e; e = readdir(proc)) {
        long owner;
        char state;
        if (!isdigit((unsigned char)e->d_name[0]) || !process_session(e->d_name, &owner, &state) ||
            owner != (long)session)
            continue;
        const pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        if (state != 'Z')
            (void)kill(pid, number);
        else if (pid == session || waitpid(pid, NULL, WNOHANG) != 0)
            continue; /* mpirun's end is for shoal_launch_poll */
        alive++;      /* a zombie that cannot be buried yet has threads that are dying */
    }
    (void)closedir(proc);
    return alive;
}

/* Wait a moment for output or an end. */
static void pause_briefly(shoal_launch *launch)
{
    struct pollfd fd = {launch->output, POLLIN, 0};
    (void)poll(&fd, 1, TICK_MILLIS);
    shoal_launch_poll(launch);
}

static bool wait_ended(shoal_launch *launch, double seconds)
{
    const double until = shoal_clock_seconds() + seconds;
    shoal_launch_poll(launch);
    while (!launch->ended && shoal_clock_seconds() < until)
        pause_briefly(launch);
    return launch->ended;
}

void shoal_launch_kill(shoal_launch *launch)
{
    if (launch->pid <= 0)
        return;
    const double until = shoal_clock_seconds() + KILL_SECONDS;
    while ((signal_session(launch->pid, SIGKILL) > 0 || !launch->ended) &&
           shoal_clock_seconds() < until)
        pause_briefly(launch);
    if (launch->output >= 0)
        (void)close(launch->output);
    launch->output = -1;
    launch->pid = 0;
}

void shoal_launch_stop(shoal_launch *launch, double grace)
{
    if (launch->pid <= 0)
        return;
    if (!wait_ended(launch, grace)) {
        (void)kill(launch->pid, SIGTERM);
        (void)wait_ended(launch, TERM_SECONDS);
    }
    shoal_launch_kill(launch);
}
