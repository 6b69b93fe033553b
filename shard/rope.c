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

/* theta^(2i/dim) */
static float power(const shoal_rope *rope, double theta, int64_t i)
{
    const float exponent = (float)(2 * i) / (float)rope->dim;
    return (float)shoal_power_double((double)(float)theta, (double)exponent);
}

static float plain(const shoal_rope *rope, int64_t i)
{
    return 1.0f / power(rope, rope->theta, i);
}

/* The theta that stretches the slowest wave to the longest sequence. */
static double dynamic_theta(const shoal_rope *rope, int64_t longest)
{
    const double context = (double)rope->original_context, dim = (double)rope->dim;
    if (longest <= rope->original_context)
        return rope->theta;
    const double stretch = rope->factor * (double)longest / context - (rope->factor - 1);
    return rope->theta * shoal_power_double(stretch, dim / (dim - 2));
}

static float longrope(const shoal_rope *rope, int64_t longest, int64_t i)
{
    const float *factors =
        longest > rope->original_context ? rope->long_factors : rope->short_factors;
    return 1.0f / (factors[i] * power(rope, rope->theta, i));
}

/* How much of a wave's frequency llama3 keeps: nothing of long waves, all of short ones. */
static float llama3_kept(const shoal_rope *rope, float f)
{
    const double context = (double)rope->original_context;
    const float long_wave = (float)(context / rope->low_freq_factor);
    const float short_wave = (float)(context / rope->high_freq_factor);
    const float wave = (1.0f / f) * (float)(2 * PI);
    if (wave > long_wave)
        return 0;
    if (wave < short_wave)
        return 1;
    const float turns = (1.0f / wave) * (float)context;
    return (turns - (float)rope->low_freq_factor) /
           (float)(rope->high_freq_factor - rope->low_freq_factor);
}

/* Long waves are slowed down by the factor, short ones kept, those between blended. */
static float llama3(const shoal_rope *rope, float f)
{
    const float kept = llama3_kept(rope, f), factor = (float)rope->factor;
    if (kept == 0)
        return f / factor;
    if (kept == 1)
        return f;
    const float slow = (1.0f - kept) * f / factor, fast = kept * f;
    return slow + fast;
}

/* What frequency f is divided by, as the converter of llama.cpp has it, in fp32. */
static float llama3_factor(const shoal_rope *rope, float f)
{
    const float kept = llama3_kept(rope, f), factor = (float)rope->factor;
    if (kept == 0)
        return factor;
    return kept == 1 ? 1 : 1.0f / ((1.0f - kept) / factor + kept);
}

float shoal_rope_llama3_factor(const shoal_rope *rope, int64_t i)
{
    const float f = plain(rope, i), scaled = llama3(rope, f), near = f / scaled;
    const float around[] = {near, nextafterf(near, 0), nextafterf(near, INFINITY)};
    for (size_t at = 0; at < sizeof around / sizeof around[0]; at++)
        if (f / around[at] == scaled)
            return around[at];
    return llama3_factor(rope, f);
}

static bool gives_factors(const shoal_rope *scaling, const float *factors)
{
    for (int64_t i = 0; i < scaling->dim / 2; i++) {
        const float f = plain(scaling, i);
        if (factors[i] != llama3_factor(scaling, f) && f / factors[i] != llama3(scaling, f))
            return false;
    }
    return true;
}

bool shoal_rope_find_llama3(const shoal_rope *rope, shoal_rope *out)
{
    shoal_rope scaling = *rope;
    if (!rope->factors || rope->kind != SHOAL_ROPE_DEFAULT)
        return false;
    scaling.kind = SHOAL_ROPE_LLAMA3;
    scaling.factors = NULL;
    scaling.factor = (double)rope->factors[rope->dim / 2 - 1];
    scaling.low_freq_factor = 1;
    scaling.high_freq_factor = 4;
    for (int64_t context = 16; context <= SHOAL_CONTEXT_MAX; context *= 2) {
        scaling.original_context = context;
        if (!gives_factors(&scaling, rope->factors))
            continue;
        *out = scaling;
        return true;
    }
    return false;
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
    const float p = power(rope, rope->theta, i);
    const float fast = 1.0f / p, slow = 1.0f / ((float)rope->factor * p);
    float ramp = ((float)i - begin) / length;
    if (ramp < 0)
        ramp = 0;
    else if (ramp > 1)
        ramp = 1;
    const float kept = 1.0f - ramp;
    const float from_slow = slow * (1.0f - kept), from_fast = fast * kept;
    return from_slow + from_fast;
}

bool shoal_model_minds_length(const shoal_model *model)
{
    for (int i = 0; i < model->rope_count; i++)
        if (model->ropes[i].kind == SHOAL_ROPE_DYNAMIC ||
            model->ropes[i].kind == SHOAL_ROPE_LONGROPE)
            return true;
    return false;
}

void shoal_rope_frequencies(const shoal_rope *rope, int64_t longest, float *inv_freq)
{
    const double stretched = rope->kind == SHOAL_ROPE_DYNAMIC ? dynamic_theta(rope, longest) : 0;
    float begin = 0, length = 1;
    if (rope->kind == SHOAL_ROPE_YARN)
        yarn_ramp(rope, &begin, &length);
    for (int64_t i = 0; i < rope->dim / 2; i++) {
        switch (rope->kind) {
        case SHOAL_ROPE_DEFAULT: inv_freq[i] = plain(rope, i); break;
        case SHOAL_ROPE_LINEAR: inv_freq[i] = plain(rope, i) / (float)rope->factor; break;
        case SHOAL_ROPE_LLAMA3: inv_freq[i] = llama3(rope, plain(rope, i)); break;
        case SHOAL_ROPE_YARN: inv_freq[i] = yarn(rope, i, begin, length); break;
        case SHOAL_ROPE_DYNAMIC: inv_freq[i] = 1.0f / power(rope, stretched, i); break;
        case SHOAL_ROPE_LONGROPE: inv_freq[i] = longrope(rope, longest, i); break;
        }
        if (rope->factors)
            inv_freq[i] /= rope->factors[i];
    }
}
