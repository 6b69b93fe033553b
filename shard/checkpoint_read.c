/* shard/checkpoint_read.c - reading a checkpoint's tensors by byte ranges (shard/checkpoint.h). */
#include <string.h>

#include "proto/bytes.h"
#include "proto/digest.h"
#include "shard/checkpoint_state.h"

/* Rows are read through a buffer of at most this size where runs lie close. */
#define STAGING_MAX (1u << 20)

/* A gap below a page costs the disk nothing and the copy less than another system call. A longer
 * one is left out, but as long as it is no longer than the runs the disk does better to read it. */
#define GAP_FREE 4096u

typedef struct {
    uint64_t offset, bytes, stride, rows;
} row_runs;

/* Do all runs lie in [0, total), apart from each other? Then rows * bytes is at most total. */
static bool runs_inside(const row_runs *runs, uint64_t total)
{
    uint64_t reach;
    if (runs->rows == 0 || runs->bytes == 0)
        return true;
    if (runs->rows > 1 && runs->stride < runs->bytes)
        return false;
    return shoal_mul_u64(runs->rows - 1, runs->stride, &reach) &&
           shoal_add_u64(reach, runs->bytes, &reach) &&
           shoal_range_inside(runs->offset, reach, total);
}

static shoal_status read_each(const shoal_shard_file *shard, const row_runs *runs, char *out)
{
    for (uint64_t row = 0; row < runs->rows; row++)
        SHOAL_TRY(shoal_regular_read(&shard->file, shard->path, runs->offset + row * runs->stride,
                                     runs->bytes, out + row * runs->bytes));
    return SHOAL_OK;
}

/* Read `together` rows with the gaps between them, then pick. */
static shoal_status read_staged(const shoal_shard_file *shard, const row_runs *runs,
                                uint64_t together, char *out)
{
    void *block;
    shoal_status st = SHOAL_OK;
    SHOAL_TRY(
        shoal_alloc(SHOAL_MEM_CHECKPOINT, (together - 1) * runs->stride + runs->bytes, &block));
    const char *staging = block;
    for (uint64_t row = 0; row < runs->rows && st == SHOAL_OK; row += together) {
        const uint64_t count = runs->rows - row < together ? runs->rows - row : together;
        st = shoal_regular_read(&shard->file, shard->path, runs->offset + row * runs->stride,
                                (count - 1) * runs->stride + runs->bytes, block);
        for (uint64_t i = 0; i < count && st == SHOAL_OK; i++)
            memcpy(out + (row + i) * runs->bytes, staging + i * runs->stride, runs->bytes);
    }
    shoal_free(block);
    return st;
}

static shoal_status read_runs(const shoal_shard_file *shard, const row_runs *runs, char *out)
{
    if (runs->rows == 0 || runs->bytes == 0)
        return SHOAL_OK;
    if (runs->rows == 1 || runs->stride == runs->bytes)
        return shoal_regular_read(&shard->file, shard->path, runs->offset, runs->rows * runs->bytes,
                                  out);
    const uint64_t gap = runs->stride - runs->bytes;
    if (gap >= GAP_FREE || runs->stride > STAGING_MAX / 2) {
        if (gap <= runs->bytes)
            shoal_regular_expect(&shard->file, runs->offset, runs->rows * runs->stride - gap);
        return read_each(shard, runs, out);
    }
    uint64_t together = (STAGING_MAX - runs->bytes) / runs->stride + 1;
    if (together > runs->rows)
        together = runs->rows;
    return read_staged(shard, runs, together, out);
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
                                row_runs runs, void *out)
{
    shoal_status st;
    if (!runs_inside(&runs, tensor->bytes))
        return shoal_fail(SHOAL_ERR_INTERNAL,
                          "%s: %llu runs of %llu bytes, %llu apart, from byte %llu; it has %llu",
                          tensor->name, (unsigned long long)runs.rows,
                          (unsigned long long)runs.bytes, (unsigned long long)runs.stride,
                          (unsigned long long)runs.offset, (unsigned long long)tensor->bytes);
    if (runs.rows == 0 || runs.bytes == 0)
        return SHOAL_OK;
    const uint64_t first = runs.offset;
    const bool whole = runs.rows == 1 || runs.stride == runs.bytes;
    runs.offset += tensor->offset;
    if (checkpoint->source)
        st = checkpoint->source(checkpoint->source_context, tensor->file, runs.offset, runs.bytes,
                                runs.stride, runs.rows, out);
    else
        st = read_runs(&checkpoint->files[tensor->file], &runs, out);
    if (st == SHOAL_OK)
        atomic_fetch_add(checkpoint->bytes_read, runs.rows * runs.bytes);
    if (st == SHOAL_OK && tensor->digests && whole)
        st = check_digests(tensor, first, runs.rows * runs.bytes, out);
    return st;
}

shoal_status shoal_checkpoint_read(const shoal_checkpoint *checkpoint, const shoal_tensor *tensor,
                                   uint64_t offset, uint64_t bytes, void *out)
{
    return read_tensor(checkpoint, tensor, (row_runs){offset, bytes, bytes, 1}, out);
}

shoal_status shoal_checkpoint_read_rows(const shoal_checkpoint *checkpoint,
                                        const shoal_tensor *tensor, uint64_t offset, uint64_t bytes,
                                        uint64_t stride, uint64_t rows, void *out)
{
    return read_tensor(checkpoint, tensor, (row_runs){offset, bytes, stride, rows}, out);
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
    const row_runs runs = {offset, bytes, stride, rows};
    if (file < 0 || file >= checkpoint->file_count)
        return shoal_fail(SHOAL_ERR_DATA, "file %d of a checkpoint of %d", file,
                          checkpoint->file_count);
    const shoal_shard_file *shard = &checkpoint->files[file];
    if (!runs_inside(&runs, shard->file.bytes))
        return shoal_fail(SHOAL_ERR_DATA,
                          "%s: %llu runs of %llu bytes, %llu apart, from byte %llu; it has %llu",
                          shard->path, (unsigned long long)rows, (unsigned long long)bytes,
                          (unsigned long long)stride, (unsigned long long)offset,
                          (unsigned long long)shard->file.bytes);
    return read_runs(shard, &runs, out);
}
