#include "shard/model_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/arena.h"
#include "shard/gguf_file.h"
#include "shard/pack_format.h"
#include "shard/quoted.h"
#include "shard/regular_file.h"

#define INDEX_NAME        "model.safetensors.index.json"
#define SINGLE_NAME       "model.safetensors"
#define TORCH_INDEX_NAME  "pytorch_model.bin.index.json"
#define TORCH_SINGLE_NAME "pytorch_model.bin"

/* More entries than this are no model folder. */
#define ENTRIES_MAX 100000

static bool ends_in(const char *text, const char *tail)
{
    const size_t length = strlen(text), tail_length = strlen(tail);
    return length >= tail_length && strcmp(text + length - tail_length, tail) == 0;
}

/* What a name without a reader is, or NULL. */
static const char *unread_kind(const char *name)
{
    static const char *const kinds[][2] = {
        {".ggml", "a GGML file"},
        {".onnx", "an ONNX file"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (ends_in(name, kinds[i][0]))
            return kinds[i][1];
    return NULL;
}

bool shoal_folder_is_torch(const char *name)
{
    return ends_in(name, ".bin") || ends_in(name, ".pt") || ends_in(name, ".pth");
}

/* What trainers leave beside a model under the same endings. */
static bool is_torch_model(const char *name)
{
    static const char *const others[] = {"training_args", "optimizer", "scheduler", "rng_state",
                                         "scaler"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strncmp(name, others[i], strlen(others[i])) == 0)
            return false;
    return shoal_folder_is_torch(name);
}

static shoal_status not_found(const char *path, int code)
{
    return shoal_fail(code == ENOENT || code == ENOTDIR ? SHOAL_ERR_NOTFOUND : SHOAL_ERR_IO,
                      "%s: %s", path, strerror(code));
}

static shoal_status wrong_file(const char *path)
{
    const char *kind = unread_kind(path);
    if (kind)
        return shoal_fail(SHOAL_ERR_DATA, "%s is %s; not supported by this version", path, kind);
    return shoal_fail(SHOAL_ERR_DATA, "%s is not a model folder", path);
}

shoal_status shoal_folder_join(const char *folder, const char *name, char **out)
{
    const size_t room = strlen(folder) + strlen(name) + 2;
    void *text;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, room, &text));
    const bool slash = !ends_in(folder, "/");
    (void)snprintf(text, room, "%s%s%s", folder, slash ? "/" : "", name);
    *out = text;
    return SHOAL_OK;
}

/* A link that leads nowhere is there: opening it then says what is wrong. */
shoal_status shoal_folder_look(const char *folder, const char *name, bool *there)
{
    struct stat info;
    const int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 && errno != ENOENT && errno != ENOTDIR)
        return not_found(folder, errno);
    *there = dir >= 0 && fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
    const int code = dir < 0 || *there ? ENOENT : errno;
    if (dir >= 0)
        (void)close(dir);
    return code == ENOENT ? SHOAL_OK : not_found(folder, code);
}

/* What a look through the folder found. */
typedef struct {
    shoal_names safetensors, torch;
    char only[NAME_MAX + 1], only_torch[NAME_MAX + 1]; /* the first of them */
    shoal_names ggufs;                                 /* whole files, and first parts of several */
    char gguf[NAME_MAX + 1];                           /* the first of them */
    char pack[NAME_MAX + 1];                           /* the last pack file found */
    int packs;
    char unread[NAME_MAX + 1];
} finds;

static void find_gguf(const char *name, finds *f)
{
    int part = 1, parts;
    size_t stem;
    if (shoal_gguf_part_name(name, &part, &parts, &stem) && part != 1)
        return;
    if (f->ggufs.count == 0)
        (void)snprintf(f->gguf, sizeof f->gguf, "%s", name);
    shoal_names_add(&f->ggufs, name);
}

static shoal_status look_through(const char *folder, finds *f)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return not_found(folder, errno);
    shoal_status st = SHOAL_OK;
    const struct dirent *entry;
    for (int i = 0; (entry = readdir(dir)) != NULL; i++) {
        if (i == ENTRIES_MAX) {
            st = shoal_fail(SHOAL_ERR_DATA, "%s: more than %d files", folder, ENTRIES_MAX);
            break;
        }
        if (ends_in(entry->d_name, ".safetensors")) {
            if (f->safetensors.count == 0)
                (void)snprintf(f->only, sizeof f->only, "%s", entry->d_name);
            shoal_names_add(&f->safetensors, entry->d_name);
        } else if (ends_in(entry->d_name, ".gguf")) {
            find_gguf(entry->d_name, f);
        } else if (is_torch_model(entry->d_name)) {
            if (f->torch.count == 0)
                (void)snprintf(f->only_torch, sizeof f->only_torch, "%s", entry->d_name);
            shoal_names_add(&f->torch, entry->d_name);
        } else if (ends_in(entry->d_name, ".shoal")) {
            (void)snprintf(f->pack, sizeof f->pack, "%s", entry->d_name);
            f->packs++;
        } else if (unread_kind(entry->d_name)) {
            (void)snprintf(f->unread, sizeof f->unread, "%s", entry->d_name);
        }
    }
    closedir(dir);
    return st;
}

static shoal_status only_unread(const char *folder, const char *missing, const finds *f)
{
    char quoted[SHOAL_QUOTED_ROOM];
    return shoal_fail(SHOAL_ERR_DATA, "%s has no %s; %s is %s; not supported by this version",
                      folder, missing, shoal_quoted(f->unread, quoted, sizeof quoted),
                      unread_kind(f->unread));
}

shoal_status shoal_folder_require(const char *path, const char *name)
{
    struct stat info;
    finds f = {0};
    bool there;
    if (stat(path, &info) != 0)
        return not_found(path, errno);
    if (!S_ISDIR(info.st_mode))
        return wrong_file(path);
    SHOAL_TRY(shoal_folder_look(path, name, &there));
    if (there)
        return SHOAL_OK;
    SHOAL_TRY(look_through(path, &f));
    if (f.safetensors.count == 0 && f.torch.count == 0 && f.unread[0])
        return only_unread(path, name, &f);
    return shoal_fail(SHOAL_ERR_NOTFOUND, "%s has no %s", path, name);
}

/* The only PyTorch file of a folder without safetensors. */
static shoal_status only_torch_file(const char *folder, const finds *f, char **file)
{
    shoal_names torch = f->torch;
    if (torch.count > 1)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s has no " TORCH_INDEX_NAME " and no " TORCH_SINGLE_NAME
                          ", but %zu PyTorch files: %s",
                          folder, torch.count, shoal_names_end(&torch));
    return shoal_folder_join(folder, f->only_torch, file);
}

static shoal_status only_file(const char *folder, char **file)
{
    finds f = {0};
    bool there;
    SHOAL_TRY(look_through(folder, &f));
    if (f.safetensors.count == 1)
        return shoal_folder_join(folder, f.only, file);
    if (f.safetensors.count > 1)
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s has no " INDEX_NAME " and no " SINGLE_NAME ", but %zu *.safetensors "
                          "files: %s",
                          folder, f.safetensors.count, shoal_names_end(&f.safetensors));
    SHOAL_TRY(shoal_folder_look(folder, TORCH_SINGLE_NAME, &there));
    if (there)
        return shoal_folder_join(folder, TORCH_SINGLE_NAME, file);
    if (f.torch.count > 0)
        return only_torch_file(folder, &f, file);
    if (f.unread[0])
        return only_unread(folder, "*.safetensors file", &f);
    return shoal_fail(SHOAL_ERR_NOTFOUND, "%s has no *.safetensors file", folder);
}

/* Is a file of this kind, by its ending or else by its first bytes? *file is its name then. */
static shoal_status take_file(const char *path, const char *ending, const char *magic, char **file)
{
    shoal_regular_file opened;
    char start[8] = "";
    const size_t bytes = strlen(magic);
    if (!ends_in(path, ending)) {
        SHOAL_TRY(shoal_regular_open(path, &opened));
        const shoal_status st =
            opened.bytes < bytes ? SHOAL_OK : shoal_regular_read(&opened, path, 0, bytes, start);
        shoal_regular_close(&opened);
        SHOAL_TRY(st);
        if (memcmp(start, magic, bytes) != 0)
            return SHOAL_OK;
    }
    return shoal_strdup(SHOAL_MEM_CHECKPOINT, path, file);
}

shoal_status shoal_folder_pack(const char *path, char **file)
{
    struct stat info;
    finds f = {0};
    bool there;
    *file = NULL;
    if (stat(path, &info) != 0)
        return not_found(path, errno);
    if (!S_ISDIR(info.st_mode))
        return take_file(path, ".shoal", SHOAL_PACK_MAGIC, file);
    SHOAL_TRY(shoal_folder_look(path, "config.json", &there));
    if (there)
        return SHOAL_OK;
    SHOAL_TRY(look_through(path, &f));
    if (f.packs != 1 || f.safetensors.count > 0 || f.ggufs.count > 0)
        return SHOAL_OK;
    return shoal_folder_join(path, f.pack, file);
}

shoal_status shoal_folder_gguf(const char *path, char **file)
{
    struct stat info;
    finds f = {0};
    bool there;
    *file = NULL;
    if (stat(path, &info) != 0)
        return not_found(path, errno);
    if (!S_ISDIR(info.st_mode))
        return take_file(path, ".gguf", "GGUF", file);
    SHOAL_TRY(shoal_folder_look(path, INDEX_NAME, &there));
    if (!there)
        SHOAL_TRY(shoal_folder_look(path, SINGLE_NAME, &there));
    if (there)
        return SHOAL_OK;
    SHOAL_TRY(look_through(path, &f));
    if (f.safetensors.count > 0 || f.ggufs.count == 0)
        return SHOAL_OK;
    if (f.ggufs.count > 1)
        return shoal_fail(SHOAL_ERR_DATA, "%s has %zu models in GGUF: %s; name one of them", path,
                          f.ggufs.count, shoal_names_end(&f.ggufs));
    return shoal_folder_join(path, f.gguf, file);
}

/* An index of safetensors, model.safetensors, an index of PyTorch files: what is named for it, else
 * NULL. */
static shoal_status find_named(const char *folder, shoal_weights_kind *kind, const char **name)
{
    static const char *const names[] = {INDEX_NAME, SINGLE_NAME, TORCH_INDEX_NAME};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bool there;
        SHOAL_TRY(shoal_folder_look(folder, names[i], &there));
        if (!there)
            continue;
        *kind = ends_in(names[i], ".json") ? SHOAL_WEIGHTS_INDEX : SHOAL_WEIGHTS_FILE;
        *name = names[i];
        return SHOAL_OK;
    }
    return SHOAL_OK;
}

shoal_status shoal_folder_weights(const char *path, shoal_weights_kind *kind, char **file)
{
    struct stat info;
    const char *name = NULL;
    if (stat(path, &info) != 0)
        return not_found(path, errno);
    *kind = SHOAL_WEIGHTS_PACK;
    SHOAL_TRY(shoal_folder_pack(path, file));
    if (*file)
        return SHOAL_OK;
    *kind = SHOAL_WEIGHTS_GGUF;
    SHOAL_TRY(shoal_folder_gguf(path, file));
    if (*file)
        return SHOAL_OK;
    *kind = SHOAL_WEIGHTS_FILE;
    if (!S_ISDIR(info.st_mode)) {
        if (!ends_in(path, ".safetensors") && !shoal_folder_is_torch(path))
            return wrong_file(path);
        return shoal_strdup(SHOAL_MEM_CHECKPOINT, path, file);
    }
    SHOAL_TRY(find_named(path, kind, &name));
    return name ? shoal_folder_join(path, name, file) : only_file(path, file);
}
