/* coordinator/serve/api_tools.h - the functions a chat offers its model: tools, tool_choice,
 * parallel_tool_calls. Private to the api files. */
#ifndef SHOAL_COORDINATOR_SERVE_API_TOOLS_H
#define SHOAL_COORDINATOR_SERVE_API_TOOLS_H

#include "coordinator/serve/api_fields.h"
#include "coordinator/serve/api_request.h"

typedef enum {
    SHOAL_TOOLS_NONE,     /* no call is wanted */
    SHOAL_TOOLS_AUTO,     /* the model decides */
    SHOAL_TOOLS_REQUIRED, /* at least one call, of any function */
    SHOAL_TOOLS_FORCED,   /* one call of `function` */
} shoal_tools_mode;

/* Borrowed from the body. */
typedef struct {
    json_t *list; /* NULL: there are none */
    shoal_tools_mode mode;
    const json_t *function; /* {name, parameters, ...} */
    bool parallel;
} shoal_api_tools;

bool shoal_api_read_tools(const shoal_fields *fields, shoal_api_tools *out);

/* How the answer is to be read for calls, and its form where they are required. AUTO is refused
 * when the template has its model write them in an unknown way. */
bool shoal_api_bind_tools(const shoal_api_context *context, const shoal_api_tools *tools,
                          shoal_api_request *out, shoal_api_error *error);

#endif
