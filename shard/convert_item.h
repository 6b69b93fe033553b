/* shard/convert_item.h - one module or vector of a conversion: read, brought into its form, packed
 * and put into its file, on all threads of a pool. */
#ifndef SHOAL_SHARD_CONVERT_ITEM_H
#define SHOAL_SHARD_CONVERT_ITEM_H

#include "kernels/threads.h"
#include "shard/convert_plan.h"

/* Elements of the item that are done so far; on the caller's thread. */
typedef void (*shoal_convert_advance)(void *context, uint64_t elements);

/* Sets item->loss. Memory: the item's tensors, and some strips of it per thread. */
SHOAL_MUST_USE shoal_status shoal_convert_item_write(const shoal_convert_plan *plan,
                                                     shoal_convert_item *item,
                                                     shoal_st_writer *writer, shoal_pool *pool,
                                                     shoal_convert_advance advance, void *context);

#endif
