/* shard/gguf_pre.h - what the pre-tokenizer names of GGUF files mean: one table.
 *
 * A name stands for how the published tokenizer of that model normalizes and cuts a text. A new
 * name is one row in gguf_pre.c. */
#ifndef SHOAL_SHARD_GGUF_PRE_H
#define SHOAL_SHARD_GGUF_PRE_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/status.h"

#define SHOAL_GGUF_PRE_CUTS_MAX 6

typedef struct {
    const char *name;
    bool nfc;                                  /* texts are brought into this form first */
    bool ignore_merges;                        /* a word that is a token is that token   */
    bool adds_bos;                             /* unless the file says otherwise         */
    const char *cuts[SHOAL_GGUF_PRE_CUTS_MAX]; /* patterns whose matches are words       */
} shoal_gguf_pre;

/* SHOAL_ERR_DATA names one that is missing or not in the table. */
SHOAL_MUST_USE shoal_status shoal_gguf_pre_find(const char *name, size_t bytes,
                                                const shoal_gguf_pre **out);

#endif
