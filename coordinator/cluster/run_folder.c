#include "coordinator/cluster/run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PREFIX "shoal-run-"
#define SHARED "/dev/shm"

/* Path names of Unix sockets are short; a TMPDIR longer than this is not used. */
#define BASE_MAX 70

/* A folder this young may belong to a start that has not locked it yet. */
#define SWEEP_SECONDS 60

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info, (void)type, (void)place;
    (void)remove(path);
    return 0;
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static int lock_folder(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

/* Ours, old enough, and nobody holds it. */
static void sweep_one(const char *path)
{
    struct stat info;
    if (lstat(path, &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid() ||
        time(NULL) - info.st_mtime < SWEEP_SECONDS)
        return;
    const int fd = lock_folder(path);
    if (fd < 0)
        return;
    remove_tree(path);
    (void)close(fd);
}

static void sweep(const char *base)
{
    DIR *folder = opendir(base);
    if (!folder)
        return;
    for (const struct dirent *e = readdir(folder); e; e = readdir(folder)) {
        char path[PATH_MAX];
        if (strncmp(e->d_name, PREFIX, strlen(PREFIX)) == 0 &&
            snprintf(path, sizeof path, "%s/%s", base, e->d_name) < (int)sizeof path)
            sweep_one(path);
    }
    (void)closedir(folder);
}

static bool make_one(const char *base, char *path, size_t room, int *lock)
{
    (void)snprintf(path, room, "%s/" PREFIX "XXXXXX", base);
    if (!mkdtemp(path)) {
        path[0] = '\0';
        return false;
    }
    *lock = lock_folder(path);
    return true;
}

shoal_status shoal_run_folder_create(shoal_run_folder *out)
{
    shoal_run_folder f = {.lock = -1, .shared_lock = -1};
    const char *base = getenv("TMPDIR");
    if (!base || base[0] != '/' || strlen(base) > BASE_MAX)
        base = "/tmp";
    sweep(base);
    sweep(SHARED);
    if (!make_one(base, f.path, sizeof f.path, &f.lock))
        return shoal_fail(SHOAL_ERR_CREATE, "cannot create a folder in %s: %s", base,
                          strerror(errno));
    (void)make_one(SHARED, f.shared, sizeof f.shared, &f.shared_lock);
    *out = f;
    return SHOAL_OK;
}

static void remove_one(char *path, int lock)
{
    if (!path[0])
        return;
    remove_tree(path);
    if (lock >= 0)
        (void)close(lock);
    path[0] = '\0';
}

void shoal_run_folder_remove(shoal_run_folder *folder)
{
    remove_one(folder->path, folder->lock);
    remove_one(folder->shared, folder->shared_lock);
}
