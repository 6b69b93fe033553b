/* shard/gguf_merges.h - the merges of a SentencePiece vocabulary, from its scores.
 *
 * SentencePiece joins the two neighbours whose common piece has the best score; a tokenizer.json
 * has a list of merges instead, the best first. Every way to cut a piece in two pieces is a merge;
 * they are in descending order of the piece's score, then of the length of the left and of the
 * right part in characters: the rule of transformers' own converter. */
#ifndef SHOAL_SHARD_GGUF_MERGES_H
#define SHOAL_SHARD_GGUF_MERGES_H

#include <stddef.h>

#include "proto/status.h"

struct json_t;

#define SHOAL_GGUF_PIECE_MAX  256u /* bytes of a piece that is merged */
#define SHOAL_GGUF_MERGES_MAX 4000000u

/* `pieces`: {piece: score} of those that may be parts and results, in the order of their ids. *out:
 * [[left, right], ...]. SHOAL_ERR_DATA beyond the limits. */
SHOAL_MUST_USE shoal_status shoal_gguf_merges(const struct json_t *pieces, struct json_t **out);

#endif
