#include "coordinator/bench/target.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static shoal_status bad_url(const char *url, const char *why)
{
    return shoal_fail(SHOAL_ERR_USAGE, "--url: '%.200s' %s; write http://HOST:PORT", url, why);
}

/* ":8000" or "" (80), then an optional slash. False when it is neither. */
static bool parse_port(const char *text, int *port)
{
    *port = 80;
    if (*text == ':') {
        const size_t digits = strspn(++text, "0123456789");
        if (digits == 0 || digits > 5)
            return false;
        *port = 0;
        for (size_t i = 0; i < digits; i++)
            *port = 10 * *port + (text[i] - '0');
        text += digits;
    }
    return *port >= 1 && *port <= 65535 && (text[0] == '\0' || strcmp(text, "/") == 0);
}

shoal_status shoal_bench_target_parse(const char *url, shoal_bench_target *out)
{
    static const char scheme[] = "http://";
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    shoal_bench_target target = {0};
    if (strncmp(url, scheme, sizeof scheme - 1) != 0)
        return bad_url(url, "does not begin with http://");
    const char *host = url + sizeof scheme - 1;
    const bool bracket = *host == '[';
    host += bracket;
    const size_t length =
        bracket ? strspn(host, "0123456789abcdefABCDEF:.") : strspn(host, letters);
    const char *rest = host + length + bracket;
    if (length == 0 || length > SHOAL_BENCH_HOST_MAX || (bracket && host[length] != ']'))
        return bad_url(url, "names no host");
    if (!parse_port(rest, &target.port))
        return bad_url(url, "has more after the host than a port");
    memcpy(target.host, host, length);
    (void)snprintf(target.authority, sizeof target.authority, bracket ? "[%s]:%d" : "%s:%d",
                   target.host, target.port);
    *out = target;
    return SHOAL_OK;
}

shoal_status shoal_bench_target_resolve(shoal_bench_target *target)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char port[8];
    (void)snprintf(port, sizeof port, "%d", target->port);
    const int error = getaddrinfo(target->host, port, &hints, &found);
    if (error != 0)
        return shoal_fail(SHOAL_ERR_NOTFOUND, "no address for '%s': %s", target->host,
                          gai_strerror(error));
    memcpy(&target->address, found->ai_addr, found->ai_addrlen);
    target->address_bytes = found->ai_addrlen;
    freeaddrinfo(found);
    return SHOAL_OK;
}

shoal_status shoal_bench_target_read_key(const char *path, shoal_bench_target *target)
{
    char line[SHOAL_BENCH_KEY_MAX + 2] = "";
    FILE *file = fopen(path, "re");
    if (!file)
        return shoal_fail(SHOAL_ERR_NOTFOUND, "--api-key-file %s: %s", path, strerror(errno));
    const char *got = fgets(line, sizeof line, file);
    (void)fclose(file);
    const size_t length = strcspn(line, "\r\n");
    line[length] = '\0';
    for (const char *c = line; *c; c++)
        if (*c <= ' ' || *c > '~')
            got = NULL;
    if (!got || length == 0 || length > SHOAL_BENCH_KEY_MAX)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: its first line must be a key of 1..%d visible characters", path,
                          SHOAL_BENCH_KEY_MAX);
    memcpy(target->key, line, length + 1);
    return SHOAL_OK;
}

shoal_status shoal_bench_target_request(const shoal_bench_target *target, const char *path,
                                        const shoal_strbuf *body, shoal_strbuf *out)
{
    char head[SHOAL_BENCH_HOST_MAX + SHOAL_BENCH_KEY_MAX + 512];
    const int n = snprintf(head, sizeof head,
                           "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                           "Accept: text/event-stream\r\nConnection: close\r\n%s%s%s"
                           "Content-Length: %zu\r\n\r\n",
                           path, target->authority, target->key[0] ? "Authorization: Bearer " : "",
                           target->key, target->key[0] ? "\r\n" : "", body->bytes);
    if (n < 0 || (size_t)n >= sizeof head)
        return shoal_fail(SHOAL_ERR_INTERNAL, "the head of a request is too long");
    SHOAL_TRY(shoal_strbuf_append(out, head, (size_t)n));
    return shoal_strbuf_append(out, body->data, body->bytes);
}
