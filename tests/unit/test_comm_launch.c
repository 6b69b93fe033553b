/* What counts as an MPI launch: the variables of Open MPI, PMIx and Slurm steps, and nothing that
 * only looks like them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "worker/comm.h"

#define PAIRS_MAX 4

typedef struct {
    const char *name;
    const char *set[PAIRS_MAX][2];
    bool launched;
    int rank, size;
} launch_case;

static const launch_case cases[] = {
    {"nothing", {{0}}, false, 0, 0},
    {"mpirun", {{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "3"}}, true, 2, 3},
    {"settings of Open MPI", {{"OMPI_MCA_btl", "tcp"}, {"OMPI_FOO", "1"}}, false, 0, 0},
    {"size alone", {{"OMPI_COMM_WORLD_SIZE", "3"}}, false, 0, 0},
    {"no number", {{"OMPI_COMM_WORLD_RANK", "x"}, {"OMPI_COMM_WORLD_SIZE", "3"}}, false, 0, 0},
    {"rank beyond", {{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "3"}}, false, 0, 0},
    {"negative", {{"OMPI_COMM_WORLD_RANK", "-1"}, {"OMPI_COMM_WORLD_SIZE", "3"}}, false, 0, 0},
    {"huge",
     {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "99999999999999999999"}},
     false,
     0,
     0},
    {"PMIx with PMI size", {{"PMIX_RANK", "1"}, {"PMI_SIZE", "4"}}, true, 1, 4},
    {"PMIx alone", {{"PMIX_RANK", "1"}}, true, 1, 0},
    {"PMIx in Slurm", {{"PMIX_RANK", "5"}, {"SLURM_NTASKS", "8"}}, true, 5, 8},
    {"srun", {{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}}, true, 1, 2},
    {"a step smaller than the job",
     {{"SLURM_STEP_ID", "3"},
      {"SLURM_PROCID", "1"},
      {"SLURM_NTASKS", "8"},
      {"SLURM_STEP_NUM_TASKS", "2"}},
     true,
     1,
     2},
    {"a batch script", {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}}, false, 0, 0},
    {"the step of a batch script",
     {{"SLURM_STEP_ID", "4294967291"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}},
     false,
     0,
     0},
};

static void clear_environment(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK",
                                        "OMPI_COMM_WORLD_SIZE",
                                        "OMPI_MCA_btl",
                                        "OMPI_FOO",
                                        "PMIX_RANK",
                                        "PMI_SIZE",
                                        "SLURM_STEP_ID",
                                        "SLURM_PROCID",
                                        "SLURM_NTASKS",
                                        "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)unsetenv(names[i]);
}

static void every_launcher(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const launch_case *c = &cases[i];
        int rank = 0, size = 0;
        clear_environment();
        for (int k = 0; k < PAIRS_MAX && c->set[k][0]; k++)
            assert_int_equal(setenv(c->set[k][0], c->set[k][1], 1), 0);
        const bool launched = shoal_comm_mpi_launched(&rank, &size);
        if (launched != c->launched || rank != c->rank || size != c->size)
            fail_msg("%s: launched %d, rank %d of %d", c->name, launched, rank, size);
    }
    clear_environment();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_launcher)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
