/* coordinator/text/chat_template.h - a chat as the text its model was trained on.
 *
 * A template is a program in the Jinja of model files; rendering runs it over the messages with
 * limits on steps, memory and output (coordinator/text/template.h). It comes from the model alone:
 * chat_template.jinja, or "chat_template" of tokenizer_config.json (a string, or a list of named
 * ones of which "default" is taken), "tokenizer.chat_template" of a GGUF file, else a built-in one
 * where the model's family is known (coordinator/text/builtin_templates.h). Requests never bring
 * templates. Read-only once open: any number of threads may render. */
#ifndef SHOAL_COORDINATOR_TEXT_CHAT_TEMPLATE_H
#define SHOAL_COORDINATOR_TEXT_CHAT_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "coordinator/text/growable.h"
#include "coordinator/text/speech_formats.h"

typedef struct shoal_chat_template shoal_chat_template;

/* What a template teaches its model to write besides content. */
typedef struct {
    bool tools; /* it speaks of tools; otherwise messages are made plain for it first
                   (coordinator/text/plain_tools.h) */
    const shoal_call_format *calls;  /* NULL: in a way that is not known */
    const shoal_think_format *think; /* NULL: it knows no reasoning */
} shoal_chat_style;

/* From a model folder or a GGUF file. SHOAL_ERR_NOTFOUND when the model carries none,
 * SHOAL_ERR_DATA with file and line when it cannot be understood. Its bos_token, eos_token and
 * their like become variables. */
SHOAL_MUST_USE shoal_status shoal_chat_template_open(const char *model, shoal_chat_template **out);

/* From the text of a template; no variables of a model. `name` stands for the file in sentences. */
SHOAL_MUST_USE shoal_status shoal_chat_template_parse(const char *text, size_t bytes,
                                                      const char *name, shoal_chat_template **out);
void shoal_chat_template_close(shoal_chat_template *chat);

/* Append the rendered prompt to *out. `variables`: an object whose entries the template sees
 * (messages, tools, add_generation_prompt, ...; borrowed). SHOAL_ERR_DATA: the template raised an
 * exception, or cannot handle this input; the sentence is its message, with the line. */
SHOAL_MUST_USE shoal_status shoal_chat_template_render(const shoal_chat_template *chat,
                                                       const json_t *variables, shoal_strbuf *out);

const shoal_chat_style *shoal_chat_template_style(const shoal_chat_template *chat);

/* "2026-11-21 12:34:56", also with a T between date and time. SHOAL_ERR_USAGE for other texts. */
SHOAL_MUST_USE shoal_status shoal_chat_time_parse(const char *text, struct tm *out);

/* From now on the template sees this time instead of the clock's. Not while others render. */
void shoal_chat_template_fix_time(shoal_chat_template *chat, const struct tm *now);

#endif
