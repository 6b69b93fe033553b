/* coordinator/serve/api_chat.h - the messages of a chat as the text of its template. Private to the
 * api files. */
#ifndef SHOAL_COORDINATOR_SERVE_API_CHAT_H
#define SHOAL_COORDINATOR_SERVE_API_CHAT_H

#include "coordinator/serve/api_fields.h"
#include "coordinator/serve/api_request.h"
#include "coordinator/serve/api_tools.h"

/* Append the rendered chat: "messages", the tools, "add_generation_prompt", "reasoning_effort",
 * "chat_template_kwargs". For a template that does not speak of tools these become ordinary text
 * first. */
bool shoal_api_render_chat(const shoal_api_context *context, const shoal_fields *fields,
                           const shoal_api_tools *tools, shoal_strbuf *text);

#endif
