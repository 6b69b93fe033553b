/* `shoal bench reduce`: declared in cli/verb_bench.h. Outside an MPI launch it starts one of its
 * own for every number of ranks, and reads what rank 0 says. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/bench/bench_report.h"
#include "coordinator/bench/child.h"
#include "coordinator/bench/plot_bars.h"
#include "coordinator/bench/reduce_bench.h"
#include "coordinator/cli/verb_bench.h"
#include "coordinator/cluster/launch.h"
#include "coordinator/cluster/run_folder.h"
#include "coordinator/engine.h"
#include "proto/arena.h"

#define LINE_ROOM     1024
#define DOCUMENT_ROOM 65536

/* How long a launch that has said everything may take to end. */
#define END_SECONDS 10.0

typedef struct {
    shoal_bench_rows rows, yardsticks;
} findings;

static shoal_status print_findings(const shoal_options *o, const findings *f)
{
    const char *folder = shoal_option_text(o, SHOAL_OPT_PLOT);
    SHOAL_TRY(shoal_bench_report(shoal_option_bool(o, SHOAL_OPT_JSON), &f->yardsticks, &f->rows));
    return folder ? shoal_bench_plot_bars(folder, "reduce", SHOAL_BENCH_BARS_FRACTION, &f->rows)
                  : SHOAL_OK;
}

/* ---- one of the ranks ------------------------------------------------------------------------ */

static shoal_status run_rank(const shoal_options *o, int size, findings *f)
{
    shoal_comm *comm;
    shoal_cpu_level cap;
    int threads = (int)shoal_option_int(o, SHOAL_OPT_THREADS);
    if (shoal_option_given(o, SHOAL_OPT_RANKS) && shoal_option_int(o, SHOAL_OPT_RANKS) != size)
        return shoal_fail(SHOAL_ERR_USAGE, "-n %d inside an MPI launch of %d ranks",
                          (int)shoal_option_int(o, SHOAL_OPT_RANKS), size);
    if (threads == 0)
        threads = shoal_default_threads(shoal_ranks_on_node(size));
    SHOAL_TRY(shoal_cpu_cap(shoal_option_text(o, SHOAL_OPT_CPU), &cap));
    SHOAL_TRY(shoal_comm_mpi_open(threads, shoal_option_int(o, SHOAL_OPT_COMM) == 1, &comm));
    shoal_status st = shoal_bench_reduce_run(comm, cap, &f->rows, &f->yardsticks);
    if (st == SHOAL_OK && comm->rank == 0)
        st = print_findings(o, f);
    comm->broken |= st != SHOAL_OK;
    shoal_comm_close(comm);
    return st;
}

/* ---- who starts the ranks -------------------------------------------------------------------- */

/* The document of rank 0 ends with a brace of its own. */
static shoal_status read_document(shoal_bench_child *child, char *out, size_t room)
{
    size_t used = 0;
    char line[LINE_ROOM];
    do {
        SHOAL_TRY(shoal_bench_child_line(child, line, sizeof line));
        const int n = snprintf(out + used, room - used, "%s\n", line);
        if (n < 0 || (size_t)n >= room - used)
            return shoal_fail(SHOAL_ERR_INTERNAL, "the ranks say more than %zu bytes", room);
        used += (size_t)n;
    } while (strcmp(line, "}") != 0);
    return SHOAL_OK;
}

static double number_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static shoal_status take_rows(const json_t *list, shoal_bench_rows *rows)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        shoal_bench_row row = {.value = number_at(one, "value"),
                               .unit = "us",
                               .limit = number_at(one, "limit"),
                               .fraction = number_at(one, "fraction"),
                               .spread = number_at(one, "spread")};
        const char *name = json_string_value(json_object_get(one, "name"));
        (void)snprintf(row.name, sizeof row.name, "%s", name ? name : "");
        SHOAL_TRY(shoal_bench_rows_put(rows, &row));
    }
    return SHOAL_OK;
}

static shoal_status take_document(const char *text, findings *f)
{
    json_t *document = json_loads(text, 0, NULL);
    if (!document)
        return shoal_fail(SHOAL_ERR_INTERNAL, "the ranks say something else than a report");
    shoal_status st = take_rows(json_object_get(document, "rows"), &f->rows);
    if (st == SHOAL_OK)
        st = take_rows(json_object_get(document, "yardsticks"), &f->yardsticks);
    json_decref(document);
    return st;
}

static shoal_status compose(const shoal_options *o, int ranks, const shoal_run_folder *folder,
                            const char *program, const char *const *arguments,
                            shoal_launch_command *command)
{
    const shoal_launch_request request = {
        .ranks = ranks,
        .program = program,
        .arguments = arguments,
        .folder = folder->path,
        .shared_folder = folder->shared[0] ? folder->shared : NULL,
        .hostfile = shoal_option_text(o, SHOAL_OPT_HOSTFILE),
        .mpi_args = shoal_option_text(o, SHOAL_OPT_MPI_ARGS),
        .as_root = geteuid() == 0,
    };
    return shoal_launch_compose(&request, command);
}

static shoal_status run_launch(const shoal_options *o, int ranks, const shoal_run_folder *folder,
                               findings *f)
{
    static char document[DOCUMENT_ROOM];
    static shoal_launch_command command;
    char program[PATH_MAX], threads[32], comm[32];
    shoal_bench_child child;
    shoal_own_path(program);
    char cpu[64];
    const char *arguments[7] = {"bench", "reduce", "--json", comm};
    int count = 4;
    (void)snprintf(comm, sizeof comm, "--comm=%s", shoal_option_text(o, SHOAL_OPT_COMM));
    (void)snprintf(threads, sizeof threads, "--threads=%d",
                   (int)shoal_option_int(o, SHOAL_OPT_THREADS));
    if (shoal_option_given(o, SHOAL_OPT_THREADS))
        arguments[count++] = threads;
    if (shoal_option_given(o, SHOAL_OPT_CPU)) {
        (void)snprintf(cpu, sizeof cpu, "--cpu=%s", shoal_option_text(o, SHOAL_OPT_CPU));
        arguments[count] = cpu;
    }
    SHOAL_TRY(compose(o, ranks, folder, program, arguments, &command));
    SHOAL_TRY(shoal_bench_child_start(command.words, NULL, &child));
    shoal_status st = read_document(&child, document, sizeof document);
    if (!shoal_bench_child_stop(&child, st == SHOAL_OK ? END_SECONDS : 0) && st == SHOAL_OK)
        st = shoal_fail(SHOAL_ERR_UNAVAILABLE, "the launch of %d ranks did not end well", ranks);
    return st == SHOAL_OK ? take_document(document, f) : st;
}

static shoal_status run_launches(const shoal_options *o, findings *f)
{
    static const int counts[] = {2, 4};
    const bool given = shoal_option_given(o, SHOAL_OPT_RANKS);
    shoal_status st = SHOAL_OK;
    shoal_run_folder folder;
    /* hwloc would look for graphics cards by opening X displays, which can take seconds. */
    (void)setenv("HWLOC_COMPONENTS", "-gl", 0);
    SHOAL_TRY(shoal_run_folder_create(&folder));
    if (given)
        st = run_launch(o, (int)shoal_option_int(o, SHOAL_OPT_RANKS), &folder, f);
    for (size_t i = 0; !given && i < sizeof counts / sizeof *counts && st == SHOAL_OK; i++)
        st = run_launch(o, counts[i], &folder, f);
    shoal_run_folder_remove(&folder);
    return st == SHOAL_OK ? print_findings(o, f) : st;
}

shoal_status shoal_verb_bench_reduce(const shoal_options *options)
{
    int rank, size;
    findings f = {0};
    if (options->operand_count > 1)
        return shoal_fail(SHOAL_ERR_USAGE, "bench reduce needs no model");
    if (shoal_option_given(options, SHOAL_OPT_ROWS))
        return shoal_fail(SHOAL_ERR_USAGE, "bench reduce measures all its rows: no --rows");
    const shoal_status st = shoal_comm_mpi_launched(&rank, &size) ? run_rank(options, size, &f)
                                                                  : run_launches(options, &f);
    shoal_bench_rows_free(&f.rows);
    shoal_bench_rows_free(&f.yardsticks);
    return st;
}
