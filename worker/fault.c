#include "worker/fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX 256

static const char *const phase_names[SHOAL_FAULT_PHASES] = {
    "start",   "hello",  "plan",   "read",   "pack", "comm_init", "ready",
    "prefill", "decode", "reduce", "sample", "idle", "finalize",
};

static const char *const act_names[SHOAL_ACTS] = {
    "kill", "stop", "exit0", "exit1", "segv", "abort", "hang", "mute", "error", "slow",
};

static shoal_fault fault;
static bool armed;
static uint64_t reached;
static _Atomic bool mute;

/* ---- parsing --------------------------------------------------------------------------------- */

static shoal_status find_name(const char *key, const char *value, const char *const *names,
                              int count, int *out)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], value) == 0) {
            *out = i;
            return SHOAL_OK;
        }
    return shoal_fail(SHOAL_ERR_USAGE, "SHOAL_FAULT: no %s is named '%s'", key, value);
}

static shoal_status take_number(const char *key, const char *value, int64_t least, int64_t *out)
{
    char *end;
    const long long number = strtoll(value, &end, 10);
    if (end == value || *end || number < least || number > INT32_MAX)
        return shoal_fail(SHOAL_ERR_USAGE, "SHOAL_FAULT: %s=%s is out of range", key, value);
    *out = number;
    return SHOAL_OK;
}

static shoal_status take_phase(const char *value, shoal_fault *f)
{
    int index = 0;
    SHOAL_TRY(find_name("phase", value, phase_names, SHOAL_FAULT_PHASES, &index));
    f->phase = (shoal_fault_phase)index;
    return SHOAL_OK;
}

/* "slow" alone has a number behind a colon. */
static shoal_status take_act(char *value, shoal_fault *f)
{
    int index = 0;
    int64_t milliseconds = 0;
    char *colon = strchr(value, ':');
    if (colon)
        *colon = '\0';
    SHOAL_TRY(find_name("act", value, act_names, SHOAL_ACTS, &index));
    if ((index == SHOAL_ACT_SLOW) != (colon != NULL))
        return shoal_fail(SHOAL_ERR_USAGE, "SHOAL_FAULT: it is slow:MILLISECONDS, the other acts "
                                           "have no number");
    if (colon)
        SHOAL_TRY(take_number("slow", colon + 1, 0, &milliseconds));
    f->act = (shoal_fault_act)index;
    f->milliseconds = (uint32_t)milliseconds;
    return SHOAL_OK;
}

static shoal_status take_pair(const char *key, char *value, shoal_fault *f)
{
    int64_t number = 0;
    if (strcmp(key, "phase") == 0)
        return take_phase(value, f);
    if (strcmp(key, "act") == 0)
        return take_act(value, f);
    const bool any_rank = strcmp(key, "rank") == 0;
    SHOAL_TRY(take_number(key, value, any_rank ? -1 : 0, &number));
    if (any_rank)
        f->rank = (int)number;
    else if (strcmp(key, "step") == 0)
        f->step = (uint64_t)number;
    else if (strcmp(key, "generation") == 0)
        f->generation = (uint32_t)number;
    else if (strcmp(key, "token") == 0)
        f->token = number;
    else
        return shoal_fail(SHOAL_ERR_USAGE, "SHOAL_FAULT: no key is named '%s'", key);
    return SHOAL_OK;
}

shoal_status shoal_fault_parse(const char *text, shoal_fault *out)
{
    char copy[TEXT_MAX], *rest = copy;
    shoal_fault f = {
        .step = 1, .generation = 1, .token = -1, .phase = SHOAL_FAULT_PHASES, .act = SHOAL_ACTS};
    if (strlen(text) >= sizeof copy)
        return shoal_fail(SHOAL_ERR_USAGE, "SHOAL_FAULT: longer than %d characters", TEXT_MAX);
    memcpy(copy, text, strlen(text) + 1);
    for (char *key = strsep(&rest, ","); key; key = strsep(&rest, ",")) {
        char *value = strchr(key, '=');
        if (!value)
            return shoal_fail(SHOAL_ERR_USAGE, "SHOAL_FAULT: '%s' is not KEY=VALUE", key);
        *value++ = '\0';
        SHOAL_TRY(take_pair(key, value, &f));
    }
    if (f.phase == SHOAL_FAULT_PHASES || f.act == SHOAL_ACTS)
        return shoal_fail(SHOAL_ERR_USAGE, "SHOAL_FAULT: phase and act are needed");
    *out = f;
    return SHOAL_OK;
}

shoal_status shoal_fault_check(void)
{
    const char *text = getenv("SHOAL_FAULT");
    shoal_fault ignored;
    return text ? shoal_fault_parse(text, &ignored) : SHOAL_OK;
}

shoal_status shoal_fault_join(int rank)
{
    const char *text = getenv("SHOAL_FAULT"), *generation = getenv("SHOAL_GENERATION");
    armed = false;
    reached = 0;
    if (!text)
        return SHOAL_OK;
    SHOAL_TRY(shoal_fault_parse(text, &fault));
    const uint32_t now = generation ? (uint32_t)strtoul(generation, NULL, 10) : 1;
    armed = (fault.rank < 0 || fault.rank == rank) &&
            (fault.generation == 0 || fault.generation == now);
    return SHOAL_OK;
}

/* ---- acting ---------------------------------------------------------------------------------- */

static _Noreturn void hang(void)
{
    for (;;)
        (void)pause();
}

/* Signals as the kernel means them: neither MPI's handlers nor a sanitizer's in between. */
static void die_by(int number)
{
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void sleep_some(uint32_t milliseconds)
{
    struct timespec left = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000L};
    while (nanosleep(&left, &left) != 0)
        ;
}

static shoal_status act(void)
{
    switch (fault.act) {
    case SHOAL_ACT_KILL: die_by(SIGKILL); break;
    case SHOAL_ACT_STOP: (void)raise(SIGSTOP); break;
    case SHOAL_ACT_EXIT0: _exit(0);
    case SHOAL_ACT_EXIT1: _exit(1);
    case SHOAL_ACT_SEGV: die_by(SIGSEGV); break;
    case SHOAL_ACT_ABORT: die_by(SIGABRT); break;
    case SHOAL_ACT_MUTE: atomic_store(&mute, true); hang();
    case SHOAL_ACT_HANG: hang();
    case SHOAL_ACT_ERROR:
        return shoal_fail(SHOAL_ERR_IO, "a fault was asked for in phase %s",
                          phase_names[fault.phase]);
    case SHOAL_ACT_SLOW: sleep_some(fault.milliseconds); break;
    case SHOAL_ACTS: break;
    }
    return SHOAL_OK;
}

static bool holds(const int32_t *tokens, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (tokens[i] == fault.token)
            return true;
    return fault.token < 0;
}

shoal_status shoal_fault_reach(shoal_fault_phase phase, const int32_t *tokens, int64_t count)
{
    if (!armed || phase != fault.phase || !holds(tokens, count))
        return SHOAL_OK;
    reached++;
    const bool again = fault.act == SHOAL_ACT_SLOW && reached > fault.step;
    return reached == fault.step || again ? act() : SHOAL_OK;
}

void shoal_fault_hush(void)
{
    if (atomic_load(&mute))
        hang();
}
