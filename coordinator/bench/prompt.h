/* coordinator/bench/prompt.h - the bodies of the requests: random prompts, no two alike.
 *
 * As token ids (what Shoal and vLLM take), or as text for servers that take no ids: one letter or
 * space per wanted token, which is at most one token each in a byte-level vocabulary. The same
 * seed and number give the same prompt everywhere; different ones share no prefix worth caching. */
#ifndef SHOAL_COORDINATOR_BENCH_PROMPT_H
#define SHOAL_COORDINATOR_BENCH_PROMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/text/growable.h"

typedef struct {
    bool text;             /* letters instead of ids */
    uint32_t vocab;        /* ids are below this */
    int64_t prompt_tokens; /* >= 1 */
    int64_t max_tokens;    /* >= 1; ignore_eos makes it exact */
    uint64_t seed;
} shoal_bench_prompts;

/* Append the JSON body of request `number` for /v1/completions: greedy, streamed, with usage. */
SHOAL_MUST_USE shoal_status shoal_bench_prompt_body(const shoal_bench_prompts *prompts,
                                                    uint64_t number, shoal_strbuf *out);

#endif
