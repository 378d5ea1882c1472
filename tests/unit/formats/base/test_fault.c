/*
 * test_fault.c - which pass fails, in which role, and what a wrong NJ_FAULT does
 *
 * Each case runs in a child with its own environment: arming is per process, and two of the
 * outcomes are its death.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "formats/base/cleanup.h"
#include "formats/base/fault.h"

#include "formats/base/banned.h"

#define SURVIVED 42

/* run - a child with NJ_FAULT=@spec in role @role passes @points; its actions are compared with
 * @actions. Returns the wait status. */
static int run(const char *spec, const char *role, const char *const *points,
               const enum nj_fault_action *actions, size_t n)
{
    int status = -1;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        (void)dup2(null, STDERR_FILENO); /* refusals explain themselves; not here */
        (void)setenv("NJ_FAULT", spec, 1);
        (void)unsetenv("NJ_FAULT_COUNT");
        nj_fault_init(role);
        for (size_t i = 0; i < n; i++) {
            if (nj_fault(points[i]) != actions[i])
                _exit((int)i);
        }
        _exit(SURVIVED);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_survived(int status)
{
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status),
                     SURVIVED); /* less: the number of the pass that differed */
}

static void the_first_pass_fails_once(void **state)
{
    static const char *const points[] = {"rename", "write", "write"};
    static const enum nj_fault_action actions[] = {NJ_FAULT_NONE, NJ_FAULT_ENOSPC, NJ_FAULT_NONE};

    (void)state;
    assert_survived(run("write:enospc", "engine", points, actions, 3));
}

static void the_nth_pass_over_each_point_fails_as_told(void **state)
{
    static const char *const points[] = {"write", "fdatasync", "write", "fdatasync", "write"};
    static const enum nj_fault_action actions[] = {NJ_FAULT_EIO, NJ_FAULT_NONE, NJ_FAULT_SHORT,
                                                   NJ_FAULT_EINTR, NJ_FAULT_NONE};

    (void)state;
    assert_survived(run("write#2:short,fdatasync#2:eintr,write:eio", "engine", points, actions, 5));
}

static void only_the_named_role_is_armed(void **state)
{
    static const char *const points[] = {"write"};
    static const enum nj_fault_action none[] = {NJ_FAULT_NONE}, eio[] = {NJ_FAULT_EIO};

    (void)state;
    assert_survived(run("write:eio", "helper", points, none, 1));
    assert_survived(run("helper/write:eio", "engine", points, none, 1));
    assert_survived(run("helper/write:eio", "helper", points, eio, 1));
    assert_survived(run("", "engine", points, none, 1));
}

static void kill_is_not_survived(void **state)
{
    static const char *const points[] = {"journal.before_sync", "journal.before_sync"};
    static const enum nj_fault_action none[] = {NJ_FAULT_NONE, NJ_FAULT_NONE};
    int status = run("journal.before_sync#2:kill", "engine", points, none, 2);

    (void)state;
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_survived(run("journal.before_sync#3:kill", "engine", points, none, 2));
}

static void a_mistyped_fault_aborts(void **state)
{
    static const char *const bad[] = {
        "write",       "write:",      "write:explode",       ":eio",
        "write#0:eio", "write#:eio",  "write#2x:eio",        "write#-1:eio",
        "write:eio,",  "helper/:eio", "other/write:explode",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int status = run(bad[i], "engine", NULL, NULL, 0);

        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
            fail_msg("\"%s\" was accepted", bad[i]);
    }
}

static void a_fault_too_many_or_too_long_aborts(void **state)
{
    char many[17 * 8 + 1] = "", name[100];
    int status;

    (void)state;
    for (size_t i = 0; i < 17; i++)
        memcpy(many + 8 * i, "abc:eio,", 8);
    many[17 * 8 - 1] = '\0';
    status = run(many, "engine", NULL, NULL, 0);
    assert_true(WIFSIGNALED(status));
    many[16 * 8 - 1] = '\0';
    assert_survived(run(many, "engine", NULL, NULL, 0));
    memset(name, 'n', sizeof(name));
    memcpy(name + sizeof(name) - 5, ":eio", 5);
    status = run(name, "engine", NULL, NULL, 0);
    assert_true(WIFSIGNALED(status));
}

static void a_new_role_counts_anew(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setenv("NJ_FAULT", "write:eio,helper/write#2:enospc", 1);
        nj_fault_init("engine");
        if (nj_fault("write") != NJ_FAULT_EIO)
            _exit(1);
        nj_fault_init("helper");
        if (nj_fault("write") != NJ_FAULT_NONE || nj_fault("write") != NJ_FAULT_ENOSPC)
            _exit(2);
        _exit(SURVIVED);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_survived(status);
}

static void the_count_file_tells_each_point_once(void **state)
{
    nj_auto_close int fd = memfd_create("counts", 0); /* inherited by the child */
    char path[64], text[256] = "";
    int status;
    pid_t pid;

    (void)state;
    assert_true(fd >= 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)unsetenv("NJ_FAULT");
        (void)setenv("NJ_FAULT_COUNT", path, 1);
        nj_fault_init("worker");
        for (int i = 0; i < 3; i++)
            (void)nj_fault("write");
        (void)nj_fault("rename");
        nj_fault_done();
        nj_fault_done(); /* tells nothing twice */
        (void)nj_fault("write");
        nj_fault_done();
        _exit(SURVIVED);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_survived(status);
    assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
    assert_string_equal(text, "worker write 3\nworker rename 1\nworker write 1\n");
}

/* in_child - pass "write" @n times in a forked process of role "supervisor"; its wait status */
static int in_child(int n)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        nj_fault_init("supervisor");
        for (int i = 0; i < n; i++)
            (void)nj_fault("write");
        nj_fault_done(); /* not its business */
        _exit(SURVIVED);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        _exit(100);
    return status;
}

static void forked_processes_share_one_count_and_meet_a_fault_once(void **state)
{
    nj_auto_close int fd = memfd_create("counts", 0); /* inherited by the child */
    char path[64], text[256] = "";
    int status;
    pid_t pid;

    (void)state;
    assert_true(fd >= 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setenv("NJ_FAULT", "supervisor/write#4:kill", 1);
        (void)setenv("NJ_FAULT_COUNT", path, 1);
        nj_fault_init("engine");
        if (WEXITSTATUS(in_child(2)) != SURVIVED)
            _exit(1);
        status = in_child(3); /* the second of these is the fourth */
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            _exit(2);
        if (WEXITSTATUS(in_child(5)) != SURVIVED) /* the one that takes its place */
            _exit(3);
        (void)nj_fault("rename");
        nj_fault_done();
        _exit(SURVIVED);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_survived(status);
    assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
    assert_string_equal(text, "engine rename 1\nsupervisor write 9\n");
}

static void *pass_often(void *failures)
{
    for (int i = 0; i < 1000; i++) {
        if (nj_fault("write") == NJ_FAULT_EIO)
            atomic_fetch_add((atomic_int *)failures, 1);
        (void)nj_fault("rename");
    }
    return NULL;
}

static void one_of_many_threads_meets_the_fault(void **state)
{
    pthread_t threads[4];
    atomic_int failures = 0;

    (void)state;
    (void)setenv("NJ_FAULT", "write#4000:eio,rename#4001:kill", 1);
    nj_fault_init("engine");
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, pass_often, &failures), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&failures), 1); /* the 4000th and last pass: none was lost */
}

static void without_the_variables_nothing_is_counted_or_armed(void **state)
{
    (void)state;
    (void)unsetenv("NJ_FAULT");
    (void)unsetenv("NJ_FAULT_COUNT");
    nj_fault_init("engine");
    for (int i = 0; i < 1000; i++)
        assert_int_equal(nj_fault("write"), NJ_FAULT_NONE);
    nj_fault_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_pass_fails_once),
        cmocka_unit_test(the_nth_pass_over_each_point_fails_as_told),
        cmocka_unit_test(only_the_named_role_is_armed),
        cmocka_unit_test(kill_is_not_survived),
        cmocka_unit_test(a_mistyped_fault_aborts),
        cmocka_unit_test(a_fault_too_many_or_too_long_aborts),
        cmocka_unit_test(a_new_role_counts_anew),
        cmocka_unit_test(the_count_file_tells_each_point_once),
        cmocka_unit_test(forked_processes_share_one_count_and_meet_a_fault_once),
        cmocka_unit_test(one_of_many_threads_meets_the_fault),
        cmocka_unit_test(without_the_variables_nothing_is_counted_or_armed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
