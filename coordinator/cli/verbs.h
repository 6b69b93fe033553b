/* coordinator/cli/verbs.h - the verbs of the program as a table, and what all of them share.
 *
 * A verb is a row and a function in coordinator/cli/verb_<name>.c. It returns a status and leaves
 * printing of the failure, and the exit code, to shoal_cli_main. */
#ifndef SHOAL_COORDINATOR_CLI_VERBS_H
#define SHOAL_COORDINATOR_CLI_VERBS_H

#include "coordinator/cli/options.h"
#include "proto/status.h"

typedef struct {
    const char *name;
    const char *operands; /* "MODEL [TENSOR]" */
    int operands_min, operands_max;
    const char *summary; /* half a line for the list of verbs        */
    const char *detail;  /* a few sentences for its own help         */
    const char *example; /* a command line, without "shoal "; or NULL */
    shoal_status (*run)(const shoal_options *options); /* NULL: not in this version */
} shoal_verb;

/* [SHOAL_VERB_COUNT], indexed by shoal_verb_id. */
extern const shoal_verb shoal_verb_table[SHOAL_VERB_COUNT];

/* The whole program: returns the exit code. */
int shoal_cli_main(int argc, char *const *argv);

shoal_status shoal_verb_plan(const shoal_options *options);
shoal_status shoal_verb_pack(const shoal_options *options);
shoal_status shoal_verb_convert(const shoal_options *options);
shoal_status shoal_verb_inspect(const shoal_options *options);
shoal_status shoal_verb_generate(const shoal_options *options);
shoal_status shoal_verb_eval(const shoal_options *options);
shoal_status shoal_verb_tokenize(const shoal_options *options);
shoal_status shoal_verb_serve(const shoal_options *options);
shoal_status shoal_verb_worker(const shoal_options *options);
shoal_status shoal_verb_bench(const shoal_options *options);
shoal_status shoal_verb_doctor(const shoal_options *options);
shoal_status shoal_verb_help(const shoal_options *options);

/* coordinator/cli/help.c */
SHOAL_MUST_USE shoal_status shoal_help_all(void);
SHOAL_MUST_USE shoal_status shoal_help_verb(shoal_verb_id verb);
SHOAL_MUST_USE shoal_status shoal_help_man(void);
SHOAL_MUST_USE shoal_status shoal_print_config(const shoal_options *options);

#endif
