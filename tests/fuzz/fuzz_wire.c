/* Frames and messages from a hostile peer: the first 16 bytes are tried as a frame header; then
 * byte 0 picks a message type and the rest is its payload. Whatever decodes must encode again, to
 * bytes that decode. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(shoal_wire_type type, const uint8_t *payload, size_t bytes)
{
    shoal_wire_message message, again;
    shoal_wire_buffer buffer = {0};
    if (shoal_wire_decode(type, payload, bytes, &message) != SHOAL_OK)
        return;
    if (shoal_wire_encode(&message, 1, &buffer) != SHOAL_OK)
        abort();
    if (shoal_wire_decode(type, buffer.data + SHOAL_FRAME_HEADER, buffer.bytes - SHOAL_FRAME_HEADER,
                          &again) != SHOAL_OK)
        abort();
    shoal_wire_free(&again);
    shoal_wire_buffer_free(&buffer);
    shoal_wire_free(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shoal_frame_header header;
    if (size == 0)
        return 0;
    if (size >= SHOAL_FRAME_HEADER && shoal_frame_parse(data, 1, &header) == SHOAL_OK &&
        header.length <= size - SHOAL_FRAME_HEADER)
        decode(header.type, data + SHOAL_FRAME_HEADER, header.length);
    decode((shoal_wire_type)(data[0] % SHOAL_WIRE_TYPE_END), data + 1, size - 1);
    return 0;
}
