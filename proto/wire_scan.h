/* proto/wire_scan.h - a first look at protobuf bytes, before protobuf-c allocates for them.
 *
 * Private to proto/wire*.c. Walks the bytes along a message's descriptor and refuses (with
 * SHOAL_ERR_DATA) whatever this program would not have written: unknown fields, wrong wire types,
 * lengths beyond the end, single fields that occur twice, strings too long or with NUL inside,
 * repeated fields with more elements than their cap. */
#ifndef SHOAL_PROTO_WIRE_SCAN_H
#define SHOAL_PROTO_WIRE_SCAN_H

#include <stdint.h>

#include "proto/status.h"

struct ProtobufCMessageDescriptor;

SHOAL_MUST_USE shoal_status shoal_wire_scan(const struct ProtobufCMessageDescriptor *message,
                                            const uint8_t *data, uint64_t bytes);

#endif
