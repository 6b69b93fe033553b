/* shard/convert_read.h - strips of a module that a conversion reads: columns over all inputs, from
 * one linear or from several that are stacked. */
#ifndef SHOAL_SHARD_CONVERT_READ_H
#define SHOAL_SHARD_CONVERT_READ_H

#include "shard/writer.h"

/* Columns of a strip, a multiple of SHOAL_WRITER_STRIP: what a core's own cache holds. */
int64_t shoal_convert_strip_columns(const shoal_writer_module *module);

/* The order of an act-order module, to be freed with shoal_free; *order NULL where it has none. */
SHOAL_MUST_USE shoal_status shoal_convert_order(const shoal_manifest *manifest,
                                                const shoal_writer_module *module, int32_t **order);

/* Columns [begin, end) of the module, with zero points for minimums unless module->has_mins. */
SHOAL_MUST_USE shoal_status shoal_convert_read(const shoal_manifest *manifest,
                                               const shoal_writer_module *module,
                                               const int32_t *order, int64_t begin, int64_t end,
                                               shoal_arena *arena, shoal_canonical *out);

/* Set module->symmetric and module->has_mins by what the groups hold: are minimums zero points in
 * another form, and is every zero point the middle of the range? No code is read. */
SHOAL_MUST_USE shoal_status shoal_convert_look(const shoal_manifest *manifest,
                                               shoal_writer_module *module);

/* What a folder's norms are less than those of a GGUF file, which have it added: 1 in Gemma, else
 * 0. `vector` is a vector of the weight. */
float shoal_convert_norm_offset(const shoal_manifest *manifest, const shoal_weight *weight,
                                const shoal_tensor *vector);

#endif
