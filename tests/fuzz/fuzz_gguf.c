/* libFuzzer target: the bytes of a GGUF file as a whole model.
 *
 * The file lies in memory and is opened by the name that the kernel gives it. What is refused must
 * come with a sentence of one line; what is accepted must say how many bytes a weight is, and read
 * exactly those or refuse with a sentence; all memory must come back. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/arena.h"
#include "shard/checkpoint.h"
#include "shard/manifest.h"
#include "shard/model.h"
#include "tests/fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first rows of a weight, and some inputs that begin and end inside blocks. */
static void read_some(const shoal_manifest *manifest, const shoal_weight *weight)
{
    const shoal_rect rect = {.n_end = weight->n < 3 ? weight->n : 3,
                             .k_begin = weight->k / 3,
                             .k_end = weight->k - weight->k / 5};
    const uint64_t before = shoal_checkpoint_bytes_read(manifest->checkpoint);
    shoal_arena *arena;
    shoal_canonical block;
    must(shoal_arena_create(SHOAL_MEM_OTHER, &arena) == SHOAL_OK);
    if (shoal_weight_read(manifest, weight, &rect, arena, &block) == SHOAL_OK)
        must(shoal_checkpoint_bytes_read(manifest->checkpoint) - before ==
             shoal_weight_read_bytes(weight, &rect));
    else
        must_be_sentence();
    shoal_arena_destroy(arena);
}

static void read_all(const shoal_manifest *manifest)
{
    for (int layer = 0; layer < manifest->model->layer_count; layer++)
        for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++)
            read_some(manifest, shoal_manifest_weight(manifest, layer, role));
    read_some(manifest, shoal_manifest_weight(manifest, -1, SHOAL_ROLE_EMBEDDING));
    read_some(manifest, shoal_manifest_weight(manifest, -1, SHOAL_ROLE_LM_HEAD));
}

static void open_model(const char *path)
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
        read_all(manifest);
    else
        must_be_sentence();
    shoal_manifest_destroy(manifest);
    shoal_model_close(model);
    shoal_checkpoint_close(checkpoint);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    const int fd = memfd_create("model", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    open_model(path);
    close(fd);
    must(shoal_mem_live(SHOAL_MEM_CHECKPOINT) == 0);
    return 0;
}
