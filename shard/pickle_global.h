/* shard/pickle_global.h - the allow-list: the only names a pickle may mention, and what each means
 * to us.
 *
 * A pickle names Python objects as module and name. Here a name is looked up in a table of plain
 * data and nowhere else; one that is not in the table ends the reading before anything is done
 * with it. Nothing is ever imported or called: what "calls" a global is a node in a tree
 * (shard/pickle.h), which shard/torch_*.c compare with the few shapes they know. */
#ifndef SHOAL_SHARD_PICKLE_GLOBAL_H
#define SHOAL_SHARD_PICKLE_GLOBAL_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/dtype.h"

typedef enum {
    SHOAL_GLOBAL_ORDERED_DICT,
    SHOAL_GLOBAL_REBUILD_TENSOR,    /* (storage, offset, size, stride)                        */
    SHOAL_GLOBAL_REBUILD_TENSOR_V2, /* ... , requires_grad, hooks[, metadata]                 */
    SHOAL_GLOBAL_REBUILD_TENSOR_V3, /* ... , requires_grad, hooks, dtype[, metadata]          */
    SHOAL_GLOBAL_REBUILD_PARAMETER, /* (tensor, ...)                                          */
    SHOAL_GLOBAL_REBUILD_SUBCLASS,  /* (function, class, arguments, state)                    */
    SHOAL_GLOBAL_WRAPPER_SUBCLASS,  /* that function; its arguments: (class, dtype, size, ...) */
    SHOAL_GLOBAL_SIZE,
    SHOAL_GLOBAL_PLAIN,        /* a device, a layout or config object, bytes: passed over    */
    SHOAL_GLOBAL_STORAGE,      /* `dtype` is that of its elements                            */
    SHOAL_GLOBAL_BYTE_STORAGE, /* UntypedStorage: counted in bytes                           */
    SHOAL_GLOBAL_DTYPE,
    SHOAL_GLOBAL_SUBCLASS,     /* a tensor class of torchao                                  */
    SHOAL_GLOBAL_ENUM,         /* an enum of torchao, made from its number                   */
    SHOAL_GLOBAL_ACT_FUNCTION, /* a function that quantizes activations while a model runs    */
} shoal_global_kind;

typedef struct {
    const char *module; /* ends in '.': any module below it */
    const char *name;
    shoal_global_kind kind;
    bool callable;
    shoal_dtype dtype; /* of STORAGE and DTYPE */
} shoal_pickle_global;

/* `module` and `name` need not end in NUL. NULL when the pair is not allowed. */
const shoal_pickle_global *shoal_pickle_global_find(const char *module, size_t module_bytes,
                                                    const char *name, size_t name_bytes);

#endif
