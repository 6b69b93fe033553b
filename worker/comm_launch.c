/* What an MPI launcher says in the environment; this file does not touch MPI. */
#include <errno.h>
#include <stdlib.h>

#include "worker/comm.h"

/* A world larger than this is a broken variable. */
#define WORLD_MAX 1000000

/* Steps Slurm makes without srun (batch script, interactive shell) have ids from here on. */
#define SLURM_SPECIAL_STEP 4294967200L

static bool number_of(const char *name, long most, long *out)
{
    const char *text = getenv(name);
    if (!text || *text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (errno != 0 || *end != '\0' || value > most)
        return false;
    *out = value;
    return true;
}

static bool pair_of(const char *rank_name, const char *size_name, int *rank, int *size)
{
    long r, n;
    if (!number_of(rank_name, WORLD_MAX, &r) || !number_of(size_name, WORLD_MAX, &n) || r >= n)
        return false;
    *rank = (int)r;
    *size = (int)n;
    return true;
}

/* PMIx passes the size by its own protocol; some launchers also put it into the environment. */
static bool pmix_says(int *rank, int *size)
{
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS",
                                        "SLURM_NTASKS"};
    long r;
    if (!number_of("PMIX_RANK", WORLD_MAX, &r))
        return false;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (pair_of("PMIX_RANK", sizes[i], rank, size))
            return true;
    *rank = (int)r;
    *size = 0;
    return true;
}

static bool slurm_says(int *rank, int *size)
{
    long step;
    if (!number_of("SLURM_STEP_ID", SLURM_SPECIAL_STEP - 1, &step))
        return false;
    return pair_of("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", rank, size) ||
           pair_of("SLURM_PROCID", "SLURM_NTASKS", rank, size);
}

bool shoal_comm_mpi_launched(int *rank, int *size)
{
    return pair_of("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", rank, size) ||
           pmix_says(rank, size) || slurm_says(rank, size);
}
