/* coordinator/text/template.h - the door to the interpreter of chat templates.
 *
 * The language is the Jinja of model files, in the environment that transformers gives it:
 * trim_blocks, lstrip_blocks, no autoescape, loop controls, {% generation %}, tojson without HTML
 * escapes, raise_exception, strftime_now. It is a sandbox: a template sees data and the rows of
 * the tables (coordinator/text/template_builtin.h), changes nothing, and runs with limits on
 * steps, memory, nesting and output (coordinator/text/template_heap.h). Other Jinja (inheritance,
 * imports, recursive loops) is refused by name and line. */
#ifndef SHOAL_COORDINATOR_TEXT_TEMPLATE_H
#define SHOAL_COORDINATOR_TEXT_TEMPLATE_H

#include <jansson.h>
#include <time.h>

#include "coordinator/text/growable.h"

typedef struct shoal_template shoal_template;

/* Read-only once parsed; any number of threads may render. `name` stands for the template in
 * sentences. SHOAL_ERR_DATA with name and line. */
SHOAL_MUST_USE shoal_status shoal_template_parse(const char *name, const char *text, size_t bytes,
                                                 shoal_template **out);
void shoal_template_close(shoal_template *tpl); /* NULL is allowed */

/* Append the text to *out. Variables are the entries of `variables` and, where those have none,
 * of `defaults` (either may be NULL; both borrowed). SHOAL_ERR_DATA: the template raised an
 * exception or cannot handle its input; *out is as it was. */
SHOAL_MUST_USE shoal_status shoal_template_render(const shoal_template *tpl,
                                                  const json_t *variables, const json_t *defaults,
                                                  const struct tm *now, shoal_strbuf *out);

#endif
