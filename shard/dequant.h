/* shard/dequant.h - weights as plain numbers, for people and other programs: never for a step.
 *
 * Dequantized values follow docs/arithmetic.md rule 1: w = fmaf(float(u - z), s, m), without m the
 * product rounded once; float weights are widened exactly. Matrices are [out, in] in the order of
 * the source (an act-order weight is put back into natural order). Work goes in strips of outputs,
 * so memory stays small beside the model. */
#ifndef SHOAL_SHARD_DEQUANT_H
#define SHOAL_SHARD_DEQUANT_H

#include "shard/manifest.h"

/* Fill out[n][k] from a block that covers all of K. `order` as in shoal_rect; NULL: natural. */
void shoal_dequant_block(const shoal_canonical *block, int64_t group, const int32_t *order,
                         float *out);

/* Output `n` of such a block as out[k]. */
void shoal_dequant_row(const shoal_canonical *block, int64_t group, const int32_t *order, int64_t n,
                       float *out);

typedef void (*shoal_dequant_progress)(void *context, uint64_t done, uint64_t total);

/* Write every weight, bias, norm and the embedding as fp32 under plain Hugging Face names
 * (MODULE.weight, MODULE.bias) to a safetensors file. A tied lm_head is left out. Counts in
 * progress are elements. */
SHOAL_MUST_USE shoal_status shoal_dequant_file(const shoal_manifest *manifest, const char *path,
                                               shoal_dequant_progress progress, void *context);

typedef struct {
    uint64_t count;
    double min, max, mean, deviation; /* 0 when count is 0 */
} shoal_statistics;

#define SHOAL_SUMMARY_FIRST 8

/* One linear as the kernels see it. */
typedef struct {
    shoal_statistics codes;  /* integer kinds: unsigned codes                        */
    shoal_statistics zeros;  /*                zero points, one per (output, group)  */
    shoal_statistics scales; /*                                                      */
    shoal_statistics values; /* dequantized                                          */
    int64_t groups;
    uint64_t histogram[256];          /* of the codes */
    float first[SHOAL_SUMMARY_FIRST]; /* values of output 0, natural order */
    int first_codes[SHOAL_SUMMARY_FIRST], first_count;
} shoal_weight_summary;

SHOAL_MUST_USE shoal_status shoal_weight_summarize(const shoal_manifest *manifest,
                                                   const shoal_weight *weight,
                                                   shoal_weight_summary *out);

/* Statistics of a float tensor (F32, F16, BF16). */
SHOAL_MUST_USE shoal_status shoal_tensor_summarize(const shoal_checkpoint *checkpoint,
                                                   const shoal_tensor *tensor,
                                                   shoal_weight_summary *out);

#endif
