/* `shoal bench convert`, `load`, `model` and `scaling`: declared in cli/verb_bench.h. */
#include <stdio.h>
#include <string.h>

#include "coordinator/bench/bench_report.h"
#include "coordinator/bench/convert_bench.h"
#include "coordinator/bench/loading_bench.h"
#include "coordinator/bench/model_bench.h"
#include "coordinator/bench/plot_bars.h"
#include "coordinator/bench/profile_bench.h"
#include "coordinator/bench/scaling_bench.h"
#include "coordinator/bench/synthetic_model.h"
#include "coordinator/bench/unbound.h"
#include "coordinator/cli/machine.h"
#include "coordinator/cli/run_request.h"
#include "coordinator/cli/threads_wanted.h"
#include "coordinator/cli/verb_bench.h"
#include "coordinator/cluster/interrupt.h"
#include "coordinator/cluster/run_folder.h"
#include "worker/blueprint.h"

#define LABEL_MAX 24

/* The model of the bench: the one given, or one made for it. */
typedef struct {
    const char *path;
    char label[LABEL_MAX + 1];
    shoal_run_folder folder; /* of the made one; zeroed: none */
} subject;

/* The last part of the path, cut short, in characters that a row's name can have. */
static void name_subject(const char *path, char label[LABEL_MAX + 1])
{
    size_t end = strlen(path), n = 0;
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    for (size_t i = begin; i < end && n < LABEL_MAX; i++)
        label[n++] = path[i] == '.' || path[i] == ' ' ? '-' : path[i];
    label[n] = '\0';
}

static shoal_status make_model(const char *shape, uint64_t seed, subject *out)
{
    int signals;
    SHOAL_TRY(shoal_interrupt_listen(&signals));
    SHOAL_TRY(shoal_run_folder_create(&out->folder));
    out->path = out->folder.path;
    (void)fprintf(stderr, "writing a %s model to %s\n", shape, out->path);
    return shoal_bench_synthetic_write(shoal_bench_shape_find(shape), seed, out->path);
}

static shoal_status find_subject(const shoal_options *o, subject *out)
{
    const char *shape = shoal_option_text(o, SHOAL_OPT_SHAPE);
    const uint64_t seed = (uint64_t)shoal_option_int(o, SHOAL_OPT_SEED);
    if (o->operand_count > 1) {
        if (shoal_option_given(o, SHOAL_OPT_SHAPE))
            return shoal_fail(SHOAL_ERR_USAGE, "--shape is for a model made up; here is %s",
                              o->operands[1]);
        out->path = o->operands[1];
        name_subject(out->path, out->label);
        return SHOAL_OK;
    }
    (void)snprintf(out->label, sizeof out->label, "%s", shape);
    return shoal_engine_is_follower() ? SHOAL_OK : make_model(shape, seed, out);
}

/* ---- what to put on the stand ---------------------------------------------------------------- */

/* A report in the making. */
typedef struct {
    const shoal_options *options;
    subject model;
    shoal_run_request run;
    shoal_bench_stand_plan stand;
    shoal_bench_setup setups[SHOAL_BENCH_SETUPS_MAX];
    int setup_count;
    shoal_bench_rows rows, yardsticks;
} study;

static shoal_status plan_stand(study *s)
{
    const shoal_options *o = s->options;
    shoal_machine machine;
    int rank, size;
    shoal_machine_read(&machine);
    SHOAL_TRY(shoal_run_request_from(o, &s->run));
    SHOAL_TRY(shoal_cpu_cap(shoal_option_text(o, SHOAL_OPT_CPU), &s->stand.cap));
    s->stand.request = s->run.engine;
    s->stand.request.settings.model = s->model.path;
    s->stand.request.progress = NULL; /* one line per row is progress enough */
    if (!shoal_option_given(o, SHOAL_OPT_PREFILL_CHUNK))
        s->stand.request.settings.prefill_chunk = 0;
    s->stand.request.settings.profile = shoal_option_bool(o, SHOAL_OPT_PROFILE);
    s->stand.seed = (uint64_t)shoal_option_int(o, SHOAL_OPT_SEED);
    s->stand.launched = shoal_comm_mpi_launched(&rank, &size);
    s->stand.cores = s->stand.launched ? shoal_bench_unbound_cores() : machine.cores;
    return SHOAL_OK;
}

/* In a launch the setup is the launch's. `alone`: one, unless ranks are asked for. */
static void choose_setups(study *s, const int *counts, int count, bool alone)
{
    const shoal_options *o = s->options;
    int rank, size = 0, ranks = alone ? 1 : 0;
    int threads = (int)shoal_option_int(o, SHOAL_OPT_THREADS);
    if (shoal_option_given(o, SHOAL_OPT_RANKS))
        ranks = (int)shoal_option_int(o, SHOAL_OPT_RANKS);
    if (shoal_option_given(o, SHOAL_OPT_EMULATE_RANKS))
        ranks = (int)shoal_option_int(o, SHOAL_OPT_EMULATE_RANKS);
    if (shoal_comm_mpi_launched(&rank, &size)) {
        ranks = size;
        if (threads == 0)
            threads = shoal_default_threads(shoal_ranks_on_node(size));
    }
    s->setup_count = shoal_bench_setups(s->stand.cores, ranks, threads, counts, count, s->setups);
}

static bool wants_json(const study *s)
{
    return shoal_option_bool(s->options, SHOAL_OPT_JSON);
}

/* {"kernels": the rows that rank 0 of the first setup runs}, NULL where there is no JSON to write.
 */
static shoal_status name_kernels(const study *s, json_t **out)
{
    shoal_engine_kernel kernels[SHOAL_ENGINE_KERNELS_MAX];
    shoal_blueprint *b;
    int count;
    *out = NULL;
    if (!wants_json(s))
        return SHOAL_OK;
    shoal_worker_settings settings = s->stand.request.settings;
    if (settings.prefill_chunk == 0) /* the stand chooses one: no matter here */
        settings.prefill_chunk = 1;
    SHOAL_TRY(shoal_blueprint_open(&settings, s->model.path, s->setups[0].ranks, &b));
    const shoal_status st = shoal_predict_kernels(&b->slicing, s->stand.cap, kernels, &count);
    shoal_blueprint_close(b);
    if (st == SHOAL_OK)
        *out = json_pack("{s:o}", "kernels", shoal_json_kernels(kernels, count));
    return st;
}

/* The report with the kernels and, if need be, `more`, which is taken over. */
static shoal_status report(const study *s, const shoal_bench_rows *rows, json_t *more)
{
    json_t *with = NULL;
    const shoal_status st = name_kernels(s, &with);
    if (with && more)
        (void)json_object_update(with, more);
    if (with)
        json_decref(more);
    else
        with = more;
    if (st != SHOAL_OK) {
        json_decref(with);
        return st;
    }
    return shoal_bench_report_with(wants_json(s), &s->yardsticks, rows, with);
}

static shoal_status plot(const study *s, const char *name, shoal_bench_bars bars)
{
    const char *folder = shoal_option_text(s->options, SHOAL_OPT_PLOT);
    return folder ? shoal_bench_plot_bars(folder, name, bars, &s->rows) : SHOAL_OK;
}

/* ---- shoal bench model ----------------------------------------------------------------------- */

/* For people the tables of the profiles say more than rows would. */
static shoal_status report_profiles(const study *s, const shoal_bench_profile *profiles)
{
    const shoal_bench_rows none = {0};
    json_t *decode = shoal_bench_profile_json(&profiles[SHOAL_BENCH_DECODE]);
    json_t *prefill = shoal_bench_profile_json(&profiles[SHOAL_BENCH_PREFILL]);
    SHOAL_TRY(report(s, wants_json(s) ? &s->rows : &none,
                     json_pack("{s:{s:o, s:o}}", "profile", "decode", decode, "prefill", prefill)));
    for (int i = 0; i < SHOAL_BENCH_PHASES && !wants_json(s); i++)
        SHOAL_TRY(shoal_bench_profile_print(&profiles[i]));
    return plot(s, "profile", SHOAL_BENCH_BARS_MS);
}

static shoal_status run_profile(study *s)
{
    static shoal_bench_profile profiles[SHOAL_BENCH_PHASES];
    s->stand.sequences = 1;
    choose_setups(s, NULL, 0, true);
    SHOAL_TRY(shoal_bench_profile_run(&s->stand, s->model.label, &s->setups[0], profiles, &s->rows,
                                      &s->yardsticks));
    return report_profiles(s, profiles);
}

static shoal_status run_model(study *s)
{
    static const int counts[] = {1, 2, 4};
    if (shoal_option_bool(s->options, SHOAL_OPT_PROFILE))
        return run_profile(s);
    s->stand.sequences = SHOAL_BENCH_BATCH_MAX;
    choose_setups(s, counts, sizeof counts / sizeof *counts, false);
    const shoal_bench_model_plan plan = {s->stand, s->model.label,
                                         shoal_option_text(s->options, SHOAL_OPT_ROWS)};
    SHOAL_TRY(shoal_bench_model_run(&plan, s->setups, s->setup_count, &s->rows, &s->yardsticks));
    SHOAL_TRY(report(s, &s->rows, NULL));
    return plot(s, "model", SHOAL_BENCH_BARS_FRACTION);
}

/* ---- shoal bench load ------------------------------------------------------------------------ */

static shoal_status run_loading(study *s)
{
    static const int counts[] = {1, 2};
    if (shoal_option_given(s->options, SHOAL_OPT_ROWS))
        return shoal_fail(SHOAL_ERR_USAGE, "bench load measures all its rows: no --rows");
    s->stand.sequences = 1;
    choose_setups(s, counts, sizeof counts / sizeof *counts, false);
    SHOAL_TRY(shoal_bench_loading_run(&s->stand, s->model.label, s->setups, s->setup_count,
                                      &s->rows, &s->yardsticks));
    SHOAL_TRY(report(s, &s->rows, NULL));
    return plot(s, "load", SHOAL_BENCH_BARS_FRACTION);
}

/* ---- shoal bench convert --------------------------------------------------------------------- */

static shoal_status run_convert(study *s)
{
    const shoal_options *o = s->options;
    const char *to = shoal_option_text(o, SHOAL_OPT_TO);
    shoal_convert_request request = {.source = s->model.path,
                                     .quantize = shoal_option_text(o, SHOAL_OPT_QUANTIZE),
                                     .file_bytes = UINT64_MAX,
                                     .threads = shoal_threads_wanted(o)};
    if (!to)
        return shoal_fail(SHOAL_ERR_USAGE, "'bench convert' needs --to FORM");
    SHOAL_TRY(shoal_target_parse(to, &request.target));
    if (request.target.writer == &shoal_writer_pack)
        return shoal_fail(SHOAL_ERR_USAGE, "'bench convert' writes no pack files");
    request.target.allow_requantize = shoal_option_bool(o, SHOAL_OPT_ALLOW_REQUANTIZE);
    SHOAL_TRY(shoal_bench_convert_run(&request, s->model.label, &s->rows));
    return shoal_bench_report(wants_json(s), &s->yardsticks, &s->rows);
}

/* ---- shoal bench scaling --------------------------------------------------------------------- */

static shoal_status report_proof(const study *s, const shoal_bench_proof *proof)
{
    char digest[2 * SHOAL_XXH128_BYTES + 1];
    shoal_hex(proof->digest, sizeof proof->digest, digest);
    json_t *more = json_pack("{s:{s:i, s:i, s:i, s:s}}", "proof", "setups", proof->setups, "tokens",
                             proof->tokens, "logit_rows", proof->logit_rows, "digest", digest);
    SHOAL_TRY(report(s, &s->rows, more));
    if (!wants_json(s))
        SHOAL_TRY(shoal_report_text("\n%d tokens and %d rows of logits, the same bits in %d %s: "
                                    "%s\n",
                                    proof->tokens, proof->logit_rows, proof->setups,
                                    proof->setups == 1 ? "setup" : "setups", digest));
    return plot(s, "scaling", SHOAL_BENCH_BARS_MS);
}

static shoal_status run_scaling(study *s)
{
    static const int counts[] = {1, 2, 3, 4};
    shoal_bench_proof proof;
    if (shoal_option_given(s->options, SHOAL_OPT_ROWS))
        return shoal_fail(SHOAL_ERR_USAGE, "bench scaling measures all its rows: no --rows");
    s->stand.sequences = 1;
    choose_setups(s, counts, sizeof counts / sizeof *counts, false);
    const shoal_bench_scaling_plan plan = {s->stand, s->model.label};
    SHOAL_TRY(shoal_bench_scaling_run(&plan, s->setups, s->setup_count, &s->rows, &s->yardsticks,
                                      &proof));
    return report_proof(s, &proof);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* A rank above 0 of a launch does what rank 0 says, and ends in here. */
static shoal_status follow(study *s)
{
    shoal_engine *engine;
    SHOAL_TRY(shoal_engine_open(&s->stand.request, &engine));
    return shoal_engine_close(engine);
}

/* With the model at hand, and gone afterwards. */
static shoal_status run_study(const shoal_options *o, shoal_status (*work)(study *))
{
    static study s;
    s = (study){.options = o, .model.folder = {.lock = -1, .shared_lock = -1}};
    shoal_status st = find_subject(o, &s.model);
    if (st == SHOAL_OK)
        st = plan_stand(&s);
    if (st == SHOAL_OK)
        st = shoal_engine_is_follower() ? follow(&s) : work(&s);
    shoal_run_folder_remove(&s.model.folder);
    shoal_bench_rows_free(&s.rows);
    shoal_bench_rows_free(&s.yardsticks);
    return st;
}

shoal_status shoal_verb_bench_model(const shoal_options *options)
{
    return run_study(options, run_model);
}

shoal_status shoal_verb_bench_convert(const shoal_options *options)
{
    return run_study(options, run_convert);
}

shoal_status shoal_verb_bench_load(const shoal_options *options)
{
    return run_study(options, run_loading);
}

shoal_status shoal_verb_bench_scaling(const shoal_options *options)
{
    return run_study(options, run_scaling);
}
