/* kernels/yardstick.h - how fast this machine can be at best: what kernels are measured against.
 *
 * Peaks repeat one instruction on registers alone, reads walk memory with a prefetch ahead; both
 * are rows of a table, one file per instruction set under x86/. They compute nothing that anybody
 * needs and have no part in docs/arithmetic.md. Who calls them keeps the time. */
#ifndef SHOAL_KERNELS_YARDSTICK_H
#define SHOAL_KERNELS_YARDSTICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu.h"

/* Products that an instruction can serve; a peak has one bit for each. */
typedef enum {
    SHOAL_PEAK_INT4 = 1, /* int8 x codes of 4 bits                                    */
    SHOAL_PEAK_INT8 = 2, /* int8 x int8, no saturation                                */
    SHOAL_PEAK_F32 = 4,  /* fp32, fused                                               */
    SHOAL_PEAK_BF16 = 8  /* bf16 into fp32; where no instruction does it, widened      */
} shoal_peak_product;

typedef struct {
    const char *name;      /* "vpdpbusd.zmm"                                              */
    unsigned products;     /* of shoal_peak_product                                       */
    shoal_cpu_level needs; /*                                                             */
    bool bf16;             /* needs shoal_cpu_has_bf16(needs) as well                     */
    double operations;     /* of one step, multiplications and additions counted apart   */
    void (*run)(int64_t steps);
} shoal_peak;

/* Fastest first, the portable ones last; with these every product has a peak. */
extern const shoal_peak shoal_peaks[];
extern const size_t shoal_peak_count;

/* Can this machine run it, and does `cap` allow it? */
bool shoal_peak_usable(const shoal_peak *peak, shoal_cpu_level cap);

/* The fastest usable one, or NULL. */
const shoal_peak *shoal_peak_pick(shoal_peak_product product, shoal_cpu_level cap);

typedef struct {
    const char *name; /* "read.zmm.4096" */
    shoal_cpu_level needs;
    int32_t ahead; /* bytes between the line that is read and the line that is asked for; 0: none */
    void (*read)(const void *memory, size_t bytes, int32_t ahead);
} shoal_reader;

/* Which of them is the fastest, the machine must be asked. `bytes` are read in whole pieces of
 * SHOAL_READER_PIECE; a rest is left out. `memory` is 64-byte aligned. */
#define SHOAL_READER_PIECE 256
extern const shoal_reader shoal_readers[];
extern const size_t shoal_reader_count;

#endif
