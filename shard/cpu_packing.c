#include "shard/cpu_packing.h"

#include <string.h>

#include "shard/checkpoint_state.h"

/* How much is looked at: so many weights, so many bytes of each, so many inputs of a row. */
#define WEIGHTS_MAX  SHOAL_LOOKED_MAX
#define SAMPLE_BYTES 32768
#define INPUTS_MAX   4096

/* Of a thousand groups: so many have both extremes in the right order, and so many fewer in a wrong
 * one. Measured: 1000, and 715 for groups of 64. */
#define RIGHT  950
#define MARGIN 100

typedef struct {
    int64_t groups, whole; /* groups seen; those with both extremes */
} tally;

bool shoal_cpu_packing_is(const shoal_tensor_subclass *subclass)
{
    return subclass && (strcmp(subclass->type, "Int4OpaqueTensor") == 0 ||
                        strcmp(subclass->type, "Int4CPUAQTTensorImpl") == 0);
}

static void count_groups(const uint8_t *codes, int64_t count, int64_t group, tally *sum)
{
    for (int64_t at = 0; at + group <= count; at += group) {
        sum->groups++;
        sum->whole += memchr(codes + at, 0, (size_t)group) && memchr(codes + at, 15, (size_t)group);
    }
}

/* The first band of a weight, as far as its bytes reach, read in bands of `height` rows. */
static void count_band(shoal_int4_order order, int64_t height, const uint8_t *bytes, uint64_t count,
                       int64_t k, int64_t group, tally *sum)
{
    uint8_t codes[INPUTS_MAX];
    const shoal_int4_packing packing = {.order = order, .n = height, .k = k};
    int64_t inputs = (int64_t)count / (height / 2);
    inputs = inputs < k ? inputs : k;
    inputs = inputs < INPUTS_MAX ? inputs : INPUTS_MAX;
    for (int64_t row = 0; row < height; row++) {
        shoal_int4_unpack_row(&packing, height, row, bytes, inputs, codes);
        count_groups(codes, inputs, group, sum);
    }
}

static bool is_sample(const shoal_tensor *t)
{
    return shoal_cpu_packing_is(t->subclass) && t->rank == 2 && t->dtype == SHOAL_U8 &&
           t->view.rows == 0 && t->shape[0] >= 64 && t->shape[1] > 0 && t->subclass->block[1] > 0;
}

static shoal_status look_at(shoal_checkpoint *checkpoint, const shoal_tensor *t, tally sums[2])
{
    uint8_t *bytes;
    void *block;
    const uint64_t count = t->bytes < SAMPLE_BYTES ? t->bytes : SAMPLE_BYTES;
    const shoal_shard_file *shard = &checkpoint->files[t->file];
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_CHECKPOINT, count, &block));
    bytes = block;
    const shoal_status st = shoal_regular_read(&shard->file, shard->path, t->offset, count, block);
    if (st == SHOAL_OK) {
        count_band(SHOAL_INT4_AVX512, 64, bytes, count, 2 * t->shape[1], t->subclass->block[1],
                   &sums[0]);
        count_band(SHOAL_INT4_AVX2, 32, bytes, count, 2 * t->shape[1], t->subclass->block[1],
                   &sums[1]);
        checkpoint->looked[checkpoint->looked_count++] =
            (shoal_looked){t->file, {t->offset, t->offset + count}};
    }
    shoal_free(block);
    return st;
}

shoal_status shoal_cpu_packing_guess(shoal_checkpoint *checkpoint, shoal_int4_order *out)
{
    tally sums[2] = {{0, 0}, {0, 0}};
    *out = SHOAL_INT4_UNKNOWN;
    for (size_t i = 0; i < checkpoint->tensors.count && checkpoint->looked_count < WEIGHTS_MAX; i++)
        if (is_sample(&checkpoint->tensors.items[i]))
            SHOAL_TRY(look_at(checkpoint, &checkpoint->tensors.items[i], sums));
    if (sums[0].groups == 0 || sums[1].groups == 0)
        return SHOAL_OK;
    const int64_t wide = 1000 * sums[0].whole / sums[0].groups;
    const int64_t narrow = 1000 * sums[1].whole / sums[1].groups;
    if (wide >= RIGHT && narrow <= wide - MARGIN)
        *out = SHOAL_INT4_AVX512;
    return SHOAL_OK;
}
