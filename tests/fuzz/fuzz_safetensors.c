/* libFuzzer target: the bytes of a safetensors file.
 *
 * What the parser accepts must tile the data without hole or overlap, have distinct names and as
 * many bytes as dtype and shape say; what it refuses must come with a sentence of one line. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/arena.h"
#include "shard/safetensors.h"
#include "shard/torchao_metadata.h"
#include "tests/fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int by_place(const void *a, const void *b)
{
    const shoal_tensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const shoal_tensor *)a)->name, ((const shoal_tensor *)b)->name);
}

static void check_tensor(const shoal_tensor *t)
{
    uint64_t bits = shoal_dtype_bits(t->dtype);
    must(t->rank >= 0 && t->rank <= SHOAL_TENSOR_RANK_MAX);
    must(t->name[0] != '\0' && strlen(t->name) <= SHOAL_TENSOR_NAME_MAX);
    for (int i = 0; i < t->rank; i++) {
        must(t->shape[i] >= 0);
        bits *= (uint64_t)t->shape[i];
    }
    must(bits == 8 * t->bytes);
}

static void check_accepted(shoal_tensor_list *list, uint64_t begin, uint64_t end)
{
    if (list->count)
        qsort(list->items, list->count, sizeof *list->items, by_name);
    for (size_t i = 0; i < list->count; i++) {
        check_tensor(&list->items[i]);
        must(i == 0 || strcmp(list->items[i - 1].name, list->items[i].name) != 0);
    }
    if (list->count)
        qsort(list->items, list->count, sizeof *list->items, by_place);
    for (size_t i = 0; i < list->count; i++) {
        must(list->items[i].offset == begin);
        begin += list->items[i].bytes;
    }
    must(begin == end);
}

/* What metadata say of tensor subclasses is understood or refused. */
static void check_link(shoal_tensor_list *list)
{
    shoal_arena *arena = NULL;
    if (list->count)
        qsort(list->items, list->count, sizeof *list->items, by_name);
    must(shoal_arena_create(SHOAL_MEM_CHECKPOINT, &arena) == SHOAL_OK);
    const shoal_status st = shoal_torchao_link("fuzz", list, arena);
    if (st != SHOAL_OK)
        must_be_refusal(st);
    for (size_t i = 0; i < list->count && st == SHOAL_OK; i++) {
        const shoal_tensor_subclass *s = list->items[i].subclass;
        must(!s || (s->name && s->type && s->rank >= 0 && s->rank <= 2));
    }
    shoal_arena_destroy(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shoal_tensor_list list = {0};
    uint64_t bytes;
    const shoal_status sized = shoal_safetensors_header_bytes("fuzz", data, size, &bytes);
    if (sized != SHOAL_OK) {
        must_be_refusal(sized);
        return 0;
    }
    char *header = malloc((size_t)bytes);
    must(header != NULL);
    memcpy(header, data + SHOAL_SAFETENSORS_PREFIX, (size_t)bytes);
    const shoal_status st = shoal_safetensors_parse("fuzz", header, bytes, size, 0, &list);
    if (st == SHOAL_OK)
        check_accepted(&list, SHOAL_SAFETENSORS_PREFIX + bytes, size);
    else
        must_be_refusal(st);
    must(st == SHOAL_OK || (list.count == 0 && list.metadata_count == 0));
    if (st == SHOAL_OK)
        check_link(&list);
    shoal_tensor_list_free(&list);
    free(header);
    must(shoal_mem_live(SHOAL_MEM_CHECKPOINT) == 0);
    return 0;
}
