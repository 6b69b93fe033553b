#include "coordinator/text/grammar/char_category.h"

#include <pthread.h>
#include <string.h>

#include "coordinator/text/unicode.h"

/* Runs of characters of one category; Unicode 15 has some 3300. */
#define RUNS_MAX 8192

static struct {
    uint32_t first;
    const char *category;
} runs[RUNS_MAX];

static size_t run_count;
static pthread_once_t runs_once = PTHREAD_ONCE_INIT;

static void find_runs(void)
{
    const char *last = "";
    for (uint32_t c = 0; c <= SHOAL_CHAR_MAX && run_count < RUNS_MAX; c++) {
        const char *category = shoal_unicode_category(c);
        if (strcmp(category, last) != 0) {
            runs[run_count].first = c;
            runs[run_count++].category = category;
        }
        last = category;
    }
}

shoal_status shoal_charset_category(const char *name, size_t bytes, shoal_charset *set, bool *known)
{
    *known = false;
    if (bytes < 1 || bytes > 2)
        return SHOAL_OK;
    pthread_once(&runs_once, find_runs);
    for (size_t i = 0; i < run_count; i++)
        if (runs[i].category[0] == name[0] && (bytes == 1 || runs[i].category[1] == name[1])) {
            *known = true;
            const uint32_t end = i + 1 < run_count ? runs[i + 1].first : SHOAL_CHAR_MAX + 1;
            SHOAL_TRY(shoal_charset_add(set, runs[i].first, end - 1));
        }
    shoal_charset_settle(set);
    return SHOAL_OK;
}
