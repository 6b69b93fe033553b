#include "coordinator/bench/profile.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/report.h"

static void name_line(const shoal_timed_line *line, const shoal_bench_work *work, char *out,
                      size_t room)
{
    for (int i = 0; i < SHOAL_BENCH_SHAPES; i++) {
        const shoal_bench_linear_shape *shape = &work->shapes[i];
        if (line->n == shape->n && line->k == shape->k && line->n > 0 && shape->op &&
            strcmp(line->op, shape->op) == 0) {
            (void)snprintf(out, room, "%s", shape->name);
            return;
        }
    }
    if (line->n > 0)
        (void)snprintf(out, room, "%s %lldx%lld", line->op, (long long)line->n, (long long)line->k);
    else
        (void)snprintf(out, room, "%s", line->op);
}

static void add_operation(const shoal_bench_profile_input *in, const shoal_timed_line *line,
                          const shoal_bench_work *work, shoal_bench_profile *p)
{
    shoal_bench_profile_line *out = &p->lines[p->count++];
    const double peak = strcmp(line->op, "attention") == 0 ? in->f32_peak : in->peak;
    const double least = fmax(line->bytes / in->read, line->operations / peak);
    *out = (shoal_bench_profile_line){
        .calls = (double)line->calls / in->steps,
        .ms = 1e3 * line->seconds / in->steps,
        .share = line->seconds / in->seconds,
        .gbps = 1e-9 * line->bytes / line->seconds,
        .gops = line->operations > 0 ? 1e-9 * line->operations / line->seconds : NAN,
        .fraction = line->operations > 0 ? least / line->seconds : NAN,
    };
    name_line(line, work, out->name, sizeof out->name);
}

static void add_rest(const shoal_bench_profile_input *in, const char *name, double seconds,
                     shoal_bench_profile *p)
{
    shoal_bench_profile_line *out = &p->lines[p->count++];
    *out = (shoal_bench_profile_line){.calls = NAN,
                                      .ms = 1e3 * seconds / in->steps,
                                      .share = seconds / in->seconds,
                                      .gbps = NAN,
                                      .gops = NAN,
                                      .fraction = NAN};
    (void)snprintf(out->name, sizeof out->name, "%s", name);
}

void shoal_bench_profile_make(const shoal_bench_profile_input *in, const shoal_bench_work *work,
                              shoal_bench_profile *p)
{
    double operations = 0;
    p->count = 0;
    p->step_ms = 1e3 * in->seconds / in->steps;
    for (int i = 0; i < in->count && i < SHOAL_TIMED_LINES_MAX; i++) {
        add_operation(in, &in->lines[i], work, p);
        operations += in->lines[i].seconds;
    }
    add_rest(in, "reduce", in->exchange_seconds - in->waited_seconds, p);
    add_rest(in, "waiting", in->waited_seconds, p);
    add_rest(in, "other", in->step_seconds - in->exchange_seconds - operations, p);
    add_rest(in, "outside", in->seconds - in->step_seconds, p);
}

/* ---- saying it ------------------------------------------------------------------------------- */

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *shoal_bench_profile_json(const shoal_bench_profile *p)
{
    json_t *lines = json_array();
    for (int i = 0; lines && i < p->count; i++) {
        const shoal_bench_profile_line *l = &p->lines[i];
        json_t *one = json_pack("{s:s, s:o, s:f, s:f, s:o, s:o, s:o}", "name", l->name, "calls",
                                number_or_null(l->calls), "ms", l->ms, "share", l->share, "gbps",
                                number_or_null(l->gbps), "gops", number_or_null(l->gops),
                                "fraction", number_or_null(l->fraction));
        if (json_array_append_new(lines, one) != 0) {
            json_decref(lines);
            return NULL;
        }
    }
    return json_pack("{s:f, s:o}", "step_ms", p->step_ms, "lines", lines);
}

static shoal_status cell(shoal_table *table, double value, int digits)
{
    return isfinite(value) ? shoal_table_cell(table, "%.*f", digits, value)
                           : shoal_table_cell(table, "-");
}

static shoal_status print_line(shoal_table *table, const shoal_bench_profile_line *l)
{
    SHOAL_TRY(shoal_table_cell(table, "%s", l->name));
    SHOAL_TRY(cell(table, l->calls, 0));
    SHOAL_TRY(cell(table, l->ms, 3));
    SHOAL_TRY(cell(table, 100 * l->share, 1));
    SHOAL_TRY(cell(table, l->gbps, 2));
    SHOAL_TRY(cell(table, l->gops, 1));
    return cell(table, l->fraction, 2);
}

shoal_status shoal_bench_profile_print(const shoal_bench_profile *p)
{
    const shoal_column columns[] = {{p->phase, false}, {"calls", true}, {"ms", true},
                                    {"%", true},       {"GB/s", true},  {"GOPS", true},
                                    {"fraction", true}};
    shoal_status st = SHOAL_OK;
    shoal_table *table;
    SHOAL_TRY(shoal_report_text("\none %s step: %.3f ms\n", p->phase, p->step_ms));
    SHOAL_TRY(shoal_table_create(columns, sizeof columns / sizeof *columns, &table));
    for (int i = 0; i < p->count && st == SHOAL_OK; i++)
        st = print_line(table, &p->lines[i]);
    if (st == SHOAL_OK)
        st = shoal_table_print(table);
    shoal_table_destroy(table);
    return st;
}
