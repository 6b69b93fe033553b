/* Peaks of tile products: two tiles of inputs x two of weights, as the linears use them. */
#include <immintrin.h>

#include "kernels/x86/tiles.h"
#include "kernels/x86/yardstick.h"

/* All eight tiles 16 x 64 bytes: 0-3 sums of zero, 4-7 words of `bits` whose `mixed` bits differ
 * from word to word. Tiles of zeros, or of one number, multiply up to twice as fast as any that a
 * model brings (seen on Sapphire Rapids): they would be a limit that nothing can reach. */
static void fill_tiles(uint32_t bits, uint32_t mixed)
{
    const tile_shapes shapes = tile_shapes_full();
    uint32_t tile[16 * 16];
    for (uint32_t i = 0; i < 16 * 16; i++)
        tile[i] = bits ^ ((i + 1) * UINT32_C(0x9e3779b1) & mixed);
    tile_shapes_load(&shapes);
    tile_written(tile);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, tile, 64);
    _tile_loadd(5, tile, 64);
    _tile_loadd(6, tile, 64);
    _tile_loadd(7, tile, 64);
}

void shoal_peak_tdpbssd(int64_t steps)
{
    fill_tiles(0, UINT32_MAX);
    for (; steps > 0; steps--) {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    _tile_release();
}

void shoal_peak_tdpbf16ps(int64_t steps)
{
    fill_tiles(0x3f803f80, 0x807f807f); /* 1 to 2, both signs */
    for (; steps > 0; steps--) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
}
