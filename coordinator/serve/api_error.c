#include "coordinator/serve/api_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/serve/json_write.h"
#include "coordinator/text/utf8.h"

/* A text that did not fit may end inside a character. */
static void end_at_character(char *text)
{
    text[shoal_utf8_valid(text, strlen(text))] = '\0';
}

static void fill(char *out, size_t room, const char *text)
{
    snprintf(out, room, "%s", text ? text : "");
    end_at_character(out);
}

bool shoal_api_refuse(shoal_api_error *error, int status, const char *code, const char *param,
                      const char *fmt, ...)
{
    va_list args;
    if (error->status != 0)
        return false;
    error->status = status;
    fill(error->code, sizeof error->code, code);
    fill(error->param, sizeof error->param, param);
    va_start(args, fmt);
    vsnprintf(error->message, sizeof error->message, fmt, args);
    va_end(args);
    end_at_character(error->message);
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

static void word_or_null(shoal_json_writer *w, const char *key, const char *text)
{
    if (text[0])
        shoal_write_key_word(w, key, text);
    else
        shoal_write_key_null(w, key);
}

shoal_status shoal_api_error_write(const shoal_api_error *error, shoal_strbuf *out)
{
    shoal_json_writer w = shoal_write_begin(out);
    shoal_write_open(&w, '{');
    shoal_write_key_open(&w, "error", '{');
    shoal_write_key_word(&w, "message", error->message);
    shoal_write_key_word(&w, "type", type_of(error->status));
    word_or_null(&w, "param", error->param);
    word_or_null(&w, "code", error->code);
    shoal_write_close(&w, '}');
    shoal_write_close(&w, '}');
    return shoal_write_end(&w);
}
