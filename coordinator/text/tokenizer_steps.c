#include "coordinator/text/tokenizer_steps.h"

#include <string.h>

#include "coordinator/text/json_fields.h"
#include "coordinator/text/utf8.h"

static shoal_status read_nested(const shoal_step_part *p, const json_t *json, shoal_tokenizer *t,
                                int depth)
{
    const char *type;
    if (!json_is_object(json))
        return shoal_fail(SHOAL_ERR_DATA, "%s: must be an object", p->name);
    if (depth > SHOAL_TOKENIZER_NEST_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "%s: Sequences nested more than %d deep", p->name,
                          SHOAL_TOKENIZER_NEST_MAX);
    SHOAL_TRY(shoal_json_name(json, p->name, "type", &type));
    if (strcmp(type, "Sequence") == 0) {
        json_t *list;
        SHOAL_TRY(shoal_json_array(json, p->name, p->list, &list));
        for (size_t i = 0; i < json_array_size(list); i++)
            SHOAL_TRY(read_nested(p, json_array_get(list, i), t, depth + 1));
        return SHOAL_OK;
    }
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(type, p->rows[i].type) == 0)
            return p->rows[i].read(json, t);
    return shoal_fail(SHOAL_ERR_DATA, "%s: type \"%.64s\" is unsupported", p->name, type);
}

shoal_status shoal_step_read(const shoal_step_part *part, const json_t *json, shoal_tokenizer *t)
{
    return json && !json_is_null(json) ? read_nested(part, json, t, 0) : SHOAL_OK;
}

shoal_status shoal_step_pattern(const json_t *json, const char *where, shoal_pattern **out)
{
    json_t *pattern;
    const char *text;
    size_t bytes;
    SHOAL_TRY(shoal_json_object(json, where, "pattern", &pattern));
    SHOAL_TRY(shoal_json_text(pattern, where, "Regex", &text, &bytes));
    if (text)
        return shoal_pattern_compile(text, bytes, out);
    SHOAL_TRY(shoal_json_text(pattern, where, "String", &text, &bytes));
    if (text)
        return shoal_pattern_compile_literal(text, bytes, out);
    return shoal_fail(SHOAL_ERR_DATA, "%s: the pattern is neither Regex nor String", where);
}

shoal_status shoal_step_text(const json_t *json, const char *where, const char *key,
                             shoal_strbuf *out)
{
    const char *text;
    size_t bytes;
    SHOAL_TRY(shoal_json_text(json, where, key, &text, &bytes));
    if (!text)
        return shoal_fail(SHOAL_ERR_DATA, "%s: \"%s\" must be a string", where, key);
    return shoal_strbuf_append(out, text, bytes);
}

shoal_status shoal_step_character(const json_t *json, const char *where, const char *key,
                                  shoal_strbuf *out)
{
    shoal_strbuf text = {0};
    size_t at = 0;
    SHOAL_TRY(shoal_step_text(json, where, key, &text));
    if (text.bytes)
        (void)shoal_utf8_next(text.data, &at);
    if (at == 0 || at != text.bytes) {
        shoal_strbuf_free(&text);
        return shoal_fail(SHOAL_ERR_DATA, "%s: \"%s\" must be one character", where, key);
    }
    *out = text;
    return SHOAL_OK;
}

shoal_status shoal_step_count(const json_t *json, const char *where, const char *key, size_t *out)
{
    json_int_t count;
    SHOAL_TRY(shoal_json_integer(json, where, key, &count));
    if (count < 0 || count > SHOAL_STEP_COUNT_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "%s: \"%s\" is %lld (0 to %d)", where, key,
                          (long long)count, SHOAL_STEP_COUNT_MAX);
    *out = (size_t)count;
    return SHOAL_OK;
}

shoal_status shoal_step_metaspace(const json_t *json, const char *where,
                                  shoal_metaspace_prefix *prefix, shoal_strbuf *mark)
{
    static const struct {
        const char *name;
        shoal_metaspace_prefix prefix;
    } schemes[] = {
        {"always", SHOAL_METASPACE_ALWAYS},
        {"first", SHOAL_METASPACE_FIRST},
        {"never", SHOAL_METASPACE_NEVER},
    };
    const char *scheme;
    bool space;
    SHOAL_TRY(shoal_json_bool(json, where, "add_prefix_space", true, &space));
    *prefix = space ? SHOAL_METASPACE_ALWAYS : SHOAL_METASPACE_NEVER;
    if (!shoal_json_member(json, "prepend_scheme"))
        return shoal_step_character(json, where, "replacement", mark);
    SHOAL_TRY(shoal_json_name(json, where, "prepend_scheme", &scheme));
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (strcmp(scheme, schemes[i].name) == 0) {
            *prefix = schemes[i].prefix;
            return shoal_step_character(json, where, "replacement", mark);
        }
    }
    return shoal_fail(SHOAL_ERR_DATA, "%s: prepend_scheme \"%.64s\" is unknown", where, scheme);
}
