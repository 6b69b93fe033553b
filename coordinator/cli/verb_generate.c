#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/cli/inputs.h"
#include "coordinator/cli/run_request.h"
#include "coordinator/cli/verbs.h"
#include "coordinator/runner.h"
#include "coordinator/text/tokenizer.h"
#include "proto/log.h"
#include "shard/model.h"

/* Everything one generation holds. */
typedef struct {
    const shoal_options *options;
    shoal_model *model;
    shoal_tokenizer *tokenizer; /* NULL: the model has none */
    shoal_ids prompt;
    int32_t *tokens;
    shoal_run run;
    shoal_run_timing timing;
    shoal_detok *detok;
    shoal_strbuf text;
    bool live; /* show the text as it comes */
} generation;

/* ---- before: prompt, sampling ---------------------------------------------------------------- */

static shoal_status open_tokenizer(generation *g, const char *folder, bool needed)
{
    const shoal_status st = shoal_tokenizer_open(folder, &g->tokenizer);
    if (st == SHOAL_OK || needed)
        return st;
    shoal_log(st == SHOAL_ERR_NOTFOUND ? SHOAL_LOG_INFO : SHOAL_LOG_WARN, "tokenizer",
              "no text: %s", shoal_error_text());
    g->tokenizer = NULL;
    return SHOAL_OK;
}

static shoal_status read_prompt(generation *g)
{
    const char *text = shoal_option_text(g->options, SHOAL_OPT_PROMPT);
    const char *ids = shoal_option_text(g->options, SHOAL_OPT_IDS);
    SHOAL_TRY(open_tokenizer(g, g->options->operands[0], text != NULL));
    if (ids)
        return shoal_read_ids(ids, &g->prompt);
    SHOAL_TRY(shoal_tokenizer_encode(g->tokenizer, text, strlen(text), SHOAL_ENCODE_ADD_SPECIAL,
                                     &g->prompt));
    if (g->prompt.count == 0)
        return shoal_fail(SHOAL_ERR_USAGE,
                          "--prompt gives no tokens; there is nothing to continue");
    return SHOAL_OK;
}

static shoal_sampling read_sampling(const shoal_options *o)
{
    return (shoal_sampling){
        .temperature = (float)shoal_option_float(o, SHOAL_OPT_TEMPERATURE),
        .top_p = (float)shoal_option_float(o, SHOAL_OPT_TOP_P),
        .min_p = (float)shoal_option_float(o, SHOAL_OPT_MIN_P),
        .repetition_penalty = (float)shoal_option_float(o, SHOAL_OPT_REPETITION_PENALTY),
        .top_k = (int32_t)shoal_option_int(o, SHOAL_OPT_TOP_K),
        .seed = (uint64_t)shoal_option_int(o, SHOAL_OPT_SEED),
        .logprobs = -1,
    };
}

/* Generation also ends where the context does. */
static shoal_status plan_run(generation *g)
{
    void *array;
    const shoal_options *o = g->options;
    const int64_t prompt = (int64_t)g->prompt.count;
    int64_t context = g->model->reach, most = shoal_option_int(o, SHOAL_OPT_MAX_TOKENS);
    if (shoal_option_given(o, SHOAL_OPT_MAX_MODEL_LEN))
        context = shoal_option_int(o, SHOAL_OPT_MAX_MODEL_LEN);
    if (prompt >= context)
        return shoal_fail(SHOAL_ERR_USAGE,
                          "a prompt of %lld tokens leaves no room in a context of "
                          "%lld",
                          (long long)prompt, (long long)context);
    if (most > context - prompt)
        most = context - prompt;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, (uint64_t)most, sizeof(int32_t), &array));
    g->tokens = array;
    g->run = (shoal_run){
        .prompt = g->prompt.data,
        .prompt_count = prompt,
        .want = SHOAL_WANT_TOKEN,
        .sampling = read_sampling(o),
        .stop_ids = g->model->eos,
        .stop_count = shoal_option_bool(o, SHOAL_OPT_IGNORE_EOS) ? 0 : g->model->eos_count,
        .max_tokens = most,
        .tokens = g->tokens,
    };
    return SHOAL_OK;
}

static shoal_status prepare(generation *g)
{
    const shoal_options *o = g->options;
    if (shoal_option_given(o, SHOAL_OPT_PROMPT) == shoal_option_given(o, SHOAL_OPT_IDS))
        return shoal_fail(SHOAL_ERR_USAGE, "give either --prompt or --ids");
    SHOAL_TRY(shoal_model_open(o->operands[0], &g->model));
    SHOAL_TRY(read_prompt(g));
    SHOAL_TRY(shoal_check_ids(&g->prompt, g->model->vocab, "prompt"));
    SHOAL_TRY(plan_run(g));
    g->live = !shoal_option_bool(o, SHOAL_OPT_JSON);
    return g->tokenizer ? shoal_detok_create(g->tokenizer, true, &g->detok) : SHOAL_OK;
}

/* ---- during: text ---------------------------------------------------------------------------- */

static shoal_status say(generation *g, const char *text, size_t bytes)
{
    SHOAL_TRY(shoal_strbuf_append(&g->text, text, bytes));
    if (!g->live)
        return SHOAL_OK;
    SHOAL_TRY(shoal_report_bytes(text, bytes));
    return isatty(STDOUT_FILENO) ? shoal_report_flush() : SHOAL_OK;
}

static bool is_stop(const shoal_run *run, int32_t token)
{
    for (int i = 0; i < run->stop_count; i++)
        if (run->stop_ids[i] == token)
            return true;
    return false;
}

/* Without a tokenizer the ids themselves are what there is to see. */
static shoal_status on_token(void *context, int which, int32_t token)
{
    generation *g = context;
    const char *text;
    size_t bytes;
    (void)which;
    if (!g->detok)
        return g->live ? shoal_report_text("%s%d", g->run.token_count > 1 ? " " : "", token)
                       : SHOAL_OK;
    if (is_stop(&g->run, token))
        return SHOAL_OK;
    SHOAL_TRY(shoal_detok_push(g->detok, token, &text, &bytes));
    return say(g, text, bytes);
}

static shoal_status finish_text(generation *g)
{
    const char *text;
    size_t bytes;
    if (g->detok) {
        SHOAL_TRY(shoal_detok_flush(g->detok, &text, &bytes));
        SHOAL_TRY(say(g, text, bytes));
    }
    return g->live ? shoal_report_text("\n") : SHOAL_OK;
}

/* ---- after: the report ----------------------------------------------------------------------- */

static double rate(int64_t rows, double seconds)
{
    return seconds > 0 ? (double)rows / seconds : 0;
}

static json_t *timing_json(const generation *g, const shoal_engine *engine)
{
    const shoal_run_timing *t = &g->timing;
    return json_pack("{s:f, s:f, s:f, s:f}", "load_s", engine->facts.load_seconds, "load_gbps",
                     shoal_engine_load_rate(engine), "prefill_tps",
                     rate(t->prefill_rows, t->prefill_seconds), "decode_tps",
                     rate(t->decode_rows, t->decode_seconds));
}

static shoal_status print_json(const generation *g, const shoal_engine *engine)
{
    const shoal_run *run = &g->run;
    json_t *usage = json_pack("{s:I, s:I, s:I}", "prompt_tokens", (json_int_t)run->prompt_count,
                              "completion_tokens", (json_int_t)run->token_count, "total_tokens",
                              (json_int_t)(run->prompt_count + run->token_count));
    return shoal_report_json(json_pack(
        "{s:o, s:o, s:s, s:o, s:o, s:i, s:s, s:o, s:o}", "ids",
        shoal_json_ids(run->tokens, (size_t)run->token_count), "text",
        shoal_json_utf8(g->text.data, g->text.bytes), "finish_reason",
        run->stopped ? "stop" : "length", "usage", usage, "timing", timing_json(g, engine), "ranks",
        engine->ranks, "arithmetic", engine->facts.arithmetic, "kernels",
        shoal_json_kernels(engine->kernels, engine->kernel_count), "memory",
        shoal_json_memory(engine)));
}

static shoal_status print_summary(const generation *g, const shoal_engine *engine)
{
    const shoal_run_timing *t = &g->timing;
    SHOAL_TRY(shoal_report_flush());
    (void)fprintf(
        stderr,
        "%lld tokens (%s) on %d rank%s; loaded in %.2f s, prompt %.1f tokens/s, then %.1f "
        "tokens/s\n",
        (long long)g->run.token_count, g->run.stopped ? "stop" : "length", engine->ranks,
        engine->ranks == 1 ? "" : "s", engine->facts.load_seconds,
        rate(t->prefill_rows, t->prefill_seconds), rate(t->decode_rows, t->decode_seconds));
    return SHOAL_OK;
}

static shoal_status generate_on(generation *g, shoal_engine *engine)
{
    const shoal_run_hooks hooks = {.on_token = on_token, .context = g};
    SHOAL_TRY(shoal_run_all(engine, engine->limits.rows_max, &g->run, 1, &hooks, &g->timing));
    return finish_text(g);
}

static shoal_status run(generation *g)
{
    shoal_run_request request;
    shoal_engine *engine;
    SHOAL_TRY(shoal_run_request_from(g->options, &request));
    if (g->run.prompt) {
        shoal_run_request_longest(&request, g->model, shoal_run_tokens(&g->run));
        shoal_run_request_size(&request, shoal_run_tokens(&g->run), 1);
    }
    shoal_status st = shoal_engine_open(&request.engine, &engine);
    shoal_progress_end(&request.progress);
    if (st != SHOAL_OK)
        return st;
    st = generate_on(g, engine);
    if (st == SHOAL_OK && !g->live)
        st = print_json(g, engine);
    else if (st == SHOAL_OK)
        st = print_summary(g, engine);
    return shoal_run_request_close(engine, st);
}

static void release(generation *g)
{
    shoal_detok_destroy(g->detok);
    shoal_tokenizer_close(g->tokenizer);
    shoal_strbuf_free(&g->text);
    shoal_ids_free(&g->prompt);
    shoal_free(g->tokens);
    if (g->model)
        shoal_model_close(g->model);
}

shoal_status shoal_verb_generate(const shoal_options *options)
{
    generation g = {.options = options};
    shoal_status st = shoal_engine_is_follower() ? SHOAL_OK : prepare(&g);
    if (st == SHOAL_OK)
        st = run(&g);
    release(&g);
    return st;
}
