#include "proto/wire.h"

#include "proto/arena.h"
#include "proto/bytes.h"

static const char *const names[SHOAL_WIRE_TYPE_END] = {
    [SHOAL_WIRE_CHALLENGE] = "Challenge",
    [SHOAL_WIRE_HELLO] = "Hello",
    [SHOAL_WIRE_LOAD] = "Load",
    [SHOAL_WIRE_PLAN] = "Plan",
    [SHOAL_WIRE_LOAD_PROGRESS] = "LoadProgress",
    [SHOAL_WIRE_READY] = "Ready",
    [SHOAL_WIRE_STEP] = "Step",
    [SHOAL_WIRE_STEP_RESULT] = "StepResult",
    [SHOAL_WIRE_CANCEL] = "Cancel",
    [SHOAL_WIRE_HEARTBEAT] = "Heartbeat",
    [SHOAL_WIRE_STATS] = "Stats",
    [SHOAL_WIRE_ERROR] = "Error",
    [SHOAL_WIRE_BYE] = "Bye",
};

const char *shoal_wire_name(shoal_wire_type type)
{
    return type >= SHOAL_WIRE_CHALLENGE && type < SHOAL_WIRE_TYPE_END ? names[type] : "unknown";
}

void shoal_wire_buffer_free(shoal_wire_buffer *buffer)
{
    shoal_free(buffer->data);
    *buffer = (shoal_wire_buffer){0};
}

shoal_status shoal_wire_buffer_reserve(shoal_wire_buffer *buffer, uint64_t bytes)
{
    if (bytes <= buffer->capacity)
        return SHOAL_OK;
    uint64_t capacity = buffer->capacity + buffer->capacity / 2;
    if (capacity < bytes)
        capacity = bytes < 256 ? 256 : bytes;
    void *data = buffer->data;
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_WIRE, capacity, 1, &data));
    buffer->data = data;
    buffer->capacity = capacity;
    return SHOAL_OK;
}
