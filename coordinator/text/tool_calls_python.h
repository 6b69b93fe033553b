/* coordinator/text/tool_calls_python.h - a call written in Python as a JSON object of its
 * arguments. Private to tool_calls.c. */
#ifndef SHOAL_COORDINATOR_TEXT_TOOL_CALLS_PYTHON_H
#define SHOAL_COORDINATOR_TEXT_TOOL_CALLS_PYTHON_H

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/text/growable.h"

#define SHOAL_PYTHON_DEPTH_MAX 32 /* of lists and dictionaries */

/* `f(a=1, b=['x', None])`, all of it: the first *name bytes are the function's name, and
 * {"a": 1, "b": ["x", null]} is appended to *arguments. Arguments have names; values are literals:
 * strings, numbers, True, False, None, lists, dictionaries with strings as keys. Anything else
 * leaves *valid false. Fails only for want of memory. */
SHOAL_MUST_USE shoal_status shoal_python_call_read(const char *text, size_t bytes, size_t *name,
                                                   shoal_strbuf *arguments, bool *valid);

#endif
