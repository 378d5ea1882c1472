/*
 * test_protocol.c - messages between engine, helper and supervisors
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>

#include "batch/sandbox/objects.h"
#include "batch/sandbox/protocol.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

/* samples - one message of each kind, as full as it can be */
static size_t samples(struct nj_msg *msgs)
{
    static const char *const paths[] = {"/workspace", "/tmp", "/\xff\xfe"};
    static const char *const argv[] = {"bash", "-c", "echo\n\x01", NULL};
    static const char *const env[] = {"A=b", "C=", NULL};
    static const struct nj_box_mount mount = {"/data", {{{1}}, {{2}}}};
    size_t n = 0;

    msgs[n++] = (struct nj_msg){.kind = NJ_MSG_OPEN,
                                .open = {7,
                                         {.writable_paths = paths,
                                          .n_writable_paths = 3,
                                          .read_only_paths = paths + 1,
                                          .n_read_only_paths = 1,
                                          .mounts = &mount,
                                          .n_mounts = 1,
                                          .max_size_bytes = 1,
                                          .max_files = UINT64_MAX,
                                          .max_memory_bytes = 3,
                                          .max_processes = 4,
                                          .max_cpu_micro = 5,
                                          .hostname = "h",
                                          .level = NJ_LEVEL_MAX}}};
    msgs[n++] = (struct nj_msg){.kind = NJ_MSG_INPUT, .ref = {{{3}}, {{4}}}};
    msgs[n++] = (struct nj_msg){.kind = NJ_MSG_READY};
    msgs[n++] = (struct nj_msg){.kind = NJ_MSG_OPENED, .opened.pid = 12345};
    msgs[n++] = (struct nj_msg){.kind = NJ_MSG_RESTORE, .ref = {{{5}}, {{6}}}};
    msgs[n++] = (struct nj_msg){.kind = NJ_MSG_CALL,
                                .call = {{.argv = argv,
                                          .env = env,
                                          .cwd = "/tmp",
                                          .script_name = "s.sh",
                                          .timeout_ms = 1,
                                          .runtime_left_ms = 2,
                                          .runtime_limit_ms = UINT64_MAX,
                                          .head_max_bytes = 10,
                                          .tail_max_bytes = NJ_BOX_STREAM_MAX_BYTES,
                                          .seed = {1, 2, [31] = 0xff},
                                          .step = UINT64_MAX,
                                          .clock_ns = INT64_MAX / 2},
                                         true,
                                         true}};
    msgs[n++] = (struct nj_msg){.kind = NJ_MSG_CANCEL};
    msgs[n++] = (struct nj_msg){.kind = NJ_MSG_SCAN};
    msgs[n++] = (struct nj_msg){.kind = NJ_MSG_DONE};
    msgs[n++] = (struct nj_msg){.kind = NJ_MSG_FAILED,
                                .failed = {NJ_E_SYSTEM, 28, "something \"odd\": \xff"}};
    msgs[n++] = (struct nj_msg){.kind = NJ_MSG_OUTPUT, .output = {2, nj_span_text("bytes\xfe")}};
    msgs[n++] = (struct nj_msg){
        .kind = NJ_MSG_CALLED,
        .called = {.outcome = {.exit = NJ_EXIT_SIGNALLED,
                               .status = 9,
                               .limit = NJ_LIMIT_DISK,
                               .limit_value = 77,
                               .text = nj_span_text("why"),
                               .out = {100, {{8}}, nj_span_text("head"), nj_span_text("tail")},
                               .errors = {0, {{9}}, {NULL, 0}, {NULL, 0}},
                               .tree = {{10}}},
                   .meta = {.stamps = {{11}},
                            .duration_ms = 1,
                            .cpu_ms = 2,
                            .memory_peak_bytes = 3,
                            .limit_used = 4,
                            .clock_ns = 5,
                            .level = 2,
                            .lowered = NJ_LOWERED_LOST},
                   .objects_bytes = 5,
                   .files_hashed = 6}};
    msgs[n++] = (struct nj_msg){.kind = NJ_MSG_SCANNED, .scanned = {10, 1}};
    msgs[n++] = (struct nj_msg){.kind = NJ_MSG_ROOTFS, .rootfs = {.is_tar = true}};
    return n;
}

static void every_message_survives_the_way(void **state)
{
    struct nj_msg msgs[NJ_MSG_ROOTFS + 1];
    size_t n = samples(msgs);

    (void)state;
    assert_int_equal(n, NJ_MSG_ROOTFS);
    for (size_t i = 0; i < n; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf first = {0}, second = {0};
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        struct nj_msg back;
        struct nj_error err;

        nj_buf_init(&first, NJ_MSG_MAX_BYTES + 1);
        nj_buf_init(&second, NJ_MSG_MAX_BYTES + 1);
        assert_int_equal(nj_msg_encode(&msgs[i], &first, &err), 0);
        if (nj_msg_decode(nj_buf_span(&first), &arena, &back, &err) < 0)
            fail_msg("%s: %s", nj_msg_kind_text(msgs[i].kind), err.text);
        assert_int_equal(back.kind, msgs[i].kind);
        assert_int_equal(nj_msg_encode(&back, &second, &err), 0);
        assert_true(nj_span_equal(nj_buf_span(&first), nj_buf_span(&second)));
    }
}

static void values_arrive_as_they_were(void **state)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_msg msgs[NJ_MSG_ROOTFS + 1], back;
    struct nj_error err;

    (void)state;
    (void)samples(msgs);
    nj_buf_init(&buf, NJ_MSG_MAX_BYTES + 1);
    assert_int_equal(nj_msg_encode(&msgs[5], &buf, &err), 0);
    assert_int_equal(nj_msg_decode(nj_buf_span(&buf), &arena, &back, &err), 0);
    assert_string_equal(back.call.call.argv[2], "echo\n\x01");
    assert_null(back.call.call.argv[3]);
    assert_string_equal(back.call.call.env[1], "C=");
    assert_string_equal(back.call.call.script_name, "s.sh");
    assert_true(back.call.call.runtime_limit_ms == UINT64_MAX);
    assert_true(back.call.has_script && back.call.has_input);
}

static void a_cut_or_changed_message_is_refused(void **state)
{
    struct nj_msg msgs[NJ_MSG_ROOTFS + 1];
    size_t n = samples(msgs);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
        NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
        struct nj_error err;
        struct nj_msg back;

        nj_buf_init(&buf, NJ_MSG_MAX_BYTES + 1);
        assert_int_equal(nj_msg_encode(&msgs[i], &buf, &err), 0);
        for (size_t len = 0; len < buf.len; len++)
            assert_true(nj_msg_decode((struct nj_span){buf.data, len}, &arena, &back, &err) < 0);
        for (size_t at = 0; at < buf.len; at++) {
            buf.data[at] ^= 0x55; /* it may still be a message, but never more than one */
            (void)!nj_msg_decode(nj_buf_span(&buf), &arena, &back, &err);
            buf.data[at] ^= 0x55;
        }
    }
}

static void spilled_output_is_told_by_its_lengths(void **state)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_msg msgs[NJ_MSG_ROOTFS + 1], back;
    struct nj_error err;

    (void)state;
    (void)samples(msgs);
    msgs[11].called.spilled = true;
    nj_buf_init(&buf, NJ_MSG_MAX_BYTES + 1);
    assert_int_equal(nj_msg_encode(&msgs[11], &buf, &err), 0);
    assert_int_equal(nj_msg_decode(nj_buf_span(&buf), &arena, &back, &err), 0);
    assert_true(back.called.spilled);
    assert_int_equal(back.called.outcome.out.head.len, 4);
    assert_null(back.called.outcome.out.head.data);
}

static void refuse_encoded(struct nj_msg *msg, const char *part)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err;
    struct nj_msg back;

    nj_buf_init(&buf, NJ_MSG_MAX_BYTES + 1);
    assert_int_equal(nj_msg_encode(msg, &buf, &err), 0);
    assert_true(nj_msg_decode(nj_buf_span(&buf), &arena, &back, &err) < 0);
    if (!strstr(err.text, part))
        fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

static void impossible_values_are_refused_by_name(void **state)
{
    static const char *const none[] = {NULL};
    struct nj_msg msgs[NJ_MSG_ROOTFS + 1], msg;

    (void)state;
    (void)samples(msgs);
    msg = msgs[11];
    msg.called.outcome.out.bytes = 3;
    refuse_encoded(&msg, "head and tail are longer than the whole");
    msg = msgs[11];
    msg.called.outcome.exit = (enum nj_exit_kind)9;
    refuse_encoded(&msg, "exit");
    msg = msgs[11];
    msg.called.outcome.status = 256;
    refuse_encoded(&msg, "status");
    msg = msgs[10];
    msg.output.stream = 3;
    refuse_encoded(&msg, "stream");
    msg = msgs[5];
    msg.call.call.argv = none;
    refuse_encoded(&msg, "no argv");
    msg = msgs[5];
    msg.call.has_script = false;
    refuse_encoded(&msg, "a script without a name");
    msg = msgs[9];
    msg.failed.code = (enum nj_error_code)0;
    refuse_encoded(&msg, "code");
}

static void a_message_beyond_a_datagram_is_not_sent(void **state)
{
    static char large[NJ_MSG_MAX_BYTES + 10];
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_msg msg = {.kind = NJ_MSG_OUTPUT, .output = {1, {(uint8_t *)large, sizeof(large)}}};
    struct nj_error err;

    (void)state;
    nj_buf_init(&buf, 1 << 20);
    assert_int_equal(nj_msg_encode(&msg, &buf, &err), -NJ_E_LIMIT);
    assert_int_equal(buf.len, 0);
}

static void descriptors_travel_and_are_not_leaked(void **state)
{
    static struct nj_msg_in in;
    struct nj_msg msg = {.kind = NJ_MSG_RESTORE};
    struct nj_error err;
    uint64_t bytes;
    int pair[2], fd;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                     0);
    assert_int_equal(nj_msg_receive(pair[1], &in, &err), 1);
    assert_int_equal(nj_msg_memfd("test", nj_span_text("content"), &fd, &err), 0);
    assert_int_equal(nj_msg_send(pair[0], &msg, &fd, 1, &err), 0);
    assert_int_equal(nj_msg_receive(pair[1], &in, &err), 0);
    assert_int_equal(in.msg.kind, NJ_MSG_RESTORE);
    assert_int_equal(in.n_fds, 1);
    assert_int_equal(nj_msg_memfd_bytes(in.fds[0], &bytes, &err), 0);
    assert_int_equal(bytes, 7);
    assert_int_equal(nj_msg_check_memfd(in.fds[0], 8, &err), -NJ_E_CORRUPT);
    assert_true(fcntl(in.fds[0], F_GETFD) & FD_CLOEXEC);
    (void)close(fd);
    fd = in.fds[0];
    nj_msg_in_done(&in);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    (void)close(pair[0]);
    assert_int_equal(nj_msg_receive(pair[1], &in, &err), 2);
    (void)close(pair[1]);
}

static void only_a_sealed_memfd_is_read(void **state)
{
    struct nj_objects objects = {0};
    struct nj_error err;
    uint64_t bytes;
    int fd, pipe_fds[2];

    (void)state;
    assert_int_equal(nj_fsio_memfd("open", &fd, &err), 0);
    assert_int_equal(nj_msg_memfd_bytes(fd, &bytes, &err), -NJ_E_CORRUPT);
    assert_int_equal(nj_objects_open(&objects, fd, &err), -NJ_E_CORRUPT); /* takes it */
    nj_objects_close(&objects);
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(nj_msg_memfd_bytes(pipe_fds[0], &bytes, &err), -NJ_E_CORRUPT);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    assert_int_equal(nj_msg_memfd("bad", nj_span_text("no objects at all"), &fd, &err), 0);
    assert_true(nj_objects_open(&objects, fd, &err) < 0);
    assert_non_null(strstr(err.text, "objects: at byte 0"));
    nj_objects_close(&objects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_survives_the_way),
        cmocka_unit_test(values_arrive_as_they_were),
        cmocka_unit_test(a_cut_or_changed_message_is_refused),
        cmocka_unit_test(spilled_output_is_told_by_its_lengths),
        cmocka_unit_test(impossible_values_are_refused_by_name),
        cmocka_unit_test(a_message_beyond_a_datagram_is_not_sent),
        cmocka_unit_test(descriptors_travel_and_are_not_leaked),
        cmocka_unit_test(only_a_sealed_memfd_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
