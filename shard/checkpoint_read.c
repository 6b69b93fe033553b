/* shard/checkpoint_read.c - reading a checkpoint's tensors by byte ranges (shard/checkpoint.h). */
#include <string.h>

#include "proto/bytes.h"
#include "proto/digest.h"
#include "shard/checkpoint_state.h"
#include "shard/file_runs.h"

/* What Linux takes of one hint may be no more than its read-ahead, 128 KiB. */
#define EXPECTED_MAX (128u << 10)

/* Where runs of a tensor's file come from: the file, or whoever stands for it. */
typedef struct {
    const shoal_checkpoint *checkpoint;
    int file;
} file_source;

static shoal_status read_file_runs(void *context, const shoal_row_runs *runs, void *out)
{
    const file_source *from = context;
    const shoal_checkpoint *c = from->checkpoint;
    const shoal_shard_file *shard = &c->files[from->file];
    if (c->source)
        return c->source(c->source_context, from->file, runs->offset, runs->bytes, runs->stride,
                         runs->rows, out);
    return shoal_runs_read(&shard->file, shard->path, runs, out);
}

/* Compare the digests of the runs that lie wholly in [offset, offset + bytes) of the tensor. */
static shoal_status check_digests(const shoal_tensor *tensor, uint64_t offset, uint64_t bytes,
                                  const char *data)
{
    uint8_t digest[SHOAL_XXH128_BYTES];
    const uint64_t run = tensor->run_bytes;
    for (uint64_t i = (offset + run - 1) / run; i * run < offset + bytes; i++) {
        const uint64_t left = tensor->bytes - i * run, length = left < run ? left : run;
        if (i * run + length > offset + bytes)
            break;
        shoal_xxh128(data + (i * run - offset), length, digest);
        if (memcmp(digest, tensor->digests + i * sizeof digest, sizeof digest) != 0)
            return shoal_fail(SHOAL_ERR_DATA,
                              "tensor %s: bytes %llu to %llu (from byte %llu of the file) are not "
                              "what was written: the checksum is wrong",
                              tensor->name, (unsigned long long)(i * run),
                              (unsigned long long)(i * run + length),
                              (unsigned long long)(tensor->offset + i * run));
    }
    return SHOAL_OK;
}

static shoal_status read_tensor(const shoal_checkpoint *checkpoint, const shoal_tensor *tensor,
                                shoal_row_runs runs, void *out)
{
    file_source from = {checkpoint, tensor->file};
    shoal_status st;
    if (!shoal_runs_inside(&runs, tensor->bytes))
        return shoal_fail(SHOAL_ERR_INTERNAL,
                          "%s: %llu runs of %llu bytes, %llu apart, from byte %llu; it has %llu",
                          tensor->name, (unsigned long long)runs.rows,
                          (unsigned long long)runs.bytes, (unsigned long long)runs.stride,
                          (unsigned long long)runs.offset, (unsigned long long)tensor->bytes);
    if (runs.rows == 0 || runs.bytes == 0)
        return SHOAL_OK;
    const uint64_t first = runs.offset;
    const bool whole = runs.rows == 1 || runs.stride == runs.bytes;
    if (tensor->view.rows) {
        st = shoal_view_read(&tensor->view, shoal_dtype_bytes(tensor->dtype), tensor->offset, &runs,
                             read_file_runs, &from, out);
    } else {
        runs.offset += tensor->offset;
        st = read_file_runs(&from, &runs, out);
    }
    if (st == SHOAL_OK)
        atomic_fetch_add(checkpoint->bytes_read, runs.rows * runs.bytes);
    if (st == SHOAL_OK && tensor->digests && whole)
        st = check_digests(tensor, first, runs.rows * runs.bytes, out);
    return st;
}

shoal_status shoal_checkpoint_read(const shoal_checkpoint *checkpoint, const shoal_tensor *tensor,
                                   uint64_t offset, uint64_t bytes, void *out)
{
    return read_tensor(checkpoint, tensor, (shoal_row_runs){offset, bytes, bytes, 1}, out);
}

shoal_status shoal_checkpoint_read_rows(const shoal_checkpoint *checkpoint,
                                        const shoal_tensor *tensor, uint64_t offset, uint64_t bytes,
                                        uint64_t stride, uint64_t rows, void *out)
{
    return read_tensor(checkpoint, tensor, (shoal_row_runs){offset, bytes, stride, rows}, out);
}

void shoal_checkpoint_expect(const shoal_checkpoint *checkpoint, const shoal_tensor *tensor,
                             uint64_t offset, uint64_t bytes)
{
    const shoal_regular_file *file = &checkpoint->files[tensor->file].file;
    if (checkpoint->source || !shoal_range_inside(offset, bytes, tensor->bytes))
        return;
    for (uint64_t at = 0; at < bytes; at += EXPECTED_MAX)
        shoal_regular_expect(file, tensor->offset + offset + at,
                             bytes - at < EXPECTED_MAX ? bytes - at : EXPECTED_MAX);
}

shoal_status shoal_checkpoint_read_matrix(const shoal_checkpoint *checkpoint,
                                          const shoal_tensor *tensor, int64_t first, int64_t rows,
                                          uint64_t begin, uint64_t bytes, void *out)
{
    if (rows <= 0 || bytes == 0)
        return SHOAL_OK;
    const uint64_t stride = tensor->bytes / (uint64_t)tensor->shape[0];
    if (!tensor->pairs)
        return shoal_checkpoint_read_rows(checkpoint, tensor, (uint64_t)first * stride + begin,
                                          bytes, stride, (uint64_t)rows, out);
    const int64_t half = tensor->pairs / 2, end = first + rows;
    char *to = out;
    for (int64_t row = first, count; row < end; row += count, to += (uint64_t)count * bytes) {
        const int64_t in_half = row % half, second = row / half % 2;
        const int64_t stored = row / tensor->pairs * tensor->pairs + 2 * in_half + second;
        count = shoal_min_i64(half - in_half, end - row);
        SHOAL_TRY(shoal_checkpoint_read_rows(checkpoint, tensor, (uint64_t)stored * stride + begin,
                                             bytes, 2 * stride, (uint64_t)count, to));
    }
    return SHOAL_OK;
}

shoal_status shoal_checkpoint_read_file(const shoal_checkpoint *checkpoint, int file,
                                        uint64_t offset, uint64_t bytes, uint64_t stride,
                                        uint64_t rows, void *out)
{
    const shoal_row_runs runs = {offset, bytes, stride, rows};
    if (file < 0 || file >= checkpoint->file_count)
        return shoal_fail(SHOAL_ERR_DATA, "file %d of a checkpoint of %d", file,
                          checkpoint->file_count);
    const shoal_shard_file *shard = &checkpoint->files[file];
    if (!shoal_runs_inside(&runs, shard->file.bytes))
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: %llu runs of %llu bytes, %llu apart, from byte %llu; it has %llu",
                          shard->path, (unsigned long long)rows, (unsigned long long)bytes,
                          (unsigned long long)stride, (unsigned long long)offset,
                          (unsigned long long)shard->file.bytes);
    return shoal_runs_read(&shard->file, shard->path, &runs, out);
}
