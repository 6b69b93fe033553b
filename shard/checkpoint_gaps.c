/* shard/checkpoint_gaps.c - what of a checkpoint's files is no tensor (shard/checkpoint.h). */
#include <stdlib.h>

#include "shard/checkpoint_state.h"

static uint64_t span_of(const shoal_tensor *tensor)
{
    return tensor->view.rows ? shoal_view_span(&tensor->view, shoal_dtype_bytes(tensor->dtype))
                             : tensor->bytes;
}

static int by_begin(const void *a, const void *b)
{
    const shoal_byte_range *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

shoal_status shoal_checkpoint_gaps(const shoal_checkpoint *checkpoint, int file,
                                   shoal_byte_range **out, size_t *count)
{
    const shoal_tensor_list *list = &checkpoint->tensors;
    size_t held = 0, gaps = 0;
    uint64_t end = 0;
    void *block;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_CHECKPOINT, list->count + 1 + SHOAL_LOOKED_MAX,
                                sizeof(shoal_byte_range), &block));
    shoal_byte_range *ranges = block;
    for (size_t i = 0; i < list->count; i++) {
        const shoal_tensor *t = &list->items[i];
        if (t->file == file)
            ranges[held++] = (shoal_byte_range){t->offset, t->offset + span_of(t)};
    }
    qsort(ranges, held, sizeof *ranges, by_begin);
    for (size_t i = 0; i < held; i++) { /* a gap takes the place of a range that was looked at */
        const shoal_byte_range held_range = ranges[i];
        if (held_range.begin > end)
            ranges[gaps++] = (shoal_byte_range){end, held_range.begin};
        if (held_range.end > end)
            end = held_range.end;
    }
    if (checkpoint->files[file].file.bytes > end)
        ranges[gaps++] = (shoal_byte_range){end, checkpoint->files[file].file.bytes};
    for (int i = 0; i < checkpoint->looked_count; i++)
        if (checkpoint->looked[i].file == file)
            ranges[gaps++] = checkpoint->looked[i].range;
    *out = ranges;
    *count = gaps;
    return SHOAL_OK;
}
