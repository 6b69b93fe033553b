/* coordinator/text/normalizer.h - what happens to text before it is cut: a list of steps.
 *
 * Each step rewrites the whole text. Filled while a tokenizer is opened, read-only afterwards. No
 * step is the identity. */
#ifndef SHOAL_COORDINATOR_TEXT_NORMALIZER_H
#define SHOAL_COORDINATOR_TEXT_NORMALIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/text/char_map.h"
#include "coordinator/text/charsmap.h"
#include "coordinator/text/growable.h"
#include "coordinator/text/pattern.h"
#include "coordinator/text/sentencepiece_normalizer.h"
#include "coordinator/text/unicode.h"

#define SHOAL_NORMALIZER_STEPS_MAX 64

typedef enum {
    SHOAL_NORMAL_FORM,               /* the normal form `form`                                   */
    SHOAL_NORMAL_CHARACTERS,         /* every character through `map`                            */
    SHOAL_NORMAL_STRIP,              /* without white space on the sides `left` and `right`      */
    SHOAL_NORMAL_PREPEND,            /* `text` in front, unless there is none to be in front of  */
    SHOAL_NORMAL_REPLACE,            /* `text` for each match of `pattern`                       */
    SHOAL_NORMAL_SENTENCEPIECE,      /* all that `sentencepiece` says                            */
    SHOAL_NORMAL_CHARSMAP_GRAPHEMES, /* `charsmap` as tokenizer.json means it, see normalizer.c  */
    SHOAL_NORMAL_BYTE_ALPHABET,      /* every byte as its character of the byte alphabet         */
} shoal_normal_kind;

/* Only what the kind names is set; pattern, text, charsmap and sentencepiece are owned. */
typedef struct {
    shoal_normal_kind kind;
    shoal_unicode_form form;
    shoal_char_map map;
    bool left, right;
    shoal_pattern *pattern;
    shoal_strbuf text;
    shoal_charsmap *charsmap;
    shoal_sentencepiece_normalizer *sentencepiece;
} shoal_normal_step;

typedef struct {
    shoal_normal_step steps[SHOAL_NORMALIZER_STEPS_MAX];
    int count;
} shoal_normalizer;

/* Add a step, and take what it owns in any case. */
SHOAL_MUST_USE shoal_status shoal_normalizer_add(shoal_normalizer *normalizer,
                                                 const shoal_normal_step *step);
void shoal_normalizer_free(shoal_normalizer *normalizer);

/* Replace the contents of *out by the normalized text (valid UTF-8 in, valid UTF-8 out).
 * SHOAL_ERR_DATA when it grows beyond the limit. */
SHOAL_MUST_USE shoal_status shoal_normalizer_run(const shoal_normalizer *normalizer,
                                                 shoal_matcher *matcher, const char *text,
                                                 size_t bytes, shoal_strbuf *out);

#endif
