#include "coordinator/bench/prompt.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/bench/random.h"

static shoal_status append_ids(const shoal_bench_prompts *p, uint64_t state, shoal_strbuf *out)
{
    SHOAL_TRY(shoal_strbuf_append(out, "[", 1));
    for (int64_t i = 0; i < p->prompt_tokens; i++) {
        char text[16];
        const int n = snprintf(text, sizeof text, "%s%u", i ? "," : "",
                               shoal_bench_random_below(&state, p->vocab));
        SHOAL_TRY(shoal_strbuf_append(out, text, (size_t)n));
    }
    return shoal_strbuf_append(out, "]", 1);
}

static shoal_status append_letters(const shoal_bench_prompts *p, uint64_t state, shoal_strbuf *out)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz     ";
    SHOAL_TRY(shoal_strbuf_append(out, "\"", 1));
    for (int64_t i = 0; i < p->prompt_tokens; i++)
        SHOAL_TRY(shoal_strbuf_append(
            out, &letters[shoal_bench_random_below(&state, sizeof letters - 1)], 1));
    return shoal_strbuf_append(out, "\"", 1);
}

shoal_status shoal_bench_prompt_body(const shoal_bench_prompts *prompts, uint64_t number,
                                     shoal_strbuf *out)
{
    static const char begin[] = "{\"prompt\":";
    char rest[160];
    uint64_t mixed = prompts->seed;
    const uint64_t state = shoal_bench_random(&mixed) + number;
    const int n = snprintf(rest, sizeof rest,
                           ",\"max_tokens\":%lld,\"temperature\":0,\"ignore_eos\":true,"
                           "\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
                           (long long)prompts->max_tokens);
    SHOAL_TRY(shoal_strbuf_append(out, begin, sizeof begin - 1));
    if (prompts->text)
        SHOAL_TRY(append_letters(prompts, state, out));
    else
        SHOAL_TRY(append_ids(prompts, state, out));
    return shoal_strbuf_append(out, rest, (size_t)n);
}
