/* The sampler against distributions computed by transformers (golden tok/sampling/cases.json), the
 * random numbers against the published vectors of Philox4x32-10, and draws against their
 * distribution. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "proto/arena.h"
#include "worker/sampler.h"

#define VOCAB_MAX   4096
#define HISTORY_MAX 64
#define TOLERANCE   2e-5

static const shoal_sampling off = {
    .temperature = 1.0f, .top_p = 1.0f, .repetition_penalty = 1.0f, .logprobs = -1};

/* --- golden cases ---------------------------------------------------------------------------- */

typedef struct {
    float logits[VOCAB_MAX];
    int32_t vocab;
    int32_t history[HISTORY_MAX];
    shoal_step_bias biases[HISTORY_MAX];
    shoal_sampling sampling;
    shoal_sample_request request;
} golden_case;

static void read_setting(golden_case *c, const char *key, const json_t *value)
{
    const float number = (float)json_number_value(value);
    if (strcmp(key, "temperature") == 0)
        c->sampling.temperature = number;
    else if (strcmp(key, "top_p") == 0)
        c->sampling.top_p = number;
    else if (strcmp(key, "min_p") == 0)
        c->sampling.min_p = number;
    else if (strcmp(key, "top_k") == 0)
        c->sampling.top_k = (int32_t)json_integer_value(value);
    else if (strcmp(key, "repetition_penalty") == 0)
        c->sampling.repetition_penalty = number;
    else if (strcmp(key, "frequency_penalty") == 0)
        c->sampling.frequency_penalty = number;
    else if (strcmp(key, "presence_penalty") == 0)
        c->sampling.presence_penalty = number;
    else
        assert_string_equal(key, "logit_bias");
}

static int32_t append_ids(golden_case *c, int32_t at, const json_t *ids)
{
    size_t i;
    json_t *id;
    json_array_foreach(ids, i, id)
    {
        assert_true(at < HISTORY_MAX);
        c->history[at++] = (int32_t)json_integer_value(id);
    }
    return at;
}

static void read_case(golden_case *c, const json_t *root, json_t *row)
{
    memset(c, 0, sizeof *c);
    const json_t *logits = json_object_get(json_object_get(root, "logits"),
                                           json_string_value(json_object_get(row, "logits")));
    c->vocab = (int32_t)json_array_size(logits);
    assert_in_range(c->vocab, 1, VOCAB_MAX);
    for (int32_t i = 0; i < c->vocab; i++)
        c->logits[i] = (float)json_number_value(json_array_get(logits, (size_t)i));

    const char *key, *id;
    json_t *value, *bias;
    c->sampling = off;
    json_t *settings = json_object_get(row, "settings");
    json_object_foreach(settings, key, value) read_setting(c, key, value);
    json_t *biases = json_object_get(settings, "logit_bias");
    int32_t bias_count = 0;
    json_object_foreach(biases, id, bias) c->biases[bias_count++] =
        (shoal_step_bias){(int32_t)strtol(id, NULL, 10), (float)json_number_value(bias)};
    const int32_t prompt = append_ids(c, 0, json_object_get(row, "prompt_ids"));
    const int32_t count = append_ids(c, prompt, json_object_get(row, "output_ids"));
    c->request = (shoal_sample_request){.sampling = &c->sampling,
                                        .history = c->history,
                                        .history_count = count,
                                        .history_prompt = prompt,
                                        .biases = c->biases,
                                        .bias_count = bias_count};
}

static bool is_kept(const json_t *kept, int32_t id)
{
    if (!json_is_array(kept))
        return true;
    size_t i;
    json_t *one;
    json_array_foreach(kept, i, one)
    {
        if (json_integer_value(one) == id)
            return true;
    }
    return false;
}

static double check_case(const golden_case *c, json_t *row)
{
    shoal_sampler *sampler;
    double probs[VOCAB_MAX], worst = 0;
    assert_int_equal(shoal_sampler_create(c->vocab, &sampler), SHOAL_OK);
    for (int twice = 0; twice < 2; twice++) { /* the scratch is clean again */
        assert_int_equal(shoal_sample_probabilities(sampler, c->logits, &c->request, probs),
                         SHOAL_OK);
        for (int32_t id = 0; id < c->vocab; id++) {
            const double want =
                json_number_value(json_array_get(json_object_get(row, "probs"), (size_t)id));
            const bool kept = is_kept(json_object_get(row, "kept"), id);
            worst = fmax(worst, fabs(probs[id] - want));
            if (kept != (probs[id] > 0) || !(fabs(probs[id] - want) <= TOLERANCE))
                fail_msg("case %d (%s), id %d: %g, expected %g (%s)",
                         (int)json_integer_value(json_object_get(row, "n")),
                         json_string_value(json_object_get(row, "label")), id, probs[id], want,
                         kept ? "kept" : "dropped");
        }
    }
    shoal_sampler_destroy(sampler);
    return worst;
}

static void golden_cases(void **state)
{
    (void)state;
    const char *folder = getenv("SHOAL_GOLDEN");
    char path[4096];
    json_error_t error;
    (void)snprintf(path, sizeof path, "%s/tok/sampling/cases.json",
                   folder ? folder : "../shared/golden");
    json_t *root = json_load_file(path, 0, &error);
    if (!root) {
        printf("skipped: no golden data\n");
        skip();
    }
    size_t i;
    json_t *row;
    double worst = 0;
    static golden_case c;
    json_t *rows = json_object_get(root, "cases");
    json_array_foreach(rows, i, row)
    {
        read_case(&c, root, row);
        worst = fmax(worst, check_case(&c, row));
    }
    printf("%zu cases, largest difference %.2g\n", json_array_size(rows), worst);
    assert_int_equal(json_array_size(rows), 91);
    json_decref(root);
}

/* --- random numbers -------------------------------------------------------------------------- */

/* Philox4x32-10 once more, in the form of the paper: all four words, 128-bit arithmetic. */
static void philox_reference(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    static const uint64_t multiplier[2] = {0xD2511F53, 0xCD9E8D57};
    static const uint32_t weyl[2] = {0x9E3779B9, 0xBB67AE85};
    uint32_t left[2] = {counter[1], counter[3]}, right[2] = {counter[0], counter[2]};
    for (uint32_t round = 0; round < 10; round++) {
        uint32_t high[2], low[2];
        for (int i = 0; i < 2; i++) {
            const uint64_t product = multiplier[i] * right[i];
            high[i] = (uint32_t)(product >> 32);
            low[i] = (uint32_t)product;
        }
        for (int i = 0; i < 2; i++) {
            right[i] = high[1 - i] ^ (key[i] + round * weyl[i]) ^ left[i];
            left[i] = low[1 - i];
        }
    }
    out[0] = right[0];
    out[1] = left[0];
    out[2] = right[1];
    out[3] = left[1];
}

static void philox_vectors(void **state)
{
    (void)state;
    /* From the known-answer tests of Random123: counter, key, result. */
    static const uint32_t known[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    uint32_t out[4];
    for (int i = 0; i < 3; i++) {
        philox_reference(known[i], known[i] + 4, out);
        assert_memory_equal(out, known[i] + 6, sizeof out);
    }
    assert_int_equal(shoal_philox(0, 0, 0), known[0][6]);
    uint64_t seed = 1, position = 99;
    for (uint32_t i = 0; i < 1000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        position = position * UINT64_C(2862933555777941757) + 3037000493;
        const uint32_t counter[4] = {(uint32_t)position, (uint32_t)(position >> 32), i, 0};
        const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
        philox_reference(counter, key, out);
        assert_int_equal(shoal_philox(seed, i, position), out[0]);
    }
}

/* --- drawing --------------------------------------------------------------------------------- */

static void fill_logits(float *logits, int32_t vocab, uint64_t seed)
{
    for (int32_t i = 0; i < vocab; i++)
        logits[i] = (float)(shoal_philox(seed, 1, (uint64_t)i) >> 12) * 0x1p-17f - 4.0f;
}

/* The token drawn at u is the one where the cumulative sum, best first, passes u. */
static void draws_follow_the_definition(void **state)
{
    (void)state;
    enum { vocab = 500 };
    static float logits[vocab];
    static double probs[vocab];
    shoal_sampler *sampler;
    shoal_sampling how = off;
    shoal_sequence_result result;
    assert_int_equal(shoal_sampler_create(vocab, &sampler), SHOAL_OK);
    int64_t drawn[vocab] = {0};
    const int draws = 20000;
    fill_logits(logits, vocab, 3);
    how.top_k = 50;
    how.seed = 12345;
    for (int i = 0; i < draws; i++) {
        const shoal_sample_request request = {.sampling = &how, .position = i};
        assert_int_equal(shoal_sample(sampler, logits, &request, &result), SHOAL_OK);
        assert_in_range(result.token, 0, vocab - 1);
        drawn[result.token]++;
        if (i % 100)
            continue;
        const double u = (double)(shoal_philox(12345, 0, (uint64_t)i) >> 8) * 0x1p-24;
        double before = 0; /* of everybody better */
        assert_int_equal(shoal_sample_probabilities(sampler, logits, &request, probs), SHOAL_OK);
        for (int32_t id = 0; id < vocab; id++)
            if (logits[id] > logits[result.token] ||
                (logits[id] == logits[result.token] && id < result.token))
                before += probs[id];
        assert_true(u >= before - 1e-9 && u <= before + probs[result.token] + 1e-9);
    }
    double chi = 0;
    for (int32_t id = 0; id < vocab; id++) {
        if (probs[id] == 0)
            assert_int_equal(drawn[id], 0);
        else
            chi += ((double)drawn[id] - draws * probs[id]) *
                   ((double)drawn[id] - draws * probs[id]) / (draws * probs[id]);
    }
    printf("chi-square %.1f on 49 degrees of freedom\n", chi);
    assert_true(chi < 94.0); /* exceeded by chance once in 10000 seeds */
    shoal_sampler_destroy(sampler);
}

/* The fast paths (digit filter, radix sort) against sorting everything. */
static const float *compared;

static int better(const void *a, const void *b)
{
    const int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    if (compared[i] != compared[j])
        return compared[i] > compared[j] ? -1 : 1;
    return i < j ? -1 : i > j;
}

static void top_k_against_a_sort(void **state)
{
    (void)state;
    enum { vocab = VOCAB_MAX };
    static float logits[vocab];
    static double probs[vocab];
    static int32_t order[vocab];
    shoal_sampler *sampler;
    shoal_sampling how = off;
    const shoal_sample_request request = {.sampling = &how};
    assert_int_equal(shoal_sampler_create(vocab, &sampler), SHOAL_OK);
    for (uint64_t seed = 0; seed < 60; seed++) {
        fill_logits(logits, vocab, seed);
        if (seed % 2) /* many ties, signed zeros among them */
            for (int32_t i = 0; i < vocab; i++)
                logits[i] = rintf(logits[i] * 4.0f) * 0.25f;
        for (int32_t i = 0; i < vocab; i++)
            order[i] = i;
        compared = logits;
        qsort(order, vocab, sizeof order[0], better);
        how.top_k = 1 + (int32_t)(seed * 67);
        assert_int_equal(shoal_sample_probabilities(sampler, logits, &request, probs), SHOAL_OK);
        double sum = 0;
        for (int32_t i = 0; i < vocab; i++) {
            const bool kept = logits[order[i]] >= logits[order[how.top_k - 1]];
            assert_int_equal(probs[order[i]] > 0, kept);
            sum += probs[order[i]];
        }
        assert_true(fabs(sum - 1) < 1e-12);
    }
    shoal_sampler_destroy(sampler);
}

static shoal_status pick(const float *logits, int64_t vocab, const shoal_sampling *how,
                         const uint32_t *allowed, shoal_sequence_result *result)
{
    shoal_sampler *sampler;
    const shoal_sample_request request = {.sampling = how, .allowed = allowed, .position = 7};
    assert_int_equal(shoal_sampler_create(vocab, &sampler), SHOAL_OK);
    const shoal_status st = shoal_sample(sampler, logits, &request, result);
    shoal_sampler_destroy(sampler);
    return st;
}

static void odd_logits(void **state)
{
    (void)state;
    shoal_sampling greedy = off, warm = off, tiny = off;
    shoal_sequence_result result = {.id = 5, .failed_layer = -1, .nll = 2.5, .token = -1};
    greedy.temperature = 0;
    tiny.temperature = 1e-42f;
    const float nan_first[] = {NAN, 1, NAN, 3, 3, NAN};
    const shoal_sampling *ways[] = {&greedy, &tiny};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pick(nan_first, 6, ways[i], NULL, &result), SHOAL_OK);
        assert_int_equal(result.token, 3);
    }
    for (uint64_t seed = 0; seed < 200; seed++) {
        warm.seed = seed;
        assert_int_equal(pick(nan_first, 6, &warm, NULL, &result), SHOAL_OK);
        assert_true(result.token == 1 || result.token == 3 || result.token == 4);
    }
    assert_true(result.id == 5 && result.failed_layer == -1 && result.nll == 2.5);

    const float nothing[] = {NAN, -INFINITY, NAN}, infinite[] = {1, INFINITY, INFINITY};
    result.token = -1;
    assert_int_equal(pick(nothing, 3, &greedy, NULL, &result), SHOAL_ERR_DATA);
    assert_int_equal(pick(nothing, 3, &warm, NULL, &result), SHOAL_ERR_DATA);
    assert_int_equal(result.token, -1);
    assert_int_equal(pick(infinite, 3, &warm, NULL, &result), SHOAL_OK);
    assert_int_equal(result.token, 1);
    const float zeros[] = {-1, -0.0f, 0.0f};
    assert_int_equal(pick(zeros, 3, &greedy, NULL, &result), SHOAL_OK);
    assert_int_equal(result.token, 1);
}

static void masks(void **state)
{
    (void)state;
    enum { vocab = 70 };
    float logits[vocab];
    uint32_t mask[3] = {0, 0, 0};
    shoal_sampling greedy = off, warm = off;
    shoal_sequence_result result = {.token = -1};
    greedy.temperature = 0;
    for (int i = 0; i < vocab; i++)
        logits[i] = (float)i;
    assert_int_equal(pick(logits, vocab, &greedy, mask, &result), SHOAL_ERR_DATA);
    mask[2] = UINT32_C(1) << 31; /* beyond the vocabulary: still nothing */
    assert_int_equal(pick(logits, vocab, &warm, mask, &result), SHOAL_ERR_DATA);
    mask[1] = 1u << 1;
    mask[0] = 1u << 3;
    assert_int_equal(pick(logits, vocab, &greedy, mask, &result), SHOAL_OK);
    assert_int_equal(result.token, 33);
    for (uint64_t seed = 0; seed < 100; seed++) {
        warm.seed = seed;
        warm.temperature = 100;
        assert_int_equal(pick(logits, vocab, &warm, mask, &result), SHOAL_OK);
        assert_true(result.token == 33 || result.token == 3);
    }
}

static void log_probabilities(void **state)
{
    (void)state;
    enum { vocab = 1000 };
    static float logits[vocab];
    double sum = 0;
    shoal_sequence_result result;
    shoal_sampling how = off;
    fill_logits(logits, vocab, 17);
    logits[123] = logits[77] = 5.0f; /* a tie at the top */
    for (int i = 0; i < vocab; i++)
        sum += exp((double)logits[i]);
    assert_true(fabs((double)shoal_logits_lse(logits, vocab) - log(sum)) < 2e-6);

    how.temperature = 0;
    how.logprobs = SHOAL_LOGPROBS_MAX;
    assert_int_equal(pick(logits, vocab, &how, NULL, &result), SHOAL_OK);
    assert_int_equal(result.token, 77);
    assert_int_equal(result.top_count, SHOAL_LOGPROBS_MAX);
    assert_int_equal(result.top_ids[0], 77);
    assert_int_equal(result.top_ids[1], 123);
    for (int i = 0; i < SHOAL_LOGPROBS_MAX; i++) {
        int64_t ahead = 0; /* how many are better: its place */
        for (int id = 0; id < vocab; id++)
            ahead += logits[id] > logits[result.top_ids[i]] ||
                     (logits[id] == logits[result.top_ids[i]] && id < result.top_ids[i]);
        assert_int_equal(ahead, i);
        assert_true(fabs((double)result.top_logprobs[i] -
                         ((double)logits[result.top_ids[i]] - log(sum))) < 4e-6);
    }
    assert_true(result.logprob == result.top_logprobs[0]);
    how.logprobs = 5;
    assert_int_equal(pick(logits, 3, &how, NULL, &result), SHOAL_OK);
    assert_int_equal(result.top_count, 3);
    how.logprobs = -1;
    assert_int_equal(pick(logits, 3, &how, NULL, &result), SHOAL_OK);
    assert_int_equal(result.top_count, 0);

    logits[5] = NAN;
    assert_true(isnan(shoal_logits_lse(logits, vocab)));
    assert_true(shoal_logits_lse((float[]){-INFINITY, -INFINITY}, 2) == -INFINITY);
}

static void creation(void **state)
{
    (void)state;
    shoal_sampler *sampler;
    assert_int_equal(shoal_sampler_create(0, &sampler), SHOAL_ERR_DATA);
    assert_int_equal(shoal_sampler_create(INT64_MAX, &sampler), SHOAL_ERR_DATA);
    for (uint64_t n = 1; n <= 5; n++) {
        shoal_mem_fail_nth(n);
        assert_int_equal(shoal_sampler_create(100, &sampler), SHOAL_ERR_TEMPORARY);
    }
    shoal_mem_fail_nth(0);
    assert_int_equal(shoal_mem_live(SHOAL_MEM_OTHER), 0);
    shoal_sampler_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creation),
        cmocka_unit_test(golden_cases),
        cmocka_unit_test(philox_vectors),
        cmocka_unit_test(draws_follow_the_definition),
        cmocka_unit_test(top_k_against_a_sort),
        cmocka_unit_test(odd_logits),
        cmocka_unit_test(masks),
        cmocka_unit_test(log_probabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
