/* coordinator/text/decoder.h - from the pieces of tokens to text: a list of steps, and their walk.
 *
 * Pieces enter the first step one by one; what a step lets out enters the next. Up to the first
 * step that joins (SHOAL_DECODE_BYTE_LEVEL, SHOAL_DECODE_FUSE) a step sees whole tokens, behind it
 * one text that arrives in portions. A step holds back what it cannot know yet. The list is filled
 * while a tokenizer is opened and read-only afterwards; a walk belongs to one thread. */
#ifndef SHOAL_COORDINATOR_TEXT_DECODER_H
#define SHOAL_COORDINATOR_TEXT_DECODER_H

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/text/growable.h"
#include "coordinator/text/pattern.h"

#define SHOAL_DECODER_STEPS_MAX   32
#define SHOAL_DECODER_LITERAL_MAX 256u /* bytes of a text looked for in joined text */

typedef enum {
    SHOAL_DECODE_BYTE_LEVEL,    /* characters of the byte alphabet to bytes; joins tokens         */
    SHOAL_DECODE_BYTE_FALLBACK, /* <0xNN> to its byte, as far as bytes make characters            */
    SHOAL_DECODE_FUSE,          /* joins tokens                                                   */
    SHOAL_DECODE_SPACE,         /* a space before each token but the first                        */
    SHOAL_DECODE_SPACE_UNLESS,  /* the same, but a beginning `text` goes and needs no space       */
    SHOAL_DECODE_REPLACE,       /* `text` for each match of `pattern`                             */
    SHOAL_DECODE_STRIP,         /* without up to `start` and `stop` times `text` at the ends      */
    SHOAL_DECODE_SENTENCEPIECE, /* U+2581 as space, up to `start` fewer where the text begins;
                                   <0xNN> to its byte; the token `pattern` as `text` */
    SHOAL_DECODE_WORD_END,      /* a space for each match of `pattern`, nothing in the last token */
} shoal_decode_kind;

/* Only what the kind names is set; pattern and text are owned. */
typedef struct {
    shoal_decode_kind kind;
    bool joined;        /* stands behind a step that joins: set by shoal_decoder_add */
    bool drop_in_first; /* replace: in the first token, nothing for each match       */
    size_t start, stop;
    shoal_pattern *pattern;
    shoal_strbuf text;
} shoal_decode_step;

typedef struct {
    shoal_decode_step steps[SHOAL_DECODER_STEPS_MAX];
    int count;
    bool regex; /* some pattern is no literal */
} shoal_decoder;

/* Add a step, and take what it owns in any case. SHOAL_ERR_DATA when it cannot stand behind the
 * ones before. */
SHOAL_MUST_USE shoal_status shoal_decoder_add(shoal_decoder *decoder,
                                              const shoal_decode_step *step);
void shoal_decoder_free(shoal_decoder *decoder);

/* Does a step put something between tokens, or take something from where two meet? Then a text is
 * not its tokens' bytes one after another. */
bool shoal_decoder_separates(const shoal_decoder *decoder);

/* Append the bytes that one piece stands for in the middle of a text; they need not be UTF-8. */
SHOAL_MUST_USE shoal_status shoal_decoder_piece(const shoal_decoder *decoder, const char *piece,
                                                size_t bytes, shoal_strbuf *out);

/* What one step remembers, and what it lets out. */
typedef struct {
    shoal_strbuf held, out;
    bool begun; /* a token has passed     */
    size_t cut; /* strip: times `text`    */
} shoal_decode_memory;

typedef struct {
    const shoal_decoder *decoder;
    shoal_matcher *matcher; /* owned; only where a pattern needs it */
    bool whole; /* nothing need come out before the end: a broken run of <0xNN> is known to be */
    bool ready; /* the blocks below are there */
    size_t taken, given; /* bytes of pieces that entered, and of text that came out */
    shoal_decode_memory memory[SHOAL_DECODER_STEPS_MAX];
    shoal_strbuf *out; /* where text goes */
} shoal_decode_walk;

/* All zero but `decoder`, `whole` and `out` is a valid beginning. What comes out is valid UTF-8. */
SHOAL_MUST_USE shoal_status shoal_decode_push(shoal_decode_walk *walk, const char *piece,
                                              size_t bytes);

/* The end: what was held back comes out, and the walk is as new. */
SHOAL_MUST_USE shoal_status shoal_decode_finish(shoal_decode_walk *walk);
void shoal_decode_walk_free(shoal_decode_walk *walk);

#endif
