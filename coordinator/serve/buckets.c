#include "coordinator/serve/buckets.h"

#include <stddef.h>

void shoal_buckets_add(shoal_buckets *buckets, double value)
{
    const shoal_bounds *bounds = buckets->bounds;
    const double sound = value > 0 ? value : 0;
    int i = 0;
    while (i < bounds->count && sound > bounds->at[i])
        i++;
    buckets->counts[i]++;
    buckets->sum += sound;
}

void shoal_buckets_write(const shoal_buckets *buckets, const shoal_label *label,
                         shoal_exposition *x)
{
    const shoal_bounds *bounds = buckets->bounds;
    const int shared = label ? 1 : 0;
    uint64_t below = 0;
    for (int i = 0; i <= bounds->count; i++) {
        char bound[SHOAL_EXPOSITION_NUMBER_MAX] = "+Inf";
        if (i < bounds->count)
            shoal_exposition_number(bounds->at[i], bound);
        shoal_label labels[2];
        if (label)
            labels[0] = *label;
        labels[shared] = (shoal_label){"le", bound};
        below += buckets->counts[i];
        shoal_exposition_sample(x, "_bucket", labels, shared + 1, (double)below);
    }
    shoal_exposition_sample(x, "_sum", label, shared, buckets->sum);
    shoal_exposition_sample(x, "_count", label, shared, (double)below);
}
