#include "coordinator/cli/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_CHARS 63

/* Does the space separated list hold this word? *index is its place. */
static bool list_holds(const char *list, const char *word, int64_t *index)
{
    const size_t length = strlen(word);
    int64_t at = 0;
    while (list && *list) {
        const size_t n = strcspn(list, " ");
        if (n == length && length > 0 && memcmp(list, word, n) == 0) {
            *index = at;
            return true;
        }
        list += n;
        list += *list == ' ';
        at++;
    }
    return false;
}

shoal_option_id shoal_option_find(const char *name, bool loose)
{
    char plain[NAME_MAX_CHARS + 1];
    int64_t place;
    if (strlen(name) > NAME_MAX_CHARS)
        return SHOAL_OPT_COUNT;
    memcpy(plain, name, strlen(name) + 1);
    for (char *c = plain; loose && *c; c++)
        if (*c == '_')
            *c = '-';
    for (int i = 0; i < SHOAL_OPT_COUNT; i++) {
        const shoal_option *row = &shoal_option_table[i];
        if (strcmp(plain, row->name) == 0 || list_holds(row->aliases, plain, &place))
            return (shoal_option_id)i;
    }
    return SHOAL_OPT_COUNT;
}

void shoal_option_variable(const shoal_option *option, char out[64])
{
    size_t at = (size_t)snprintf(out, 64, "SHOAL_");
    for (const char *c = option->name; *c && at < 63; c++) {
        const char upper = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
        out[at++] = upper == '-' ? '_' : upper;
    }
    out[at] = '\0';
}

/* Edit distance with insertions, deletions and replacements; both words at most 63 long. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_CHARS + 2];
    const size_t columns = strlen(b);
    for (size_t j = 0; j <= columns; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            const size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            const size_t gap = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < gap ? replace : gap;
        }
    }
    return row[columns];
}

/* A word is near when at most a third of it (and at least two letters' worth) must change. */
const char *shoal_nearest_word(const char *word, const char *const *words, size_t count)
{
    const char *best = NULL;
    const size_t length = strlen(word);
    if (length == 0 || length > NAME_MAX_CHARS)
        return NULL;
    size_t limit = length / 3 > 2 ? length / 3 : 2;
    limit = limit < length ? limit : length - 1;
    for (size_t i = 0; i < count; i++) {
        const size_t d = distance(word, words[i]);
        if (d <= limit && (!best || d < distance(word, best)))
            best = words[i];
    }
    return best;
}

const char *shoal_option_suggest(shoal_verb_id verb, const char *name)
{
    const char *names[SHOAL_OPT_COUNT];
    size_t count = 0;
    for (int i = 0; i < SHOAL_OPT_COUNT; i++)
        if (shoal_option_table[i].verbs & (1u << verb))
            names[count++] = shoal_option_table[i].name;
    return shoal_nearest_word(name, names, count);
}

/* ---- values ---------------------------------------------------------------------------------- */

static shoal_status out_of_range(const shoal_option *row, const char *where, const char *text)
{
    return shoal_fail(SHOAL_ERR_USAGE, "%s: %s is outside %.15g..%.15g", where, text, row->min,
                      row->max);
}

static bool digits_first(const char *text)
{
    return *text >= '0' && *text <= '9';
}

static shoal_status parse_int(const shoal_option *row, const char *text, const char *where,
                              shoal_option_value *value)
{
    char *end;
    errno = 0;
    const long long number = strtoll(text, &end, 10);
    if (!digits_first(text + (*text == '-')) || *end)
        return shoal_fail(SHOAL_ERR_USAGE, "%s: '%s' is not a whole number", where, text);
    if (errno == ERANGE || (double)number < row->min || (double)number > row->max)
        return out_of_range(row, where, text);
    value->integer = number;
    return SHOAL_OK;
}

static shoal_status parse_float(const shoal_option *row, const char *text, const char *where,
                                shoal_option_value *value)
{
    char *end;
    errno = 0;
    const double number = strtod(text, &end);
    if (strspn(text, "0123456789+-.eE") != strlen(text) || end == text || *end)
        return shoal_fail(SHOAL_ERR_USAGE, "%s: '%s' is not a number", where, text);
    if (!isfinite(number) || number < row->min || number > row->max)
        return out_of_range(row, where, text);
    value->number = number;
    return SHOAL_OK;
}

static shoal_status parse_bytes(const shoal_option *row, const char *text, const char *where,
                                shoal_option_value *value)
{
    static const char *const suffixes[] = {"B KiB MiB GiB TiB", "B K M G T", "B k m g t"};
    char *end;
    int64_t power = 0;
    const double number = strtod(text, &end);
    const size_t used = (size_t)(end - text);
    bool known = *end == '\0';
    end += *end == ' ';
    for (size_t i = 0; i < 3 && !known; i++)
        known = list_holds(suffixes[i], end, &power);
    if (!digits_first(text) || strspn(text, "0123456789.") < used || !known)
        return shoal_fail(SHOAL_ERR_USAGE,
                          "%s: '%s' is not a size; write a number with B, KiB, MiB, GiB or TiB",
                          where, text);
    const double bytes = ldexp(number, (int)(10 * power));
    if (!(bytes >= row->min && bytes <= row->max))
        return out_of_range(row, where, text);
    value->integer = (int64_t)bytes;
    return SHOAL_OK;
}

static shoal_status parse_bool(const shoal_option *row, const char *text, const char *where,
                               shoal_option_value *value)
{
    int64_t place;
    (void)row;
    if (list_holds("1 true yes on", text, &place))
        value->integer = 1;
    else if (list_holds("0 false no off", text, &place))
        value->integer = 0;
    else
        return shoal_fail(SHOAL_ERR_USAGE, "%s: '%s' is neither true nor false", where, text);
    return SHOAL_OK;
}

static shoal_status parse_enum(const shoal_option *row, const char *text, const char *where,
                               shoal_option_value *value)
{
    if (!list_holds(row->words, text, &value->integer))
        return shoal_fail(SHOAL_ERR_USAGE, "%s: '%s' is not one of: %s", where, text, row->words);
    return SHOAL_OK;
}

static shoal_status parse_string(const shoal_option *row, const char *text, const char *where,
                                 shoal_option_value *value)
{
    (void)row, (void)text, (void)where, (void)value;
    return SHOAL_OK;
}

typedef shoal_status (*value_parser)(const shoal_option *, const char *, const char *,
                                     shoal_option_value *);

static const value_parser parsers[] = {
    [SHOAL_TYPE_INT] = parse_int,     [SHOAL_TYPE_BYTES] = parse_bytes,
    [SHOAL_TYPE_FLOAT] = parse_float, [SHOAL_TYPE_STRING] = parse_string,
    [SHOAL_TYPE_BOOL] = parse_bool,   [SHOAL_TYPE_ENUM] = parse_enum,
};

shoal_status shoal_options_set(shoal_options *options, shoal_option_id id, const char *text,
                               shoal_option_source source, const char *where)
{
    const shoal_option *row = &shoal_option_table[id];
    shoal_option_value value = {.source = source, .text = text};
    SHOAL_TRY(parsers[row->type](row, text, where, &value));
    if (source >= options->values[id].source)
        options->values[id] = value;
    return SHOAL_OK;
}

/* ---- argv ------------------------------------------------------------------------------------ */

typedef struct {
    shoal_options *options;
    int argc;
    char *const *argv;
    int next;
} word_reader;

static shoal_status unknown_option(const shoal_options *options, const char *word, const char *name)
{
    const shoal_option_id id = shoal_option_find(name, false);
    if (id != SHOAL_OPT_COUNT && !(shoal_option_table[id].verbs & (1u << options->verb)))
        return shoal_fail(SHOAL_ERR_USAGE, "%s is an option of other verbs, not of this one", word);
    const char *near = shoal_option_suggest(options->verb, name);
    if (near)
        return shoal_fail(SHOAL_ERR_USAGE, "unknown option %s; did you mean --%s?", word, near);
    return shoal_fail(SHOAL_ERR_USAGE, "unknown option %s", word);
}

static shoal_status take_value(word_reader *reader, shoal_option_id id, const char *word,
                               const char *attached)
{
    const shoal_option *row = &shoal_option_table[id];
    const char *text = attached;
    if (!text && row->type == SHOAL_TYPE_BOOL)
        text = "true";
    if (!text) {
        if (reader->next >= reader->argc)
            return shoal_fail(SHOAL_ERR_USAGE, "%s needs a value: %s", word, row->metavar);
        text = reader->argv[reader->next++];
    }
    return shoal_options_set(reader->options, id, text, SHOAL_FROM_FLAG, word);
}

/* --name, --name=value, --name value; a single dash does for names of several letters (-tp). */
static shoal_status take_named(word_reader *reader, const char *word, size_t dashes)
{
    char name[NAME_MAX_CHARS + 1], shown[NAME_MAX_CHARS + 3];
    const size_t length = strcspn(word + dashes, "=");
    const char *value = word[dashes + length] ? word + dashes + length + 1 : NULL;
    if (length == 0 || length > NAME_MAX_CHARS)
        return shoal_fail(SHOAL_ERR_USAGE, "unknown option %.80s", word);
    memcpy(name, word + dashes, length);
    name[length] = '\0';
    (void)snprintf(shown, sizeof shown, "%.*s%s", (int)dashes, word, name);

    const shoal_option_id id = length > 1 ? shoal_option_find(name, false) : SHOAL_OPT_COUNT;
    if (id == SHOAL_OPT_COUNT || !(shoal_option_table[id].verbs & (1u << reader->options->verb)))
        return unknown_option(reader->options, shown, name);
    return take_value(reader, id, shown, value);
}

/* -n N, -nN, -n=N */
static shoal_status take_short(word_reader *reader, const char *word)
{
    const char name[2] = {word[1], '\0'}, shown[3] = {'-', word[1], '\0'};
    const shoal_option_id id = shoal_option_find(name, false);
    if (id == SHOAL_OPT_COUNT || !(shoal_option_table[id].verbs & (1u << reader->options->verb)))
        return take_named(reader, word, 1);
    const bool digits = word[2] >= '0' && word[2] <= '9';
    if (word[2] && word[2] != '=' && !digits)
        return take_named(reader, word, 1);
    return take_value(reader, id, shown, word[2] ? word + 2 + (word[2] == '=') : NULL);
}

static shoal_status take_operand(shoal_options *options, int operands_max, const char *word)
{
    if (options->operand_count >= operands_max)
        return shoal_fail(SHOAL_ERR_USAGE, "unexpected argument '%.200s'", word);
    options->operands[options->operand_count++] = word;
    return SHOAL_OK;
}

static shoal_status read_words(word_reader *reader, int operands_max)
{
    bool only_operands = false;
    while (reader->next < reader->argc) {
        const char *word = reader->argv[reader->next++];
        if (only_operands || word[0] != '-' || !word[1])
            SHOAL_TRY(take_operand(reader->options, operands_max, word));
        else if (strcmp(word, "--") == 0)
            only_operands = true;
        else if (word[1] == '-')
            SHOAL_TRY(take_named(reader, word, 2));
        else
            SHOAL_TRY(take_short(reader, word));
    }
    return SHOAL_OK;
}

/* ---- environment, config, defaults ----------------------------------------------------------- */

/* An empty variable counts as unset. */
static shoal_status read_environment(shoal_options *options, shoal_environment environment)
{
    for (int i = 0; i < SHOAL_OPT_COUNT; i++) {
        const shoal_option *row = &shoal_option_table[i];
        char name[64], where[96];
        if (row->flag_only || !(row->verbs & (1u << options->verb)))
            continue;
        shoal_option_variable(row, name);
        const char *text = environment(name);
        (void)snprintf(where, sizeof where, "environment %s", name);
        if (text && *text)
            SHOAL_TRY(shoal_options_set(options, (shoal_option_id)i, text, SHOAL_FROM_ENVIRONMENT,
                                        where));
    }
    return SHOAL_OK;
}

static shoal_status read_defaults(shoal_options *options)
{
    for (int i = 0; i < SHOAL_OPT_COUNT; i++) {
        const shoal_option *row = &shoal_option_table[i];
        const char *text = row->type == SHOAL_TYPE_BOOL ? "false" : row->fallback;
        if (text && (row->verbs & (1u << options->verb)))
            SHOAL_TRY(shoal_options_set(options, (shoal_option_id)i, text, SHOAL_FROM_DEFAULT,
                                        row->name));
    }
    return SHOAL_OK;
}

shoal_status shoal_options_parse(shoal_verb_id verb, int operands_max, int argc, char *const *argv,
                                 shoal_environment environment, shoal_options *out)
{
    shoal_status st = SHOAL_OK;
    shoal_options options = {.verb = verb};
    word_reader reader = {&options, argc, argv, 0};
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_TEXT, &options.arena));
    SHOAL_TRY_GOTO(read_words(&reader, operands_max), fail);
    SHOAL_TRY_GOTO(read_environment(&options, environment), fail);
    options.config_path = shoal_option_text(&options, SHOAL_OPT_CONFIG);
    if (options.config_path && !shoal_option_bool(&options, SHOAL_OPT_HELP))
        SHOAL_TRY_GOTO(shoal_config_read(options.config_path, &options), fail);
    SHOAL_TRY_GOTO(read_defaults(&options), fail);
    *out = options;
    return SHOAL_OK;

fail:
    shoal_arena_destroy(options.arena);
    return st;
}

void shoal_options_close(shoal_options *options)
{
    shoal_arena_destroy(options->arena);
    options->arena = NULL;
}

void shoal_option_origin(const shoal_options *options, shoal_option_id id, char *out, size_t room)
{
    char name[64];
    switch (options->values[id].source) {
    case SHOAL_FROM_NOWHERE: (void)snprintf(out, room, "not set"); return;
    case SHOAL_FROM_DEFAULT: (void)snprintf(out, room, "default"); return;
    case SHOAL_FROM_CONFIG: (void)snprintf(out, room, "config %s", options->config_path); return;
    case SHOAL_FROM_FLAG: (void)snprintf(out, room, "flag"); return;
    case SHOAL_FROM_ENVIRONMENT:
        shoal_option_variable(&shoal_option_table[id], name);
        (void)snprintf(out, room, "environment %s", name);
        return;
    }
}
