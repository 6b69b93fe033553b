/* tests/fuzz/whole_model.h - the bytes of one file as a whole model: description, tensors, some of
 * every weight.
 *
 * The file lies in memory and is opened by the name that the kernel gives it. What is refused must
 * come with a sentence of one line; what is accepted must say how many bytes a weight is, and read
 * exactly those or refuse with a sentence; all memory must come back. */
#ifndef SHOAL_TESTS_FUZZ_WHOLE_MODEL_H
#define SHOAL_TESTS_FUZZ_WHOLE_MODEL_H

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/arena.h"
#include "shard/checkpoint.h"
#include "shard/manifest.h"
#include "shard/model.h"
#include "tests/fuzz/must.h"

/* A file in memory with these bytes; the caller closes it. */
static inline int whole_file(const void *data, size_t size, char path[64])
{
    const int fd = memfd_create("model", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

/* The first rows of a weight, and some inputs that begin and end inside blocks. */
static inline shoal_status read_rect(const shoal_manifest *manifest, const shoal_weight *weight,
                                     shoal_arena *arena, shoal_rect *rect)
{
    shoal_canonical block;
    void *order;
    *rect = (shoal_rect){.n_end = weight->n < 3 ? weight->n : 3,
                         .k_begin = weight->k / 3,
                         .k_end = weight->k - weight->k / 5};
    if (weight->act_order) {
        SHOAL_TRY(shoal_arena_array(arena, (uint64_t)weight->k, sizeof(int32_t), &order));
        SHOAL_TRY(shoal_weight_order(manifest, weight, order));
        rect->order = order;
    }
    return shoal_weight_read(manifest, weight, rect, arena, &block);
}

static inline void read_some(const shoal_manifest *manifest, const shoal_weight *weight)
{
    const uint64_t before = shoal_checkpoint_bytes_read(manifest->checkpoint);
    shoal_arena *arena;
    shoal_rect rect;
    must(shoal_arena_create(SHOAL_MEM_OTHER, &arena) == SHOAL_OK);
    if (read_rect(manifest, weight, arena, &rect) != SHOAL_OK)
        must_be_sentence();
    else if (!weight->act_order)
        must(shoal_checkpoint_bytes_read(manifest->checkpoint) - before ==
             shoal_weight_read_bytes(weight, &rect));
    shoal_arena_destroy(arena);
}

static inline void read_weights(const shoal_manifest *manifest)
{
    for (int layer = 0; layer < manifest->model->layer_count; layer++)
        for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++)
            read_some(manifest, shoal_manifest_weight(manifest, layer, role));
    read_some(manifest, shoal_manifest_weight(manifest, -1, SHOAL_ROLE_EMBEDDING));
    read_some(manifest, shoal_manifest_weight(manifest, -1, SHOAL_ROLE_LM_HEAD));
}

static inline void open_whole_model(const char *path)
{
    shoal_model *model = NULL;
    shoal_checkpoint *checkpoint = NULL;
    shoal_manifest *manifest = NULL;
    shoal_status st = shoal_checkpoint_open(path, &checkpoint);
    if (st == SHOAL_OK)
        st = shoal_model_open(path, &model);
    if (st == SHOAL_OK)
        st = shoal_manifest_create(model, checkpoint, NULL, &manifest);
    if (st == SHOAL_OK)
        read_weights(manifest);
    else
        must_be_sentence();
    shoal_manifest_destroy(manifest);
    shoal_model_close(model);
    shoal_checkpoint_close(checkpoint);
    must(shoal_mem_live(SHOAL_MEM_CHECKPOINT) == 0);
}

#endif
