#include "coordinator/serve/restart_policy.h"

bool shoal_restart_again(shoal_restart_policy *policy, bool progressed, double lived, double *pause)
{
    *pause = 0;
    if (progressed || lived >= SHOAL_RESTART_LIVED_WELL) {
        policy->failures = 0;
        return true;
    }
    policy->failures++;
    if (policy->failures >= SHOAL_RESTARTS_MAX)
        return false;
    if (policy->failures == 1)
        return true;
    *pause = SHOAL_RESTART_PAUSE_MIN;
    for (int i = 2; i < policy->failures && *pause < SHOAL_RESTART_PAUSE_MAX; i++)
        *pause *= 2;
    if (*pause > SHOAL_RESTART_PAUSE_MAX)
        *pause = SHOAL_RESTART_PAUSE_MAX;
    return true;
}
