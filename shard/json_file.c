#include "shard/json_file.h"

#include <jansson.h>
#include <stdbool.h>

#include "proto/arena.h"
#include "shard/quoted.h"
#include "shard/regular_file.h"

/* Count values and nesting by their marks outside strings; what is malformed is left to jansson. */
static shoal_status check_limits(const char *text, size_t bytes, const char *where,
                                 const shoal_json_limits *limits)
{
    bool in_string = false;
    int depth = 0;
    uint64_t values = 1;
    for (size_t i = 0; i < bytes; i++) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        in_string = c == '"';
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        values += c == ',' || c == '{' || c == '[';
        if (depth > limits->depth)
            return shoal_fail(SHOAL_ERR_DATA, "%s: nested deeper than %d levels at byte %zu", where,
                              limits->depth, i);
        if (values > limits->values)
            return shoal_fail(SHOAL_ERR_DATA, "%s: more than %llu values", where,
                              (unsigned long long)limits->values);
    }
    return SHOAL_OK;
}

static shoal_status check_bytes(uint64_t bytes, const char *where, const shoal_json_limits *limits)
{
    if (bytes > limits->bytes)
        return shoal_fail(SHOAL_ERR_DATA, "%s: %llu bytes; the limit is %llu", where,
                          (unsigned long long)bytes, (unsigned long long)limits->bytes);
    return SHOAL_OK;
}

shoal_status shoal_json_parse(const char *text, size_t bytes, const char *where,
                              const shoal_json_limits *limits, struct json_t **out)
{
    json_error_t error;
    char quoted[SHOAL_QUOTED_ROOM * 2];
    SHOAL_TRY(check_bytes(bytes, where, limits));
    SHOAL_TRY(check_limits(text, bytes, where, limits));
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        const enum json_error_code code = json_error_code(&error);
        const bool nul = code == json_error_null_character || code == json_error_null_byte_in_key;
        return shoal_fail(SHOAL_ERR_DATA, "%s: line %d: %s", where, error.line,
                          nul ? "a NUL in a string"
                              : shoal_quoted(error.text, quoted, sizeof quoted));
    }
    *out = root;
    return SHOAL_OK;
}

shoal_status shoal_json_read(const char *path, const shoal_json_limits *limits, struct json_t **out)
{
    shoal_regular_file file;
    void *text = NULL;
    SHOAL_TRY(shoal_regular_open(path, &file));
    shoal_status st = check_bytes(file.bytes, path, limits);
    if (st == SHOAL_OK)
        st = shoal_alloc(SHOAL_MEM_CHECKPOINT, file.bytes, &text);
    if (st == SHOAL_OK)
        st = shoal_regular_read(&file, path, 0, file.bytes, text);
    if (st == SHOAL_OK)
        st = shoal_json_parse(text, (size_t)file.bytes, path, limits, out);
    shoal_free(text);
    shoal_regular_close(&file);
    return st;
}
