/* coordinator/text/tokenizer_parts.h - what a tokenizer is made of. Private to the files that build
 * one (tokenizer_json.c and its like) and the files that use it (tokenizer.c, detok.c). */
#ifndef SHOAL_COORDINATOR_TEXT_TOKENIZER_PARTS_H
#define SHOAL_COORDINATOR_TEXT_TOKENIZER_PARTS_H

#include "coordinator/text/added_tokens.h"
#include "coordinator/text/decoder.h"
#include "coordinator/text/normalizer.h"
#include "coordinator/text/pretokenizer.h"
#include "coordinator/text/token_model.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/vocab.h"

struct shoal_tokenizer {
    shoal_vocab *vocab;
    shoal_token_model *model;
    shoal_added_set *added_raw;        /* looked for in the text as it is  */
    shoal_added_set *added_normalized; /* looked for in the normalized text */
    shoal_normalizer normalizer;
    shoal_pretokenizer pretokenizer;
    shoal_ids before, after; /* special tokens around a text */
    shoal_decoder decoder;
};

#endif
