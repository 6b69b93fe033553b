/* kernels/linear.h - one linear layer's slice: its shape, its segments, its packed weights.
 *
 * Obeys docs/arithmetic.md rules 1-4. The K range of a linear is cut into *segments*, the
 * intersections of activation groups and weight groups; inside a segment everything is an exact
 * integer, between segments there is one fmaf per output, in ascending k. In a *cut* linear (o,
 * down: every worker holds some units of K) the fp32 sum restarts at every unit and the unit sums
 * are added as int64 fixed point with 28 fractional bits. In a linear with super-groups the
 * segments of one activation group, super-group and unit are a *run*: their integers, times their
 * steps, are added first, and the run joins the sum as one.
 *
 * Layout "cpu-panel64/1": 64 output columns x K.
 *   int4   8 k per 256 bytes; byte (c*4 + j) of 64-byte tile t: low nibble = k+j,
 *          high nibble = k+4+j of column 16t+c            (code 0..15)
 *   int8   4 k per 256 bytes; byte (c*4 + j) of tile t = k+j of column 16t+c, signed t = u - 128
 *   float  [K][64] elements of the source dtype
 * K is padded to 8 (int4) or 4 (int8) with code 0, N to 64 with code 0 and scale 0. Beside the
 * codes, per panel: scales [groups][64] in the source's dtype; zeros [groups][64], u8 for int4
 * and i16 of (z - 128) for int8, absent when one constant serves; mins [groups][64] fp32. With
 * super-groups scales and mins are [supers][64], and steps and min_steps [groups][64], i8. */
#ifndef SHOAL_KERNELS_LINEAR_H
#define SHOAL_KERNELS_LINEAR_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/bf16.h"
#include "kernels/canonical.h"
#include "kernels/cpu.h"
#include "proto/arena.h"
#include "proto/status.h"

#define SHOAL_PANEL 64

/* Fixed point of unit sums: 28 fractional bits, |U| <= 2^22. */
#define SHOAL_UNIT_SCALE 268435456.0f
#define SHOAL_UNIT_BOUND 4194304.0f

/* Units one output may be summed from (docs/arithmetic.md rule 4). */
#define SHOAL_UNITS_MAX 4096

/* Most inputs of a super-group. */
#define SHOAL_SUPER_MAX 256

/* Inputs of a linear whose activations are one scale per row or unit: the int32 sum is exact. */
#define SHOAL_PER_TOKEN_K_MAX 66311

typedef enum {
    SHOAL_ACT_F32,  /* fp32 inputs; integer weights are dequantized: w = fmaf(u - z, s, m)   */
    SHOAL_ACT_INT8, /* int8 inputs, one scale per row and activation group                   */
    SHOAL_ACT_BF16  /* inputs and dequantized weights rounded to bf16                        */
} shoal_act_form;

typedef struct {
    int64_t n;              /* local outputs, >= 0                                          */
    int64_t k;              /* local inputs, >= 0                                           */
    int64_t k_begin;        /* absolute k of the first local input (0 unless cut)           */
    shoal_weight_kind kind; /*                                                              */
    shoal_dtype dtype;      /* of the elements (float kind) or of the scales                */
    int64_t group;          /* weight group in absolute k; for per channel the whole K      */
    bool has_zeros;         /* zeros stored per (group, n); else zero_const                 */
    int16_t zero_const;     /*                                                              */
    bool has_mins;          /*                                                              */
    int64_t super_group;    /* 0, or a multiple of group: one scale for so many inputs      */
    shoal_act_form act;     /* F32 is forced for the float kind                             */
    int64_t act_group;      /* activation group in absolute k (128, a head, a unit or K)    */
    int64_t unit;           /* 0: K is whole here; else length of a unit in absolute k      */
} shoal_linear_spec;

/* A stretch of local k inside one activation group, one weight group and one unit. */
typedef struct {
    int32_t k, count;     /* local k of the first element; elements                       */
    int32_t act_group;    /* index into the activation scales of the local K range        */
    int32_t weight_group; /* index into the local zeros and steps                         */
    int32_t scale_group;  /* index into the local scales and mins: of the super-group, or,
                             where there are none, weight_group                           */
    int32_t unit;         /* index of the local unit; 0 in whole linears                  */
    int32_t run;          /* first segment of its run: itself without super-groups        */
    bool ends_run;
} shoal_segment;

typedef struct shoal_linear_row shoal_linear_row;
typedef struct shoal_pack_row shoal_pack_row;

/* Padded sizes and places of everything a slice stores: pure integers, used by the plan and by
 * shoal_linear_create alike. All byte counts are multiples of 64. */
typedef struct {
    int64_t panels;     /* ceil(n / 64)                                                 */
    int64_t k_padded;   /* k rounded up to the layout's K step                          */
    int64_t groups;     /* weight groups touched by [k_begin, k_begin + k)              */
    int64_t supers;     /* rows of scales and mins: super-groups touched, else groups   */
    int64_t act_groups; /* activation groups touched                                    */
    int64_t units;      /* units touched; 1 in whole linears (0 when k is 0)            */
    int64_t segments;   /*                                                              */
    uint64_t codes_bytes, scales_bytes, zeros_bytes, mins_bytes, segments_bytes;
    uint64_t steps_bytes, min_steps_bytes;
    uint64_t bytes; /* the sum                                                      */
} shoal_linear_size;

typedef struct {
    shoal_linear_spec spec;
    shoal_linear_size size;
    shoal_segment *segments;
    uint8_t *codes; /* [panels][...]: panel p starts at p * (codes_bytes / panels)          */
    uint8_t *scales;
    uint8_t *zeros;
    float *mins;
    int8_t *steps, *min_steps; /* NULL without super-groups */
    float *bias; /* [n] or NULL; set by the owner, added by whoever the step says           */
    shoal_bf16_kind bf16; /* how products of form BF16 add up                              */
    const shoal_linear_row *decode; /* row for up to SHOAL_DECODE_ROWS input rows           */
    const shoal_linear_row *prefill;
    const shoal_pack_row *pack; /* loops that fill it (kernels/pack.h) */
} shoal_linear;

/* Sizes of a spec; SHOAL_ERR_DATA (naming the number) when a shape cannot be represented. */
SHOAL_MUST_USE shoal_status shoal_linear_measure(const shoal_linear_spec *spec,
                                                 shoal_linear_size *out);

/* SHOAL_ERR_DATA for a zero point outside 0..16 (int4) or 0..256 (int8): kernels rely on how large
 * a code less its zero point can be. */
SHOAL_MUST_USE shoal_status shoal_linear_check_zero(shoal_weight_kind kind, int zero);

/* Allocate from `arena` exactly size.bytes, fill the segments, choose kind and kernel rows for
 * `cap`. `linear` is written only on success. */
SHOAL_MUST_USE shoal_status shoal_linear_create(const shoal_linear_spec *spec, shoal_cpu_level cap,
                                                shoal_arena *arena, shoal_linear *linear);

/* Bytes of the arrays that packing fills: all but the segments. */
static inline uint64_t shoal_linear_packed_bytes(const shoal_linear_size *size)
{
    return size->bytes - size->segments_bytes;
}

/* As shoal_linear_create, but what packing fills lies in `memory`: that many bytes, 64-byte
 * aligned, borrowed, with any contents. Linears that are filled in turns may share it. */
SHOAL_MUST_USE shoal_status shoal_linear_create_in(const shoal_linear_spec *spec,
                                                   shoal_cpu_level cap, shoal_arena *arena,
                                                   void *memory, shoal_linear *linear);

/* Before shared memory is filled: zeros where packing writes nothing, beyond the last output and
 * the last input. */
void shoal_linear_clear_padding(const shoal_linear *linear);

/* Pack columns [n_begin, n_begin + block->n) from a canonical block over the whole local K;
 * n_begin is a multiple of 64 and the block ends at one or at n. SHOAL_ERR_DATA when the block
 * does not match the spec: shape, codes above the kind's, zero points outside 0..16 (int4) or
 * 0..256 (int8), scales that are not finite numbers of the spec's dtype, minimums that are not
 * finite. */
SHOAL_MUST_USE shoal_status shoal_linear_pack(shoal_linear *linear, int64_t n_begin,
                                              const shoal_canonical *block);

/* The same for columns that lie anywhere: column i of the block becomes local output to[i], or
 * nothing where to[i] < 0. Calls for different outputs may run at the same time. */
SHOAL_MUST_USE shoal_status shoal_linear_pack_columns(shoal_linear *linear, const int32_t *to,
                                                      const shoal_canonical *block);

/* The inverse: fill the arrays of `block` (n, k and arrays given by the caller). */
SHOAL_MUST_USE shoal_status shoal_linear_unpack(const shoal_linear *linear, int64_t n_begin,
                                                shoal_canonical *block);

/* w[n][k] in fp32 of one element, as docs/arithmetic.md rule 1 has it (reference, tests). */
float shoal_linear_weight(const shoal_linear *linear, int64_t n, int64_t k);

/* "cpu-panel64-int4-f16/1" (kind and scale type), "cpu-panel64-bf16/1" (float kind) and so on:
 * the name that files and reports carry. */
const char *shoal_linear_layout(const shoal_linear_spec *spec);

#endif
