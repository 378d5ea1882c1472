/*
 * test_filter.c - the payload's filter, installed for real in a child that tries one call
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "batch/sandbox/filter.h"

#include "formats/base/banned.h"

static struct nj_filter filter;

/* try_call - errno of the call under the filter; 0 when it worked; -signal when it ended the
 * process */
static int try_call(long number, long a, long b, long c, long d)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        long r;

        /* cmocka catches this one, and a fault caught here would look like a process that went on.
         */
        (void)signal(SIGSEGV, SIG_DFL);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || nj_filter_install(&filter) < 0)
            _exit(254);
        r = syscall(number, a, b, c, d, 0, 0);
        if (number == SYS_clone && r == 0)
            _exit(0); /* the child of a clone that was let through */
        _exit(r < 0 ? errno : 0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        return -WTERMSIG(status);
    assert_int_not_equal(WEXITSTATUS(status), 254);
    return WEXITSTATUS(status);
}

static void namespaces_are_refused_by_flag(void **state)
{
    static const long flags[] = {CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,    CLONE_NEWNET,
                                 CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP, 0x80};

    (void)state;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        assert_int_equal(try_call(SYS_clone, flags[i] | SIGCHLD, 0, 0, 0), EPERM);
        assert_int_equal(try_call(SYS_clone, flags[i] | CLONE_NEWUSER | SIGCHLD, 0, 0, 0), EPERM);
        assert_int_equal(try_call(SYS_unshare, flags[i], 0, 0, 0), EPERM);
    }
    assert_int_equal(try_call(SYS_clone, SIGCHLD, 0, 0, 0), 0);
    assert_int_equal(try_call(SYS_setns, 0, 0, 0, 0), EPERM);
    assert_int_equal(try_call(SYS_clone3, 0, 0, 0, 0),
                     ENOSYS); /* so that libraries fall back to clone */
}

static void rings_and_unlisted_calls_do_not_exist(void **state)
{
    static const long calls[] = {
        SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_io_setup, 100000, -1};

    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        assert_int_equal(try_call(calls[i], 0, 0, 0, 0), ENOSYS);
}

static void what_only_a_host_may_do_is_not_permitted(void **state)
{
    static const long calls[] = {SYS_mount,         SYS_umount2,
                                 SYS_pivot_root,    SYS_chroot,
                                 SYS_move_mount,    SYS_open_tree,
                                 SYS_fsopen,        SYS_mount_setattr,
                                 SYS_bpf,           SYS_perf_event_open,
                                 SYS_userfaultfd,   SYS_keyctl,
                                 SYS_add_key,       SYS_request_key,
                                 SYS_init_module,   SYS_kexec_load,
                                 SYS_reboot,        SYS_open_by_handle_at,
                                 SYS_fanotify_init, SYS_syslog,
                                 SYS_swapon,        SYS_acct,
                                 SYS_settimeofday,  SYS_clock_settime,
                                 SYS_sethostname,   SYS_quotactl,
                                 SYS_pidfd_getfd,   SYS_kcmp};

    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        assert_int_equal(try_call(calls[i], 0, 0, 0, 0), EPERM);
}

static void no_device_is_made_not_even_a_whiteout(void **state)
{
    static const long types[] = {S_IFCHR, S_IFBLK, S_IFDIR, S_IFLNK, 0xf000};
    const long here = (long)"/nowhere/at/all";

    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        assert_int_equal(try_call(SYS_mknodat, AT_FDCWD, here, types[i] | 0600, 0), EPERM);
#ifdef SYS_mknod
        assert_int_equal(try_call(SYS_mknod, here, types[i] | 0600, 0, 0), EPERM);
#endif
        /* The kernel reads 16 bits of the mode: bits above must not hide it. */
        assert_int_equal(try_call(SYS_mknodat, AT_FDCWD, here, 0x100010000 | types[i], 0), EPERM);
    }
    assert_int_equal(try_call(SYS_mknodat, AT_FDCWD, here, S_IFIFO | 0600, 0), ENOENT);
    assert_int_equal(try_call(SYS_mknodat, AT_FDCWD, here, 0600, 0), ENOENT);
}

static void terminal_injection_is_no_operation(void **state)
{
    (void)state;
    assert_int_equal(try_call(SYS_ioctl, 0, TIOCSTI, 0, 0), ENOTTY);
    assert_int_equal(try_call(SYS_ioctl, 0, TIOCLINUX, 0, 0), ENOTTY);
    /* The kernel reads 32 bits of the command: bits above must not hide it. */
    assert_int_equal(try_call(SYS_ioctl, 0, (long)(0x100000000ul | TIOCSTI), 0, 0), ENOTTY);
    assert_int_equal(try_call(SYS_ioctl, -1, FIONREAD, 0, 0), EBADF); /* passed on to the kernel */
    assert_int_equal(try_call(SYS_ioctl, -1, (long)(0x100000000ul | FIONREAD), 0, 0), EBADF);
}

static void socket_families_are_listed(void **state)
{
    (void)state;
    assert_int_equal(try_call(SYS_socket, AF_UNIX, SOCK_STREAM, 0, 0), 0);
    assert_int_equal(try_call(SYS_socket, AF_INET, SOCK_STREAM, 0, 0), 0);
    assert_int_equal(try_call(SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, 0), 0);
    assert_int_equal(try_call(SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_AUDIT, 0), EAFNOSUPPORT);
    assert_int_equal(try_call(SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT, 0),
                     EAFNOSUPPORT);
    for (long family = 0; family < 64; family++) {
        if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
            assert_int_equal(try_call(SYS_socket, family, SOCK_STREAM, 1, 0), EAFNOSUPPORT);
    }
    assert_int_equal(try_call(SYS_socket, (long)(0x100000000ul | AF_PACKET), SOCK_RAW, 0, 0),
                     EAFNOSUPPORT);
}

static void only_harmless_personalities_are_allowed(void **state)
{
    (void)state;
    assert_int_equal(try_call(SYS_personality, 0xffffffff, 0, 0, 0), 0);
    assert_int_equal(try_call(SYS_personality, ADDR_NO_RANDOMIZE, 0, 0, 0), 0);
    assert_int_equal(try_call(SYS_personality, READ_IMPLIES_EXEC, 0, 0, 0), ENOSYS);
}

#if defined(__x86_64__)
static void calls_of_another_architecture_end_the_process(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    pid = fork();
    if (pid == 0) {
        long r;

        /* cmocka catches this one, and a fault caught here would look like a process that went on.
         */
        (void)signal(SIGSEGV, SIG_DFL);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || nj_filter_install(&filter) < 0)
            _exit(254);
        /* getpid of i386 by the old gate. */
        __asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    /* A kernel without 32-bit emulation faults instead. */
    assert_true(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV));
    assert_int_equal(try_call(0x40000000 | 39, 0, 0, 0, 0), -SIGSYS); /* getpid of x32 */
}
#endif

static void the_printed_filter_names_families_and_reasons(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err;

    (void)state;
    nj_buf_init(&out, 1 << 20);
    assert_int_equal(nj_filter_print(&out, &err), 0);
    assert_non_null(strstr((char *)out.data,
                           "allow files (the workspace and the read-only system): read write"));
    assert_non_null(
        strstr((char *)out.data, "EPERM mounts (the plan alone decides what is mounted): mount"));
    assert_non_null(strstr((char *)out.data, "ENOSYS (not implemented): clone3, io_uring"));
}

static void a_supervisor_may_not_even_open_a_socket(void **state)
{
    struct nj_filter payload = filter;
    struct nj_error err;

    (void)state;
    assert_int_equal(nj_filter_build(NJ_FILTER_SUPERVISOR, &filter, &err), 0);
    assert_int_equal(try_call(SYS_socket, AF_INET, SOCK_STREAM, 0, 0), -SIGSYS);
    assert_int_equal(try_call(SYS_execve, 0, 0, 0, 0), -SIGSYS);
    assert_int_equal(try_call(SYS_setns, 0, 0, 0, 0), -SIGSYS);
    assert_int_equal(try_call(SYS_getpid, 0, 0, 0, 0), 0);
    nj_filter_done(&filter);
    filter = payload;
}

static int build(void **state)
{
    struct nj_error err;

    (void)state;
    return nj_filter_build(NJ_FILTER_PAYLOAD, &filter, &err);
}

static int done(void **state)
{
    (void)state;
    nj_filter_done(&filter);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(namespaces_are_refused_by_flag),
        cmocka_unit_test(rings_and_unlisted_calls_do_not_exist),
        cmocka_unit_test(what_only_a_host_may_do_is_not_permitted),
        cmocka_unit_test(no_device_is_made_not_even_a_whiteout),
        cmocka_unit_test(terminal_injection_is_no_operation),
        cmocka_unit_test(socket_families_are_listed),
        cmocka_unit_test(only_harmless_personalities_are_allowed),
#if defined(__x86_64__)
        cmocka_unit_test(calls_of_another_architecture_end_the_process),
#endif
        cmocka_unit_test(the_printed_filter_names_families_and_reasons),
        cmocka_unit_test(a_supervisor_may_not_even_open_a_socket),
    };

    return cmocka_run_group_tests(tests, build, done);
}
