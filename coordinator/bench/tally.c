#include "coordinator/bench/tally.h"

#include <stdio.h>

void shoal_bench_tally_fail(shoal_bench_tally *tally)
{
    if (tally->failed++ == 0)
        (void)snprintf(tally->first_failure, sizeof tally->first_failure, "%s", shoal_error_text());
}

void shoal_bench_tally_sort(shoal_bench_tally *tally)
{
    shoal_bench_samples_sort(&tally->ttft);
    shoal_bench_samples_sort(&tally->itl);
    shoal_bench_samples_sort(&tally->total);
}

double shoal_bench_tally_throughput(const shoal_bench_tally *tally)
{
    return tally->seconds > 0 ? (double)tally->tokens / tally->seconds : 0;
}

double shoal_bench_tally_request_rate(const shoal_bench_tally *tally)
{
    return tally->seconds > 0 ? (double)tally->finished / tally->seconds : 0;
}

void shoal_bench_tally_free(shoal_bench_tally *tally)
{
    shoal_bench_samples_free(&tally->ttft);
    shoal_bench_samples_free(&tally->itl);
    shoal_bench_samples_free(&tally->total);
    *tally = (shoal_bench_tally){0};
}
