#include "coordinator/serve/end_signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

static _Atomic int signal_count;
static shoal_http_server *_Atomic signal_target;

static void on_signal(int number)
{
    shoal_http_server *target = atomic_load(&signal_target);
    (void)number;
    atomic_fetch_add(&signal_count, 1);
    if (target)
        shoal_http_server_wake(target);
}

void shoal_end_signals_listen(shoal_http_server *server)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    const struct sigaction action = {.sa_handler = on_signal};
    atomic_store(&signal_target, server);
    if (!server)
        return;
    atomic_store(&signal_count, 0);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction old;
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            (void)sigaction(numbers[i], &action, NULL);
    }
}

int shoal_end_signals_count(void)
{
    return atomic_load(&signal_count);
}
