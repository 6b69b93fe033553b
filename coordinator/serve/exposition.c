#include "coordinator/serve/exposition.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Every whole number up to here is a double of its own. */
#define WHOLE_MAX 9007199254740992.0

static void put(shoal_exposition *x, const char *text, size_t bytes)
{
    if (x->status == SHOAL_OK)
        x->status = shoal_strbuf_append(x->out, text, bytes);
}

static void put_text(shoal_exposition *x, const char *text)
{
    put(x, text, strlen(text));
}

/* `special` holds the characters that get a backslash; a line end becomes "\n" in any case. */
static void put_escaped(shoal_exposition *x, const char *text, const char *special)
{
    for (const char *c = text; *c; c++) {
        if (*c == '\n') {
            put_text(x, "\\n");
            continue;
        }
        if (strchr(special, *c))
            put_text(x, "\\");
        put(x, c, 1);
    }
}

void shoal_exposition_family(shoal_exposition *x, const char *name, const char *type,
                             const char *help)
{
    x->family = name;
    put_text(x, "# HELP ");
    put_text(x, name);
    put_text(x, " ");
    put_escaped(x, help, "\\");
    put_text(x, "\n# TYPE ");
    put_text(x, name);
    put_text(x, " ");
    put_text(x, type);
    put_text(x, "\n");
}

static void put_labels(shoal_exposition *x, const shoal_label *labels, int count)
{
    for (int i = 0; i < count; i++) {
        put_text(x, i ? "," : "{");
        put_text(x, labels[i].name);
        put_text(x, "=\"");
        put_escaped(x, labels[i].value, "\\\"");
        put_text(x, "\"");
    }
    if (count)
        put_text(x, "}");
}

void shoal_exposition_sample(shoal_exposition *x, const char *suffix, const shoal_label *labels,
                             int label_count, double value)
{
    char number[SHOAL_EXPOSITION_NUMBER_MAX];
    shoal_exposition_number(value, number);
    put_text(x, x->family);
    put_text(x, suffix);
    put_labels(x, labels, label_count);
    put_text(x, " ");
    put_text(x, number);
    put_text(x, "\n");
}

void shoal_exposition_number(double value, char out[SHOAL_EXPOSITION_NUMBER_MAX])
{
    const char *form = floor(value) == value && fabs(value) <= WHOLE_MAX ? "%.0f" : "%.12g";
    (void)snprintf(out, SHOAL_EXPOSITION_NUMBER_MAX, form, value);
}
