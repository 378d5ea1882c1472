/*
 * test_fsio_tree.c - publishing under every failure, and removing what hostile code left
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "formats/base/fault.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define NO_NAMESPACES 77

/* Each test gets a folder of its own, removed by the function under test. */
struct fixture {
    char path[64];
    int dir_fd;
};

static void arm(const char *spec)
{
    (void)setenv("NJ_FAULT", spec, 1);
    nj_fault_init("engine");
}

static int set_up(void **state)
{
    static struct fixture fixture;

    (void)unsetenv("NJ_FAULT");
    nj_fault_init("engine");
    (void)snprintf(fixture.path, sizeof(fixture.path), "/tmp/nj-fsio-XXXXXX");
    if (!mkdtemp(fixture.path))
        return -1;
    fixture.dir_fd = open(fixture.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = &fixture;
    return fixture.dir_fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};

    (void)unsetenv("NJ_FAULT");
    nj_fault_init("engine");
    (void)close(fixture->dir_fd);
    return nj_fsio_remove_tree(AT_FDCWD, fixture->path, &err);
}

static bool exists(int dir_fd, const char *name)
{
    return faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void make_file(int dir_fd, const char *name)
{
    nj_auto_close int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
}

static void assert_file(int dir_fd, const char *name, const char *text)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};

    nj_buf_init(&buf, 1000);
    assert_int_equal(nj_fsio_read_file(dir_fd, name, &buf, &err), 0);
    assert_true(nj_span_is(nj_buf_span(&buf), text));
}

static size_t count_entries(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fdopendir(fd);
    size_t n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n - 2; /* "." and ".." */
}

static void a_published_file_has_its_bytes_and_its_mode(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};
    struct stat st;
    mode_t old = umask(077);

    assert_int_equal(nj_fsio_publish(fixture->dir_fd, "f", nj_span_text("one"), 0644, &err), 0);
    (void)umask(old);
    assert_file(fixture->dir_fd, "f", "one");
    assert_int_equal(fstatat(fixture->dir_fd, "f", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0644); /* whatever the umask */
    assert_int_equal(nj_fsio_publish(fixture->dir_fd, "f", nj_span_text("two"), 0600, &err), 0);
    assert_file(fixture->dir_fd, "f", "two");
    assert_int_equal(nj_fsio_publish(fixture->dir_fd, "empty", nj_span_text(""), 0600, &err), 0);
    assert_file(fixture->dir_fd, "empty", "");
    assert_int_equal(count_entries(fixture->dir_fd), 2);
}

static void a_published_path_may_have_folders(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};
    char path[100];
    int fd = -1;

    assert_int_equal(nj_fsio_open_dir(fixture->dir_fd, "d", &fd, &err), 0);
    (void)close(fd);
    assert_int_equal(nj_fsio_publish(fixture->dir_fd, "d/f", nj_span_text("x"), 0600, &err), 0);
    assert_file(fixture->dir_fd, "d/f", "x");
    (void)snprintf(path, sizeof(path), "%s/g", fixture->path);
    assert_int_equal(nj_fsio_publish(AT_FDCWD, path, nj_span_text("y"), 0600, &err), 0);
    assert_file(fixture->dir_fd, "g", "y");
    assert_int_equal(nj_fsio_publish(fixture->dir_fd, "no/f", nj_span_text("x"), 0600, &err),
                     -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, ENOENT);
}

static void a_failure_at_any_point_leaves_the_old_file_and_no_other(void **state)
{
    static const char *const faults[] = {"write:enospc", "write:short,write#2:eio", "fdatasync:eio",
                                         "rename:eio"};
    struct fixture *fixture = *state;
    struct nj_error err = {0};

    assert_int_equal(nj_fsio_publish(fixture->dir_fd, "f", nj_span_text("old"), 0600, &err), 0);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        arm(faults[i]);
        assert_int_equal(nj_fsio_publish(fixture->dir_fd, "f", nj_span_text("new"), 0600, &err),
                         -NJ_E_SYSTEM);
        assert_memory_equal(err.text, "publish f: ", 11);
        assert_file(fixture->dir_fd, "f", "old");
        assert_int_equal(count_entries(fixture->dir_fd), 1);
    }
    arm("write:short,write#2:eintr,fdatasync:eintr,rename:eintr");
    assert_int_equal(nj_fsio_publish(fixture->dir_fd, "f", nj_span_text("new"), 0600, &err), 0);
    assert_file(fixture->dir_fd, "f", "new");
}

static void a_kill_at_any_point_leaves_the_old_or_the_new_file(void **state)
{
    static const struct {
        const char *fault, *content;
    } cases[] = {{"write:kill", "old"},
                 {"fdatasync:kill", "old"},
                 {"rename:kill", "old"},
                 {"fdatasync#2:kill", "new"}}; /* the second is that of the folder */
    struct fixture *fixture = *state;
    struct nj_error err = {0};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status = -1;
        pid_t pid;

        nj_fault_init("engine"); /* counts are shared with what is forked: each case starts anew */
        assert_int_equal(nj_fsio_publish(fixture->dir_fd, "f", nj_span_text("old"), 0600, &err), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            arm(cases[i].fault);
            (void)!nj_fsio_publish(fixture->dir_fd, "f", nj_span_text("new"), 0600, &err);
            _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_file(fixture->dir_fd, "f", cases[i].content);
        assert_int_equal(nj_fsio_sweep(fixture->dir_fd, &err), 0);
        assert_int_equal(count_entries(fixture->dir_fd), 1);
    }
}

static void a_sweep_takes_leftovers_and_nothing_else(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};

    make_file(fixture->dir_fd, ".tmp-1-0");
    make_file(fixture->dir_fd, ".tmp-99999-7");
    make_file(fixture->dir_fd, ".tmp");
    make_file(fixture->dir_fd, "x.tmp-1-0");
    assert_int_equal(mkdirat(fixture->dir_fd, ".tmp-folder", 0700), 0);
    assert_int_equal(nj_fsio_sweep(fixture->dir_fd, &err), 0);
    assert_int_equal(nj_fsio_sweep(fixture->dir_fd, &err), 0); /* reads from the start again */
    assert_false(exists(fixture->dir_fd, ".tmp-1-0"));
    assert_false(exists(fixture->dir_fd, ".tmp-99999-7"));
    assert_int_equal(count_entries(fixture->dir_fd), 3);
    assert_int_equal(nj_fsio_sweep(-1, &err), -NJ_E_SYSTEM);
}

static void a_folder_is_made_once_and_opened_again(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};
    struct stat st;
    int fd = -1;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(nj_fsio_open_dir(fixture->dir_fd, "d", &fd, &err), 0);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        (void)close(fd);
    }
    make_file(fixture->dir_fd, "f");
    assert_int_equal(nj_fsio_open_dir(fixture->dir_fd, "f", &fd, &err), -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, ENOTDIR);
    assert_int_equal(nj_fsio_open_dir(fixture->dir_fd, "no/d", &fd, &err), -NJ_E_SYSTEM);
}

static void removal_follows_no_link(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};
    nj_auto_close int tree = -1;

    assert_int_equal(mkdirat(fixture->dir_fd, "outside", 0700), 0);
    make_file(fixture->dir_fd, "outside/precious");
    assert_int_equal(nj_fsio_open_dir(fixture->dir_fd, "tree", &tree, &err), 0);
    assert_int_equal(symlinkat("../outside", tree, "to-folder"), 0);
    assert_int_equal(symlinkat("../outside/precious", tree, "to-file"), 0);
    assert_int_equal(symlinkat("nowhere", tree, "dangling"), 0);
    assert_int_equal(mkfifoat(tree, "fifo", 0600), 0);
    assert_int_equal(nj_fsio_remove_tree(fixture->dir_fd, "tree", &err), 0);
    assert_false(exists(fixture->dir_fd, "tree"));
    assert_true(exists(fixture->dir_fd, "outside/precious"));

    assert_int_equal(symlinkat("outside", fixture->dir_fd, "link"), 0);
    assert_int_equal(nj_fsio_remove_tree(fixture->dir_fd, "link", &err), 0); /* the link itself */
    assert_false(exists(fixture->dir_fd, "link"));
    assert_true(exists(fixture->dir_fd, "outside/precious"));
}

static void removal_of_what_is_missing_or_a_file_is_fine(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};

    assert_int_equal(nj_fsio_remove_tree(fixture->dir_fd, "missing", &err), 0);
    make_file(fixture->dir_fd, "file");
    assert_int_equal(nj_fsio_remove_tree(fixture->dir_fd, "file", &err), 0);
    assert_false(exists(fixture->dir_fd, "file"));
}

static void removal_of_any_depth_needs_few_descriptors(void **state)
{
    struct fixture *fixture = *state;
    struct nj_error err = {0};
    nj_auto_close int at = dup(fixture->dir_fd);

    for (int i = 0; i < 500; i++) {
        int next = -1;

        assert_int_equal(nj_fsio_open_dir(at, i == 0 ? "tree" : "deeper", &next, &err), 0);
        make_file(next, "file");
        (void)close(at);
        at = next;
    }
    assert_int_equal(nj_fsio_remove_tree(fixture->dir_fd, "tree", &err), 0);
    assert_false(exists(fixture->dir_fd, "tree"));
}

/* as_nobody - run @body in a child without root's powers; permissions mean nothing to root */
static int as_nobody(int (*body)(int dir_fd), struct fixture *fixture)
{
    int status = -1;
    pid_t pid;

    if (geteuid() == 0)
        assert_int_equal(fchown(fixture->dir_fd, 65534, 65534), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (geteuid() == 0 &&
            (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
            _exit(99);
        _exit(body(fixture->dir_fd));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int remove_shut_folders(int dir_fd)
{
    struct nj_error err = {0};

    if (mkdirat(dir_fd, "tree", 0700) < 0 || mkdirat(dir_fd, "tree/a", 0700) < 0 ||
        mkdirat(dir_fd, "tree/a/b", 0700) < 0 || symlinkat("x", dir_fd, "tree/a/b/l") < 0)
        return 1;
    if (fchmodat(dir_fd, "tree/a/b", 0000, 0) < 0 || fchmodat(dir_fd, "tree/a", 0500, 0) < 0 ||
        fchmodat(dir_fd, "tree", 0000, 0) < 0)
        return 2;
    if (nj_fsio_remove_tree(dir_fd, "tree", &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 3;
    }
    return exists(dir_fd, "tree") ? 4 : 0;
}

static void folders_that_shut_us_out_are_removed_too(void **state)
{
    assert_int_equal(as_nobody(remove_shut_folders, *state), 0);
}

/* remove_around_a_mount - a bind mount of the same file system must stay full */
static int remove_around_a_mount(const char *path)
{
    struct nj_error err = {0};
    nj_auto_close int dir_fd = -1;
    char from[128], to[128];

    if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return NO_NAMESPACES;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return NO_NAMESPACES;
    (void)snprintf(from, sizeof(from), "%s/outside", path);
    (void)snprintf(to, sizeof(to), "%s/tree/mount", path);
    if (mount(from, to, NULL, MS_BIND, NULL) < 0)
        return NO_NAMESPACES;
    dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* older ones do not see the mount */
    if (nj_fsio_remove_tree(dir_fd, "tree", &err) != -NJ_E_INPUT)
        return 1;
    if (!strstr(err.text, "mount is a mount; unmount it first"))
        return 2;
    return exists(dir_fd, "outside/precious") ? 0 : 3;
}

static void a_mount_left_behind_is_never_emptied(void **state)
{
    struct fixture *fixture = *state;
    int status = -1;
    pid_t pid;

    assert_int_equal(mkdirat(fixture->dir_fd, "outside", 0700), 0);
    make_file(fixture->dir_fd, "outside/precious");
    assert_int_equal(mkdirat(fixture->dir_fd, "tree", 0700), 0);
    assert_int_equal(mkdirat(fixture->dir_fd, "tree/mount", 0700), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(remove_around_a_mount(fixture->path));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_NAMESPACES) {
        print_message("skipped: no user namespaces\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_published_file_has_its_bytes_and_its_mode),
        CASE(a_published_path_may_have_folders),
        CASE(a_failure_at_any_point_leaves_the_old_file_and_no_other),
        CASE(a_kill_at_any_point_leaves_the_old_or_the_new_file),
        CASE(a_sweep_takes_leftovers_and_nothing_else),
        CASE(a_folder_is_made_once_and_opened_again),
        CASE(removal_follows_no_link),
        CASE(removal_of_what_is_missing_or_a_file_is_fine),
        CASE(removal_of_any_depth_needs_few_descriptors),
        CASE(folders_that_shut_us_out_are_removed_too),
        CASE(a_mount_left_behind_is_never_emptied),
    };
#undef CASE

    return cmocka_run_group_tests(tests, NULL, NULL);
}
