/* The made-up model, what a step of it costs, and steps of it taken by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "coordinator/bench/session.h"
#include "coordinator/bench/synthetic_model.h"
#include "coordinator/bench/work.h"
#include "proto/arena.h"
#include "proto/digest.h"

#define CONTEXT 40
#define TOKENS  12

static char folder[64];

static void file_in(const char *name, char out[128])
{
    (void)snprintf(out, 128, "%s/%s", folder, name);
}

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/shoal-test-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    return shoal_bench_synthetic_write(shoal_bench_shape_find("tiny"), 7, folder) != SHOAL_OK;
}

static int remove_folder(void **state)
{
    char path[128];
    (void)state;
    file_in("model.safetensors", path);
    (void)unlink(path);
    file_in("config.json", path);
    (void)unlink(path);
    return rmdir(folder);
}

static void bytes_follow_the_seed(void **state)
{
    const shoal_bench_shape *tiny = shoal_bench_shape_find("tiny");
    uint8_t first[SHOAL_SHA256_BYTES], again[SHOAL_SHA256_BYTES];
    char path[128];
    (void)state;
    assert_null(shoal_bench_shape_find("huge"));
    assert_non_null(shoal_bench_shape_find("1b"));
    file_in("model.safetensors", path);
    assert_int_equal(shoal_sha256_file(path, first), SHOAL_OK);
    assert_int_equal(shoal_bench_synthetic_write(tiny, 8, folder), SHOAL_OK);
    assert_int_equal(shoal_sha256_file(path, again), SHOAL_OK);
    assert_memory_not_equal(first, again, sizeof first);
    assert_int_equal(shoal_bench_synthetic_write(tiny, 7, folder), SHOAL_OK);
    assert_int_equal(shoal_sha256_file(path, again), SHOAL_OK);
    assert_memory_equal(first, again, sizeof first);
}

static void failures_are_told(void **state)
{
    (void)state;
    assert_int_equal(
        shoal_bench_synthetic_write(shoal_bench_shape_find("tiny"), 7, "/tmp/no/such/folder"),
        SHOAL_ERR_CREATE);
    for (uint64_t n = 1; n < 6; n++) {
        shoal_mem_fail_nth(n);
        const shoal_status st =
            shoal_bench_synthetic_write(shoal_bench_shape_find("tiny"), 7, folder);
        shoal_mem_fail_nth(0);
        assert_true(st == SHOAL_ERR_TEMPORARY || st == SHOAL_OK);
    }
    assert_int_equal(shoal_bench_synthetic_write(shoal_bench_shape_find("tiny"), 7, folder),
                     SHOAL_OK);
}

static shoal_worker_settings settings_of(void)
{
    shoal_worker_settings s;
    shoal_worker_defaults(&s);
    s.model = folder;
    return s;
}

/* hidden 256, intermediate 768, 4 and 2 heads of 64, 2 layers, 1024 ids. */
static void work_is_counted(void **state)
{
    const double layer = 256 * (256 + 128 + 128) + 256 * 256 + 3 * 256 * 768, head = 1024 * 256;
    const double weights = 2 * layer + head;
    const shoal_worker_settings settings = settings_of();
    shoal_bench_work work;
    (void)state;
    for (int ranks = 1; ranks <= 2; ranks++) {
        assert_int_equal(shoal_bench_work_of(&settings, ranks, &work), SHOAL_OK);
        /* codes of 4 bits, and an fp16 scale for every 128 */
        assert_true(work.weight_bytes == weights * (0.5 + 2.0 / 128));
        assert_true(work.layer_operations == 4 * layer);
        assert_true(work.head_operations == 2 * head);
        assert_int_equal(work.product, SHOAL_PEAK_INT4);
        assert_string_equal(work.shapes[2].name, "gate_up");
        assert_int_equal(work.shapes[2].n, 2 * 768 / ranks);
        assert_int_equal(work.shapes[3].k, 768 / ranks);
    }
}

static shoal_engine *open_engine(int ranks, int64_t chunk)
{
    shoal_engine_request request = {.settings = settings_of(), .ranks = ranks, .emulate = ranks};
    shoal_engine *engine;
    request.settings.prefill_chunk = chunk;
    request.settings.kv_tokens = 3 * 64;
    request.settings.max_sequences = 3;
    assert_int_equal(shoal_engine_open(&request, &engine), SHOAL_OK);
    return engine;
}

/* Tokens that `sequences` sequences make after the context; those of the first. */
static void run_tokens(int ranks, int64_t chunk, int sequences, int32_t *out)
{
    shoal_engine *engine = open_engine(ranks, chunk);
    shoal_bench_session *s;
    double seconds;
    assert_int_equal(shoal_bench_session_open(engine, sequences, CONTEXT + TOKENS, 5, &s),
                     SHOAL_OK);
    assert_int_equal(shoal_bench_session_fill(s, sequences, CONTEXT, &seconds), SHOAL_OK);
    for (int i = 0; i < 2 * TOKENS; i++) { /* the second time over the same rows */
        const shoal_bench_share share = {.count = sequences,
                                         .position = CONTEXT + i % TOKENS,
                                         .rows = 1,
                                         .want = SHOAL_WANT_TOKEN};
        assert_int_equal(shoal_bench_session_step(s, &share, &seconds, NULL, NULL), SHOAL_OK);
        assert_true(seconds > 0);
        if (i == TOKENS - 1)
            for (int k = 0; k < TOKENS; k++)
                out[k] = shoal_bench_session_token(s, CONTEXT + k);
    }
    for (int k = 0; k < TOKENS; k++)
        assert_int_equal(out[k], shoal_bench_session_token(s, CONTEXT + k));
    shoal_bench_session_close(s);
    assert_int_equal(shoal_engine_close(engine), SHOAL_OK);
}

static void steps_by_hand_agree(void **state)
{
    int32_t first[TOKENS], other[TOKENS];
    (void)state;
    run_tokens(1, 64, 1, first);
    run_tokens(1, 7, 1, other); /* the context in pieces */
    assert_memory_equal(first, other, sizeof first);
    run_tokens(1, 100, 3, other); /* two contexts in a step, then one; then three rows */
    assert_memory_equal(first, other, sizeof first);
    run_tokens(3, 64, 2, other);
    assert_memory_equal(first, other, sizeof first);
}

static void too_much_is_refused(void **state)
{
    shoal_engine *engine = open_engine(1, 64);
    shoal_bench_session *s;
    (void)state;
    assert_int_equal(shoal_bench_session_open(engine, 4, 32, 5, &s), SHOAL_ERR_USAGE);
    assert_int_equal(shoal_bench_session_open(engine, 3, 65, 5, &s), SHOAL_ERR_USAGE);
    assert_int_equal(shoal_bench_session_open(engine, 1, 2000, 5, &s), SHOAL_ERR_USAGE);
    shoal_bench_session_close(NULL);
    assert_int_equal(shoal_engine_close(engine), SHOAL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_follow_the_seed), cmocka_unit_test(failures_are_told),
        cmocka_unit_test(work_is_counted),       cmocka_unit_test(steps_by_hand_agree),
        cmocka_unit_test(too_much_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
