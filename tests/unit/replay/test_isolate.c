/*
 * test_isolate.c - a process that left the network reaches nothing, and one that did not is told
 * apart
 *
 * Each case is a child of its own: a namespace cannot be left again. Addresses are loopback only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/cleanup.h"
#include "replay/isolate.h"

#include "formats/base/banned.h"

#define SKIPPED 77

/* @check returns 0, SKIPPED, or a number that says which step failed. */
static void in_a_child(int (*check)(void))
{
    pid_t pid = fork();
    int status = 0;

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(check());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIPPED) {
        print_message("skipped: this host refuses network namespaces\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int listen_on_loopback(struct sockaddr_in *address)
{
    socklen_t len = sizeof(*address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)address, sizeof(*address)) < 0 || listen(fd, 1) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &len) < 0)
        return -1;
    return fd;
}

static int reaches_nothing(void)
{
    struct sockaddr_in address;
    struct nj_error err = {0};
    nj_auto_close int server = listen_on_loopback(&address);
    nj_auto_close int before = socket(AF_INET, SOCK_STREAM, 0);
    nj_auto_close int client = -1;
    nj_auto_close int datagram = -1;
    int r;

    if (server < 0 || connect(before, (struct sockaddr *)&address, sizeof(address)) < 0)
        return 1;
    r = nj_isolate_network(&err);
    if (r == 1)
        return SKIPPED;
    if (r < 0 || nj_isolate_check(&err) < 0)
        return 2;
    client = socket(AF_INET, SOCK_STREAM, 0);
    if (client < 0 || connect(client, (struct sockaddr *)&address, sizeof(address)) == 0 ||
        errno != ENETUNREACH)
        return 3;
    datagram = socket(AF_INET, SOCK_DGRAM, 0);
    if (datagram < 0 ||
        sendto(datagram, "x", 1, 0, (struct sockaddr *)&address, sizeof(address)) >= 0)
        return 4;
    return 0;
}

static void a_process_that_left_the_network_reaches_nothing(void **state)
{
    (void)state;
    in_a_child(reaches_nothing);
}

static int as_nobody(int (*check)(void))
{
    if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
                           setresuid(65534, 65534, 65534) < 0))
        return 9;
    /* A change of user makes a process undumpable and its /proc/self root's; a program's start
     * undoes that. */
    if (prctl(PR_SET_DUMPABLE, 1) < 0)
        return 8;
    return check();
}

static int reaches_nothing_as_nobody(void)
{
    return as_nobody(reaches_nothing);
}

static void an_ordinary_user_leaves_the_network_too(void **state)
{
    (void)state;
    in_a_child(reaches_nothing_as_nobody);
}

static int has_capabilities(void)
{
    char line[256];
    nj_auto_fclose FILE *file = fopen("/proc/self/status", "re");

    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, "CapEff:", 7) == 0)
            return strspn(line + 7, " \t0\n") != strlen(line + 7);
    return -1;
}

static int keeps_no_right(void)
{
    struct nj_error err = {0};
    uid_t uid = geteuid();
    int r = nj_isolate_network(&err);

    if (r == 1)
        return SKIPPED;
    if (r < 0 || geteuid() != uid)
        return 1;
    return has_capabilities() == 0 ? 0 : 2;
}

static int keeps_no_right_as_nobody(void)
{
    return as_nobody(keeps_no_right);
}

static void a_user_namespace_leaves_no_capability_behind(void **state)
{
    (void)state;
    in_a_child(keeps_no_right_as_nobody);
}

static int a_network_is_noticed(void)
{
    struct nj_error err = {0};

    if (nj_isolate_check(&err) != -NJ_E_SYSTEM)
        return 1;
    return strstr(err.text, "not empty") ? 0 : 2;
}

static void a_network_that_is_not_empty_is_noticed(void **state)
{
    struct sockaddr_in address;
    nj_auto_close int server = listen_on_loopback(&address);

    (void)state;
    if (server < 0) {
        print_message("skipped: no loopback here to be noticed\n");
        skip();
    }
    in_a_child(a_network_is_noticed);
}

static int closes_what_was_inherited(void)
{
    struct nj_error err = {0};
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 || dup2(pair[0], 200) < 0)
        return 1;
    (void)close(STDIN_FILENO);
    if (nj_isolate_descriptors(&err) < 0)
        return 2;
    if (fcntl(200, F_GETFD) >= 0 || fcntl(pair[1], F_GETFD) >= 0)
        return 3;
    return fcntl(STDIN_FILENO, F_GETFD) >= 0 ? 0 : 4;
}

static void inherited_descriptors_are_closed_and_the_three_are_open(void **state)
{
    (void)state;
    in_a_child(closes_what_was_inherited);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_that_left_the_network_reaches_nothing),
        cmocka_unit_test(an_ordinary_user_leaves_the_network_too),
        cmocka_unit_test(a_user_namespace_leaves_no_capability_behind),
        cmocka_unit_test(a_network_that_is_not_empty_is_noticed),
        cmocka_unit_test(inherited_descriptors_are_closed_and_the_three_are_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
