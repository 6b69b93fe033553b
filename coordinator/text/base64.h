/* coordinator/text/base64.h - bytes written as base64 (RFC 4648, padded or not, no white space). */
#ifndef SHOAL_COORDINATOR_TEXT_BASE64_H
#define SHOAL_COORDINATOR_TEXT_BASE64_H

#include "coordinator/text/growable.h"

/* Append the bytes. SHOAL_ERR_DATA when the text is none of base64. */
SHOAL_MUST_USE shoal_status shoal_base64_decode(const char *text, size_t bytes, shoal_strbuf *out);

#endif
