/*
 * test_confine.c - what a process can still do once it is confined, by trying each in a child
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "batch/engine/confine.h"
#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#define LANDLOCK_VERSION() syscall(444, NULL, (size_t)0, 1u)

/* The search for leaks needs more calls than a reader, so a sanitizer's build lets them pass. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

struct fixture {
    char folder[64];
    int folder_fd;
    int reading_fd; /* folder/reading, with a file "there" */
    int writing_fd; /* folder/writing */
    int file_fd;    /* a file that is open already */
};

/* Returns 0 or the errno that came. */
typedef int (*attempt)(const struct fixture *fixture);

static void put(int dir_fd, const char *name)
{
    nj_auto_close int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    assert_int_equal(write(fd, "text\n", 5), 5);
}

static int folder(int dir_fd, const char *name)
{
    assert_int_equal(mkdirat(dir_fd, name, 0755), 0);
    return openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int set_up(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){.folder = "/tmp/nj-confine-XXXXXX"};
    *state = &fixture;
    assert_non_null(mkdtemp(fixture.folder));
    fixture.folder_fd = open(fixture.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fixture.reading_fd = folder(fixture.folder_fd, "reading");
    fixture.writing_fd = folder(fixture.folder_fd, "writing");
    put(fixture.reading_fd, "there");
    put(fixture.folder_fd, "outside");
    fixture.file_fd = openat(fixture.folder_fd, "outside", O_RDWR | O_CLOEXEC);
    assert_true(fixture.file_fd >= 0);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    (void)unlinkat(fixture->reading_fd, "there", 0);
    (void)unlinkat(fixture->writing_fd, "made", 0);
    (void)unlinkat(fixture->writing_fd, "below", AT_REMOVEDIR);
    (void)unlinkat(fixture->folder_fd, "outside", 0);
    (void)unlinkat(fixture->folder_fd, "reading", AT_REMOVEDIR);
    (void)unlinkat(fixture->folder_fd, "writing", AT_REMOVEDIR);
    (void)rmdir(fixture->folder);
    (void)close(fixture->folder_fd);
    (void)close(fixture->reading_fd);
    (void)close(fixture->writing_fd);
    (void)close(fixture->file_fd);
    return 0;
}

enum { KILLED = -1, UNCONFINED = 255 };

/* try - in a child that is confined so: 0 or an errno, KILLED when the filter ended it */
static int try(const struct fixture *fixture, const struct nj_confinement *confinement,
               attempt what)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        const struct rlimit no_core = {0};
        struct nj_error err = {0};

        (void)setrlimit(RLIMIT_CORE, &no_core);
        if (nj_confine(confinement, &err) < 0)
            _exit(UNCONFINED);
        _exit(what(fixture));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGSYS);
        return KILLED;
    }
    assert_int_not_equal(WEXITSTATUS(status), UNCONFINED);
    return WEXITSTATUS(status);
}

static int outcome(long result)
{
    return result < 0 ? errno : 0;
}

static int use_what_is_open(const struct fixture *fixture)
{
    char text[8];

    return outcome(pread(fixture->file_fd, text, sizeof(text), 0) +
                   pwrite(fixture->file_fd, "x", 1, 0));
}

static int allocate(const struct fixture *fixture)
{
    void *memory = malloc((size_t)64 << 20);

    (void)fixture;
    if (!memory)
        return ENOMEM;
    memset(memory, 1, (size_t)64 << 20);
    free(memory);
    return 0;
}

static int read_inside(const struct fixture *fixture)
{
    return outcome(openat(fixture->reading_fd, "there", O_RDONLY | O_CLOEXEC));
}

static int read_outside(const struct fixture *fixture)
{
    return outcome(openat(fixture->folder_fd, "outside", O_RDONLY | O_CLOEXEC));
}

static int read_passwords(const struct fixture *fixture)
{
    (void)fixture;
    return outcome(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

static int climb(const struct fixture *fixture)
{
    return outcome(openat(fixture->reading_fd, "../outside", O_RDONLY | O_CLOEXEC));
}

static int change_inside(const struct fixture *fixture)
{
    return outcome(openat(fixture->reading_fd, "there", O_WRONLY | O_CLOEXEC));
}

static int make_inside(const struct fixture *fixture)
{
    if (openat(fixture->writing_fd, "made", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0)
        return errno;
    return outcome(mkdirat(fixture->writing_fd, "below", 0700));
}

static int make_outside(const struct fixture *fixture)
{
    return outcome(openat(fixture->folder_fd, "more", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static int remove_outside(const struct fixture *fixture)
{
    return outcome(unlinkat(fixture->folder_fd, "outside", 0));
}

static int open_socket(const struct fixture *fixture)
{
    (void)fixture;
    return outcome(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int run_program(const struct fixture *fixture)
{
    (void)fixture;
    return outcome(execl("/bin/true", "true", NULL));
}

static int trace_parent(const struct fixture *fixture)
{
    (void)fixture;
    return outcome(syscall(SYS_process_vm_readv, getppid(), NULL, 0L, NULL, 0L, 0L));
}

static int make_code(const struct fixture *fixture)
{
    (void)fixture;
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? errno
               : 0;
}

static int make_process(const struct fixture *fixture)
{
    (void)fixture;
    return outcome(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static int kill_parent(const struct fixture *fixture)
{
    (void)fixture;
    return outcome(kill(getppid(), SIGTERM));
}

static int have_rights(const struct fixture *fixture)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    (void)fixture;
    if (syscall(SYS_capget, &header, data) == 0)
        return data[0].permitted || data[1].permitted ? EEXIST : 0;
    return errno; /* not even asking is permitted */
}

static void what_is_open_and_memory_are_all_a_bundle_takes(void **state)
{
    const struct fixture *fixture = *state;
    const struct nj_confinement bundle = {0};

    if (SANITIZED)
        skip();
    assert_int_equal(try(fixture, &bundle, use_what_is_open), 0);
    assert_int_equal(try(fixture, &bundle, allocate), 0);
    assert_int_equal(try(fixture, &bundle, read_inside), EPERM);
    assert_int_equal(try(fixture, &bundle, read_passwords), EPERM);
    assert_int_equal(try(fixture, &bundle, make_inside), EPERM);
    assert_int_equal(try(fixture, &bundle, remove_outside), EPERM);
}

static void a_run_is_read_and_not_changed(void **state)
{
    const struct fixture *fixture = *state;
    const struct nj_confinement run = {.read_fds = &fixture->reading_fd, .n_read = 1};

    if (SANITIZED)
        skip();
    assert_int_equal(try(fixture, &run, read_inside), 0);
    assert_int_equal(try(fixture, &run, change_inside), EPERM);
    assert_int_equal(try(fixture, &run, make_inside), EPERM);
    if (LANDLOCK_VERSION() < 1)
        skip();
    assert_int_equal(try(fixture, &run, read_outside), EACCES);
    assert_int_equal(try(fixture, &run, climb), EACCES);
    assert_int_equal(try(fixture, &run, read_passwords), EACCES);
}

static void a_folder_is_written_into_and_nothing_beside_it(void **state)
{
    const struct fixture *fixture = *state;
    const struct nj_confinement writing = {.read_fds = &fixture->reading_fd,
                                           .n_read = 1,
                                           .write_fds = &fixture->writing_fd,
                                           .n_write = 1};

    assert_int_equal(try(fixture, &writing, make_inside), 0);
    assert_int_equal(try(fixture, &writing, read_inside), 0);
    if (LANDLOCK_VERSION() < 2)
        skip();
    assert_int_equal(try(fixture, &writing, change_inside), EACCES);
    assert_int_equal(try(fixture, &writing, make_outside), EACCES);
    assert_int_equal(try(fixture, &writing, remove_outside), EACCES);
    assert_int_equal(try(fixture, &writing, read_passwords), EACCES);
}

static void what_only_an_intruder_asks_for_ends_the_process(void **state)
{
    const struct fixture *fixture = *state;
    const struct nj_confinement kinds[] = {
        {0},
        {.read_fds = &fixture->reading_fd, .n_read = 1},
        {.write_fds = &fixture->writing_fd, .n_write = 1},
        {.loop = true},
    };

    if (SANITIZED)
        skip();
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        assert_int_equal(try(fixture, &kinds[i], open_socket), KILLED);
        assert_int_equal(try(fixture, &kinds[i], run_program), KILLED);
        assert_int_equal(try(fixture, &kinds[i], trace_parent), KILLED);
        assert_int_equal(try(fixture, &kinds[i], make_code), EPERM);
        assert_int_equal(try(fixture, &kinds[i], make_process), EPERM);
        assert_int_not_equal(try(fixture, &kinds[i], have_rights), EEXIST);
        if (!kinds[i].loop || LANDLOCK_VERSION() >= 6)
            assert_int_equal(try(fixture, &kinds[i], kill_parent), EPERM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_open_and_memory_are_all_a_bundle_takes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_run_is_read_and_not_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_is_written_into_and_nothing_beside_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_only_an_intruder_asks_for_ends_the_process, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests_name("confine", tests, NULL, NULL);
}
