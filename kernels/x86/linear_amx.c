/* int8 inputs x int4/int8 weights on AMX tiles: strips of 32 rows x half panels of 32 columns.
 *
 * A panel's K steps are already what a B tile wants (4 inputs of 16 columns in 64 bytes, steps
 * 256 bytes apart). int8 codes are used in place as t = u - 128; int4 codes are widened to signed
 * bytes u - z, a chunk of K at a time that stays in L1 while all rows pass. Tiles cover 64 inputs,
 * or 32 where segments ask for it; the last strip of a block has smaller tiles. Fewer rows than a
 * tile has go to the AVX-512 VNNI row: the bits are the same.
 *
 * What costs is not the products but getting the sums out: every scale segment's 32 x 32 integers
 * are stored, scaled and added to fp32. So the work is a chain of *jobs* (strip, half panel, part
 * of a segment): in the first step of a job the tiles of the one before are stored, each just
 * before it is needed again, and in the second step those sums join the accumulators, a tile after
 * each product. An int8 segment of any length is one job: nothing is carried. */
#include <immintrin.h>

#include "kernels/linear_row.h"
#include "kernels/pack.h"
#include "kernels/x86/fetch.h"
#include "kernels/x86/fixed512.h"
#include "kernels/x86/inline.h"
#include "kernels/x86/rows.h"
#include "kernels/x86/tiles.h"
#include "kernels/x86/vec512.h"
#include "proto/bytes.h"

#define STRIP     32
#define DEPTH_MAX 64
#define DEPTH_MIN 32
#define CHUNK     256 /* inputs per pass over the rows */
#define PARTS_MAX (CHUNK / DEPTH_MIN)

/* Scales of the inputs lie row by row and are used group by group: so many groups are turned at
 * once, at least those of a chunk. */
#define TURNED 32

/* What joins: plain dots; plain dots of a cut linear, whose units end in 64 bits; anything. */
typedef enum { PLAIN, UNITS, GENERAL } join_kind;

/* The sums of a job: [4 tiles][16 rows][16 columns]; tile t is rows t / 2 * 16.., columns
 * t % 2 * 16... */
#define TILE_SUMS   (TILE_ROWS * 16)
#define SUMS        (4 * TILE_SUMS)
#define SUMS_STRIDE 64

/* The inputs of one segment inside a chunk. */
typedef struct {
    int64_t segment;
    int32_t k, count;
    bool first, last;    /* of the segment */
    bool opens, closes;  /* its segment, a unit */
    const float *scales; /* of the inputs: [rows / 64][TURNED][64] */
} part;

typedef struct {
    int32_t *sums;       /* where its tiles go; NULL: there is no job                            */
    float *acc;          /* where they are added then; NULL: nowhere, their segment goes on      */
    const float *scales; /* of its rows                                                          */
    int64_t row, column, segment;
    int64_t cell;       /* of its first column in scales, zeros and minimums */
    bool opens, closes; /* a unit: its sums start at +0, and are complete */
} job;

typedef struct {
    join_kind kind;
    const shoal_linear *w;
    const shoal_act *a;
    shoal_dtype dtype; /* of the scales */
    const uint8_t *scales, *zeros;
    const float *mins;
    int64_t panel, row0;
    float *acc;      /* [rows][64] */
    int64_t *fixed;  /* cut linears: sums of units [rows][64], their bad ones [rows]        */
    int64_t *bad;    /*                                                                     */
    int64_t columns; /* of the panel                                                        */
    int depth;
    int64_t strip;          /* rows that the tiles are shaped for                           */
    const uint8_t *weights; /* signed bytes [..][256] from local input k0 on               */
    int64_t k0;
    const uint8_t *tail; /* the step at local input tail_k, padded; the stream ends inside it */
    int64_t tail_k;
    const uint8_t *ahead;   /* weights that a later chunk needs, for the L2 cache            */
    int64_t ahead_per_step; /* bytes */
    float (*row_scales)[SHOAL_ROW_BLOCK * TURNED]; /* of this window of groups and the last one */
    int turned;                                    /* this one */
    int32_t turned_begin, turned_end;              /* groups */
    int32_t *room;  /* sums of the last job                                          */
    int32_t *carry; /* sums of segments that go on: [strip][half][SUMS]              */
    job previous;
} pass;

static int32_t least(int64_t a, int64_t b)
{
    return (int32_t)(a < b ? a : b);
}

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

/* One row and 16 columns of a unit that is complete. */
ALWAYS_INLINE void close_unit(const pass *p, int64_t row, int64_t column, vf y)
{
    const __mmask16 wrong = fixed_add(y, 0xffff, p->fixed + row * SHOAL_PANEL + column, false) &
                            fixed_lanes(p->columns - column);
    if (wrong)
        p->bad[row] += __builtin_popcount(wrong);
}

/* The same for the 16 rows of a tile: bad sums are rare, one look finds out that there are none. */
ALWAYS_INLINE void close_units(const pass *p, int64_t row, int64_t column, const vf *y)
{
    const vi magnitude = vi_set(0x7fffffff);
    vi most = vi_set(0);
    UNROLL for (int r = 0; r < TILE_ROWS; r++) most =
        _mm512_max_epi32(most, vi_and(_mm512_castps_si512(y[r]), magnitude));
    const vi bound = _mm512_castps_si512(vf_set(SHOAL_UNIT_BOUND));
    if (_mm512_cmpgt_epi32_mask(most, bound)) {
        for (int r = 0; r < TILE_ROWS; r++)
            close_unit(p, row + r, column, y[r]);
        return;
    }
    int64_t *at = p->fixed + row * SHOAL_PANEL + column;
    UNROLL for (int r = 0; r < TILE_ROWS; r++, at += SHOAL_PANEL)
    {
        const vf v = vf_mul(y[r], vf_set(SHOAL_UNIT_SCALE));
        fixed_put(at, _mm512_cvtps_epi64(_mm512_castps512_ps256(v)), 0xff, false);
        fixed_put(at + 8, _mm512_cvtps_epi64(_mm512_extractf32x8_ps(v, 1)), 0xff, false);
    }
}

/* The first `rows` rows of a tile, nothing but dots. */
ALWAYS_INLINE void join_dots(const bool opens, const bool closes, const int64_t rows, const pass *p,
                             const job *j, int tile)
{
    const int64_t row = tile / 2 * TILE_ROWS, column = j->column + tile % 2 * 16;
    const vf scale = vf_load_as(p->dtype, p->scales, j->cell + tile % 2 * 16);
    const float *sa = j->scales + row;
    const int32_t *sums = j->sums + tile * TILE_SUMS;
    float *acc = j->acc + row * SHOAL_PANEL + tile % 2 * 16;
    vf whole[TILE_ROWS];
    UNROLL for (int64_t r = 0; r < rows; r++)
    {
        float *at = acc + r * SHOAL_PANEL;
        const vf by = vf_mul(vf_set(sa[r]), scale);
        const vf y = vf_fma(vf_from_i(vi_load(sums + r * 16)), by, opens ? vf_set(0) : vf_load(at));
        if (closes && rows == TILE_ROWS)
            whole[r] = y;
        else if (closes)
            close_unit(p, j->row + row + r, column, y);
        else
            vf_store(at, y);
    }
    if (closes && rows == TILE_ROWS)
        close_units(p, j->row + row, column, whole);
}

ALWAYS_INLINE void join_rows(const bool opens, const bool closes, const pass *p, const job *j,
                             int tile)
{
    const int64_t rows = p->strip - tile / 2 * TILE_ROWS;
    if (rows >= TILE_ROWS)
        join_dots(opens, closes, TILE_ROWS, p, j, tile);
    else
        join_dots(opens, closes, rows, p, j, tile);
}

static void join_units(const pass *p, const job *j, int tile)
{
    if (j->opens && j->closes)
        join_rows(true, true, p, j, tile);
    else if (j->opens)
        join_rows(true, false, p, j, tile);
    else if (j->closes)
        join_rows(false, true, p, j, tile);
    else
        join_rows(false, false, p, j, tile);
}

/* With everything that a segment may have. */
static void join_general(const pass *p, const job *j, int tile)
{
    const shoal_linear *w = p->w;
    const int64_t row = tile / 2 * TILE_ROWS, column = j->column + tile % 2 * 16;
    const int64_t cell = j->cell + tile % 2 * 16;
    const vf scale = vf_load_as(p->dtype, p->scales, cell);
    const vi missing = missing_at(p, cell);
    const int64_t rows = least(TILE_ROWS, p->strip - row);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t input = p->row0 + j->row + row + r;
        const float sa = j->scales[row + r];
        const int32_t sum = p->a->sums[input * w->size.segments + j->segment];
        const vi dot = _mm512_add_epi32(vi_load(j->sums + tile * TILE_SUMS + r * 16),
                                        vi_mul(missing, vi_set(sum)));
        float *at = j->acc + (row + r) * SHOAL_PANEL + tile % 2 * 16;
        vf y = vf_fma(vf_from_i(dot), vf_mul(vf_set(sa), scale),
                      p->fixed && j->opens ? vf_set(0) : vf_load(at));
        if (p->mins)
            y = vf_fma(vf_set((float)sum * sa), vf_load(p->mins + cell), y);
        if (p->fixed && j->closes)
            close_unit(p, j->row + row + r, column, y);
        else
            vf_store(at, y);
    }
}

/* One tile of the job before. */
ALWAYS_INLINE void join(const join_kind kind, const pass *p, int tile)
{
    const job *j = &p->previous;
    if (!j->acc)
        return;
    if (kind == PLAIN)
        join_rows(false, false, p, j, tile);
    else if (kind == UNITS)
        join_units(p, j, tile);
    else
        join_general(p, j, tile);
}

/* ---- one job -------------------------------------------------------------------------------- */

/* Hand the tile's old sums over and give it its first ones. */
#define START(t)                                                                                   \
    do {                                                                                           \
        if (leaving)                                                                               \
            _tile_stored(t, leaving + (t)*TILE_SUMS, SUMS_STRIDE);                                 \
        if (from)                                                                                  \
            _tile_loadd(t, from + (t)*TILE_SUMS, SUMS_STRIDE);                                     \
        else                                                                                       \
            _tile_zero(t);                                                                         \
    } while (0)

/* The next K step of half a panel, into L1: tile loads alone do not look that far ahead. */
static void fetch_step(const uint8_t *b)
{
    for (int i = 0; i < TILE_ROWS; i++)
        fetch_lines(b + DEPTH_MAX / 4 * 256 + 256 * i, 128);
}

/* The first K step of a job, while the sums of the one before leave. */
ALWAYS_INLINE void first_step(const int pairs, const pass *p, const int8_t *q, const uint8_t *b,
                              const int32_t *from)
{
    const size_t ld = (size_t)p->a->ld;
    int32_t *leaving = p->previous.sums;
    _tile_loadd(4, q, ld);
    _tile_loadd(6, b, 256);
    START(0);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(7, b + 64, 256);
    START(1);
    _tile_dpbssd(1, 4, 7);
    if (pairs == 1)
        return;
    _tile_loadd(5, q + TILE_ROWS * ld, ld);
    START(2);
    _tile_dpbssd(2, 5, 6);
    START(3);
    _tile_dpbssd(3, 5, 7);
}

/* Another K step; with `joining`, while the sums of the job before join. */
ALWAYS_INLINE void next_step(const join_kind kind, const int pairs, const bool joining,
                             const pass *p, const int8_t *q, const uint8_t *b)
{
    const size_t ld = (size_t)p->a->ld;
    _tile_loadd(4, q, ld);
    _tile_loadd(6, b, 256);
    _tile_dpbssd(0, 4, 6);
    if (joining)
        join(kind, p, 0);
    _tile_loadd(7, b + 64, 256);
    _tile_dpbssd(1, 4, 7);
    if (joining)
        join(kind, p, 1);
    if (pairs == 1)
        return;
    _tile_loadd(5, q + TILE_ROWS * ld, ld);
    _tile_dpbssd(2, 5, 6);
    if (joining)
        join(kind, p, 2);
    _tile_dpbssd(3, 5, 7);
    if (joining)
        join(kind, p, 3);
}

ALWAYS_INLINE void join_all(const join_kind kind, const int pairs, const pass *p)
{
    for (int tile = 0; tile < 2 * pairs; tile++)
        join(kind, p, tile);
}

ALWAYS_INLINE void run_job(const join_kind kind, const int pairs, pass *p, const part *x,
                           int64_t row, int64_t half)
{
    const int64_t ld = p->a->ld;
    const int8_t *q = p->a->q + (p->row0 + row) * ld + x->k;
    int32_t *carry = p->carry + (row / STRIP * 2 + half) * SUMS;
    const int32_t *from = x->first ? NULL : carry;
    for (int32_t k = 0; k < x->count; k += p->depth) {
        const int64_t at = x->k + k;
        const uint8_t *b = at == p->tail_k ? p->tail : p->weights + (at - p->k0) / 4 * 256;
        b += 128 * half;
        if (x->count > CHUNK)
            fetch_step(b);
        if (k == 0)
            first_step(pairs, p, q, b, from);
        else if (k == p->depth)
            next_step(kind, pairs, true, p, q + k, b);
        else
            next_step(kind, pairs, false, p, q + k, b);
        fetch_lines_l2(p->ahead, p->ahead_per_step);
        p->ahead += p->ahead_per_step;
    }
    if (x->count <= p->depth)
        join_all(kind, pairs, p);
    p->previous = (job){
        .sums = x->last ? p->room : carry,
        .acc = x->last ? p->acc + row * SHOAL_PANEL + 32 * half : NULL,
        .scales = x->scales + row / SHOAL_PANEL * (TURNED * SHOAL_PANEL) + row % SHOAL_PANEL,
        .row = row,
        .column = 32 * half,
        .segment = x->segment,
        .cell = (int64_t)p->w->segments[x->segment].weight_group * SHOAL_PANEL + 32 * half,
        .opens = x->opens,
        .closes = x->closes,
    };
}

/* Finish the job under way. */
static void drain(pass *p)
{
    int32_t *leaving = p->previous.sums;
    const int pairs = p->strip > TILE_ROWS ? 2 : 1;
    if (!leaving)
        return;
    _tile_stored(0, leaving, SUMS_STRIDE);
    _tile_stored(1, leaving + TILE_SUMS, SUMS_STRIDE);
    if (pairs == 2) {
        _tile_stored(2, leaving + 2 * TILE_SUMS, SUMS_STRIDE);
        _tile_stored(3, leaving + 3 * TILE_SUMS, SUMS_STRIDE);
    }
    switch (p->kind) {
    case PLAIN: join_all(PLAIN, pairs, p); break;
    case UNITS: join_all(UNITS, pairs, p); break;
    case GENERAL: join_all(GENERAL, pairs, p); break;
    }
    p->previous = (job){0};
}

/* ---- chunks of K ---------------------------------------------------------------------------- */

/* Tiles for strips of 1 to 32 rows; the second tile of rows is not used up to 16. */
static void configure(int depth, int64_t rows)
{
    tile_shapes shapes = tile_shapes_full();
    const int64_t second = rows > TILE_ROWS ? rows - TILE_ROWS : 1;
    for (int i = 0; i < 6; i++)
        shapes.rows[i] = (uint8_t)(i < 2 || i == 4 ? least(rows, TILE_ROWS) : second);
    for (int i = 4; i < 6; i++) {
        shapes.row_bytes[i] = (uint16_t)depth;
        shapes.rows[i + 2] = (uint8_t)(depth / 4);
    }
    tile_shapes_load(&shapes);
}

/* One strip over a chunk. Each kind is a function of its own: in a larger one gcc 12 keeps
 * addresses in vector registers, and fetches them from there over the ports that sums need. */
typedef void (*strip_run)(pass *p, const part *parts, int count, int64_t row);

ALWAYS_INLINE void run_strip(const join_kind kind, const int pairs, pass *p, const part *parts,
                             int count, int64_t row)
{
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < count; i++)
            run_job(kind, pairs, p, &parts[i], row, half);
    }
}

#define STRIP_RUN(name, kind, pairs)                                                               \
    static void name(pass *p, const part *parts, int count, int64_t row)                           \
    {                                                                                              \
        run_strip(kind, pairs, p, parts, count, row);                                              \
    }
STRIP_RUN(plain_16, PLAIN, 1)
STRIP_RUN(plain_32, PLAIN, 2)
STRIP_RUN(units_16, UNITS, 1)
STRIP_RUN(units_32, UNITS, 2)
STRIP_RUN(general_16, GENERAL, 1)
STRIP_RUN(general_32, GENERAL, 2)

static void run_strips(pass *p, int64_t rows, const part *parts, int count)
{
    static const strip_run runs[][2] = {[PLAIN] = {plain_16, plain_32},
                                        [UNITS] = {units_16, units_32},
                                        [GENERAL] = {general_16, general_32}};
    for (int64_t row = 0; row < rows; row += STRIP) {
        const int64_t strip = least(rows - row, STRIP);
        if (strip != p->strip) {
            drain(p);
            configure(p->depth, strip);
            p->strip = strip;
        }
        runs[p->kind][strip > TILE_ROWS](p, parts, count, row);
    }
}

/* Does a unit begin with this segment? One past the last counts as a beginning. */
static bool begins_unit(const shoal_linear *w, int64_t segment)
{
    return segment == 0 || segment == w->size.segments ||
           w->segments[segment].unit != w->segments[segment - 1].unit;
}

/* Parts from local input `*k` of segment `*segment` on that fill a chunk; moves both along. int8
 * segments are never cut: their weights are where they are. */
static int cut_chunk(const shoal_linear *w, int64_t *segment, int64_t end, int32_t *k, part *parts)
{
    const bool whole = w->spec.kind == SHOAL_WEIGHT_INT8;
    int32_t room = CHUNK;
    int count = 0;
    while (*segment < end && room > 0 && count < PARTS_MAX) {
        const shoal_segment *s = &w->segments[*segment];
        const int32_t left = s->k + s->count - *k;
        const int32_t size = left < room || whole ? left : room;
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

/* The scales of all rows for the parts of a chunk. What the job before still needs stays. */
static void turn_scales(pass *p, int64_t rows, part *parts, int count)
{
    const shoal_segment *segments = p->w->segments;
    const int32_t groups = (int32_t)p->w->size.act_groups;
    const int32_t first = segments[parts[0].segment].act_group;
    if (segments[parts[count - 1].segment].act_group >= p->turned_end) {
        const int32_t turned = least(groups - first, TURNED);
        p->turned ^= 1;
        p->turned_begin = first;
        p->turned_end = first + turned;
        for (int64_t r = 0; r < rows; r += SHOAL_PANEL)
            shoal_pack_avx512.dwords(
                (const uint8_t *)(p->a->scales + (p->row0 + r) * groups + first),
                groups * (int64_t)sizeof(float), least(rows - r, SHOAL_PANEL), turned, 0,
                (uint8_t *)(p->row_scales[p->turned] + r * TURNED));
    }
    for (int i = 0; i < count; i++)
        parts[i].scales = p->row_scales[p->turned] +
                          (segments[parts[i].segment].act_group - p->turned_begin) * SHOAL_PANEL;
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

/* `cut`: sums of units, not of all inputs. */
static pass begin_pass(const shoal_linear *w, const shoal_act *a, int64_t row0, int64_t panel,
                       bool cut, float *acc)
{
    const bool dots = w->spec.kind == SHOAL_WEIGHT_INT4 || (!w->zeros && w->spec.zero_const == 128);
    return (pass){
        .kind = w->mins || !dots ? GENERAL
                : cut            ? UNITS
                                 : PLAIN,
        .w = w,
        .a = a,
        .dtype = w->spec.dtype,
        .scales = shoal_panel_scales(w, panel),
        .zeros = w->zeros ? shoal_panel_zeros(w, panel) : NULL,
        .mins = w->mins ? shoal_panel_mins(w, panel) : NULL,
        .panel = panel,
        .row0 = row0,
        .acc = acc,
        .weights = shoal_panel_codes(w, panel),
        .tail_k = -1,
    };
}

/* Steps that all rows take over a chunk. */
static int64_t steps_of(const pass *p, int64_t rows, const part *parts, int count)
{
    int64_t steps = 0;
    for (int i = 0; i < count; i++)
        steps += shoal_ceil_div(parts[i].count, p->depth);
    return steps * shoal_ceil_div(rows, STRIP) * 2;
}

static void run_tiles(pass *p, int64_t rows, int64_t seg_begin, int64_t seg_end)
{
    _Alignas(64) uint8_t scratch[CHUNK * SHOAL_PANEL];
    _Alignas(64) int32_t room[SUMS], carry[SHOAL_ROW_BLOCK * SHOAL_PANEL];
    float row_scales[2][SHOAL_ROW_BLOCK * TURNED];
    const shoal_linear *w = p->w;
    const bool int4 = w->spec.kind == SHOAL_WEIGHT_INT4;
    const int code_bits = int4 ? 4 : 8;
    part parts[PARTS_MAX];
    int32_t k = w->segments[seg_begin].k;
    p->room = room;
    p->row_scales = row_scales;
    p->carry = carry;
    p->depth = depth_of(w, seg_begin, seg_end);
    if (!int4)
        copy_tail(p, scratch);
    while (seg_begin < seg_end) {
        const int32_t begin = k;
        const int count = cut_chunk(w, &seg_begin, seg_end, &k, parts);
        turn_scales(p, rows, parts, count);
        p->ahead = shoal_panel_codes(w, p->panel) + (int64_t)k * code_bits * 8;
        p->ahead_per_step = shoal_round_up(
            shoal_ceil_div((int64_t)(k - begin) * code_bits * 8, steps_of(p, rows, parts, count)),
            64);
        if (int4) {
            p->k0 = begin;
            p->weights = scratch;
            widen(p, parts, count, scratch);
        }
        run_strips(p, rows, parts, count);
    }
    drain(p);
    _tile_release();
}

void shoal_linear_accumulate_amx(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                 int64_t rows, int64_t panel, int64_t seg_begin, int64_t seg_end,
                                 float *acc)
{
    if (rows < TILE_ROWS) {
        shoal_linear_accumulate_avx512vnni(w, a, row0, rows, panel, seg_begin, seg_end, acc);
        return;
    }
    if (seg_begin == seg_end)
        return;
    pass p = begin_pass(w, a, row0, panel, false, acc);
    run_tiles(&p, rows, seg_begin, seg_end);
}

void shoal_linear_units_amx(const shoal_linear_row *row, const shoal_linear *w, const shoal_act *a,
                            int64_t row0, int64_t rows, int64_t panel, int64_t columns,
                            int64_t *sums, int64_t *bad)
{
    if (rows < TILE_ROWS) {
        shoal_linear_units_avx512vnni(row, w, a, row0, rows, panel, columns, sums, bad);
        return;
    }
    _Alignas(64) float acc[SHOAL_ROW_BLOCK * SHOAL_PANEL];
    pass p = begin_pass(w, a, row0, panel, true, acc);
    p.fixed = sums;
    p.bad = bad;
    p.columns = columns;
    memset(sums, 0, (size_t)(rows * SHOAL_PANEL) * sizeof *sums);
    run_tiles(&p, rows, 0, w->size.segments);
}
