#include "coordinator/serve/json_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void put(shoal_json_writer *w, const char *text, size_t bytes)
{
    if (w->status == SHOAL_OK)
        w->status = shoal_strbuf_append(w->out, text, bytes);
}

/* What stands before every key and every value that follows no key. */
static void separate(shoal_json_writer *w)
{
    if (w->comma)
        put(w, ",", 1);
    w->comma = true;
}

shoal_json_writer shoal_write_begin(shoal_strbuf *out)
{
    return (shoal_json_writer){.out = out, .start = out->bytes};
}

shoal_status shoal_write_end(shoal_json_writer *w)
{
    if (w->status != SHOAL_OK)
        w->out->bytes = w->start;
    return w->status;
}

void shoal_write_open(shoal_json_writer *w, char bracket)
{
    separate(w);
    put(w, &bracket, 1);
    w->comma = false;
}

void shoal_write_close(shoal_json_writer *w, char bracket)
{
    put(w, &bracket, 1);
    w->comma = true;
}

/* The escape of a byte that may not stand in a string; 0 bytes for one that may. */
static size_t escape_of(char c, char out[8])
{
    static const char plain[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    const char *at = c ? strchr(plain, c) : NULL;
    if (at) {
        out[0] = '\\';
        out[1] = letter[at - plain];
        return 2;
    }
    return (unsigned char)c < 0x20 ? (size_t)snprintf(out, 8, "\\u%04x", (unsigned char)c) : 0;
}

static void quote(shoal_json_writer *w, const char *text, size_t bytes)
{
    char escape[8];
    size_t done = 0;
    put(w, "\"", 1);
    for (size_t i = 0; i < bytes; i++) {
        const size_t length = escape_of(text[i], escape);
        if (length == 0)
            continue;
        put(w, text + done, i - done);
        put(w, escape, length);
        done = i + 1;
    }
    if (bytes > done)
        put(w, text + done, bytes - done);
    put(w, "\"", 1);
}

void shoal_write_key_text(shoal_json_writer *w, const char *key, size_t bytes)
{
    separate(w);
    quote(w, key, bytes);
    put(w, ":", 1);
    w->comma = false;
}

void shoal_write_key(shoal_json_writer *w, const char *key)
{
    shoal_write_key_text(w, key, strlen(key));
}

void shoal_write_text(shoal_json_writer *w, const char *text, size_t bytes)
{
    separate(w);
    quote(w, text, bytes);
}

void shoal_write_word(shoal_json_writer *w, const char *text)
{
    shoal_write_text(w, text, strlen(text));
}

void shoal_write_int(shoal_json_writer *w, int64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, value);
    shoal_write_literal(w, digits);
}

void shoal_write_float(shoal_json_writer *w, float value)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%.9g", isfinite(value) ? (double)value : -9999.0);
    shoal_write_literal(w, digits);
}

void shoal_write_literal(shoal_json_writer *w, const char *literal)
{
    separate(w);
    put(w, literal, strlen(literal));
}

void shoal_write_key_open(shoal_json_writer *w, const char *key, char bracket)
{
    shoal_write_key(w, key);
    shoal_write_open(w, bracket);
}

void shoal_write_key_word(shoal_json_writer *w, const char *key, const char *text)
{
    shoal_write_key(w, key);
    shoal_write_word(w, text);
}

void shoal_write_key_int(shoal_json_writer *w, const char *key, int64_t value)
{
    shoal_write_key(w, key);
    shoal_write_int(w, value);
}

void shoal_write_key_null(shoal_json_writer *w, const char *key)
{
    shoal_write_key(w, key);
    shoal_write_literal(w, "null");
}

void shoal_write_raw(shoal_json_writer *w, const char *text)
{
    put(w, text, strlen(text));
}
