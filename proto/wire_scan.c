#include "proto/wire_scan.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <string.h>

#include "proto/wire.h"

/* A message holds records, a record holds numbers and strings. */
#define DEPTH_MAX 2

/* No message has more fields: one bit each says which were there. */
#define FIELDS_MAX 64

/* Most elements of every repeated field; one that is not listed may not occur. */
static const struct {
    const char *field;
    uint64_t most;
} repeated_caps[] = {
    {"capacity", SHOAL_WIRE_RANKS_MAX},         {"q_heads", 2 * SHOAL_WIRE_RANKS_MAX},
    {"kv_heads", 2 * SHOAL_WIRE_RANKS_MAX},     {"units", 2 * SHOAL_WIRE_RANKS_MAX},
    {"vocab_panels", 2 * SHOAL_WIRE_RANKS_MAX}, {"kernels", SHOAL_WIRE_KERNELS_MAX},
    {"results", SHOAL_WIRE_SEQUENCES_MAX},      {"top_ids", SHOAL_WIRE_TOP_MAX},
    {"top_logprobs", SHOAL_WIRE_TOP_MAX},       {"names", SHOAL_WIRE_STATS_MAX},
    {"values", SHOAL_WIRE_STATS_MAX},
};

typedef enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LENGTH = 2, WIRE_32 = 5 } wire_kind;

typedef struct {
    const ProtobufCMessageDescriptor *message;
    const uint8_t *at, *end;
    int depth;
    uint64_t counts[FIELDS_MAX]; /* elements seen, by field index */
} scanner;

static shoal_status scan(const ProtobufCMessageDescriptor *message, const uint8_t *data,
                         uint64_t bytes, int depth);

static shoal_status refuse(const scanner *s, const char *field, const char *why)
{
    return shoal_fail(SHOAL_ERR_DATA, "message %s, field %s: %s", s->message->short_name, field,
                      why);
}

/* Ten bytes at most; the tenth holds one bit. */
static bool read_varint(scanner *s, uint64_t *out)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && s->at < s->end; shift += 7) {
        const uint8_t byte = *s->at++;
        if (shift == 63 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return false;
}

static wire_kind kind_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT: return WIRE_32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: return WIRE_64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return WIRE_LENGTH;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM: break;
    }
    return WIRE_VARINT;
}

static shoal_status count_elements(scanner *s, const ProtobufCFieldDescriptor *field,
                                   uint64_t elements)
{
    uint64_t most = field->label == PROTOBUF_C_LABEL_REPEATED ? 0 : 1;
    for (size_t i = 0; most == 0 && i < sizeof repeated_caps / sizeof repeated_caps[0]; i++)
        if (strcmp(field->name, repeated_caps[i].field) == 0)
            most = repeated_caps[i].most;
    uint64_t *count = &s->counts[field - s->message->fields];
    *count += elements; /* at most as many as there are bytes: no overflow */
    return *count > most ? refuse(s, field->name, "too many elements") : SHOAL_OK;
}

/* One value that is not length-delimited. */
static shoal_status scan_number(scanner *s, const ProtobufCFieldDescriptor *field, wire_kind kind)
{
    uint64_t ignored;
    const uint64_t left = (uint64_t)(s->end - s->at);
    if (kind == WIRE_VARINT)
        return read_varint(s, &ignored) ? SHOAL_OK : refuse(s, field->name, "a cut number");
    const uint64_t size = kind == WIRE_64 ? 8 : 4;
    if (left < size)
        return refuse(s, field->name, "a cut number");
    s->at += size;
    return SHOAL_OK;
}

/* The contents of a string, block or record that starts at s->at. */
static shoal_status scan_contents(scanner *s, const ProtobufCFieldDescriptor *field, uint64_t bytes)
{
    SHOAL_TRY(count_elements(s, field, 1));
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return scan(field->descriptor, s->at, bytes, s->depth + 1);
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        if (bytes > SHOAL_WIRE_STRING_MAX)
            return refuse(s, field->name, "the string is too long");
        if (bytes && memchr(s->at, '\0', bytes))
            return refuse(s, field->name, "NUL in a string");
    }
    return SHOAL_OK;
}

static shoal_status scan_packed(scanner *s, const ProtobufCFieldDescriptor *field, uint64_t bytes)
{
    const wire_kind kind = kind_of(field->type);
    uint64_t elements = 0;
    scanner inside = *s;
    inside.end = s->at + bytes;
    if (field->label != PROTOBUF_C_LABEL_REPEATED || kind == WIRE_LENGTH)
        return refuse(s, field->name, "wrong wire type");
    while (inside.at < inside.end) {
        SHOAL_TRY(scan_number(&inside, field, kind));
        elements++;
    }
    return count_elements(s, field, elements);
}

static shoal_status scan_delimited(scanner *s, const ProtobufCFieldDescriptor *field)
{
    uint64_t bytes;
    if (!read_varint(s, &bytes) || bytes > (uint64_t)(s->end - s->at))
        return refuse(s, field->name, "a length beyond the end");
    SHOAL_TRY(kind_of(field->type) == WIRE_LENGTH ? scan_contents(s, field, bytes)
                                                  : scan_packed(s, field, bytes));
    s->at += bytes;
    return SHOAL_OK;
}

static shoal_status scan_field(scanner *s)
{
    uint64_t tag;
    if (!read_varint(s, &tag))
        return refuse(s, "?", "a cut tag");
    const uint64_t number = tag >> 3;
    const ProtobufCFieldDescriptor *field =
        number > INT32_MAX ? NULL
                           : protobuf_c_message_descriptor_get_field(s->message, (unsigned)number);
    if (!field || field - s->message->fields >= FIELDS_MAX)
        return refuse(s, "?", "unknown to this build");
    const wire_kind kind = (wire_kind)(tag & 7);
    if (kind == WIRE_LENGTH)
        return scan_delimited(s, field);
    if (kind != kind_of(field->type))
        return refuse(s, field->name, "wrong wire type");
    SHOAL_TRY(scan_number(s, field, kind));
    return count_elements(s, field, 1);
}

static shoal_status scan(const ProtobufCMessageDescriptor *message, const uint8_t *data,
                         uint64_t bytes, int depth)
{
    scanner s = {.message = message, .at = data, .end = data + bytes, .depth = depth};
    if (depth > DEPTH_MAX)
        return refuse(&s, "?", "nested too deep");
    while (s.at < s.end)
        SHOAL_TRY(scan_field(&s));
    return SHOAL_OK;
}

shoal_status shoal_wire_scan(const struct ProtobufCMessageDescriptor *message, const uint8_t *data,
                             uint64_t bytes)
{
    static const uint8_t nothing[1];
    return scan(message, bytes ? data : nothing, bytes, 1);
}
