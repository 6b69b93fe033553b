/* coordinator/text/speech.h - what a model says, taken apart: content, reasoning, calls.
 *
 * Text goes in as it comes, pieces come out as soon as they are certain. Held back is only what
 * could be the beginning of a mark, white space that may turn out to stand before one, and the
 * beginning of a call up to its name. How the text is cut changes nothing about the message.
 *
 *     text ─▶ marks ─▶ reasoning | content | section of calls ─▶ tool_calls ─▶ pieces
 *
 * A call that turns out to be none (no JSON, cut off, no name) stays content, markup and all: a
 * NO_CALL piece takes back what was given out, and its text follows. White space next to marks is
 * dropped. Linear time; memory for one call (SHOAL_CALL_TEXT_MAX). Belongs to one thread. */
#ifndef SHOAL_COORDINATOR_TEXT_SPEECH_H
#define SHOAL_COORDINATOR_TEXT_SPEECH_H

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/text/speech_formats.h"
#include "coordinator/text/speech_pieces.h"

/* How one answer is read. */
typedef struct {
    const shoal_call_format *calls;  /* NULL: calls are not looked for */
    const shoal_think_format *think; /* NULL: neither is reasoning */
    bool thinking;                   /* the prompt has opened the reasoning already */
    bool single;                     /* at most one call: the answer ends with it */
    const char *forced;              /* the function of shoal_calls_forced; borrowed */
} shoal_speech_rules;

typedef struct shoal_speech shoal_speech;

/* Does anything have to be read? Otherwise all text is content. */
bool shoal_speech_needed(const shoal_speech_rules *rules);

/* Must this special token reach the reader, although answers do not show special tokens? */
bool shoal_speech_wants(const shoal_speech_rules *rules, const char *token, size_t bytes);

/* Does this prompt end inside reasoning: with the opening mark? */
bool shoal_speech_opened(const shoal_think_format *think, const char *prompt, size_t bytes);

/* Rules are copied. */
SHOAL_MUST_USE shoal_status shoal_speech_create(const shoal_speech_rules *rules,
                                                shoal_speech **out);
void shoal_speech_destroy(shoal_speech *speech); /* NULL is allowed */

/* Take text; the last time with `final`. Pieces are those that became certain with it, borrowed
 * until the next call. Fails only with SHOAL_ERR_TEMPORARY. */
SHOAL_MUST_USE shoal_status shoal_speech_push(shoal_speech *speech, const char *text, size_t bytes,
                                              bool final, const shoal_speech_pieces **pieces);

/* Calls that are complete; and whether the answer ends here because no further one is wanted. */
int shoal_speech_calls(const shoal_speech *speech);
bool shoal_speech_over(const shoal_speech *speech);

#endif
