#include "proto/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
#define TEXT_MAX_BYTES 1400

static _Atomic int threshold = SHOAL_LOG_WARN;
static _Atomic bool as_json = false;
static char speaker[96] = "shoal";

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void shoal_log_configure(shoal_log_level level, bool json)
{
    atomic_store(&threshold, (int)level);
    atomic_store(&as_json, json);
}

bool shoal_log_parse_level(const char *word, shoal_log_level *out)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(word, level_names[i]) == 0) {
            *out = (shoal_log_level)i;
            return true;
        }
    }
    return false;
}

void shoal_log_speaker(const char *name, int rank)
{
    char host[64] = "";
    if (rank < 0) {
        (void)snprintf(speaker, sizeof speaker, "%s", name);
        return;
    }
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(speaker, sizeof speaker, "%s %d@%s", name, rank, host);
}

/* Copy `from` with JSON escapes; returns the bytes written, always fewer than `room`. */
static size_t json_escape(const char *from, char *to, size_t room)
{
    size_t n = 0;
    for (; *from && n + 7 < room; from++) {
        const unsigned char ch = (unsigned char)*from;
        if (ch == '"' || ch == '\\') {
            to[n++] = '\\';
            to[n++] = (char)ch;
        } else if (ch < 0x20) {
            n += (size_t)snprintf(to + n, room - n, "\\u%04x", ch);
        } else {
            to[n++] = (char)ch;
        }
    }
    to[n] = '\0';
    return n;
}

void shoal_log(shoal_log_level level, const char *event, const char *fmt, ...)
{
    if ((int)level > atomic_load(&threshold))
        return;
    char text[TEXT_MAX_BYTES], line[LINE_MAX_BYTES], stamp[32];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);

    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &parts);

    const int millis = (int)(now.tv_nsec / 1000000);
    int n;
    if (atomic_load(&as_json)) {
        char escaped[TEXT_MAX_BYTES + 256];
        json_escape(text, escaped, sizeof escaped);
        n = snprintf(line, sizeof line,
                     "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"who\":\"%s\",\"event\":\"%s\","
                     "\"text\":\"%s\"}\n",
                     stamp, millis, level_names[level], speaker, event, escaped);
    } else {
        shoal_make_printable(text);
        n = snprintf(line, sizeof line, "%s.%03dZ %-5s %s %s: %s\n", stamp, millis,
                     level_names[level], speaker, event, text);
    }
    if (n > 0) {
        const size_t bytes = (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
        if (write(STDERR_FILENO, line, bytes) < 0)
            return; /* nobody to tell */
    }
}
