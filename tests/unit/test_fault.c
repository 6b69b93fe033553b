/* What SHOAL_FAULT may say, and when a fault happens. Only in builds with faults. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/fault.h"

static void all_keys(void **state)
{
    (void)state;
    shoal_fault f;
    assert_int_equal(shoal_fault_parse("rank=-1,phase=comm_init,step=37,act=slow:250,generation=0,"
                                       "token=151643",
                                       &f),
                     SHOAL_OK);
    assert_int_equal(f.rank, -1);
    assert_int_equal(f.phase, SHOAL_FAULT_COMM_INIT);
    assert_int_equal(f.step, 37);
    assert_int_equal(f.act, SHOAL_ACT_SLOW);
    assert_int_equal(f.milliseconds, 250);
    assert_int_equal(f.generation, 0);
    assert_int_equal(f.token, 151643);
    assert_int_equal(shoal_fault_parse("act=kill,phase=finalize", &f), SHOAL_OK);
    assert_int_equal(f.rank, 0);
    assert_int_equal(f.step, 1);
    assert_int_equal(f.generation, 1);
    assert_int_equal(f.token, -1);
}

static void bad_words(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "kill",
                                      "phase=decode",
                                      "act=kill",
                                      "phase=lunch,act=kill",
                                      "phase=decode,act=dance",
                                      "phase=decode,act=kill:3",
                                      "phase=decode,act=slow",
                                      "phase=decode,act=slow:",
                                      "phase=decode,act=kill,step=x",
                                      "phase=decode,act=kill,rank=-2",
                                      "phase=decode,act=kill,step=99999999999",
                                      "phase=decode,act=kill,colour=1",
                                      "phase=decode,act=kill,,"};
    char longer[600];
    shoal_fault f;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(shoal_fault_parse(bad[i], &f), SHOAL_ERR_USAGE);
        assert_non_null(strstr(shoal_error_text(), "SHOAL_FAULT"));
    }
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(shoal_fault_parse(longer, &f), SHOAL_ERR_USAGE);
}

static void join(const char *fault, const char *generation, int rank)
{
    assert_int_equal(setenv("SHOAL_FAULT", fault, 1), 0);
    assert_int_equal(setenv("SHOAL_GENERATION", generation, 1), 0);
    assert_int_equal(shoal_fault_join(rank), SHOAL_OK);
}

/* How many of `times` visits pass before one fails. */
static int passes(shoal_fault_phase phase, const int32_t *tokens, int64_t count, int times)
{
    for (int i = 0; i < times; i++)
        if (shoal_fault_reach(phase, tokens, count) != SHOAL_OK)
            return i;
    return times;
}

static void at_its_place_and_time_only(void **state)
{
    (void)state;
    static const int32_t tokens[] = {4, 9, 16};
    join("rank=2,phase=reduce,step=3,act=error", "1", 2);
    assert_int_equal(passes(SHOAL_FAULT_DECODE, NULL, 0, 10), 10);
    assert_int_equal(passes(SHOAL_FAULT_REDUCE, NULL, 0, 10), 2);
    assert_int_equal(passes(SHOAL_FAULT_REDUCE, NULL, 0, 10), 10); /* once */
    join("rank=2,phase=reduce,act=error", "1", 1);
    assert_int_equal(passes(SHOAL_FAULT_REDUCE, NULL, 0, 10), 10);
    join("rank=2,phase=reduce,act=error", "2", 2);
    assert_int_equal(passes(SHOAL_FAULT_REDUCE, NULL, 0, 10), 10);
    join("rank=-1,phase=reduce,act=error,generation=0", "2", 5);
    assert_int_equal(passes(SHOAL_FAULT_REDUCE, NULL, 0, 10), 0);
    join("rank=2,phase=decode,act=error,token=9,step=2", "1", 2);
    assert_int_equal(passes(SHOAL_FAULT_DECODE, tokens, 1, 10), 10);
    assert_int_equal(passes(SHOAL_FAULT_DECODE, tokens, 3, 10), 1);
}

static void acts_are_what_they_say(void **state)
{
    (void)state;
    static const struct {
        const char *act;
        int signal, code;
    } cases[] = {{"kill", 9, 0},  {"segv", 11, 0}, {"abort", 6, 0},
                 {"exit0", 0, 0}, {"exit1", 0, 1}, {"stop", 19, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64] = "phase=idle,act=";
        int status;
        join(strcat(text, cases[i].act), "1", 0);
        const pid_t child = fork();
        if (child == 0)
            _exit(passes(SHOAL_FAULT_IDLE, NULL, 0, 1) + 50);
        assert_int_equal(waitpid(child, &status, WUNTRACED), child);
        if (WIFSTOPPED(status)) {
            assert_int_equal(WSTOPSIG(status), cases[i].signal);
            assert_int_equal(kill(child, SIGKILL), 0);
            assert_int_equal(waitpid(child, &status, 0), child);
        } else if (cases[i].signal) {
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == cases[i].signal);
        } else {
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == cases[i].code);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_keys),
        cmocka_unit_test(bad_words),
        cmocka_unit_test(at_its_place_and_time_only),
        cmocka_unit_test(acts_are_what_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
