/*
 * box.c - the engine's side of a box: a client of its supervisor
 *
 * Everything is answered on the caller's loop. The complication: a callback may close its box, so
 * after one is called the box is not looked at again; one message is handled per event.
 */
#include "batch/sandbox/ahead.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <sys/socket.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

void nj_box_detach(struct nj_box *box)
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

int nj_box_send_open(struct nj_sandbox *sandbox, struct nj_box *box, struct nj_error *err)
{
    int r = nj_fsio_sendmsg(sandbox->helper_fd, box->unsent.data, box->unsent.len, &box->unsent_fd,
                            1, err);

    if (r == 0) {
        nj_buf_done(&box->unsent);
        (void)close(nj_steal_fd(&box->unsent_fd));
    }
    return r;
}

/* ---- boxes: what comes back ---- */

/* call_back - the operation is over; the callback may do anything with the box */
static void call_back(struct nj_box *box, const struct nj_error *err)
{
    struct nj_box now = *box;

    if (box->op != NJ_BOX_OP_OPEN || !err)
        box->op = NJ_BOX_OP_NONE;
    switch (now.op) {
    case NJ_BOX_OP_OPEN:
        if (err) {
            struct nj_error kept = *err;

            nj_box_close(box);
            now.callback.opened(now.ctx, NULL, &kept);
        } else {
            now.callback.opened(now.ctx, box, NULL);
        }
        break;
    case NJ_BOX_OP_RESTORE:
        now.callback.done(now.ctx, err);
        break;
    case NJ_BOX_OP_CALL:
        now.callback.called(now.ctx, NULL, err); /* a result goes another way */
        break;
    case NJ_BOX_OP_SCAN:
        now.callback.scanned(now.ctx, 0, 0, err);
        break;
    case NJ_BOX_OP_NONE:
        break;
    }
}

static void lose(struct nj_box *box, const struct nj_error *why)
{
    struct nj_error err = *why;

    if (box->ahead) {
        nj_box_close(box);
        return;
    }
    if (box->op == NJ_BOX_OP_OPEN) {
        call_back(box, &err);
        return;
    }
    box->lost = true;
    box->lost_err = err;
    nj_box_detach(box);
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
    box->op = NJ_BOX_OP_NONE;
    box->callback.called(box->ctx, &result, NULL);
    return 0;
}

/* deliver - one message; fails when it is not one that a supervisor may send now */
static int deliver(struct nj_box *box, struct nj_msg_in *in, struct nj_error *err)
{
    const struct nj_msg *msg = &in->msg;
    enum nj_box_op op = box->op;

    if (msg->kind == NJ_MSG_OPENED && op == NJ_BOX_OP_OPEN) {
        box->supervisor_pid = msg->opened.pid;
        if (box->ahead)
            box->op = NJ_BOX_OP_NONE;
        else
            call_back(box, NULL);
    } else if (msg->kind == NJ_MSG_FAILED && box->ahead) {
        nj_box_close(box);
    } else if (msg->kind == NJ_MSG_FAILED && op != NJ_BOX_OP_NONE) {
        call_back(box, &msg->failed);
    } else if (msg->kind == NJ_MSG_DONE && op == NJ_BOX_OP_RESTORE) {
        call_back(box, NULL);
    } else if (msg->kind == NJ_MSG_OUTPUT && op == NJ_BOX_OP_CALL) {
        if (box->output)
            box->output(box->ctx, msg->output.stream, msg->output.piece);
    } else if (msg->kind == NJ_MSG_CALLED && op == NJ_BOX_OP_CALL) {
        return deliver_result(box, in, err);
    } else if (msg->kind == NJ_MSG_SCANNED && op == NJ_BOX_OP_SCAN) {
        box->op = NJ_BOX_OP_NONE;
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
    assert(!sandbox->dispatching);
    sandbox->dispatching = true;
    if (what & EV_TIMEOUT) { /* made ahead, taken since; what else came is told again */
        call_back(box, NULL);
        sandbox->dispatching = false;
        return;
    }
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
    box->op = NJ_BOX_OP_OPEN;
    box->next = sandbox->boxes;
    if (box->next)
        box->next->prev = box;
    sandbox->boxes = box;
    nj_buf_init(&box->unsent, NJ_MSG_MAX_BYTES + 1);
    return box;
}
NJ_DEFINE_AUTO_PTR(struct nj_box, nj_box_close);

int nj_box_begin(struct nj_sandbox *sandbox, const struct nj_box_plan *plan,
                 struct nj_box **ret_box, struct nj_error *err)
{
    struct nj_msg msg = {.kind = NJ_MSG_OPEN, .open.plan = *plan};
    NJ_AUTO(nj_box_close) struct nj_box *box = NULL;
    int pair[2], r;

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
    r = nj_box_send_open(sandbox, box, err);
    if (r < 0)
        return r;
    if (r == 1 && event_add(sandbox->helper_write, NULL) < 0)
        return nj_fail_nomem(err);
    *ret_box = nj_steal_ptr(&box);
    return 0;
}

int nj_box_open(struct nj_sandbox *sandbox, const struct nj_box_plan *plan, nj_box_opened opened,
                void *ctx, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf key = {0};
    struct nj_box *box;
    int r;

    assert(sandbox->base);
    r = nj_box_plan_check(plan, err);
    if (r < 0)
        return r;
    if (sandbox->helper_lost)
        return nj_fail(err, NJ_E_UPSTREAM, "sandbox: the helper ended");
    nj_buf_init(&key, NJ_MSG_MAX_BYTES);
    r = nj_ahead_key(plan, &key, err);
    if (r < 0)
        return r;
    box = nj_ahead_take(sandbox, nj_buf_span(&key));
    if (!box) {
        r = nj_box_begin(sandbox, plan, &box, err);
        if (r < 0)
            return r;
    } else if (box->op == NJ_BOX_OP_NONE) { /* told from the loop, as the others are */
        box->op = NJ_BOX_OP_OPEN;
        event_active(box->event, EV_TIMEOUT, 1);
    }
    box->callback.opened = opened;
    box->ctx = ctx;
    nj_ahead_order(sandbox, nj_buf_span(&key));
    return 0;
}

/* ask - send a request to the supervisor. It serves one at a time, so its socket is never full. */
static int ask(struct nj_box *box, enum nj_box_op op, const struct nj_msg *msg, const int *fds,
               size_t n_fds, struct nj_error *err)
{
    int r;

    if (box->lost) {
        *err = box->lost_err;
        return -(int)err->code;
    }
    assert(box->op == NJ_BOX_OP_NONE);
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
    r = ask(box, NJ_BOX_OP_RESTORE, &msg, &fd, 1, err);
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
    r = ask(box, NJ_BOX_OP_CALL, &msg, fds, n_fds, err);
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

    if (!box->lost && box->op == NJ_BOX_OP_CALL)
        (void)!nj_msg_send(box->fd, &msg, NULL, 0, &ignored);
}

int nj_box_scan(struct nj_box *box, nj_box_scanned scanned, void *ctx, struct nj_error *err)
{
    struct nj_msg msg = {.kind = NJ_MSG_SCAN};
    int r;

    r = ask(box, NJ_BOX_OP_SCAN, &msg, NULL, 0, err);
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
    nj_box_detach(box);
    nj_buf_done(&box->key);
    if (box->ahead)
        box->sandbox->n_ahead--;
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
