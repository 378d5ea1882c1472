/*
 * test_drop.c - what becoming another user leaves as it is
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "batch/engine/drop.h"

#include "formats/base/banned.h"

static int child(void)
{
    struct nj_error err = {0};
    int signal = 0;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || nj_drop_privileges(NULL, NULL, &err) < 0)
        return 2;
    if (geteuid() == 0 || prctl(PR_GET_DUMPABLE) != 0)
        return 3;
    return prctl(PR_GET_PDEATHSIG, &signal) < 0 || signal != SIGKILL;
}

static void who_is_to_end_with_its_parent_still_is(void **state)
{
    pid_t pid = fork();
    int status = 0;

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(child());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_to_end_with_its_parent_still_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
