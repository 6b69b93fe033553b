/* kernels/x86/yardstick.h - the x86 peaks and reads that kernels/yardstick.c lists. Each is
 * compiled with its own flags and may only be called on a machine that has its instruction. */
#ifndef SHOAL_KERNELS_X86_YARDSTICK_H
#define SHOAL_KERNELS_X86_YARDSTICK_H

#include <stddef.h>
#include <stdint.h>

/* `steps` times: four tile products; twelve vector products, each into its own register. */
void shoal_peak_tdpbssd(int64_t steps);
void shoal_peak_tdpbf16ps(int64_t steps);
void shoal_peak_vpdpbusd_zmm(int64_t steps);
void shoal_peak_vdpbf16ps_zmm(int64_t steps);
void shoal_peak_vfmadd231ps_zmm(int64_t steps);
void shoal_peak_vpdpbusd_ymm(int64_t steps);
void shoal_peak_vpmaddubsw_ymm(int64_t steps);
void shoal_peak_vfmadd231ps_ymm(int64_t steps);

/* Twelve times vpmaddwd and the addition to a sum, with a sign extension of 16 int8 for every six:
 * int8 x int8 in int16, as a register tile of six rows would do it. */
void shoal_peak_vpmaddwd_ymm(int64_t steps);

void shoal_read_zmm(const void *memory, size_t bytes, int32_t ahead);
void shoal_read_ymm(const void *memory, size_t bytes, int32_t ahead);

#endif
