/* libFuzzer target: a file of torch.save.
 *
 * The first byte chooses: an even one is followed by the file, an odd one by the pickle of a good
 * archive with two storages. What is accepted can be read to the last byte; what is refused comes
 * with a sentence of one line, and nothing is left behind. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/bytes.h"
#include "shard/torch_file.h"
#include "tests/fuzz/must.h"
#include "tests/support/torch_maker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1u << 16)

static void check_accepted(const shoal_tensor_list *list, uint64_t file_bytes)
{
    for (size_t i = 0; i < list->count; i++) {
        const shoal_tensor *t = &list->items[i];
        const uint64_t element = shoal_dtype_bytes(t->dtype);
        uint64_t bytes = element;
        for (int d = 0; d < t->rank; d++)
            bytes *= (uint64_t)t->shape[d];
        must(bytes == t->bytes && t->name[0] != '\0' && strlen(t->name) <= SHOAL_TENSOR_NAME_MAX);
        const uint64_t span = t->view.rows ? shoal_view_span(&t->view, element) : t->bytes;
        must(shoal_range_inside(t->offset, span, file_bytes));
    }
}

/* A regular file that lies nowhere. */
static void open_bytes(const void *bytes, size_t size)
{
    char path[64];
    shoal_regular_file file;
    shoal_arena *arena = NULL;
    shoal_tensor_list list = {0};
    const int fd = memfd_create("fuzz", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    must(shoal_regular_open(path, &file) == SHOAL_OK);
    must(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &arena) == SHOAL_OK);
    const shoal_status st = shoal_torch_read(&file, path, 0, arena, &list);
    if (st == SHOAL_OK) {
        check_accepted(&list, file.bytes);
    } else {
        must(list.count == 0);
        must_be_refusal(st);
    }
    shoal_tensor_list_free(&list);
    shoal_arena_destroy(arena);
    shoal_regular_close(&file);
    close(fd);
    must(shoal_mem_live(SHOAL_MEM_CHECKPOINT) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t storage[96];
    torch_maker m = {0};
    if (size == 0 || size > INPUT_MAX)
        return 0;
    if (data[0] % 2 == 0) {
        open_bytes(data + 1, size - 1);
        return 0;
    }
    (void)torch_add_storage(&m, storage, 96);
    (void)torch_add_storage(&m, storage, 24);
    torch_put(&m.pickle, data + 1, size - 1);
    torch_archive(&m);
    open_bytes(m.file.at, m.file.size);
    torch_free(&m);
    return 0;
}
