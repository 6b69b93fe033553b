/* coordinator/text/pretokenizer.h - text to words: a list of steps.
 *
 * A step either cuts every word further (split) or rewrites every word (prefix space, byte
 * alphabet). The pre-tokenizers of tokenizer.json are made of these: ByteLevel is up to three.
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
    SHOAL_PRETOKEN_PREFIX_SPACE,  /* a space in front of each word that does not begin with one */
    SHOAL_PRETOKEN_BYTE_ALPHABET, /* every byte as its character of the byte alphabet           */
} shoal_pretoken_kind;

typedef struct {
    shoal_pretoken_kind kind;
    shoal_pattern *pattern; /* split: owned once the step is added */
    shoal_split_behavior behavior;
    bool invert; /* what lies between the matches counts as the match */
} shoal_pretoken_step;

typedef struct {
    shoal_pretoken_step steps[SHOAL_PRETOKENIZER_STEPS_MAX];
    int count;
} shoal_pretokenizer;

/* On failure the pattern stays the caller's. */
SHOAL_MUST_USE shoal_status shoal_pretokenizer_add(shoal_pretokenizer *pre,
                                                   const shoal_pretoken_step *step);
void shoal_pretokenizer_free(shoal_pretokenizer *pre);

/* Words of one stretch of text: spans of `text`. The spare halves are scratch. */
typedef struct {
    shoal_strbuf text, spare_text;
    shoal_spans spans, spare_spans;
} shoal_words;

void shoal_words_free(shoal_words *words);

/* Replace the contents of *words by the words of the text (valid UTF-8). */
SHOAL_MUST_USE shoal_status shoal_pretokenizer_run(const shoal_pretokenizer *pre,
                                                   shoal_matcher *matcher, const char *text,
                                                   size_t bytes, shoal_words *words);

#endif
