/* coordinator/text/pretokenizer.h - text to words: a list of steps.
 *
 * A step either cuts every word further (split, pieces of one length) or rewrites every word
 * (prefix, replacement, byte alphabet). The pre-tokenizers of tokenizer.json are made of these:
 * ByteLevel is up to three.
 * Filled while a tokenizer is opened, read-only afterwards. */
#ifndef SHOAL_COORDINATOR_TEXT_PRETOKENIZER_H
#define SHOAL_COORDINATOR_TEXT_PRETOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/text/growable.h"
#include "coordinator/text/pattern.h"

#define SHOAL_PRETOKENIZER_STEPS_MAX 64

/* What becomes of the matches of a split's pattern. */
typedef enum {
    SHOAL_SPLIT_REMOVED,
    SHOAL_SPLIT_ISOLATED,      /* each match is a word                     */
    SHOAL_SPLIT_WITH_PREVIOUS, /* a match ends the word before it          */
    SHOAL_SPLIT_WITH_NEXT,     /* a match begins the word behind it        */
    SHOAL_SPLIT_CONTIGUOUS,    /* neighbouring matches are one word        */
} shoal_split_behavior;

typedef enum {
    SHOAL_PRETOKEN_SPLIT,
    SHOAL_PRETOKEN_LENGTH,        /* cut behind every `length` characters                         */
    SHOAL_PRETOKEN_PREFIX,        /* `text` in front of each word that does not begin with it     */
    SHOAL_PRETOKEN_REPLACE,       /* `text` for each match of `pattern` in each word              */
    SHOAL_PRETOKEN_BYTE_ALPHABET, /* every byte as its character of the byte alphabet             */
} shoal_pretoken_kind;

/* Only what the kind names is set; pattern and text are owned. */
typedef struct {
    shoal_pretoken_kind kind;
    shoal_pattern *pattern;
    shoal_split_behavior behavior;
    bool invert;     /* split: what lies between the matches counts as the match */
    bool first_only; /* prefix: only the word that begins the whole text         */
    size_t length;
    shoal_strbuf text;
} shoal_pretoken_step;

typedef struct {
    shoal_pretoken_step steps[SHOAL_PRETOKENIZER_STEPS_MAX];
    int count;
} shoal_pretokenizer;

/* Add a step, and take what it owns in any case. */
SHOAL_MUST_USE shoal_status shoal_pretokenizer_add(shoal_pretokenizer *pre,
                                                   const shoal_pretoken_step *step);
void shoal_pretokenizer_free(shoal_pretokenizer *pre);

/* Words of one stretch of text: spans of `text`. The spare halves are scratch. */
typedef struct {
    bool begins_text; /* the first word begins the whole text, nothing was removed before it */
    shoal_strbuf text, spare_text;
    shoal_spans spans, spare_spans;
} shoal_words;

void shoal_words_free(shoal_words *words);

/* Replace the contents of *words by the words of a stretch of text (valid UTF-8); `begins_text`:
 * it is the beginning of the whole text. SHOAL_ERR_DATA when the words grow beyond the limit. */
SHOAL_MUST_USE shoal_status shoal_pretokenizer_run(const shoal_pretokenizer *pre,
                                                   shoal_matcher *matcher, const char *text,
                                                   size_t bytes, bool begins_text,
                                                   shoal_words *words);

#endif
