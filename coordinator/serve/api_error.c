#include "coordinator/serve/api_error.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/text/utf8.h"

/* JSON holds only whole characters: a text cut to fit its field loses what was cut in half. */
static void end_whole(char *text)
{
    text[shoal_utf8_valid(text, strlen(text))] = '\0';
}

static void copy_name(char *field, size_t room, const char *name)
{
    (void)snprintf(field, room, "%s", name ? name : "");
    end_whole(field);
}

bool shoal_api_refuse(shoal_api_error *error, int status, const char *code, const char *param,
                      const char *fmt, ...)
{
    if (error->status)
        return false;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(error->message, sizeof error->message, fmt, args);
    va_end(args);
    end_whole(error->message);
    error->status = status;
    copy_name(error->code, sizeof error->code, code);
    copy_name(error->param, sizeof error->param, param);
    return false;
}

static const char *type_of(int status)
{
    if (status == 401)
        return "authentication_error";
    if (status == 429)
        return "rate_limit_error";
    return status >= 500 ? "server_error" : "invalid_request_error";
}

static const char *or_null(const char *text)
{
    return *text ? text : NULL;
}

static int append(const char *text, size_t bytes, void *out)
{
    return shoal_strbuf_append(out, text, bytes) == SHOAL_OK ? 0 : -1;
}

shoal_status shoal_api_error_write(const shoal_api_error *error, shoal_strbuf *out)
{
    json_t *answer = json_pack("{s:{s:s, s:s, s:s?, s:s?}}", "error", "message", error->message,
                               "type", type_of(error->status), "param", or_null(error->param),
                               "code", or_null(error->code));
    const int written = answer ? json_dump_callback(answer, append, out, JSON_COMPACT) : -1;
    json_decref(answer);
    if (written != 0)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for an error answer");
    return SHOAL_OK;
}
