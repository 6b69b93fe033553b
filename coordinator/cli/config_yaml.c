#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "coordinator/cli/options.h"

/* A file of options, not of data. */
#define CONFIG_BYTES_MAX  (1 << 20)
#define CONFIG_VALUE_MAX  4096
#define CONFIG_EVENTS_MAX 16384

/* The document is a mapping; we see key, value, key, value; a value may be a list of scalars. */
typedef struct {
    const char *path;
    shoal_options *options;
    char key[64];
    bool have_key;
    int depth; /* 1 inside the mapping, 2 inside a list */
    char list[CONFIG_VALUE_MAX];
    size_t list_used;
    size_t line;
} config_state;

static shoal_status bad_config(const config_state *s, const char *what)
{
    return shoal_fail(SHOAL_ERR_CONFIG, "%s: line %zu: %s", s->path, s->line, what);
}

static shoal_status apply(config_state *s, const char *value)
{
    char where[256];
    void *copy;
    const shoal_option_id id = shoal_option_find(s->key, true);
    s->have_key = false;
    if (id == SHOAL_OPT_COUNT || shoal_option_table[id].flag_only) {
        const char *near = shoal_option_suggest(s->options->verb, s->key);
        return shoal_fail(SHOAL_ERR_CONFIG, "%s: line %zu: unknown option '%s'%s%s%s", s->path,
                          s->line, s->key, near ? "; did you mean " : "", near ? near : "",
                          near ? "?" : "");
    }
    if (!(shoal_option_table[id].verbs & (1u << s->options->verb)))
        return SHOAL_OK;
    SHOAL_TRY(shoal_arena_alloc(s->options->arena, strlen(value) + 1, &copy));
    memcpy(copy, value, strlen(value) + 1);
    (void)snprintf(where, sizeof where, "%.150s: line %zu: %s", s->path, s->line, s->key);
    return shoal_options_set(s->options, id, copy, SHOAL_FROM_CONFIG, where);
}

static shoal_status take_key(config_state *s, const char *text, size_t length)
{
    if (length >= sizeof s->key)
        return bad_config(s, "a key is longer than any option's name");
    memcpy(s->key, text, length + 1);
    s->have_key = true;
    return SHOAL_OK;
}

static shoal_status take_item(config_state *s, const char *text, size_t length)
{
    if (s->list_used + length + 2 > sizeof s->list)
        return bad_config(s, "the list is too long");
    if (s->list_used)
        s->list[s->list_used++] = ',';
    memcpy(s->list + s->list_used, text, length + 1);
    s->list_used += length;
    return SHOAL_OK;
}

static shoal_status take_scalar(config_state *s, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    const size_t length = event->data.scalar.length;
    if (strlen(text) != length || length >= CONFIG_VALUE_MAX)
        return bad_config(s, "a value is too long or holds a zero byte");
    if (s->depth == 2)
        return take_item(s, text, length);
    if (s->depth == 1)
        return s->have_key ? apply(s, text) : take_key(s, text, length);
    return length == 0 ? SHOAL_OK : bad_config(s, "expected a mapping of option names to values");
}

static shoal_status take_event(config_state *s, const yaml_event_t *event)
{
    s->line = event->start_mark.line + 1;
    switch (event->type) {
    case YAML_SCALAR_EVENT: return take_scalar(s, event);
    case YAML_MAPPING_START_EVENT:
        if (s->depth != 0)
            return bad_config(s, "a mapping inside a mapping means nothing here");
        s->depth = 1;
        return SHOAL_OK;
    case YAML_MAPPING_END_EVENT: s->depth = 0; return SHOAL_OK;
    case YAML_SEQUENCE_START_EVENT:
        if (s->depth != 1 || !s->have_key)
            return bad_config(s, "expected a mapping of option names to values");
        s->depth = 2;
        s->list_used = 0;
        s->list[0] = '\0';
        return SHOAL_OK;
    case YAML_SEQUENCE_END_EVENT: s->depth = 1; return apply(s, s->list);
    case YAML_ALIAS_EVENT: return bad_config(s, "aliases are not supported");
    default: return SHOAL_OK;
    }
}

static shoal_status parse_events(yaml_parser_t *parser, config_state *s)
{
    yaml_event_type_t type = YAML_NO_EVENT;
    for (int i = 0; type != YAML_STREAM_END_EVENT; i++) {
        yaml_event_t event;
        if (i >= CONFIG_EVENTS_MAX)
            return shoal_fail(SHOAL_ERR_CONFIG, "%s: more than %d values", s->path,
                              CONFIG_EVENTS_MAX);
        if (!yaml_parser_parse(parser, &event))
            return shoal_fail(SHOAL_ERR_CONFIG, "%s: line %zu: %s", s->path,
                              parser->problem_mark.line + 1,
                              parser->problem ? parser->problem : "not YAML");
        type = event.type;
        const shoal_status st = take_event(s, &event);
        yaml_event_delete(&event);
        SHOAL_TRY(st);
    }
    return SHOAL_OK;
}

static shoal_status parse_file(FILE *file, const char *path, shoal_options *options)
{
    yaml_parser_t parser;
    config_state state = {.path = path, .options = options};
    if (fseek(file, 0, SEEK_END) != 0 || ftell(file) > CONFIG_BYTES_MAX)
        return shoal_fail(SHOAL_ERR_CONFIG, "%s: not a regular file of at most %d bytes", path,
                          CONFIG_BYTES_MAX);
    rewind(file);
    if (!yaml_parser_initialize(&parser))
        return shoal_fail(SHOAL_ERR_TEMPORARY, "%s: no memory for the YAML parser", path);
    yaml_parser_set_input_file(&parser, file);
    const shoal_status st = parse_events(&parser, &state);
    yaml_parser_delete(&parser);
    return st;
}

shoal_status shoal_config_read(const char *path, shoal_options *options)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return shoal_fail(errno == ENOENT ? SHOAL_ERR_NOTFOUND : SHOAL_ERR_IO, "config file %s: %s",
                          path, strerror(errno));
    const shoal_status st = parse_file(file, path, options);
    (void)fclose(file);
    return st;
}
