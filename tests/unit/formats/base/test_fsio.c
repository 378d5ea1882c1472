/*
 * test_fsio.c - loops that survive interruption, and every failure told once
 *
 * Faults are armed in this process; each test disarms them again.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "formats/base/fault.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

extern const char nj_source_dir[]; /* the root of the tree that was built */

static void arm(const char *spec)
{
    (void)setenv("NJ_FAULT", spec, 1);
    nj_fault_init("engine");
}

static int disarm(void **state)
{
    (void)state;
    (void)unsetenv("NJ_FAULT");
    nj_fault_init("engine");
    return 0;
}

static int memory_file(void)
{
    struct nj_error err = {0};
    int fd = -1;

    assert_int_equal(nj_fsio_memfd("test", &fd, &err), 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    return fd;
}

static void assert_content(int fd, const char *text)
{
    char buf[256] = "";

    assert_int_equal(pread(fd, buf, sizeof(buf) - 1, 0), strlen(text));
    assert_string_equal(buf, text);
}

static void a_write_goes_on_after_short_and_interrupted_calls(void **state)
{
    nj_auto_close int fd = memory_file();
    struct nj_error err = {0};

    (void)state;
    arm("write:short,write#2:eintr,write#3:short,write#4:short");
    assert_int_equal(nj_fsio_write(fd, "0123456789", 10, &err), 0);
    assert_content(fd, "0123456789");
    arm("write:short,write#2:eintr,write#3:short");
    assert_int_equal(nj_fsio_pwrite(fd, "abcdef", 6, 2, &err), 0);
    assert_content(fd, "01abcdef89");
    arm("write:short");
    assert_int_equal(nj_fsio_pwrite(fd, "Z", 1, 0, &err), 0); /* half of one byte is one byte */
    assert_content(fd, "Z1abcdef89");
    assert_int_equal(nj_fsio_write(fd, NULL, 0, &err), 0);
}

/* Pieces of odd lengths, so that a block of zeros begins in one and ends in another. */
static void zeros_become_holes_and_every_byte_is_kept(void **state)
{
    enum { LEN = 1 << 20, PIECE = 70001 };
    nj_auto_free uint8_t *want = calloc(1, LEN);
    nj_auto_free uint8_t *have = malloc(LEN);
    nj_auto_close int fd = memfd_create("sparse", MFD_CLOEXEC);
    struct nj_fsio_sparse file = {.fd = fd};
    struct nj_error err = {0};
    struct stat st;

    (void)state;
    assert_true(want && have && fd >= 0);
    want[0] = 1;
    want[5000] = 2;
    memset(want + 300000, 3, 10000);
    for (size_t at = 0; at < LEN; at += PIECE)
        assert_return_code(
            nj_fsio_sparse_write(&file, want + at, LEN - at < PIECE ? LEN - at : PIECE, &err), 0);
    assert_return_code(nj_fsio_sparse_end(&file, &err), 0);
    assert_return_code(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, LEN);
    assert_true(st.st_blocks * 512 < 10000 + 8 * 4096);
    assert_return_code(nj_fsio_pread(fd, have, LEN, 0, &err), 0);
    assert_memory_equal(have, want, LEN);
}

static void a_failed_write_is_told_with_its_errno(void **state)
{
    nj_auto_close int fd = memory_file();
    struct nj_error err = {0};

    (void)state;
    arm("write:short,write#2:enospc");
    assert_int_equal(nj_fsio_write(fd, "0123456789", 10, &err), -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, ENOSPC);
    assert_content(fd, "01234"); /* the half that did get through */
    arm("write:eio");
    assert_int_equal(nj_fsio_pwrite(fd, "x", 1, 0, &err), -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, EIO);
    assert_content(fd, "01234");
    assert_int_equal(nj_fsio_write(-1, "x", 1, &err), -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, EBADF);
}

static void offsets_beyond_the_kernels_are_refused(void **state)
{
    nj_auto_close int fd = memory_file();
    struct nj_error err = {0};
    char byte;

    (void)state;
    assert_int_equal(nj_fsio_pwrite(fd, "x", 1, UINT64_MAX, &err), -NJ_E_LIMIT);
    assert_int_equal(nj_fsio_pwrite(fd, "x", 1, INT64_MAX, &err), -NJ_E_LIMIT);
    assert_int_equal(nj_fsio_pread(fd, &byte, 1, UINT64_MAX, &err), -NJ_E_LIMIT);
    assert_int_equal(nj_fsio_fallocate(fd, 1, INT64_MAX, &err), -NJ_E_LIMIT);
}

static void a_failed_sync_is_not_tried_again(void **state)
{
    nj_auto_close int fd = memory_file();
    nj_auto_close int dir_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct nj_error err = {0};

    (void)state;
    arm("fdatasync:eio");
    assert_int_equal(nj_fsio_fdatasync(fd, &err), -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, EIO);
    arm("fdatasync#2:eio"); /* were it tried again, this call would be the second pass */
    assert_int_equal(nj_fsio_fdatasync(fd, &err), 0);
    assert_int_equal(nj_fsio_sync_dir(dir_fd, &err), -NJ_E_SYSTEM);
    arm("fdatasync:eintr,fdatasync#3:eintr");
    assert_int_equal(nj_fsio_fdatasync(fd, &err), 0);
    assert_int_equal(nj_fsio_sync_dir(dir_fd, &err), 0);
}

static void allocation_reserves_or_says_that_the_disk_is_full(void **state)
{
    nj_auto_close int fd = memory_file();
    struct nj_error err = {0};
    struct stat st;

    (void)state;
    arm("fallocate:eintr");
    assert_int_equal(nj_fsio_fallocate(fd, 0, 10000, &err), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 10000);
    assert_true(st.st_blocks * 512 >= 10000);
    arm("fallocate:enospc");
    assert_int_equal(nj_fsio_fallocate(fd, 0, 20000, &err), -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, ENOSPC);
    assert_int_equal(nj_fsio_fallocate(-1, 0, 1, &err), -NJ_E_SYSTEM);
}

static void reading_wants_every_byte(void **state)
{
    nj_auto_close int fd = memory_file();
    struct nj_error err = {0};
    char buf[11] = "";

    (void)state;
    assert_int_equal(nj_fsio_write(fd, "0123456789", 10, &err), 0);
    assert_int_equal(nj_fsio_pread(fd, buf, 4, 6, &err), 0);
    assert_string_equal(buf, "6789");
    assert_int_equal(nj_fsio_pread(fd, buf, 5, 6, &err), -NJ_E_CORRUPT);
    assert_string_equal(err.text, "ends after 4 of 5 bytes");
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(nj_fsio_read(fd, buf, 10, &err), 0);
    assert_string_equal(buf, "0123456789");
    assert_int_equal(nj_fsio_read(fd, buf, 1, &err), -NJ_E_CORRUPT);
    assert_int_equal(nj_fsio_read(fd, buf, 0, &err), 0);
    assert_int_equal(nj_fsio_read(-1, buf, 1, &err), -NJ_E_SYSTEM);
}

static void all_of_a_pipe_is_read_in_whatever_pieces_it_comes(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};
    nj_auto_close int read_fd = -1;
    int pair[2];

    (void)state;
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    read_fd = pair[0];
    assert_int_equal(write(pair[1], "abc", 3), 3);
    (void)close(pair[1]);
    nj_buf_init(&buf, 100);
    assert_int_equal(nj_buf_text(&buf, "> ", &err), 0);
    assert_int_equal(nj_fsio_read_all(read_fd, &buf, &err), 0);
    assert_string_equal((char *)buf.data, "> abc");
}

static void a_file_may_fill_the_cap_but_not_exceed_it(void **state)
{
    nj_auto_close int fd = memory_file();
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_fsio_write(fd, "0123456789", 10, &err), 0);
    for (size_t max = 8; max < 13; max++) {
        NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};

        nj_buf_init(&buf, max);
        assert_int_equal(nj_buf_text(&buf, ">", &err), 0);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        if (max < 11) {
            assert_int_equal(nj_fsio_read_all(fd, &buf, &err), -NJ_E_LIMIT);
            assert_string_equal((char *)buf.data, ">"); /* as it was */
        } else {
            assert_int_equal(nj_fsio_read_all(fd, &buf, &err), 0);
            assert_string_equal((char *)buf.data, ">0123456789");
        }
    }
}

static void only_regular_files_are_read_by_name(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};
    char path[4096];

    (void)state;
    nj_buf_init(&buf, 1 << 20);
    (void)snprintf(path, sizeof(path), "%s/CMakeLists.txt", nj_source_dir);
    assert_int_equal(nj_fsio_read_file(AT_FDCWD, path, &buf, &err), 0);
    assert_non_null(strstr((char *)buf.data, "project(nightjar"));
    nj_buf_clear(&buf);
    assert_int_equal(nj_fsio_read_file(AT_FDCWD, "/dev/null", &buf, &err), -NJ_E_INPUT);
    assert_int_equal(nj_fsio_read_file(AT_FDCWD, "/", &buf, &err), -NJ_E_INPUT);
    assert_string_equal(err.text, "/: not a regular file");
    assert_int_equal(nj_fsio_read_file(AT_FDCWD, "/no/such", &buf, &err), -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_int_equal(buf.len, 0);
}

/* A pair of packet sockets that do not block. */
struct pair {
    int a, b;
};

static struct pair socket_pair(void)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    return (struct pair){fds[0], fds[1]};
}

static void pair_close(struct pair pair)
{
    (void)close(pair.a);
    (void)close(pair.b);
}

static size_t open_fds(void)
{
    size_t n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void a_message_travels_whole_with_its_descriptors(void **state)
{
    struct pair pair = socket_pair();
    struct nj_error err = {0};
    int sent[8], received[8];
    size_t len = 0, n = 8;
    char data[16] = "";

    (void)state;
    for (size_t i = 0; i < 8; i++)
        sent[i] = memory_file();
    assert_int_equal(nj_fsio_write(sent[7], "last", 4, &err), 0);
    arm("sendmsg:eintr");
    assert_int_equal(nj_fsio_sendmsg(pair.a, "hello", 5, sent, 8, &err), 0);
    assert_int_equal(nj_fsio_recvmsg(pair.b, data, sizeof(data), &len, received, &n, &err), 0);
    assert_int_equal(len, 5);
    assert_string_equal(data, "hello");
    assert_int_equal(n, 8);
    assert_content(received[7], "last");
    for (size_t i = 0; i < 8; i++) {
        assert_true(fcntl(received[i], F_GETFD) & FD_CLOEXEC);
        (void)close(received[i]);
        (void)close(sent[i]);
    }
    pair_close(pair);
}

static void nothing_to_receive_is_told_apart_from_the_end(void **state)
{
    struct pair pair = socket_pair();
    struct nj_error err = {0};
    size_t len = 77, n = 0;
    char data[16];

    (void)state;
    assert_int_equal(nj_fsio_recvmsg(pair.b, data, sizeof(data), &len, NULL, &n, &err), 1);
    assert_int_equal(len, 77); /* outputs are written only on success */
    (void)close(pair.a);
    assert_int_equal(nj_fsio_recvmsg(pair.b, data, sizeof(data), &len, NULL, &n, &err), 0);
    assert_int_equal(len, 0);
    (void)close(pair.b);
    assert_int_equal(nj_fsio_recvmsg(pair.b, data, sizeof(data), &len, NULL, &n, &err),
                     -NJ_E_SYSTEM);
}

static void a_message_that_does_not_fit_is_refused_and_leaks_nothing(void **state)
{
    struct pair pair = socket_pair();
    struct nj_error err = {0};
    int fds[2] = {pair.a, pair.b}, received[2];
    size_t len = 77, n = 2, before = open_fds();
    char data[4];

    (void)state;
    assert_int_equal(nj_fsio_sendmsg(pair.a, "hello", 5, fds, 2, &err), 0);
    assert_int_equal(nj_fsio_recvmsg(pair.b, data, 4, &len, received, &n, &err), -NJ_E_CORRUPT);
    assert_int_equal(nj_fsio_sendmsg(pair.a, "hi", 2, fds, 2, &err), 0);
    n = 1;
    assert_int_equal(nj_fsio_recvmsg(pair.b, data, 4, &len, received, &n, &err), -NJ_E_CORRUPT);
    assert_int_equal(nj_fsio_sendmsg(pair.a, NULL, 0, fds, 1, &err), 0);
    assert_int_equal(nj_fsio_recvmsg(pair.b, data, 4, &len, received, &n, &err), -NJ_E_CORRUPT);
    assert_int_equal(open_fds(), before);
    assert_int_equal(len, 77);
    pair_close(pair);
}

static void more_descriptors_than_anyone_may_send_are_refused(void **state)
{
    struct pair pair = socket_pair();
    struct nj_error err = {0};
    char control[CMSG_SPACE(12 * sizeof(int))] = {0}, data[4];
    struct iovec part = {.iov_base = data, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int fds[12], received[8];
    size_t len = 0, n = 8, before = open_fds();

    (void)state;
    data[0] = 'x';
    for (size_t i = 0; i < 12; i++)
        fds[i] = pair.a;
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(header), fds, sizeof(fds));
    assert_int_equal(sendmsg(pair.a, &message, 0), 1);
    assert_int_equal(nj_fsio_recvmsg(pair.b, data, 4, &len, received, &n, &err), -NJ_E_CORRUPT);
    assert_int_equal(open_fds(), before);
    pair_close(pair);
}

static void a_full_socket_is_an_outcome_and_a_closed_one_an_error(void **state)
{
    struct pair pair = socket_pair();
    struct nj_error err = {0};
    char data[1000] = {0};
    int r = 0;

    (void)state;
    for (int i = 0; i < 100000 && r == 0; i++)
        r = nj_fsio_sendmsg(pair.a, data, sizeof(data), NULL, 0, &err);
    assert_int_equal(r, 1);
    pair_close(pair);
    pair = socket_pair();
    (void)close(pair.b);
    assert_int_equal(nj_fsio_sendmsg(pair.a, data, 1, NULL, 0, &err), -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, EPIPE); /* and no SIGPIPE */
    (void)close(pair.a);
    arm("sendmsg:eio");
    assert_int_equal(nj_fsio_sendmsg(-1, data, 1, NULL, 0, &err), -NJ_E_SYSTEM);
    assert_int_equal(err.sys_errno, EIO);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_teardown(name, disarm)
    const struct CMUnitTest tests[] = {
        CASE(a_write_goes_on_after_short_and_interrupted_calls),
        CASE(zeros_become_holes_and_every_byte_is_kept),
        CASE(a_failed_write_is_told_with_its_errno),
        CASE(offsets_beyond_the_kernels_are_refused),
        CASE(a_failed_sync_is_not_tried_again),
        CASE(allocation_reserves_or_says_that_the_disk_is_full),
        CASE(reading_wants_every_byte),
        CASE(all_of_a_pipe_is_read_in_whatever_pieces_it_comes),
        CASE(a_file_may_fill_the_cap_but_not_exceed_it),
        CASE(only_regular_files_are_read_by_name),
        CASE(a_message_travels_whole_with_its_descriptors),
        CASE(nothing_to_receive_is_told_apart_from_the_end),
        CASE(a_message_that_does_not_fit_is_refused_and_leaks_nothing),
        CASE(more_descriptors_than_anyone_may_send_are_refused),
        CASE(a_full_socket_is_an_outcome_and_a_closed_one_an_error),
    };
#undef CASE

    return cmocka_run_group_tests(tests, NULL, NULL);
}
