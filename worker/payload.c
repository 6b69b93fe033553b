#include "worker/payload.h"

#include <math.h>
#include <string.h>

#include "kernels/linear.h"
#include "proto/dtype.h"

static uint64_t groups_of(uint64_t width)
{
    return (width + SHOAL_PAYLOAD_GROUP - 1) / SHOAL_PAYLOAD_GROUP;
}

uint64_t shoal_payload_bytes(shoal_payload payload, uint64_t width)
{
    const uint64_t values = payload == SHOAL_PAYLOAD_BF16
                                ? width * sizeof(uint16_t)
                                : width + groups_of(width) * sizeof(float);
    return sizeof(int64_t) + (values + 7) / 8 * 8;
}

static float to_float(int64_t v)
{
    return (float)v * (1.0f / SHOAL_UNIT_SCALE);
}

/* Add a value to element `i` of the row. What no sum of units can be, rounded up or damaged on its
 * way, counts as a bad unit of the row instead. */
static void add_fixed(float f, uint64_t i, uint64_t width, int64_t *row)
{
    const double v = (double)f * (double)SHOAL_UNIT_SCALE;
    if (fabs(v) <= 0x1p62)
        row[i] = (int64_t)((uint64_t)row[i] + (uint64_t)(int64_t)rint(v));
    else
        row[width]++;
}

static void pack_bf16(const int64_t *row, uint64_t width, uint8_t *out)
{
    for (uint64_t i = 0; i < width; i++) {
        const uint16_t h = shoal_bf16_from_f32(to_float(row[i]));
        memcpy(out + i * sizeof h, &h, sizeof h);
    }
}

static void add_bf16(const uint8_t *packed, uint64_t width, int64_t *row)
{
    for (uint64_t i = 0; i < width; i++) {
        uint16_t h;
        memcpy(&h, packed + i * sizeof h, sizeof h);
        add_fixed(shoal_f32_from_bf16(h), i, width, row);
    }
}

/* The scales of all groups come first. */
static void pack_int8(const int64_t *row, uint64_t width, uint8_t *out)
{
    uint8_t *values = out + groups_of(width) * sizeof(float);
    for (uint64_t at = 0; at < width; at += SHOAL_PAYLOAD_GROUP, out += sizeof(float)) {
        const uint64_t left = width - at;
        const uint64_t n = left < SHOAL_PAYLOAD_GROUP ? left : SHOAL_PAYLOAD_GROUP;
        float most = 0;
        for (uint64_t i = 0; i < n; i++)
            most = fmaxf(most, fabsf(to_float(row[at + i])));
        const float scale = most / 127.0f;
        memcpy(out, &scale, sizeof scale);
        for (uint64_t i = 0; i < n; i++) {
            const float q = most > 0 ? rintf(to_float(row[at + i]) * (127.0f / most)) : 0.0f;
            values[at + i] = (uint8_t)(int8_t)q;
        }
    }
}

static void add_int8(const uint8_t *packed, uint64_t width, int64_t *row)
{
    const uint8_t *values = packed + groups_of(width) * sizeof(float);
    for (uint64_t i = 0; i < width; i++) {
        float scale;
        memcpy(&scale, packed + i / SHOAL_PAYLOAD_GROUP * sizeof scale, sizeof scale);
        add_fixed((float)(int8_t)values[i] * scale, i, width, row);
    }
}

void shoal_payload_pack(shoal_payload payload, const int64_t *row, uint64_t width, uint8_t *out)
{
    memcpy(out, &row[width], sizeof row[width]);
    (payload == SHOAL_PAYLOAD_BF16 ? pack_bf16 : pack_int8)(row, width, out + sizeof row[width]);
}

void shoal_payload_add(shoal_payload payload, const uint8_t *packed, uint64_t width, int64_t *row)
{
    int64_t count;
    memcpy(&count, packed, sizeof count);
    row[width] += count;
    (payload == SHOAL_PAYLOAD_BF16 ? add_bf16 : add_int8)(packed + sizeof count, width, row);
}
