/* proto/wire_check.h - do the numbers of a message make sense?
 *
 * Private to proto/wire*.c; used before encoding and after decoding. SHOAL_ERR_DATA names message
 * and field. */
#ifndef SHOAL_PROTO_WIRE_CHECK_H
#define SHOAL_PROTO_WIRE_CHECK_H

#include "proto/wire.h"

SHOAL_MUST_USE shoal_status shoal_wire_check(const shoal_wire_message *message);

#endif
