#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coordinator/cli/machine.h"
#include "coordinator/cli/report.h"
#include "coordinator/cli/run_request.h"
#include "coordinator/cli/verbs.h"
#include "coordinator/cluster/launch.h"
#include "coordinator/cluster/run_folder.h"
#include "kernels/linear_row.h"
#include "kernels/topology.h"

#define DETAIL_MAX 512

/* Shared memory that a start with a few ranks takes. */
#define SHARED_BYTES_MIN (16ull << 20)
#define FILES_MIN        256
#define MPIRUN_SECONDS   30

/* The JSON of one rank's checks, as it travels to rank 0. */
#define GATHER_BYTES 16384

typedef struct {
    bool ok;
    char detail[DETAIL_MAX], fix[DETAIL_MAX];
} finding;

static void found(finding *f, bool ok, const char *fix, const char *fmt, ...) SHOAL_PRINTF(4, 5);
static void found(finding *f, bool ok, const char *fix, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(f->detail, sizeof f->detail, fmt, args);
    va_end(args);
    f->ok = ok;
    (void)snprintf(f->fix, sizeof f->fix, "%s", ok ? "" : fix);
}

/* ---- the checks ------------------------------------------------------------------------------ */

static void check_cpu(const shoal_options *o, finding *f)
{
    char names[128] = "";
    shoal_cpu_level cap;
    if (shoal_cpu_cap(shoal_option_text(o, SHOAL_OPT_CPU), &cap) != SHOAL_OK) {
        found(f, false, "unset SHOAL_CPU, or name a level of this machine", "%s",
              shoal_error_text());
        return;
    }
    for (int level = 0; level < SHOAL_CPU_LEVELS; level++)
        if (shoal_cpu_has((shoal_cpu_level)level))
            (void)snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s",
                           names[0] ? ", " : "", shoal_cpu_name((shoal_cpu_level)level));
    found(f, true, "", "has %s; uses up to %s", names, shoal_cpu_name(cap));
}

static void check_rows(const shoal_options *o, finding *f)
{
    shoal_cpu_level cap;
    char names[DETAIL_MAX - 32] = "";
    if (shoal_cpu_cap(shoal_option_text(o, SHOAL_OPT_CPU), &cap) != SHOAL_OK)
        cap = SHOAL_CPU_REF;
    for (size_t i = 0; i < shoal_linear_row_count; i++) {
        const shoal_linear_row *row = &shoal_linear_rows[i];
        if (row->needs <= cap && shoal_cpu_has(row->needs))
            (void)snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s",
                           names[0] ? ", " : "", row->name);
    }
    found(f, true, "", "%s", names);
}

static void check_cores(const shoal_options *o, finding *f)
{
    shoal_machine machine;
    (void)o;
    shoal_machine_read(&machine);
    found(f, true, "", "%d usable of %ld", machine.cores, machine.cores_online);
}

/* What runs without -n and --threads would take. */
static void check_topology(const shoal_options *o, finding *f)
{
    shoal_topology t;
    (void)o;
    if (shoal_topology_read(&t) != SHOAL_OK) {
        found(f, false, "give -n and --threads by hand", "%s", shoal_error_text());
        return;
    }
    const int ranks = shoal_topology_ranks(&t);
    found(f, true, "",
          "%d cores (%d processors) of %d NUMA nodes, %d L3 caches, %d packages; by default %d "
          "ranks of %d threads",
          t.core_count, t.processors, t.nodes, t.caches, t.packages, ranks,
          shoal_topology_threads(&t, ranks));
    shoal_topology_free(&t);
}

static void check_memory(const shoal_options *o, finding *f)
{
    shoal_machine machine;
    char bytes[32];
    (void)o;
    shoal_machine_read(&machine);
    const bool known = machine.memory_available > 0;
    shoal_format_bytes(machine.memory_available, bytes, sizeof bytes);
    found(f, known, "mount /proc", "%s available", known ? bytes : "an unknown amount is");
}

static void check_shared_memory(const shoal_options *o, finding *f)
{
    (void)o;
    struct statvfs info;
    char bytes[32];
    if (statvfs("/dev/shm", &info) != 0) {
        found(f, false, "mount a tmpfs on /dev/shm", "/dev/shm is not there");
        return;
    }
    const uint64_t free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    shoal_format_bytes(free_bytes, bytes, sizeof bytes);
    found(f, free_bytes >= SHARED_BYTES_MIN,
          "free some of it, or give the container more (docker run --shm-size)",
          "%s free in /dev/shm", bytes);
}

static void check_folder(const shoal_options *o, finding *f)
{
    (void)o;
    shoal_run_folder folder;
    if (shoal_run_folder_create(&folder) != SHOAL_OK) {
        found(f, false, "set TMPDIR to a folder that can be written", "%s", shoal_error_text());
        return;
    }
    found(f, true, "", "%s can be written", folder.path);
    shoal_run_folder_remove(&folder);
}

static void check_files(const shoal_options *o, finding *f)
{
    (void)o;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        limit.rlim_cur = 0;
    found(f, limit.rlim_cur >= FILES_MIN, "raise it: ulimit -n 1024", "%llu files may be open",
          (unsigned long long)limit.rlim_cur);
}

static int note_library(struct dl_phdr_info *info, size_t size, void *context)
{
    static const char *const wanted[] = {"libmpi.",    "libjansson", "libprotobuf-c",
                                         "libxxhash",  "libyaml",    "libcrypto",
                                         "libpcre2-8", "libhwloc",   "libutf8proc"};
    char *out = context;
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash ? slash + 1 : info->dlpi_name;
    (void)size;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (strncmp(name, wanted[i], strlen(wanted[i])) == 0)
            (void)snprintf(out + strlen(out), DETAIL_MAX - strlen(out), "%s%s", out[0] ? ", " : "",
                           name);
    return 0;
}

/* The program would not run without them; which versions were found is what helps. */
static void check_libraries(const shoal_options *o, finding *f)
{
    (void)o;
    char names[DETAIL_MAX] = "";
    (void)dl_iterate_phdr(note_library, names);
    found(f, names[0] != '\0', "link the program dynamically", "%s",
          names[0] ? names : "none is loaded");
}

static bool wait_for_end(shoal_launch *launch)
{
    for (int ms = 0; ms < MPIRUN_SECONDS * 1000 && !launch->ended; ms += 10) {
        (void)usleep(10000);
        shoal_launch_poll(launch);
    }
    return launch->ended;
}

/* Two ranks that open a communicator and gather each other's findings: this verb, under mpirun. */
static void check_mpirun(const shoal_options *o, finding *f)
{
    static const char *const arguments[] = {"doctor", "--json", NULL};
    char program[PATH_MAX], end[128];
    shoal_launch launch;
    (void)o;
    shoal_own_path(program);
    const shoal_launch_request request = {
        .ranks = 2, .program = program, .arguments = arguments, .as_root = geteuid() == 0};
    if (shoal_launch_start(&request, &launch) != SHOAL_OK) {
        found(f, false, "apt-get install openmpi-bin", "%s", shoal_error_text());
        return;
    }
    const bool ended = wait_for_end(&launch);
    shoal_launch_describe_end(&launch, end, sizeof end);
    const bool fine =
        ended && WIFEXITED(launch.wait_status) && WEXITSTATUS(launch.wait_status) == 0;
    found(f, fine, "run 'mpirun -n 2 shoal doctor' and see what it says", "%s",
          fine    ? "mpirun starts two ranks that find each other"
          : ended ? end
                  : "mpirun did not end in 30 s");
    shoal_launch_stop(&launch, 0);
}

static const struct {
    const char *name;
    bool once; /* not on every rank of a launch */
    void (*check)(const shoal_options *, finding *);
} checks[] = {
    {"cpu", false, check_cpu},
    {"kernels", false, check_rows},
    {"cores", false, check_cores},
    {"topology", false, check_topology},
    {"memory", false, check_memory},
    {"shared memory", false, check_shared_memory},
    {"temporary folder", false, check_folder},
    {"open files", false, check_files},
    {"libraries", false, check_libraries},
    {"mpirun", true, check_mpirun},
};

static json_t *run_checks(const shoal_options *o, int rank, bool launched)
{
    json_t *list = json_array();
    char host[64] = "";
    (void)gethostname(host, sizeof host - 1);
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        finding f = {0};
        if (checks[i].once && launched)
            continue;
        checks[i].check(o, &f);
        json_t *one = json_pack("{s:s, s:b, s:s, s:s}", "name", checks[i].name, "ok", f.ok,
                                "detail", f.detail, "fix", f.fix);
        if (launched) {
            json_object_set_new(one, "rank", json_integer(rank));
            json_object_set_new(one, "host", json_string(host));
        }
        json_array_append_new(list, one);
    }
    return list;
}

/* ---- the report ------------------------------------------------------------------------------ */

/* Rows for a usual shape of every kind of weight: what --json of a verb with a model says per
 * linear. */
static json_t *usual_kernels(const shoal_options *o)
{
    static const struct {
        const char *name;
        shoal_linear_spec spec;
    } kinds[] = {
        {"int4-g128",
         {.n = 64,
          .k = 1024,
          .kind = SHOAL_WEIGHT_INT4,
          .dtype = SHOAL_F16,
          .group = 128,
          .zero_const = 8,
          .act = SHOAL_ACT_INT8,
          .act_group = 128}},
        {"int8",
         {.n = 64,
          .k = 1024,
          .kind = SHOAL_WEIGHT_INT8,
          .dtype = SHOAL_F16,
          .group = 1024,
          .zero_const = 128,
          .act = SHOAL_ACT_INT8,
          .act_group = 128}},
        {"bf16",
         {.n = 64,
          .k = 1024,
          .kind = SHOAL_WEIGHT_FLOAT,
          .dtype = SHOAL_BF16,
          .group = 1024,
          .act = SHOAL_ACT_F32,
          .act_group = 128}},
    };
    shoal_engine_kernel rows[3];
    shoal_cpu_level cap;
    shoal_arena *arena;
    int count = 0;
    if (shoal_cpu_cap(shoal_option_text(o, SHOAL_OPT_CPU), &cap) != SHOAL_OK ||
        shoal_arena_create(SHOAL_MEM_OTHER, &arena) != SHOAL_OK)
        return json_null();
    for (int i = 0; i < 3; i++)
        if (shoal_predict_kernel(&kinds[i].spec, cap, kinds[i].name, arena, &rows[count]) ==
            SHOAL_OK)
            count++;
    shoal_arena_destroy(arena);
    return shoal_json_kernels(rows, count);
}

static shoal_status print_table(const json_t *list)
{
    static const shoal_column columns[] = {{"", false}, {"check", false}, {"found", false}};
    shoal_status st = SHOAL_OK;
    shoal_table *table;
    SHOAL_TRY(shoal_table_create(columns, 3, &table));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i), *rank = json_object_get(one, "rank");
        const bool ok = json_is_true(json_object_get(one, "ok"));
        const char *fix = json_string_value(json_object_get(one, "fix"));
        SHOAL_TRY_GOTO(shoal_table_cell(table, "%s", ok ? "ok" : "BAD"), destroy);
        if (rank)
            SHOAL_TRY_GOTO(shoal_table_cell(table, "%s (rank %d on %s)",
                                            json_string_value(json_object_get(one, "name")),
                                            (int)json_integer_value(rank),
                                            json_string_value(json_object_get(one, "host"))),
                           destroy);
        else
            SHOAL_TRY_GOTO(
                shoal_table_cell(table, "%s", json_string_value(json_object_get(one, "name"))),
                destroy);
        SHOAL_TRY_GOTO(shoal_table_cell(table, "%s%s%s",
                                        json_string_value(json_object_get(one, "detail")),
                                        fix[0] ? "; what helps: " : "", fix),
                       destroy);
    }
    st = shoal_table_print(table);

destroy:
    shoal_table_destroy(table);
    return st;
}

static shoal_status conclude(const shoal_options *o, json_t *list)
{
    int bad = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        bad += !json_is_true(json_object_get(json_array_get(list, i), "ok"));
    if (shoal_option_bool(o, SHOAL_OPT_JSON)) {
        SHOAL_TRY(shoal_report_json(
            json_pack("{s:O, s:o}", "checks", list, "kernels", usual_kernels(o))));
    } else {
        SHOAL_TRY(print_table(list));
    }
    if (bad)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "%d of %zu checks failed", bad,
                          json_array_size(list));
    return SHOAL_OK;
}

/* Every rank's list, joined on rank 0. */
static shoal_status gather(shoal_comm *comm, const json_t *mine, json_t *all)
{
    uint64_t bytes[SHOAL_RANKS_MAX];
    const void *parts[SHOAL_RANKS_MAX];
    SHOAL_TRY(shoal_comm_open_slots(comm, GATHER_BYTES));
    char *slot = shoal_comm_slot(comm);
    memset(slot, 0, GATHER_BYTES);
    (void)json_dumpb(mine, slot, GATHER_BYTES - 1, JSON_COMPACT);
    for (int r = 0; r < comm->size; r++)
        bytes[r] = GATHER_BYTES;
    SHOAL_TRY(shoal_comm_gather(comm, bytes, parts));
    for (int r = 0; comm->rank == 0 && r < comm->size; r++) {
        json_t *list = json_loads(parts[r], 0, NULL);
        if (!list)
            return shoal_fail(SHOAL_ERR_INTERNAL, "the findings of rank %d cannot be read", r);
        json_array_extend(all, list);
        json_decref(list);
    }
    return SHOAL_OK;
}

static shoal_status examine_world(const shoal_options *o, int rank, json_t *all)
{
    shoal_comm *comm;
    SHOAL_TRY(shoal_comm_mpi_open(1, false, &comm));
    json_t *mine = run_checks(o, rank, true);
    const shoal_status st = gather(comm, mine, all);
    json_decref(mine);
    if (st == SHOAL_OK)
        shoal_comm_close(comm);
    return st;
}

shoal_status shoal_verb_doctor(const shoal_options *options)
{
    int rank = 0, size = 1;
    const bool launched = shoal_comm_mpi_launched(&rank, &size);
    json_t *list = launched ? json_array() : run_checks(options, 0, false);
    shoal_status st = launched ? examine_world(options, rank, list) : SHOAL_OK;
    if (st == SHOAL_OK && rank == 0)
        st = conclude(options, list);
    json_decref(list);
    return st;
}
