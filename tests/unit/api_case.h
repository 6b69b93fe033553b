/* tests/unit/api_case.h - golden requests and answers (tok/INDEX.md), and bodies written with
 * apostrophes for quotation marks. For one file of a program. */
#ifndef SHOAL_TESTS_UNIT_API_CASE_H
#define SHOAL_TESTS_UNIT_API_CASE_H

#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API_CASES 57

/* Golden case 1..API_CASES, the caller's; NULL when there is no golden data. */
static inline json_t *api_golden(int number)
{
    char pattern[1024];
    glob_t found;
    json_t *json = NULL;
    const char *root = getenv("SHOAL_GOLDEN");
    snprintf(pattern, sizeof pattern, "%s/tok/api/%02d-*.json", root ? root : "../shared/golden",
             number);
    if (glob(pattern, 0, NULL, &found) == 0) {
        json = json_load_file(found.gl_pathv[0], 0, NULL);
        if (!json)
            abort();
    }
    globfree(&found);
    return json;
}

/* A copy with every ' turned into ", freed by the caller. */
static inline char *api_body(const char *text)
{
    char *body = strdup(text);
    if (!body)
        abort();
    for (char *c = body; *c; c++)
        if (*c == '\'')
            *c = '"';
    return body;
}

#endif
