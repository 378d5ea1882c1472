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
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "batch/sandbox/helper.h"
#include "formats/base/fsio.h"

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

/* ---- an input without end ---- */

#define NO_BOXES 77
#define ENDS_WITHIN_MS 10000 /* the whole takes three times as long */

static int put(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    int r;

    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES + 4096);
    r = nj_object_encode(object, &bytes, err);
    return r < 0 ? r : nj_fsio_write(*(int *)ctx, bytes.data, bytes.len, err);
}

/* put_endless - one MiB of zeros makes up a file of 64 GiB. Returns the memfd, or -1. */
static int put_endless(struct nj_workspace_ref *ret_ref)
{
    static uint8_t zeros[NJ_OBJECT_PART_BYTES];
    static struct nj_digest parts[NJ_PARTS_MAX];
    struct nj_tree_entry entry = {.name = nj_span_text("a"),
                                  .type = NJ_FILE_REGULAR,
                                  .mode = 0644,
                                  .size = (uint64_t)NJ_PARTS_MAX * NJ_OBJECT_PART_BYTES,
                                  .has_parts = true};
    const struct nj_tree tree = {.entries = &entry, .n_entries = 1};
    struct nj_stamp stamp = {.name = entry.name};
    const struct nj_stamps stamps = {.entries = &stamp, .n_entries = 1};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_object_sink sink = {put, NULL};
    struct nj_error err;
    int fd, r;

    r = nj_fsio_memfd("endless", &fd, &err);
    sink.ctx = &fd;
    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    if (r >= 0)
        r = nj_object_put(&sink, NJ_OBJECT_BLOB, (struct nj_span){zeros, sizeof(zeros)}, &parts[0],
                          &err);
    for (size_t i = 1; i < NJ_PARTS_MAX; i++)
        parts[i] = parts[0];
    if (r >= 0)
        r = nj_parts_encode(parts, NJ_PARTS_MAX, &bytes, &err);
    if (r >= 0)
        r = nj_object_put(&sink, NJ_OBJECT_PARTS, nj_buf_span(&bytes), &entry.parts, &err);
    nj_buf_clear(&bytes);
    if (r >= 0)
        r = nj_tree_encode(&tree, &bytes, &err);
    if (r >= 0)
        r = nj_object_put(&sink, NJ_OBJECT_TREE, nj_buf_span(&bytes), &ret_ref->tree, &err);
    nj_buf_clear(&bytes);
    if (r >= 0)
        r = nj_stamps_encode(&stamps, &bytes, &err);
    if (r >= 0)
        r = nj_object_put(&sink, NJ_OBJECT_STAMPS, nj_buf_span(&bytes), &ret_ref->stamps, &err);
    return r < 0 || nj_msg_seal(fd, &err) < 0 ? -1 : fd;
}

/* be_engine - that gives an input and ends; returns its exit status */
static int be_engine(const int pair[2])
{
    static struct nj_msg_in in;
    struct nj_msg msg = {.kind = NJ_MSG_INPUT};
    struct nj_error err;
    int fd = put_endless(&msg.ref);

    if (fd < 0)
        return 1;
    (void)start(pair[1], nj_build_name);
    (void)close(pair[1]);
    if (nj_msg_receive(pair[0], &in, &err) != 0)
        return 1;
    if (in.msg.kind == NJ_MSG_FAILED)
        return NO_BOXES;
    if (nj_msg_send(pair[0], &msg, &fd, 1, &err) != 0)
        return 1;
    (void)usleep(200000); /* it is at it */
    return 0;
}

static void an_input_without_end_ends_with_the_engine(void **state)
{
    struct pollfd polled = {.events = 0};
    int pair[2], status;
    pid_t engine;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    engine = fork();
    assert_true(engine >= 0);
    if (engine == 0)
        _exit(be_engine(pair));
    (void)close(pair[1]);
    status = status_of(engine);
    if (status == NO_BOXES) {
        (void)close(pair[0]);
        print_message("skipped: no boxes here\n");
        skip();
    }
    assert_int_equal(status, 0);
    polled.fd = pair[0]; /* held here, so it is not its end that the helper sees */
    assert_int_equal(poll(&polled, 1, ENDS_WITHIN_MS), 1);
    (void)close(pair[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_helper_of_another_build_refuses_by_both_names),
        cmocka_unit_test(without_an_engine_it_does_nothing),
        cmocka_unit_test(an_input_without_end_ends_with_the_engine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
