/* kernels/linear_row.h - the ways to compute a linear: one row of the table per way.
 *
 * Every row does one thing: carry the fp32 accumulators of `rows` inputs x 64 outputs of one
 * panel over consecutive segments, exactly as docs/arithmetic.md rule 3 says. A whole linear is one
 * call over all its segments from +0. Of a cut linear every unit starts from +0: one call per unit,
 * or one of the row's own way for all of a panel. No call begins or ends inside a run. All rows
 * give the same bits; a row that cannot serve a shape says so and the next one is asked. The last
 * row is the reference: it needs nothing, takes everything and defines what is right. */
#ifndef SHOAL_KERNELS_LINEAR_ROW_H
#define SHOAL_KERNELS_LINEAR_ROW_H

#include <stddef.h>

#include "kernels/act.h"
#include "kernels/epilogue.h"
#include "kernels/linear.h"

/* Most input rows of one call: acc is [rows][64] fp32, 64-byte aligned, read and written. */
#define SHOAL_ROW_BLOCK 256

/* Input rows up to which a linear's `decode` row is used; `prefill` beyond. */
#define SHOAL_DECODE_ROWS 4

typedef void (*shoal_linear_accumulate)(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                        int64_t rows, int64_t panel, int64_t seg_begin,
                                        int64_t seg_end, float *acc);

/* All units of one panel of a cut linear: sums [rows][64] int64 are overwritten in the first
 * `columns`, bad [rows] counts the bad units (docs/arithmetic.md rule 4). */
typedef void (*shoal_linear_units)(const shoal_linear_row *row, const shoal_linear *w,
                                   const shoal_act *a, int64_t row0, int64_t rows, int64_t panel,
                                   int64_t columns, int64_t *sums, int64_t *bad);

/* The way of every row that has no better one: accumulate and flush unit by unit. */
void shoal_linear_units_by_calls(const shoal_linear_row *row, const shoal_linear *w,
                                 const shoal_act *a, int64_t row0, int64_t rows, int64_t panel,
                                 int64_t columns, int64_t *sums, int64_t *bad);

struct shoal_linear_row {
    const char *name; /* "int4-avx2": reports, tests */
    shoal_cpu_level needs;
    int64_t rows_min; /* it pays from this many input rows on (1: decode too); any number works   */
    bool (*applicable)(const shoal_linear *w);
    shoal_linear_accumulate accumulate;
    const shoal_epilogue *epilogue; /* of the same level */
    shoal_linear_units units; /* a panel of a cut linear                                     */
};

/* Fastest first, the reference last. */
extern const shoal_linear_row shoal_linear_rows[];
extern const size_t shoal_linear_row_count;

/* The first row that this machine has, `cap` allows, fits `w` and pays for `rows` input rows. */
const shoal_linear_row *shoal_linear_pick(const shoal_linear *w, shoal_cpu_level cap, int64_t rows);

/* The one to use for `rows` input rows. */
static inline const shoal_linear_row *shoal_linear_row_for(const shoal_linear *w, int64_t rows)
{
    return rows <= SHOAL_DECODE_ROWS ? w->decode : w->prefill;
}

/* One past the last segment of the unit that segment `begin` is in. */
int64_t shoal_linear_unit_end(const shoal_linear *w, int64_t begin);

/* Does every segment but the last start and end on a multiple of `step`? What rows that walk K by
 * `step` need; the last segment's tail is served by the zero padding of act and weights. */
bool shoal_linear_edges(const shoal_linear *w, int32_t step);

void shoal_linear_accumulate_ref(const shoal_linear *w, const shoal_act *a, int64_t row0,
                                 int64_t rows, int64_t panel, int64_t seg_begin, int64_t seg_end,
                                 float *acc);

/* Where panel p of each array starts. */
static inline const uint8_t *shoal_panel_codes(const shoal_linear *w, int64_t panel)
{
    return w->codes + (uint64_t)panel * (w->size.codes_bytes / (uint64_t)w->size.panels);
}

static inline const uint8_t *shoal_panel_scales(const shoal_linear *w, int64_t panel)
{
    return w->scales + (uint64_t)panel * (w->size.scales_bytes / (uint64_t)w->size.panels);
}

static inline const uint8_t *shoal_panel_zeros(const shoal_linear *w, int64_t panel)
{
    return w->zeros + (uint64_t)panel * (w->size.zeros_bytes / (uint64_t)w->size.panels);
}

static inline const float *shoal_panel_mins(const shoal_linear *w, int64_t panel)
{
    return w->mins + panel * w->size.supers * SHOAL_PANEL;
}

/* Steps of panel p, or min_steps. */
static inline const int8_t *shoal_panel_steps(const shoal_linear *w, const int8_t *steps,
                                              int64_t panel)
{
    return steps + panel * w->size.groups * SHOAL_PANEL;
}

#endif
