/* coordinator/text/gguf_template.h - the chat template in a GGUF file, and its special tokens. */
#ifndef SHOAL_COORDINATOR_TEXT_GGUF_TEMPLATE_H
#define SHOAL_COORDINATOR_TEXT_GGUF_TEMPLATE_H

#include "coordinator/text/growable.h"
#include "shard/gguf.h"
#include <jansson.h>

/* Append "tokenizer.chat_template", or the built-in template of "general.architecture", to *text;
 * *tokens becomes an object with "bos_token" and its like as far as the file names them. `name`
 * stands for the file. SHOAL_ERR_NOTFOUND when neither is there. */
SHOAL_MUST_USE shoal_status shoal_gguf_chat_template(const shoal_gguf *gguf, const char *name,
                                                     shoal_strbuf *text, json_t **tokens);

#endif
