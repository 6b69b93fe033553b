#include <stdio.h>
#include <string.h>

#include "coordinator/cli/report.h"
#include "coordinator/cli/verbs.h"
#include "coordinator/version.h"

static const char summary[] =
    "Shoal serves quantized large language models on a cluster of MPI workers.";

static const struct {
    int code;
    const char *meaning;
} exit_codes[] = {
    {0, "fine"},
    {2, "the plan does not fit"},
    {64, "wrong usage"},
    {65, "bad data"},
    {66, "not found"},
    {69, "unavailable"},
    {70, "internal error"},
    {73, "cannot create an output"},
    {74, "input or output failed"},
    {75, "temporary failure: try again"},
    {78, "configuration or fingerprint mismatch"},
};

static const char *const section_titles[] = {
    [SHOAL_SECTION_VERB] = "Options",
    [SHOAL_SECTION_RUN] = "How it runs",
    [SHOAL_SECTION_GENERAL] = "General",
};

#define HELP_COLUMN 30
#define HELP_WIDTH  96

/* Words of `text` from column `indent` on, broken at HELP_WIDTH; the cursor is at `column`. */
static shoal_status wrap(const char *text, int indent, int column)
{
    bool fresh = true;
    SHOAL_TRY(shoal_report_text("%*s", column < indent ? indent - column : 0, ""));
    column = column < indent ? indent : column;
    while (*text) {
        const int n = (int)strcspn(text, " ");
        if (!fresh && column + 1 + n > HELP_WIDTH) {
            SHOAL_TRY(shoal_report_text("\n%*s", indent, ""));
            column = indent;
            fresh = true;
        }
        SHOAL_TRY(shoal_report_text("%s%.*s", fresh ? "" : " ", n, text));
        column += n + !fresh;
        fresh = false;
        text += n;
        text += strspn(text, " ");
    }
    return shoal_report_text("\n");
}

/* "-n, --ranks, --tp N" */
static void option_names(const shoal_option *row, char *out, size_t room)
{
    size_t at = 0;
    out[0] = '\0';
    for (const char *a = row->aliases; a && *a && at < room; a += strspn(a, " ")) {
        const int n = (int)strcspn(a, " ");
        at += (size_t)snprintf(out + at, room - at, "%s%.*s, ", n == 1 ? "-" : "--", n, a);
        a += n;
    }
    if (at < room)
        (void)snprintf(out + at, room - at, "--%s%s%s", row->name, row->metavar ? " " : "",
                       row->metavar ? row->metavar : "");
}

/* The help sentence with the words of an enum and the default behind it. */
static void option_sentence(const shoal_option *row, char *out, size_t room)
{
    size_t at = (size_t)snprintf(out, room, "%s", row->help);
    if (row->words && at < room)
        at += (size_t)snprintf(out + at, room - at, " One of: %s.", row->words);
    if (row->fallback && at < room)
        (void)snprintf(out + at, room - at, " Default: %s.", row->fallback);
}

static shoal_status print_option(const shoal_option *row)
{
    char names[160], sentence[512];
    option_names(row, names, sizeof names);
    option_sentence(row, sentence, sizeof sentence);
    SHOAL_TRY(shoal_report_text("  %s", names));
    const int column = 2 + (int)strlen(names);
    if (column > HELP_COLUMN - 2) {
        SHOAL_TRY(shoal_report_text("\n"));
        return wrap(sentence, HELP_COLUMN, 0);
    }
    return wrap(sentence, HELP_COLUMN, column);
}

static shoal_status print_section(shoal_verb_id verb, shoal_option_section section)
{
    bool any = false;
    for (int i = 0; i < SHOAL_OPT_COUNT; i++) {
        const shoal_option *row = &shoal_option_table[i];
        if (row->section != section || !(row->verbs & (1u << verb)))
            continue;
        if (!any)
            SHOAL_TRY(shoal_report_text("\n%s:\n", section_titles[section]));
        any = true;
        SHOAL_TRY(print_option(row));
    }
    return SHOAL_OK;
}

shoal_status shoal_help_verb(shoal_verb_id id)
{
    const shoal_verb *verb = &shoal_verb_table[id];
    SHOAL_TRY(shoal_report_text("usage: shoal %s%s%s [options]\n\nshoal %s: %s.\n", verb->name,
                                verb->operands[0] ? " " : "", verb->operands, verb->name,
                                verb->summary));
    if (!verb->run)
        return shoal_report_text("This verb is not in this version.\n");
    if (verb->detail[0])
        SHOAL_TRY(wrap(verb->detail, 0, 0));
    if (verb->example)
        SHOAL_TRY(shoal_report_text("\nExample:\n  shoal %s\n", verb->example));
    for (int s = 0; s <= SHOAL_SECTION_GENERAL; s++)
        SHOAL_TRY(print_section(id, (shoal_option_section)s));
    return shoal_report_text("\nEvery option may also come from the environment (SHOAL_MAX_TOKENS "
                             "for --max-tokens)\nor from a YAML file given with --config.\n");
}

shoal_status shoal_help_all(void)
{
    SHOAL_TRY(shoal_report_text("usage: shoal VERB ... [options]\n\n%s\n\nVerbs:\n", summary));
    for (int i = 0; i < SHOAL_VERB_COUNT; i++) {
        const shoal_verb *verb = &shoal_verb_table[i];
        SHOAL_TRY(shoal_report_text("  %-10s %s%s\n", verb->name, verb->summary,
                                    verb->run ? "" : " (not in this version)"));
    }
    SHOAL_TRY(shoal_report_text("\nExit codes:\n"));
    for (size_t i = 0; i < sizeof exit_codes / sizeof *exit_codes; i++)
        SHOAL_TRY(shoal_report_text("  %2d  %s\n", exit_codes[i].code, exit_codes[i].meaning));
    return shoal_report_text("\n'shoal VERB --help' shows the options of a verb; 'shoal --version' "
                             "the version.\n");
}

/* ---- the manual page: troff with the man macros ---------------------------------------------- */

/* Escape what troff would take for a command: backslashes, hyphens, a leading dot or quote. */
static shoal_status troff(const char *text)
{
    if (*text == '.' || *text == '\'')
        SHOAL_TRY(shoal_report_text("\\&"));
    for (; *text; text++) {
        if (*text == '\\')
            SHOAL_TRY(shoal_report_text("\\e"));
        else if (*text == '-')
            SHOAL_TRY(shoal_report_text("\\-"));
        else
            SHOAL_TRY(shoal_report_bytes(text, 1));
    }
    return SHOAL_OK;
}

static shoal_status troff_line(const char *before, const char *text, const char *after)
{
    SHOAL_TRY(shoal_report_text("%s", before));
    SHOAL_TRY(troff(text));
    return shoal_report_text("%s\n", after);
}

/* "Verbs: plan, eval." so that a reader of the long list knows where an option belongs. */
static shoal_status man_verbs_of(const shoal_option *row)
{
    bool first = true;
    SHOAL_TRY(shoal_report_text("Verbs: "));
    for (int v = 0; v < SHOAL_VERB_COUNT; v++) {
        if (!(row->verbs & (1u << v)) || !shoal_verb_table[v].run)
            continue;
        SHOAL_TRY(shoal_report_text("%s%s", first ? "" : ", ", shoal_verb_table[v].name));
        first = false;
    }
    return shoal_report_text(".\n");
}

static shoal_status man_options(void)
{
    SHOAL_TRY(shoal_report_text(".SH OPTIONS\n"));
    for (int i = 0; i < SHOAL_OPT_COUNT; i++) {
        const shoal_option *row = &shoal_option_table[i];
        char names[160], sentence[512];
        option_names(row, names, sizeof names);
        option_sentence(row, sentence, sizeof sentence);
        SHOAL_TRY(troff_line(".TP\n.B ", names, ""));
        SHOAL_TRY(troff_line("", sentence, ""));
        SHOAL_TRY(man_verbs_of(row));
    }
    return SHOAL_OK;
}

static shoal_status man_verbs(void)
{
    SHOAL_TRY(shoal_report_text(".SH VERBS\n"));
    for (int i = 0; i < SHOAL_VERB_COUNT; i++) {
        const shoal_verb *verb = &shoal_verb_table[i];
        SHOAL_TRY(shoal_report_text(".TP\n.B %s\n", verb->name));
        if (verb->operands[0])
            SHOAL_TRY(troff_line(".I ", verb->operands, "\n.br"));
        SHOAL_TRY(troff_line("", verb->summary, verb->run ? "." : " (not in this version)."));
        if (verb->detail[0])
            SHOAL_TRY(troff_line("", verb->detail, ""));
    }
    return SHOAL_OK;
}

shoal_status shoal_help_man(void)
{
    SHOAL_TRY(shoal_report_text(".TH SHOAL 1 \"\" \"shoal %s\"\n.SH NAME\nshoal \\- large language "
                                "models on MPI workers\n.SH SYNOPSIS\n.B shoal\n.I VERB\n[options]"
                                "\n.SH DESCRIPTION\n%s\n",
                                SHOAL_VERSION, summary));
    SHOAL_TRY(man_verbs());
    SHOAL_TRY(man_options());
    SHOAL_TRY(shoal_report_text(
        ".SH ENVIRONMENT\nEvery option has a variable: SHOAL_ and its name in capitals, with "
        "underscores. A flag wins over\nthe environment, the environment over the configuration "
        "file, that over the default.\n.SH EXIT STATUS\n"));
    for (size_t i = 0; i < sizeof exit_codes / sizeof *exit_codes; i++)
        SHOAL_TRY(shoal_report_text(".TP\n.B %d\n%s\n", exit_codes[i].code, exit_codes[i].meaning));
    return SHOAL_OK;
}

/* ---- --print-config -------------------------------------------------------------------------- */

/* A scalar that YAML reads back as the same text. */
static shoal_status yaml_scalar(const char *text)
{
    SHOAL_TRY(shoal_report_text("'"));
    for (; *text; text++) {
        if (*text == '\'')
            SHOAL_TRY(shoal_report_bytes("'", 1));
        SHOAL_TRY(shoal_report_bytes(text, 1));
    }
    return shoal_report_text("'");
}

static shoal_status config_line(const shoal_options *options, shoal_option_id id)
{
    char origin[256];
    const shoal_option *row = &shoal_option_table[id];
    const char *text = shoal_option_text(options, id);
    shoal_option_origin(options, id, origin, sizeof origin);
    if (!text)
        return shoal_report_text("# %s: # not set\n", row->name);
    SHOAL_TRY(shoal_report_text("%s: ", row->name));
    if (row->type == SHOAL_TYPE_STRING)
        SHOAL_TRY(yaml_scalar(text));
    else
        SHOAL_TRY(shoal_report_text("%s", text));
    return shoal_report_text(" # %s\n", origin);
}

static json_t *config_json(const shoal_options *options)
{
    json_t *all = json_object();
    for (int i = 0; all && i < SHOAL_OPT_COUNT; i++) {
        const shoal_option *row = &shoal_option_table[i];
        char origin[256];
        if (row->flag_only || !(row->verbs & (1u << options->verb)))
            continue;
        shoal_option_origin(options, (shoal_option_id)i, origin, sizeof origin);
        json_t *one = json_pack("{s:s?, s:s}", "value",
                                shoal_option_text(options, (shoal_option_id)i), "source", origin);
        if (json_object_set_new(all, row->name, one) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

shoal_status shoal_print_config(const shoal_options *options)
{
    if (shoal_option_bool(options, SHOAL_OPT_JSON))
        return shoal_report_json(config_json(options));
    for (int i = 0; i < SHOAL_OPT_COUNT; i++) {
        const shoal_option *row = &shoal_option_table[i];
        if (!row->flag_only && (row->verbs & (1u << options->verb)))
            SHOAL_TRY(config_line(options, (shoal_option_id)i));
    }
    return SHOAL_OK;
}
