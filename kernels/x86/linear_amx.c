/* int8 inputs x int4/int8 weights on AMX tiles: strips of 32 rows x half panels of 32 columns.
 *
 * A panel's K steps are already what a B tile wants (4 inputs of 16 columns in 64 bytes, steps
 * 256 bytes apart). int8 codes are used in place as t = u - 128; int4 codes are widened to signed
 * bytes u - z, a chunk of K at a time that stays in L1 while all rows pass. Tiles cover 64 inputs,
 * or 32 where segments ask for it. Few rows, and rows that do not fill a tile, go to the
 * AVX-512 VNNI row: the bits are the same.
 *
 * What costs is not the products but getting the sums out: every scale segment's 32 x 32 integers
 * are stored, scaled and added to fp32. So the work is a chain of *jobs* (strip, half panel, part
 * of a segment), and while one job multiplies, the tiles of the job before it are stored just
 * before they are needed again, and the sums of the two before it join the accumulators in small
 * pieces between the products. */
#include <immintrin.h>

#include "kernels/linear_row.h"
#include "kernels/x86/fixed512.h"
#include "kernels/x86/inline.h"
#include "kernels/x86/rows.h"
#include "kernels/x86/tiles.h"
#include "kernels/x86/vec512.h"
#include "proto/bytes.h"

#define STRIP     32
#define CHUNK     256 /* inputs per pass over the rows */
#define DEPTH_MAX 64
#define DEPTH_MIN 32
#define PARTS_MAX (CHUNK / DEPTH_MIN)

static void configure(int depth)
{
    tile_shapes shapes = tile_shapes_full();
    for (int i = 4; i < 8; i++) {
        if (i < 6)
            shapes.row_bytes[i] = (uint16_t)depth;
        else
            shapes.rows[i] = (uint8_t)(depth / 4);
    }
    tile_shapes_load(&shapes);
}

/* The sums of a job: [32 rows][32 columns]. Tile t is rows t / 2 * 16.., columns t % 2 * 16... */
#define SUMS        (STRIP * 32)
#define SUMS_STRIDE 128
#define SUMS_AT(t)  ((t) / 2 * TILE_ROWS * 32 + (t) % 2 * 16)

/* The inputs of one segment inside a chunk. */
typedef struct {
    int64_t segment;
    int32_t k, count;
    bool first, last;   /* of the segment */
    bool opens, closes; /* its segment, a unit */
} part;

typedef struct {
    int32_t *sums; /* where its tiles go */
    float *acc;    /* where they are added then; NULL: nowhere, their segment goes on      */
    int64_t row, column, segment;
    bool opens, closes; /* a unit: its sums start at +0, and are complete */
} job;

typedef struct {
    const shoal_linear *w;
    const shoal_act *a;
    const uint8_t *scales, *zeros;
    const float *mins;
    int64_t panel, row0;
    float *acc;      /* [rows][64] */
    int64_t *fixed;  /* cut linears: sums of units [rows][64], their bad ones [rows]        */
    int64_t *bad;    /*                                                                     */
    int64_t columns; /* of the panel                                                        */
    int depth;
    bool plain;             /* the sums are dots: nothing to correct, no minimums          */
    const uint8_t *weights; /* signed bytes [..][256] from local input k0 on               */
    int64_t k0;
    const uint8_t *tail; /* the step at local input tail_k, padded; the stream ends inside it */
    int64_t tail_k;
    const uint8_t *ahead;  /* the weights of the next chunk, for the L2 cache                */
    int64_t ahead_per_job; /* bytes */
    int32_t *rooms;        /* sums of the last two jobs                                      */
    int32_t *carry;        /* sums of segments that go on: [strip][half][SUMS]               */
    int64_t jobs;
    job previous, before; /* sums NULL: none */
} pass;

/* ---- sums to accumulators ------------------------------------------------------------------- */

/* What int8 sums of t still lack: (128 - z) * sum(q). */
static vi missing_at(const pass *p, int64_t cell)
{
    if (p->w->spec.kind == SHOAL_WEIGHT_INT4)
        return vi_set(0);
    if (!p->zeros)
        return vi_set(128 - p->w->spec.zero_const);
    return vi_sub(vi_set(0), vi_from_i16(p->zeros + 2 * cell));
}

/* Where the sum of one row and 16 columns goes. */
ALWAYS_INLINE void join_vector(const bool units, const pass *p, const job *j, int64_t row,
                               int64_t column, vf dot, vf by)
{
    float *at = j->acc + row * SHOAL_PANEL + column;
    const vf y = vf_fma(dot, by, units && j->opens ? vf_set(0) : vf_load(at));
    if (!units || !j->closes) {
        vf_store(at, y);
        return;
    }
    const int64_t to = j->row + row, first = j->column + column;
    const __mmask16 wrong = fixed_add(y, 0xffff, p->fixed + to * SHOAL_PANEL + first, false) &
                            fixed_lanes(p->columns - first);
    if (wrong)
        p->bad[to] += __builtin_popcount(wrong);
}

/* 8 rows of one tile, with everything a segment may have. */
static void join_general(const pass *p, const job *j, int64_t row, int64_t column)
{
    const shoal_linear *w = p->w;
    const shoal_segment *s = &w->segments[j->segment];
    const int64_t cell = (int64_t)s->weight_group * SHOAL_PANEL + j->column + column;
    const vf scale = vf_load_as(w->spec.dtype, p->scales, cell);
    const vi missing = missing_at(p, cell);
    for (int64_t r = row; r < row + 8; r++) {
        const int64_t input = p->row0 + j->row + r;
        const float sa = p->a->scales[input * w->size.act_groups + s->act_group];
        const int32_t sum = p->a->sums[input * w->size.segments + j->segment];
        const vi dot =
            _mm512_add_epi32(vi_load(j->sums + r * 32 + column), vi_mul(missing, vi_set(sum)));
        const vf by = vf_mul(vf_set(sa), scale);
        if (!p->mins) {
            join_vector(p->fixed != NULL, p, j, r, column, vf_from_i(dot), by);
            continue;
        }
        float *at = j->acc + r * SHOAL_PANEL + column;
        job second = *j;
        second.opens = false;
        vf_store(at, vf_fma(vf_from_i(dot), by, p->fixed && j->opens ? vf_set(0) : vf_load(at)));
        join_vector(p->fixed != NULL, p, &second, r, column, vf_set((float)sum * sa),
                    vf_load(p->mins + cell));
    }
}

ALWAYS_INLINE void join_plain(const bool units, const pass *p, const job *j, int64_t row,
                              int64_t column)
{
    const shoal_linear *w = p->w;
    const shoal_segment *s = &w->segments[j->segment];
    const int64_t ld = w->size.act_groups;
    const float *sa = p->a->scales + (p->row0 + j->row + row) * ld + s->act_group;
    const int32_t *sums = j->sums + row * 32 + column;
    const vf scale = vf_load_as(w->spec.dtype, p->scales,
                                (int64_t)s->weight_group * SHOAL_PANEL + j->column + column);
    UNROLL for (int r = 0; r < 8; r++)
        join_vector(units, p, j, row + r, column, vf_from_i(vi_load(sums + r * 32)),
                    vf_mul(vf_set(sa[r * ld]), scale));
}

static void join_units(const pass *p, const job *j, int64_t row, int64_t column)
{
    join_plain(true, p, j, row, column);
}

/* Piece 0..3 of row tile `tile` of a job: 8 rows x 16 columns. */
ALWAYS_INLINE void join(const pass *p, const job *j, int tile, int piece)
{
    if (!j->acc)
        return;
    const int64_t row = tile * TILE_ROWS + piece % 2 * 8, column = piece / 2 * 16;
    if (!p->plain)
        join_general(p, j, row, column);
    else if (p->fixed)
        join_units(p, j, row, column);
    else
        join_plain(false, p, j, row, column);
}

/* ---- one job -------------------------------------------------------------------------------- */

/* Hand the tile's old sums over and give it its first ones. */
#define START(t)                                                                                   \
    do {                                                                                           \
        if (leaving)                                                                               \
            _tile_stored(t, leaving + SUMS_AT(t), SUMS_STRIDE);                                    \
        if (from)                                                                                  \
            _tile_loadd(t, from + SUMS_AT(t), SUMS_STRIDE);                                        \
        else                                                                                       \
            _tile_zero(t);                                                                         \
    } while (0)

/* The first K step of a job, with its end of the job before last. */
ALWAYS_INLINE void first_step(const int pairs, const pass *p, const int8_t *q, const uint8_t *b,
                              const int32_t *from)
{
    const size_t ld = (size_t)p->a->ld;
    int32_t *leaving = p->previous.sums;
    _tile_loadd(4, q, ld);
    _tile_loadd(6, b, 256);
    START(0);
    _tile_dpbssd(0, 4, 6);
    if (pairs == 2)
        join(p, &p->before, 1, 0);
    _tile_loadd(7, b + 64, 256);
    START(1);
    _tile_dpbssd(1, 4, 7);
    if (pairs == 1)
        return;
    join(p, &p->before, 1, 1);
    _tile_loadd(5, q + TILE_ROWS * ld, ld);
    START(2);
    _tile_dpbssd(2, 5, 6);
    join(p, &p->before, 1, 2);
    START(3);
    _tile_dpbssd(3, 5, 7);
    join(p, &p->before, 1, 3);
}

/* Another K step; with `joining`, beside the first half of the job before. */
ALWAYS_INLINE void next_step(const int pairs, const bool joining, const pass *p, const int8_t *q,
                             const uint8_t *b)
{
    const size_t ld = (size_t)p->a->ld;
    _tile_loadd(4, q, ld);
    _tile_loadd(6, b, 256);
    _tile_dpbssd(0, 4, 6);
    if (joining)
        join(p, &p->previous, 0, 0);
    _tile_loadd(7, b + 64, 256);
    _tile_dpbssd(1, 4, 7);
    if (joining)
        join(p, &p->previous, 0, 1);
    if (pairs == 2) {
        _tile_loadd(5, q + TILE_ROWS * ld, ld);
        _tile_dpbssd(2, 5, 6);
    }
    if (joining)
        join(p, &p->previous, 0, 2);
    if (pairs == 2)
        _tile_dpbssd(3, 5, 7);
    if (joining)
        join(p, &p->previous, 0, 3);
}

static void join_first_half(const pass *p)
{
    for (int piece = 0; piece < 4; piece++)
        join(p, &p->previous, 0, piece);
}

static void fetch_ahead(pass *p)
{
    for (int64_t i = 0; i < p->ahead_per_job; i += 64)
        _mm_prefetch((const char *)p->ahead + i, _MM_HINT_T1);
    p->ahead += p->ahead_per_job;
}

ALWAYS_INLINE void run_job(const int pairs, pass *p, const part *x, int64_t row, int64_t half)
{
    const int64_t ld = p->a->ld;
    const int8_t *q = p->a->q + (p->row0 + row) * ld + x->k;
    int32_t *carry = p->carry + (row / STRIP * 2 + half) * SUMS;
    const int32_t *from = x->first ? NULL : carry;
    for (int32_t k = 0; k < x->count; k += p->depth) {
        const int64_t at = x->k + k;
        const uint8_t *b = at == p->tail_k ? p->tail : p->weights + (at - p->k0) / 4 * 256;
        b += 128 * half;
        if (k == 0)
            first_step(pairs, p, q, b, from);
        else
            next_step(pairs, k == p->depth, p, q + k, b);
    }
    if (x->count <= p->depth)
        join_first_half(p);
    fetch_ahead(p);
    p->before = p->previous;
    p->previous = (job){
        .sums = x->last ? p->rooms + (p->jobs & 1) * SUMS : carry,
        .acc = x->last ? p->acc + row * SHOAL_PANEL + 32 * half : NULL,
        .row = row,
        .column = 32 * half,
        .segment = x->segment,
        .opens = x->opens,
        .closes = x->closes,
    };
    p->jobs++;
}

/* Finish the jobs under way. */
static void drain(const int pairs, pass *p)
{
    int32_t *leaving = p->previous.sums;
    if (!leaving)
        return;
    _tile_stored(0, leaving + SUMS_AT(0), SUMS_STRIDE);
    _tile_stored(1, leaving + SUMS_AT(1), SUMS_STRIDE);
    if (pairs == 2) {
        _tile_stored(2, leaving + SUMS_AT(2), SUMS_STRIDE);
        _tile_stored(3, leaving + SUMS_AT(3), SUMS_STRIDE);
        for (int piece = 0; piece < 4; piece++)
            join(p, &p->before, 1, piece);
    }
    join_first_half(p);
    for (int piece = 0; piece < 4 && pairs == 2; piece++)
        join(p, &p->previous, 1, piece);
    p->before = p->previous = (job){0};
}

/* ---- chunks of K ---------------------------------------------------------------------------- */

static void strips(pass *p, int64_t rows, const part *parts, int count)
{
    int64_t row = 0;
    for (; rows - row >= STRIP; row += STRIP) {
        for (int half = 0; half < 2; half++) {
            for (int i = 0; i < count; i++)
                run_job(2, p, &parts[i], row, half);
        }
    }
    if (row == rows)
        return;
    drain(2, p);
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < count; i++)
            run_job(1, p, &parts[i], row, half);
    }
    drain(1, p);
}

/* Does a unit begin with this segment? One past the last counts as a beginning. */
static bool begins_unit(const shoal_linear *w, int64_t segment)
{
    return segment == 0 || segment == w->size.segments ||
           w->segments[segment].unit != w->segments[segment - 1].unit;
}

/* Parts from local input `*k` of segment `*segment` on that fill a chunk; moves both along. */
static int cut_chunk(const shoal_linear *w, int64_t *segment, int64_t end, int32_t *k, part *parts)
{
    int32_t room = CHUNK;
    int count = 0;
    while (*segment < end && room > 0) {
        const shoal_segment *s = &w->segments[*segment];
        const int32_t left = s->k + s->count - *k;
        const int32_t size = left < room ? left : room;
        parts[count++] = (part){.segment = *segment,
                                .k = *k,
                                .count = size,
                                .first = *k == s->k,
                                .last = size == left,
                                .opens = begins_unit(w, *segment),
                                .closes = begins_unit(w, *segment + 1)};
        *k += size;
        room -= size;
        *segment += size == left;
    }
    return count;
}

/* Zero points of 16 columns, each four times: a vector to subtract from codes. */
static vi zero_bytes(const pass *p, int64_t cell)
{
    if (!p->zeros)
        return vi_set8((int8_t)p->w->spec.zero_const);
    return vi_mul(vi_from_u8(p->zeros + cell), vi_set(0x01010101));
}

/* The int4 codes of a chunk as signed bytes u - z; zero steps up to the tile's depth. */
static void widen(const pass *p, const part *parts, int count, uint8_t *out)
{
    const vi mask = vi_set8(15);
    int64_t filled = 0;
    for (int i = 0; i < count; i++) {
        const shoal_segment *s = &p->w->segments[parts[i].segment];
        const uint8_t *in = shoal_panel_codes(p->w, p->panel) + parts[i].k / 8 * 256;
        vi z[4];
        UNROLL for (int t = 0; t < 4; t++) z[t] =
            zero_bytes(p, (int64_t)s->weight_group * SHOAL_PANEL + 16 * t);
        for (int32_t k = 0; k < parts[i].count; k += 8, in += 256, out += 512, filled += 8) {
            UNROLL for (int t = 0; t < 4; t++)
            {
                const vi x = vi_load(in + 64 * t);
                vi_store(out + 64 * t, _mm512_sub_epi8(vi_and(x, mask), z[t]));
                vi_store(out + 256 + 64 * t, _mm512_sub_epi8(vi_and(vi_high(x), mask), z[t]));
            }
        }
    }
    memset(out, 0, (size_t)(shoal_round_up(filled, p->depth) - filled) * SHOAL_PANEL);
    tile_written(out);
}

/* The deepest tile whose steps do not leave a segment of [begin, end) for the next one. */
static int depth_of(const shoal_linear *w, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i <= end && i < w->size.segments; i++) {
        if (w->segments[i].k % DEPTH_MAX)
            return DEPTH_MIN;
    }
    return DEPTH_MAX;
}

/* Tiles read whole steps: the last inputs of an int8 stream are copied where that is safe. */
static void copy_tail(pass *p, uint8_t *tail)
{
    const int64_t padded = p->w->size.k_padded, whole = padded / p->depth * p->depth;
    if (whole == padded)
        return;
    const size_t bytes = (size_t)(padded - whole) * SHOAL_PANEL;
    memcpy(tail, p->weights + whole / 4 * 256, bytes);
    memset(tail + bytes, 0, (size_t)p->depth * SHOAL_PANEL - bytes);
    tile_written(tail);
    p->tail = tail;
    p->tail_k = whole;
}

static pass begin_pass(const shoal_linear *w, const shoal_act *a, int64_t row0, int64_t panel,
                       float *acc)
{
    const bool int4 = w->spec.kind == SHOAL_WEIGHT_INT4;
    return (pass){
        .w = w,
        .a = a,
        .scales = shoal_panel_scales(w, panel),
        .zeros = w->zeros ? shoal_panel_zeros(w, panel) : NULL,
        .mins = w->mins ? shoal_panel_mins(w, panel) : NULL,
        .panel = panel,
        .row0 = row0,
        .acc = acc,
        .plain = !w->mins && (int4 || (!w->zeros && w->spec.zero_const == 128)),
        .weights = shoal_panel_codes(w, panel),
        .tail_k = -1,
    };
}

static void run_tiles(pass *p, int64_t rows, int64_t seg_begin, int64_t seg_end)
{
    _Alignas(64) uint8_t scratch[CHUNK * SHOAL_PANEL];
    _Alignas(64) int32_t rooms[2 * SUMS], carry[SHOAL_ROW_BLOCK * SHOAL_PANEL];
    const shoal_linear *w = p->w;
    const bool int4 = w->spec.kind == SHOAL_WEIGHT_INT4;
    const int code_bits = int4 ? 4 : 8;
    part parts[PARTS_MAX];
    int32_t k = w->segments[seg_begin].k;
    p->rooms = rooms;
    p->carry = carry;
    p->depth = depth_of(w, seg_begin, seg_end);
    if (!int4)
        copy_tail(p, scratch);
    configure(p->depth);
    while (seg_begin < seg_end) {
        const int32_t begin = k;
        const int count = cut_chunk(w, &seg_begin, seg_end, &k, parts);
        const int64_t jobs = shoal_ceil_div(rows, STRIP) * 2 * count;
        p->ahead = shoal_panel_codes(w, p->panel) + (int64_t)k * code_bits * 8;
        p->ahead_per_job =
            shoal_round_up(shoal_ceil_div((int64_t)(k - begin) * code_bits * 8, jobs), 64);
        if (int4) {
            p->k0 = begin;
            p->weights = scratch;
            widen(p, parts, count, scratch);
        }
        strips(p, rows, parts, count);
    }
    drain(2, p);
    _tile_release();
}

void shoal_linear_accumulate_amx(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                 int64_t rows, int64_t panel, int64_t seg_begin, int64_t seg_end,
                                 float *acc)
{
    const int64_t tiled = rows / TILE_ROWS * TILE_ROWS;
    if (tiled && seg_begin < seg_end) {
        pass p = begin_pass(w, a, row0, panel, acc);
        run_tiles(&p, tiled, seg_begin, seg_end);
    }
    if (rows > tiled)
        shoal_linear_accumulate_avx512vnni(w, a, row0 + tiled, rows - tiled, panel, seg_begin,
                                           seg_end, acc + tiled * SHOAL_PANEL);
}

void shoal_linear_units_amx(const shoal_linear_row *row, const shoal_linear *w, const shoal_act *a,
                            int64_t row0, int64_t rows, int64_t panel, int64_t columns,
                            int64_t *sums, int64_t *bad)
{
    _Alignas(64) float acc[SHOAL_ROW_BLOCK * SHOAL_PANEL];
    const int64_t tiled = rows / TILE_ROWS * TILE_ROWS;
    if (tiled) {
        pass p = begin_pass(w, a, row0, panel, acc);
        p.fixed = sums;
        p.bad = bad;
        p.columns = columns;
        memset(sums, 0, (size_t)(tiled * SHOAL_PANEL) * sizeof *sums);
        run_tiles(&p, tiled, 0, w->size.segments);
    }
    if (rows > tiled)
        shoal_linear_units_by_calls(row, w, a, row0 + tiled, rows - tiled, panel, columns,
                                    sums + tiled * SHOAL_PANEL, bad + tiled);
}
