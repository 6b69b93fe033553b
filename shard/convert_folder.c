/* shard/convert_folder.c - see convert_folder.h. */
#include "shard/convert_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shard/json_file.h"
#include "shard/new_file.h"
#include "shard/regular_file.h"

#define RECORDS    ".shoal-convert"
#define COPY_BYTES 65536

static shoal_status failed(const char *what, const char *path)
{
    return shoal_fail(SHOAL_ERR_CREATE, "%s %s: %s", what, path, strerror(errno));
}

static shoal_status join(const char *folder, const char *name, char out[PATH_MAX])
{
    const int length = snprintf(out, PATH_MAX, "%s%s", folder, name);
    if (length < 0 || length >= PATH_MAX)
        return shoal_fail(SHOAL_ERR_CREATE, "%.200s...: the path is too long", folder);
    return SHOAL_OK;
}

shoal_status shoal_convert_folder_path(const shoal_convert_folder *f, const char *name,
                                       char out[PATH_MAX])
{
    char tail[PATH_MAX];
    SHOAL_TRY(join("/", name, tail));
    return join(f->partial, tail, out);
}

/* Remove those files of a folder that are meant; it has no folders but the records. */
static void remove_files(const char *folder, bool (*is_meant)(const char *name))
{
    char file[PATH_MAX], tail[PATH_MAX];
    DIR *dir = opendir(folder);
    for (const struct dirent *e; dir && (e = readdir(dir)) != NULL;)
        if (is_meant(e->d_name) && join("/", e->d_name, tail) == SHOAL_OK &&
            join(folder, tail, file) == SHOAL_OK)
            (void)unlink(file);
    if (dir)
        (void)closedir(dir);
}

/* ---- opening --------------------------------------------------------------------------------- */

static bool is_empty_folder(const char *path)
{
    DIR *dir = opendir(path);
    int entries = 0;
    if (!dir)
        return false;
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        entries += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    (void)closedir(dir);
    return entries == 0;
}

static shoal_status check_destination(shoal_convert_folder *f, const char *source, bool backup)
{
    struct stat from, to;
    char aside[PATH_MAX];
    if (lstat(f->destination, &to) != 0)
        return SHOAL_OK;
    f->in_place = stat(source, &from) == 0 && stat(f->destination, &to) == 0 &&
                  from.st_dev == to.st_dev && from.st_ino == to.st_ino;
    if (!f->in_place && is_empty_folder(f->destination))
        return SHOAL_OK;
    if (!f->in_place)
        return shoal_fail(SHOAL_ERR_CREATE, "%s exists already", f->destination);
    if (!backup)
        return shoal_fail(SHOAL_ERR_CREATE,
                          "%s is the source itself; --backup keeps it as %s.backup", f->destination,
                          f->destination);
    SHOAL_TRY(join(f->destination, ".backup", aside));
    if (lstat(aside, &to) == 0)
        return shoal_fail(SHOAL_ERR_CREATE, "%s exists already", aside);
    return SHOAL_OK;
}

static shoal_status make_folder(const char *path)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return failed("cannot create", path);
    return SHOAL_OK;
}

/* What the lock file says, up to `room` - 1 bytes. */
static shoal_status read_lock(int fd, const char *path, size_t room, char *out)
{
    size_t at = 0;
    while (at < room - 1) {
        const ssize_t n = pread(fd, out + at, room - 1 - at, (off_t)at);
        if (n < 0 && errno != EINTR)
            return shoal_fail(SHOAL_ERR_IO, "reading %s: %s", path, strerror(errno));
        if (n == 0)
            break;
        at += n < 0 ? 0 : (size_t)n;
    }
    out[at] = '\0';
    return SHOAL_OK;
}

static shoal_status write_lock(int fd, const char *path, const char *text)
{
    const size_t bytes = strlen(text);
    for (size_t at = 0; at < bytes;) {
        const ssize_t n = pwrite(fd, text + at, bytes - at, (off_t)at);
        if (n < 0 && errno != EINTR)
            return shoal_fail(SHOAL_ERR_IO, "writing %s: %s", path, strerror(errno));
        at += n < 0 ? 0 : (size_t)n;
    }
    return fsync(fd) == 0 ? SHOAL_OK
                          : shoal_fail(SHOAL_ERR_IO, "syncing %s: %s", path, strerror(errno));
}

/* The lock file holds the fingerprint: written once, compared afterwards. A part of it was written
 * by a conversion that was killed there, before it had written anything else. */
static shoal_status claim(shoal_convert_folder *f, const char *path, const char *fingerprint)
{
    char there[256];
    f->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (f->lock < 0)
        return failed("cannot create", path);
    if (flock(f->lock, LOCK_EX | LOCK_NB) != 0)
        return shoal_fail(SHOAL_ERR_CREATE, "%s is being written by another process", f->partial);
    SHOAL_TRY(read_lock(f->lock, path, sizeof there, there));
    if (strcmp(there, fingerprint) == 0)
        return SHOAL_OK;
    if (strncmp(there, fingerprint, strlen(there)) != 0)
        return shoal_fail(SHOAL_ERR_CREATE,
                          "%s was left by a conversion of something else; remove it to go on",
                          f->partial);
    return write_lock(f->lock, path, fingerprint);
}

shoal_status shoal_convert_folder_open(const char *source, const char *destination, bool backup,
                                       const char *fingerprint, shoal_convert_folder *out)
{
    char path[PATH_MAX];
    shoal_convert_folder f = {.lock = -1};
    shoal_status st;
    size_t length = strlen(destination);
    SHOAL_TRY(join(destination, "", f.destination));
    while (length > 1 && f.destination[length - 1] == '/')
        f.destination[--length] = '\0';
    SHOAL_TRY(join(f.destination, ".partial", f.partial));
    SHOAL_TRY(check_destination(&f, source, backup));
    SHOAL_TRY(make_folder(f.partial));
    SHOAL_TRY(shoal_convert_folder_path(&f, RECORDS, path));
    SHOAL_TRY(make_folder(path));
    SHOAL_TRY(shoal_convert_folder_path(&f, RECORDS "/fingerprint", path));
    SHOAL_TRY_GOTO(claim(&f, path, fingerprint), fail);
    remove_files(f.partial, shoal_new_file_is_temporary); /* of a killed conversion */
    *out = f;
    return SHOAL_OK;

fail:
    shoal_convert_folder_close(&f);
    return st;
}

void shoal_convert_folder_close(shoal_convert_folder *f)
{
    if (f->lock >= 0)
        (void)close(f->lock);
    f->lock = -1;
}

/* ---- files ----------------------------------------------------------------------------------- */

static shoal_status published(shoal_status st, shoal_new_file *file)
{
    if (st == SHOAL_OK)
        st = shoal_new_file_publish(file);
    shoal_new_file_discard(file);
    return st;
}

shoal_status shoal_convert_folder_json(const shoal_convert_folder *f, const char *name,
                                       const json_t *document)
{
    char path[PATH_MAX];
    shoal_new_file file;
    SHOAL_TRY(shoal_convert_folder_path(f, name, path));
    char *text = json_dumps(document, JSON_INDENT(2));
    if (!text)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for %s", name);
    shoal_status st = shoal_new_file_create(path, &file);
    if (st == SHOAL_OK)
        st = shoal_new_file_append(&file, text, strlen(text));
    if (st == SHOAL_OK)
        st = shoal_new_file_append(&file, "\n", 1);
    free(text); /* jansson allocates it with malloc */
    return published(st, &file);
}

shoal_status shoal_convert_folder_record(const shoal_convert_folder *f, const char *name,
                                         const json_t *record)
{
    char inner[PATH_MAX];
    SHOAL_TRY(join(RECORDS "/", name, inner));
    return shoal_convert_folder_json(f, inner, record);
}

json_t *shoal_convert_folder_recorded(const shoal_convert_folder *f, const char *name)
{
    const shoal_json_limits limits = {64u << 20, 8, 10000000};
    char inner[PATH_MAX], path[PATH_MAX];
    json_t *record = NULL;
    if (join(RECORDS "/", name, inner) != SHOAL_OK ||
        shoal_convert_folder_path(f, inner, path) != SHOAL_OK || access(path, R_OK) != 0 ||
        shoal_json_read(path, &limits, &record) != SHOAL_OK)
        return NULL;
    return record;
}

/* ---- copies ---------------------------------------------------------------------------------- */

static bool ends_in(const char *text, const char *tail)
{
    const size_t length = strlen(text), tail_length = strlen(tail);
    return length >= tail_length && strcmp(text + length - tail_length, tail) == 0;
}

/* Configs and indices are written anew; the rest of these kinds is text about the model. */
static bool goes_along(const char *name)
{
    static const char *const kinds[] = {".json",     ".txt", ".model", ".jinja",
                                        ".tiktoken", ".py",  ".vocab"};
    static const char *const written[] = {"config.json", "quantize_config.json",
                                          "quant_config.json"};
    for (size_t i = 0; i < sizeof written / sizeof written[0]; i++)
        if (strcmp(name, written[i]) == 0)
            return false;
    if (name[0] == '.' || ends_in(name, ".index.json"))
        return false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (ends_in(name, kinds[i]))
            return true;
    return false;
}

static int goes_along_entry(const struct dirent *entry)
{
    return goes_along(entry->d_name);
}

static shoal_status visit_file(const char *folder, const char *name, shoal_convert_visit visit,
                               void *context)
{
    char tail[PATH_MAX], path[PATH_MAX];
    struct stat info;
    SHOAL_TRY(join("/", name, tail));
    SHOAL_TRY(join(folder, tail, path));
    if (stat(path, &info) != 0)
        return shoal_fail(SHOAL_ERR_IO, "%s: %s", path, strerror(errno));
    return S_ISREG(info.st_mode) ? visit(context, path, name) : SHOAL_OK;
}

shoal_status shoal_convert_visit_files(const char *source, shoal_convert_visit visit, void *context)
{
    struct dirent **entries;
    shoal_status st = SHOAL_OK;
    const int count = scandir(source, &entries, goes_along_entry, alphasort);
    if (count < 0 && errno == ENOTDIR)
        return SHOAL_OK;
    if (count < 0)
        return shoal_fail(SHOAL_ERR_IO, "%s: %s", source, strerror(errno));
    for (int i = 0; i < count; i++) {
        if (st == SHOAL_OK)
            st = visit_file(source, entries[i]->d_name, visit, context);
        free(entries[i]); /* scandir allocates with malloc */
    }
    free(entries);
    return st;
}

static shoal_status copy_bytes(const shoal_regular_file *from, const char *source,
                               const shoal_new_file *to)
{
    char piece[COPY_BYTES];
    for (uint64_t at = 0; at < from->bytes;) {
        const uint64_t left = from->bytes - at;
        const uint64_t bytes = left < sizeof piece ? left : sizeof piece;
        SHOAL_TRY(shoal_regular_read(from, source, at, bytes, piece));
        SHOAL_TRY(shoal_new_file_append(to, piece, bytes));
        at += bytes;
    }
    return SHOAL_OK;
}

static shoal_status copy_file(void *context, const char *source, const char *name)
{
    const shoal_convert_folder *f = context;
    char path[PATH_MAX];
    shoal_regular_file from;
    shoal_new_file to;
    SHOAL_TRY(shoal_convert_folder_path(f, name, path));
    SHOAL_TRY(shoal_regular_open(source, &from));
    shoal_status st = shoal_new_file_create(path, &to);
    if (st == SHOAL_OK)
        st = copy_bytes(&from, source, &to);
    shoal_regular_close(&from);
    return published(st, &to);
}

shoal_status shoal_convert_folder_copy(shoal_convert_folder *f, const char *source)
{
    return shoal_convert_visit_files(source, copy_file, f);
}

/* ---- publishing ------------------------------------------------------------------------------ */

static bool any(const char *name)
{
    (void)name;
    return true;
}

static void remove_folder(const char *folder)
{
    remove_files(folder, any);
    (void)rmdir(folder);
}

/* The records are of no use in a published folder. */
static void remove_records(const char *folder)
{
    char path[PATH_MAX];
    if (join(folder, "/" RECORDS, path) == SHOAL_OK)
        remove_folder(path);
}

void shoal_convert_folder_discard(shoal_convert_folder *f)
{
    if (f->lock < 0)
        return;
    remove_records(f->partial);
    remove_folder(f->partial);
}

shoal_status shoal_convert_folder_publish(shoal_convert_folder *f)
{
    char aside[PATH_MAX], parent[PATH_MAX];
    shoal_sync_folder(f->partial);
    SHOAL_TRY(join(f->destination, ".backup", aside));
    if (f->in_place && rename(f->destination, aside) != 0)
        return failed("cannot move the source to", aside);
    if (rename(f->partial, f->destination) != 0) {
        const shoal_status st = failed("cannot create", f->destination);
        if (f->in_place)
            (void)rename(aside, f->destination);
        return st;
    }
    SHOAL_TRY(join(f->destination, "", parent));
    shoal_sync_folder(dirname(parent));
    remove_records(f->destination);
    return SHOAL_OK;
}
