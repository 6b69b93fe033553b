/* shard/gguf_experts.c - see gguf_experts.h. */
#include "shard/gguf_experts.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The layer of "blk.N.TAIL"; -1 for any other name. */
static int layer_of(const char *name, const char *tail)
{
    int layer, end = 0;
    if (sscanf(name, "blk.%5d.%n", &layer, &end) != 1 || end == 0 || layer < 0)
        return -1;
    return strcmp(name + end, tail) == 0 ? layer : -1;
}

static const char *const linears[] = {"ffn_gate", "ffn_up", "ffn_down"};

void shoal_gguf_experts_name(int layer, int linear, char *out, size_t room)
{
    (void)snprintf(out, room, "blk.%d.%s_exps.weight", layer, linears[linear]);
}

/* Does it hold a linear of all experts of a layer? */
static bool is_merged(const shoal_tensor *tensor, int *layer, const char **linear)
{
    for (size_t i = 0; i < sizeof linears / sizeof linears[0]; i++) {
        char tail[32];
        (void)snprintf(tail, sizeof tail, "%s_exps.weight", linears[i]);
        *layer = layer_of(tensor->name, tail);
        *linear = linears[i];
        if (*layer >= 0)
            return tensor->rank == 3;
    }
    return false;
}

/* Rows are whole blocks, so experts begin at whole bytes. */
static shoal_status add_experts(const shoal_tensor *merged, int layer, const char *linear,
                                shoal_arena *names, shoal_tensor_list *list)
{
    const int64_t experts = merged->shape[0];
    shoal_tensor one = *merged;
    one.rank = 2;
    one.shape[0] = merged->shape[1];
    one.shape[1] = merged->shape[2];
    one.shape[2] = 0;
    one.bytes = merged->bytes / (uint64_t)experts;
    for (int64_t i = 0; i < experts; i++) {
        char name[96];
        void *copy;
        const int length =
            snprintf(name, sizeof name, "blk.%d.%s.%lld.weight", layer, linear, (long long)i);
        SHOAL_TRY(shoal_arena_alloc(names, (uint64_t)length + 1, &copy));
        memcpy(copy, name, (size_t)length + 1);
        one.name = copy;
        one.offset = merged->offset + (uint64_t)i * one.bytes;
        SHOAL_TRY(shoal_tensor_list_add(list, &one));
    }
    return SHOAL_OK;
}

shoal_status shoal_gguf_add_tensor(const char *path, const shoal_tensor *tensor, shoal_arena *names,
                                   shoal_tensor_list *list)
{
    int layer;
    const char *linear;
    shoal_tensor as_is = *tensor;
    const bool merged = is_merged(tensor, &layer, &linear);
    if ((uint64_t)(merged ? tensor->shape[0] : 1) > SHOAL_TENSORS_MAX - list->count)
        return shoal_fail(SHOAL_ERR_DATA, "%s: more than %d tensors", path, SHOAL_TENSORS_MAX);
    if (merged)
        return add_experts(tensor, layer, linear, names, list);
    if (tensor->rank == 1 && layer_of(tensor->name, "ffn_gate_inp_shexp.weight") >= 0) {
        as_is.rank = 2;
        as_is.shape[1] = tensor->shape[0];
        as_is.shape[0] = 1;
    }
    return shoal_tensor_list_add(list, &as_is);
}
