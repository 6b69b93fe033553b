/* kernels/x86/tiles.h - the shapes of AMX tiles, as all our tile kernels use them.
 *
 * Tile registers: 0-3 sums (row tile * 2 + column tile), 4-5 inputs, 6-7 weights. */
#ifndef SHOAL_KERNELS_X86_TILES_H
#define SHOAL_KERNELS_X86_TILES_H

#include <immintrin.h>

#include "kernels/x86/inline.h"

#define TILE_ROWS 16

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;

_Static_assert(sizeof(tile_shapes) == 64, "what ldtilecfg reads");

/* All eight tiles 16 rows of 64 bytes. */
ALWAYS_INLINE tile_shapes tile_shapes_full(void)
{
    tile_shapes shapes = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        shapes.rows[i] = TILE_ROWS;
        shapes.row_bytes[i] = 64;
    }
    return shapes;
}

/* gcc 12 believes that ldtilecfg reads 8 bytes and would drop the other stores: hence the asm. */
ALWAYS_INLINE void tile_shapes_load(const tile_shapes *shapes)
{
    __asm__ volatile("" : : "r"(shapes) : "memory");
    _tile_loadconfig(shapes);
}

/* Tiles will be loaded from `p`: gcc 12 does not know that a tile load reads memory and may drop
 * the stores before it. */
ALWAYS_INLINE void tile_written(const void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

#endif
