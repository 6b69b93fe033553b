#include "shard/gguf_file.h"

#include <ctype.h>
#include <string.h>

#include "proto/arena.h"

/* The first piece, and by how much it grows. */
#define PIECE_BYTES (1u << 20)
#define PIECE_GROWS 4

/* ---- headers ---- */

static shoal_status read_piece(const shoal_regular_file *file, const char *path, uint64_t bytes,
                               shoal_gguf_header *out)
{
    shoal_gguf_header header = {0};
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, bytes, &header.bytes));
    shoal_status st = shoal_regular_read(file, path, 0, bytes, header.bytes);
    if (st == SHOAL_OK) {
        st = shoal_gguf_parse(header.bytes, bytes, file->bytes, &header.gguf);
        if (st != SHOAL_OK)
            st = shoal_fail_within(st, "%s", path);
    }
    if (st == SHOAL_OK)
        *out = header;
    else
        shoal_free(header.bytes);
    return st;
}

shoal_status shoal_gguf_header_read(const shoal_regular_file *file, const char *path,
                                    shoal_gguf_header *out)
{
    for (uint64_t bytes = PIECE_BYTES;; bytes *= PIECE_GROWS) {
        const uint64_t most =
            file->bytes < SHOAL_GGUF_HEADER_MAX ? file->bytes : SHOAL_GGUF_HEADER_MAX;
        const uint64_t piece = bytes < most ? bytes : most;
        const shoal_status st = read_piece(file, path, piece, out);
        if (st == SHOAL_ERR_TEMPORARY && piece == SHOAL_GGUF_HEADER_MAX)
            return shoal_fail(SHOAL_ERR_DATA, "%s: a header of more than %u bytes", path,
                              SHOAL_GGUF_HEADER_MAX);
        if (st != SHOAL_ERR_TEMPORARY || piece == most)
            return st;
    }
}

shoal_status shoal_gguf_header_open(const char *path, shoal_gguf_header *out)
{
    shoal_regular_file file;
    SHOAL_TRY(shoal_regular_open(path, &file));
    const shoal_status st = shoal_gguf_header_read(&file, path, out);
    shoal_regular_close(&file);
    return st;
}

void shoal_gguf_header_free(shoal_gguf_header *header)
{
    shoal_gguf_free(header->gguf);
    shoal_free(header->bytes);
    *header = (shoal_gguf_header){0};
}

bool shoal_gguf_is_file(const char *path)
{
    shoal_regular_file file;
    char magic[4];
    if (shoal_regular_open(path, &file) != SHOAL_OK)
        return false;
    const bool read = file.bytes >= sizeof magic &&
                      shoal_regular_read(&file, path, 0, sizeof magic, magic) == SHOAL_OK;
    shoal_regular_close(&file);
    return read && memcmp(magic, "GGUF", sizeof magic) == 0;
}

/* ---- names of parts ---- */

#define PART_DIGITS 5

static bool take_number(const char *text, int *out)
{
    int value = 0;
    for (int i = 0; i < PART_DIGITS; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        value = value * 10 + (text[i] - '0');
    }
    *out = value;
    return true;
}

bool shoal_gguf_part_name(const char *name, int *part, int *parts, size_t *stem)
{
    static const char shape[] = "-00000-of-00000.gguf";
    const size_t length = strlen(name), tail = sizeof shape - 1;
    int which, many;
    if (length < tail)
        return false;
    const char *end = name + length - tail;
    if (end[0] != '-' || !take_number(end + 1, &which) ||
        memcmp(end + 6, "-of-", strlen("-of-")) != 0 || !take_number(end + 10, &many) ||
        strcmp(end + 15, ".gguf") != 0)
        return false;
    *part = which;
    *parts = many;
    *stem = length - tail;
    return true;
}
