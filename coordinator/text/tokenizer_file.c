/* Opening a tokenizer: which kind of file it is, and which file of a folder. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "coordinator/text/gguf_vocab.h"
#include "coordinator/text/sentencepiece.h"
#include "coordinator/text/sentencepiece_folder.h"
#include "coordinator/text/text_file.h"
#include "coordinator/text/tokenizer_json.h"
#include "coordinator/text/tokenizer_parts.h"
#include "proto/arena.h"
#include "shard/gguf_file.h"
#include "shard/model_folder.h"
#include "shard/pack_file.h"

#define PATH_BYTES 4096

/* ---- kinds ---- */

static bool is_gguf(const char *data, size_t bytes)
{
    return bytes >= 4 && memcmp(data, "GGUF", 4) == 0;
}

/* JSON begins with a printable character, a protobuf message with the tag of a low field. */
static bool is_json(const char *data, size_t bytes)
{
    size_t at = 0;
    while (at < bytes && data[at] && strchr(" \t\r\n", data[at]))
        at++;
    return at == bytes || data[at] >= ' ';
}

static shoal_status read_any(const char *data, size_t bytes, shoal_tokenizer *t)
{
    if (is_gguf(data, bytes))
        return shoal_tokenizer_read_gguf(data, bytes, t);
    if (is_json(data, bytes))
        return shoal_tokenizer_read_json(data, bytes, t);
    return shoal_tokenizer_read_sentencepiece(data, bytes, t);
}

/* What is put together, given to the caller or taken apart again. */
static shoal_status finish(shoal_status st, const char *name, shoal_tokenizer *t,
                           shoal_tokenizer **out)
{
    if (st == SHOAL_OK)
        st = shoal_added_set_seal(t->added_raw);
    if (st == SHOAL_OK)
        st = shoal_added_set_seal(t->added_normalized);
    if (st != SHOAL_OK) {
        shoal_tokenizer_close(t);
        return shoal_fail_within(st, "%s", name);
    }
    *out = t;
    return SHOAL_OK;
}

shoal_status shoal_tokenizer_open_memory(const char *data, size_t bytes, const char *name,
                                         shoal_tokenizer **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_tokenizer), &block));
    return finish(read_any(data, bytes, block), name, block, out);
}

/* ---- files and folders ---- */

/* Of a GGUF file only the header is read: the rest may be a whole model. */
static shoal_status open_gguf(const char *path, shoal_tokenizer **out)
{
    shoal_gguf_header header = {0};
    void *block;
    SHOAL_TRY(shoal_gguf_header_open(path, &header));
    shoal_status st = shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_tokenizer), &block);
    if (st == SHOAL_OK)
        st = finish(shoal_tokenizer_from_gguf(header.gguf, block), path, block, out);
    shoal_gguf_header_free(&header);
    return st;
}

static shoal_status open_file(const char *path, shoal_tokenizer **out)
{
    shoal_strbuf data = {0};
    if (shoal_gguf_is_file(path))
        return open_gguf(path, out);
    SHOAL_TRY(shoal_text_file_read(path, SHOAL_TOKENIZER_FILE_MAX, &data));
    const shoal_status st = shoal_tokenizer_open_memory(data.data, data.bytes, path, out);
    shoal_strbuf_free(&data);
    return st;
}

static shoal_status open_model_of(const char *folder, const char *path, shoal_tokenizer **out)
{
    shoal_strbuf data = {0};
    void *block;
    SHOAL_TRY(shoal_text_file_read(path, SHOAL_SENTENCEPIECE_FILE_MAX, &data));
    shoal_status st = shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_tokenizer), &block);
    if (st == SHOAL_OK) {
        st = shoal_tokenizer_read_sentencepiece(data.data, data.bytes, block);
        if (st == SHOAL_OK)
            st = shoal_sentencepiece_folder_apply(folder, block);
        st = finish(st, path, block, out);
    }
    shoal_strbuf_free(&data);
    return st;
}

/* A folder of a GGUF model; what is missing in others is `json`. */
static shoal_status open_folder_gguf(const char *folder, const char *json, shoal_tokenizer **out)
{
    char *gguf;
    SHOAL_TRY(shoal_folder_gguf(folder, &gguf));
    const shoal_status st = open_file(gguf ? gguf : json, out);
    shoal_free(gguf);
    return st;
}

static shoal_status open_folder(const char *folder, shoal_tokenizer **out)
{
    char json[PATH_BYTES], model[PATH_BYTES];
    const int length = snprintf(json, sizeof json, "%s/tokenizer.json", folder);
    if (length < 0 || (size_t)length >= sizeof json)
        return shoal_fail(SHOAL_ERR_DATA, "a path of more than %zu bytes", sizeof json);
    (void)snprintf(model, sizeof model, "%s/tokenizer.model", folder);
    if (shoal_text_file_exists(json))
        return open_file(json, out);
    if (shoal_text_file_exists(model))
        return open_model_of(folder, model, out);
    return open_folder_gguf(folder, json, out);
}

shoal_status shoal_tokenizer_open(const char *path, shoal_tokenizer **out)
{
    struct stat info;
    if ((stat(path, &info) == 0 && S_ISDIR(info.st_mode)) || shoal_pack_is_file(path))
        return open_folder(path, out);
    return open_file(path, out);
}
