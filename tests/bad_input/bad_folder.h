/* What every table of bad folders needs: a good model to damage, tools to damage it, and the
 * opening in a child process, so that a crash, a hang or a hunger for memory is one row's failure
 * and not the end of the table. */
#ifndef SHOAL_TESTS_BAD_INPUT_BAD_FOLDER_H
#define SHOAL_TESTS_BAD_INPUT_BAD_FOLDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/bytes.h"
#include "shard/checkpoint.h"
#include "shard/manifest.h"
#include "shard/model.h"
#include "tests/support/model_recipe.h"
#include "tests/support/sanitized.h"

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])

#if SANITIZED
enum { SLOWER = 15, CHECK_MEMORY = 0 };
#else
enum { SLOWER = 2, CHECK_MEMORY = 1 }; /* other programs run on this machine too */
#endif

/* ---- opening, in a child ---- */

typedef struct {
    int status;
    char text[SHOAL_ERROR_MAX];
} outcome;

static inline shoal_status open_model(const char *folder)
{
    const shoal_manifest_options options = {0};
    shoal_model *model = NULL;
    shoal_checkpoint *checkpoint = NULL;
    shoal_manifest *manifest = NULL;
    shoal_status st = shoal_model_open(folder, &model);
    if (st == SHOAL_OK)
        st = shoal_checkpoint_open(folder, &checkpoint);
    if (st == SHOAL_OK)
        st = shoal_manifest_create(model, checkpoint, &options, &manifest);
    shoal_manifest_destroy(manifest);
    shoal_checkpoint_close(checkpoint);
    shoal_model_close(model);
    return st;
}

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline void child(const char *folder, bool as_nobody, int to)
{
    outcome o = {0};
    if (as_nobody && (setegid(65534) != 0 || seteuid(65534) != 0))
        o.status = -1;
    else
        o.status = (int)open_model(folder);
    snprintf(o.text, sizeof o.text, "%s", shoal_error_text());
    const int code = write(to, &o, sizeof o) == (ssize_t)sizeof o ? 0 : 9;
    if (as_nobody)
        _exit(code); /* a process that gave up its user cannot be looked through for leaks */
    exit(code);
}

/* Print what is wrong with a row; the table goes on. */
static inline bool complain(const char *id, const char *format, ...) SHOAL_PRINTF(2, 3);
static inline bool complain(const char *id, const char *format, ...)
{
    char text[SHOAL_ERROR_MAX + 256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_error("%s: %s\n", id, text);
    return false;
}

/* The outcome of opening a folder; a child that dies or takes over `seconds` fails the row. */
static inline bool open_in_child(const char *id, const char *folder, bool as_nobody, double seconds,
                                 long memory_kib, outcome *out)
{
    int ends[2], status;
    struct rusage usage;
    const double begin = now();
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        child(folder, as_nobody, ends[1]);
    }
    close(ends[1]);
    struct pollfd wait_for = {.fd = ends[0], .events = POLLIN};
    const bool answered = poll(&wait_for, 1, (int)(seconds * SLOWER * 1000)) == 1 &&
                          read(ends[0], out, sizeof *out) == (ssize_t)sizeof *out;
    const double took = now() - begin;
    if (!answered)
        kill(pid, SIGKILL);
    close(ends[0]);
    assert_int_equal(wait4(pid, &status, 0, &usage), pid);
    if (!answered || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return complain(id, "no answer in %.1f s, wait status 0x%x", took, (unsigned)status);
    if (CHECK_MEMORY && usage.ru_maxrss > memory_kib)
        return complain(id, "%ld KiB of memory", usage.ru_maxrss);
    return true;
}

/* ---- a good model to damage ---- */

static const shoal_recipe dense = {
    .family = "llama",
    .layers = 1,
    .hidden = 64,
    .intermediate = 96,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 16,
    .vocab = 80,
    .context = 64,
    .seed = 1,
};

static inline shoal_maker *good(void)
{
    return shoal_recipe_make(&dense);
}

static inline shoal_maker *good_shards(void)
{
    shoal_recipe recipe = dense;
    recipe.shard_bytes = 20000;
    return shoal_recipe_make(&recipe);
}

static inline shoal_maker *good_gptq(void)
{
    shoal_recipe recipe = dense;
    recipe.bits = 4;
    recipe.group = 32;
    return shoal_recipe_make(&recipe);
}

static inline void path_of(const shoal_maker *maker, const char *name, char *out, size_t room)
{
    snprintf(out, room, "%s/%s", shoal_maker_path(maker), name);
}

static inline char *read_whole(const shoal_maker *maker, const char *name, size_t *bytes)
{
    char path[512];
    path_of(maker, name, path, sizeof path);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *bytes = (size_t)ftell(f);
    rewind(f);
    char *data = calloc(1, *bytes + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *bytes, f), *bytes);
    fclose(f);
    return data;
}

/* Replace the first `from` after the first `after` in a text file or in a header, whose length is
 * then written anew. */
static inline void edit(shoal_maker *maker, const char *name, size_t header_at, const char *after,
                        const char *from, const char *to)
{
    size_t bytes;
    char *data = read_whole(maker, name, &bytes);
    char *place = strstr(data + header_at, after);
    place = place ? strstr(place, from) : NULL;
    if (!place)
        fail_msg("no '%s' after '%s' in %s", from, after, name);
    const size_t begin = (size_t)(place - data), end = begin + strlen(from);
    const size_t grown = bytes - strlen(from) + strlen(to);
    char *out = malloc(grown + 1);
    assert_non_null(out);
    memcpy(out, data, begin);
    memcpy(out + begin, to, strlen(to));
    memcpy(out + begin + strlen(to), data + end, bytes - end);
    if (header_at)
        shoal_store_le64(out, shoal_load_le64(data) + strlen(to) - strlen(from));
    shoal_maker_file(maker, name, out, grown);
    free(out);
    free(data);
}

static inline shoal_maker *edited(shoal_maker *maker, const char *after, const char *from,
                                  const char *to)
{
    edit(maker, "model.safetensors", 8, after, from, to);
    return maker;
}

static inline shoal_maker *config(const char *from, const char *to)
{
    shoal_maker *maker = good();
    edit(maker, "config.json", 0, "{", from, to);
    return maker;
}

/* A model.safetensors of this header and so many zero bytes of data. */
static inline shoal_maker *with_header(const char *header, size_t bytes, uint64_t data)
{
    shoal_maker *maker = good();
    char *file = calloc(1, 8 + bytes + (size_t)data);
    assert_non_null(file);
    shoal_store_le64(file, bytes);
    memcpy(file + 8, header, bytes);
    shoal_maker_file(maker, "model.safetensors", file, 8 + bytes + (size_t)data);
    free(file);
    return maker;
}

static inline shoal_maker *text_header(const char *header, uint64_t data)
{
    return with_header(header, strlen(header), data);
}

/* ---- rows of a table ---- */

enum { DATA = SHOAL_ERR_DATA, NOTFOUND = SHOAL_ERR_NOTFOUND, IO = SHOAL_ERR_IO };

typedef struct {
    const char *id;
    shoal_maker *(*make)(int arg);
    int arg;
    int status;
    const char *says, *also;
    double seconds;  /* 0: 2 */
    long memory_mib; /* 0: 64 */
} row;

static inline bool check_row(const row *r, const shoal_maker *maker, bool as_nobody)
{
    outcome o;
    if (!open_in_child(r->id, shoal_maker_path(maker), as_nobody, r->seconds > 0 ? r->seconds : 2,
                       (r->memory_mib ? r->memory_mib : 64) * 1024, &o))
        return false;
    if (o.status != r->status)
        return complain(r->id, "status %d instead of %d: %s", o.status, r->status, o.text);
    if (o.status == SHOAL_OK)
        return true;
    if (!strstr(o.text, r->says) || !strstr(o.text, r->also))
        return complain(r->id, "no '%s' and '%s' in: %s", r->says, r->also, o.text);
    for (const char *c = o.text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return complain(r->id, "a control character in the sentence");
    return true;
}
/* Every folder of a table is made, opened and taken away again. */
static inline void check_rows(const row *rows, size_t count)
{
    size_t failed = 0;
    for (size_t i = 0; i < count; i++) {
        shoal_maker *maker = rows[i].make(rows[i].arg);
        failed += !check_row(&rows[i], maker, false);
        shoal_maker_end(maker);
    }
    print_message("%zu folders, %zu failed\n", count, failed);
    assert_int_equal(failed, 0);
}

#endif
