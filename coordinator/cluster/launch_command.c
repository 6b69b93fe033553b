/* The pure half of launch.h: words, variables, lines. */
#include <stdio.h>
#include <string.h>

#include "coordinator/cluster/launch.h"

static shoal_status add_word(shoal_launch_command *c, const char *word)
{
    if (c->count >= SHOAL_LAUNCH_WORDS_MAX)
        return shoal_fail(SHOAL_ERR_USAGE, "--mpi-args: more than %d words on mpirun's line",
                          SHOAL_LAUNCH_WORDS_MAX);
    c->words[c->count++] = word;
    c->words[c->count] = NULL;
    return SHOAL_OK;
}

/* One character of the word being built in `text`. */
static shoal_status add_char(shoal_launch_command *c, char ch)
{
    if (c->text_used + 1 >= sizeof c->text)
        return shoal_fail(SHOAL_ERR_USAGE, "--mpi-args: longer than %zu characters",
                          sizeof c->text);
    c->text[c->text_used++] = ch;
    return SHOAL_OK;
}

/* Words as a shell would see them: spaces separate, quotes and backslashes join. Nothing is
 * expanded. */
static shoal_status split(shoal_launch_command *c, const char *args)
{
    while (*args) {
        args += strspn(args, " \t\n");
        if (!*args)
            break;
        char *word = c->text + c->text_used;
        char quote = '\0';
        for (; *args && (quote || !strchr(" \t\n", *args)); args++) {
            if (quote && *args == quote)
                quote = '\0';
            else if (!quote && (*args == '"' || *args == '\''))
                quote = *args;
            else if (*args == '\\' && quote != '\'' && args[1])
                SHOAL_TRY(add_char(c, *++args));
            else
                SHOAL_TRY(add_char(c, *args));
        }
        if (quote)
            return shoal_fail(SHOAL_ERR_USAGE, "--mpi-args: a quote (%c) is not closed", quote);
        SHOAL_TRY(add_char(c, '\0'));
        SHOAL_TRY(add_word(c, word));
    }
    return SHOAL_OK;
}

/* A word of the first `length` characters. */
static shoal_status add_copy(shoal_launch_command *c, const char *from, size_t length)
{
    char *word = c->text + c->text_used;
    for (size_t i = 0; i < length; i++)
        SHOAL_TRY(add_char(c, from[i]));
    SHOAL_TRY(add_char(c, '\0'));
    return add_word(c, word);
}

static shoal_status add_number(shoal_launch_command *c, int number)
{
    char digits[16];
    (void)snprintf(digits, sizeof digits, "%d", number);
    return add_copy(c, digits, strlen(digits));
}

static shoal_status add_all(shoal_launch_command *c, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        SHOAL_TRY(add_word(c, words[i]));
    return SHOAL_OK;
}

#define ADD(command, ...)                                                                          \
    SHOAL_TRY(add_all(command, (const char *const[]){__VA_ARGS__},                                 \
                      sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)))

/* Ranks may exceed cores, and threads of a rank spread over cores: binding is not mpirun's job.
 * Nor is patience: when one rank dies the others are of no use, and mpirun would sleep a second
 * before it says who it was. */
shoal_status shoal_launch_compose(const shoal_launch_request *request, shoal_launch_command *c)
{
    c->count = 0;
    c->text_used = 0;
    ADD(c, "mpirun");
    if (request->as_root)
        ADD(c, "--allow-run-as-root");
    ADD(c, "--oversubscribe", "--bind-to", "none", "--mca", "odls_base_sigkill_timeout", "0");
    if (request->folder)
        ADD(c, "--mca", "orte_tmpdir_base", request->folder);
    if (request->shared_folder)
        ADD(c, "--mca", "btl_vader_backing_directory", request->shared_folder, "--mca",
            "osc_sm_backing_directory", request->shared_folder);
    if (request->hostfile)
        ADD(c, "--hostfile", request->hostfile);
    for (const char *const *v = request->variables; v && *v; v++) {
        ADD(c, "-x");
        SHOAL_TRY(add_copy(c, *v, strcspn(*v, "=")));
    }
    if (request->mpi_args)
        SHOAL_TRY(split(c, request->mpi_args));
    ADD(c, "-n");
    SHOAL_TRY(add_number(c, request->ranks));
    ADD(c, request->program);
    for (const char *const *word = request->arguments; *word; word++)
        SHOAL_TRY(add_word(c, *word));
    return SHOAL_OK;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

bool shoal_launch_keeps(const char *variable)
{
    static const char *const dropped[] = {
        "OMPI_MCA_orte_",
        "OMPI_MCA_ess",
        "OMPI_MCA_pmix",
        "OMPI_MCA_shmem_RUNTIME",
        "OMPI_MCA_initial_",
        "PMIX_",
        "PMI_",
        "ORTE_",
        "PRTE_",
        "OPAL_",
        "SLURM_PROCID",
        "SLURM_STEP",
    };
    for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
        if (begins(variable, dropped[i]))
            return false;
    return begins(variable, "OMPI_MCA_") || !begins(variable, "OMPI_");
}

bool shoal_launch_parse_victim(const char *line, shoal_launch_victim *v)
{
    const char *signal = strstr(line, "exited on signal ");
    const char *rank = strstr(line, "process rank ");
    if (sscanf(line, " Process name: [[%*u,%*u],%d]", &v->rank) == 1)
        return false;
    if (v->rank >= 0 && sscanf(line, " Exit code: %d", &v->code) == 1)
        return true;
    if (sscanf(line, "mpirun has exited due to process rank %d", &v->rank) == 1)
        return true; /* "exiting improperly": with 0, but without the end of MPI */
    return signal && rank && sscanf(signal, "exited on signal %d", &v->signal) == 1 &&
           sscanf(rank, "process rank %d", &v->rank) == 1;
}
