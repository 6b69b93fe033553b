/* The cluster engine on the real mpirun: what it computes is what one rank in this process
 * computes, in every generation, whatever happened to the generation before; and whatever happens
 * to a rank is noticed at rest as in a step. SHOAL_PROGRAM is what the ranks run. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "coordinator/clock.h"
#include "coordinator/engine.h"
#include "coordinator/runner.h"

#define MODEL  "tests/data/tiny-llama-gptq-int4"
#define TOKENS 24
#define CHUNK  8

static const int32_t prompt[] = {1, 5, 9, 2, 33, 17, 40, 8, 21, 3, 77};
static int32_t want[TOKENS]; /* by one rank in this process */

static shoal_engine_request request_for(int ranks, uint32_t generation)
{
    shoal_engine_request r = {.ranks = ranks,
                              .ranks_given = true,
                              .supervised = true,
                              .generation = generation,
                              .program = SHOAL_PROGRAM};
    shoal_worker_defaults(&r.settings);
    r.settings.model = MODEL;
    r.settings.prefill_chunk = CHUNK;
    r.settings.context = 128;
    r.settings.kv_tokens = 256;
    r.settings.threads = 1;
    return r;
}

static void must(shoal_status st)
{
    if (st != SHOAL_OK)
        print_error("%s\n", shoal_error_text());
    assert_int_equal(st, SHOAL_OK);
}

static shoal_engine *open_engine(const shoal_engine_request *r)
{
    shoal_engine *engine = NULL;
    must(shoal_engine_open(r, &engine));
    return engine;
}

/* Something that happens when the fifth token comes. */
typedef struct {
    pid_t pid; /* gets `signal`, or 0 */
    int signal;
    int fd; /* is written to, or -1 */
    int tokens;
} event;

static shoal_status on_token(void *context, int run, int32_t token)
{
    event *e = context;
    (void)run, (void)token;
    if (++e->tokens != 5)
        return SHOAL_OK;
    if (e->pid)
        assert_int_equal(kill(e->pid, e->signal), 0);
    if (e->fd >= 0)
        assert_int_equal(write(e->fd, "!", 1), 1);
    return SHOAL_OK;
}

static shoal_status generate(shoal_engine *engine, event *e, int32_t tokens[TOKENS])
{
    const shoal_run_hooks hooks = {.on_token = on_token, .context = e};
    shoal_run run = {.prompt = prompt,
                     .prompt_count = (int64_t)(sizeof prompt / sizeof *prompt),
                     .want = SHOAL_WANT_TOKEN,
                     .sampling = {.top_p = 1, .repetition_penalty = 1, .logprobs = -1},
                     .max_tokens = TOKENS,
                     .tokens = tokens};
    return shoal_run_all(engine, CHUNK, &run, 1, e ? &hooks : NULL, NULL);
}

static void expect_same_tokens(shoal_engine *engine)
{
    int32_t tokens[TOKENS] = {0};
    must(generate(engine, NULL, tokens));
    assert_memory_equal(tokens, want, sizeof want);
}

static void expect_failure(shoal_status st, const char *words)
{
    assert_int_equal(st, SHOAL_ERR_TEMPORARY);
    if (!strstr(shoal_error_text(), words))
        print_error("'%s' is not in: %s\n", words, shoal_error_text());
    assert_non_null(strstr(shoal_error_text(), words));
}

static bool alive(pid_t pid)
{
    return kill(pid, 0) == 0;
}

static int open_descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    (void)closedir(folder);
    return count;
}

/* A new generation takes over and says the same. */
static void expect_recovery(shoal_engine *broken, uint32_t generation)
{
    pid_t old[8];
    const int ranks = broken->ranks;
    for (int r = 0; r < ranks; r++)
        old[r] = (pid_t)broken->identities[r].pid;
    const double begin = shoal_clock_seconds();
    must(shoal_engine_close(broken));
    const double closed = shoal_clock_seconds();
    for (int r = 0; r < ranks; r++)
        assert_false(alive(old[r]));
    const shoal_engine_request r = request_for(ranks, generation);
    shoal_engine *engine = open_engine(&r);
    print_message("taken down in %.0f ms, ready again after %.0f ms\n", 1e3 * (closed - begin),
                  1e3 * (shoal_clock_seconds() - closed));
    expect_same_tokens(engine);
    must(shoal_engine_close(engine));
}

static void one_rank_of_its_own(void **state)
{
    (void)state;
    const shoal_engine_request r = request_for(1, 0);
    shoal_engine *engine = open_engine(&r);
    assert_string_equal(engine->ops->name, "cluster");
    const shoal_rank_identity *who = &engine->identities[0];
    assert_int_not_equal(who->pid, getpid());
    assert_true(alive((pid_t)who->pid));
    assert_true(who->host[0] && who->level[0]);
    expect_same_tokens(engine);
    must(shoal_engine_close(engine));
}

static void nothing_is_left_behind(void **state)
{
    (void)state;
    const int before = open_descriptors();
    for (uint32_t generation = 1; generation <= 2; generation++) {
        const shoal_engine_request r = request_for(2, generation);
        shoal_engine *engine = open_engine(&r);
        expect_same_tokens(engine);
        must(shoal_engine_close(engine));
        assert_int_equal(open_descriptors(), before);
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void timing_adds_up(void **state)
{
    (void)state;
    const shoal_engine_request r = request_for(3, 1);
    shoal_engine *engine = open_engine(&r);
    expect_same_tokens(engine);
    must(shoal_engine_idle(engine, -1, 1.2)); /* two heartbeats */
    const uint64_t exchanges = engine->timing[0].exchanges;
    assert_true(exchanges > 0);
    for (int i = 0; i < engine->ranks; i++) {
        const shoal_rank_timing *t = &engine->timing[i];
        assert_int_equal(t->steps, engine->steps);
        assert_int_equal(t->exchanges, exchanges);
        assert_true(t->waited_seconds >= 0);
        assert_true(t->waited_seconds <= t->exchange_seconds);
        assert_true(t->exchange_seconds <= t->step_seconds);
        assert_true(t->step_seconds > 0 && t->step_seconds < 60);
    }
    must(shoal_engine_close(engine));
}

static void idling_ends_when_asked(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const shoal_engine_request r = request_for(2, 1);
    shoal_engine *engine = open_engine(&r);
    double begin = shoal_clock_seconds();
    must(shoal_engine_idle(engine, ends[0], 0.7));
    double took = shoal_clock_seconds() - begin;
    assert_true(took > 0.69 && took < 3);
    assert_int_equal(write(ends[1], "!", 1), 1);
    begin = shoal_clock_seconds();
    must(shoal_engine_idle(engine, ends[0], 60));
    assert_true(shoal_clock_seconds() - begin < 10);
    expect_same_tokens(engine);
    must(shoal_engine_close(engine));
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void killed_at_rest(void **state)
{
    (void)state;
    const shoal_engine_request r = request_for(3, 1);
    shoal_engine *engine = open_engine(&r);
    must(shoal_engine_idle(engine, -1, 0.1));
    const double begin = shoal_clock_seconds();
    assert_int_equal(kill((pid_t)engine->identities[1].pid, SIGKILL), 0);
    expect_failure(shoal_engine_idle(engine, -1, 60), "was killed by signal 9");
    assert_non_null(strstr(shoal_error_text(), "rank 1 "));
    print_message("noticed and named in %.0f ms\n", 1e3 * (shoal_clock_seconds() - begin));
    expect_recovery(engine, 2);
}

static void killed_in_a_step(void **state)
{
    (void)state;
    for (int victim = 0; victim < 3; victim += 2) {
        int32_t tokens[TOKENS] = {0};
        const shoal_engine_request r = request_for(3, 7);
        shoal_engine *engine = open_engine(&r);
        event e = {(pid_t)engine->identities[victim].pid, SIGKILL, -1, 0};
        expect_failure(generate(engine, &e, tokens), "was killed by signal 9");
        assert_memory_equal(tokens, want, 5 * sizeof *want);
        expect_recovery(engine, 8);
    }
}

/* Averages are known after the first tokens, so the deadline is about what the request says. */
static void stopped(void **state)
{
    (void)state;
    for (int in_step = 0; in_step < 2; in_step++) {
        int32_t tokens[TOKENS] = {0};
        shoal_engine_request r = request_for(3, 1);
        r.deadlines.decode = r.deadlines.prefill = 1.5;
        shoal_engine *engine = open_engine(&r);
        event e = {(pid_t)engine->identities[2].pid, SIGSTOP, -1, 0};
        double begin = shoal_clock_seconds();
        if (in_step) {
            expect_failure(generate(engine, &e, tokens), "has said nothing for");
        } else {
            expect_same_tokens(engine);
            begin = shoal_clock_seconds();
            assert_int_equal(kill(e.pid, SIGSTOP), 0);
            expect_failure(shoal_engine_idle(engine, -1, 60), "has said nothing for");
        }
        assert_non_null(strstr(shoal_error_text(), "rank 2 "));
        assert_true(shoal_clock_seconds() - begin < 20);
        expect_recovery(engine, 2);
    }
}

static void stopped_by_the_caller(void **state)
{
    (void)state;
    int ends[2];
    char byte;
    int32_t tokens[TOKENS];
    shoal_engine *engine = NULL;
    assert_int_equal(pipe(ends), 0);
    shoal_engine_request r = request_for(2, 1);
    r.stop_fd = ends[0];
    for (int when = 0; when < 4; when++) { /* opening, in a step, at rest, closing */
        event e = {.fd = ends[1]};
        if (when == 0) {
            assert_int_equal(write(ends[1], "!", 1), 1);
            expect_failure(shoal_engine_open(&r, &engine), "stopped");
        } else {
            engine = open_engine(&r);
            if (when == 1)
                expect_failure(generate(engine, &e, tokens), "stopped");
            else
                assert_int_equal(write(ends[1], "!", 1), 1);
            if (when == 2)
                expect_failure(shoal_engine_idle(engine, -1, 60), "stopped");
            const shoal_status st = shoal_engine_close(engine);
            assert_int_equal(st, when == 3 ? SHOAL_ERR_TEMPORARY : SHOAL_OK);
        }
        assert_int_equal(read(ends[0], &byte, 1), 1);
    }
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* In this process: steps and rests look at the descriptor, too. */
static void local_engine_stops_and_reports(void **state)
{
    (void)state;
    int ends[2];
    int32_t tokens[TOKENS];
    assert_int_equal(pipe(ends), 0);
    shoal_engine_request r = request_for(3, 1);
    r.emulate = 3;
    r.stop_fd = ends[0];
    shoal_engine *engine = open_engine(&r);
    assert_string_equal(engine->ops->name, "local");
    expect_same_tokens(engine);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(engine->identities[i].pid, getpid());
        assert_true(engine->timing[i].steps + 1 >= engine->steps); /* a thread may be late */
    }
    assert_int_equal(engine->timing[0].steps, engine->steps);
    must(shoal_engine_idle(engine, -1, 0.01));
    event e = {.fd = ends[1]};
    expect_failure(generate(engine, &e, tokens), "stopped");
    must(shoal_engine_close(engine));
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* ---- at rest --------------------------------------------------------------------------------- */

/* CPU seconds of a process so far. */
static double cpu_of(pid_t pid)
{
    char path[64], text[1024];
    unsigned long user, system;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    const size_t n = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[n] = '\0';
    const char *end = strrchr(text, ')');
    assert_non_null(end);
    assert_int_equal(
        sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system), 2);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static pid_t parent_of(pid_t pid)
{
    char path[64];
    int parent = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d (%*[^)]) %*c %d", &parent), 1);
    (void)fclose(file);
    return (pid_t)parent;
}

static double cpu_of_all(const shoal_engine *engine)
{
    double sum = cpu_of(getpid()) + cpu_of(parent_of((pid_t)engine->identities[0].pid));
    for (int r = 0; r < engine->ranks; r++)
        sum += cpu_of((pid_t)engine->identities[r].pid);
    return sum;
}

/* This process, mpirun and four ranks together. SHOAL_REST_SECONDS makes it longer. */
static void rest_costs_nothing(void **state)
{
    (void)state;
    const char *text = getenv("SHOAL_REST_SECONDS");
    const double seconds = text ? atof(text) : 3;
    const shoal_engine_request r = request_for(4, 1);
    shoal_engine *engine = open_engine(&r);
    expect_same_tokens(engine);
    must(shoal_engine_idle(engine, -1, 0.5));
    const double before = cpu_of_all(engine);
    must(shoal_engine_idle(engine, -1, seconds));
    const double share = (cpu_of_all(engine) - before) / seconds;
    print_message("at rest: %.2f %% of a core\n", 100 * share);
    assert_true(share < 0.05);
    must(shoal_engine_close(engine));
}

static int compute_reference(void **state)
{
    (void)state;
    shoal_engine *engine;
    shoal_engine_request r = request_for(1, 1);
    r.supervised = false;
    if (shoal_engine_open(&r, &engine) != SHOAL_OK || generate(engine, NULL, want) != SHOAL_OK)
        return -1;
    return (int)shoal_engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rank_of_its_own),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(timing_adds_up),
        cmocka_unit_test(idling_ends_when_asked),
        cmocka_unit_test(killed_at_rest),
        cmocka_unit_test(killed_in_a_step),
        cmocka_unit_test(stopped),
        cmocka_unit_test(stopped_by_the_caller),
        cmocka_unit_test(local_engine_stops_and_reports),
        cmocka_unit_test(rest_costs_nothing),
    };
    return cmocka_run_group_tests(tests, compute_reference, NULL);
}
