#include "proto/frame.h"

#include "proto/bytes.h"

void shoal_frame_write(const shoal_frame_header *header, uint8_t out[SHOAL_FRAME_HEADER])
{
    shoal_store_le32(out, SHOAL_FRAME_MAGIC);
    shoal_store_le32(out + 4, header->generation);
    shoal_store_le32(out + 8, (uint32_t)header->type);
    shoal_store_le32(out + 12, header->length);
}

shoal_status shoal_frame_parse(const uint8_t in[SHOAL_FRAME_HEADER], uint32_t generation,
                               shoal_frame_header *out)
{
    const uint32_t magic = shoal_load_le32(in), said = shoal_load_le32(in + 4);
    const uint32_t type = shoal_load_le32(in + 8), length = shoal_load_le32(in + 12);
    if (magic != SHOAL_FRAME_MAGIC)
        return shoal_fail(SHOAL_ERR_DATA, "frame: starts with 0x%08x, not 0x%08x", magic,
                          SHOAL_FRAME_MAGIC);
    if (generation != SHOAL_GENERATION_ANY && said != generation)
        return shoal_fail(SHOAL_ERR_DATA, "frame: of generation %u, this is generation %u", said,
                          generation);
    if (type < SHOAL_WIRE_CHALLENGE || type >= SHOAL_WIRE_TYPE_END)
        return shoal_fail(SHOAL_ERR_DATA, "frame: unknown message type %u", type);
    if (length > SHOAL_FRAME_PAYLOAD_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "frame: %u bytes of payload, at most %u are allowed",
                          length, SHOAL_FRAME_PAYLOAD_MAX);
    *out = (shoal_frame_header){said, (shoal_wire_type)type, length};
    return SHOAL_OK;
}
