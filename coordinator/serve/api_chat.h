/* coordinator/serve/api_chat.h - the messages of a chat as the text of its template. Private to the
 * api files. */
#ifndef SHOAL_COORDINATOR_SERVE_API_CHAT_H
#define SHOAL_COORDINATOR_SERVE_API_CHAT_H

#include "coordinator/serve/api_fields.h"
#include "coordinator/serve/api_request.h"

/* "tools" (checked for shape; NULL when there are none) and what "tool_choice" makes of them: this
 * version cannot read calls from an answer, so tools that might be called are refused. */
bool shoal_api_read_tools(const shoal_fields *fields, json_t **tools);
bool shoal_api_check_tool_choice(const shoal_fields *fields, const json_t *tools);

/* Append the rendered chat: "messages", `tools` (may be NULL), "add_generation_prompt",
 * "chat_template_kwargs". */
bool shoal_api_render_chat(const shoal_api_context *context, const shoal_fields *fields,
                           json_t *tools, shoal_strbuf *text);

#endif
