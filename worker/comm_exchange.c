#include "worker/comm_exchange.h"

#include <sched.h>
#include <string.h>
#include <time.h>

/* A sleep ends by itself now and then: a peer that left without waking us is noticed. */
#define SLEEP_FIRST_NS 1000000L
#define SLEEP_MAX_NS   100000000L

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

/* Wait for a counter of rank `owner`. */
static shoal_status wait_for(shoal_exchange *x, int owner, shoal_exchange_line *line,
                             uint32_t value)
{
    shoal_counter *counter = &line->counter;
    if (shoal_counter_reached(counter, value))
        return SHOAL_OK;
    shoal_status st = SHOAL_OK;
    const double begin = shoal_seconds_now();
    if (!shoal_counter_watch(counter, value, x->crowded)) {
        long sleep = SLEEP_FIRST_NS;
        while (!shoal_counter_reached(counter, value)) {
            /* Whatever a leaving rank raised, it raised before it set `left`. */
            if (atomic_load(&x->region->ranks[owner].left) &&
                !shoal_counter_reached(counter, value)) {
                st = shoal_fail(SHOAL_ERR_TEMPORARY,
                                "rank %d of this node left while rank %d waited for it", owner,
                                x->rank);
                break;
            }
            shoal_counter_sleep(counter, value, sleep);
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
    shoal_counter_raise(&x->region->ranks[x->rank].published.counter, x->exchanges);
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
    shoal_counter_raise(&x->region->sent.counter, x->pieces);
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
        shoal_counter_raise(&x->region->ranks[x->rank].taken.counter, x->pieces);
        at += piece;
        bytes -= piece;
    }
    return SHOAL_OK;
}

shoal_status shoal_exchange_barrier(shoal_exchange *x)
{
    x->barriers++;
    shoal_counter_raise(&x->region->ranks[x->rank].arrived.counter, x->barriers);
    for (int i = 1; i < x->size; i++) {
        const int r = neighbour(x, i);
        SHOAL_TRY(wait_for(x, r, &x->region->ranks[r].arrived, x->barriers));
    }
    return SHOAL_OK;
}

void shoal_exchange_answer(shoal_exchange *x)
{
    x->answers++;
    shoal_counter_raise(&x->region->ranks[0].answered.counter, x->answers);
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
    shoal_counter_wake(&mine->published.counter);
    shoal_counter_wake(&mine->taken.counter);
    shoal_counter_wake(&mine->arrived.counter);
    shoal_counter_wake(&mine->answered.counter);
    shoal_counter_wake(&x->region->sent.counter);
}

void shoal_backoff_turn(shoal_backoff *backoff)
{
    const double now = shoal_seconds_now();
    if (backoff->begin == 0)
        backoff->begin = now;
    const double waited = backoff->waited = now - backoff->begin;
    if (waited < SHOAL_SPIN_SECONDS && !backoff->crowded)
        return;
    if (waited < SHOAL_YIELD_SECONDS) {
        (void)sched_yield();
        return;
    }
    /* An eighth of the time waited so far, 20 us to 5 ms. */
    double sleep = waited / 8;
    sleep = sleep < 20e-6 ? 20e-6 : sleep > 5e-3 ? 5e-3 : sleep;
    const struct timespec t = {0, (long)(sleep * 1e9)};
    (void)nanosleep(&t, NULL);
}
