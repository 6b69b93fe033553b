#include "shard/tensor_subclass.h"

#include <stdio.h>
#include <string.h>

bool shoal_subclass_part_name(const char *tensor, const char *part, size_t bytes, char *out,
                              size_t room)
{
    const char *dot = strrchr(tensor, '.');
    const int module = dot ? (int)(dot + 1 - tensor) : 0;
    const int length =
        snprintf(out, room, "%.*s_%s_%.*s", module, tensor, tensor + module, (int)bytes, part);
    return length >= 0 && (size_t)length < room;
}
