#include "coordinator/cli/report.h"
#include "coordinator/cli/threads_wanted.h"
#include "coordinator/cli/verbs.h"
#include "shard/convert.h"
#include "shard/pack_write.h"

/* What is heard while a conversion runs. */
typedef struct {
    shoal_progress progress;
    json_t *losses; /* [{"name", "max_abs_error"}] of what is not exact */
    int64_t exact;
} hearing;

static void show(void *context, uint64_t done, uint64_t total)
{
    hearing *h = context;
    shoal_progress_update(&h->progress, done, total);
}

static void hear(void *context, const char *name, const shoal_loss *loss)
{
    hearing *h = context;
    if (loss->lossless)
        h->exact++;
    else
        json_array_append_new(
            h->losses, json_pack("{s:s, s:f}", "name", name, "max_abs_error", loss->max_abs_error));
}

static shoal_status request_from(const shoal_options *o, shoal_convert_request *out)
{
    const char *to = shoal_option_text(o, SHOAL_OPT_TO);
    char words[512];
    shoal_target_words(words, sizeof words);
    if (!to)
        return shoal_fail(SHOAL_ERR_USAGE, "--to is missing; one of %s", words);
    *out = (shoal_convert_request){
        .source = o->operands[0],
        .destination = o->operands[1],
        .quantize = shoal_option_text(o, SHOAL_OPT_QUANTIZE),
        .keep = shoal_option_text(o, SHOAL_OPT_KEEP),
        .file_bytes = (uint64_t)shoal_option_int(o, SHOAL_OPT_MAX_SHARD_SIZE),
        .threads = shoal_threads_wanted(o),
        .backup = shoal_option_bool(o, SHOAL_OPT_BACKUP),
    };
    SHOAL_TRY(shoal_target_parse(to, &out->target));
    out->target.allow_requantize = shoal_option_bool(o, SHOAL_OPT_ALLOW_REQUANTIZE);
    return SHOAL_OK;
}

static shoal_status report_json(const hearing *h, const shoal_convert_result *r)
{
    return shoal_report_json(
        json_pack("{s:I, s:I, s:b, s:f, s:I, s:i, s:i, s:O}", "consumed", (json_int_t)r->consumed,
                  "written", (json_int_t)r->written, "lossless", r->loss.lossless, "max_abs_error",
                  r->loss.max_abs_error, "bytes", (json_int_t)r->bytes, "files", r->files,
                  "resumed", r->resumed, "losses", h->losses));
}

static shoal_status report_text(const hearing *h, const shoal_convert_request *request,
                                const shoal_convert_result *r)
{
    size_t i;
    json_t *loss;
    char bytes[32];
    json_array_foreach(h->losses, i, loss) SHOAL_TRY(shoal_report_text(
        "%-56s loss up to %.3g\n", json_string_value(json_object_get(loss, "name")),
        json_number_value(json_object_get(loss, "max_abs_error"))));
    shoal_format_bytes(r->bytes, bytes, sizeof bytes);
    SHOAL_TRY(shoal_report_text(
        "%s: %llu tensors read, %llu written (%s in %d file%s%s)\n", request->destination,
        (unsigned long long)r->consumed, (unsigned long long)r->written, bytes, r->files,
        r->files == 1 ? "" : "s", r->resumed ? ", some from an earlier run" : ""));
    if (r->loss.lossless)
        return shoal_report_text("lossless\n");
    return shoal_report_text("%lld weights and vectors lossless, %zu with a loss up to %.3g\n",
                             (long long)h->exact, json_array_size(h->losses),
                             r->loss.max_abs_error);
}

/* A pack file is a conversion, too. */
static shoal_status pack(const shoal_options *options, const shoal_convert_request *request)
{
    shoal_progress progress;
    shoal_pack_result result;
    const shoal_pack_request packing = {request->source, request->destination, request->quantize,
                                        request->keep, request->threads};
    shoal_progress_begin(&progress, "pack");
    const shoal_status st = shoal_pack_write(&packing, shoal_progress_show, &progress, &result);
    shoal_progress_end(&progress);
    SHOAL_TRY(st);
    if (shoal_option_bool(options, SHOAL_OPT_JSON))
        return shoal_report_json(
            json_pack("{s:I, s:I, s:b, s:f, s:I, s:i}", "consumed", (json_int_t)result.consumed,
                      "written", (json_int_t)result.tensors, "lossless", 1, "max_abs_error", 0.0,
                      "bytes", (json_int_t)result.bytes, "files", 1));
    return shoal_report_text("%s: %llu tensors read, %llu written\nlossless\n",
                             request->destination, (unsigned long long)result.consumed,
                             (unsigned long long)result.tensors);
}

shoal_status shoal_verb_convert(const shoal_options *options)
{
    shoal_convert_request request;
    shoal_convert_result result;
    SHOAL_TRY(request_from(options, &request));
    if (request.target.writer == &shoal_writer_pack)
        return pack(options, &request);
    hearing h = {.losses = json_array()};
    const shoal_convert_listener listener = {show, hear, &h};
    shoal_progress_begin(&h.progress, "convert");
    shoal_status st = shoal_convert(&request, &listener, &result);
    shoal_progress_end(&h.progress);
    if (st == SHOAL_OK)
        st = shoal_option_bool(options, SHOAL_OPT_JSON) ? report_json(&h, &result)
                                                        : report_text(&h, &request, &result);
    json_decref(h.losses);
    return st;
}
