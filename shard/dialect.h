/* shard/dialect.h - the registry of stored forms: how the tensors of one linear become canonical.
 *
 * A dialect is one row: it says whether a module is its own (from the tensors that are there and
 * the quantization config), describes the weight with every dtype and shape checked, and reads
 * rectangles. To add one: write shard/dialect_NAME.c with its row, name the row in the table of
 * shard/dialect.c. Nothing else in the tree knows a dialect by name.
 *
 * A dialect sees plain rectangles: `rect.columns` is resolved above it (shard/weight.c). */
#ifndef SHOAL_SHARD_DIALECT_H
#define SHOAL_SHARD_DIALECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/pack.h"
#include "shard/manifest.h"
#include "shard/quantization.h"
#include "shard/staging.h"

/* One module of the checkpoint. n counts the outputs of all roles stacked in it. */
typedef struct {
    const shoal_checkpoint *checkpoint;
    const shoal_quantization *quantization;
    const char *name; /* "model.layers.0.self_attn.q_proj" */
    int64_t n, k;
} shoal_module;

/* A part of a rectangle, with the groups that it brings along: a group belongs to one tile, even
 * where several have inputs of it. */
typedef struct {
    shoal_rect rect;
    int64_t group_begin, group_end; /* counted in the whole weight */
} shoal_tile;

struct shoal_plain_codes;

struct shoal_dialect {
    const char *name;

    /* Suffixes of the tensors it takes, in the order of shoal_weight.parts; NULL ends the list.
     * The first is what makes the module this dialect's and is always there. */
    const char *parts[SHOAL_PARTS_MAX + 1];

    shoal_zeros_rule zeros;

    /* Is the module stored in this form? Looks at tensors and config, not at shapes. NULL in rows
     * that shoal_dialect_find does not look for. */
    bool (*claims)(const shoal_module *module);

    /* How the parts hold codes, for rows that read as shard/plain_codes.h does; else NULL. */
    struct shoal_plain_codes (*plain)(const shoal_weight *weight);

    /* Check the parts (already looked up; absent ones are NULL) and fill kind, dtype, group,
     * zeros, act_order, bits and source_group. n, k and row_offset are set. */
    shoal_status (*describe)(const shoal_module *module, shoal_weight *weight);

    /* Exactly what `read` will read; `rect->columns` is NULL in both. */
    uint64_t (*read_bytes)(const shoal_weight *weight, const shoal_rect *rect);

    /* Fill the arrays of `out`, which shoal_dialect_allocate made for this rectangle. Where
     * out->codes is NULL, only scales, zeros and minimums are wanted. */
    shoal_status (*read)(const shoal_manifest *manifest, const shoal_weight *weight,
                         const shoal_rect *rect, shoal_canonical *out);

    /* May tiles of this rectangle go to panels as the words they are (kernels/pack.h)? Then
     * `read_stored` reads one; tiles that cut the rectangle at multiples of 8 inputs read, all
     * together, what `read` reads of it. NULL where only the canonical form will do. */
    bool (*storable)(const shoal_weight *weight, const shoal_rect *rect);
    shoal_status (*read_stored)(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_tile *tile, shoal_staging *staging, shoal_stored *out);

    /* Columns and inputs that the weight is best read by: a tile of whole runs. Strips of columns
     * and stored tiles of a rectangle keep to them. NULL: any. */
    void (*tile)(const shoal_weight *weight, const shoal_rect *rect, int64_t *columns,
                 int64_t *inputs);

    /* Read the permutation of an act-order weight; NULL where there is none. */
    shoal_status (*order)(const shoal_manifest *manifest, const shoal_weight *weight,
                          int32_t *order);
};

/* The dialect that reads `module`. SHOAL_ERR_DATA when none or more than one does, naming the
 * module's tensors and the config's method. */
SHOAL_MUST_USE shoal_status shoal_dialect_find(const shoal_module *module,
                                               const shoal_dialect **out);

/* Not found by shoal_dialect_find: dense tensors that become integers while they are read. */
extern const shoal_dialect shoal_dialect_at_load;

/* Nor this: rows of blocks that become fp32 numbers (the embedding of a GGUF file). */
extern const shoal_dialect shoal_dialect_gguf_rows;

/* The rows of the table, each in its own file. */
extern const shoal_dialect shoal_dialect_dense;
extern const shoal_dialect shoal_dialect_gptq;
extern const shoal_dialect shoal_dialect_gptq_word;
extern const shoal_dialect shoal_dialect_gptq_v2;
extern const shoal_dialect shoal_dialect_marlin;
extern const shoal_dialect shoal_dialect_awq;
extern const shoal_dialect shoal_dialect_awq_gemv;
extern const shoal_dialect shoal_dialect_awq_gemv_fast;
extern const shoal_dialect shoal_dialect_awq_marlin;
extern const shoal_dialect shoal_dialect_pack_quantized;
extern const shoal_dialect shoal_dialect_int_quantized;
extern const shoal_dialect shoal_dialect_lmdeploy;
extern const shoal_dialect shoal_dialect_torchao;
extern const shoal_dialect shoal_dialect_torchao_aqt;
extern const shoal_dialect shoal_dialect_torchao_int4;
extern const shoal_dialect shoal_dialect_torchao_int4_aqt;
extern const shoal_dialect shoal_dialect_gguf;
extern const shoal_dialect shoal_dialect_pack;

/* What dialects share. */

/* Inputs of a group as the config says, at most those that there are. */
int64_t shoal_module_group(const shoal_module *module);

/* Tensor "MODULE.suffix"; NULL when it is not there. */
const shoal_tensor *shoal_module_tensor(const shoal_module *module, const char *suffix);

/* Is `tensor` there, and [rows][columns]? Is it of this dtype, or of a float dtype? Otherwise
 * SHOAL_ERR_DATA with what it is and what it should be. */
SHOAL_MUST_USE shoal_status shoal_dialect_expect(const shoal_module *module, const char *suffix,
                                                 const shoal_tensor *tensor, int64_t rows,
                                                 int64_t columns);
SHOAL_MUST_USE shoal_status shoal_dialect_expect_dtype(const shoal_tensor *tensor,
                                                       shoal_dtype dtype);
SHOAL_MUST_USE shoal_status shoal_dialect_expect_float(const shoal_tensor *tensor);

/* The input of the weight is divided by this vector ([k] or [1][k]) or multiplied with it. */
SHOAL_MUST_USE shoal_status shoal_dialect_set_input_scale(const shoal_module *module,
                                                          const shoal_tensor *tensor, bool multiply,
                                                          shoal_weight *weight);

/* "[16, 128]" into `out`. */
void shoal_tensor_shape_text(const shoal_tensor *tensor, char *out, size_t room);

/* Weight groups that a rectangle touches. */
int64_t shoal_rect_group_begin(const shoal_weight *weight, const shoal_rect *rect);
int64_t shoal_rect_groups(const shoal_weight *weight, const shoal_rect *rect);

/* Columns of a rectangle to hold in memory at a time while it is read: a multiple of 64, so many
 * that stored and canonical form together take about SHOAL_STAGING_BYTES: what a core's own cache
 * holds. */
#define SHOAL_STAGING_BYTES (2ll << 20)
int64_t shoal_rect_staging_columns(const shoal_weight *weight, const shoal_rect *rect);

/* shoal_dialect.tile of forms that hold a column in one piece: as many columns over all inputs, so
 * that a tile has all groups that its rectangle touches. */
void shoal_dialect_tile_columns(const shoal_weight *weight, const shoal_rect *rect,
                                int64_t *columns, int64_t *inputs);

/* Set the scalars of `out` and allocate its arrays for this rectangle; or those of the groups, and
 * none for codes. */
SHOAL_MUST_USE shoal_status shoal_dialect_allocate(const shoal_weight *weight,
                                                   const shoal_rect *rect, shoal_arena *arena,
                                                   shoal_canonical *out);
SHOAL_MUST_USE shoal_status shoal_dialect_allocate_groups(const shoal_weight *weight,
                                                          const shoal_rect *rect,
                                                          shoal_arena *arena, shoal_canonical *out);

/* Read rows [first, first + rows) of a matrix tensor, bytes [begin, begin + bytes) of each, into
 * a block that the caller frees with shoal_free. Nothing to read is an empty block. */
SHOAL_MUST_USE shoal_status shoal_dialect_stage(const shoal_manifest *manifest,
                                                const shoal_tensor *tensor, int64_t first,
                                                int64_t rows, int64_t begin, int64_t bytes,
                                                uint8_t **out);

/* The same into a slot of `staging`. */
SHOAL_MUST_USE shoal_status shoal_dialect_stage_slot(const shoal_manifest *manifest,
                                                     const shoal_tensor *tensor, int64_t first,
                                                     int64_t rows, int64_t begin, int64_t bytes,
                                                     shoal_staging *staging, shoal_stage_slot slot,
                                                     uint8_t **out);

/* Does it hold one number, for whatever is asked? */
static inline bool shoal_tensor_is_single(const shoal_tensor *tensor)
{
    return tensor->rank < 2 && (tensor->rank == 0 || tensor->shape[0] == 1);
}

/* Read scales stored [groups][columns] for a tile, as they are, all finite. */
SHOAL_MUST_USE shoal_status shoal_dialect_stage_scales(const shoal_manifest *manifest,
                                                       const shoal_weight *weight,
                                                       const shoal_tensor *tensor,
                                                       const shoal_tile *tile,
                                                       shoal_staging *staging, uint8_t **out);

/* The same for floats stored as shoal_dialect_read_row_scales has them, turned to
 * [groups][columns].
 */
SHOAL_MUST_USE shoal_status shoal_dialect_stage_row_scales(const shoal_manifest *manifest,
                                                           const shoal_weight *weight,
                                                           const shoal_tensor *tensor,
                                                           const shoal_tile *tile,
                                                           shoal_staging *staging, uint8_t **out);

/* Zero points [columns][groups] as a stored block has them: a byte each, [groups][columns]. */
SHOAL_MUST_USE shoal_status shoal_dialect_stage_points(const int16_t *zeros, int64_t columns,
                                                       int64_t groups, shoal_staging *staging,
                                                       uint8_t **out);

/* Are `count` elements of F32, F16 or BF16 all finite? */
bool shoal_dialect_all_finite(const uint8_t *stored, shoal_dtype dtype, int64_t count);

/* Are these [groups][columns] scales, as they are stored from this group and column of the tensor
 * on, all finite? SHOAL_ERR_DATA names the first that is not. */
SHOAL_MUST_USE shoal_status shoal_dialect_check_scales(const shoal_tensor *tensor,
                                                       const uint8_t *stored, int64_t groups,
                                                       int64_t columns, int64_t first_group,
                                                       int64_t first_column);

/* Read scales stored [groups][columns] for a rectangle, all finite. `out` is out->scales or
 * out->mins. */
SHOAL_MUST_USE shoal_status shoal_dialect_read_scales(const shoal_manifest *manifest,
                                                      const shoal_weight *weight,
                                                      const shoal_tensor *tensor,
                                                      const shoal_rect *rect, float *out);
uint64_t shoal_dialect_scales_bytes(const shoal_weight *weight, const shoal_tensor *tensor,
                                    const shoal_rect *rect);

/* The same for floats stored [columns][groups], with more groups than needed where the tensor is
 * padded; [columns] is one group, [1] is one number for all. */
SHOAL_MUST_USE shoal_status shoal_dialect_read_row_scales(const shoal_manifest *manifest,
                                                          const shoal_weight *weight,
                                                          const shoal_tensor *tensor,
                                                          const shoal_rect *rect, float *out);
uint64_t shoal_dialect_row_scales_bytes(const shoal_weight *weight, const shoal_tensor *tensor,
                                        const shoal_rect *rect);

/* g_idx of an act-order weight (shard/dialect_order.c): is it I32 [k]? Its order, a stable sort by
 * group; groups that are not full or not there are SHOAL_ERR_DATA. Where it may be unset, a -1 in
 * it says so, and inputs are in order. */
SHOAL_MUST_USE shoal_status shoal_dialect_expect_order(const shoal_module *module,
                                                       const shoal_tensor *g_idx);
SHOAL_MUST_USE shoal_status shoal_dialect_read_order(const shoal_manifest *manifest,
                                                     const shoal_weight *weight,
                                                     const shoal_tensor *g_idx, bool may_be_unset,
                                                     int32_t *order);

#endif
