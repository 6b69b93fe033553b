/* proto/frame.h - the sixteen bytes in front of every message.
 *
 *     offset 0   magic "SHF1"    4   generation    8   type    12   length of the payload
 *
 * all little-endian u32. The generation is the number of the worker launch the message belongs to:
 * what an old worker sends late is refused. Pure: bytes in, struct out; no socket. */
#ifndef SHOAL_PROTO_FRAME_H
#define SHOAL_PROTO_FRAME_H

#include <stdint.h>

#include "proto/status.h"

#define SHOAL_FRAME_MAGIC       0x31464853u /* "SHF1" */
#define SHOAL_FRAME_HEADER      16
#define SHOAL_FRAME_PAYLOAD_MAX (64u << 20)

/* A generation that matches every other, while the handshake has not said which it is. */
#define SHOAL_GENERATION_ANY 0

/* Kinds of messages; numbers are part of the protocol. */
typedef enum {
    SHOAL_WIRE_CHALLENGE = 1,
    SHOAL_WIRE_HELLO,
    SHOAL_WIRE_LOAD,
    SHOAL_WIRE_PLAN,
    SHOAL_WIRE_LOAD_PROGRESS,
    SHOAL_WIRE_READY,
    SHOAL_WIRE_STEP,
    SHOAL_WIRE_STEP_RESULT,
    SHOAL_WIRE_CANCEL,
    SHOAL_WIRE_HEARTBEAT,
    SHOAL_WIRE_STATS,
    SHOAL_WIRE_ERROR,
    SHOAL_WIRE_BYE,
    SHOAL_WIRE_TYPE_END
} shoal_wire_type;

typedef struct {
    uint32_t generation;
    shoal_wire_type type;
    uint32_t length;
} shoal_frame_header;

void shoal_frame_write(const shoal_frame_header *header, uint8_t out[SHOAL_FRAME_HEADER]);

/* SHOAL_ERR_DATA for a wrong magic, an unknown type or a length beyond the cap, and for a
 * generation other than `generation` (SHOAL_GENERATION_ANY: all are welcome). */
SHOAL_MUST_USE shoal_status shoal_frame_parse(const uint8_t in[SHOAL_FRAME_HEADER],
                                              uint32_t generation, shoal_frame_header *out);

#endif
