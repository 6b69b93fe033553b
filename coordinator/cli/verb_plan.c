#include <stdio.h>

#include "coordinator/cli/report.h"
#include "coordinator/cli/run_request.h"
#include "coordinator/cli/verbs.h"
#include "worker/blueprint.h"

static int64_t unit_of(const shoal_blueprint *b)
{
    const shoal_plan_shape *shape = &b->plan.shape;
    return shape->intermediate ? shape->unit : shape->experts.unit;
}

static json_t *rank_json(const shoal_blueprint *b, int rank)
{
    const shoal_rank_plan *p = &b->plan.rank[rank];
    const shoal_rank_budget *m = &b->budget.rank[rank];
    const shoal_range units = shoal_plan_units(&b->plan, rank);
    return json_pack("{s:i, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I}}",
                     "rank", rank, "q_heads", shoal_json_range(p->q_heads.begin, p->q_heads.end),
                     "kv_heads", shoal_json_range(p->kv_heads.begin, p->kv_heads.end), "units",
                     shoal_json_range(units.begin, units.end), "vocab",
                     shoal_json_range(p->vocab_panels.begin, p->vocab_panels.end), "read_bytes",
                     (json_int_t)m->read_bytes, "resident_bytes", (json_int_t)m->resident_bytes,
                     "kv_tokens", (json_int_t)m->kv_tokens, "streamed_bytes",
                     (json_int_t)m->streamed_bytes, "buffer_bytes", (json_int_t)m->buffer_bytes,
                     "linears", "host", (json_int_t)m->linears.host, "pinned",
                     (json_int_t)m->linears.pinned, "mmap", (json_int_t)m->linears.streamed);
}

static shoal_status print_json(const shoal_blueprint *b, const shoal_worker_settings *settings)
{
    shoal_engine_kernel kernels[SHOAL_ENGINE_KERNELS_MAX];
    shoal_cpu_level cap;
    int count;
    SHOAL_TRY(shoal_cpu_cap(settings->cpu, &cap));
    SHOAL_TRY(shoal_predict_kernels(&b->slicing, cap, kernels, &count));
    json_t *ranks = json_array();
    for (int r = 0; r < b->plan.ranks; r++)
        json_array_append_new(ranks, rank_json(b, r));
    return shoal_report_json(json_pack(
        "{s:s, s:s, s:o, s:b, s:f, s:I, s:I, s:b, s:o}", "model", settings->model, "arithmetic",
        b->arithmetic, "ranks", ranks, "fits", b->budget.fits, "imbalance", b->budget.imbalance,
        "reduce_bytes_per_token", (json_int_t)b->budget.reduce_bytes_per_token, "unit",
        (json_int_t)unit_of(b), "whole_kv_groups", b->plan.whole_kv_groups, "kernels",
        shoal_json_kernels(kernels, count)));
}

static shoal_status range_cell(shoal_table *t, shoal_range r)
{
    if (r.begin == r.end)
        return shoal_table_cell(t, "-");
    return shoal_table_cell(t, "%lld..%lld", (long long)r.begin, (long long)r.end - 1);
}

static shoal_status rank_row(shoal_table *t, const shoal_blueprint *b, int rank)
{
    char read[32], resident[32];
    const shoal_rank_plan *p = &b->plan.rank[rank];
    const shoal_rank_budget *m = &b->budget.rank[rank];
    shoal_format_bytes(m->read_bytes, read, sizeof read);
    shoal_format_bytes(m->resident_bytes, resident, sizeof resident);
    SHOAL_TRY(shoal_table_cell(t, "%d", rank));
    SHOAL_TRY(range_cell(t, p->q_heads));
    SHOAL_TRY(range_cell(t, p->kv_heads));
    SHOAL_TRY(range_cell(t, shoal_plan_units(&b->plan, rank)));
    SHOAL_TRY(range_cell(t, p->vocab_panels));
    SHOAL_TRY(shoal_table_cell(t, "%s", read));
    SHOAL_TRY(shoal_table_cell(t, "%s", resident));
    SHOAL_TRY(shoal_table_cell(t, "%lld", (long long)m->kv_tokens));
    return shoal_table_cell(t, "%s", m->fits ? "yes" : "no");
}

/* Of a rank whose linears are not all in its arena. */
static shoal_status print_placements(const shoal_blueprint *b, int rank)
{
    char streamed[32], buffer[32];
    const shoal_rank_budget *m = &b->budget.rank[rank];
    if (!m->linears.pinned && !m->linears.streamed)
        return SHOAL_OK;
    shoal_format_bytes(m->streamed_bytes, streamed, sizeof streamed);
    shoal_format_bytes(m->buffer_bytes, buffer, sizeof buffer);
    return shoal_report_text("rank %d: of its linears %lld are held, %lld held and pinned, %lld "
                             "streamed: %s in every step, through %s of what is held\n",
                             rank, (long long)m->linears.host, (long long)m->linears.pinned,
                             (long long)m->linears.streamed, streamed, buffer);
}

static shoal_status print_table(const shoal_blueprint *b, const shoal_worker_settings *settings)
{
    static const shoal_column columns[] = {
        {"rank", true},  {"q heads", true},   {"kv heads", true},
        {"units", true}, {"panels", true},    {"to read", true},
        {"held", true},  {"kv tokens", true}, {"fits", false},
    };
    shoal_status st = SHOAL_OK;
    shoal_table *table;
    SHOAL_TRY(shoal_report_text("%s: %s, %lld layers, hidden %lld, %s\n", settings->model,
                                b->model->family, (long long)b->model->layer_count,
                                (long long)b->model->hidden, b->arithmetic));
    SHOAL_TRY(shoal_table_create(columns, sizeof columns / sizeof *columns, &table));
    for (int r = 0; r < b->plan.ranks; r++)
        SHOAL_TRY_GOTO(rank_row(table, b, r), destroy);
    SHOAL_TRY_GOTO(shoal_table_print(table), destroy);
    st = shoal_report_text(
        "a unit is %lld inputs of down, a panel 64 ids; kv heads are dealt %s; "
        "imbalance %.1f %%; %llu bytes per token and rank to reduce\n",
        (long long)unit_of(b), b->plan.whole_kv_groups ? "by whole groups" : "singly",
        100 * b->budget.imbalance, (unsigned long long)b->budget.reduce_bytes_per_token);
    for (int r = 0; r < b->plan.ranks && st == SHOAL_OK; r++)
        st = print_placements(b, r);

destroy:
    shoal_table_destroy(table);
    return st;
}

shoal_status shoal_verb_plan(const shoal_options *options)
{
    double capacity[SHOAL_RANKS_MAX];
    shoal_worker_settings settings;
    shoal_blueprint *blueprint;
    const int ranks = (int)shoal_option_int(options, SHOAL_OPT_RANKS);
    SHOAL_TRY(shoal_settings_from(options, ranks, capacity, &settings));
    settings.max_sequences = 1;
    if (shoal_option_given(options, SHOAL_OPT_CONTEXT))
        settings.kv_tokens = shoal_option_int(options, SHOAL_OPT_CONTEXT);
    if (settings.memory && settings.kv_tokens && !settings.context)
        settings.context = settings.kv_tokens;
    SHOAL_TRY(shoal_blueprint_open(&settings, settings.model, ranks, &blueprint));
    shoal_status st = shoal_option_bool(options, SHOAL_OPT_JSON)
                          ? print_json(blueprint, &settings)
                          : print_table(blueprint, &settings);
    if (st == SHOAL_OK)
        st = shoal_blueprint_check_fit(&settings, blueprint);
    shoal_blueprint_close(blueprint);
    return st;
}
