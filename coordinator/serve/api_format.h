/* coordinator/serve/api_format.h - what form an answer must have: response_format, guided_json,
 * guided_regex, guided_choice, structured_outputs. Private to the api files. */
#ifndef SHOAL_COORDINATOR_SERVE_API_FORMAT_H
#define SHOAL_COORDINATOR_SERVE_API_FORMAT_H

#include "coordinator/serve/api_fields.h"
#include "coordinator/serve/api_request.h"

/* The request asks for at most one form; its grammar is compiled here, into out->masks. */
bool shoal_api_read_format(const shoal_api_context *context, const shoal_fields *fields,
                           shoal_api_request *out);

/* The grammar of a schema that the field `name` holds; the caller releases it. */
bool shoal_api_compile_schema(const json_t *schema, const char *name, shoal_grammar **out,
                              shoal_api_error *error);

/* Bind the answers of a request that has no form yet to a grammar, which is shared. `name`: the
 * field that wants it so. */
bool shoal_api_bind(const shoal_api_context *context, const char *name, shoal_grammar *grammar,
                    shoal_api_request *out, shoal_api_error *error);

#endif
