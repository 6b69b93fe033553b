/* coordinator/cli/inputs.h - files that users hand to verbs: token ids and texts. */
#ifndef SHOAL_COORDINATOR_CLI_INPUTS_H
#define SHOAL_COORDINATOR_CLI_INPUTS_H

#include <jansson.h>

#include "coordinator/text/growable.h"
#include "proto/status.h"

/* A whole file. SHOAL_ERR_NOTFOUND, SHOAL_ERR_IO, or SHOAL_ERR_DATA beyond `most` bytes. The
 * contents are appended. */
SHOAL_MUST_USE shoal_status shoal_read_file(const char *path, size_t most, shoal_strbuf *out);

/* Token ids: [...] or {"prompt_ids": [...]}; each a whole number from 0 to 2^31 - 1. Appended
 * to *out. */
SHOAL_MUST_USE shoal_status shoal_read_ids(const char *path, shoal_ids *out);

/* The ids of a JSON array or of the object above; `name` starts sentences. */
SHOAL_MUST_USE shoal_status shoal_ids_from_json(const json_t *value, const char *name,
                                                shoal_ids *out);

/* Before anything is loaded: are there ids, and is every one of the vocabulary? */
SHOAL_MUST_USE shoal_status shoal_check_ids(const shoal_ids *ids, int64_t vocab, const char *name);

#endif
