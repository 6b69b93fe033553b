/* coordinator/serve/restart_policy.h - whether and when to start the workers again.
 *
 * A generation that brought a token, or lived for a while, was a good one: what ended it was an
 * accident, and the next starts at once. Those that die early and empty-handed one after another
 * are a crash loop: the pauses grow, 0.5 s, 1 s, 2 s … 30 s, and after SHOAL_RESTARTS_MAX of them
 * the policy gives up. Pure. */
#ifndef SHOAL_COORDINATOR_SERVE_RESTART_POLICY_H
#define SHOAL_COORDINATOR_SERVE_RESTART_POLICY_H

#include <stdbool.h>

#define SHOAL_RESTARTS_MAX       5
#define SHOAL_RESTART_PAUSE_MIN  0.5
#define SHOAL_RESTART_PAUSE_MAX  30.0
#define SHOAL_RESTART_LIVED_WELL 10.0 /* seconds */

typedef struct {
    int failures; /* early, empty-handed ends in a row */
} shoal_restart_policy;

/* A generation has ended by accident: `progressed` when it brought a token, `lived` seconds after
 * it was ready (negative: it never was). Returns false to give up; else *pause is how long to
 * wait. */
bool shoal_restart_again(shoal_restart_policy *policy, bool progressed, double lived,
                         double *pause);

#endif
