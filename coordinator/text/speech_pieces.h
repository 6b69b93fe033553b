/* coordinator/text/speech_pieces.h - what was understood of a model's text, in order.
 *
 * A list of pieces whose texts stand one behind the other in one buffer. All zero is an empty one.
 * Growing fails only with SHOAL_ERR_TEMPORARY. */
#ifndef SHOAL_COORDINATOR_TEXT_SPEECH_PIECES_H
#define SHOAL_COORDINATOR_TEXT_SPEECH_PIECES_H

#include <stddef.h>

#include "coordinator/text/growable.h"

typedef enum {
    SHOAL_SPEECH_CONTENT,
    SHOAL_SPEECH_REASONING,
    SHOAL_SPEECH_CALL,      /* a call begins; the text is the function's name */
    SHOAL_SPEECH_ARGUMENTS, /* more of its arguments, which are JSON text */
    SHOAL_SPEECH_NO_CALL,   /* the call that began last is none after all: its text follows as
                               content */
} shoal_speech_kind;

typedef struct {
    shoal_speech_kind kind;
    int call; /* of CALL, ARGUMENTS, NO_CALL: numbered from 0 as they begin */
    size_t begin, bytes;
} shoal_speech_piece;

typedef struct {
    shoal_strbuf text;
    shoal_speech_piece *data;
    size_t count, capacity;
} shoal_speech_pieces;

/* Append; text of the same kind and call as the last piece lengthens that one. No text is no piece,
 * except where a piece says something by itself (CALL, NO_CALL). */
SHOAL_MUST_USE shoal_status shoal_speech_add(shoal_speech_pieces *pieces, shoal_speech_kind kind,
                                             int call, const char *text, size_t bytes);
void shoal_speech_clear(shoal_speech_pieces *pieces);
void shoal_speech_pieces_free(shoal_speech_pieces *pieces);

#endif
