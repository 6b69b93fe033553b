/* coordinator/text/text_file.h - a whole file of a model folder in memory; a pack file is a folder
 * of its texts. */
#ifndef SHOAL_COORDINATOR_TEXT_TEXT_FILE_H
#define SHOAL_COORDINATOR_TEXT_TEXT_FILE_H

#include <stdbool.h>

#include "coordinator/text/growable.h"

/* Append the contents of a regular file of at most `most` bytes. SHOAL_ERR_NOTFOUND when there is
 * none of that name, SHOAL_ERR_DATA when it is no regular file or too long, SHOAL_ERR_IO. After a
 * failure *out is as it was. */
SHOAL_MUST_USE shoal_status shoal_text_file_read(const char *path, size_t most, shoal_strbuf *out);

/* Is there something of that name? */
bool shoal_text_file_exists(const char *path);

#endif
