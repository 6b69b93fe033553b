/* Opening a worker fails as one: whatever goes wrong, on whichever rank (an allocation, a file that
 * changes under the load, a bad scale in one slice, a setting), every rank gets the same failure
 * with the same sentence, nobody waits for ever, and all memory is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/arena.h"
#include "shard/checkpoint.h"
#include "tests/support/model_recipe.h"
#include "worker/assembly.h"

#define RANKS_MAX 3

/* A rank that waits for ever is a failure, too. */
#define PATIENCE_SECONDS 300

typedef struct {
    shoal_worker_settings settings;
    shoal_comm *comm;
    shoal_load_progress progress;
    shoal_status opened;
    char text[SHOAL_ERROR_MAX];
} rank_job;

static const shoal_recipe plain = {.family = "qwen2",
                                   .layers = 1,
                                   .hidden = 128,
                                   .intermediate = 384,
                                   .heads = 4,
                                   .kv_heads = 2,
                                   .head_dim = 32,
                                   .vocab = 200,
                                   .context = 64,
                                   .qkv_bias = true,
                                   .bits = 4,
                                   .group = 64,
                                   .seed = 7};

static shoal_maker *model, *shuffled, *dense;
static char weights_path[4096]; /* of `model` */

static void *rank_main(void *context)
{
    rank_job *job = context;
    shoal_worker *worker;
    shoal_error_clear();
    job->opened = shoal_worker_open(&job->settings, job->comm, job->progress, NULL, &worker);
    memcpy(job->text, shoal_error_text(), sizeof job->text);
    if (job->opened == SHOAL_OK)
        shoal_worker_close(worker);
    shoal_comm_close(job->comm);
    return NULL;
}

/* The same settings for `ranks` ranks; a test changes what it wants to. */
static void prepare(rank_job *jobs, int ranks, const shoal_maker *maker)
{
    for (int r = 0; r < ranks; r++) {
        jobs[r] = (rank_job){.progress = NULL};
        shoal_worker_defaults(&jobs[r].settings);
        jobs[r].settings.model = shoal_maker_path(maker);
        jobs[r].settings.prefill_chunk = 16;
    }
}

static uint64_t live_bytes(void)
{
    uint64_t sum = 0;
    for (int tag = 0; tag < SHOAL_MEM_TAGS; tag++)
        sum += shoal_mem_live((shoal_mem_tag)tag);
    return sum;
}

/* Open on all ranks, the `fail`-th allocation failing (0: none); all must come to one verdict. */
static shoal_status open_all(rank_job *jobs, int ranks, uint64_t fail)
{
    shoal_comm *comms[RANKS_MAX];
    pthread_t threads[RANKS_MAX];
    const uint64_t before = live_bytes();
    assert_int_equal(shoal_comm_local_create(ranks, 1, comms), SHOAL_OK);
    shoal_mem_fail_nth(fail);
    for (int r = 0; r < ranks; r++) {
        jobs[r].comm = comms[r];
        assert_int_equal(pthread_create(&threads[r], NULL, rank_main, &jobs[r]), 0);
    }
    for (int r = 0; r < ranks; r++)
        pthread_join(threads[r], NULL);
    for (int r = 1; r < ranks; r++) {
        assert_int_equal(jobs[r].opened, jobs[0].opened);
        assert_string_equal(jobs[r].text, jobs[0].text);
    }
    assert_int_equal(live_bytes(), before);
    return jobs[0].opened;
}

static void expect_words(const rank_job *jobs, const char *const *words)
{
    for (; *words; words++)
        if (!strstr(jobs[0].text, *words))
            fail_msg("no \"%s\" in: %s", *words, jobs[0].text);
}

/* ---- allocations ----------------------------------------------------------------------------- */

/* Did the failure that was ordered happen? If not it waits for one of the next allocations. */
static bool still_armed(void)
{
    for (int i = 0; i < 100000; i++) {
        void *block;
        if (shoal_alloc(SHOAL_MEM_OTHER, 1, &block) != SHOAL_OK)
            return true;
        shoal_free(block);
    }
    return false;
}

/* Every allocation of an opening fails once; of many, some. */
static void sweep(const shoal_maker *maker, int ranks, bool push, bool probe)
{
    uint64_t n = 1, tried = 0;
    for (;; n += 1 + n / 60, tried++) {
        rank_job jobs[RANKS_MAX];
        prepare(jobs, ranks, maker);
        for (int r = 0; r < ranks; r++) {
            jobs[r].settings.push = push;
            jobs[r].settings.probe = probe;
        }
        const shoal_status st = open_all(jobs, ranks, n);
        if (st == SHOAL_OK)
            break;
        if (st != SHOAL_ERR_TEMPORARY || !strstr(jobs[0].text, "no memory"))
            fail_msg("allocation %llu: status %d, %s", (unsigned long long)n, st, jobs[0].text);
    }
    assert_true(still_armed());
    shoal_mem_fail_nth(0);
    print_message("  %d ranks%s%s: %llu of about %llu allocations failed once\n", ranks,
                  push ? ", push" : "", probe ? ", probe" : "", (unsigned long long)tried,
                  (unsigned long long)n);
    assert_true(tried > 50);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    sweep(model, 1, false, false);
    sweep(model, 2, false, false);
    sweep(shuffled, 2, false, true);
    sweep(shuffled, 3, true, true);
}

/* ---- files ----------------------------------------------------------------------------------- */

static _Atomic int disturbed;

static void truncate_once(void *context, uint64_t done, uint64_t total)
{
    (void)context, (void)done, (void)total;
    if (atomic_exchange(&disturbed, 1) == 0 && truncate(weights_path, 4096) != 0)
        perror(weights_path);
}

/* Only the time changes: what was read may be a mixture of two files. */
static void touch_once(void *context, uint64_t done, uint64_t total)
{
    static const struct timespec long_ago[2] = {{1000000000, 0}, {1000000000, 0}};
    (void)context, (void)done, (void)total;
    if (atomic_exchange(&disturbed, 1) == 0 && utimensat(AT_FDCWD, weights_path, long_ago, 0) != 0)
        perror(weights_path);
}

static void a_file_changes_under_the_load(void **state)
{
    (void)state;
    static const shoal_load_progress disturbances[] = {truncate_once, touch_once};
    for (int i = 0; i < 4; i++) {
        rank_job jobs[RANKS_MAX];
        shoal_maker *victim = shoal_recipe_make(&plain);
        (void)snprintf(weights_path, sizeof weights_path, "%s/model.safetensors",
                       shoal_maker_path(victim));
        prepare(jobs, 3, victim);
        for (int r = 0; r < 3; r++) {
            jobs[r].settings.push = i >= 2;
            jobs[r].progress = disturbances[i % 2];
        }
        atomic_store(&disturbed, 0);
        assert_int_equal(open_all(jobs, 3, 0), SHOAL_ERR_IO);
        expect_words(jobs, (const char *const[]){"rank ", "model.safetensors", NULL});
        shoal_maker_end(victim);
    }
}

/* Overwrite one 16-bit element of a tensor. */
static void spoil(const shoal_maker *maker, const char *name, uint64_t element, uint16_t value)
{
    shoal_checkpoint *checkpoint;
    assert_int_equal(shoal_checkpoint_open(shoal_maker_path(maker), &checkpoint), SHOAL_OK);
    const shoal_tensor *t = shoal_checkpoint_find(checkpoint, name);
    assert_non_null(t);
    const int fd = open(shoal_checkpoint_file(checkpoint, t->file), O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &value, 2, (off_t)(t->offset + 2 * element)), 2);
    close(fd);
    shoal_checkpoint_close(checkpoint);
}

/* A NaN that one rank alone reads. The heads are two whole kv groups, so rank 2 has none. */
static void a_bad_scale_in_one_slice(void **state)
{
    (void)state;
    static const struct {
        const char *tensor, *rank;
        uint64_t element;
    } places[] = {
        {"model.layers.0.mlp.down_proj.scales", "rank 2: ", 6 * 128 - 1},
        {"model.layers.0.self_attn.q_proj.scales", "rank 1: ", 2 * 128 - 1},
        {"model.layers.0.self_attn.k_proj.scales", "rank 0: ", 0},
        {"model.layers.0.mlp.gate_proj.scales", "rank 2: ", 2 * 384 - 1},
    };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        rank_job jobs[RANKS_MAX];
        shoal_maker *victim = shoal_recipe_make(&plain);
        spoil(victim, places[i].tensor, places[i].element, 0x7e00);
        prepare(jobs, 3, victim);
        assert_int_equal(open_all(jobs, 3, 0), SHOAL_ERR_DATA);
        expect_words(jobs, (const char *const[]){places[i].rank, places[i].tensor, "NaN", NULL});
        shoal_maker_end(victim);
    }
}

/* ---- settings -------------------------------------------------------------------------------- */

typedef struct {
    shoal_status status;
    const char *word;
    void (*change)(shoal_worker_settings *settings);
} wrong_setting;

#define CHANGE(name, code)                                                                         \
    static void name(shoal_worker_settings *s)                                                     \
    {                                                                                              \
        code;                                                                                      \
    }
CHANGE(unknown_level, s->cpu = "sse9")
CHANGE(no_threads, s->threads = 0)
CHANGE(many_threads, s->threads = 1 << 20)
CHANGE(no_chunk, s->prefill_chunk = 0)
CHANGE(long_chunk, s->prefill_chunk = SHOAL_STEP_ROWS_MAX + 1)
CHANGE(no_sequences, s->max_sequences = 0)
CHANGE(many_sequences, s->max_sequences = SHOAL_SEQUENCES_MAX + 1)
CHANGE(negative_pool, s->kv_tokens = -1)
CHANGE(large_pool, s->kv_tokens = INT64_MAX)
CHANGE(negative_context, s->context = -1)
CHANGE(long_context, s->context = 65)
CHANGE(other_kv_type, s->kv = 3)
CHANGE(unknown_form, s->quantize = "int3")
CHANGE(no_model, s->model = "/nowhere")
CHANGE(little_memory, s->memory = 4096)

static const wrong_setting wrong_everywhere[] = {
    {SHOAL_ERR_USAGE, "sse9", unknown_level},
    {SHOAL_ERR_USAGE, "--threads 0", no_threads},
    {SHOAL_ERR_USAGE, "--threads 1048576", many_threads},
    {SHOAL_ERR_USAGE, "prefill chunk is 0", no_chunk},
    {SHOAL_ERR_USAGE, "prefill chunk is 8193", long_chunk},
    {SHOAL_ERR_USAGE, "sequences is 0", no_sequences},
    {SHOAL_ERR_USAGE, "sequences is 1025", many_sequences},
    {SHOAL_ERR_USAGE, "KV tokens is -1", negative_pool},
    {SHOAL_ERR_USAGE, "KV tokens is 9223372036854775807", large_pool},
    {SHOAL_ERR_USAGE, "context is -1", negative_context},
    {SHOAL_ERR_USAGE, "--max-model-len 65", long_context},
    {SHOAL_ERR_USAGE, "KV type is 3", other_kv_type},
    {SHOAL_ERR_USAGE, "int3", unknown_form},
    {SHOAL_ERR_NOTFOUND, "/nowhere", no_model},
    {SHOAL_ERR_NOFIT, "what fits", little_memory},
};

CHANGE(push_alone, s->push = true)
CHANGE(probe_alone, s->probe = true)
CHANGE(other_chunk, s->prefill_chunk = 17)
CHANGE(other_sequences, s->max_sequences = 9)
CHANGE(other_cache, s->kv = SHOAL_KV_INT8)
CHANGE(other_inputs, s->activations = SHOAL_ACTIVATIONS_F32)
CHANGE(other_pool, s->kv_tokens = 640)
CHANGE(quantized, s->quantize = "int8")
CHANGE(other_model, s->model = shoal_maker_path(shuffled))

static const wrong_setting wrong_alone[] = {
    {SHOAL_ERR_CONFIG, "--load push", push_alone},
    {SHOAL_ERR_CONFIG, "--probe", probe_alone},
    {SHOAL_ERR_CONFIG, "size of steps", other_chunk},
    {SHOAL_ERR_CONFIG, "size of steps", other_sequences},
    {SHOAL_ERR_CONFIG, "arithmetic", other_cache},
    {SHOAL_ERR_CONFIG, "arithmetic", other_inputs},
    {SHOAL_ERR_CONFIG, "size of steps", other_pool},
    {SHOAL_ERR_CONFIG, "model", quantized},
    {SHOAL_ERR_CONFIG, "model", other_model},
};

/* On all ranks, and on each rank alone. */
static void wrong_settings_stop_everybody(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong_everywhere / sizeof wrong_everywhere[0]; i++) {
        const wrong_setting *w = &wrong_everywhere[i];
        for (int who = -1; who < 3; who++) {
            rank_job jobs[RANKS_MAX];
            char rank[16] = "rank 0: ";
            /* Another memory is another size of the pool, which is noticed first. */
            if (who >= 0 && w->status == SHOAL_ERR_NOFIT)
                continue;
            prepare(jobs, 3, model);
            for (int r = 0; r < 3; r++)
                if (who < 0 || r == who)
                    w->change(&jobs[r].settings);
            assert_int_equal(open_all(jobs, 3, 0), w->status);
            if (who > 0)
                (void)snprintf(rank, sizeof rank, "rank %d: ", who);
            expect_words(jobs, (const char *const[]){rank, w->word, NULL});
        }
    }
}

static void different_settings_are_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong_alone / sizeof wrong_alone[0]; i++) {
        const wrong_setting *w = &wrong_alone[i];
        for (int who = 0; who < 3; who++) {
            rank_job jobs[RANKS_MAX];
            prepare(jobs, 3, w->change == quantized ? dense : model);
            w->change(&jobs[who].settings);
            assert_int_equal(open_all(jobs, 3, 0), w->status);
            expect_words(jobs, (const char *const[]){w->word, NULL});
        }
    }
}

/* Form bf16 adds up as the processor does: levels of one kind work together, others do not. */
static void bf16_of_another_kind_is_noticed(void **state)
{
    (void)state;
    rank_job jobs[RANKS_MAX];
    prepare(jobs, 3, model);
    for (int r = 0; r < 3; r++)
        jobs[r].settings.activations = SHOAL_ACTIVATIONS_BF16;
    assert_int_equal(open_all(jobs, 3, 0), SHOAL_OK);
    jobs[1].settings.cpu = "ref";
    if (shoal_bf16_pick(shoal_cpu_best()) == SHOAL_BF16_F32) {
        assert_int_equal(open_all(jobs, 3, 0), SHOAL_OK);
        print_message("skipped: this machine has one kind only\n");
        skip();
    }
    assert_int_equal(open_all(jobs, 3, 0), SHOAL_ERR_CONFIG);
    expect_words(jobs, (const char *const[]){"rank 1: ", "arithmetic", "cpu-bf16-f32/1", NULL});
}

/* The same tensors at the same places, but config.json differs in one number of the arithmetic. */
static void different_models_are_noticed(void **state)
{
    (void)state;
    shoal_recipe narrow = plain;
    narrow.family = "mistral";
    narrow.qkv_bias = false;
    narrow.window = 31;
    shoal_recipe wide = narrow;
    wide.window = 32;
    shoal_maker *first = shoal_recipe_make(&narrow), *second = shoal_recipe_make(&wide);
    rank_job jobs[RANKS_MAX];
    prepare(jobs, 2, first);
    assert_int_equal(open_all(jobs, 2, 0), SHOAL_OK);
    jobs[1].settings.model = shoal_maker_path(second);
    assert_int_equal(open_all(jobs, 2, 0), SHOAL_ERR_CONFIG);
    expect_words(jobs, (const char *const[]){"rank 1: ", "another model", NULL});
    jobs[1].settings = jobs[0].settings;
    jobs[1].settings.reduce = SHOAL_PAYLOAD_BF16; /* is part of the arithmetic */
    assert_int_equal(open_all(jobs, 2, 0), SHOAL_ERR_CONFIG);
    expect_words(jobs, (const char *const[]){"rank 1: ", "arithmetic", NULL});
    jobs[0].settings.reduce = SHOAL_PAYLOAD_BF16;
    assert_int_equal(open_all(jobs, 2, 0), SHOAL_OK);
    shoal_maker_end(first);
    shoal_maker_end(second);
}

static int set_up(void **state)
{
    (void)state;
    shoal_recipe other = plain;
    alarm(PATIENCE_SECONDS);
    model = shoal_recipe_make(&plain);
    other.act_order = true;
    shuffled = shoal_recipe_make(&other);
    other = plain;
    other.bits = 0;
    dense = shoal_recipe_make(&other);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    shoal_maker_end(model);
    shoal_maker_end(shuffled);
    shoal_maker_end(dense);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(a_file_changes_under_the_load),
        cmocka_unit_test(a_bad_scale_in_one_slice),
        cmocka_unit_test(wrong_settings_stop_everybody),
        cmocka_unit_test(different_settings_are_noticed),
        cmocka_unit_test(bf16_of_another_kind_is_noticed),
        cmocka_unit_test(different_models_are_noticed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
