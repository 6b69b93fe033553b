#include "worker/push.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/arena.h"
#include "proto/bytes.h"

#define CHUNK          (4u << 20)
#define NAME_MAX_BYTES 256
#define SMALL_FILE_MAX (16u << 20)

/* What rank 0 announces of a file: this many ranges of it follow, the rest of `size` are holes. */
typedef struct {
    char name[NAME_MAX_BYTES]; /* "" ends the list */
    uint64_t size, ranges;
} file_note;

static const char *const small_files[] = {
    "config.json",       "generation_config.json",       "quantize_config.json",
    "quant_config.json", "model.safetensors.index.json", "pytorch_model.bin.index.json"};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- the skeleton: rank 0 sends, the others write ---- */

static int open_new(const char *local, const char *name)
{
    char path[SHOAL_PUSH_PATH_MAX + NAME_MAX_BYTES + 2];
    (void)snprintf(path, sizeof path, "%s/%s", local, name);
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

static shoal_status write_at(int fd, const char *name, uint64_t at, const void *data, size_t bytes)
{
    const char *from = data;
    while (bytes > 0) {
        const ssize_t n = pwrite(fd, from, bytes, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return shoal_fail(SHOAL_ERR_IO, "writing the skeleton of %s: %s", name,
                              strerror(errno));
        from += n;
        at += (uint64_t)n;
        bytes -= (size_t)n;
    }
    return SHOAL_OK;
}

/* One range of a file, in chunks. Every rank takes part in every broadcast even after a failure of
 * its own, which is kept in *mine; what comes back is that of the broadcasts. */
static shoal_status move_range(shoal_comm *comm, const char *name, const shoal_byte_range *range,
                               int fd, char *buffer, shoal_status *mine)
{
    for (uint64_t at = range->begin; at < range->end; at += CHUNK) {
        const uint64_t bytes = range->end - at < CHUNK ? range->end - at : CHUNK;
        if (comm->rank == 0 && *mine == SHOAL_OK &&
            pread(fd, buffer, bytes, (off_t)at) != (ssize_t)bytes)
            *mine = shoal_fail(SHOAL_ERR_IO, "reading the headers of %s", name);
        SHOAL_TRY(shoal_comm_broadcast(comm, buffer, bytes, 0));
        if (comm->rank != 0 && *mine == SHOAL_OK)
            *mine = write_at(fd, name, at, buffer, bytes);
    }
    return SHOAL_OK;
}

/* Rank 0 sends from `source`, the others write into a new file. */
static shoal_status move_file(shoal_comm *comm, const file_note *note, int source,
                              const shoal_byte_range *ranges, const char *local, char *buffer)
{
    shoal_status mine = SHOAL_OK, st = SHOAL_OK;
    int fd = source;
    if (comm->rank != 0) {
        fd = open_new(local, note->name);
        if (fd < 0 || ftruncate(fd, (off_t)note->size) != 0)
            mine = shoal_fail(SHOAL_ERR_IO, "making the skeleton of %s: %s", note->name,
                              strerror(errno));
    }
    for (uint64_t i = 0; i < note->ranges && st == SHOAL_OK; i++) {
        shoal_byte_range range = {0, 0};
        if (comm->rank == 0)
            range = ranges[i];
        st = shoal_comm_broadcast(comm, &range, sizeof range, 0);
        if (st == SHOAL_OK)
            st = move_range(comm, note->name, &range, fd, buffer, &mine);
    }
    if (comm->rank != 0 && fd >= 0)
        close(fd);
    return st != SHOAL_OK ? st : mine;
}

/* Send these ranges of a file; NULL is its beginning, up to SMALL_FILE_MAX. */
static shoal_status send_file(shoal_comm *comm, const char *path, const shoal_byte_range *ranges,
                              size_t count, char *buffer)
{
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    file_note note = {.ranges = ranges ? count : 1};
    shoal_status st;
    if (fd < 0 || fstat(fd, &info) != 0 || strlen(base_name(path)) >= sizeof note.name) {
        st = shoal_fail(SHOAL_ERR_IO, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return st;
    }
    (void)snprintf(note.name, sizeof note.name, "%s", base_name(path));
    note.size = (uint64_t)info.st_size;
    const shoal_byte_range whole = {0, note.size < SMALL_FILE_MAX ? note.size : SMALL_FILE_MAX};
    st = shoal_comm_broadcast(comm, &note, sizeof note, 0);
    if (st == SHOAL_OK)
        st = move_file(comm, &note, fd, ranges ? ranges : &whole, "", buffer);
    close(fd);
    return st;
}

static shoal_status send_weights(shoal_comm *comm, const shoal_checkpoint *checkpoint, int file,
                                 char *buffer)
{
    shoal_byte_range *ranges;
    size_t count;
    SHOAL_TRY(shoal_checkpoint_gaps(checkpoint, file, &ranges, &count));
    const shoal_status st =
        send_file(comm, shoal_checkpoint_file(checkpoint, file), ranges, count, buffer);
    shoal_free(ranges);
    return st;
}

static shoal_status send_all(shoal_comm *comm, const shoal_checkpoint *checkpoint,
                             const char *folder, char *buffer)
{
    shoal_status st = SHOAL_OK;
    char path[SHOAL_PUSH_PATH_MAX + NAME_MAX_BYTES];
    for (size_t i = 0; i < sizeof small_files / sizeof small_files[0] && st == SHOAL_OK; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, small_files[i]);
        if (access(path, R_OK) == 0)
            st = send_file(comm, path, NULL, 0, buffer);
    }
    for (int i = 0; i < shoal_checkpoint_files(checkpoint) && st == SHOAL_OK; i++)
        st = send_weights(comm, checkpoint, i, buffer);
    const file_note end = {.name = ""};
    const shoal_status closing = shoal_comm_broadcast(comm, (void *)(uintptr_t)&end, sizeof end, 0);
    return st != SHOAL_OK ? st : closing;
}

static shoal_status receive_all(shoal_comm *comm, const char *local, char *buffer)
{
    shoal_status mine = SHOAL_OK;
    for (;;) {
        file_note note;
        SHOAL_TRY(shoal_comm_broadcast(comm, &note, sizeof note, 0));
        note.name[sizeof note.name - 1] = '\0';
        if (note.name[0] == '\0')
            return mine;
        const shoal_status st = move_file(comm, &note, -1, NULL, local, buffer);
        if (mine == SHOAL_OK)
            mine = st;
    }
}

static shoal_status make_folder(char *local)
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(local, SHOAL_PUSH_PATH_MAX, "%s/shoal-push-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(local)) {
        const shoal_status st =
            shoal_fail(SHOAL_ERR_CREATE, "temporary folder %s: %s", local, strerror(errno));
        local[0] = '\0';
        return st;
    }
    return SHOAL_OK;
}

shoal_status shoal_push_share(shoal_comm *comm, const shoal_checkpoint *checkpoint,
                              const char *folder, char *local)
{
    shoal_status st = SHOAL_OK;
    void *buffer = NULL;
    local[0] = '\0';
    if (comm->rank != 0)
        st = make_folder(local);
    if (st == SHOAL_OK)
        st = shoal_alloc(SHOAL_MEM_CHECKPOINT, CHUNK, &buffer);
    st = shoal_comm_agree(comm, st);
    if (st == SHOAL_OK) {
        st = comm->rank == 0 ? send_all(comm, checkpoint, folder, buffer)
                             : receive_all(comm, local, buffer);
        st = shoal_comm_agree(comm, st);
    }
    shoal_free(buffer);
    if (st != SHOAL_OK) {
        shoal_push_remove(local);
        local[0] = '\0';
    }
    return st;
}

void shoal_push_remove(const char *local)
{
    if (local[0] == '\0')
        return;
    DIR *dir = opendir(local);
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        (void)unlinkat(dirfd(dir), e->d_name, 0); /* "." and ".." refuse, which is right */
    closedir(dir);
    (void)rmdir(local);
}

/* ---- turns: one rank asks, rank 0 answers, the others listen ---- */

typedef struct {
    int64_t file; /* -1: the turn is over */
    uint64_t offset, bytes, stride, rows;
} read_request;

typedef struct {
    shoal_comm *comm;
    int asking;
    char *buffer; /* CHUNK */
} turn;

typedef struct {
    int32_t status;
    char text[SHOAL_ERROR_MAX];
} read_reply;

/* Rank `asking` sends the request, rank 0 its verdict and then the rows in chunks. `out` may be
 * NULL for a rank that only listens. */
static shoal_status exchange(shoal_comm *comm, int asking, const shoal_checkpoint *checkpoint,
                             const read_request *request, uint64_t rows_at_once, char *buffer,
                             char *out)
{
    read_reply reply = {SHOAL_OK, ""};
    for (uint64_t row = 0; row < request->rows; row += rows_at_once) {
        const uint64_t rows =
            request->rows - row < rows_at_once ? request->rows - row : rows_at_once;
        if (comm->rank == 0) {
            const shoal_status st = shoal_checkpoint_read_file(
                checkpoint, (int)request->file, request->offset + row * request->stride,
                request->bytes, request->stride, rows, buffer);
            reply.status = (int32_t)st;
            if (st != SHOAL_OK)
                (void)snprintf(reply.text, sizeof reply.text, "%s", shoal_error_text());
        }
        SHOAL_TRY(shoal_comm_broadcast(comm, &reply, sizeof reply, 0));
        if (reply.status != SHOAL_OK)
            return comm->rank == asking ? shoal_fail((shoal_status)reply.status, "%s", reply.text)
                                        : SHOAL_OK;
        SHOAL_TRY(shoal_comm_broadcast(comm, buffer, rows * request->bytes, 0));
        if (out)
            memcpy(out + row * request->bytes, buffer, rows * request->bytes);
    }
    return SHOAL_OK;
}

/* A run longer than a chunk becomes rows of a chunk; short rows travel together. */
static shoal_status exchange_request(shoal_comm *comm, int asking,
                                     const shoal_checkpoint *checkpoint,
                                     const read_request *request, char *buffer, char *out)
{
    shoal_status st = SHOAL_OK;
    if (request->bytes <= CHUNK) {
        const uint64_t together = request->bytes ? CHUNK / request->bytes : request->rows;
        return exchange(comm, asking, checkpoint, request, together ? together : 1, buffer, out);
    }
    for (uint64_t row = 0; row < request->rows && st == SHOAL_OK; row++) {
        for (uint64_t at = 0; at < request->bytes && st == SHOAL_OK; at += CHUNK) {
            const read_request piece = {
                .file = request->file,
                .offset = request->offset + row * request->stride + at,
                .bytes = request->bytes - at < CHUNK ? request->bytes - at : CHUNK,
                .rows = 1,
            };
            st = exchange(comm, asking, checkpoint, &piece, 1, buffer,
                          out ? out + row * request->bytes + at : NULL);
        }
    }
    return st;
}

static shoal_status ask(void *context, int file, uint64_t offset, uint64_t bytes, uint64_t stride,
                        uint64_t rows, void *out)
{
    turn *t = context;
    read_request request = {file, offset, bytes, stride, rows};
    SHOAL_TRY(shoal_comm_broadcast(t->comm, &request, sizeof request, t->asking));
    return exchange_request(t->comm, t->asking, NULL, &request, t->buffer, out);
}

static shoal_status listen_to(const turn *t, const shoal_checkpoint *checkpoint)
{
    for (;;) {
        read_request request;
        SHOAL_TRY(shoal_comm_broadcast(t->comm, &request, sizeof request, t->asking));
        if (request.file < 0)
            return SHOAL_OK;
        SHOAL_TRY(exchange_request(t->comm, t->asking, checkpoint, &request, t->buffer, NULL));
    }
}

static shoal_status ask_for_all(turn *t, shoal_checkpoint *checkpoint, shoal_push_task task,
                                void *context)
{
    shoal_checkpoint_set_source(checkpoint, ask, t);
    const shoal_status mine = task(context);
    shoal_checkpoint_set_source(checkpoint, NULL, NULL);
    read_request over = {.file = -1};
    SHOAL_TRY(shoal_comm_broadcast(t->comm, &over, sizeof over, t->asking));
    return mine;
}

shoal_status shoal_push_turns(shoal_comm *comm, shoal_checkpoint *checkpoint, shoal_push_task task,
                              void *context)
{
    void *buffer = NULL;
    shoal_status mine = shoal_alloc(SHOAL_MEM_CHECKPOINT, CHUNK, &buffer);
    shoal_status st = shoal_comm_agree(comm, mine); /* nobody may miss an exchange */
    if (st == SHOAL_OK && comm->rank == 0)
        mine = task(context);
    for (int asking = 1; asking < comm->size && st == SHOAL_OK; asking++) {
        turn t = {comm, asking, buffer};
        if (comm->rank == asking)
            mine = ask_for_all(&t, checkpoint, task, context);
        else
            st = listen_to(&t, checkpoint);
    }
    shoal_free(buffer);
    return st == SHOAL_OK ? mine : st;
}
