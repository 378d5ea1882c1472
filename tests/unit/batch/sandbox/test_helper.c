/*
 * test_helper.c - the program nj-sandbox, started as the engine does not start it
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "batch/sandbox/helper.h"

#include "formats/base/banned.h"

/* start - beside our own program; as NJ_HELPER_FD it gets @fd. Returns its pid. */
static pid_t start(int fd, const char *version)
{
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
    pid_t pid;

    assert_true(len > 0);
    path[len] = '\0';
    (void)snprintf(strrchr(path, '/'), 16, "/nj-sandbox");
    pid = fork();
    if (pid == 0) {
        (void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
        (void)dup2(fd, NJ_HELPER_FD);
        (void)execl(path, "nj-sandbox", version, "run", NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static int status_of(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_helper_of_another_build_refuses_by_both_names(void **state)
{
    static struct nj_msg_in in;
    struct nj_error err;
    int pair[2];
    pid_t pid;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    pid = start(pair[1], NJ_VERSION " (build of yesterday)");
    (void)close(pair[1]);
    assert_int_equal(status_of(pid), 1);
    assert_int_equal(nj_msg_receive(pair[0], &in, &err), 0);
    assert_int_equal(in.msg.kind, NJ_MSG_FAILED);
    assert_int_equal(in.msg.failed.code, NJ_E_VERSION);
    assert_non_null(strstr(in.msg.failed.text, nj_build_name));
    assert_non_null(strstr(in.msg.failed.text, NJ_VERSION " (build of yesterday)"));
    assert_non_null(strstr(in.msg.failed.text, "Cure"));
    nj_msg_in_done(&in);
    (void)close(pair[0]);
}

static void without_an_engine_it_does_nothing(void **state)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(status_of(start(fd, nj_build_name)), 2);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_helper_of_another_build_refuses_by_both_names),
        cmocka_unit_test(without_an_engine_it_does_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
