#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/bench/bench_report.h"
#include "coordinator/bench/kernels_bench.h"
#include "coordinator/bench/plot_kernels.h"
#include "coordinator/bench/plot_serve.h"
#include "coordinator/bench/serve_bench.h"
#include "coordinator/bench/tokenizer_bench.h"
#include "coordinator/cli/verb_bench.h"
#include "coordinator/cli/verbs.h"
#include "coordinator/cluster/launch.h"
#include "coordinator/engine.h"
#include "kernels/cpu.h"
#include "shard/model.h"

/* Ids that every vocabulary has, for a server whose model is not known here. */
#define VOCAB_UNKNOWN 256

/* The command line of the server: its own words, and options that are handed on. */
#define SERVER_WORDS_MAX 16
#define SERVER_TEXT_MAX  512

typedef struct {
    const char *words[SERVER_WORDS_MAX + SHOAL_OPT_COUNT];
    int count;
    char text[SHOAL_OPT_COUNT][SERVER_TEXT_MAX]; /* "--threads=2" */
    char program[PATH_MAX];
} server_command;

/* ---- the server ------------------------------------------------------------------------------ */

/* The server reads the environment itself; what flags and config file say about how a model runs,
 * it is told. */
static bool is_handed_on(const shoal_options *o, shoal_option_id id)
{
    const shoal_option *row = &shoal_option_table[id];
    const shoal_option_source source = o->values[id].source;
    return (source == SHOAL_FROM_FLAG || source == SHOAL_FROM_CONFIG) &&
           (row->verbs & (1u << SHOAL_VERB_SERVE)) &&
           (row->section == SHOAL_SECTION_RUN || id == SHOAL_OPT_API_KEY_FILE);
}

static shoal_status compose(const shoal_options *o, server_command *c)
{
    shoal_own_path(c->program);
    const char *const begin[] = {c->program, "serve", o->operands[1], "--port", "0"};
    for (size_t i = 0; i < sizeof begin / sizeof *begin; i++)
        c->words[c->count++] = begin[i];
    for (int i = 0; i < SHOAL_OPT_COUNT; i++) {
        const shoal_option *row = &shoal_option_table[i];
        const char *value = shoal_option_text(o, (shoal_option_id)i);
        if (!is_handed_on(o, (shoal_option_id)i))
            continue;
        if (snprintf(c->text[i], SERVER_TEXT_MAX, "--%s=%s", row->name, value) >= SERVER_TEXT_MAX)
            return shoal_fail(SHOAL_ERR_USAGE, "--%s is too long to hand on", row->name);
        c->words[c->count++] = c->text[i];
    }
    c->words[c->count] = NULL;
    return SHOAL_OK;
}

static shoal_status wait_ready(shoal_bench_child *server, shoal_bench_target *target)
{
    static const char ready[] = "ready ";
    char line[512];
    SHOAL_TRY(shoal_bench_child_line(server, line, sizeof line));
    if (strncmp(line, ready, sizeof ready - 1) != 0)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "the server says '%.80s' instead of ready", line);
    return shoal_bench_target_parse(line + sizeof ready - 1, target);
}

static shoal_status start_server(const shoal_options *o, shoal_bench_child *server,
                                 shoal_bench_target *target)
{
    server_command command = {0};
    SHOAL_TRY(compose(o, &command));
    SHOAL_TRY(shoal_bench_child_start(command.words, NULL, server));
    return wait_ready(server, target);
}

/* ---- the report ------------------------------------------------------------------------------ */

static shoal_status yardsticks_of(const shoal_bench_rows *rows, shoal_bench_rows *out)
{
    const double single = shoal_bench_rows_value(rows, "serve.closed.s1.throughput");
    return isfinite(single) ? shoal_bench_rows_add(out, single, "tokens/s", NAN, "serve.one_stream")
                            : SHOAL_OK;
}

static shoal_status report(const shoal_options *o, const shoal_bench_serve_plan *plan,
                           const shoal_bench_rows *rows)
{
    const char *folder = shoal_option_text(o, SHOAL_OPT_PLOT);
    shoal_bench_rows yardsticks = {0};
    shoal_status st = yardsticks_of(rows, &yardsticks);
    if (st == SHOAL_OK)
        st = shoal_bench_report(shoal_option_bool(o, SHOAL_OPT_JSON), &yardsticks, rows);
    if (st == SHOAL_OK && folder)
        st = shoal_bench_plot_serve(folder, &plan->streams, rows);
    shoal_bench_rows_free(&yardsticks);
    return st;
}

/* ---- shoal bench serve ----------------------------------------------------------------------- */

static shoal_status vocabulary(const shoal_options *o, uint32_t *out)
{
    shoal_model *model;
    *out = VOCAB_UNKNOWN;
    if (o->operand_count < 2)
        return SHOAL_OK;
    SHOAL_TRY(shoal_model_open(o->operands[1], &model));
    *out = (uint32_t)model->vocab;
    shoal_model_close(model);
    return SHOAL_OK;
}

static shoal_status plan_from(const shoal_options *o, shoal_bench_serve_plan *out)
{
    shoal_bench_serve_plan plan = {
        .rate = shoal_option_given(o, SHOAL_OPT_RATE) ? shoal_option_float(o, SHOAL_OPT_RATE) : NAN,
        .requests = shoal_option_int(o, SHOAL_OPT_REQUESTS),
        .prompts = {.text = shoal_option_int(o, SHOAL_OPT_PROMPTS) == 1,
                    .prompt_tokens = shoal_option_int(o, SHOAL_OPT_PROMPT_TOKENS),
                    .max_tokens = shoal_option_int(o, SHOAL_OPT_MAX_TOKENS),
                    .seed = (uint64_t)shoal_option_int(o, SHOAL_OPT_SEED)},
    };
    SHOAL_TRY(shoal_bench_streams_parse(shoal_option_text(o, SHOAL_OPT_STREAMS), &plan.streams));
    SHOAL_TRY(vocabulary(o, &plan.prompts.vocab));
    *out = plan;
    return SHOAL_OK;
}

static shoal_status bench_server(const shoal_options *o, shoal_bench_target *target,
                                 shoal_bench_child *server)
{
    shoal_bench_serve_plan plan;
    shoal_bench_rows rows = {0};
    const char *key_file = shoal_option_text(o, SHOAL_OPT_API_KEY_FILE);
    SHOAL_TRY(plan_from(o, &plan));
    if (key_file)
        SHOAL_TRY(shoal_bench_target_read_key(key_file, target));
    SHOAL_TRY(shoal_bench_target_resolve(target));
    plan.target = target;
    plan.server = server->pid ? server : NULL;
    shoal_status st = shoal_bench_serve_run(&plan, &rows);
    if (st == SHOAL_OK)
        st = report(o, &plan, &rows);
    shoal_bench_rows_free(&rows);
    return st;
}

static shoal_status bench_serve(const shoal_options *o)
{
    shoal_bench_target target;
    shoal_bench_child server = {.output = -1};
    shoal_status st;
    const char *url = shoal_option_text(o, SHOAL_OPT_URL);
    if (!url && o->operand_count < 2)
        return shoal_fail(SHOAL_ERR_USAGE, "which server? give a MODEL to serve, or --url");
    st = url ? shoal_bench_target_parse(url, &target) : start_server(o, &server, &target);
    if (st == SHOAL_OK)
        st = bench_server(o, &target, &server);
    (void)shoal_bench_child_stop(&server, 0);
    return st;
}

/* ---- shoal bench kernels --------------------------------------------------------------------- */

static shoal_status bench_kernels(const shoal_options *o)
{
    const char *folder = shoal_option_text(o, SHOAL_OPT_PLOT);
    shoal_bench_rows yardsticks = {0}, rows = {0};
    shoal_cpu_level cap;
    if (o->operand_count > 1)
        return shoal_fail(SHOAL_ERR_USAGE, "'bench kernels' takes no '%.100s'", o->operands[1]);
    SHOAL_TRY(shoal_cpu_cap(shoal_option_text(o, SHOAL_OPT_CPU), &cap));
    const int threads = shoal_option_given(o, SHOAL_OPT_THREADS)
                            ? (int)shoal_option_int(o, SHOAL_OPT_THREADS)
                            : shoal_default_threads(1);
    shoal_status st = shoal_bench_kernels_run(shoal_option_text(o, SHOAL_OPT_ROWS), threads, cap,
                                              &yardsticks, &rows);
    if (st == SHOAL_OK)
        st = shoal_bench_report(shoal_option_bool(o, SHOAL_OPT_JSON), &yardsticks, &rows);
    if (st == SHOAL_OK && folder)
        st = shoal_bench_plot_kernels(folder, &rows);
    shoal_bench_rows_free(&yardsticks);
    shoal_bench_rows_free(&rows);
    return st;
}

/* ---- shoal bench tokenizer ------------------------------------------------------------------- */

static shoal_status bench_tokenizer(const shoal_options *o)
{
    shoal_bench_rows yardsticks = {0}, rows = {0};
    const char *text = shoal_option_text(o, SHOAL_OPT_TEXT);
    if (o->operand_count < 2 || !text)
        return shoal_fail(SHOAL_ERR_USAGE, "'bench tokenizer' needs a MODEL and --text FILE");
    shoal_status st = shoal_bench_tokenizer_run(o->operands[1], text, &rows);
    if (st == SHOAL_OK)
        st = shoal_bench_report(shoal_option_bool(o, SHOAL_OPT_JSON), &yardsticks, &rows);
    shoal_bench_rows_free(&rows);
    return st;
}

/* ---- the kinds ------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    shoal_status (*run)(const shoal_options *);
    bool by_all; /* inside an MPI launch every rank has a part in it */
} bench_kind;

static const bench_kind kinds[] = {
    {"kernels", bench_kernels, false},       {"reduce", shoal_verb_bench_reduce, true},
    {"load", shoal_verb_bench_load, false},  {"convert", shoal_verb_bench_convert, false},
    {"model", shoal_verb_bench_model, true}, {"scaling", shoal_verb_bench_scaling, true},
    {"serve", bench_serve, false},           {"tokenizer", bench_tokenizer, false},
};

shoal_status shoal_verb_bench(const shoal_options *options)
{
    const char *names[sizeof kinds / sizeof *kinds], *wanted = options->operands[0];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        names[i] = kinds[i].name;
        if (strcmp(wanted, kinds[i].name) != 0)
            continue;
        if (!kinds[i].by_all && shoal_engine_is_follower())
            return SHOAL_OK;
        return kinds[i].run(options);
    }
    const char *near = shoal_nearest_word(wanted, names, sizeof names / sizeof *names);
    return shoal_fail(SHOAL_ERR_USAGE, "unknown bench '%.100s'; did you mean '%s'?", wanted,
                      near ? near : "serve");
}
