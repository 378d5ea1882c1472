/*
 * sandbox.c - the engine's side of the helper: its start and end, and the trees it is given
 *
 * The complication is the helper's socket, which may be full: an open waits for room there, on the
 * loop; trees come before the loop runs and are waited for.
 */
#include "batch/sandbox/ahead.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "batch/sandbox/helper.h"
#include "batch/sandbox/probe.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define HELPER_START_MS 30000
#define HELPER_INPUT_MS 600000 /* a large tree on a slow machine */
#define HELPER_END_MS 15000    /* longer than the helper takes for its own shut-down */
#define RUN_NAME_MAX_BYTES 100
#define MEMINFO_MAX_BYTES (64u << 10)
#define INPUTS_MAX 65536

/* ---- the helper ---- */

static int check_run_name(const char *name, struct nj_error *err)
{
    size_t len = strlen(name);

    if (len == 0 || len > RUN_NAME_MAX_BYTES ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != len)
        return nj_fail(err, NJ_E_INPUT,
                       "run name \"%.100s\": want 1 to %d letters, digits, \"_\", \".\" or \"-\"",
                       name, RUN_NAME_MAX_BYTES);
    return 0;
}

/* await_reply - READY or DONE from the helper; its FAILED becomes our failure */
static int await_reply(struct nj_sandbox *sandbox, int timeout_ms, struct nj_error *err)
{
    struct pollfd polled = {sandbox->helper_fd, POLLIN, 0};
    nj_auto_free struct nj_msg_in *in = calloc(1, sizeof(*in));
    int r;

    if (!in)
        return nj_fail_nomem(err);
    do {
        r = poll(&polled, 1, timeout_ms);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return nj_fail_errno(err, errno, "sandbox: poll");
    if (r == 0)
        return nj_fail(err, NJ_E_UPSTREAM, "sandbox: the helper did not answer within %d s",
                       timeout_ms / 1000);
    r = nj_msg_receive(sandbox->helper_fd, in, err);
    if (r == 2) {
        sandbox->helper_lost = true;
        return nj_fail(err, NJ_E_UPSTREAM, "sandbox: the helper ended");
    }
    if (r != 0)
        return r < 0 ? r : nj_fail(err, NJ_E_UPSTREAM, "sandbox: an empty answer of the helper");
    if (in->msg.kind == NJ_MSG_FAILED) {
        *err = in->msg.failed;
        r = -(int)err->code;
    } else if (in->msg.kind != NJ_MSG_READY && in->msg.kind != NJ_MSG_DONE) {
        r = nj_fail(err, NJ_E_CORRUPT, "sandbox: the helper answered \"%s\"",
                    nj_msg_kind_text(in->msg.kind));
    }
    nj_msg_in_done(in);
    return r;
}

static size_t half_of(const char *path)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error ignored;
    unsigned long long value;

    nj_buf_init(&text, 64);
    if (nj_fsio_read_file(AT_FDCWD, path, &text, &ignored) < 0 ||
        nj_buf_append(&text, "", 1, &ignored) < 0)
        return SIZE_MAX; /* this kernel has no such bound */
    value = strtoull((const char *)text.data, NULL, 10) / 2;
    return value > NJ_SANDBOX_AHEAD_MAX + 1 ? (size_t)value - NJ_SANDBOX_AHEAD_MAX - 1 : 0;
}

size_t nj_sandbox_boxes_bearable(void)
{
    size_t instances, groups;

    if (nj_helper_own_uids())
        return SIZE_MAX;
    instances = half_of("/proc/sys/fs/inotify/max_user_instances");
    groups = half_of("/proc/sys/fs/fanotify/max_user_groups");
    return instances < groups ? instances : groups;
}

/* bytes_of - the figure of a line of /proc/meminfo; 0: it has none */
static uint64_t bytes_of(const struct nj_buf *text, const char *name)
{
    const char *line = strstr((const char *)text->data, name);

    return line ? strtoull(line + strlen(name), NULL, 10) << 10 : 0;
}

static struct nj_cgroup_bound find_bound(void)
{
    struct nj_cgroups cgroups;

    nj_cgroups_find(&cgroups);
    return cgroups.bound;
}

int nj_sandbox_memory(const struct nj_sandbox *sandbox, struct nj_sandbox_memory *ret_memory,
                      struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    const char *path = getenv("NJ_TEST_MEMINFO"); /* how a test makes memory short */
    struct nj_cgroup_bound bound = sandbox ? sandbox->bound : find_bound();
    uint64_t limit, left;
    int r;

    nj_buf_init(&text, MEMINFO_MAX_BYTES);
    r = nj_fsio_read_file(AT_FDCWD, path ? path : "/proc/meminfo", &text, err);
    if (r >= 0)
        r = nj_buf_append(&text, "", 1, err);
    if (r < 0)
        return r;
    ret_memory->total_bytes = bytes_of(&text, "MemTotal:");
    ret_memory->available_bytes = bytes_of(&text, "MemAvailable:");
    if (ret_memory->total_bytes == 0 || !strstr((const char *)text.data, "MemAvailable:"))
        return nj_fail(err, NJ_E_SYSTEM, "/proc/meminfo does not tell the available memory");
    if (nj_cgroup_bound_left(&bound, &limit, &left) && left < ret_memory->available_bytes) {
        ret_memory->total_bytes = limit;
        ret_memory->available_bytes = left;
    }
    return 0;
}

int nj_sandbox_start(const char *run_name, struct nj_sandbox **ret_sandbox, struct nj_error *err)
{
    NJ_AUTO(nj_sandbox_free) struct nj_sandbox *sandbox = NULL;
    nj_auto_close int ours = -1, theirs = -1;
    int pair[2], r;

    r = check_run_name(run_name, err);
    if (r < 0)
        return r;
    r = nj_probe_host(nj_helper_own_uids() ? NJ_HELPER_UID_FIRST : (uid_t)-1, err);
    if (r < 0)
        return r;
    sandbox = calloc(1, sizeof(*sandbox));
    if (!sandbox)
        return nj_fail_nomem(err);
    sandbox->helper_fd = -1;
    sandbox->bound = find_bound();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return nj_fail_errno(err, errno, "sandbox: socketpair");
    ours = pair[0];
    theirs = pair[1];
    /* Whoever started us may have left 0, 1 or 2 closed; the helper wants these for itself. */
    r = fcntl(theirs, F_DUPFD_CLOEXEC, 3);
    if (r < 0 || fcntl(ours, F_SETFL, O_NONBLOCK) < 0) {
        if (r >= 0)
            (void)close(r);
        return nj_fail_errno(err, errno, "sandbox: fcntl");
    }
    (void)close(theirs);
    theirs = r;
    r = nj_helper_start(run_name, theirs, &sandbox->helper_pid, err);
    if (r < 0)
        return nj_wrap(err, "sandbox");
    sandbox->helper_fd = nj_steal_fd(&ours);
    (void)close(nj_steal_fd(&theirs));
    r = await_reply(sandbox, HELPER_START_MS, err);
    if (r < 0)
        return nj_wrap(err, "sandbox");
    *ret_sandbox = nj_steal_ptr(&sandbox);
    return 0;
}

/* helper_reads - it speaks only when asked, so this is its end; the boxes end by their own sockets
 */
static void helper_reads(evutil_socket_t fd, short what, void *ctx)
{
    struct nj_sandbox *sandbox = ctx;

    (void)fd;
    (void)what;
    sandbox->helper_lost = true;
    (void)event_del(sandbox->helper_read);
}

/* helper_writes - room again: hand over the opens that waited */
static void helper_writes(evutil_socket_t fd, short what, void *ctx)
{
    struct nj_sandbox *sandbox = ctx;
    struct nj_error err;

    (void)fd;
    (void)what;
    for (struct nj_box *box = sandbox->boxes; box; box = box->next) {
        if (box->unsent_fd >= 0 && nj_box_send_open(sandbox, box, &err) != 0) {
            if (!sandbox->helper_lost)
                (void)event_add(sandbox->helper_write, NULL);
            return; /* a failure: the helper is gone, and the unsent socket ends with us closing it
                     */
        }
    }
}

int nj_sandbox_attach(struct nj_sandbox *sandbox, struct event_base *base, struct nj_error *err)
{
    assert(!sandbox->base);
    sandbox->helper_read =
        event_new(base, sandbox->helper_fd, EV_READ | EV_PERSIST, helper_reads, sandbox);
    sandbox->helper_write = event_new(base, sandbox->helper_fd, EV_WRITE, helper_writes, sandbox);
    if (!sandbox->helper_read || !sandbox->helper_write ||
        event_add(sandbox->helper_read, NULL) < 0)
        return nj_fail_nomem(err);
    sandbox->base = base;
    return 0;
}

static void wait_for_helper(pid_t pid)
{
    struct timespec pause = {0, 2000000};

    for (int waited_ms = 0; waited_ms < HELPER_END_MS; waited_ms += 2) {
        pid_t ended = waitpid(pid, NULL, WNOHANG);

        if (ended == pid || (ended < 0 && errno != EINTR))
            return;
        (void)nanosleep(&pause, NULL);
    }
    (void)kill(pid, SIGKILL); /* as far as we still may; its children die with it */
    (void)waitpid(pid, NULL, WNOHANG);
}

void nj_sandbox_free(struct nj_sandbox *sandbox)
{
    struct nj_box *next;

    if (!sandbox)
        return;
    assert(!sandbox->dispatching);
    for (struct nj_box *box = sandbox->boxes; box; box = next) {
        next = box->next;
        nj_box_detach(box);
        box->sandbox = NULL;
        box->prev = box->next = NULL;
        box->lost = true;
        (void)nj_fail(&box->lost_err, NJ_E_CANCELLED, "the sandbox was closed");
        if (box->op == NJ_BOX_OP_OPEN || box->ahead) { /* nobody has it yet */
            nj_buf_done(&box->key);
            free(box);
        }
    }
    nj_ahead_done(sandbox);
    if (sandbox->helper_read)
        event_free(sandbox->helper_read);
    if (sandbox->helper_write)
        event_free(sandbox->helper_write);
    if (sandbox->helper_fd >= 0)
        (void)shutdown(sandbox->helper_fd, SHUT_RDWR);
    nj_close_auto(&sandbox->helper_fd);
    if (sandbox->helper_pid > 0)
        wait_for_helper(sandbox->helper_pid);
    nj_msg_in_done(&sandbox->in);
    free(sandbox->given);
    free(sandbox);
}

/* ---- inputs ---- */

struct gathering {
    const struct nj_object_source *source;
    int fd;
};

static int gather(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                  struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0}, encoded = {0};
    struct gathering *gathering = ctx;
    struct nj_object object;
    int r;

    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    nj_buf_init(&encoded, NJ_OBJECT_MAX_BYTES + 4096);
    r = nj_object_get(gathering->source, kind, digest, &bytes, err);
    if (r < 0)
        return r;
    object = (struct nj_object){.kind = kind, .digest = *digest, .bytes = nj_buf_span(&bytes)};
    r = nj_object_encode(&object, &encoded, err);
    if (r < 0)
        return r;
    return nj_fsio_write(gathering->fd, encoded.data, encoded.len, err);
}

static int await_room(struct nj_sandbox *sandbox, struct nj_error *err)
{
    struct pollfd polled = {sandbox->helper_fd, POLLOUT, 0};

    if (poll(&polled, 1, HELPER_START_MS) < 0 && errno != EINTR)
        return nj_fail_errno(err, errno, "sandbox: poll");
    if (polled.revents & (POLLHUP | POLLERR))
        return nj_fail(err, NJ_E_UPSTREAM, "sandbox: the helper ended");
    return 0;
}

/* give - a tree to the helper, once; @msg says as what */
static int give(struct nj_sandbox *sandbox, const struct nj_msg *msg,
                const struct nj_workspace_ref *input, const struct nj_object_source *source,
                struct nj_error *err)
{
    struct nj_sandbox_given *given;
    nj_auto_close int fd = -1;
    struct gathering gathering;
    int r;

    for (size_t i = 0; i < sandbox->n_given; i++) {
        if (sandbox->given[i].kind == msg->kind &&
            memcmp(&sandbox->given[i].ref, input, sizeof(*input)) == 0)
            return 0;
    }
    if (sandbox->n_given >= INPUTS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "sandbox: more than %d inputs", INPUTS_MAX);
    given = reallocarray(sandbox->given, sandbox->n_given + 1, sizeof(*given));
    if (!given)
        return nj_fail_nomem(err);
    sandbox->given = given;
    r = nj_fsio_memfd("nj-input", &fd, err);
    if (r < 0)
        return r;
    gathering = (struct gathering){source, fd};
    r = nj_tree_reach(source, input, gather, &gathering, err);
    if (r < 0)
        return r;
    r = nj_msg_seal(fd, err);
    if (r < 0)
        return r;
    while ((r = nj_msg_send(sandbox->helper_fd, msg, &fd, 1, err)) == 1) {
        r = await_room(sandbox, err);
        if (r < 0)
            return r;
    }
    if (r >= 0)
        r = await_reply(sandbox, HELPER_INPUT_MS, err);
    if (r < 0)
        return r;
    given[sandbox->n_given++] = (struct nj_sandbox_given){msg->kind, *input};
    return 0;
}

int nj_sandbox_add_input(struct nj_sandbox *sandbox, const struct nj_workspace_ref *input,
                         const struct nj_object_source *source, struct nj_error *err)
{
    const struct nj_msg msg = {.kind = NJ_MSG_INPUT, .ref = *input};

    return give(sandbox, &msg, input, source, err) < 0 ? nj_wrap(err, "sandbox input") : 0;
}

int nj_sandbox_add_rootfs(struct nj_sandbox *sandbox, const struct nj_workspace_ref *image,
                          bool is_tar, const struct nj_object_source *source, struct nj_error *err)
{
    const struct nj_msg msg = {.kind = NJ_MSG_ROOTFS, .rootfs = {*image, is_tar}};

    return give(sandbox, &msg, image, source, err) < 0 ? nj_wrap(err, "rootfs") : 0;
}
