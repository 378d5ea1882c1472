/*
 * sandbox.c - the engine's side: a client of the helper and of each box's supervisor
 *
 * Everything is answered on the caller's loop. The complication: a callback may close its box, so
 * after one is called the box is not looked at again; one message is handled per event.
 */
#include "batch/sandbox/sandbox.h"

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
#include "batch/sandbox/plan.h"
#include "batch/sandbox/probe.h"
#include "batch/sandbox/protocol.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define HELPER_START_MS 30000
#define HELPER_INPUT_MS 600000 /* a large tree on a slow machine */
#define HELPER_END_MS 15000    /* longer than the helper takes for its own shut-down */
#define RUN_NAME_MAX_BYTES 100
#define INPUTS_MAX 65536

enum op { OP_OPEN, OP_NONE, OP_RESTORE, OP_CALL, OP_SCAN };

struct nj_box {
    struct nj_sandbox *sandbox; /* NULL: freed before us */
    struct nj_box *prev, *next; /* all boxes */
    int fd;
    struct event *event;
    pid_t supervisor_pid;
    enum op op;
    bool lost;
    struct nj_error lost_err;
    nj_box_output output;
    union {
        nj_box_opened opened;
        nj_box_done done;
        nj_box_called called;
        nj_box_scanned scanned;
    } callback;
    void *ctx;
    struct nj_buf unsent; /* OPEN that did not fit into the helper's socket yet */
    int unsent_fd;
};

struct given {
    enum nj_msg_kind kind; /* as INPUT or as ROOTFS */
    struct nj_workspace_ref ref;
};

struct nj_sandbox {
    int helper_fd; /* non-blocking */
    pid_t helper_pid;
    struct event_base *base;
    struct event *helper_read;
    struct event *helper_write;
    bool helper_lost;
    bool dispatching;
    struct nj_box *boxes;
    uint64_t next_box;
    struct given *given; /* trees that the helper has */
    size_t n_given;
    struct nj_msg_in in;
};

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
    sandbox->helper_pid = fork();
    if (sandbox->helper_pid < 0) {
        sandbox->helper_pid = 0;
        return nj_fail_errno(err, errno, "sandbox: fork");
    }
    if (sandbox->helper_pid == 0)
        nj_helper_run(theirs, run_name);
    sandbox->helper_fd = nj_steal_fd(&ours);
    (void)close(nj_steal_fd(&theirs));
    r = await_reply(sandbox, HELPER_START_MS, err);
    if (r < 0)
        return nj_wrap(err, "sandbox");
    *ret_sandbox = nj_steal_ptr(&sandbox);
    return 0;
}

static void lose(struct nj_box *box, const struct nj_error *why);

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

static int send_open(struct nj_sandbox *sandbox, struct nj_box *box, struct nj_error *err)
{
    int r = nj_fsio_sendmsg(sandbox->helper_fd, box->unsent.data, box->unsent.len, &box->unsent_fd,
                            1, err);

    if (r == 0) {
        nj_buf_done(&box->unsent);
        (void)close(nj_steal_fd(&box->unsent_fd));
    }
    return r;
}

/* helper_writes - room again: hand over the opens that waited */
static void helper_writes(evutil_socket_t fd, short what, void *ctx)
{
    struct nj_sandbox *sandbox = ctx;
    struct nj_error err;

    (void)fd;
    (void)what;
    for (struct nj_box *box = sandbox->boxes; box; box = box->next) {
        if (box->unsent_fd >= 0 && send_open(sandbox, box, &err) != 0) {
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

static void detach_box(struct nj_box *box)
{
    if (box->event)
        event_free(box->event);
    box->event = NULL;
    /* A process that was forked meanwhile holds a copy of the descriptor; that must not keep the
     * box alive. */
    if (box->fd >= 0)
        (void)shutdown(box->fd, SHUT_RDWR);
    nj_close_auto(&box->fd);
    box->fd = -1;
    nj_close_auto(&box->unsent_fd);
    box->unsent_fd = -1;
    nj_buf_done(&box->unsent);
}

void nj_sandbox_free(struct nj_sandbox *sandbox)
{
    struct nj_box *next;

    if (!sandbox)
        return;
    assert(!sandbox->dispatching);
    for (struct nj_box *box = sandbox->boxes; box; box = next) {
        next = box->next;
        detach_box(box);
        box->sandbox = NULL;
        box->prev = box->next = NULL;
        box->lost = true;
        (void)nj_fail(&box->lost_err, NJ_E_CANCELLED, "the sandbox was closed");
        if (box->op == OP_OPEN) /* nobody has it yet */
            free(box);
    }
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
    struct given *given;
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
    given[sandbox->n_given++] = (struct given){msg->kind, *input};
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

/* ---- boxes: what comes back ---- */

/* call_back - the operation is over; the callback may do anything with the box */
static void call_back(struct nj_box *box, const struct nj_error *err)
{
    struct nj_box now = *box;

    if (box->op != OP_OPEN || !err)
        box->op = OP_NONE;
    switch (now.op) {
    case OP_OPEN:
        if (err) {
            struct nj_error kept = *err;

            nj_box_close(box);
            now.callback.opened(now.ctx, NULL, &kept);
        } else {
            now.callback.opened(now.ctx, box, NULL);
        }
        break;
    case OP_RESTORE:
        now.callback.done(now.ctx, err);
        break;
    case OP_CALL:
        now.callback.called(now.ctx, NULL, err); /* a result goes another way */
        break;
    case OP_SCAN:
        now.callback.scanned(now.ctx, 0, 0, err);
        break;
    case OP_NONE:
        break;
    }
}

static void lose(struct nj_box *box, const struct nj_error *why)
{
    struct nj_error err = *why;

    if (box->op == OP_OPEN) {
        call_back(box, &err);
        return;
    }
    box->lost = true;
    box->lost_err = err;
    detach_box(box);
    call_back(box, &err);
}

/* unspill - the heads and tails that came in a memfd */
static int unspill(struct nj_msg_in *in, uint8_t **ret_memory, struct nj_error *err)
{
    struct nj_call_outcome *outcome = &in->msg.called.outcome;
    struct nj_span *spans[4] = {&outcome->out.head, &outcome->out.tail, &outcome->errors.head,
                                &outcome->errors.tail};
    nj_auto_free uint8_t *memory = NULL;
    size_t total = 0, at = 0;
    int r;

    for (size_t i = 0; i < 4; i++)
        total += spans[i]->len; /* each was bounded by the decoder */
    r = nj_msg_check_memfd(in->fds[0], total, err);
    if (r < 0)
        return r;
    memory = malloc(total + 1);
    if (!memory)
        return nj_fail_nomem(err);
    r = nj_fsio_pread(in->fds[0], memory, total, 0, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < 4; i++) {
        spans[i]->data = memory + at;
        at += spans[i]->len;
    }
    *ret_memory = nj_steal_ptr(&memory);
    return 0;
}

static int take_result(struct nj_msg_in *in, struct nj_box_result *result, uint8_t **ret_memory,
                       struct nj_error *err)
{
    bool has_objects = in->msg.called.objects_bytes > 0;
    size_t spilled = in->msg.called.spilled;
    int r;

    if (in->n_fds != spilled + has_objects)
        return nj_fail(err, NJ_E_CORRUPT, "a result with %zu descriptors", in->n_fds);
    if (spilled) {
        r = unspill(in, ret_memory, err);
        if (r < 0)
            return nj_wrap(err, "output");
    }
    *result = (struct nj_box_result){.outcome = in->msg.called.outcome,
                                     .meta = in->msg.called.meta,
                                     .objects_fd = -1,
                                     .files_hashed = in->msg.called.files_hashed};
    if (has_objects) {
        r = nj_msg_check_memfd(in->fds[spilled], in->msg.called.objects_bytes, err);
        if (r < 0)
            return nj_wrap(err, "objects");
        result->objects_fd = nj_steal_fd(&in->fds[spilled]);
        result->objects_bytes = in->msg.called.objects_bytes;
    }
    return 0;
}

static int deliver_result(struct nj_box *box, struct nj_msg_in *in, struct nj_error *err)
{
    nj_auto_free uint8_t *memory = NULL;
    struct nj_box_result result;
    int r;

    r = take_result(in, &result, &memory, err);
    if (r < 0)
        return r;
    box->op = OP_NONE;
    box->callback.called(box->ctx, &result, NULL);
    return 0;
}

/* deliver - one message; fails when it is not one that a supervisor may send now */
static int deliver(struct nj_box *box, struct nj_msg_in *in, struct nj_error *err)
{
    const struct nj_msg *msg = &in->msg;
    enum op op = box->op;

    if (msg->kind == NJ_MSG_OPENED && op == OP_OPEN) {
        box->supervisor_pid = msg->opened.pid;
        call_back(box, NULL);
    } else if (msg->kind == NJ_MSG_FAILED && op != OP_NONE) {
        call_back(box, &msg->failed);
    } else if (msg->kind == NJ_MSG_DONE && op == OP_RESTORE) {
        call_back(box, NULL);
    } else if (msg->kind == NJ_MSG_OUTPUT && op == OP_CALL) {
        if (box->output)
            box->output(box->ctx, msg->output.stream, msg->output.piece);
    } else if (msg->kind == NJ_MSG_CALLED && op == OP_CALL) {
        return deliver_result(box, in, err);
    } else if (msg->kind == NJ_MSG_SCANNED && op == OP_SCAN) {
        box->op = OP_NONE;
        box->callback.scanned(box->ctx, msg->scanned.files, msg->scanned.misses, NULL);
    } else {
        return nj_fail(err, NJ_E_CORRUPT, "its supervisor said \"%s\" out of turn",
                       nj_msg_kind_text(msg->kind));
    }
    return 0;
}

static void box_reads(evutil_socket_t fd, short what, void *ctx)
{
    struct nj_box *box = ctx;
    struct nj_sandbox *sandbox = box->sandbox;
    struct nj_error err, lost;
    int r;

    (void)fd;
    (void)what;
    assert(!sandbox->dispatching);
    sandbox->dispatching = true;
    r = nj_msg_receive(box->fd, &sandbox->in, &err);
    if (r == 0)
        r = deliver(box, &sandbox->in, &err);
    else if (r == 2)
        r = nj_fail(&err, NJ_E_UPSTREAM, "its supervisor ended");
    else if (r == 1)
        r = 0;
    if (r < 0) {
        (void)nj_fail(&lost, NJ_E_UPSTREAM, "the box was lost: %.400s", err.text);
        lose(box, &lost);
    }
    nj_msg_in_done(&sandbox->in);
    sandbox->dispatching = false;
}

/* ---- boxes: what is asked ---- */

static struct nj_box *box_new(struct nj_sandbox *sandbox)
{
    struct nj_box *box = calloc(1, sizeof(*box));

    if (!box)
        return NULL;
    box->sandbox = sandbox;
    box->fd = -1;
    box->unsent_fd = -1;
    box->op = OP_OPEN;
    box->next = sandbox->boxes;
    if (box->next)
        box->next->prev = box;
    sandbox->boxes = box;
    nj_buf_init(&box->unsent, NJ_MSG_MAX_BYTES + 1);
    return box;
}
NJ_DEFINE_AUTO_PTR(struct nj_box, nj_box_close);

int nj_box_open(struct nj_sandbox *sandbox, const struct nj_box_plan *plan, nj_box_opened opened,
                void *ctx, struct nj_error *err)
{
    struct nj_msg msg = {.kind = NJ_MSG_OPEN, .open.plan = *plan};
    NJ_AUTO(nj_box_close) struct nj_box *box = NULL;
    int pair[2], r;

    assert(sandbox->base);
    r = nj_box_plan_check(plan, err);
    if (r < 0)
        return r;
    if (sandbox->helper_lost)
        return nj_fail(err, NJ_E_UPSTREAM, "sandbox: the helper ended");
    box = box_new(sandbox);
    if (!box)
        return nj_fail_nomem(err);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return nj_fail_errno(err, errno, "sandbox: socketpair");
    box->fd = pair[0];
    box->unsent_fd = pair[1];
    msg.open.box = ++sandbox->next_box;
    r = nj_msg_encode(&msg, &box->unsent, err);
    if (r < 0)
        return r;
    box->event = event_new(sandbox->base, box->fd, EV_READ | EV_PERSIST, box_reads, box);
    if (!box->event || event_add(box->event, NULL) < 0)
        return nj_fail_nomem(err);
    r = send_open(sandbox, box, err);
    if (r < 0)
        return r;
    if (r == 1 && event_add(sandbox->helper_write, NULL) < 0)
        return nj_fail_nomem(err);
    box->callback.opened = opened;
    box->ctx = ctx;
    (void)nj_steal_ptr(&box);
    return 0;
}

/* ask - send a request to the supervisor. It serves one at a time, so its socket is never full. */
static int ask(struct nj_box *box, enum op op, const struct nj_msg *msg, const int *fds,
               size_t n_fds, struct nj_error *err)
{
    int r;

    if (box->lost) {
        *err = box->lost_err;
        return -(int)err->code;
    }
    assert(box->op == OP_NONE);
    r = nj_msg_send(box->fd, msg, fds, n_fds, err);
    if (r == 1)
        return nj_fail(err, NJ_E_UPSTREAM, "the box's supervisor does not read");
    if (r < 0)
        return r;
    box->op = op;
    return 0;
}

int nj_box_restore(struct nj_box *box, const struct nj_workspace_ref *ref, int objects_fd,
                   nj_box_done done, void *ctx, struct nj_error *err)
{
    struct nj_msg msg = {.kind = NJ_MSG_RESTORE, .ref = *ref};
    nj_auto_close int fd = objects_fd;
    uint64_t bytes;
    int r;

    if (nj_msg_memfd_bytes(fd, &bytes, err) < 0) { /* not sealed yet */
        r = nj_msg_seal(fd, err);
        if (r < 0)
            return nj_wrap(err, "restore");
    }
    r = ask(box, OP_RESTORE, &msg, &fd, 1, err);
    if (r < 0)
        return r;
    box->callback.done = done;
    box->ctx = ctx;
    return 0;
}

static int check_call(const struct nj_box_call *call, struct nj_error *err)
{
    size_t n_args = 0, n_env = 0;

    while (call->argv[n_args])
        n_args++;
    while (call->env && call->env[n_env]) {
        const char *equals = strchr(call->env[n_env++], '=');

        if (!equals || equals == call->env[n_env - 1])
            return nj_fail(err, NJ_E_INPUT, "call: variable \"%.60s\": want NAME=value",
                           call->env[n_env - 1]);
    }
    if (n_args == 0 || n_args > NJ_BOX_ARGS_MAX || n_env > NJ_BOX_ENV_MAX)
        return nj_fail(err, NJ_E_INPUT, "call: %zu arguments (1 to %d), %zu variables (at most %d)",
                       n_args, NJ_BOX_ARGS_MAX, n_env, NJ_BOX_ENV_MAX);
    if (call->cwd && call->cwd[0] != '/')
        return nj_fail(err, NJ_E_INPUT, "call: directory \"%.60s\": not absolute", call->cwd);
    if (call->head_max_bytes > NJ_BOX_STREAM_MAX_BYTES ||
        call->tail_max_bytes > NJ_BOX_STREAM_MAX_BYTES)
        return nj_fail(err, NJ_E_INPUT, "call: head and tail of output: at most %u bytes",
                       NJ_BOX_STREAM_MAX_BYTES);
    if (call->script_name &&
        (call->script_name[0] == '\0' || call->script_name[0] == '.' ||
         strchr(call->script_name, '/') || strlen(call->script_name) > NJ_OBJECT_NAME_MAX_BYTES))
        return nj_fail(err, NJ_E_INPUT, "call: script name \"%.60s\": want a plain file name",
                       call->script_name);
    return 0;
}

int nj_box_call(struct nj_box *box, const struct nj_box_call *call, nj_box_output output,
                nj_box_called called, void *ctx, struct nj_error *err)
{
    struct nj_msg msg = {.kind = NJ_MSG_CALL, .call.call = *call};
    nj_auto_close int script_fd = -1, input_fd = -1;
    size_t n_fds = 0;
    int fds[2], r;

    r = check_call(call, err);
    if (r < 0)
        return r;
    msg.call.has_script = call->script_name != NULL;
    msg.call.has_input = call->input.len > 0;
    if (msg.call.has_script) {
        r = nj_msg_memfd("nj-script", call->script, &script_fd, err);
        if (r < 0)
            return r;
        fds[n_fds++] = script_fd;
    }
    if (msg.call.has_input) {
        r = nj_msg_memfd("nj-stdin", call->input, &input_fd, err);
        if (r < 0)
            return r;
        fds[n_fds++] = input_fd;
    }
    r = ask(box, OP_CALL, &msg, fds, n_fds, err);
    if (r < 0)
        return nj_wrap(err, "call");
    box->output = output;
    box->callback.called = called;
    box->ctx = ctx;
    return 0;
}

void nj_box_cancel(struct nj_box *box)
{
    struct nj_msg msg = {.kind = NJ_MSG_CANCEL};
    struct nj_error ignored; /* a box that cannot be told is being lost, which ends the call too */

    if (!box->lost && box->op == OP_CALL)
        (void)!nj_msg_send(box->fd, &msg, NULL, 0, &ignored);
}

int nj_box_scan(struct nj_box *box, nj_box_scanned scanned, void *ctx, struct nj_error *err)
{
    struct nj_msg msg = {.kind = NJ_MSG_SCAN};
    int r;

    r = ask(box, OP_SCAN, &msg, NULL, 0, err);
    if (r < 0)
        return r;
    box->callback.scanned = scanned;
    box->ctx = ctx;
    return 0;
}

void nj_box_close(struct nj_box *box)
{
    if (!box)
        return;
    detach_box(box);
    if (box->next)
        box->next->prev = box->prev;
    if (box->prev)
        box->prev->next = box->next;
    else if (box->sandbox)
        box->sandbox->boxes = box->next;
    free(box);
}

pid_t nj_box_supervisor_pid(const struct nj_box *box)
{
    return box->supervisor_pid;
}
