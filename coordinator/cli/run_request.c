#include "coordinator/cli/run_request.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/linear_row.h"
#include "proto/bytes.h"

/* "2,1,1": one positive number per rank. */
static shoal_status parse_capacity(const char *text, int ranks, double *out)
{
    int count = 0;
    if (strcmp(text, "auto") == 0)
        return shoal_fail(SHOAL_ERR_UNAVAILABLE, "--capacity auto is not in this version; give "
                                                 "one number per rank");
    for (const char *at = text;;) {
        char *end;
        const double value = strtod(at, &end);
        if (end == at || (*end && *end != ',') || !isfinite(value) || value <= 0)
            return shoal_fail(SHOAL_ERR_USAGE, "--capacity: '%s' is not a list of positive numbers",
                              text);
        if (count < ranks)
            out[count] = value;
        count++;
        if (!*end)
            break;
        at = end + 1;
    }
    if (count != ranks)
        return shoal_fail(SHOAL_ERR_USAGE, "--capacity gives %d numbers for %d ranks", count,
                          ranks);
    return SHOAL_OK;
}

shoal_status shoal_settings_from(const shoal_options *o, int ranks, double *capacity,
                                 shoal_worker_settings *out)
{
    shoal_worker_settings s;
    shoal_cpu_level level;
    const char *listed = shoal_option_text(o, SHOAL_OPT_CAPACITY);
    shoal_worker_defaults(&s);
    s.model = o->operands[0];
    s.quantize = shoal_option_text(o, SHOAL_OPT_QUANTIZE);
    s.keep_regex = shoal_option_text(o, SHOAL_OPT_KEEP);
    s.offload = shoal_option_text(o, SHOAL_OPT_OFFLOAD);
    s.cpu = shoal_option_text(o, SHOAL_OPT_CPU);
    SHOAL_TRY(shoal_cpu_cap(s.cpu, &level));
    (void)shoal_activations_parse(shoal_option_text(o, SHOAL_OPT_ACTIVATIONS), &s.activations);
    s.kv = (int)shoal_option_int(o, SHOAL_OPT_KV) - 1; /* "auto" is the first word */
    s.reduce = (shoal_payload)shoal_option_int(o, SHOAL_OPT_REDUCE);
    s.threads = (int)shoal_option_int(o, SHOAL_OPT_THREADS);
    if (shoal_option_given(o, SHOAL_OPT_PREFILL_CHUNK))
        s.prefill_chunk = shoal_option_int(o, SHOAL_OPT_PREFILL_CHUNK);
    s.context = shoal_option_int(o, SHOAL_OPT_MAX_MODEL_LEN);
    s.memory = (uint64_t)shoal_option_int(o, SHOAL_OPT_MEMORY);
    s.push = shoal_option_int(o, SHOAL_OPT_LOAD) == 1;
    s.expert_parallel = shoal_option_bool(o, SHOAL_OPT_EXPERT_PARALLEL);
    s.probe = shoal_option_bool(o, SHOAL_OPT_PROBE);
    if (listed) {
        SHOAL_TRY(parse_capacity(listed, ranks, capacity));
        s.capacity = capacity;
    }
    *out = s;
    return SHOAL_OK;
}

shoal_status shoal_run_request_from(const shoal_options *o, shoal_run_request *out)
{
    int rank, size;
    const bool given = shoal_option_given(o, SHOAL_OPT_RANKS);
    const bool launched = shoal_comm_mpi_launched(&rank, &size);
    int ranks = (int)shoal_option_int(o, SHOAL_OPT_RANKS);
    if (!given && !launched && !shoal_option_text(o, SHOAL_OPT_HOSTFILE))
        ranks = shoal_default_ranks();
    shoal_engine_request *e = &out->engine;
    *e = (shoal_engine_request){
        .ranks = ranks,
        .ranks_given = given,
        .emulate = (int)shoal_option_int(o, SHOAL_OPT_EMULATE_RANKS),
        .force_network = shoal_option_int(o, SHOAL_OPT_COMM) == 1,
        .hostfile = shoal_option_text(o, SHOAL_OPT_HOSTFILE),
        .mpi_args = shoal_option_text(o, SHOAL_OPT_MPI_ARGS),
        .progress = shoal_progress_show,
        .progress_context = &out->progress,
    };
    if (launched && size > 0)
        ranks = size;
    else if (e->emulate > 0)
        ranks = e->emulate;
    shoal_progress_begin(&out->progress, "load");
    return shoal_settings_from(o, ranks, out->capacity, &e->settings);
}

void shoal_run_request_size(shoal_run_request *request, int64_t tokens, int64_t sequences)
{
    shoal_worker_settings *s = &request->engine.settings;
    s->kv_tokens = shoal_round_up(tokens, SHOAL_PAGE) + (sequences - 1) * SHOAL_PAGE;
    s->max_sequences = sequences;
    if (s->memory && !s->context)
        s->context = shoal_round_up(tokens, SHOAL_PAGE);
}

void shoal_run_request_longest(shoal_run_request *request, const shoal_model *model,
                               int64_t longest)
{
    shoal_worker_settings *s = &request->engine.settings;
    if (!s->context && longest <= model->reach && shoal_model_minds_length(model))
        s->context = longest;
}

shoal_status shoal_run_request_close(shoal_engine *engine, shoal_status st)
{
    char text[SHOAL_ERROR_MAX];
    (void)snprintf(text, sizeof text, "%s", shoal_error_text());
    const shoal_status closed = shoal_engine_close(engine);
    return st == SHOAL_OK ? closed : shoal_fail(st, "%s", text);
}

json_t *shoal_json_kernels(const shoal_engine_kernel *kernels, int count)
{
    json_t *all = json_object();
    for (int i = 0; all && i < count; i++) {
        const shoal_engine_kernel *k = &kernels[i];
        json_t *one = json_pack("{s:s, s:s, s:s}", "layout", k->layout, "decode", k->decode,
                                "prefill", k->prefill);
        if (json_object_set_new(all, k->role, one) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

/* A row is chosen by the segments along K, so one panel of columns tells. */
shoal_status shoal_predict_kernel(const shoal_linear_spec *spec, shoal_cpu_level cap,
                                  const char *role, shoal_arena *arena, shoal_engine_kernel *out)
{
    shoal_linear linear;
    shoal_linear_spec panel = *spec;
    panel.n = shoal_min_i64(spec->n, SHOAL_PANEL);
    SHOAL_TRY(shoal_linear_create(&panel, cap, arena, &linear));
    (void)snprintf(out->role, sizeof out->role, "%s", role);
    (void)snprintf(out->layout, sizeof out->layout, "%s", shoal_linear_layout(&panel));
    (void)snprintf(out->decode, sizeof out->decode, "%s", linear.decode->name);
    (void)snprintf(out->prefill, sizeof out->prefill, "%s", linear.prefill->name);
    return SHOAL_OK;
}

static shoal_status predict_one(const shoal_slicing *slicing, shoal_role role, shoal_cpu_level cap,
                                shoal_arena *arena, shoal_engine_kernel *out)
{
    shoal_linear_spec spec;
    if (!shoal_slice_spec_of(slicing, 0, shoal_manifest_example(slicing->manifest, role), &spec))
        return shoal_fail(SHOAL_ERR_INTERNAL, "the model has no %s", shoal_role_name(role));
    return shoal_predict_kernel(&spec, cap, shoal_role_name(role), arena, out);
}

shoal_status shoal_predict_kernels(const shoal_slicing *slicing, shoal_cpu_level cap,
                                   shoal_engine_kernel *kernels, int *count)
{
    shoal_status st = SHOAL_OK;
    shoal_arena *arena;
    int n = 0;
    SHOAL_TRY(shoal_arena_create(SHOAL_MEM_OTHER, &arena));
    for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_LINEARS; role++)
        SHOAL_TRY_GOTO(predict_one(slicing, role, cap, arena, &kernels[n++]), destroy);
    SHOAL_TRY_GOTO(predict_one(slicing, SHOAL_ROLE_LM_HEAD, cap, arena, &kernels[n++]), destroy);
    *count = n;

destroy:
    shoal_arena_destroy(arena);
    return st;
}

json_t *shoal_json_memory(const shoal_engine *engine)
{
    json_t *all = json_array();
    for (int r = 0; all && r < engine->ranks; r++) {
        const shoal_rank_memory *m = &engine->memory[r];
        json_t *one =
            json_pack("{s:i, s:I, s:I, s:I, s:I, s:I, s:I}", "rank", r, "planned_read",
                      (json_int_t)m->planned_read, "measured_read", (json_int_t)m->measured_read,
                      "planned_resident", (json_int_t)m->planned_resident, "measured_resident",
                      (json_int_t)m->measured_resident, "planned_streamed",
                      (json_int_t)m->planned_streamed, "pinned", (json_int_t)m->pinned);
        if (json_array_append_new(all, one) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}
