/* coordinator/text/builtin_templates.h - chat templates for models that carry none, by family.
 *
 * Only where a family is known to have been trained on one form; a guess would make nonsense of a
 * chat. They know messages, nothing of tools: those are made plain first. */
#ifndef SHOAL_COORDINATOR_TEXT_BUILTIN_TEMPLATES_H
#define SHOAL_COORDINATOR_TEXT_BUILTIN_TEMPLATES_H

#include <stdint.h>

/* `family`: "model_type" of config.json, or "general.architecture" of a GGUF file; `vocab` tells
 * generations of a family apart. NULL: no template is known. */
const char *shoal_builtin_template(const char *family, int64_t vocab);

#endif
