#include "coordinator/cluster/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t caught;
static int pipe_ends[2] = {-1, -1};

static void on_signal(int number)
{
    const int saved = errno;
    caught = number;
    if (write(pipe_ends[1], "!", 1) < 0)
        errno = saved; /* the flag is enough */
    errno = saved;
}

shoal_status shoal_interrupt_listen(int *fd)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    if (pipe_ends[0] < 0) {
        if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0)
            return shoal_fail(SHOAL_ERR_TEMPORARY, "pipe for signals: %s", strerror(errno));
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
            struct sigaction old;
            /* What was ignored on purpose (nohup) stays ignored. */
            if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
                (void)sigaction(numbers[i], &action, NULL);
        }
    }
    *fd = pipe_ends[0];
    return SHOAL_OK;
}

shoal_status shoal_interrupt_check(void)
{
    const int number = caught;
    if (!number)
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_TEMPORARY, "interrupted by signal %d (%s)", number,
                      strsignal(number));
}

shoal_status shoal_interrupt_source(int stop_fd, int *fd)
{
    if (stop_fd <= 0)
        return shoal_interrupt_listen(fd);
    *fd = stop_fd;
    return SHOAL_OK;
}

shoal_status shoal_interrupt_asked(int stop_fd)
{
    struct pollfd one = {stop_fd, POLLIN, 0};
    if (stop_fd <= 0)
        return shoal_interrupt_check();
    return poll(&one, 1, 0) > 0 ? shoal_fail(SHOAL_ERR_TEMPORARY, "stopped") : SHOAL_OK;
}

void shoal_interrupt_finish(void)
{
    const int number = caught;
    if (!number)
        return;
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}
