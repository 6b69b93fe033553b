#include "coordinator/cli/verbs.h"
#include "coordinator/cluster/worker_main.h"

/* A failure has been told to the coordinator, which prints it; a rank that could not even connect
 * has only its own stderr. */
shoal_status shoal_verb_worker(const shoal_options *o)
{
    const char *address = shoal_option_text(o, SHOAL_OPT_COORDINATOR);
    const char *token = shoal_option_text(o, SHOAL_OPT_TOKEN_FILE);
    if (!address || !token)
        return shoal_fail(SHOAL_ERR_USAGE, "needs both --coordinator and --token-file");
    return shoal_worker_main(address, token, shoal_option_int(o, SHOAL_OPT_COMM) == 1);
}
