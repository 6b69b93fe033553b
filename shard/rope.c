/* shard/rope.c - the frequencies of a rotary embedding (shoal_rope_frequencies of model.h).
 *
 * transformers computes them in fp32, one rounding per operation; here the same operations are
 * rounded at the same places, so that only the power may differ from it by its last bit. Dividing
 * a number by a tensor is, there, a multiplication by the rounded reciprocal.
 * Formulas: huggingface/transformers modeling_rope_utils.py; yarn: arXiv 2309.00071. */
#include <math.h>

#include "shard/model.h"
#include "shard/power.h"

#define PI 3.14159265358979323846

/* theta^(-2i/dim) */
static float plain(const shoal_rope *rope, int64_t i)
{
    const float exponent = (float)(2 * i) / (float)rope->dim;
    const float power = (float)shoal_power_double((double)(float)rope->theta, (double)exponent);
    return 1.0f / power;
}

/* Long waves are slowed down by the factor, short ones kept, those between blended. */
static float llama3(const shoal_rope *rope, float f)
{
    const double context = (double)rope->original_context;
    const float long_wave = (float)(context / rope->low_freq_factor);
    const float short_wave = (float)(context / rope->high_freq_factor);
    const float factor = (float)rope->factor;
    const float wave = (1.0f / f) * (float)(2 * PI);

    if (wave > long_wave)
        return f / factor;
    if (wave < short_wave)
        return f;
    const float turns = (1.0f / wave) * (float)context;
    const float blend = (turns - (float)rope->low_freq_factor) /
                        (float)(rope->high_freq_factor - rope->low_freq_factor);
    const float slow = (1.0f - blend) * f / factor, fast = blend * f;
    return slow + fast;
}

/* The dimension whose wave turns `turns` times within the original context. */
static double turning_dim(const shoal_rope *rope, double turns)
{
    const double context = (double)rope->original_context;
    return (double)rope->dim * shoal_log_double(context / (turns * 2 * PI)) /
           (2 * shoal_log_double(rope->theta));
}

/* Where yarn's blend begins and how far it reaches. */
static void yarn_ramp(const shoal_rope *rope, float *begin, float *length)
{
    double low = turning_dim(rope, rope->beta_fast), high = turning_dim(rope, rope->beta_slow);
    if (rope->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    if (low < 0)
        low = 0;
    if (high > (double)(rope->dim - 1))
        high = (double)(rope->dim - 1);
    if (low == high)
        high += 0.001;
    *begin = (float)low;
    *length = (float)(high - low);
}

static float yarn(const shoal_rope *rope, int64_t i, float begin, float length)
{
    const float exponent = (float)(2 * i) / (float)rope->dim;
    const float power = (float)shoal_power_double((double)(float)rope->theta, (double)exponent);
    const float fast = 1.0f / power, slow = 1.0f / ((float)rope->factor * power);
    float ramp = ((float)i - begin) / length;
    if (ramp < 0)
        ramp = 0;
    else if (ramp > 1)
        ramp = 1;
    const float kept = 1.0f - ramp;
    const float from_slow = slow * (1.0f - kept), from_fast = fast * kept;
    return from_slow + from_fast;
}

void shoal_rope_frequencies(const shoal_rope *rope, float *inv_freq)
{
    float begin = 0, length = 1;
    if (rope->kind == SHOAL_ROPE_YARN)
        yarn_ramp(rope, &begin, &length);
    for (int64_t i = 0; i < rope->dim / 2; i++) {
        switch (rope->kind) {
        case SHOAL_ROPE_DEFAULT: inv_freq[i] = plain(rope, i); break;
        case SHOAL_ROPE_LINEAR: inv_freq[i] = plain(rope, i) / (float)rope->factor; break;
        case SHOAL_ROPE_LLAMA3: inv_freq[i] = llama3(rope, plain(rope, i)); break;
        case SHOAL_ROPE_YARN: inv_freq[i] = yarn(rope, i, begin, length); break;
        }
        if (rope->factors)
            inv_freq[i] /= rope->factors[i];
    }
}
