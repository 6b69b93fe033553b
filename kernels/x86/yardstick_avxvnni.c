/* The peak of AVX-VNNI. {vex} keeps the assembler from the AVX-512 encoding. */
#include <immintrin.h>

#define VECTOR      __m256i
#define VECTOR_BITS 256
#include "kernels/x86/yardstick.inc"

PEAK(shoal_peak_vpdpbusd_ymm, "%{vex%} vpdpbusd %2, %1, %0", "x", LANE_INT8)
