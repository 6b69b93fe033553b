#include "worker/comm_exchange.h"

#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* How long a wait spins, then yields, before it sleeps. A wait inside a step is mostly shorter
 * than a sleep and a wake-up (some 50 us). With more ranks than cores spinning keeps the awaited
 * rank from running. */
#define SPIN_SECONDS  5e-6
#define YIELD_SECONDS 300e-6

/* A sleep ends by itself now and then: a peer that left without waking us is noticed, and a lost
 * wake-up would cost a tenth of a second rather than the run. */
#define SLEEP_FIRST_NS 1000000L
#define SLEEP_MAX_NS   100000000L

#define SPIN_BATCH 16

double shoal_seconds_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int shoal_allowed_cores(void)
{
    for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        const size_t bytes = CPU_ALLOC_SIZE((size_t)cpus);
        if (!set)
            break;
        const int failed = sched_getaffinity(0, bytes, set);
        const int count = failed ? 0 : CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (count > 0)
            return count;
    }
    return 1;
}

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static bool reached(shoal_exchange_line *line, uint32_t value)
{
    const uint32_t now = atomic_load_explicit(&line->value, memory_order_acquire);
    return (int32_t)(now - value) >= 0;
}

static void wake_all(shoal_exchange_line *line)
{
    (void)syscall(SYS_futex, &line->value, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* The store and the look at `sleepers` must not change places (nor the sleeper's two steps below):
 * hence the full order instead of a release. */
static void raise_to(shoal_exchange_line *line, uint32_t value)
{
    atomic_store(&line->value, value);
    if (atomic_load(&line->sleepers) != 0)
        wake_all(line);
}

/* Sleep once, unless the counter has moved. The futex is not private: ranks may be processes. */
static void sleep_on(shoal_exchange_line *line, uint32_t value, long nanoseconds)
{
    const struct timespec limit = {0, nanoseconds};
    atomic_fetch_add(&line->sleepers, 1);
    const uint32_t now = atomic_load(&line->value);
    if ((int32_t)(now - value) < 0)
        (void)syscall(SYS_futex, &line->value, FUTEX_WAIT, now, &limit, NULL, 0);
    atomic_fetch_sub(&line->sleepers, 1);
}

/* Spin, then yield; true when the counter came. */
static bool wait_awake(const shoal_exchange *x, shoal_exchange_line *line, uint32_t value,
                       double begin)
{
    double waited = 0;
    while (waited < YIELD_SECONDS) {
        if (x->crowded || waited > SPIN_SECONDS)
            (void)sched_yield();
        else
            for (int i = 0; i < SPIN_BATCH && !reached(line, value); i++)
                pause_briefly();
        if (reached(line, value))
            return true;
        waited = shoal_seconds_now() - begin;
    }
    return false;
}

/* Wait for a counter of rank `owner`. */
static shoal_status wait_for(shoal_exchange *x, int owner, shoal_exchange_line *line,
                             uint32_t value)
{
    if (reached(line, value))
        return SHOAL_OK;
    shoal_status st = SHOAL_OK;
    const double begin = shoal_seconds_now();
    if (!wait_awake(x, line, value, begin)) {
        long sleep = SLEEP_FIRST_NS;
        while (!reached(line, value)) {
            /* Whatever a leaving rank raised, it raised before it set `left`. */
            if (atomic_load(&x->region->ranks[owner].left) && !reached(line, value)) {
                st = shoal_fail(SHOAL_ERR_TEMPORARY,
                                "rank %d of this node left while rank %d waited for it", owner,
                                x->rank);
                break;
            }
            sleep_on(line, value, sleep);
            sleep = sleep < SLEEP_MAX_NS / 2 ? 2 * sleep : SLEEP_MAX_NS;
        }
    }
    *x->waited += shoal_seconds_now() - begin;
    return st;
}

static uint64_t counters_bytes(int size)
{
    return sizeof(shoal_exchange_region) + (uint64_t)size * sizeof(shoal_exchange_rank);
}

uint64_t shoal_exchange_region_bytes(int size)
{
    return counters_bytes(size) + 2 * (uint64_t)SHOAL_EXCHANGE_PIECE;
}

uint64_t shoal_exchange_stride(uint64_t slot_bytes)
{
    return (slot_bytes / 64 + (slot_bytes % 64 != 0 || slot_bytes == 0)) * 64;
}

void shoal_exchange_init(shoal_exchange *x, int rank, int size, bool crowded, void *region,
                         double *waited)
{
    *x = (shoal_exchange){.rank = rank,
                          .size = size,
                          .crowded = crowded,
                          .region = region,
                          .area = (uint8_t *)region + counters_bytes(size),
                          .waited = waited};
}

void *shoal_exchange_slot(const shoal_exchange *x)
{
    return x->slots[x->rank] + ((x->exchanges + 1) & 1) * x->slot_stride;
}

void *shoal_exchange_part(const shoal_exchange *x, int r)
{
    return x->slots[r] + (x->exchanges & 1) * x->slot_stride;
}

void shoal_exchange_publish(shoal_exchange *x)
{
    x->exchanges++;
    raise_to(&x->region->ranks[x->rank].published, x->exchanges);
}

/* Neighbours first, so that not everybody waits for the same line. */
static int neighbour(const shoal_exchange *x, int i)
{
    return (x->rank + i) % x->size;
}

shoal_status shoal_exchange_wait_published(shoal_exchange *x)
{
    for (int i = 1; i < x->size; i++) {
        const int r = neighbour(x, i);
        SHOAL_TRY(wait_for(x, r, &x->region->ranks[r].published, x->exchanges));
    }
    return SHOAL_OK;
}

/* The root may write piece c over piece c - 2 when everybody has taken that one. */
static shoal_status send_piece(shoal_exchange *x, uint8_t *place, const void *from, uint64_t bytes)
{
    for (int i = 1; i < x->size; i++) {
        const int r = neighbour(x, i);
        SHOAL_TRY(wait_for(x, r, &x->region->ranks[r].taken, x->pieces - 2));
    }
    memcpy(place, from, bytes);
    raise_to(&x->region->sent, x->pieces);
    return SHOAL_OK;
}

shoal_status shoal_exchange_broadcast(shoal_exchange *x, void *data, uint64_t bytes, int root)
{
    uint8_t *at = data;
    while (bytes > 0 && x->size > 1) {
        const uint64_t piece = bytes < SHOAL_EXCHANGE_PIECE ? bytes : SHOAL_EXCHANGE_PIECE;
        x->pieces++;
        uint8_t *place = x->area + (x->pieces & 1) * SHOAL_EXCHANGE_PIECE;
        if (x->rank == root) {
            SHOAL_TRY(send_piece(x, place, at, piece));
        } else {
            SHOAL_TRY(wait_for(x, root, &x->region->sent, x->pieces));
            memcpy(at, place, piece);
        }
        raise_to(&x->region->ranks[x->rank].taken, x->pieces);
        at += piece;
        bytes -= piece;
    }
    return SHOAL_OK;
}

shoal_status shoal_exchange_barrier(shoal_exchange *x)
{
    x->barriers++;
    raise_to(&x->region->ranks[x->rank].arrived, x->barriers);
    for (int i = 1; i < x->size; i++) {
        const int r = neighbour(x, i);
        SHOAL_TRY(wait_for(x, r, &x->region->ranks[r].arrived, x->barriers));
    }
    return SHOAL_OK;
}

void shoal_exchange_answer(shoal_exchange *x)
{
    x->answers++;
    raise_to(&x->region->ranks[0].answered, x->answers);
}

shoal_status shoal_exchange_wait_answer(shoal_exchange *x)
{
    x->answers++;
    return wait_for(x, 0, &x->region->ranks[0].answered, x->answers);
}

void shoal_exchange_leave(shoal_exchange *x)
{
    shoal_exchange_rank *mine = &x->region->ranks[x->rank];
    atomic_store(&mine->left, 1);
    wake_all(&mine->published);
    wake_all(&mine->taken);
    wake_all(&mine->arrived);
    wake_all(&mine->answered);
    wake_all(&x->region->sent);
}

void shoal_backoff_turn(shoal_backoff *backoff)
{
    const double now = shoal_seconds_now();
    if (backoff->begin == 0)
        backoff->begin = now;
    const double waited = backoff->waited = now - backoff->begin;
    if (waited < SPIN_SECONDS && !backoff->crowded)
        return;
    if (waited < YIELD_SECONDS) {
        (void)sched_yield();
        return;
    }
    /* An eighth of the time waited so far, 20 us to 5 ms. */
    double sleep = waited / 8;
    sleep = sleep < 20e-6 ? 20e-6 : sleep > 5e-3 ? 5e-3 : sleep;
    const struct timespec t = {0, (long)(sleep * 1e9)};
    (void)nanosleep(&t, NULL);
}
