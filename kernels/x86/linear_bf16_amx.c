/* bf16 inputs x integer weights by tdpbf16ps: strips of 32 rows x half panels of 32 columns.
 *
 * K is walked in tiles of 32 inputs that start where a segment starts; its last one is filled up
 * with zeros. Weights are expanded a piece of K at a time, double-buffered: while one piece
 * multiplies, vector units prepare the next in small portions between the products. Few rows are
 * smaller tiles of the same instruction, so a row has the same bits in any company. */
#include "kernels/linear_row.h"
#include "kernels/x86/bf16_pairs.h"
#include "kernels/x86/rows.h"
#include "kernels/x86/tiles.h"
#include "proto/bytes.h"

#define STRIP      32
#define DEPTH      32 /* inputs of a tile */
#define TILES      8  /* most of a piece */
#define TILE_BYTES (DEPTH / 2 * PAIR_BYTES)

/* Inputs expanded at once: 8 of 16 columns. */
#define PORTIONS (DEPTH / EXPANDED * SHOAL_PANEL / LANES)

/* For strips whose two row tiles have so many rows (the second maybe none: it is not used). */
static void configure(int64_t first, int64_t second)
{
    tile_shapes shapes = tile_shapes_full();
    for (int i = 0; i < 6; i++) {
        const int64_t rows = i < 2 || i == 4 ? first : second;
        shapes.rows[i] = (uint8_t)(rows ? rows : 1);
    }
    tile_shapes_load(&shapes);
}

/* Up to DEPTH inputs of one segment. */
typedef struct {
    const shoal_segment *segment;
    int64_t k, count;
} tile;

/* A run of tiles and their weights. */
typedef struct {
    tile tiles[TILES];
    int count;
    uint8_t *weights; /* [count][DEPTH / 2][64][2] */
} piece;

typedef struct {
    const shoal_linear *w;
    const shoal_act *a;
    int64_t panel, row0;
    int64_t segment, end, k; /* where the next piece begins; one past the last segment */
    piece *next;
    int64_t portion, portions; /* of the next piece: expanded; all                     */
    int64_t at_once;
    cell columns;     /* of the portion before */
    uint16_t *inputs; /* of a strip at a short tile: [32][DEPTH] */
} pass;

/* ---- weights --------------------------------------------------------------------------------- */

/* The tiles of the next piece, none of them expanded. */
static void cut_piece(pass *p, piece *out)
{
    out->count = 0;
    while (p->segment < p->end && out->count < TILES) {
        const shoal_segment *s = &p->w->segments[p->segment];
        const int64_t edge = s->k + s->count, count = shoal_min_i64(edge - p->k, DEPTH);
        out->tiles[out->count++] = (tile){s, p->k, count};
        p->k += count;
        p->segment += p->k == edge;
    }
    p->next = out;
    p->portion = 0;
    p->portions = (int64_t)out->count * PORTIONS;
}

/* Inputs [k, k + EXPANDED) of a tile; what it lacks is zero. */
ALWAYS_INLINE void expand_portion(pass *p, const bool int4, const bool has_min)
{
    const int64_t at = p->portion % PORTIONS, k = at % (DEPTH / EXPANDED) * EXPANDED;
    const int64_t column = at / (DEPTH / EXPANDED) * LANES;
    const tile *t = &p->next->tiles[p->portion / PORTIONS];
    uint8_t *out = p->next->weights + p->portion / PORTIONS * TILE_BYTES + column * COLUMN_BYTES +
                   k / 2 * PAIR_BYTES;
    if (k == 0)
        p->columns = cell_at(p->w, p->panel, t->segment, column);
    const int64_t count = t->count - k;
    if (count > 0)
        expand(&p->columns, int4, has_min, count, codes_at(p->w, p->panel, t->k + k) + 4 * column,
               out);
    if (count < EXPANDED)
        clear_inputs(out, shoal_max_i64(count, 0), EXPANDED);
    p->portion++;
}

ALWAYS_INLINE void expand_portions(pass *p, const bool int4, const bool has_min, int64_t count)
{
    const int64_t end = shoal_min_i64(p->portion + count, p->portions);
    while (p->portion < end)
        expand_portion(p, int4, has_min);
}

/* ---- products -------------------------------------------------------------------------------- */

/* 16 (or fewer) rows, at the inputs of one tile. */
typedef struct {
    const uint16_t *x;
    int64_t ld; /* bytes */
} rows_at;

/* Whole tiles lie in the act; of a short one the inputs of the next segment are left out. */
static rows_at inputs_of(const pass *p, int64_t row, int64_t rows, const tile *t)
{
    const int64_t ld = p->a->ld;
    const uint16_t *x = p->a->bf16 + (p->row0 + row) * ld + t->k;
    if (t->count == DEPTH)
        return (rows_at){x, 2 * ld};
    uint16_t *copy = p->inputs + row % STRIP * DEPTH;
    memset(copy, 0, (size_t)(rows * DEPTH) * sizeof *copy);
    for (int64_t r = 0; r < rows; r++)
        memcpy(copy + r * DEPTH, x + r * ld, (size_t)t->count * sizeof *copy);
    tile_written(copy);
    return (rows_at){copy, 2 * DEPTH};
}

/* 32 inputs of `rows` rows, `pairs` row tiles of them, x 32 columns. */
ALWAYS_INLINE void multiply(const int pairs, const pass *p, int64_t row, int64_t rows,
                            const tile *t, const uint8_t *weights)
{
    const rows_at first = inputs_of(p, row, shoal_min_i64(rows, TILE_ROWS), t);
    _tile_loadd(4, first.x, (size_t)first.ld);
    _tile_loadd(6, weights, PAIR_BYTES);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, weights + 16 * COLUMN_BYTES, PAIR_BYTES);
    _tile_dpbf16ps(1, 4, 7);
    if (pairs == 1)
        return;
    const rows_at second = inputs_of(p, row + TILE_ROWS, rows - TILE_ROWS, t);
    _tile_loadd(5, second.x, (size_t)second.ld);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* A strip of `rows` rows over one piece; the next piece grows meanwhile. */
ALWAYS_INLINE void run_strip(const int pairs, const bool int4, const bool has_min, pass *p,
                             const piece *now, int64_t row, int64_t rows, float *acc)
{
    const size_t ld = SHOAL_PANEL * sizeof(float);
    for (int half = 0; half < 2; half++) {
        float *upper = acc + row * SHOAL_PANEL + 32 * half,
              *lower = upper + TILE_ROWS * SHOAL_PANEL;
        _tile_loadd(0, upper, ld);
        _tile_loadd(1, upper + 16, ld);
        if (pairs == 2) {
            _tile_loadd(2, lower, ld);
            _tile_loadd(3, lower + 16, ld);
        }
        for (int i = 0; i < now->count; i++) {
            multiply(pairs, p, row, rows, &now->tiles[i],
                     now->weights + i * TILE_BYTES + 32 * half * COLUMN_BYTES);
            expand_portions(p, int4, has_min, p->at_once);
        }
        _tile_stored(0, upper, ld);
        _tile_stored(1, upper + 16, ld);
        if (pairs == 2) {
            _tile_stored(2, lower, ld);
            _tile_stored(3, lower + 16, ld);
        }
    }
}

/* All rows over one piece. */
ALWAYS_INLINE void run_piece(const bool int4, const bool has_min, pass *p, const piece *now,
                             int64_t rows, float *acc)
{
    const int64_t steps = shoal_ceil_div(rows, STRIP) * 2 * now->count;
    const int64_t whole = rows / STRIP * STRIP, left = rows - whole;
    p->at_once = shoal_ceil_div(p->portions, steps);
    if (whole && left)
        configure(TILE_ROWS, TILE_ROWS);
    for (int64_t row = 0; row < whole; row += STRIP)
        run_strip(2, int4, has_min, p, now, row, STRIP, acc);
    if (left) {
        configure(shoal_min_i64(left, TILE_ROWS), shoal_max_i64(left - TILE_ROWS, 0));
        if (left > TILE_ROWS)
            run_strip(2, int4, has_min, p, now, whole, left, acc);
        else
            run_strip(1, int4, has_min, p, now, whole, left, acc);
    }
}

ALWAYS_INLINE void run(const bool int4, const bool has_min, pass *p, int64_t rows, float *acc)
{
    _Alignas(64) uint8_t weights[2][TILES * TILE_BYTES];
    piece pieces[2] = {{.weights = weights[0]}, {.weights = weights[1]}};
    cut_piece(p, &pieces[0]);
    expand_portions(p, int4, has_min, p->portions);
    configure(TILE_ROWS, TILE_ROWS);
    for (int now = 0; pieces[now].count; now ^= 1) {
        cut_piece(p, &pieces[now ^ 1]);
        tile_written(pieces[now].weights);
        run_piece(int4, has_min, p, &pieces[now], rows, acc);
    }
    _tile_release();
}

void shoal_linear_accumulate_bf16_amx(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                      int64_t rows, int64_t panel, int64_t seg_begin,
                                      int64_t seg_end, float *acc)
{
    if (seg_begin == seg_end || rows == 0)
        return;
    _Alignas(64) uint16_t inputs[STRIP * DEPTH];
    pass p = {.w = w,
              .a = a,
              .panel = panel,
              .row0 = row0,
              .segment = seg_begin,
              .end = seg_end,
              .k = w->segments[seg_begin].k,
              .inputs = inputs};
    const bool int4 = w->spec.kind == SHOAL_WEIGHT_INT4;
    if (int4 && w->mins)
        run(true, true, &p, rows, acc);
    else if (int4)
        run(true, false, &p, rows, acc);
    else if (w->mins)
        run(false, true, &p, rows, acc);
    else
        run(false, false, &p, rows, acc);
}
