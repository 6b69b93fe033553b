#include "coordinator/bench/pairs.h"

/* Ratios of the pairs, then the pairs' limits, sorted. */
static shoal_status pair_up(const shoal_bench_pairs *pairs, shoal_bench_samples *ratios,
                            shoal_bench_samples *limits)
{
    for (size_t i = 0; i < pairs->values.count; i++) {
        const double limit = (pairs->limits.data[i] + pairs->limits.data[i + 1]) / 2;
        SHOAL_TRY(shoal_bench_samples_add(limits, limit));
        SHOAL_TRY(shoal_bench_samples_add(ratios, pairs->values.data[i] / limit));
    }
    shoal_bench_samples_sort(ratios);
    shoal_bench_samples_sort(limits);
    return SHOAL_OK;
}

static shoal_status sorted_copy(const shoal_bench_samples *from, shoal_bench_samples *to)
{
    for (size_t i = 0; i < from->count; i++)
        SHOAL_TRY(shoal_bench_samples_add(to, from->data[i]));
    shoal_bench_samples_sort(to);
    return SHOAL_OK;
}

shoal_status shoal_bench_pairs_summary(const shoal_bench_pairs *pairs,
                                       shoal_bench_pair_summary *out)
{
    shoal_bench_samples ratios = {0}, limits = {0}, values = {0};
    shoal_status st = SHOAL_OK;
    if (pairs->values.count == 0 || pairs->limits.count != pairs->values.count + 1)
        return shoal_fail(SHOAL_ERR_INTERNAL, "%zu values among %zu limits", pairs->values.count,
                          pairs->limits.count);
    SHOAL_TRY_GOTO(pair_up(pairs, &ratios, &limits), destroy);
    SHOAL_TRY_GOTO(sorted_copy(&pairs->values, &values), destroy);
    const double median = shoal_bench_samples_quantile(&values, 0.5);
    *out = (shoal_bench_pair_summary){
        .value = median,
        .limit = shoal_bench_samples_quantile(&limits, 0.5),
        .fraction = shoal_bench_samples_quantile(&ratios, 0.5),
        .spread = (shoal_bench_samples_quantile(&values, 0.9) -
                   shoal_bench_samples_quantile(&values, 0.1)) /
                  median,
    };

destroy:
    shoal_bench_samples_free(&ratios);
    shoal_bench_samples_free(&limits);
    shoal_bench_samples_free(&values);
    return st;
}

void shoal_bench_pairs_free(shoal_bench_pairs *pairs)
{
    shoal_bench_samples_free(&pairs->values);
    shoal_bench_samples_free(&pairs->limits);
}
