#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "coordinator/cli/report.h"
#include "coordinator/cli/run_request.h"
#include "coordinator/cli/verbs.h"
#include "coordinator/serve/service.h"
#include "coordinator/text/utf8.h"
#include "proto/log.h"

#define KEY_MAX 512

/* Everything one server holds. */
typedef struct {
    const shoal_options *options;
    shoal_run_request request;
    shoal_blueprint *blueprint;
    shoal_tokenizer *tokenizer;
    shoal_chat_template *chat;
    char name[256], key[KEY_MAX + 2];
    shoal_service_settings settings;
} server;

/* ---- what it needs --------------------------------------------------------------------------- */

/* The last path component, without slashes at the end. */
static void name_of(const char *model, char *out, size_t room)
{
    size_t end = strlen(model);
    while (end > 1 && model[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && model[begin - 1] != '/')
        begin--;
    (void)snprintf(out, room, "%.*s", (int)(end - begin), model + begin);
}

/* It stands in JSON and in labels of metrics. */
static shoal_status check_name(const char *name)
{
    const size_t bytes = strlen(name);
    if (bytes == 0 || shoal_utf8_valid(name, bytes) != bytes)
        return shoal_fail(SHOAL_ERR_USAGE, "the name of the model is empty or not UTF-8");
    return SHOAL_OK;
}

static shoal_status check_key(const char *path, const char *key)
{
    if (!key[0])
        return shoal_fail(SHOAL_ERR_USAGE, "%s: there is no key in its first line", path);
    if (strlen(key) > KEY_MAX)
        return shoal_fail(SHOAL_ERR_USAGE, "%s: a key may have %d characters", path, KEY_MAX);
    for (const char *at = key; *at; at++)
        if (*at <= ' ' || *at > '~')
            return shoal_fail(SHOAL_ERR_USAGE, "%s: a key is made of visible ASCII characters",
                              path);
    return SHOAL_OK;
}

static shoal_status read_key(server *s)
{
    const char *path = shoal_option_text(s->options, SHOAL_OPT_API_KEY_FILE);
    if (!path)
        return SHOAL_OK;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, s->key, sizeof s->key - 1);
    const int error = errno;
    if (fd >= 0)
        (void)close(fd);
    if (n < 0)
        return shoal_fail(error == ENOENT ? SHOAL_ERR_NOTFOUND : SHOAL_ERR_IO, "%s: %s", path,
                          strerror(error));
    s->key[n] = '\0';
    s->key[strcspn(s->key, "\r\n")] = '\0';
    s->settings.api_key = s->key;
    return check_key(path, s->key);
}

/* Without a tokenizer or a template the server still answers what needs none. */
static shoal_status open_text(server *s)
{
    const char *model = s->options->operands[0];
    shoal_status st = shoal_tokenizer_open(model, &s->tokenizer);
    if (st == SHOAL_ERR_NOTFOUND)
        shoal_log(SHOAL_LOG_WARN, "tokenizer", "only token ids are taken: %s", shoal_error_text());
    else if (st != SHOAL_OK)
        return st;
    st = shoal_chat_template_open(model, &s->chat);
    if (st == SHOAL_ERR_NOTFOUND)
        shoal_log(SHOAL_LOG_WARN, "template", "chats are refused: %s", shoal_error_text());
    else if (st != SHOAL_OK)
        return st;
    s->settings.tokenizer = s->tokenizer;
    s->settings.chat = s->chat;
    return SHOAL_OK;
}

static shoal_status plan_cluster(server *s)
{
    const shoal_options *o = s->options;
    shoal_engine_request *e = &s->request.engine;
    shoal_worker_settings *w = &e->settings;
    int rank, size;
    if (shoal_comm_mpi_launched(&rank, &size))
        return shoal_fail(SHOAL_ERR_USAGE,
                          "serve starts and watches its own workers; run it without mpirun");
    SHOAL_TRY(shoal_run_request_from(o, &s->request));
    w->max_sequences = shoal_option_int(o, SHOAL_OPT_MAX_NUM_SEQS);
    w->kv_tokens = shoal_option_int(o, SHOAL_OPT_KV_TOKENS);
    e->supervised = true;
    e->deadlines = (shoal_deadlines){
        .start = shoal_option_float(o, SHOAL_OPT_START_DEADLINE),
        .load = shoal_option_float(o, SHOAL_OPT_LOAD_DEADLINE),
        .decode = shoal_option_float(o, SHOAL_OPT_DECODE_DEADLINE),
        .prefill = shoal_option_float(o, SHOAL_OPT_PREFILL_DEADLINE),
    };
    const int ranks = e->emulate > 0 ? e->emulate : e->ranks;
    SHOAL_TRY(shoal_blueprint_open(w, w->model, ranks, &s->blueprint));
    SHOAL_TRY(shoal_blueprint_check_fit(w, s->blueprint));
    s->settings.engine = e;
    s->settings.blueprint = s->blueprint;
    return SHOAL_OK;
}

/* Thousands of streams are thousands of descriptors. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* ---- running --------------------------------------------------------------------------------- */

static shoal_status say_ready(void *context, const char *address)
{
    server *s = context;
    shoal_progress_end(&s->request.progress);
    SHOAL_TRY(shoal_report_text("ready http://%s\n", address));
    return shoal_report_flush();
}

static shoal_status run(server *s)
{
    const shoal_options *o = s->options;
    const char *name = shoal_option_text(o, SHOAL_OPT_SERVED_MODEL_NAME);
    name_of(o->operands[0], s->name, sizeof s->name);
    s->settings.http = (shoal_http_settings){
        .host = shoal_option_text(o, SHOAL_OPT_HOST),
        .port = (int)shoal_option_int(o, SHOAL_OPT_PORT),
        .body_max = (uint64_t)shoal_option_int(o, SHOAL_OPT_MAX_BODY),
        .connections_max = (int)shoal_option_int(o, SHOAL_OPT_MAX_CONNECTIONS),
    };
    s->settings.model_name = name ? name : s->name;
    s->settings.waiting_max = shoal_option_int(o, SHOAL_OPT_MAX_QUEUE);
    s->settings.prefix_cache = !shoal_option_bool(o, SHOAL_OPT_NO_PREFIX_CACHE);
    s->settings.drain_seconds = shoal_option_float(o, SHOAL_OPT_DRAIN_TIMEOUT);
    s->settings.on_ready = say_ready;
    s->settings.context = s;
    SHOAL_TRY(check_name(s->settings.model_name));
    SHOAL_TRY(read_key(s));
    SHOAL_TRY(plan_cluster(s));
    SHOAL_TRY(open_text(s));
    raise_descriptor_limit();
    shoal_log_speaker("coordinator", -1);
    const shoal_status st = shoal_service_run(&s->settings);
    shoal_progress_end(&s->request.progress);
    return st;
}

shoal_status shoal_verb_serve(const shoal_options *options)
{
    server s = {.options = options};
    const shoal_status st = run(&s);
    shoal_chat_template_close(s.chat);
    shoal_tokenizer_close(s.tokenizer);
    shoal_blueprint_close(s.blueprint);
    return st;
}
