#include "worker/sampler.h"

#include <math.h>
#include <string.h>

#include "kernels/mathf.h"
#include "kernels/ops.h"
#include "proto/arena.h"
#include "proto/dtype.h"

#define LANES 64

/* exp of less than this is 0 in fp32, subnormal numbers included. */
#define LOWEST_DIFFERENCE (-104.0f)

/* In the table of counts: the id occurs in the history at all. */
#define SEEN (1 << 30)

/* The sort takes three digits of 11, 11 and 10 bits. */
#define DIGIT_BITS 11
#define DIGITS     (1 << DIGIT_BITS)

typedef struct {
    uint32_t key; /* ascending key = descending logit */
    int32_t id;
} candidate;

struct shoal_sampler {
    int64_t vocab;
    float *x;        /* [vocab]: modified logits */
    int32_t *counts; /* [vocab]: zero between calls */
    candidate *list, *spare;
    double *weight; /* [vocab]: of list[i], relative to the best */
    uint32_t digit[DIGITS];
};

shoal_status shoal_sampler_create(int64_t vocab, shoal_sampler **out)
{
    shoal_status st = SHOAL_OK;
    if (vocab < 1 || vocab > INT32_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a vocabulary of %lld ids cannot be sampled from",
                          (long long)vocab);
    const uint64_t n = (uint64_t)vocab;
    void *record, *x = NULL, *counts = NULL, *lists = NULL, *weight = NULL;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_sampler), &record));
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_OTHER, n, sizeof(float), &x), unwind);
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_OTHER, n, sizeof(int32_t), &counts), unwind);
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_OTHER, 2 * n, sizeof(candidate), &lists), unwind);
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_OTHER, n, sizeof(double), &weight), unwind);
    shoal_sampler *s = record;
    s->vocab = vocab;
    s->x = x;
    s->counts = counts;
    s->list = lists;
    s->spare = s->list + vocab;
    s->weight = weight;
    *out = s;
    return SHOAL_OK;

unwind:
    shoal_free(lists);
    shoal_free(counts);
    shoal_free(x);
    shoal_free(record);
    return st;
}

void shoal_sampler_destroy(shoal_sampler *sampler)
{
    if (!sampler)
        return;
    shoal_free(sampler->x);
    shoal_free(sampler->counts);
    shoal_free(sampler->list < sampler->spare ? sampler->list : sampler->spare);
    shoal_free(sampler->weight);
    shoal_free(sampler);
}

uint32_t shoal_philox(uint64_t seed, uint32_t choice, uint64_t position)
{
    uint32_t c[4] = {(uint32_t)position, (uint32_t)(position >> 32), choice, 0};
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = UINT64_C(0xD2511F53) * c[0], p1 = UINT64_C(0xCD9E8D57) * c[2];
        const uint32_t c0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k0, c2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
        c[0] = c0;
        c[1] = (uint32_t)p1;
        c[2] = c2;
        c[3] = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c[0];
}

float shoal_logits_lse(const float *logits, int64_t vocab)
{
    float lanes[LANES] = {0};
    float most = -INFINITY;
    for (int64_t i = 0; i < vocab; i++)
        if (logits[i] > most)
            most = logits[i];
    const float base = isinf(most) ? 0.0f : most;
    for (int64_t i = 0; i < vocab; i++)
        lanes[i % LANES] += shoal_expf(logits[i] - base);
    return base + shoal_logf(shoal_tree_sum(lanes, LANES));
}

/* --- modified logits ------------------------------------------------------------------------- */

static void penalise(shoal_sampler *s, const shoal_sample_request *r)
{
    const shoal_sampling *how = r->sampling;
    if (how->repetition_penalty == 1.0f && how->frequency_penalty == 0.0f &&
        how->presence_penalty == 0.0f)
        return;
    for (int32_t i = 0; i < r->history_count; i++) {
        int32_t *count = &s->counts[r->history[i]];
        *count = (*count + (i >= r->history_prompt)) | SEEN;
    }
    for (int32_t i = 0; i < r->history_count; i++) {
        const int32_t id = r->history[i], count = s->counts[id] & ~SEEN;
        if (s->counts[id] == 0)
            continue; /* done already */
        float x = s->x[id];
        x = x < 0 ? x * how->repetition_penalty : x / how->repetition_penalty;
        if (count > 0)
            x -= (float)count * how->frequency_penalty + how->presence_penalty;
        s->x[id] = x;
        s->counts[id] = 0;
    }
}

static bool may_choose(const shoal_sample_request *r, const float *x, int64_t id)
{
    return x[id] > -INFINITY && (!r->allowed || r->allowed[id / 32] >> (id % 32) & 1);
}

/* Bias and penalties into s->x; the best id that may be chosen, or -1. */
static int32_t prepare(shoal_sampler *s, const float *logits, const shoal_sample_request *r)
{
    memcpy(s->x, logits, (size_t)s->vocab * sizeof *logits);
    for (int32_t i = 0; i < r->bias_count; i++)
        s->x[r->biases[i].id] += r->biases[i].bias;
    penalise(s, r);
    int32_t best = -1;
    for (int64_t id = 0; id < s->vocab; id++)
        if (may_choose(r, s->x, id) && (best < 0 || s->x[id] > s->x[best]))
            best = (int32_t)id;
    return best;
}

/* --- candidates ------------------------------------------------------------------------------ */

/* Ascending for descending floats; x is no NaN, and +0 and -0 are one value. */
static uint32_t key_of(float x)
{
    const uint32_t bits = shoal_f32_bits(x + 0.0f);
    return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}

/* Temperature, then everybody whose probability is not 0. */
static int64_t collect(shoal_sampler *s, const shoal_sample_request *r, int32_t best)
{
    const float t = r->sampling->temperature, most = s->x[best] / t;
    int64_t n = 0;
    for (int64_t id = 0; id < s->vocab; id++) {
        const float x = s->x[id] / t;
        if (may_choose(r, s->x, id) && (x == most || x - most >= LOWEST_DIFFERENCE))
            s->list[n++] = (candidate){key_of(x), (int32_t)id};
        s->x[id] = x;
    }
    return n;
}

/* The index of a digit's first element, from the counts. */
static void place_digits(uint32_t *digit)
{
    uint32_t sum = 0;
    for (int d = 0; d < DIGITS; d++) {
        const uint32_t count = digit[d];
        digit[d] = sum;
        sum += count;
    }
}

/* Drop candidates that cannot be among the k best nor tie with the k-th, without sorting: whole
 * top digits go. Keeps the order of ids. */
static int64_t drop_hopeless(shoal_sampler *s, int64_t n, int64_t k)
{
    memset(s->digit, 0, sizeof s->digit);
    for (int64_t i = 0; i < n; i++)
        s->digit[s->list[i].key >> (32 - DIGIT_BITS)]++;
    int64_t seen = 0;
    uint32_t last = 0;
    while ((seen += s->digit[last]) < k)
        last++;
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++)
        if (s->list[i].key >> (32 - DIGIT_BITS) <= last)
            s->list[kept++] = s->list[i];
    return kept;
}

/* A stable radix sort: candidates come in ascending id, so ties stay in that order. */
static void sort_candidates(shoal_sampler *s, int64_t n)
{
    for (int shift = 0; shift < 32; shift += DIGIT_BITS) {
        memset(s->digit, 0, sizeof s->digit);
        for (int64_t i = 0; i < n; i++)
            s->digit[s->list[i].key >> shift & (DIGITS - 1)]++;
        place_digits(s->digit);
        for (int64_t i = 0; i < n; i++)
            s->spare[s->digit[s->list[i].key >> shift & (DIGITS - 1)]++] = s->list[i];
        candidate *sorted = s->spare;
        s->spare = s->list;
        s->list = sorted;
    }
}

static int64_t keep_top_k(const shoal_sampler *s, int64_t n, int64_t k)
{
    if (k == 0 || k >= n)
        return n;
    const uint32_t last = s->list[k - 1].key;
    while (k < n && s->list[k].key == last)
        k++;
    return k;
}

/* Weights relative to the best. The square of exp(d / 2) reaches below the range of our exp. */
static int64_t weigh(shoal_sampler *s, int64_t n)
{
    const float most = s->x[s->list[0].id];
    for (int64_t i = 0; i < n; i++) {
        const float x = s->x[s->list[i].id];
        const double root = x == most ? 1.0 : (double)shoal_expf((x - most) * 0.5f);
        s->weight[i] = root * root;
        if ((float)s->weight[i] == 0.0f)
            return i;
    }
    return n;
}

static double total(const shoal_sampler *s, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += s->weight[i];
    return sum;
}

static int64_t keep_top_p(const shoal_sampler *s, int64_t n, double p)
{
    const double enough = p * total(s, n);
    double sum = s->weight[0];
    int64_t kept = 1;
    while (kept < n && (p >= 1.0 || sum < enough))
        sum += s->weight[kept++];
    return kept;
}

static int64_t keep_min_p(const shoal_sampler *s, int64_t n, double m)
{
    int64_t kept = 1;
    while (kept < n && s->weight[kept] >= m * s->weight[0])
        kept++;
    return kept;
}

/* list[0..n) with weights: what the next token is drawn from, best first. 0: nothing. */
static int64_t candidates(shoal_sampler *s, const float *logits, const shoal_sample_request *r)
{
    const shoal_sampling *how = r->sampling;
    const int32_t best = prepare(s, logits, r);
    if (best < 0)
        return 0;
    if (how->temperature == 0.0f || isinf(s->x[best] / how->temperature)) {
        s->list[0] = (candidate){0, best};
        s->weight[0] = 1.0;
        return 1;
    }
    int64_t n = collect(s, r, best);
    if (how->top_k > 0 && how->top_k < n)
        n = drop_hopeless(s, n, how->top_k);
    sort_candidates(s, n);
    n = keep_top_k(s, n, how->top_k);
    n = weigh(s, n);
    n = keep_top_p(s, n, (double)how->top_p);
    return keep_min_p(s, n, (double)how->min_p);
}

/* --- results --------------------------------------------------------------------------------- */

static shoal_status nothing_to_choose(const shoal_sample_request *r)
{
    return shoal_fail(
        SHOAL_ERR_DATA, "no token may be chosen at position %lld: %s", (long long)r->position,
        r->allowed ? "the mask allows none that has a logit" : "no logit is a number");
}

static int32_t draw(const shoal_sampler *s, int64_t n, const shoal_sample_request *r)
{
    const uint32_t bits =
        shoal_philox(r->sampling->seed, r->sampling->choice, (uint64_t)r->position);
    const double target = (double)(bits >> 8) * 0x1p-24 * total(s, n);
    double sum = 0;
    int64_t i = 0;
    while (i < n - 1 && (sum += s->weight[i]) <= target)
        i++;
    return s->list[i].id;
}

/* The best ids by unmodified logits: an insertion into a short sorted list. */
static void list_top(const float *logits, int64_t vocab, float lse, int32_t wanted,
                     shoal_sequence_result *result)
{
    int32_t n = 0;
    int32_t *ids = result->top_ids;
    for (int64_t id = 0; id < vocab && wanted > 0; id++) {
        if (isnan(logits[id]) || (n == wanted && !(logits[id] > logits[ids[n - 1]])))
            continue;
        int32_t at = n < wanted ? n++ : n - 1;
        while (at > 0 && logits[id] > logits[ids[at - 1]]) {
            ids[at] = ids[at - 1];
            at--;
        }
        ids[at] = (int32_t)id;
    }
    for (int32_t i = 0; i < n; i++)
        result->top_logprobs[i] = logits[ids[i]] - lse;
    result->top_count = n;
}

shoal_status shoal_sample(shoal_sampler *sampler, const float *logits,
                          const shoal_sample_request *request, shoal_sequence_result *result)
{
    const int64_t n = candidates(sampler, logits, request);
    if (n == 0)
        return nothing_to_choose(request);
    result->token = draw(sampler, n, request);
    result->logprob = 0.0f;
    result->top_count = 0;
    if (request->sampling->logprobs >= 0) {
        const float lse = shoal_logits_lse(logits, sampler->vocab);
        result->logprob = logits[result->token] - lse;
        list_top(logits, sampler->vocab, lse, request->sampling->logprobs, result);
    }
    return SHOAL_OK;
}

shoal_status shoal_sample_probabilities(shoal_sampler *sampler, const float *logits,
                                        const shoal_sample_request *request, double *probs)
{
    const int64_t n = candidates(sampler, logits, request);
    if (n == 0)
        return nothing_to_choose(request);
    for (int64_t id = 0; id < sampler->vocab; id++)
        probs[id] = 0;
    const double sum = total(sampler, n);
    for (int64_t i = 0; i < n; i++)
        probs[sampler->list[i].id] = sampler->weight[i] / sum;
    return SHOAL_OK;
}
