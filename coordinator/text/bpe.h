/* coordinator/text/bpe.h - byte-pair encoding: a word as the tokens that ranked merges leave.
 *
 * The word's characters become tokens; then the pair of neighbours with the lowest rank, the
 * leftmost of equals, is joined until no pair has a merge. A heap finds it, so a word of n
 * characters costs n log n. Characters without a token become bytes (<0xNN>), the unknown token,
 * or nothing, in this order of preference, as far as the options allow. */
#ifndef SHOAL_COORDINATOR_TEXT_BPE_H
#define SHOAL_COORDINATOR_TEXT_BPE_H

#include <stdbool.h>

#include "coordinator/text/token_model.h"

#define SHOAL_BPE_MERGES_MAX (4u << 20)
#define SHOAL_BPE_AFFIX_MAX  256u /* bytes of the sub-word prefix or word suffix */

/* The unknown token is none, or one that the vocabulary lacks. */
enum { SHOAL_BPE_UNK_NONE = -1, SHOAL_BPE_UNK_MISSING = -2 };

typedef struct {
    bool ignore_merges; /* a word that is a token is that token                     */
    bool byte_fallback;
    bool fuse_unk;      /* neighbouring unknown characters give one unknown token   */
    int32_t unk;        /* an id; NONE: such characters give nothing; MISSING: a text that
                           has some is SHOAL_ERR_DATA                               */
    const char *prefix; /* in front of each character but a word's first; copied    */
    size_t prefix_bytes;
    const char *suffix; /* behind a word's last character; copied                   */
    size_t suffix_bytes;
} shoal_bpe_options;

typedef struct shoal_bpe shoal_bpe;

/* A model without merges over a finished vocabulary (borrowed), ready for about `merges`. */
SHOAL_MUST_USE shoal_status shoal_bpe_create(const shoal_vocab *vocab,
                                             const shoal_bpe_options *options, size_t merges,
                                             shoal_bpe **out);

/* The next merge, one rank behind the one before. A pair given twice has its later rank.
 * SHOAL_ERR_DATA names the merge and the token when left, right or both joined are unknown. */
SHOAL_MUST_USE shoal_status shoal_bpe_add_merge(shoal_bpe *bpe, const char *left, size_t left_bytes,
                                                const char *right, size_t right_bytes);

/* The model to encode with and to destroy through. */
shoal_token_model *shoal_bpe_model(shoal_bpe *bpe);

#endif
