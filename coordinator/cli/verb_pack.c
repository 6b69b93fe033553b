#include "coordinator/cli/report.h"
#include "coordinator/cli/threads_wanted.h"
#include "coordinator/cli/verbs.h"
#include "coordinator/clock.h"
#include "shard/pack_write.h"

shoal_status shoal_verb_pack(const shoal_options *o)
{
    const shoal_pack_request request = {.source = o->operands[0],
                                        .destination = o->operands[1],
                                        .quantize = shoal_option_text(o, SHOAL_OPT_QUANTIZE),
                                        .keep = shoal_option_text(o, SHOAL_OPT_KEEP),
                                        .threads = shoal_threads_wanted(o)};
    shoal_progress progress;
    shoal_pack_result result;
    char bytes[32];
    const double begin = shoal_clock_seconds();
    shoal_progress_begin(&progress, "pack");
    const shoal_status st = shoal_pack_write(&request, shoal_progress_show, &progress, &result);
    shoal_progress_end(&progress);
    SHOAL_TRY(st);
    const double seconds = shoal_clock_seconds() - begin;
    if (shoal_option_bool(o, SHOAL_OPT_JSON))
        return shoal_report_json(json_pack("{s:I, s:I, s:f}", "bytes", (json_int_t)result.bytes,
                                           "tensors", (json_int_t)result.tensors, "seconds",
                                           seconds));
    shoal_format_bytes(result.bytes, bytes, sizeof bytes);
    return shoal_report_text("%s: %llu tensors, %s, in %.1f s\n", request.destination,
                             (unsigned long long)result.tensors, bytes, seconds);
}
