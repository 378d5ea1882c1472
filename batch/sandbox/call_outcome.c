/*
 * call_outcome.c - what a call that is over left: its exit, the limits it met, its output and files
 *
 * The complication is a descriptor that outlives every process, in a cycle of sockets: of the file
 * behind it the kernel has told nothing yet, so then all is read.
 */
#include "batch/sandbox/call_inside.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

static uint64_t limit_value(const struct nj_running *call, enum nj_limit limit)
{
    const struct nj_box_plan *plan = call->supervisor->setup->plan;

    switch (limit) {
    case NJ_LIMIT_NONE:
        return 0;
    case NJ_LIMIT_TIMEOUT:
        return call->request->timeout_ms;
    case NJ_LIMIT_RUNTIME:
        return call->request->runtime_limit_ms;
    case NJ_LIMIT_MEMORY:
        return plan->max_memory_bytes;
    case NJ_LIMIT_DISK:
        return plan->max_size_bytes;
    case NJ_LIMIT_PROCESSES:
        return plan->max_processes;
    }
    return 0;
}

/* judge_limits - what was met on the way, the strongest first */
static void judge_limits(struct nj_running *call, const struct nj_workspace_capture *capture,
                         struct nj_msg *msg)
{
    struct nj_supervisor *s = call->supervisor;
    const struct nj_cgroup *cgroup = &s->setup->cgroup;
    struct nj_call_outcome *outcome = &msg->called.outcome;
    struct nj_call_meta *meta = &msg->called.meta;
    uint64_t peak = nj_cgroup_memory_peak(cgroup), used = 0;
    bool full = false;

    meta->memory_peak_bytes = peak ? peak : s->proc_fd < 0 ? 0 : call->watched_memory;
    if (meta->memory_peak_bytes < (uint64_t)s->share->max_rss_kb << 10 && peak == 0)
        meta->memory_peak_bytes = (uint64_t)s->share->max_rss_kb << 10;
    nj_workspace_usage(s->workspace, &used, &full);
    if (call->limit != NJ_LIMIT_NONE) {
        outcome->limit = call->limit;
        meta->limit_used = call->limit_used;
    } else if (nj_cgroup_oom_kills(cgroup) > call->oom_kills_before) {
        outcome->limit = NJ_LIMIT_MEMORY;
        meta->limit_used = peak;
    } else if (nj_cgroup_fork_refusals(cgroup) > call->refusals_before ||
               call->watched_processes >= s->setup->plan->max_processes) {
        outcome->limit = NJ_LIMIT_PROCESSES;
        meta->limit_used = s->setup->plan->max_processes;
    } else if (full || capture->removed > 0 ||
               (outcome->exit == NJ_EXIT_SIGNALLED && outcome->status == SIGXFSZ)) {
        outcome->limit = NJ_LIMIT_DISK;
        meta->limit_used = capture->removed_bytes > used ? capture->removed_bytes : used;
    }
    outcome->limit_value = limit_value(call, outcome->limit);
}

static int refuse(struct nj_running *call, struct nj_call_outcome *outcome, struct nj_buf *text,
                  struct nj_error *err)
{
    struct nj_supervisor *s = call->supervisor;
    const struct nj_init_share *share = s->share;
    char reason[96];
    const char *why = strerror_r(share->sys_errno, reason, sizeof(reason));
    int r;

    switch ((enum nj_init_stage)share->stage) {
    case NJ_INIT_CWD:
        r = nj_buf_printf(text, err, "cannot change to the directory %s: %s",
                          share->text + share->cwd_at, why);
        break;
    case NJ_INIT_EXEC:
        r = nj_buf_printf(text, err, "cannot run %s: %s", share->text + share->args_at[0], why);
        break;
    case NJ_INIT_TAMPERED:
        r = nj_buf_printf(text, err,
                          "cannot mount at %s: %s; put a plain directory back in its place",
                          share->op < s->ops.n_call ? s->ops.call[share->op].target : "?", why);
        break;
    case NJ_INIT_SCRIPT:
        r = nj_buf_printf(text, err, "cannot write the script: %s", why);
        break;
    case NJ_INIT_NONE:
    case NJ_INIT_NAMES:
    case NJ_INIT_JOIN:
    case NJ_INIT_CGROUP:
    case NJ_INIT_PRIVATE:
    case NJ_INIT_ROOT:
    case NJ_INIT_OPEN_OP:
    case NJ_INIT_PIVOT:
    case NJ_INIT_WORKSPACE:
    case NJ_INIT_PRIVILEGES:
    case NJ_INIT_CLONE:
    case NJ_INIT_CALL_OP:
    case NJ_INIT_FORK:
    default:
        return nj_fail_errno(err, share->sys_errno, "call: %s%s%s",
                             nj_init_stage_text((enum nj_init_stage)share->stage),
                             share->stage == NJ_INIT_CALL_OP ? " at " : "",
                             share->stage == NJ_INIT_CALL_OP && share->op < s->ops.n_call
                                 ? s->ops.call[share->op].target
                                 : "");
    }
    if (r < 0)
        return r;
    outcome->exit = NJ_EXIT_REFUSED;
    outcome->text = nj_buf_span(text);
    return 0;
}

static int judge_exit(struct nj_running *call, struct nj_call_outcome *outcome, struct nj_buf *text,
                      struct nj_error *err)
{
    const struct nj_init_share *share = call->supervisor->share;
    int status = share->status;

    if (share->stage != NJ_INIT_NONE && call->killed_ns == 0)
        return refuse(call, outcome, text, err);
    if (share->ended && WIFEXITED(status)) {
        outcome->exit = NJ_EXIT_EXITED;
        outcome->status = WEXITSTATUS(status);
    } else {
        outcome->exit = NJ_EXIT_SIGNALLED;
        outcome->status = share->ended && WIFSIGNALED(status) ? WTERMSIG(status) : SIGKILL;
    }
    return 0;
}

static uint64_t cpu_ms(const struct nj_running *call)
{
    uint64_t cgroup_ns = nj_cgroup_cpu_ns(&call->supervisor->setup->cgroup);

    if (cgroup_ns > call->cpu_ns_before)
        return (cgroup_ns - call->cpu_ns_before) / NJ_NS_PER_MS;
    return call->supervisor->share->cpu_us / 1000;
}

/* send_result - heads and tails within the message, or beside it in a memfd */
static int send_result(struct nj_running *call, struct nj_msg *msg,
                       struct nj_supervisor_objects *objects, struct nj_error *err)
{
    const struct nj_call_outcome *outcome = &msg->called.outcome;
    const struct nj_span spans[4] = {outcome->out.head, outcome->out.tail, outcome->errors.head,
                                     outcome->errors.tail};
    NJ_AUTO(nj_buf_done) struct nj_buf all = {0};
    nj_auto_close int spill_fd = -1;
    size_t n_fds = 0;
    int fds[2], r;

    nj_buf_init(&all, 4 * (size_t)NJ_BOX_STREAM_MAX_BYTES);
    msg->called.spilled =
        spans[0].len + spans[1].len + spans[2].len + spans[3].len > NJ_MSG_INLINE_MAX_BYTES;
    for (size_t i = 0; msg->called.spilled && i < 4; i++) {
        r = nj_buf_append(&all, spans[i].data, spans[i].len, err);
        if (r < 0)
            return r;
    }
    if (msg->called.spilled) {
        r = nj_msg_memfd("nj-output", nj_buf_span(&all), &spill_fd, err);
        if (r < 0)
            return r;
        fds[n_fds++] = spill_fd;
    }
    if (objects->bytes > 0) {
        r = nj_msg_seal(objects->fd, err);
        if (r < 0)
            return r;
        msg->called.objects_bytes = objects->bytes;
        fds[n_fds++] = objects->fd;
    }
    return nj_supervisor_send(call->supervisor, msg, fds, n_fds, err);
}

/* holds_files - a unix socket outlived the call's processes: it is in a cycle of descriptors sent,
 * which the kernel collects some day, and of files open in there it has told nothing yet */
static bool holds_files(const struct nj_supervisor *s)
{
    char text[256];
    ssize_t n = pread(s->sockets_fd, text, sizeof(text), 0);
    const char *end = n > 0 ? memchr(text, '\n', (size_t)n) : NULL; /* of the heading */

    return !end || end + 1 < text + n;
}

int nj_running_finish(struct nj_running *call, struct nj_error *err)
{
    struct nj_supervisor *s = call->supervisor;
    struct nj_msg msg = {.kind = NJ_MSG_CALLED};
    struct nj_call_outcome *outcome = &msg.called.outcome;
    struct nj_supervisor_objects objects = {.fd = -1};
    const struct nj_object_sink sink = {nj_supervisor_put, &objects};
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_workspace_capture capture;
    int r;

    nj_buf_init(&text, 8192);
    r = judge_exit(call, outcome, &text, err);
    if (r >= 0)
        r = nj_output_finish(&call->streams[0], &outcome->out, err);
    if (r >= 0)
        r = nj_output_finish(&call->streams[1], &outcome->errors, err);
    if (r < 0)
        return r;
    nj_stat_end(s->virtual);
    msg.called.meta.duration_ms = (uint64_t)((call->ended_ns - call->started_ns) / NJ_NS_PER_MS);
    msg.called.meta.cpu_ms = cpu_ms(call);
    if (holds_files(s)) /* asked first: what is let go meanwhile is told */
        nj_changes_lose(s->changes);
    nj_changes_drain(s->changes);
    r = nj_workspace_capture(s->workspace, &sink, &capture, err);
    if (r >= 0 && capture.times_lost)
        nj_virtual_lower(s->virtual, 1, NJ_LOWERED_TIMES);
    if (r >= 0)
        r = nj_programs_tell(s->virtual, &sink, &msg.called.meta, err);
    nj_virtual_end(s->virtual, &msg.called.meta);
    s->clock_ns = msg.called.meta.clock_ns;
    s->files.now_ns = &s->clock_ns;
    if (r >= 0) {
        judge_limits(call, &capture, &msg);
        outcome->tree = capture.ref.tree;
        msg.called.meta.stamps = capture.ref.stamps;
        msg.called.files_hashed = capture.files_hashed;
        r = send_result(call, &msg, &objects, err);
    }
    nj_close_auto(&objects.fd);
    return r;
}

int nj_running_refuse(struct nj_running *call, const char *place, struct nj_error *err)
{
    struct nj_init_share *share = call->supervisor->share;
    const struct nj_ops *ops = &call->supervisor->ops;

    for (size_t i = 0; i < ops->n_call; i++) {
        if (strcmp(ops->call[i].target + 1, place) == 0)
            share->op = (uint32_t)i;
    }
    share->sys_errno = ENOTDIR;
    share->stage = NJ_INIT_TAMPERED;
    call->ended_ns = call->started_ns;
    return nj_running_finish(call, err);
}
