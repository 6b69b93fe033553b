/* coordinator/serve/service.h - the whole of `shoal serve`: routes, replies, driver, end.
 *
 * Runs on the caller's thread until the server has been told to end (SIGTERM, SIGINT: finish what
 * is here; a second one: end now) or the driver has given up. Health routes tell the truth
 * throughout: live while this process lives, ready only while workers compute and newcomers are
 * taken. */
#ifndef SHOAL_COORDINATOR_SERVE_SERVICE_H
#define SHOAL_COORDINATOR_SERVE_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/engine.h"
#include "coordinator/serve/http_server.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/tokenizer.h"
#include "worker/blueprint.h"

typedef struct {
    shoal_http_settings http;
    const shoal_engine_request *engine;
    const shoal_blueprint *blueprint;
    const char *model_name;           /* as clients call it */
    const char *api_key;              /* NULL: none needed */
    const shoal_tokenizer *tokenizer; /* NULL: the model has none */
    const shoal_chat_template *chat;  /* NULL: the model has none */
    int64_t waiting_max;
    bool prefix_cache;
    double drain_seconds; /* how long the first signal leaves to live requests */
    /* Called once, when the first generation is ready. */
    shoal_status (*on_ready)(void *context, const char *address);
    void *context;
} shoal_service_settings;

/* SHOAL_OK after an orderly end; SHOAL_ERR_TEMPORARY when requests were cut off; else what the
 * driver gave up with, or why the address could not be bound. */
SHOAL_MUST_USE shoal_status shoal_service_run(const shoal_service_settings *settings);

#endif
