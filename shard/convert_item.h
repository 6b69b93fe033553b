/* shard/convert_item.h - one module or vector of a conversion: read, brought into its form, packed
 * and put into its file, on all threads of a pool. */
#ifndef SHOAL_SHARD_CONVERT_ITEM_H
#define SHOAL_SHARD_CONVERT_ITEM_H

#include "kernels/threads.h"
#include "shard/convert_plan.h"

/* Elements of the item that are done so far; on the caller's thread. */
typedef void (*shoal_convert_advance)(void *context, uint64_t elements);

/* The tensors of the module that was packed last: they go into the file while the next one is
 * packed. {0} to begin with. */
typedef struct {
    const shoal_convert_item *item; /* NULL: none */
    uint8_t *parts[SHOAL_WRITER_PARTS_MAX];
} shoal_convert_pending;

/* Sets item->loss; what is pending afterwards belongs to `writer`'s file. Memory: the tensors of
 * two modules, and some strips per thread. */
SHOAL_MUST_USE shoal_status shoal_convert_item_write(const shoal_convert_plan *plan,
                                                     shoal_convert_item *item,
                                                     shoal_st_writer *writer, shoal_pool *pool,
                                                     shoal_convert_pending *pending,
                                                     shoal_convert_advance advance, void *context);

/* Put the last module's tensors into the file, unless `st`, what came before, is a failure; free
 * them in any case. */
SHOAL_MUST_USE shoal_status shoal_convert_item_flush(const shoal_convert_plan *plan,
                                                     shoal_st_writer *writer,
                                                     shoal_convert_pending *pending,
                                                     shoal_status st);

#endif
