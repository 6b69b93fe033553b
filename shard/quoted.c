#include "shard/quoted.h"

#include <stdio.h>
#include <string.h>

static int is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

const char *shoal_quoted(const char *text, char *out, size_t room)
{
    const size_t length = strlen(text);
    const size_t kept = length < room ? length : room - 1;
    for (size_t i = 0; i < kept; i++)
        out[i] = (char)(is_control((unsigned char)text[i]) ? '?' : text[i]);
    out[kept] = '\0';
    if (kept < length && kept > 3)
        memcpy(out + kept - 3, "...", 3);
    return out;
}

int shoal_has_control(const char *text)
{
    for (; *text; text++)
        if (is_control((unsigned char)*text))
            return 1;
    return 0;
}

/* Room kept for "and N more". */
#define TAIL 40

void shoal_names_add(shoal_names *names, const char *name)
{
    char quoted[SHOAL_QUOTED_ROOM];
    names->count++;
    if (names->count > SHOAL_NAMES_SHOWN || names->used + TAIL >= sizeof names->text)
        return;
    const int n =
        snprintf(names->text + names->used, sizeof names->text - TAIL - names->used, "%s%s",
                 names->used ? ", " : "", shoal_quoted(name, quoted, sizeof quoted));
    const size_t room = sizeof names->text - TAIL - names->used - 1;
    names->used += (size_t)n < room ? (size_t)n : room;
}

const char *shoal_names_end(shoal_names *names)
{
    if (names->count > SHOAL_NAMES_SHOWN)
        (void)snprintf(names->text + names->used, TAIL, " and %zu more",
                       names->count - SHOAL_NAMES_SHOWN);
    return names->text;
}
