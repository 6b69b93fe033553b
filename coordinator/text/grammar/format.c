#include "coordinator/text/grammar/format.h"

#include <stddef.h>
#include <string.h>

#define LEAP_YEAR                                                                                  \
    "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
#define YEAR "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])" /* there is no year 0 */
#define DATE                                                                                       \
    "(?:" YEAR "-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"                                 \
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|" LEAP_YEAR "-02-29)"
#define CLOCK                                                                                      \
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]+)?"                                     \
    "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"

#define BYTE  "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV4  BYTE "(?:\\." BYTE "){3}"
#define GROUP "[0-9A-Fa-f]{1,4}"
#define LAST  "(?:" GROUP ":" GROUP "|" IPV4 ")" /* the last 32 bits */
#define IPV6                                                                                       \
    "(?:(?:" GROUP ":){6}" LAST "|::(?:" GROUP ":){5}" LAST "|(?:" GROUP ")?::(?:" GROUP           \
    ":){4}" LAST "|(?:(?:" GROUP ":){0,1}" GROUP ")?::(?:" GROUP ":){3}" LAST "|(?:(?:" GROUP      \
    ":){0,2}" GROUP ")?::(?:" GROUP ":){2}" LAST "|(?:(?:" GROUP ":){0,3}" GROUP ")?::" GROUP      \
    ":" LAST "|(?:(?:" GROUP ":){0,4}" GROUP ")?::" LAST "|(?:(?:" GROUP ":){0,5}" GROUP           \
    ")?::" GROUP "|(?:(?:" GROUP ":){0,6}" GROUP ")?::)"

#define LABEL    "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define HOSTNAME LABEL "(?:\\." LABEL ")*"
#define ATOM     "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"

#define PCHAR "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
#define USER  "(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})"
#define NAME  "(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
#define PATH  "(?:/" PCHAR "*)*"
#define URI                                                                                        \
    "[A-Za-z][A-Za-z0-9+.-]*:(?://(?:" USER "*@)?(?:\\[" IPV6 "\\]|" NAME "*)(?::[0-9]*)?" PATH    \
    "|/(?:" PCHAR "+" PATH ")?|" PCHAR "+" PATH "|)(?:\\?(?:" PCHAR "|[/?])*)?(?:#(?:" PCHAR       \
    "|[/?])*)?"

#define TIME_PART "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
#define DATE_PART "(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"

static const struct {
    const char *name, *regex;
} formats[] = {
    {"date", DATE},
    {"date-time", DATE "[Tt]" CLOCK},
    {"duration", "P(?:[0-9]+W|" DATE_PART "(?:" TIME_PART ")?|" TIME_PART ")"},
    {"email", ATOM "(?:\\." ATOM ")*@" HOSTNAME},
    {"hostname", HOSTNAME},
    {"ipv4", IPV4},
    {"ipv6", IPV6},
    {"time", CLOCK},
    {"uri", URI},
    {"uuid", "[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"},
};

const char *shoal_format_regex(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0)
            return formats[i].regex;
    return NULL;
}
