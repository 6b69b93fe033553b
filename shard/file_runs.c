#include "shard/file_runs.h"

#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"

/* Rows are read through a buffer of at most this size where runs lie close. */
#define STAGING_MAX (1u << 20)

/* A gap below a page costs the disk nothing and the copy less than another system call. A longer
 * one is left out, but as long as it is no longer than the runs the disk does better to read it. */
#define GAP_FREE 4096u

bool shoal_runs_inside(const shoal_row_runs *runs, uint64_t total)
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

static shoal_status read_each(const shoal_regular_file *file, const char *path,
                              const shoal_row_runs *runs, char *out)
{
    for (uint64_t row = 0; row < runs->rows; row++)
        SHOAL_TRY(shoal_regular_read(file, path, runs->offset + row * runs->stride, runs->bytes,
                                     out + row * runs->bytes));
    return SHOAL_OK;
}

/* Read `together` rows with the gaps between them, then pick. */
static shoal_status read_staged(const shoal_regular_file *file, const char *path,
                                const shoal_row_runs *runs, uint64_t together, char *out)
{
    void *block;
    shoal_status st = SHOAL_OK;
    SHOAL_TRY(shoal_alloc_unset(SHOAL_MEM_CHECKPOINT, (together - 1) * runs->stride + runs->bytes,
                                &block));
    const char *staging = block;
    for (uint64_t row = 0; row < runs->rows && st == SHOAL_OK; row += together) {
        const uint64_t count = runs->rows - row < together ? runs->rows - row : together;
        st = shoal_regular_read(file, path, runs->offset + row * runs->stride,
                                (count - 1) * runs->stride + runs->bytes, block);
        for (uint64_t i = 0; i < count && st == SHOAL_OK; i++)
            memcpy(out + (row + i) * runs->bytes, staging + i * runs->stride, runs->bytes);
    }
    shoal_free(block);
    return st;
}

shoal_status shoal_runs_read(const shoal_regular_file *file, const char *path,
                             const shoal_row_runs *runs, char *out)
{
    if (runs->rows == 0 || runs->bytes == 0)
        return SHOAL_OK;
    if (runs->rows == 1 || runs->stride == runs->bytes)
        return shoal_regular_read(file, path, runs->offset, runs->rows * runs->bytes, out);
    const uint64_t gap = runs->stride - runs->bytes;
    if (gap >= GAP_FREE || runs->stride > STAGING_MAX / 2) {
        if (gap <= runs->bytes)
            shoal_regular_expect(file, runs->offset, runs->rows * runs->stride - gap);
        return read_each(file, path, runs, out);
    }
    uint64_t together = (STAGING_MAX - runs->bytes) / runs->stride + 1;
    if (together > runs->rows)
        together = runs->rows;
    return read_staged(file, path, runs, together, out);
}
