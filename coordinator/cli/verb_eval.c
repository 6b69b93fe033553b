#include <math.h>
#include <stdio.h>

#include "coordinator/cli/inputs.h"
#include "coordinator/cli/run_request.h"
#include "coordinator/cli/verbs.h"
#include "coordinator/runner.h"
#include "coordinator/text/tokenizer.h"
#include "shard/model.h"
#include "shard/safetensors_write.h"

#define TEXT_FILE_MAX   (1u << 30)
#define DEFAULT_CONTEXT 256

/* Windows of a text run side by side, up to this many. */
#define WINDOWS_AT_ONCE 8

typedef struct {
    const shoal_options *options;
    shoal_model *model;
    shoal_ids ids;
    int64_t window;        /* --text: tokens per run; --ids: all */
    shoal_run *runs;       /* [run_count] */
    int run_count;         /*             */
    shoal_st_writer *file; /* --logits */
    shoal_run_timing timing;
    shoal_progress progress;
} evaluation;

/* ---- before ---------------------------------------------------------------------------------- */

static shoal_status check_options(const shoal_options *o)
{
    const bool ids = shoal_option_given(o, SHOAL_OPT_IDS);
    const bool text = shoal_option_given(o, SHOAL_OPT_TEXT);
    const bool logits = shoal_option_given(o, SHOAL_OPT_LOGITS);
    if (ids == text || ids != logits)
        return shoal_fail(SHOAL_ERR_USAGE, "give either --ids and --logits, or --text");
    if (ids && shoal_option_given(o, SHOAL_OPT_CONTEXT))
        return shoal_fail(SHOAL_ERR_USAGE, "--context belongs to --text; --ids are run as one");
    return SHOAL_OK;
}

static shoal_status read_text(evaluation *e)
{
    shoal_tokenizer *tokenizer;
    shoal_strbuf text = {0};
    SHOAL_TRY(shoal_tokenizer_open(e->options->operands[0], &tokenizer));
    shoal_status st =
        shoal_read_file(shoal_option_text(e->options, SHOAL_OPT_TEXT), TEXT_FILE_MAX, &text);
    if (st == SHOAL_OK)
        st = shoal_tokenizer_encode(tokenizer, text.data ? text.data : "", text.bytes, 0, &e->ids);
    shoal_strbuf_free(&text);
    shoal_tokenizer_close(tokenizer);
    return st;
}

static shoal_status add_runs(evaluation *e, int64_t count, shoal_want want)
{
    void *array;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)count, sizeof *e->runs, &array));
    e->runs = array;
    e->run_count = (int)count;
    for (int i = 0; i < e->run_count; i++)
        e->runs[i] = (shoal_run){.prompt = e->ids.data + i * e->window,
                                 .prompt_count = e->window,
                                 .want = want,
                                 .sampling = {.logprobs = -1}};
    return SHOAL_OK;
}

/* Consecutive windows; a short last one is dropped. */
static shoal_status prepare_text(evaluation *e)
{
    SHOAL_TRY(read_text(e));
    e->window = shoal_option_given(e->options, SHOAL_OPT_CONTEXT)
                    ? shoal_option_int(e->options, SHOAL_OPT_CONTEXT)
                    : DEFAULT_CONTEXT;
    if (e->window < 2)
        return shoal_fail(SHOAL_ERR_USAGE, "--context %lld: a window needs 2 tokens to predict one",
                          (long long)e->window);
    const int64_t windows = (int64_t)e->ids.count / e->window;
    if (windows < 1 || windows > INT32_MAX)
        return shoal_fail(SHOAL_ERR_USAGE, "%s gives %zu tokens, less than one window of %lld",
                          shoal_option_text(e->options, SHOAL_OPT_TEXT), e->ids.count,
                          (long long)e->window);
    SHOAL_TRY(shoal_check_ids(&e->ids, e->model->vocab, "the text"));
    return add_runs(e, windows, SHOAL_WANT_NLL);
}

static shoal_status prepare_ids(evaluation *e)
{
    const char *path = shoal_option_text(e->options, SHOAL_OPT_IDS);
    SHOAL_TRY(shoal_read_ids(path, &e->ids));
    SHOAL_TRY(shoal_check_ids(&e->ids, e->model->vocab, path));
    e->window = (int64_t)e->ids.count;
    const shoal_tensor_decl logits = {
        .name = "logits", .dtype = SHOAL_F32, .rank = 2, .shape = {e->window, e->model->vocab}};
    SHOAL_TRY(shoal_st_writer_create(shoal_option_text(e->options, SHOAL_OPT_LOGITS), &logits, 1,
                                     &e->file));
    return add_runs(e, 1, SHOAL_WANT_LOGITS);
}

static shoal_status prepare(evaluation *e)
{
    SHOAL_TRY(check_options(e->options));
    SHOAL_TRY(shoal_model_open(e->options->operands[0], &e->model));
    if (shoal_option_given(e->options, SHOAL_OPT_IDS))
        return prepare_ids(e);
    return prepare_text(e);
}

/* ---- during ---------------------------------------------------------------------------------- */

static shoal_status on_row(void *context, int which, int64_t row, const float *logits,
                           int64_t vocab)
{
    evaluation *e = context;
    (void)which, (void)row; /* one run, rows ascending: the order of the file */
    return shoal_st_writer_append(e->file, logits, (uint64_t)vocab * sizeof *logits);
}

static void on_progress(void *context, uint64_t done, uint64_t total)
{
    evaluation *e = context;
    shoal_progress_update(&e->progress, done, total);
}

static shoal_status evaluate_on(evaluation *e, shoal_engine *engine)
{
    const shoal_run_hooks hooks = {.on_row = on_row, .on_progress = on_progress, .context = e};
    shoal_progress_begin(&e->progress, "eval");
    const shoal_status st =
        shoal_run_all(engine, engine->limits.rows_max, e->runs, e->run_count, &hooks, &e->timing);
    shoal_progress_end(&e->progress);
    if (st != SHOAL_OK || !e->file)
        return st;
    shoal_st_writer *file = e->file;
    e->file = NULL;
    return shoal_st_writer_finish(file);
}

/* ---- after ----------------------------------------------------------------------------------- */

typedef struct {
    double nll, ppl;
    int64_t tokens;
} perplexity;

static perplexity measure(const evaluation *e)
{
    perplexity p = {0};
    for (int i = 0; i < e->run_count; i++)
        p.nll += e->runs[i].nll;
    p.tokens = e->run_count * (e->window - 1);
    p.ppl = exp(p.nll / (double)p.tokens);
    return p;
}

/* What both reports share. */
static json_t *run_json(const evaluation *e, const shoal_engine *engine)
{
    const shoal_run_timing *t = &e->timing;
    const double tps = t->prefill_seconds > 0 ? (double)t->prefill_rows / t->prefill_seconds : 0;
    return json_pack("{s:i, s:s, s:{s:f, s:f, s:f}, s:o, s:o}", "ranks", engine->ranks,
                     "arithmetic", engine->facts.arithmetic, "timing", "load_s",
                     engine->facts.load_seconds, "load_gbps", shoal_engine_load_rate(engine),
                     "prefill_tps", tps, "kernels",
                     shoal_json_kernels(engine->kernels, engine->kernel_count), "memory",
                     shoal_json_memory(engine));
}

static shoal_status print_json(const evaluation *e, const shoal_engine *engine)
{
    json_t *report = run_json(e, engine);
    const perplexity p = measure(e);
    json_t *own = e->runs[0].want == SHOAL_WANT_NLL
                      ? json_pack("{s:f, s:f, s:I}", "ppl", p.ppl, "nll", p.nll, "tokens",
                                  (json_int_t)p.tokens)
                      : json_pack("{s:s, s:I, s:I}", "logits",
                                  shoal_option_text(e->options, SHOAL_OPT_LOGITS), "tokens",
                                  (json_int_t)e->window, "vocab", (json_int_t)e->model->vocab);
    if (!report || !own || json_object_update(report, own) != 0) {
        json_decref(report);
        report = NULL;
    }
    json_decref(own);
    return shoal_report_json(report);
}

static shoal_status print_text(const evaluation *e)
{
    const perplexity p = measure(e);
    if (e->runs[0].want == SHOAL_WANT_NLL)
        return shoal_report_text(
            "perplexity %.6f (nll %.6f over %lld tokens, %d windows of %lld)\n", p.ppl, p.nll,
            (long long)p.tokens, e->run_count, (long long)e->window);
    return shoal_report_text("%s: logits [%lld, %lld]\n",
                             shoal_option_text(e->options, SHOAL_OPT_LOGITS), (long long)e->window,
                             (long long)e->model->vocab);
}

static void size_request(const evaluation *e, shoal_run_request *request)
{
    int64_t at_once = e->run_count < WINDOWS_AT_ONCE ? e->run_count : WINDOWS_AT_ONCE;
    shoal_run_request_longest(request, e->model, e->window);
    shoal_run_request_size(request, at_once * e->window, at_once);
    if (e->runs[0].want == SHOAL_WANT_NLL && request->engine.settings.prefill_chunk < 2)
        request->engine.settings.prefill_chunk = 2; /* a prediction takes two rows */
    if (request->engine.settings.memory && !shoal_option_given(e->options, SHOAL_OPT_MAX_MODEL_LEN))
        request->engine.settings.context = e->window;
}

static shoal_status run(evaluation *e)
{
    shoal_run_request request;
    shoal_engine *engine;
    SHOAL_TRY(shoal_run_request_from(e->options, &request));
    if (e->run_count)
        size_request(e, &request);
    shoal_status st = shoal_engine_open(&request.engine, &engine);
    shoal_progress_end(&request.progress);
    if (st != SHOAL_OK)
        return st;
    st = evaluate_on(e, engine);
    if (st == SHOAL_OK)
        st = shoal_option_bool(e->options, SHOAL_OPT_JSON) ? print_json(e, engine) : print_text(e);
    return shoal_run_request_close(engine, st);
}

static void release(evaluation *e)
{
    shoal_st_writer_abandon(e->file);
    shoal_free(e->runs);
    shoal_ids_free(&e->ids);
    if (e->model)
        shoal_model_close(e->model);
}

shoal_status shoal_verb_eval(const shoal_options *options)
{
    evaluation e = {.options = options};
    shoal_status st = shoal_engine_is_follower() ? SHOAL_OK : prepare(&e);
    if (st == SHOAL_OK)
        st = run(&e);
    release(&e);
    return st;
}
