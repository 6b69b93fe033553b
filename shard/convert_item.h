/* shard/convert_item.h - one module or vector of a conversion: read, brought into its form, packed
 * and put into its file, on all threads of a pool. */
#ifndef SHOAL_SHARD_CONVERT_ITEM_H
#define SHOAL_SHARD_CONVERT_ITEM_H

#include "kernels/threads.h"
#include "shard/convert_plan.h"

/* Elements of the item that are done so far; on the caller's thread. */
typedef void (*shoal_convert_advance)(void *context, uint64_t elements);

/* The tensors of a module, in memory that grows to the largest. */
typedef struct {
    void *at[SHOAL_WRITER_PARTS_MAX];
    uint64_t room[SHOAL_WRITER_PARTS_MAX];
} shoal_convert_parts;

/* What stays from one item to the next: memory, and the module that was packed last, whose tensors
 * go into the file while the next one is packed. {0} to begin with. */
typedef struct {
    const shoal_convert_item *pending; /* NULL: none      */
    shoal_convert_parts full, empty;   /* of `pending`; of the next */
    shoal_arena **arenas;              /* [threads]       */
    int threads;
} shoal_convert_desk;

/* Sets item->loss; what is pending afterwards belongs to `writer`'s file. A desk stays with its
 * pool. Memory: twice the largest of each part so far, and some strips per thread. */
SHOAL_MUST_USE shoal_status shoal_convert_item_write(const shoal_convert_plan *plan,
                                                     shoal_convert_item *item,
                                                     shoal_st_writer *writer, shoal_pool *pool,
                                                     shoal_convert_desk *desk,
                                                     shoal_convert_advance advance, void *context);

/* Put the last module's tensors into the file, unless `st`, what came before, is a failure; free
 * the desk in any case. */
SHOAL_MUST_USE shoal_status shoal_convert_item_flush(const shoal_convert_plan *plan,
                                                     shoal_st_writer *writer,
                                                     shoal_convert_desk *desk, shoal_status st);

#endif
