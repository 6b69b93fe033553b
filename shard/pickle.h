/* shard/pickle.h - a restricted pickle as a tree of values: bytes in, data out, nothing executed.
 *
 * It reads the opcodes that torch.save writes (protocols 2 and 3, those that PyTorch's own
 * weights-only loader takes) and refuses every other one, every global that is not in
 * shard/pickle_global.h, and everything that does not fit together (SHOAL_ERR_DATA with the place).
 * A call in the pickle is a node that holds what would be called and with which arguments.
 *
 * Lists and dicts can be put into themselves, as in Python: a walker bounds its own depth. Time and
 * memory are linear in the bytes and capped. */
#ifndef SHOAL_SHARD_PICKLE_H
#define SHOAL_SHARD_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/arena.h"
#include "shard/pickle_global.h"

#define SHOAL_PICKLE_BYTES_MAX (64u << 20)

typedef enum {
    SHOAL_PICKLE_NONE,
    SHOAL_PICKLE_BOOL,
    SHOAL_PICKLE_INTEGER,
    SHOAL_PICKLE_REAL,
    SHOAL_PICKLE_TEXT,
    SHOAL_PICKLE_TUPLE,
    SHOAL_PICKLE_LIST,
    SHOAL_PICKLE_DICT, /* items: key, value, key, value, ... in the order of the pickle */
    SHOAL_PICKLE_GLOBAL,
    SHOAL_PICKLE_CALL,       /* items: the global, its arguments (a tuple), its state or NULL */
    SHOAL_PICKLE_PERSISTENT, /* items: the identity, in torch files a tuple of a storage      */
} shoal_pickle_kind;

typedef struct shoal_pickle shoal_pickle;
struct shoal_pickle {
    shoal_pickle_kind kind;
    uint32_t count; /* of items, or bytes of the text  */
    uint32_t room;  /* for items; the reader's own     */
    union {
        int64_t integer; /* also of a bool: 0 or 1 */
        double real;
        const char *text; /* in the bytes that were read, no NUL at the end */
        shoal_pickle **items;
        const shoal_pickle_global *global;
    } as;
};

/* Read the pickle in data[0, bytes), which must outlive the tree; nodes live in `arena`. `where`
 * goes into messages. */
SHOAL_MUST_USE shoal_status shoal_pickle_read(const uint8_t *data, uint64_t bytes,
                                              const char *where, shoal_arena *arena,
                                              const shoal_pickle **out);

/* Is it this text? */
bool shoal_pickle_is_text(const shoal_pickle *value, const char *text);

/* Is it a call (or the mention) of a global of this kind? */
bool shoal_pickle_calls(const shoal_pickle *value, shoal_global_kind kind);
bool shoal_pickle_names(const shoal_pickle *value, shoal_global_kind kind);

/* Argument `index` of a call; NULL when there is none. */
const shoal_pickle *shoal_pickle_argument(const shoal_pickle *call, uint32_t index);

/* The value of a key of a dict, the last one said; NULL when there is none. */
const shoal_pickle *shoal_pickle_lookup(const shoal_pickle *dict, const char *key);

#endif
