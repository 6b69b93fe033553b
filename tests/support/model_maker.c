#include "tests/support/model_maker.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/bytes.h"
#include "proto/status.h"

#define PATH_ROOM 4096
#define RANK_MAX  8

typedef struct {
    char *name;
    shoal_dtype dtype;
    int rank;
    int64_t shape[RANK_MAX];
    uint64_t bytes;
    shoal_maker_fill fill;
    void *context;
} listed;

struct shoal_maker {
    char path[PATH_ROOM];
    listed *tensors;
    size_t count, room;
    uint64_t bytes;
};

/* A consecutive run of tensors that shares a file. */
typedef struct {
    size_t first, end;
    char file[64];
} shard;

static void give_up(const char *format, ...) SHOAL_PRINTF(1, 2);
static void give_up(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "model maker: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    exit(1);
}

static void *must_have(void *block)
{
    if (!block)
        give_up("no memory");
    return block;
}

shoal_maker *shoal_maker_begin(void)
{
    shoal_maker *maker = must_have(calloc(1, sizeof *maker));
    const char *parent = getenv("TMPDIR");

    snprintf(maker->path, sizeof maker->path, "%s/shoal-model-XXXXXX",
             parent && *parent ? parent : "/tmp");
    if (!mkdtemp(maker->path))
        give_up("mkdtemp %s: %s", maker->path, strerror(errno));
    return maker;
}

static int create(const shoal_maker *maker, const char *name, char path[PATH_ROOM])
{
    if (snprintf(path, PATH_ROOM, "%s/%s", maker->path, name) >= PATH_ROOM)
        give_up("the path of %s is too long", name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        give_up("create %s: %s", path, strerror(errno));
    return fd;
}

static void write_at(int fd, const char *path, const void *data, size_t bytes, uint64_t offset)
{
    const char *from = data;

    while (bytes) {
        const ssize_t done = pwrite(fd, from, bytes, (off_t)offset);
        if (done <= 0)
            give_up("write %s: %s", path, strerror(errno));
        from += done;
        offset += (uint64_t)done;
        bytes -= (size_t)done;
    }
}

void shoal_maker_file(shoal_maker *maker, const char *name, const void *data, size_t bytes)
{
    char path[PATH_ROOM];
    const int fd = create(maker, name, path);

    write_at(fd, path, data, bytes, 0);
    close(fd);
}

void shoal_maker_text(shoal_maker *maker, const char *name, const char *text)
{
    shoal_maker_file(maker, name, text, strlen(text));
}

void shoal_maker_tensor(shoal_maker *maker, const char *name, shoal_dtype dtype, int rank,
                        const int64_t *shape, shoal_maker_fill fill, void *context)
{
    uint64_t bits = shoal_dtype_bits(dtype);

    if (rank > RANK_MAX)
        give_up("%s has rank %d", name, rank);
    if (maker->count == maker->room) {
        maker->room = maker->room ? 2 * maker->room : 256;
        maker->tensors = must_have(realloc(maker->tensors, maker->room * sizeof maker->tensors[0]));
    }
    listed *t = &maker->tensors[maker->count++];
    *t = (listed){.dtype = dtype, .rank = rank, .fill = fill, .context = context};
    t->name = must_have(strdup(name));
    for (int i = 0; i < rank; i++) {
        t->shape[i] = shape[i];
        if (shape[i] < 0 || !shoal_mul_u64(bits, (uint64_t)shape[i], &bits))
            give_up("%s: impossible shape", name);
    }
    t->bytes = (bits + 7) / 8;
}

/* The header of a shard as text, its length padded to 8 with spaces. */
static char *header_text(const shoal_maker *maker, const shard *s, size_t *bytes)
{
    char *text = NULL;
    uint64_t at = 0;
    FILE *out = must_have(open_memstream(&text, bytes));

    fprintf(out, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = s->first; i < s->end; i++) {
        const listed *t = &maker->tensors[i];
        fprintf(out, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->name, shoal_dtype_name(t->dtype));
        for (int d = 0; d < t->rank; d++)
            fprintf(out, "%s%lld", d ? "," : "", (long long)t->shape[d]);
        fprintf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                (unsigned long long)(at + t->bytes));
        at += t->bytes;
    }
    fprintf(out, "}");
    fflush(out);
    for (size_t rest = *bytes % 8; rest && rest < 8; rest++)
        fputc(' ', out);
    if (fclose(out))
        give_up("no memory for a header");
    return text;
}

static void write_tensor(const listed *t, int fd, const char *path, uint64_t offset)
{
    uint8_t block[SHOAL_MAKER_BLOCK];

    for (uint64_t at = 0; t->fill && at < t->bytes; at += sizeof block) {
        const size_t bytes = t->bytes - at < sizeof block ? (size_t)(t->bytes - at) : sizeof block;
        t->fill(t->context, at, bytes, block);
        write_at(fd, path, block, bytes, offset + at);
    }
}

static void write_shard(shoal_maker *maker, const shard *s)
{
    char path[PATH_ROOM];
    uint8_t length[8];
    size_t bytes = 0;
    char *header = header_text(maker, s, &bytes);
    const int fd = create(maker, s->file, path);
    uint64_t at = sizeof length + bytes;

    shoal_store_le64(length, bytes);
    write_at(fd, path, length, sizeof length, 0);
    write_at(fd, path, header, bytes, sizeof length);
    free(header);
    for (size_t i = s->first; i < s->end; i++) {
        write_tensor(&maker->tensors[i], fd, path, at);
        at += maker->tensors[i].bytes;
    }
    if (ftruncate(fd, (off_t)at))
        give_up("ftruncate %s to %llu: %s", path, (unsigned long long)at, strerror(errno));
    close(fd);
    maker->bytes += at;
}

static void write_index(shoal_maker *maker, const shard *shards, size_t count)
{
    char *text = NULL;
    size_t bytes = 0;
    uint64_t total = 0;
    FILE *out = must_have(open_memstream(&text, &bytes));

    for (size_t i = 0; i < maker->count; i++)
        total += maker->tensors[i].bytes;
    fprintf(out, "{\"metadata\":{\"total_size\":%llu},\"weight_map\":{", (unsigned long long)total);
    for (size_t s = 0; s < count; s++)
        for (size_t i = shards[s].first; i < shards[s].end; i++)
            fprintf(out, "%s\"%s\":\"%s\"", i ? "," : "", maker->tensors[i].name, shards[s].file);
    fprintf(out, "}}");
    if (fclose(out))
        give_up("no memory for an index");
    shoal_maker_file(maker, "model.safetensors.index.json", text, bytes);
    free(text);
}

/* Cut the list into shards; returns their number. */
static size_t cut_shards(const shoal_maker *maker, uint64_t shard_bytes, shard *shards)
{
    size_t count = 0;

    for (size_t at = 0; at < maker->count; count++) {
        uint64_t bytes = maker->tensors[at].bytes;
        shards[count].first = at++;
        while (at < maker->count && bytes + maker->tensors[at].bytes <= shard_bytes)
            bytes += maker->tensors[at++].bytes;
        shards[count].end = at;
    }
    for (size_t s = 0; s < count; s++)
        snprintf(shards[s].file, sizeof shards[s].file, "model-%05zu-of-%05zu.safetensors", s + 1,
                 count);
    return count;
}

void shoal_maker_write(shoal_maker *maker, uint64_t shard_bytes)
{
    if (shard_bytes == 0) {
        const shard whole = {0, maker->count, "model.safetensors"};
        write_shard(maker, &whole);
        return;
    }
    shard *shards = must_have(calloc(maker->count + 1, sizeof *shards));
    const size_t count = cut_shards(maker, shard_bytes, shards);
    for (size_t s = 0; s < count; s++)
        write_shard(maker, &shards[s]);
    write_index(maker, shards, count);
    free(shards);
}

const char *shoal_maker_path(const shoal_maker *maker)
{
    return maker->path;
}

uint64_t shoal_maker_bytes(const shoal_maker *maker)
{
    return maker->bytes;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

void shoal_maker_end(shoal_maker *maker)
{
    if (!maker)
        return;
    nftw(maker->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    for (size_t i = 0; i < maker->count; i++)
        free(maker->tensors[i].name);
    free(maker->tensors);
    free(maker);
}
