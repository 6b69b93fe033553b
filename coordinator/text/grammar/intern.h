/* coordinator/text/grammar/intern.h - numbers for things: equal bytes get equal numbers.
 *
 * The first key is number 0, the next new one 1, and so on; keys are copied and start at multiples
 * of 8. A key pointer is valid until the next new key. All zero is a valid empty table. */
#ifndef SHOAL_COORDINATOR_TEXT_GRAMMAR_INTERN_H
#define SHOAL_COORDINATOR_TEXT_GRAMMAR_INTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/growable.h"

typedef struct {
    shoal_strbuf keys;
    shoal_spans places; /* where each key lies in `keys` */
    int32_t *slots;     /* number + 1, 0 = free          */
    size_t slot_count;  /* a power of two                */
} shoal_intern;

/* *fresh (may be NULL): the key was not there before. SHOAL_ERR_TEMPORARY for want of memory. */
SHOAL_MUST_USE shoal_status shoal_intern_put(shoal_intern *table, const void *key, size_t bytes,
                                             int32_t *number, bool *fresh);

const void *shoal_intern_key(const shoal_intern *table, int32_t number, size_t *bytes);
int32_t shoal_intern_count(const shoal_intern *table);
void shoal_intern_free(shoal_intern *table);

#endif
