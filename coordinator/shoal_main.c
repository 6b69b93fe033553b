/* The program: everything is in the verb table of coordinator/cli/verbs.c. */
#include "coordinator/cli/verbs.h"

int main(int argc, char **argv)
{
    return shoal_cli_main(argc, argv);
}
