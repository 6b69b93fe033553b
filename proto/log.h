/* proto/log.h - one event, one line, on stderr.
 *
 * A line is "TIME LEVEL WHO EVENT text", or one JSON object when the process was told so. WHO is
 * set once ("coordinator", "rank 2@node7"). Thread-safe: a line is one write(2). */
#ifndef SHOAL_PROTO_LOG_H
#define SHOAL_PROTO_LOG_H

#include <stdbool.h>

#include "proto/status.h"

typedef enum { SHOAL_LOG_ERROR, SHOAL_LOG_WARN, SHOAL_LOG_INFO, SHOAL_LOG_DEBUG } shoal_log_level;

/* Lines above `level` are dropped; `json` chooses the form. Default: warnings, text. */
void shoal_log_configure(shoal_log_level level, bool json);

/* "error", "warn", "info", "debug" → level; false for another word. */
bool shoal_log_parse_level(const char *word, shoal_log_level *out);

/* Who speaks: "coordinator" or "rank R@HOST" for rank >= 0. Default: the bare process. */
void shoal_log_speaker(const char *name, int rank);

/* `event` is one word in lower case ("load", "reduce"); the text is a sentence about it. */
void shoal_log(shoal_log_level level, const char *event, const char *fmt, ...) SHOAL_PRINTF(3, 4);

#endif
