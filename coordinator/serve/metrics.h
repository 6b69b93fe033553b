/* coordinator/serve/metrics.h - what happened so far, as Prometheus text.
 *
 * Counters and histograms are added to from any thread; gauges are handed in when the text is
 * written. Names are vLLM's with shoal_ in front (docs/metrics.md), plus what only a cluster of
 * ranks has, labelled by rank. */
#ifndef SHOAL_COORDINATOR_SERVE_METRICS_H
#define SHOAL_COORDINATOR_SERVE_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/engine.h"
#include "coordinator/serve/choice.h"
#include "coordinator/serve/scheduler.h"
#include "coordinator/text/growable.h"

typedef struct shoal_metrics shoal_metrics;

typedef enum {
    SHOAL_COUNT_PROMPT_TOKENS,     /* shoal_prompt_tokens_total                        */
    SHOAL_COUNT_GENERATION_TOKENS, /* shoal_generation_tokens_total                    */
    SHOAL_COUNT_GENERATIONS,       /* shoal_generation_starts_total: clusters started  */
    SHOAL_COUNT_GENERATIONS_LOST,  /* shoal_generation_losses_total                    */
    SHOAL_COUNT_REPLAYED,          /* shoal_requests_replayed_total                    */
    SHOAL_COUNT_QUARANTINED,       /* shoal_requests_quarantined_total                 */
    SHOAL_COUNT_CANCELLED,         /* shoal_requests_cancelled_total                   */
    SHOAL_COUNT_REFUSED,           /* shoal_requests_refused_total: queue full, not ready */
    SHOAL_COUNT_STEPS,             /* shoal_steps_total                                */
    SHOAL_COUNT_END
} shoal_counter;

typedef enum {
    SHOAL_TIME_TO_FIRST_TOKEN, /* shoal_time_to_first_token_seconds       */
    SHOAL_TIME_INTER_TOKEN,    /* shoal_inter_token_latency_seconds       */
    SHOAL_TIME_REQUEST,        /* shoal_e2e_request_latency_seconds       */
    SHOAL_TIME_QUEUE,          /* shoal_request_queue_time_seconds        */
    SHOAL_TIME_PREFILL,        /* shoal_request_prefill_time_seconds      */
    SHOAL_TIME_DECODE,         /* shoal_request_decode_time_seconds       */
    SHOAL_TIME_STEP,           /* shoal_step_seconds                      */
    SHOAL_TIME_RECOVERY,       /* shoal_recovery_seconds                  */
    SHOAL_SIZE_PROMPT,         /* shoal_request_prompt_tokens             */
    SHOAL_SIZE_GENERATION,     /* shoal_request_generation_tokens         */
    SHOAL_SIZE_STEP,           /* shoal_iteration_tokens_total            */
    SHOAL_HISTOGRAM_END
} shoal_histogram;

/* `model_name` is UTF-8 and is copied. */
SHOAL_MUST_USE shoal_status shoal_metrics_create(const char *model_name, shoal_metrics **out);
void shoal_metrics_destroy(shoal_metrics *metrics);

void shoal_metrics_add(shoal_metrics *metrics, shoal_counter counter, uint64_t more);
void shoal_metrics_observe(shoal_metrics *metrics, shoal_histogram histogram, double value);

/* shoal_request_success_total{finished_reason}: "stop", "length", "error", and "abort" (vLLM's
 * word) for SHOAL_FINISH_NONE, a request that its client gave up. */
void shoal_metrics_finished(shoal_metrics *metrics, shoal_finish finish);

/* shoal_http_requests_total{handler, method, status}; `handler` is a route's path or "other", never
 * what a client made up; `status` 0: the client left before its answer. Methods that no route has
 * are counted as "other". */
void shoal_metrics_http(shoal_metrics *metrics, const char *handler, const char *method,
                        int status);

/* One rank as the page and the metrics show it. */
typedef struct {
    bool up;
    char host[64], level[16];
    int64_t q_heads[2], kv_heads[2], units[2], vocab[2]; /* half-open, of the plan */
    shoal_rank_memory memory;
    shoal_rank_timing timing;
} shoal_rank_view;

/* What is true now. */
typedef struct {
    const char *state; /* "loading", "serving", "recovering", "draining", "failed" */
    uint32_t generation;
    int connections;
    double uptime_seconds;
    int64_t requests; /* being answered */
    shoal_scheduler_stats scheduler;
    const shoal_rank_view *ranks; /* [rank_count] */
    int rank_count;
    double load_fraction;
} shoal_metrics_gauges;

/* Append the whole text (Content-Type "text/plain; version=0.0.4; charset=utf-8"). Fails only for
 * want of memory. */
SHOAL_MUST_USE shoal_status shoal_metrics_write(shoal_metrics *metrics,
                                                const shoal_metrics_gauges *gauges,
                                                shoal_strbuf *out);

#endif
