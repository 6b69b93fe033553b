/* coordinator/text/speech_formats.h - how models mark calls of functions and reasoning in their
 * text: one table row per format.
 *
 * A format is recognised by what the chat template says, because the template teaches the model;
 * never by the name of a model. The readers are in coordinator/text/tool_calls.h. */
#ifndef SHOAL_COORDINATOR_TEXT_SPEECH_FORMATS_H
#define SHOAL_COORDINATOR_TEXT_SPEECH_FORMATS_H

#include <stdbool.h>
#include <stddef.h>

#define SHOAL_CALL_SKIPS_MAX 4
#define SHOAL_CALL_NAME_MAX  256 /* bytes of a function's name, and of what stands around it */

typedef enum {
    SHOAL_CALLS_OBJECTS,   /* {"name": f, "arguments": {...}} */
    SHOAL_CALLS_NAMED,     /* f SEPARATOR {...}, or objects where a '{' comes first */
    SHOAL_CALLS_PYTHON,    /* f(a=1, b="x") */
    SHOAL_CALLS_ARGUMENTS, /* {...} of a function known beforehand */
} shoal_call_shape;

/* Calls come in sections: the opening mark, calls, the closing mark. Strings are NULL where a
 * format has no such thing. */
typedef struct {
    const char *name;
    const char *sign; /* a template that says this uses the format */
    shoal_call_shape shape;
    const char *open, *close;
    const char *bare; /* a message may be a section without marks: it begins with one of these */
    const char *separator;                   /* between name and arguments */
    const char *skips[SHOAL_CALL_SKIPS_MAX]; /* between calls, like white space */
} shoal_call_format;

typedef struct {
    const char *open, *close;
} shoal_think_format;

/* What a template teaches; NULL: nothing that is known. */
const shoal_call_format *shoal_call_format_of(const char *text, size_t bytes);
const shoal_think_format *shoal_think_format_of(const char *text, size_t bytes);

/* By name, from the table. */
const shoal_call_format *shoal_call_format_named(const char *name);

/* Answers that a grammar made: a list of objects; the arguments alone. */
extern const shoal_call_format shoal_calls_required, shoal_calls_forced;

/* Is the text one of the format's marks? Marks are often special tokens, which an answer does not
 * show otherwise. */
bool shoal_call_format_marks(const shoal_call_format *format, const char *text, size_t bytes);
bool shoal_think_format_marks(const shoal_think_format *format, const char *text, size_t bytes);

#endif
