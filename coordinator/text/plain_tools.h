/* coordinator/text/plain_tools.h - tools for a template that knows nothing of them.
 *
 * Descriptions, calls and results become ordinary text, in the way of Hermes, which many models
 * have seen: the first message says what can be called and how, a call is
 * <tool_call>{...}</tool_call> of the assistant, its result <tool_response>...</tool_response> of
 * the user. */
#ifndef SHOAL_COORDINATOR_TEXT_PLAIN_TOOLS_H
#define SHOAL_COORDINATOR_TEXT_PLAIN_TOOLS_H

#include <jansson.h>

#include "coordinator/text/speech_formats.h"
#include "proto/status.h"

/* Rewrite `messages` (checked for shape: strings as content, or null with calls) in place. `tools`
 * to be described, or NULL. SHOAL_ERR_TEMPORARY only. */
SHOAL_MUST_USE shoal_status shoal_plain_tools(json_t *messages, const json_t *tools);

/* How the calls of the answer are read. */
const shoal_call_format *shoal_plain_calls(void);

#endif
