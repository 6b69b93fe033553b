#include "coordinator/serve/route.h"

#include <stdint.h>
#include <string.h>

#include "proto/digest.h"

static const shoal_route routes[] = {
    {SHOAL_ROUTE_PAGE, "/", false, false, SHOAL_NEEDS_NOTHING},
    {SHOAL_ROUTE_LIVE, "/health", false, true, SHOAL_NEEDS_NOTHING},
    {SHOAL_ROUTE_LIVE, "/health/live", false, true, SHOAL_NEEDS_NOTHING},
    {SHOAL_ROUTE_READY, "/health/ready", false, true, SHOAL_NEEDS_NOTHING},
    {SHOAL_ROUTE_METRICS, "/metrics", false, false, SHOAL_NEEDS_NOTHING},
    {SHOAL_ROUTE_MODELS, "/v1/models", false, false, SHOAL_NEEDS_NOTHING},
    {SHOAL_ROUTE_MODEL, "/v1/models/", false, false, SHOAL_NEEDS_NOTHING},
    {SHOAL_ROUTE_CHAT, "/v1/chat/completions", true, false, SHOAL_NEEDS_SERVING},
    {SHOAL_ROUTE_COMPLETION, "/v1/completions", true, false, SHOAL_NEEDS_SERVING},
    {SHOAL_ROUTE_TOKENIZE, "/tokenize", true, false, SHOAL_NEEDS_MODEL},
    {SHOAL_ROUTE_DETOKENIZE, "/detokenize", true, false, SHOAL_NEEDS_MODEL},
};

static bool takes_parameter(const shoal_route *route)
{
    const size_t length = strlen(route->path);
    return length > 1 && route->path[length - 1] == '/';
}

bool shoal_route_parameter(const shoal_route *route, const char *path, char *out, size_t room)
{
    const char *at = takes_parameter(route) ? path + strlen(route->path) : "";
    size_t used = 0;
    while (*at && used + 1 < room) {
        uint8_t byte = (uint8_t)*at;
        if (*at == '%') {
            const char digits[] = {at[1], at[1] ? at[2] : '\0', '\0'};
            if (!shoal_unhex(digits, 1, &byte) || byte == 0)
                return false;
            at += 2;
        }
        out[used++] = (char)byte;
        at++;
    }
    out[used] = '\0';
    return *at == '\0';
}

const shoal_route *shoal_route_find(const char *path)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const shoal_route *r = &routes[i];
        const size_t length = strlen(r->path);
        if (takes_parameter(r) ? strncmp(path, r->path, length) == 0 && path[length] != '\0'
                               : strcmp(path, r->path) == 0)
            return r;
    }
    return NULL;
}

bool shoal_route_allows(const shoal_route *route, const char *method)
{
    if (route->post)
        return strcmp(method, "POST") == 0;
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

const char *shoal_route_methods(const shoal_route *route)
{
    return route->post ? "POST" : "GET, HEAD";
}
