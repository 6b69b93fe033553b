/* libFuzzer target: a model.safetensors.index.json.
 *
 * What is accepted names plain files in ascending order and tensors that can be found again; what
 * is refused comes with a sentence of one line. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/arena.h"
#include "shard/index.h"
#include "shard/model_folder.h"
#include "tests/fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(const shoal_index *index)
{
    must(index->file_count > 0 && index->entry_count > 0);
    for (int i = 0; i < index->file_count; i++) {
        must(strchr(index->files[i], '/') == NULL);
        must(strstr(index->files[i], ".safetensors") || shoal_folder_is_torch(index->files[i]));
        must(i == 0 || strcmp(index->files[i - 1], index->files[i]) < 0);
    }
    for (size_t i = 0; i < index->entry_count; i++) {
        const shoal_index_entry *entry = &index->entries[i];
        must(entry->file >= 0 && entry->file < index->file_count);
        must(shoal_index_find(index, entry->tensor) == entry);
    }
    must(shoal_index_find(index, "\n") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shoal_index *index = NULL;
    const shoal_status st = shoal_index_parse((const char *)data, size, "fuzz", &index);
    if (st == SHOAL_OK) {
        check_accepted(index);
        shoal_index_close(index);
    } else {
        must(index == NULL);
        must_be_refusal(st);
    }
    must(shoal_mem_live(SHOAL_MEM_CHECKPOINT) == 0);
    return 0;
}
