#include "coordinator/serve/refusal.h"

/* When to come again, in seconds. */
#define RETRY_LOADING    5
#define RETRY_RECOVERING 2
#define RETRY_ENDING     10
#define RETRY_FULL       2
#define RETRY_MEMORY     1

static void refuse(shoal_api_error *error, int status, int retry_after, const char *code,
                   const char *message)
{
    error->retry_after = retry_after;
    (void)shoal_api_refuse(error, status, code, NULL, "%s", message);
}

bool shoal_refusal_unready(shoal_driver *driver, shoal_route_needs needs, shoal_api_error *error)
{
    shoal_step_limits limits;
    if (needs == SHOAL_NEEDS_NOTHING ||
        (needs == SHOAL_NEEDS_MODEL && shoal_driver_limits(driver, &limits)))
        return false;
    switch (shoal_driver_state_get(driver)) {
    case SHOAL_DRIVER_SERVING: return false;
    case SHOAL_DRIVER_LOADING:
        error->retry_after = RETRY_LOADING;
        (void)shoal_api_refuse(error, 503, "model_loading", NULL, "The model is loading (%.0f %%).",
                               100 * shoal_driver_load_fraction(driver));
        break;
    case SHOAL_DRIVER_RECOVERING: shoal_refusal_recovering(error); break;
    default: refuse(error, 503, RETRY_ENDING, "draining", "The server is stopping.");
    }
    return true;
}

void shoal_refusal_full(shoal_api_error *error)
{
    refuse(error, 429, RETRY_FULL, "queue_full", "Too many requests are waiting.");
}

void shoal_refusal_memory(shoal_api_error *error)
{
    refuse(error, 503, RETRY_MEMORY, "out_of_memory", "The server has no memory for this request.");
}

void shoal_refusal_recovering(shoal_api_error *error)
{
    refuse(error, 503, RETRY_RECOVERING, "recovering", "Workers are being started again.");
}

void shoal_refusal_cut_off(shoal_api_error *error)
{
    refuse(error, 503, RETRY_ENDING, "worker_lost",
           "The server is ending; the request cannot be finished.");
}
