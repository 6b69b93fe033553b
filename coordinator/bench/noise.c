#include "coordinator/bench/noise.h"

#include <string.h>

#include "coordinator/bench/random.h"

/* Random words, of which `keep` stays and `set` is set. */
static void fill(uint64_t *random, uint64_t keep, uint64_t set, void *memory, uint64_t bytes)
{
    char *at = memory;
    for (; bytes > 0;) {
        const uint64_t word = (shoal_bench_random(random) & keep) | set;
        const size_t count = bytes < sizeof word ? (size_t)bytes : sizeof word;
        memcpy(at, &word, count);
        at += count;
        bytes -= count;
    }
}

void shoal_bench_noise_codes(uint64_t *random, void *memory, uint64_t bytes)
{
    fill(random, UINT64_MAX, 0, memory, bytes);
}

/* Odd numbers only: -128 is even. */
void shoal_bench_noise_int8(uint64_t *random, void *memory, uint64_t bytes)
{
    fill(random, UINT64_MAX, 0x0101010101010101u, memory, bytes);
}

void shoal_bench_noise_floats(uint64_t *random, shoal_dtype type, int exponent, bool is_signed,
                              void *memory, uint64_t bytes)
{
    const bool wide = type == SHOAL_F32;
    const int width = wide ? 32 : 16, bias = type == SHOAL_F16 ? 15 : 127;
    const int mantissa = wide ? 23 : type == SHOAL_F16 ? 10 : 7;
    const uint64_t sign = is_signed ? UINT64_C(1) << (width - 1) : 0;
    const uint64_t lanes = wide ? 0x0000000100000001u : 0x0001000100010001u;
    const uint64_t keep = sign | ((UINT64_C(1) << mantissa) - 1);
    const uint64_t set = (uint64_t)(exponent + bias) << mantissa;
    fill(random, keep * lanes, set * lanes, memory, bytes);
}
