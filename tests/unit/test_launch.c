/* Starting mpirun and leaving nothing behind. A script in a private PATH plays mpirun where the
 * real one would make the test slow or need a network. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "coordinator/cluster/launch.h"
#include "coordinator/cluster/run_folder.h"

static const char *const arguments[] = {"worker", "--coordinator", "unix:/x", NULL};
static const char *const variables[] = {"VAR=secret", "PATH_OF=a=b", NULL};

static void join(const shoal_launch_command *c, char *out, size_t room)
{
    size_t at = 0;
    out[0] = '\0';
    for (int i = 0; i < c->count; i++)
        at += (size_t)snprintf(out + at, room - at, "%s%s", i ? "|" : "", c->words[i]);
}

static void test_the_command_line(void **state)
{
    (void)state;
    char line[2048];
    shoal_launch_command c;
    shoal_launch_request r = {.ranks = 3, .program = "/bin/shoal", .arguments = arguments};
    assert_int_equal(shoal_launch_compose(&r, &c), SHOAL_OK);
    join(&c, line, sizeof line);
    assert_string_equal(line,
                        "mpirun|--oversubscribe|--bind-to|none|--mca|odls_base_sigkill_timeout|0|"
                        "-n|3|/bin/shoal|worker|"
                        "--coordinator|unix:/x");
    assert_null(c.words[c.count]);

    r = (shoal_launch_request){.ranks = 12,
                               .program = "shoal",
                               .arguments = arguments,
                               .folder = "/t",
                               .shared_folder = "/s",
                               .hostfile = "hosts",
                               .variables = variables,
                               .mpi_args = "--mca btl  'tcp,self' a\\ b \"c d\"",
                               .as_root = true};
    assert_int_equal(shoal_launch_compose(&r, &c), SHOAL_OK);
    join(&c, line, sizeof line);
    assert_string_equal(line,
                        "mpirun|--allow-run-as-root|--oversubscribe|--bind-to|none|--mca|"
                        "odls_base_sigkill_timeout|0|--mca|"
                        "orte_tmpdir_base|/t|--mca|btl_vader_backing_directory|/s|--mca|"
                        "osc_sm_backing_directory|/s|--hostfile|hosts|-x|VAR|-x|PATH_OF|--mca|btl|"
                        "tcp,self|a b|c d|-n|12|shoal|worker|--coordinator|unix:/x");
}

static void test_bad_mpi_args(void **state)
{
    (void)state;
    static char many[1024];
    shoal_launch_command c;
    shoal_launch_request r = {
        .ranks = 1, .program = "p", .arguments = arguments, .mpi_args = "--x 'open"};
    assert_int_equal(shoal_launch_compose(&r, &c), SHOAL_ERR_USAGE);
    for (size_t i = 0; i + 2 < sizeof many; i += 2)
        memcpy(many + i, "a ", 3);
    r.mpi_args = many;
    assert_int_equal(shoal_launch_compose(&r, &c), SHOAL_ERR_USAGE);
}

static void test_which_variables_survive(void **state)
{
    (void)state;
    static const struct {
        const char *variable;
        bool kept;
    } cases[] = {
        {"PATH=/bin", true},          {"OMPI_COMM_WORLD_SIZE=3", false},
        {"OMPI_FOO=1", false},        {"OMPI_MCA_btl=tcp,self", true},
        {"OMPI_MCA_orte_x=1", false}, {"PMIX_RANK=0", false},
        {"SLURM_JOB_ID=7", true},     {"SLURM_PROCID=0", false},
        {"SHOAL_CPU=avx2", true},     {"PRTE_X=1", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(shoal_launch_keeps(cases[i].variable), cases[i].kept);
}

static void test_what_mpirun_says_of_a_dead_rank(void **state)
{
    (void)state;
    shoal_launch_victim v = {.rank = -1};
    assert_false(shoal_launch_parse_victim("a non-zero exit code", &v));
    assert_false(shoal_launch_parse_victim("process rank x exited on signal y", &v));
    assert_false(shoal_launch_parse_victim("  Exit code:    5", &v)); /* whose? */
    assert_true(shoal_launch_parse_victim(
        "mpirun noticed that process rank 2 with PID 0 on node vm exited on signal 9 (Killed).",
        &v));
    assert_int_equal(v.rank, 2);
    assert_int_equal(v.signal, 9);

    v = (shoal_launch_victim){.rank = -1};
    assert_false(shoal_launch_parse_victim("  Process name: [[15063,1],7]", &v));
    assert_true(shoal_launch_parse_victim("  Exit code:    3", &v));
    assert_int_equal(v.rank, 7);
    assert_int_equal(v.signal, 0);
    assert_int_equal(v.code, 3);

    v = (shoal_launch_victim){.rank = -1};
    assert_true(
        shoal_launch_parse_victim("mpirun has exited due to process rank 1 with PID 0 on", &v));
    assert_int_equal(v.rank, 1);
    assert_int_equal(v.signal + v.code, 0);
}

/* ---- with a script that plays mpirun --------------------------------------------------------- */

static char folder[] = "/tmp/shoal-test-launch-XXXXXX";

static void play(const char *script)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/mpirun", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "#!/bin/sh\n%s\n", script) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0755), 0);
}

static int make_folder(void **state)
{
    char path[512];
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(path, sizeof path, "%s:/usr/bin:/bin", folder);
    return setenv("PATH", path, 1);
}

static int remove_folder(void **state)
{
    (void)state;
    shoal_run_folder f = {.lock = -1, .shared_lock = -1};
    (void)snprintf(f.path, sizeof f.path, "%s", folder);
    shoal_run_folder_remove(&f);
    return access(folder, F_OK) == 0 ? -1 : 0;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void start(shoal_launch *launch)
{
    const shoal_launch_request r = {.ranks = 2, .program = "p", .arguments = arguments};
    assert_int_equal(shoal_launch_start(&r, launch), SHOAL_OK);
    assert_int_equal(getsid(launch->pid), launch->pid);
}

static void wait_end(shoal_launch *launch)
{
    for (int i = 0; i < 1000 && !launch->ended; i++) {
        shoal_launch_poll(launch);
        (void)usleep(5000);
    }
    assert_true(launch->ended);
}

static bool is_zombie(const char *pid)
{
    char path[64], text[256] = "";
    (void)snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return true;
    (void)!fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    const char *end = strrchr(text, ')');
    return !end || strncmp(end, ") Z", 3) == 0;
}

/* Living processes of a session. */
static int living(pid_t session)
{
    int count = 0;
    DIR *proc = opendir("/proc");
    assert_non_null(proc);
    for (const struct dirent *e = readdir(proc); e; e = readdir(proc))
        if (atoi(e->d_name) > 0 && getsid(atoi(e->d_name)) == session && !is_zombie(e->d_name))
            count++;
    (void)closedir(proc);
    return count;
}

static void test_output_is_kept_and_the_victim_found(void **state)
{
    (void)state;
    char end[128];
    shoal_launch launch;
    play("echo plain words\n"
         "echo 'process rank 1 with PID 0 on node vm exited on signal 11 (Segmentation fault).'\n"
         "exit 3");
    start(&launch);
    wait_end(&launch);
    assert_string_equal(launch.tail,
                        "plain words\nprocess rank 1 with PID 0 on node vm exited on signal 11 "
                        "(Segmentation fault).\n");
    assert_true(launch.victim_known);
    assert_int_equal(launch.victim.rank, 1);
    assert_int_equal(launch.victim.signal, 11);
    shoal_launch_describe_end(&launch, end, sizeof end);
    assert_string_equal(end, "mpirun ended with code 3");
    shoal_launch_stop(&launch, 0);
    assert_int_equal(launch.pid, 0);
}

static void test_much_output_does_not_block(void **state)
{
    (void)state;
    shoal_launch launch;
    play("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); "
         "echo \"$i 0123456789012345678901234567890123456789012345678901234567890\"; done");
    start(&launch);
    wait_end(&launch);
    assert_true(strlen(launch.tail) < SHOAL_LAUNCH_TAIL);
    assert_non_null(strstr(launch.tail, "3000 0123"));
    shoal_launch_stop(&launch, 0);
}

static void test_stop_is_quick_when_told(void **state)
{
    (void)state;
    shoal_launch launch;
    play("exec sleep 60");
    start(&launch);
    const pid_t session = launch.pid;
    const double begin = now();
    shoal_launch_stop(&launch, 0);
    assert_true(now() - begin < 0.5);
    assert_int_equal(living(session), 0);
}

static void test_stop_ends_the_stubborn_and_their_children(void **state)
{
    (void)state;
    shoal_launch launch;
    play("trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & "
         "(trap '' TERM; while :; do sleep 1; done) & echo up; while :; do sleep 1; done");
    start(&launch);
    const pid_t session = launch.pid;
    for (int i = 0; i < 400 && !strstr(launch.tail, "up"); i++) {
        shoal_launch_poll(&launch);
        (void)usleep(5000);
    }
    assert_true(living(session) >= 3);
    const double begin = now();
    shoal_launch_stop(&launch, 0);
    assert_true(now() - begin < 2.0);
    assert_int_equal(living(session), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* all reaped */
}

/* A process that is stopped does not hear TERM, and its parent may be gone before it. */
static void test_stop_ends_the_stopped(void **state)
{
    (void)state;
    shoal_launch launch;
    play("sleep 60 & kill -STOP $!; (sleep 60 & kill -STOP $!) & wait %2; echo up; exit 7");
    start(&launch);
    const pid_t session = launch.pid;
    wait_end(&launch); /* both sleepers are orphans now */
    assert_int_equal(living(session), 2);
    const double begin = now();
    shoal_launch_stop(&launch, 0);
    assert_true(now() - begin < 0.5);
    assert_int_equal(living(session), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_kill_does_not_wait(void **state)
{
    (void)state;
    shoal_launch launch;
    play("trap '' TERM; echo up; while :; do sleep 1; done");
    start(&launch);
    const pid_t session = launch.pid;
    const double begin = now();
    shoal_launch_kill(&launch);
    assert_true(now() - begin < 0.5);
    assert_int_equal(living(session), 0);
    shoal_launch_kill(&launch); /* nothing left to do */
}

/* What this process has open, ignores or blocks is no business of mpirun's. */
static void test_nothing_is_inherited(void **state)
{
    (void)state;
    shoal_launch launch;
    sigset_t some, before;
    const int stray = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */
    assert_true(stray > 2);
    sigemptyset(&some);
    sigaddset(&some, SIGTERM);
    assert_int_equal(sigprocmask(SIG_BLOCK, &some, &before), 0);
    assert_true(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    play("for f in /proc/$$/fd/*; do [ \"$(readlink $f)\" = /dev/null ] && echo \"null ${f##*/}\"; "
         "done; exec grep -E 'Sig(Blk|Ign)' /proc/self/status");
    start(&launch);
    wait_end(&launch);
    assert_string_equal(launch.tail, "null 0\nSigBlk:\t0000000000000000\n"
                                     "SigIgn:\t0000000000000000\n");
    shoal_launch_stop(&launch, 0);
    (void)signal(SIGUSR1, SIG_DFL);
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
    (void)close(stray);
}

/* Variables of the request come instead of ours, and their values are not on the command line. */
static void test_variables_reach_mpirun(void **state)
{
    (void)state;
    static const char *const mine[] = {"SHOAL_TEST_A=new", "SHOAL_TEST_B=b=c", NULL};
    shoal_launch launch;
    const shoal_launch_request r = {
        .ranks = 2, .program = "p", .arguments = arguments, .variables = mine};
    assert_int_equal(setenv("SHOAL_TEST_A", "old", 1), 0);
    play("env | grep SHOAL_TEST | sort; echo \"$@\"");
    assert_int_equal(shoal_launch_start(&r, &launch), SHOAL_OK);
    wait_end(&launch);
    assert_non_null(strstr(launch.tail, "SHOAL_TEST_A=new\nSHOAL_TEST_B=b=c\n"));
    assert_null(strstr(launch.tail, "old"));
    assert_non_null(strstr(launch.tail, "-x SHOAL_TEST_A -x SHOAL_TEST_B -n 2 p"));
    shoal_launch_stop(&launch, 0);
    assert_int_equal(unsetenv("SHOAL_TEST_A"), 0);
}

static void test_mpirun_dies_with_us(void **state)
{
    (void)state;
    play("exec sleep 60");
    int report[2];
    assert_int_equal(pipe(report), 0);
    const pid_t child = fork();
    if (child == 0) {
        shoal_launch launch;
        const shoal_launch_request r = {.ranks = 2, .program = "p", .arguments = arguments};
        if (shoal_launch_start(&r, &launch) == SHOAL_OK)
            (void)!write(report[1], &launch.pid, sizeof launch.pid);
        _exit(0); /* without a stop */
    }
    pid_t session = 0;
    assert_int_equal(read(report[0], &session, sizeof session), (ssize_t)sizeof session);
    assert_int_equal(waitpid(child, NULL, 0), child);
    for (int i = 0; i < 200 && living(session) > 0; i++)
        (void)usleep(5000);
    assert_int_equal(living(session), 0);
}

static void test_no_mpirun(void **state)
{
    (void)state;
    shoal_launch launch;
    char *path = strdup(getenv("PATH"));
    const shoal_launch_request r = {.ranks = 2, .program = "p", .arguments = arguments};
    assert_int_equal(setenv("PATH", "/nowhere", 1), 0);
    assert_int_equal(shoal_launch_start(&r, &launch), SHOAL_ERR_UNAVAILABLE);
    assert_non_null(strstr(shoal_error_text(), "mpirun was not found"));
    assert_int_equal(setenv("PATH", path, 1), 0);
    free(path);
}

static void test_run_folders(void **state)
{
    (void)state;
    shoal_run_folder f;
    char inside[PATH_MAX + 8], path[PATH_MAX], shared[64];
    struct stat info;
    assert_int_equal(shoal_run_folder_create(&f), SHOAL_OK);
    memcpy(path, f.path, sizeof path);
    memcpy(shared, f.shared, sizeof shared);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    (void)snprintf(inside, sizeof inside, "%s/a", path);
    assert_int_equal(mkdir(inside, 0700), 0);
    shoal_run_folder_remove(&f);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_true(!shared[0] || access(shared, F_OK) != 0);
    shoal_run_folder_remove(&f); /* nothing left to do */
}

/* Three old folders: held by a living start, held by nobody, and not ours by name. */
static void test_what_a_killed_start_left_is_swept(void **state)
{
    (void)state;
    shoal_run_folder held, next;
    const struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
    char left[128], other[128], token[160];
    assert_int_equal(setenv("TMPDIR", folder, 1), 0);
    assert_int_equal(shoal_run_folder_create(&held), SHOAL_OK);
    (void)snprintf(left, sizeof left, "%s/shoal-run-abcdef", folder);
    (void)snprintf(other, sizeof other, "%s/shoal-running", folder);
    (void)snprintf(token, sizeof token, "%s/token", left);
    assert_int_equal(mkdir(left, 0700), 0);
    assert_int_equal(mkdir(token, 0700), 0);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_int_equal(utimensat(AT_FDCWD, held.path, old, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, other, old, 0), 0);

    assert_int_equal(shoal_run_folder_create(&next), SHOAL_OK);
    assert_int_equal(access(left, F_OK), 0); /* too young to judge */
    shoal_run_folder_remove(&next);
    assert_int_equal(utimensat(AT_FDCWD, left, old, 0), 0);
    assert_int_equal(shoal_run_folder_create(&next), SHOAL_OK);
    assert_int_not_equal(access(left, F_OK), 0);
    assert_int_equal(access(held.path, F_OK), 0);
    assert_int_equal(access(other, F_OK), 0);
    shoal_run_folder_remove(&next);
    shoal_run_folder_remove(&held);
    assert_int_equal(unsetenv("TMPDIR"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_command_line),
        cmocka_unit_test(test_bad_mpi_args),
        cmocka_unit_test(test_which_variables_survive),
        cmocka_unit_test(test_what_mpirun_says_of_a_dead_rank),
        cmocka_unit_test(test_output_is_kept_and_the_victim_found),
        cmocka_unit_test(test_much_output_does_not_block),
        cmocka_unit_test(test_stop_is_quick_when_told),
        cmocka_unit_test(test_stop_ends_the_stubborn_and_their_children),
        cmocka_unit_test(test_stop_ends_the_stopped),
        cmocka_unit_test(test_kill_does_not_wait),
        cmocka_unit_test(test_nothing_is_inherited),
        cmocka_unit_test(test_variables_reach_mpirun),
        cmocka_unit_test(test_mpirun_dies_with_us),
        cmocka_unit_test(test_no_mpirun),
        cmocka_unit_test(test_run_folders),
        cmocka_unit_test(test_what_a_killed_start_left_is_swept),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
