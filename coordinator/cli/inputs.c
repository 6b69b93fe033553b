#include "coordinator/cli/inputs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define IDS_FILE_MAX (256u << 20)
#define IDS_MAX      16777216

static shoal_status read_all(FILE *file, const char *path, size_t most, shoal_strbuf *out)
{
    char piece[65536];
    const size_t before = out->bytes;
    for (;;) {
        const size_t n = fread(piece, 1, sizeof piece, file);
        if (ferror(file))
            return shoal_fail(SHOAL_ERR_IO, "reading %s: %s", path, strerror(errno));
        if (n == 0)
            return SHOAL_OK;
        if (out->bytes - before + n > most)
            return shoal_fail(SHOAL_ERR_DATA, "%s is longer than %zu bytes", path, most);
        SHOAL_TRY(shoal_strbuf_append(out, piece, n));
    }
}

shoal_status shoal_read_file(const char *path, size_t most, shoal_strbuf *out)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return shoal_fail(errno == ENOENT ? SHOAL_ERR_NOTFOUND : SHOAL_ERR_IO, "cannot open %s: %s",
                          path, strerror(errno));
    const shoal_status st = read_all(file, path, most, out);
    (void)fclose(file);
    return st;
}

shoal_status shoal_ids_from_json(const json_t *value, const char *name, shoal_ids *out)
{
    const json_t *list = json_is_object(value) ? json_object_get(value, "prompt_ids") : value;
    if (!json_is_array(list))
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: expected a list of token ids, or an object with \"prompt_ids\"",
                          name);
    const size_t count = json_array_size(list);
    if (count > IDS_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "%s: %zu token ids; the limit is %d", name, count,
                          IDS_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        const json_int_t id = json_integer_value(item);
        if (!json_is_integer(item) || id < 0 || id > INT32_MAX)
            return shoal_fail(SHOAL_ERR_DATA, "%s: entry %zu is not a token id", name, i);
        SHOAL_TRY(shoal_ids_push(out, (int32_t)id));
    }
    return SHOAL_OK;
}

shoal_status shoal_read_ids(const char *path, shoal_ids *out)
{
    json_error_t error;
    shoal_strbuf text = {0};
    shoal_status st = shoal_read_file(path, IDS_FILE_MAX, &text);
    if (st == SHOAL_OK) {
        json_t *root = json_loadb(text.data ? text.data : "", text.bytes, 0, &error);
        st = root ? shoal_ids_from_json(root, path, out)
                  : shoal_fail(SHOAL_ERR_DATA, "%s: line %d: %s", path, error.line, error.text);
        json_decref(root);
    }
    shoal_strbuf_free(&text);
    return st;
}

shoal_status shoal_check_ids(const shoal_ids *ids, int64_t vocab, const char *name)
{
    if (ids->count == 0)
        return shoal_fail(SHOAL_ERR_DATA, "%s: no token ids", name);
    for (size_t i = 0; i < ids->count; i++)
        if (ids->data[i] < 0 || ids->data[i] >= vocab)
            return shoal_fail(SHOAL_ERR_DATA,
                              "%s: token %zu has the id %d; the vocabulary ends at "
                              "%lld",
                              name, i, ids->data[i], (long long)vocab - 1);
    return SHOAL_OK;
}
