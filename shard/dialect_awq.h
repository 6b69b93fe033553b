/* shard/dialect_awq.h - what the versions of AWQ share. Not included outside shard/dialect_*.c. */
#ifndef SHOAL_SHARD_DIALECT_AWQ_H
#define SHOAL_SHARD_DIALECT_AWQ_H

#include "shard/dialect.h"

/* Parts of a weight: "qweight", "qzeros", "scales". */
enum { SHOAL_AWQ_CODES, SHOAL_AWQ_ZEROS, SHOAL_AWQ_SCALES };

/* Does the config say AWQ in this layout, and is there a qweight? */
bool shoal_awq_is(const shoal_module *module, shoal_stored_layout layout);

/* Check the dtypes of codes and zeros in words, and fill the weight; shapes are the caller's. */
SHOAL_MUST_USE shoal_status shoal_awq_describe(const shoal_module *module, shoal_weight *weight);

/* Words of zeros in a row of gemv and gemv_fast (shard/dialect_awq_gemv.c). SHOAL_ERR_DATA for a
 * group that they do not have. */
SHOAL_MUST_USE shoal_status shoal_awq_zero_words(const shoal_module *module, int64_t *out);

#endif
