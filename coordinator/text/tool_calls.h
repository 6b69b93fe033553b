/* coordinator/text/tool_calls.h - one call of a function, read from a text that is still growing.
 *
 * A reader begins behind the opening mark of a section, or behind a call of it. It is shown all of
 * the text, again and again as that grows, and goes on where it stopped. It gives out the name as
 * soon as it is sure and the arguments as they come. A reader serves one call: DONE and start anew.
 * Private to speech.c. */
#ifndef SHOAL_COORDINATOR_TEXT_TOOL_CALLS_H
#define SHOAL_COORDINATOR_TEXT_TOOL_CALLS_H

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/text/json_scan.h"
#include "coordinator/text/speech_formats.h"
#include "coordinator/text/speech_pieces.h"

#define SHOAL_CALL_TEXT_MAX (1u << 20) /* bytes of one call */

typedef enum {
    SHOAL_CALL_MORE,   /* the text must grow */
    SHOAL_CALL_DONE,   /* a call is complete */
    SHOAL_CALL_OVER,   /* no further call: the section ends */
    SHOAL_CALL_BROKEN, /* this is no call; whatever was given out is not one either */
} shoal_call_verdict;

typedef enum {
    SHOAL_CALL_BETWEEN,
    SHOAL_CALL_HEAD,      /* of a named one, up to its arguments */
    SHOAL_CALL_ARGUMENTS, /* of a named one */
    SHOAL_CALL_OBJECT,
    SHOAL_CALL_PYTHON,
} shoal_call_state;

typedef struct {
    const shoal_call_format *format;
    const char *forced; /* the function of SHOAL_CALLS_ARGUMENTS */
    int number;         /* of the call, should one begin */
    bool first;         /* of its section */

    size_t at; /* bytes of the text that are read; what a verdict is about ends here */
    shoal_call_state state;
    size_t from; /* where the head, or the call in Python, begins */
    shoal_json_scan scan;
    shoal_span key, value; /* of the object, the latest ones at its top */
    shoal_span name;       /* with its quotes; empty: not yet seen */
    shoal_span arguments;  /* begin == end: not yet seen; end SIZE_MAX: not yet whole */
    bool begun;            /* the name is given out */
    size_t sent;           /* arguments are given out up to here */
    char quote;            /* in Python: the open string's */
    bool escaped;
    int depth;
} shoal_call_reader;

/* Begin before a call of a section, `at` bytes behind the beginning of the text shown. */
shoal_call_reader shoal_call_reader_at(const shoal_call_format *format, const char *forced,
                                       int number, bool first, size_t at);

/* `final`: the text does not grow any more, so there is a verdict. Fails only for want of memory.
 */
SHOAL_MUST_USE shoal_status shoal_call_read(shoal_call_reader *reader, const char *text,
                                            size_t bytes, bool final, shoal_speech_pieces *out,
                                            shoal_call_verdict *verdict);

/* How the text at this place begins with a mark. NULL is never there. */
typedef enum { SHOAL_MARK_ABSENT, SHOAL_MARK_BEGUN, SHOAL_MARK_WHOLE } shoal_mark;
shoal_mark shoal_mark_at(const char *text, size_t bytes, const char *mark);

#endif
