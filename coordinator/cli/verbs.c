#include "coordinator/cli/verbs.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/report.h"
#include "coordinator/cluster/interrupt.h"
#include "coordinator/version.h"
#include "proto/log.h"
#include "worker/comm.h"

const shoal_verb shoal_verb_table[SHOAL_VERB_COUNT] = {
    [SHOAL_VERB_PLAN] =
        {"plan", "MODEL", 1, 1, "show who would hold what, before reading a weight",
         "Reads headers only. Prints the ranges, bytes and KV tokens of every rank; "
         "with --memory the exit code is 2 when a rank does not fit.",
         "plan models/llama-70b -n 5 --memory 24GiB", shoal_verb_plan},
    [SHOAL_VERB_INSPECT] = {"inspect", "MODEL [TENSOR | MODEL]", 1, 2,
                            "explain a checkpoint, look into a tensor, or compare two",
                            "Without a tensor a page by roles. For one quantized linear the "
                            "integers, scales and zero points with their statistics and a "
                            "histogram. With --compare the weights of two models in which they "
                            "differ.",
                            "inspect models/tiny model.layers.0.mlp.down_proj", shoal_verb_inspect},
    [SHOAL_VERB_GENERATE] = {"generate", "MODEL", 1, 1, "continue a text",
                             "Ends after --max-tokens or at the model's end-of-sequence token, "
                             "which is among the ids but not in the text.",
                             "generate models/tiny -n 3 --prompt \"Once upon a time\"",
                             shoal_verb_generate},
    [SHOAL_VERB_EVAL] = {"eval", "MODEL", 1, 1, "write logits, or measure perplexity",
                         "Either --ids with --logits, or --text. Row t of the logits is computed "
                         "after token t.",
                         "eval models/tiny --ids prompt.json --logits out.safetensors",
                         shoal_verb_eval},
    [SHOAL_VERB_TOKENIZE] = {"tokenize", "MODEL", 1, 1, "text to token ids and back",
                             "Exactly one of --text, --ids, --messages and --jsonl. MODEL may also "
                             "be a tokenizer.json.",
                             "tokenize models/tiny --text \"Hello\" --json", shoal_verb_tokenize},
    [SHOAL_VERB_PACK] = {"pack", "MODEL OUT.shoal", 2, 2,
                         "write one file that any number of workers load fast",
                         "A pack file holds the weights in runs that no division among workers "
                         "cuts, each with a checksum, and the tokenizer; it is a MODEL for every "
                         "verb. --quantize makes integers of dense weights on the way.",
                         "pack models/tiny models/tiny.shoal", shoal_verb_pack},
    [SHOAL_VERB_CONVERT] = {"convert", "SRC DST", 2, 2, "write a model in another stored form",
                            "Reads any form that is read, writes what the target's own programs "
                            "load, and says of every weight whether it is exact. DST appears when "
                            "all of it is there; a killed conversion goes on where it was when it "
                            "is started again.",
                            "convert models/tiny-gptq models/tiny-awq --to awq",
                            shoal_verb_convert},
    [SHOAL_VERB_QUANTIZE] = {"quantize", "MODEL OUT", 0, 0, "quantize a model", "", NULL, NULL},
    [SHOAL_VERB_SERVE] = {"serve", "MODEL", 1, 1, "answer OpenAI clients over HTTP",
                          "Starts and watches its own workers; when one dies, the others are "
                          "started anew and every live request goes on. Prints "
                          "'ready http://HOST:PORT' once the model is loaded.",
                          "serve models/tiny -n 2 --port 8000", shoal_verb_serve},
    [SHOAL_VERB_WORKER] = {"worker", "", 0, 0, "one rank of a cluster: the MPI program",
                           "Started by mpirun, by hand or by a coordinator; joins the coordinator "
                           "at --coordinator with the token in --token-file.",
                           NULL, shoal_verb_worker},
    [SHOAL_VERB_BENCH] =
        {"bench", "convert|kernels|load|model|reduce|scaling|serve|tokenizer [MODEL]", 1, 2,
         "measure kernels, exchanges and models beside this machine's limits, or a "
         "server as its clients see it",
         "kernels: checks every kernel against the reference, then times it in "
         "turns with what limits it: reading the same bytes, or the best "
         "instruction on registers alone. fraction is the median over the turns. "
         "The limit of a batch row is 1.1 x the longer of the time of one input "
         "row and the time of the arithmetic at peak. In about three minutes. "
         "reduce: the exchange of a decode step beside MPI_Allreduce, for 2 and 4 "
         "ranks or those of -n. "
         "model: decode, prefill, batches and load of MODEL (or of one made up, "
         "--shape) beside read bandwidth and the best instruction's peak, for "
         "several setups of ranks and threads or the one of -n and --threads; "
         "with --profile, where the time of a step goes (ranks are threads of this "
         "process then, unless mpirun started them). "
         "scaling: the same model on more and more ranks: tokens per second, what "
         "each rank computes, exchanges and waits for, and the proof that all "
         "give the same bits. "
         "load: the same model as weights in memory, beside reading its files and no "
         "more, for 1 and 2 ranks or those of -n. "
         "convert: MODEL (or one made up) to the form --to, beside copying as many bytes "
         "as it reads and writes, the time of syncing apart. "
         "Under mpirun, reduce, model and scaling measure the ranks of the "
         "launch. "
         "serve: starts 'shoal serve MODEL' (or takes the server at --url), keeps "
         "1, 8 and 32 streams busy with random prompts, then lets requests arrive "
         "at random times. Reports tokens per second, time to the first token, "
         "time between tokens, and every failure; in about a minute. Options of "
         "'How it runs' are the server's. "
         "tokenizer: how long MODEL's tokenizer takes to open, and how fast one "
         "thread encodes and decodes the file --text.",
         "bench kernels --rows 'gemv|batch' --plot pictures", shoal_verb_bench},
    [SHOAL_VERB_DOCTOR] = {"doctor", "", 0, 0, "check this machine, or under mpirun the cluster",
                           "Every check says what it found and, where it failed, what helps.",
                           "doctor", shoal_verb_doctor},
    [SHOAL_VERB_HELP] = {"help", "[VERB]", 0, 1, "show help", "", NULL, shoal_verb_help},
};

static shoal_verb_id find_verb(const char *name)
{
    for (int i = 0; i < SHOAL_VERB_COUNT; i++)
        if (strcmp(name, shoal_verb_table[i].name) == 0)
            return (shoal_verb_id)i;
    return SHOAL_VERB_COUNT;
}

static shoal_status unknown_verb(const char *name)
{
    const char *names[SHOAL_VERB_COUNT];
    for (int i = 0; i < SHOAL_VERB_COUNT; i++)
        names[i] = shoal_verb_table[i].name;
    const char *near = shoal_nearest_word(name, names, SHOAL_VERB_COUNT);
    if (near)
        return shoal_fail(SHOAL_ERR_USAGE, "unknown verb '%s'; did you mean '%s'?", name, near);
    return shoal_fail(SHOAL_ERR_USAGE, "unknown verb '%.100s'; 'shoal --help' lists the verbs",
                      name);
}

shoal_status shoal_verb_help(const shoal_options *options)
{
    if (shoal_option_bool(options, SHOAL_OPT_MAN))
        return shoal_help_man();
    if (options->operand_count == 0)
        return shoal_help_all();
    const shoal_verb_id verb = find_verb(options->operands[0]);
    return verb == SHOAL_VERB_COUNT ? unknown_verb(options->operands[0]) : shoal_help_verb(verb);
}

static void configure_log(const shoal_options *options)
{
    shoal_log_level level = SHOAL_LOG_WARN;
    (void)shoal_log_parse_level(shoal_option_text(options, SHOAL_OPT_LOG_LEVEL), &level);
    shoal_log_configure(level, shoal_option_bool(options, SHOAL_OPT_LOG_JSON));
}

/* Which verbs do something on every rank of an MPI launch; the others speak on rank 0 only. */
static bool uses_world(shoal_verb_id verb)
{
    return verb == SHOAL_VERB_GENERATE || verb == SHOAL_VERB_EVAL || verb == SHOAL_VERB_WORKER ||
           verb == SHOAL_VERB_DOCTOR || verb == SHOAL_VERB_BENCH;
}

static shoal_status run_verb(const shoal_verb *verb, const shoal_options *options)
{
    int rank = 0, size = 1;
    if (shoal_option_bool(options, SHOAL_OPT_HELP))
        return shoal_help_verb(options->verb);
    if (shoal_option_bool(options, SHOAL_OPT_PRINT_CONFIG))
        return shoal_print_config(options);
    if (options->operand_count < verb->operands_min)
        return shoal_fail(SHOAL_ERR_USAGE, "not enough arguments; usage: shoal %s %s [options]",
                          verb->name, verb->operands);
    configure_log(options);
    if (!uses_world(options->verb) && shoal_comm_mpi_launched(&rank, &size) && rank > 0)
        return SHOAL_OK;
    return verb->run(options);
}

static const char *read_environment(const char *name)
{
    return getenv(name);
}

static bool asks_for_help(int argc, char *const *argv)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static shoal_status dispatch(int argc, char *const *argv)
{
    shoal_options options;
    const shoal_verb_id id = find_verb(argv[1]);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return shoal_help_all();
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return shoal_report_text("shoal %s\n", SHOAL_VERSION);
    if (id == SHOAL_VERB_COUNT)
        return unknown_verb(argv[1]);

    const shoal_verb *verb = &shoal_verb_table[id];
    if (!verb->run && asks_for_help(argc, argv))
        return shoal_help_verb(id);
    if (!verb->run)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "this verb is not in this version of shoal");
    SHOAL_TRY(shoal_options_parse(id, verb->operands_max, argc - 2, argv + 2, read_environment,
                                  &options));
    const shoal_status st = run_verb(verb, &options);
    shoal_options_close(&options);
    return st;
}

/* Ranks that fail together would say the same sentence many times: rank 0 speaks, and any other
 * rank only when the fault is its own. `verb` is NULL when no known verb was named. */
static void print_failure(const char *verb, shoal_status st)
{
    const char *space = verb ? " " : "";
    int rank = 0, size = 1;
    const char *text = shoal_error_text();
    verb = verb ? verb : "";
    const bool launched = shoal_comm_mpi_launched(&rank, &size);
    if (launched && rank > 0 && (st == SHOAL_ERR_USAGE || strncmp(text, "rank ", 5) == 0))
        return;
    (void)fflush(stdout);
    if (launched && rank > 0)
        (void)fprintf(stderr, "shoal%s%s: on rank %d: %s\n", space, verb, rank, text);
    else
        (void)fprintf(stderr, "shoal%s%s: %s\n", space, verb,
                      text[0] ? text : shoal_status_name(st));
    if (st == SHOAL_ERR_USAGE)
        (void)fprintf(stderr, "'shoal%s%s --help' shows what can be said\n", space, verb);
}

int shoal_cli_main(int argc, char *const *argv)
{
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write, not a death */
    if (argc < 2) {
        (void)fprintf(stderr, "usage: shoal VERB ...; 'shoal --help' lists the verbs\n");
        return SHOAL_ERR_USAGE;
    }
    shoal_error_clear();
    shoal_status st = dispatch(argc, argv);
    if (st == SHOAL_OK)
        st = shoal_report_flush();
    if (st != SHOAL_OK)
        print_failure(find_verb(argv[1]) == SHOAL_VERB_COUNT ? NULL : argv[1], st);
    shoal_interrupt_finish();
    return (int)st;
}
