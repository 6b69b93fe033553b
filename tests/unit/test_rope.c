/* Powers, logarithms and rope frequencies against long double formulas written from their
 * definitions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "shard/power.h"
#include "tests/unit/model_case.h"

static double uniform(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(*seed >> 11) * 0x1p-53;
}

static void powers(void **state)
{
    uint64_t seed = 7;
    double worst_log = 0, worst_power = 0;
    (void)state;
    for (int i = 0; i < 300000; i++) {
        const double base = exp(uniform(&seed) * 70 - 35), exponent = uniform(&seed) * 4 - 2;
        const long double power = powl((long double)base, (long double)exponent);
        const long double logarithm = logl((long double)base);
        const double e = fabs((double)((shoal_power_double(base, exponent) - power) / power));
        const double l = fabs((double)((shoal_log_double(base) - logarithm) / logarithm));
        worst_power = e > worst_power ? e : worst_power;
        worst_log = l > worst_log ? l : worst_log;
    }
    print_message("relative error: log %.3g, power %.3g\n", worst_log, worst_power);
    assert_true(worst_log < 3e-16 && worst_power < 3e-16);
    assert_true(shoal_power_double(1e4, 0) == 1 && shoal_log_double(1) == 0);
    assert_true(shoal_power_double(1e6, 0.5) == 1000);
    assert_true(shoal_log_double(1.0000000000000002) == 0x1.fffffffffffffp-53);
}

static void frequencies_of(shoal_rope rope, float *out)
{
    if (rope.attention_factor == 0)
        rope.attention_factor = 1;
    shoal_rope_frequencies(&rope, 1, out);
}

static void near(float got, double want)
{
    if (fabs((double)got - want) > 6e-7 * want)
        fail_msg("%.9g instead of %.9g", (double)got, want);
}

/* At most the last bits off the exact value: fp32 rounds the exponent, the power, the reciprocal.
 */
static void plain_frequencies(void **state)
{
    static const int64_t dims[] = {2, 24, 32, 48, 64, 80, 96, 128, 256, 1024};
    static const double thetas[] = {1e4, 5e5, 1e6, 8e6};
    float got[512], linear[512];
    (void)state;
    for (size_t d = 0; d < LENGTH(dims); d++)
        for (size_t t = 0; t < LENGTH(thetas); t++) {
            const shoal_rope rope = {
                .kind = SHOAL_ROPE_DEFAULT, .dim = dims[d], .theta = thetas[t]};
            shoal_rope slow = rope;
            slow.kind = SHOAL_ROPE_LINEAR;
            slow.factor = 3;
            frequencies_of(rope, got);
            frequencies_of(slow, linear);
            assert_true(got[0] == 1);
            for (int64_t i = 0; i < dims[d] / 2; i++) {
                const long double exact =
                    powl((long double)thetas[t], -2.0L * (long double)i / (long double)dims[d]);
                /* half a unit of the exponent's last bit, times log theta, and two roundings */
                const double bound = (16.0 * 0x1p-25 + 2 * 0x1p-24) * (double)exact;
                assert_true(fabs((double)(got[i] - exact)) <= bound);
                assert_true(linear[i] == got[i] / 3.0f);
            }
        }
}

/* Numbers of the Llama 3.1 shape: theta 5e5, 128 dimensions, 8, 1, 4, 8192. */
static void llama3_frequencies(void **state)
{
    float got[64], plain[64];
    shoal_rope rope = {.kind = SHOAL_ROPE_LLAMA3,
                       .dim = 128,
                       .theta = 5e5,
                       .factor = 8,
                       .low_freq_factor = 1,
                       .high_freq_factor = 4,
                       .original_context = 8192};
    (void)state;
    frequencies_of(rope, got);
    rope.kind = SHOAL_ROPE_DEFAULT;
    frequencies_of(rope, plain);
    near(got[28], 0.003211446);
    near(got[29], 0.002166571);
    near(plain[29], 0.002616099);
    near(got[32], 0.000524846);
    for (int i = 0; i < 64; i++) {
        const double f = (double)plain[i], wave = 2 * 3.14159265358979323846 / f;
        const double t = (8192 / wave - 1) / 3;
        if (i <= 28)
            assert_true(got[i] == plain[i]);
        else if (i >= 35)
            assert_true(got[i] == plain[i] / 8);
        else
            near(got[i], (1 - t) * f / 8 + t * f);
    }
}

/* Factors that GGUF keeps lead back to the scaling that they are made of. The last one must be the
 * whole factor: the slowest wave is longer than the context. */
static void llama3_factors(void **state)
{
    static const int64_t contexts[] = {32, 1024, 8192};
    static const int dims[] = {32, 64, 128};
    static const double thetas[] = {1e4, 5e5, 123456.7};
    float factors[64];
    (void)state;
    for (int i = 0; i < 27; i++) {
        const shoal_rope made = {.kind = SHOAL_ROPE_LLAMA3,
                                 .dim = dims[i % 3],
                                 .theta = thetas[i / 3 % 3],
                                 .factor = i % 2 ? 8 : 32,
                                 .low_freq_factor = 1,
                                 .high_freq_factor = 4,
                                 .original_context = contexts[i / 9]};
        const shoal_rope kept = {.dim = made.dim, .theta = made.theta, .factors = factors};
        shoal_rope found;
        float want[64], got[64];
        for (int64_t f = 0; f < made.dim / 2; f++)
            factors[f] = shoal_rope_llama3_factor(&made, f);
        assert_true(shoal_rope_find_llama3(&kept, &found));
        frequencies_of(made, want);
        frequencies_of(found, got);
        assert_memory_equal(got, want, (size_t)made.dim / 2 * sizeof(float));
        factors[made.dim / 4] *= 1.01f;
        assert_false(shoal_rope_find_llama3(&kept, &found));
    }
}

static shoal_rope yarn_rope(void)
{
    return (shoal_rope){.kind = SHOAL_ROPE_YARN,
                        .dim = 128,
                        .theta = 1e6,
                        .factor = 4,
                        .beta_fast = 32,
                        .beta_slow = 1,
                        .truncate = true,
                        .original_context = 32768};
}

/* Numbers of the Qwen2.5 shape: theta 1e6, 128 dimensions, 32768, factor 4. */
static void yarn_frequencies(void **state)
{
    float got[64], plain[64];
    shoal_rope rope = yarn_rope();
    (void)state;
    frequencies_of(rope, got);
    rope.kind = SHOAL_ROPE_DEFAULT;
    frequencies_of(rope, plain);
    near(got[23], 6.978306e-3);
    near(got[31], 8.029597e-4);
    near(got[40], 4.445698e-5);
    for (int i = 0; i < 64; i++) {
        const double f = (double)plain[i];
        const double ramp = i <= 23 ? 0 : i >= 40 ? 1 : (i - 23) / 17.0;
        near(got[i], f / 4 * ramp + f * (1 - ramp));
        if (i <= 23)
            assert_true(got[i] == plain[i]);
    }
}

static void yarn_without_rounding(void **state)
{
    float got[64], plain[64];
    shoal_rope rope = yarn_rope();
    const double pi = 3.14159265358979323846;
    const double low = 128 * log(32768 / (32 * 2 * pi)) / (2 * log(1e6));
    const double high = 128 * log(32768 / (2 * pi)) / (2 * log(1e6));
    (void)state;
    rope.truncate = false;
    frequencies_of(rope, got);
    rope.kind = SHOAL_ROPE_DEFAULT;
    frequencies_of(rope, plain);
    for (int i = 0; i < 64; i++) {
        double ramp = (i - low) / (high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        near(got[i], (double)plain[i] * (ramp / 4 + 1 - ramp));
    }
}

/* Begin and end of the ramp may fall together; nothing may become infinite. */
static void yarn_extremes(void **state)
{
    static const int64_t contexts[] = {1, 64, 16777216};
    float got[64];
    (void)state;
    for (size_t i = 0; i < LENGTH(contexts); i++)
        for (int dim = 2; dim <= 128; dim += 42) {
            shoal_rope rope = yarn_rope();
            rope.dim = dim;
            rope.original_context = contexts[i];
            rope.beta_fast = 1;
            frequencies_of(rope, got);
            for (int f = 0; f < dim / 2; f++)
                assert_true(got[f] > 0 && got[f] <= 1);
        }
}

/* Untouched as far as the model was made for; beyond, the slowest wave is stretched as far as the
 * longest sequence goes beyond it. */
static void dynamic_frequencies(void **state)
{
    static const int64_t lengths[] = {1, 2048, 2049, 4096, 8192};
    const shoal_rope rope = {.kind = SHOAL_ROPE_DYNAMIC,
                             .dim = 128,
                             .theta = 1e4,
                             .factor = 4,
                             .attention_factor = 1,
                             .original_context = 2048};
    float got[64], plain[64];
    shoal_rope unscaled = rope;
    (void)state;
    unscaled.kind = SHOAL_ROPE_DEFAULT;
    frequencies_of(unscaled, plain);
    for (size_t l = 0; l < LENGTH(lengths); l++) {
        const double stretch = 4.0 * (double)lengths[l] / 2048 - 3;
        shoal_rope_frequencies(&rope, lengths[l], got);
        for (int i = 0; i < 64; i++) {
            if (lengths[l] <= 2048)
                assert_true(got[i] == plain[i]);
            else
                near(got[i], pow(1e4 * pow(stretch, 128.0 / 126.0), -2.0 * i / 128));
        }
        if (lengths[l] > 2048)
            near(got[63], (double)plain[63] / stretch);
    }
}

/* Numbers of the Phi-3 mini 128k shape: 96 dimensions, 4096 of 131072. */
static void longrope_frequencies(void **state)
{
    static const int64_t lengths[] = {1, 4096, 4097, 131072};
    float few[48], many[48], got[48], plain[48];
    shoal_rope rope = {.kind = SHOAL_ROPE_LONGROPE,
                       .dim = 96,
                       .theta = 1e4,
                       .factor = 32,
                       .attention_factor = 1,
                       .short_factors = few,
                       .long_factors = many,
                       .original_context = 4096};
    (void)state;
    for (int i = 0; i < 48; i++) {
        few[i] = 1 + 0.05f * (float)i;
        many[i] = 1 + 1.3f * (float)i;
    }
    for (size_t l = 0; l < LENGTH(lengths); l++) {
        const float *factors = lengths[l] > 4096 ? many : few;
        shoal_rope_frequencies(&rope, lengths[l], got);
        for (int i = 0; i < 48; i++)
            near(got[i], pow(1e4, -2.0 * i / 96) / (double)factors[i]);
    }
    for (int i = 0; i < 48; i++)
        few[i] = 1;
    shoal_rope_frequencies(&rope, 1, got);
    rope.kind = SHOAL_ROPE_DEFAULT;
    frequencies_of(rope, plain);
    for (int i = 0; i < 48; i++)
        assert_true(got[i] == plain[i]);
}

static void longrope_magnitudes(void **state)
{
    static const struct {
        const char *members;
        double want;
    } cases[] = {
        {"", 1.1547005383792515}, /* contexts 256 and 64: sqrt(1 + log 4 / log 64) */
        {", \"factor\": 1.0", 1},
        {", \"factor\": 8.0", 1.2247448713915890},
        {", \"attention_factor\": 1.5", 1.5},
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char changes[512];
        snprintf(changes, sizeof changes,
                 "{\"head_dim\": 4, \"original_max_position_embeddings\": 64, \"rope_scaling\":"
                 "{\"type\": \"longrope\", \"short_factor\": [1, 1], \"long_factor\": [1, 2]%s}}",
                 cases[i].members);
        shoal_model *m = must_parse("phi3", changes);
        if (fabs(m->ropes[0].attention_factor - cases[i].want) > 1e-14)
            fail_msg("%s: %.17g", cases[i].members, m->ropes[0].attention_factor);
        shoal_model_close(m);
    }
}

/* How far a model goes, and whether the length matters. */
static void reach(void **state)
{
    static const struct {
        const char *changes;
        int64_t reach;
        bool minds;
    } cases[] = {
        {"{}", 256, false},
        {"{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}}", 256, false},
        {"{\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.5}}", 640, true},
        {"{\"max_position_embeddings\": 16777216, \"rope_scaling\":"
         "{\"type\": \"dynamic\", \"factor\": 2}}",
         SHOAL_CONTEXT_MAX, true},
        {"{\"head_dim\": 4, \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1],"
         "\"long_factor\": [1, 2]}}",
         256, true},
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        shoal_model *m = must_parse("llama", cases[i].changes);
        assert_int_equal(m->reach, cases[i].reach);
        assert_int_equal(shoal_model_minds_length(m), cases[i].minds);
        shoal_model_close(m);
    }
}

static void yarn_magnitudes(void **state)
{
    static const struct {
        const char *members;
        double want;
    } cases[] = {
        {"\"factor\": 4.0", 1.138629436111989},
        {"\"factor\": 1.0", 1},
        {"\"factor\": 0.5", 1},
        {"\"factor\": 4.0, \"attention_factor\": 1.5", 1.5},
        {"\"factor\": 4.0, \"mscale\": 1.0, \"mscale_all_dim\": 1.0", 1},
        {"\"factor\": 40, \"mscale\": 0.707, \"mscale_all_dim\": 0.0", 1.3688879454113936},
        {"\"factor\": 40, \"mscale\": 1.0, \"mscale_all_dim\": 0.5",
         1.3688879454113936 / 1.1844439727056968},
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char changes[512];
        snprintf(changes, sizeof changes, "{\"rope_scaling\": {\"rope_type\": \"yarn\", %s}}",
                 cases[i].members);
        shoal_model *m = must_parse("llama", changes);
        if (fabs(m->ropes[0].attention_factor - cases[i].want) > 1e-14)
            fail_msg("%s: %.17g", cases[i].members, m->ropes[0].attention_factor);
        shoal_model_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(powers),
        cmocka_unit_test(plain_frequencies),
        cmocka_unit_test(llama3_frequencies),
        cmocka_unit_test(llama3_factors),
        cmocka_unit_test(yarn_frequencies),
        cmocka_unit_test(yarn_without_rounding),
        cmocka_unit_test(yarn_extremes),
        cmocka_unit_test(yarn_magnitudes),
        cmocka_unit_test(dynamic_frequencies),
        cmocka_unit_test(longrope_frequencies),
        cmocka_unit_test(longrope_magnitudes),
        cmocka_unit_test(reach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
