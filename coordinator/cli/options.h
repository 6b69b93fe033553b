/* coordinator/cli/options.h - the command line as a table.
 *
 * One row says everything about an option: names, type, limits, default, the verbs it belongs to
 * and one sentence of help. Parsing, environment names (SHOAL_ + the name in capitals), YAML keys,
 * --print-config, --help and the man page all read the same rows (coordinator/cli/option_table.c).
 *
 * A value comes from the first that has one: flag, environment, --config FILE, default. Every
 * fault is SHOAL_ERR_USAGE with a sentence that names the option, where the value came from, the
 * value and its limits; only a config file that cannot be read has codes of its own. Strings are
 * borrowed from argv and the environment or owned by the options record. Not here: what an option
 * means (the verbs know). */
#ifndef SHOAL_COORDINATOR_CLI_OPTIONS_H
#define SHOAL_COORDINATOR_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/arena.h"
#include "proto/status.h"

typedef enum {
    SHOAL_VERB_PLAN,
    SHOAL_VERB_INSPECT,
    SHOAL_VERB_GENERATE,
    SHOAL_VERB_EVAL,
    SHOAL_VERB_TOKENIZE,
    SHOAL_VERB_PACK,
    SHOAL_VERB_CONVERT,
    SHOAL_VERB_QUANTIZE,
    SHOAL_VERB_SERVE,
    SHOAL_VERB_WORKER,
    SHOAL_VERB_BENCH,
    SHOAL_VERB_DOCTOR,
    SHOAL_VERB_HELP,
    SHOAL_VERB_COUNT
} shoal_verb_id;

typedef enum {
    SHOAL_OPT_PROMPT,
    SHOAL_OPT_IDS,
    SHOAL_OPT_TEXT,
    SHOAL_OPT_LOGITS,
    SHOAL_OPT_CONTEXT,
    SHOAL_OPT_MAX_TOKENS,
    SHOAL_OPT_TEMPERATURE,
    SHOAL_OPT_TOP_K,
    SHOAL_OPT_TOP_P,
    SHOAL_OPT_MIN_P,
    SHOAL_OPT_REPETITION_PENALTY,
    SHOAL_OPT_IGNORE_EOS,
    SHOAL_OPT_DEQUANT,
    SHOAL_OPT_COMPARE,
    SHOAL_OPT_TENSORS,
    SHOAL_OPT_TO,
    SHOAL_OPT_ALLOW_REQUANTIZE,
    SHOAL_OPT_MAX_SHARD_SIZE,
    SHOAL_OPT_BACKUP,
    SHOAL_OPT_NO_SPECIAL,
    SHOAL_OPT_MESSAGES,
    SHOAL_OPT_JSONL,
    SHOAL_OPT_TEMPLATE,
    SHOAL_OPT_NOW,
    SHOAL_OPT_COORDINATOR,
    SHOAL_OPT_TOKEN_FILE,
    SHOAL_OPT_MAN,
    SHOAL_OPT_URL,
    SHOAL_OPT_STREAMS,
    SHOAL_OPT_RATE,
    SHOAL_OPT_REQUESTS,
    SHOAL_OPT_PROMPT_TOKENS,
    SHOAL_OPT_PROMPTS,
    SHOAL_OPT_ROWS,
    SHOAL_OPT_SHAPE,
    SHOAL_OPT_PROFILE,
    SHOAL_OPT_PLOT,
    SHOAL_OPT_HOST,
    SHOAL_OPT_PORT,
    SHOAL_OPT_API_KEY_FILE,
    SHOAL_OPT_SERVED_MODEL_NAME,
    SHOAL_OPT_MAX_BODY,
    SHOAL_OPT_MAX_CONNECTIONS,
    SHOAL_OPT_MAX_NUM_SEQS,
    SHOAL_OPT_MAX_QUEUE,
    SHOAL_OPT_KV_TOKENS,
    SHOAL_OPT_NO_PREFIX_CACHE,
    SHOAL_OPT_DRAIN_TIMEOUT,
    SHOAL_OPT_START_DEADLINE,
    SHOAL_OPT_LOAD_DEADLINE,
    SHOAL_OPT_DECODE_DEADLINE,
    SHOAL_OPT_PREFILL_DEADLINE,
    SHOAL_OPT_RANKS,
    SHOAL_OPT_EMULATE_RANKS,
    SHOAL_OPT_THREADS,
    SHOAL_OPT_CPU,
    SHOAL_OPT_ACTIVATIONS,
    SHOAL_OPT_QUANTIZE,
    SHOAL_OPT_KEEP,
    SHOAL_OPT_PREFILL_CHUNK,
    SHOAL_OPT_KV,
    SHOAL_OPT_MAX_MODEL_LEN,
    SHOAL_OPT_MEMORY,
    SHOAL_OPT_OFFLOAD,
    SHOAL_OPT_CAPACITY,
    SHOAL_OPT_SEED,
    SHOAL_OPT_EXPERT_PARALLEL,
    SHOAL_OPT_PROBE,
    SHOAL_OPT_LOAD,
    SHOAL_OPT_HOSTFILE,
    SHOAL_OPT_MPI_ARGS,
    SHOAL_OPT_COMM,
    SHOAL_OPT_REDUCE,
    SHOAL_OPT_JSON,
    SHOAL_OPT_LOG_LEVEL,
    SHOAL_OPT_LOG_JSON,
    SHOAL_OPT_CONFIG,
    SHOAL_OPT_PRINT_CONFIG,
    SHOAL_OPT_HELP,
    SHOAL_OPT_COUNT
} shoal_option_id;

typedef enum {
    SHOAL_TYPE_INT,
    SHOAL_TYPE_BYTES, /* a number with B, KiB, MiB, GiB, TiB (K, M, G, T mean the same) */
    SHOAL_TYPE_FLOAT,
    SHOAL_TYPE_STRING,
    SHOAL_TYPE_BOOL,
    SHOAL_TYPE_ENUM
} shoal_option_type;

/* Where --help prints it. */
typedef enum { SHOAL_SECTION_VERB, SHOAL_SECTION_RUN, SHOAL_SECTION_GENERAL } shoal_option_section;

typedef struct {
    const char *name;    /* "max-tokens"; --max-tokens, SHOAL_MAX_TOKENS, max-tokens: in YAML    */
    const char *aliases; /* other names, separated by spaces; one letter means -n                */
    const char *metavar; /* "N"                                                                  */
    shoal_option_type type;
    shoal_option_section section;
    double min, max;      /* numbers: both ends allowed                                          */
    const char *words;    /* enums: the allowed words, separated by spaces                       */
    const char *fallback; /* the default as text, or NULL: none                                  */
    uint32_t verbs;       /* bit per shoal_verb_id                                               */
    bool flag_only;       /* neither environment nor config                                      */
    const char *help;     /* one sentence                                                        */
} shoal_option;

/* [SHOAL_OPT_COUNT], indexed by shoal_option_id. */
extern const shoal_option shoal_option_table[SHOAL_OPT_COUNT];

typedef enum {
    SHOAL_FROM_NOWHERE,
    SHOAL_FROM_DEFAULT,
    SHOAL_FROM_CONFIG,
    SHOAL_FROM_ENVIRONMENT,
    SHOAL_FROM_FLAG
} shoal_option_source;

typedef struct {
    shoal_option_source source;
    const char *text; /* as it was written */
    int64_t integer;  /* INT, BYTES; the index of the word of an ENUM; BOOL 0 or 1 */
    double number;    /* FLOAT */
} shoal_option_value;

#define SHOAL_OPERANDS_MAX 3

typedef struct {
    shoal_verb_id verb;
    shoal_option_value values[SHOAL_OPT_COUNT];
    const char *operands[SHOAL_OPERANDS_MAX];
    int operand_count;
    const char *config_path; /* NULL: none */
    shoal_arena *arena;      /* strings of the config file */
} shoal_options;

/* Looks up a variable of the environment; tests give their own. */
typedef const char *(*shoal_environment)(const char *name);

/* Parse the words after the verb. `operands_max` <= SHOAL_OPERANDS_MAX; too few are found by
 * shoal_options_require_operands, so that --help works without them. */
SHOAL_MUST_USE shoal_status shoal_options_parse(shoal_verb_id verb, int operands_max, int argc,
                                                char *const *argv, shoal_environment environment,
                                                shoal_options *out);
void shoal_options_close(shoal_options *options);

/* Give an option of this verb a value from text; `where` ("--threads") starts the sentence of a
 * fault. A source weaker than the present one is ignored. */
SHOAL_MUST_USE shoal_status shoal_options_set(shoal_options *options, shoal_option_id id,
                                              const char *text, shoal_option_source source,
                                              const char *where);

/* The option that `name` (without dashes) names, or SHOAL_OPT_COUNT. '_' counts as '-' when
 * `loose`. */
shoal_option_id shoal_option_find(const char *name, bool loose);

/* "SHOAL_MAX_TOKENS" for "max-tokens"; `out` has room for 64 characters. */
void shoal_option_variable(const shoal_option *option, char out[64]);

/* The nearest option of a verb to a misspelt name, or NULL when none is near. */
const char *shoal_option_suggest(shoal_verb_id verb, const char *name);

/* The nearest of `count` words, or NULL when none is near. */
const char *shoal_nearest_word(const char *word, const char *const *words, size_t count);

/* "default", "config FILE", "environment NAME", "flag". */
void shoal_option_origin(const shoal_options *options, shoal_option_id id, char *out, size_t room);

static inline bool shoal_option_given(const shoal_options *o, shoal_option_id id)
{
    return o->values[id].source > SHOAL_FROM_DEFAULT;
}

static inline int64_t shoal_option_int(const shoal_options *o, shoal_option_id id)
{
    return o->values[id].integer;
}

static inline double shoal_option_float(const shoal_options *o, shoal_option_id id)
{
    return o->values[id].number;
}

static inline bool shoal_option_bool(const shoal_options *o, shoal_option_id id)
{
    return o->values[id].integer != 0;
}

/* The text, or NULL when the option has neither value nor default. */
static inline const char *shoal_option_text(const shoal_options *o, shoal_option_id id)
{
    return o->values[id].text;
}

/* coordinator/cli/config_yaml.c: apply the rows of a YAML mapping of option names to scalars.
 * SHOAL_ERR_NOTFOUND when the file cannot be opened, SHOAL_ERR_CONFIG for bad YAML or an unknown
 * name. Names that belong to other verbs are skipped, so that one file serves all. */
SHOAL_MUST_USE shoal_status shoal_config_read(const char *path, shoal_options *options);

#endif
