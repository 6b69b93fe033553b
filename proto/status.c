#include "proto/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char error_slot[SHOAL_ERROR_MAX];

void shoal_make_printable(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c; c++) {
        if (*c == ' ' || (*c >= '\t' && *c <= '\r'))
            *c = ' ';
        else if (*c < 0x20 || *c == 0x7f)
            *c = '?';
        else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) /* U+0080 .. U+009F */
            c[0] = c[1] = '?';
    }
}

static void record(const char *fmt, va_list args)
{
    (void)vsnprintf(error_slot, sizeof error_slot, fmt, args);
    shoal_make_printable(error_slot);
}

shoal_status shoal_fail(shoal_status code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    record(fmt, args);
    va_end(args);
    return code;
}

shoal_status shoal_fail_within(shoal_status code, const char *fmt, ...)
{
    char inner[SHOAL_ERROR_MAX];
    memcpy(inner, error_slot, sizeof inner);

    va_list args;
    va_start(args, fmt);
    record(fmt, args);
    va_end(args);

    size_t used = strlen(error_slot);
    for (const char *from = used + 2 < sizeof error_slot ? ": " : ""; *from; from++)
        error_slot[used++] = *from;
    const size_t room = sizeof error_slot - 1 - used;
    memcpy(error_slot + used, inner, strnlen(inner, room));
    error_slot[used + strnlen(inner, room)] = '\0';
    return code;
}

const char *shoal_error_text(void)
{
    return error_slot;
}

void shoal_error_clear(void)
{
    error_slot[0] = '\0';
}

const char *shoal_status_name(shoal_status code)
{
    switch (code) {
    case SHOAL_OK: return "ok";
    case SHOAL_ERR_NOFIT: return "does not fit";
    case SHOAL_ERR_USAGE: return "usage";
    case SHOAL_ERR_DATA: return "bad data";
    case SHOAL_ERR_NOTFOUND: return "not found";
    case SHOAL_ERR_UNAVAILABLE: return "unavailable";
    case SHOAL_ERR_INTERNAL: return "internal";
    case SHOAL_ERR_CREATE: return "cannot create";
    case SHOAL_ERR_IO: return "input/output";
    case SHOAL_ERR_TEMPORARY: return "temporary";
    case SHOAL_ERR_CONFIG: return "configuration";
    }
    return "unknown";
}
