/*
 * call.c - one call: start it, carry its output, keep its limits
 *
 * The complication is the end. A payload's descendants may hold the pipes, and a
 * killed payload leaves them full; but init says "over" only when no process of the call exists any
 * more, so then whatever is left in the pipes is all there is.
 */
#include "batch/sandbox/call_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "batch/sandbox/virtual/order.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define LIVE_AFTER_MS 250 /* shorter calls send their output once, at the end */
#define WATCH_EVERY_MS 100
#define WATCH_LEAST_MS 4
#define WATCH_BYTES_PER_MS (UINT64_C(4) << 20) /* no faster can a box of this size claim memory */
/* A queue of changes is not full sooner; short calls are drained once, at the end. */
#define DRAIN_EVERY_MS 20
#define KILL_TIMEOUT_MS 20000 /* from the kill to "over"; beyond, the box is given up */

static int64_t now_ns(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* read_outputs - so that whoever writes next finds room */
static void read_outputs(void *ctx)
{
    struct nj_running *call = ctx;

    for (int i = 0; i < 2; i++) {
        if (call->streams[i].fd >= 0)
            (void)!nj_output_read(&call->streams[i]); /* its end is the loop's to find */
    }
}

static uint64_t read_all(void *ctx, int output)
{
    struct nj_output *stream = &((struct nj_running *)ctx)->streams[output];

    nj_output_empty(stream);
    return stream->bytes;
}

static int start(struct nj_running *call, const struct nj_msg_in *in, struct nj_error *err)
{
    struct nj_supervisor *s = call->supervisor;
    const struct nj_init_word word = {'C', s->share->number};
    int fds[4] = {s->null_fd, -1, -1, -1};
    size_t n_fds = 3, next = 0;
    int writing[2] = {-1, -1}, r = 0;

    if (in->n_fds != (size_t)in->msg.call.has_script + (size_t)in->msg.call.has_input)
        return nj_fail(err, NJ_E_CORRUPT, "call: %zu descriptors", in->n_fds);
    if (in->msg.call.has_script) {
        fds[3] = in->fds[next++];
        n_fds = 4;
    }
    if (in->msg.call.has_input)
        fds[0] = in->fds[next];
    for (int i = 0; r >= 0 && i < 2; i++) {
        int ends[2];

        if (pipe2(ends, O_CLOEXEC) < 0) {
            r = nj_fail_errno(err, errno, "call: pipe");
            break;
        }
        call->streams[i].fd = ends[0];
        writing[i] = ends[1];
        fds[1 + i] = ends[1];
        if (fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
            r = nj_fail_errno(err, errno, "call: fcntl");
    }
    if (r >= 0)
        r = nj_order_begin(
            s->virtual,
            &(struct nj_order_outputs){
                {call->streams[0].fd, call->streams[1].fd}, read_outputs, read_all, call},
            err);
    if (r >= 0)
        r = nj_fsio_sendmsg(s->call_fd, &word, sizeof(word), fds, n_fds, err);
    for (int i = 0; i < 2; i++)
        nj_close_auto(&writing[i]);
    return r;
}

/* ---- while it runs ---- */

static void kill_call(struct nj_running *call)
{
    const struct nj_init_word word = {'K', call->supervisor->share->number};
    struct nj_error ignored; /* when init is gone, the loop sees that next */

    if (call->killed_ns != 0 || call->over)
        return;
    call->killed_ns = now_ns(CLOCK_MONOTONIC);
    (void)!nj_fsio_sendmsg(call->supervisor->init_fd, &word, sizeof(word), NULL, 0, &ignored);
}

static void strike(struct nj_running *call, enum nj_limit limit, uint64_t used)
{
    if (call->killed_ns != 0)
        return;
    call->limit = limit;
    call->limit_used = used;
    kill_call(call);
}

static void strike_deadline(struct nj_running *call, int64_t now)
{
    uint64_t used_ms = (uint64_t)((now - call->started_ns) / NJ_NS_PER_MS);
    const struct nj_box_call *request = call->request;

    if (request->runtime_left_ms < request->timeout_ms) {
        uint64_t before = request->runtime_limit_ms > request->runtime_left_ms
                              ? request->runtime_limit_ms - request->runtime_left_ms
                              : 0;

        strike(call, NJ_LIMIT_RUNTIME, before + used_ms);
    } else {
        strike(call, NJ_LIMIT_TIMEOUT, used_ms);
    }
}

/* watch_processes - where no cgroup bounds them: what the box's processes hold */
static void watch_processes(struct nj_running *call, struct nj_watch *seen)
{
    nj_watch_read(call->supervisor->proc_fd, call->supervisor->init_pid, seen);
    if (seen->processes >= NJ_CGROUP_OVERHEAD_PROCESSES)
        seen->processes -= NJ_CGROUP_OVERHEAD_PROCESSES;
}

/* watch_memory - by the box's cgroup, in which the workspace's pages count as well, apart from
 * those that a restore brought: they were charged to us. So this says too little rather than too
 * much, and all that is missing is bounded by the kernel's limit. */
static uint64_t watch_memory(const struct nj_running *call)
{
    uint64_t held = nj_cgroup_memory_held(&call->supervisor->setup->cgroup);
    uint64_t workspace = nj_workspace_memory(call->supervisor->workspace);

    return held > workspace ? held - workspace : 0;
}

/* watch - the limits that the kernel does not keep by itself, and how soon to look again */
static void watch(struct nj_running *call)
{
    const struct nj_box_plan *plan = call->supervisor->setup->plan;
    const struct nj_cgroup *cgroup = &call->supervisor->setup->cgroup;
    uint64_t pause_ms = WATCH_EVERY_MS;
    struct nj_watch seen = {0};

    if (call->supervisor->proc_fd >= 0)
        watch_processes(call, &seen);
    if (cgroup->memory_usage_fd >= 0) {
        seen.memory_bytes = watch_memory(call);
        if (seen.memory_bytes < plan->max_memory_bytes)
            pause_ms = (plan->max_memory_bytes - seen.memory_bytes) / WATCH_BYTES_PER_MS;
    }
    if (seen.memory_bytes > call->watched_memory)
        call->watched_memory = seen.memory_bytes;
    if (seen.processes > call->watched_processes)
        call->watched_processes = seen.processes;
    if (seen.memory_bytes > plan->max_memory_bytes)
        strike(call, NJ_LIMIT_MEMORY, seen.memory_bytes);
    else if (seen.socket_bytes > plan->max_memory_bytes)
        strike(call, NJ_LIMIT_MEMORY, seen.socket_bytes);
    else if (nj_cgroup_oom_kills(cgroup) > call->oom_kills_before)
        strike(call, NJ_LIMIT_MEMORY, nj_cgroup_memory_peak(cgroup)); /* of v1: half a pipeline */
    else if (seen.processes > plan->max_processes)
        strike(call, NJ_LIMIT_PROCESSES, seen.processes);
    if (pause_ms > WATCH_EVERY_MS)
        pause_ms = WATCH_EVERY_MS;
    if (pause_ms < WATCH_LEAST_MS)
        pause_ms = WATCH_LEAST_MS;
    call->next_watch_ns = now_ns(CLOCK_MONOTONIC) + (int64_t)pause_ms * NJ_NS_PER_MS;
}

/* first_watch_ms - an empty box of this size cannot pass its limit before */
static uint64_t first_watch_ms(const struct nj_running *call)
{
    uint64_t ms = call->supervisor->setup->plan->max_memory_bytes / WATCH_BYTES_PER_MS;

    return ms < WATCH_LEAST_MS ? WATCH_LEAST_MS : ms > WATCH_EVERY_MS ? WATCH_EVERY_MS : ms;
}

static bool is_watched(const struct nj_running *call)
{
    const struct nj_supervisor *s = call->supervisor;

    return s->proc_fd >= 0 || s->setup->cgroup.memory_usage_fd >= 0;
}

/* send_pieces - what of the heads the engine has not seen; stops when its socket is full */
static int send_pieces(struct nj_running *call, struct nj_error *err)
{
    for (int i = 0; i < 2; i++) {
        struct nj_output *stream = &call->streams[i];

        while (stream->sent < stream->head_len) {
            size_t len = stream->head_len - stream->sent;
            struct nj_msg msg = {.kind = NJ_MSG_OUTPUT, .output.stream = i + 1};
            int r;

            if (len > NJ_MSG_PIECE_MAX_BYTES)
                len = NJ_MSG_PIECE_MAX_BYTES;
            msg.output.piece = (struct nj_span){stream->head + stream->sent, len};
            r = nj_msg_send(call->supervisor->engine_fd, &msg, NULL, 0, err);
            if (r != 0)
                return r < 0 ? r : 0;
            stream->sent += len;
        }
    }
    return 0;
}

static int wait_ms(const struct nj_running *call, int64_t now, bool unsent)
{
    int64_t until = call->killed_ns ? call->killed_ns + (int64_t)KILL_TIMEOUT_MS * NJ_NS_PER_MS
                                    : call->deadline_ns;

    if (is_watched(call) && !call->killed_ns && call->next_watch_ns < until)
        until = call->next_watch_ns;
    if (now < call->next_drain_ns && call->next_drain_ns < until)
        until = call->next_drain_ns;
    if (unsent && now - call->started_ns < (int64_t)LIVE_AFTER_MS * NJ_NS_PER_MS &&
        call->started_ns + (int64_t)LIVE_AFTER_MS * NJ_NS_PER_MS < until)
        until = call->started_ns + (int64_t)LIVE_AFTER_MS * NJ_NS_PER_MS;
    if (until <= now)
        return 0;
    if (until - now > (int64_t)60000 * NJ_NS_PER_MS)
        return 60000;
    return (int)((until - now + NJ_NS_PER_MS - 1) / NJ_NS_PER_MS);
}

static int hear_engine(struct nj_running *call, struct nj_error *err)
{
    static struct nj_msg_in in; /* large */
    int r = nj_msg_receive(call->supervisor->engine_fd, &in, err);

    if (r == 1)
        return 0;
    if (r == 2)
        return nj_fail(err, NJ_E_CANCELLED, "call: the engine closed the box");
    if (r < 0)
        return r;
    nj_msg_in_done(&in);
    if (in.msg.kind != NJ_MSG_CANCEL)
        return nj_fail(err, NJ_E_CORRUPT, "call: a \"%s\" message during a call",
                       nj_msg_kind_text(in.msg.kind));
    if (call->killed_ns == 0) {
        call->cancelled = true;
        kill_call(call);
    }
    return 0;
}

/* out_of_memory - memory was out, and the kernel ended the box's cgroup as a whole, init with it.
 * The workspace is still ours to read, so the call gets its result; the box is at its end, which
 * serve() finds next. */
static bool out_of_memory(struct nj_running *call)
{
    const struct nj_cgroup *cgroup = &call->supervisor->setup->cgroup;
    const struct timespec pause = {0, NJ_NS_PER_MS};

    if (nj_cgroup_oom_kills(cgroup) <= call->oom_kills_before)
        return false;
    strike(call, NJ_LIMIT_MEMORY, nj_cgroup_memory_peak(cgroup));
    /* Its socket closed before the last of its processes ended; these may still write. */
    for (int ms = 0; ms < KILL_TIMEOUT_MS; ms++) {
        nj_virtual_stopped(call->supervisor->virtual); /* init waits for those that we trace */
        if (waitpid(call->supervisor->init_pid, NULL, WNOHANG | __WALL) != 0)
            return true;
        (void)nanosleep(&pause, NULL);
    }
    return false;
}

static int hear_init(struct nj_running *call, struct nj_error *err)
{
    struct nj_supervisor *s = call->supervisor;
    struct nj_init_word word;

    if (nj_supervisor_hear_init(s, &word)) {
        if (word.word != 'D' || word.call != s->share->number)
            return 0; /* the last one, once more */
    } else if (!out_of_memory(call)) {
        return nj_fail(err, NJ_E_UPSTREAM, "the box was lost: its init ended during a call");
    }
    s->prepared = false;
    call->over = true;
    call->ended_ns = now_ns(CLOCK_MONOTONIC);
    return 0;
}

static int check_time(struct nj_running *call, int64_t now, struct nj_error *err)
{
    if (call->killed_ns != 0) {
        if (now - call->killed_ns > (int64_t)KILL_TIMEOUT_MS * NJ_NS_PER_MS)
            return nj_fail(err, NJ_E_UPSTREAM,
                           "the box was lost: a call did not end %d s after it was killed",
                           KILL_TIMEOUT_MS / 1000);
        return 0;
    }
    if (now >= call->deadline_ns) {
        strike_deadline(call, now);
    } else if (is_watched(call) && now >= call->next_watch_ns) {
        watch(call);
    }
    return 0;
}

static int run(struct nj_running *call, struct nj_error *err)
{
    struct nj_supervisor *s = call->supervisor;

    while (!call->over) {
        bool unsent = call->streams[0].sent < call->streams[0].head_len ||
                      call->streams[1].sent < call->streams[1].head_len;
        int64_t now = now_ns(CLOCK_MONOTONIC);
        bool live = now - call->started_ns >= (int64_t)LIVE_AFTER_MS * NJ_NS_PER_MS;
        struct pollfd polled[8] = {
            {s->init_fd, POLLIN, 0},
            {s->engine_fd, (short)(POLLIN | (unsent && live ? POLLOUT : 0)), 0},
            {call->streams[0].fd, POLLIN, 0},
            {call->streams[1].fd, POLLIN, 0},
            {now >= call->next_drain_ns ? nj_changes_fd(s->changes) : -1, POLLIN, 0},
            {s->files.fd, POLLIN, 0},
            {s->virtual->listener_fd < 0 ? s->virtual->socket_fd : -1, POLLIN, 0},
            {s->virtual->listener_fd, POLLIN, 0},
        };
        int r;

        r = nj_virtual_poll(s->virtual, polled, 8, wait_ms(call, now, unsent), err);
        if (r < 0)
            return r;
        if (polled[6].revents)
            nj_virtual_listen(s->virtual);
        nj_virtual_serve(s->virtual, polled[7].revents);
        if (polled[5].revents)
            nj_files_serve(&s->files);
        for (int i = 0; i < 2; i++) {
            struct nj_output *stream = &call->streams[i];

            if (polled[2 + i].revents && !nj_output_read(stream)) {
                (void)close(stream->fd);
                stream->fd = -1;
            }
        }
        r = polled[0].revents ? hear_init(call, err) : 0;
        if (r >= 0 && polled[1].revents & (POLLIN | POLLHUP))
            r = hear_engine(call, err);
        if (r < 0)
            return r;
        now = now_ns(CLOCK_MONOTONIC);
        if (polled[4].revents) {
            nj_changes_drain(s->changes);
            call->next_drain_ns = now + (int64_t)DRAIN_EVERY_MS * NJ_NS_PER_MS;
        }
        if (!call->over && now - call->started_ns >= (int64_t)LIVE_AFTER_MS * NJ_NS_PER_MS) {
            r = send_pieces(call, err);
            if (r < 0)
                return r;
        }
        r = check_time(call, now, err);
        if (r < 0)
            return r;
    }
    nj_output_drain(&call->streams[0]);
    nj_output_drain(&call->streams[1]);
    return 0;
}

/* begin_files - whose clock dates them; where the host has no virtual one, that of the record,
 * which then only changes move */
static void begin_files(struct nj_running *call)
{
    struct nj_supervisor *s = call->supervisor;
    struct nj_times *times = nj_workspace_times(s->workspace);
    struct nj_virtual_files files = {.times = times, .changes = s->changes, .box_ns = s->made_ns};
    struct nj_times_clock clock;

    s->clock_ns = call->request->clock_ns;
    clock = s->virtual->page ? nj_virtual_file_clock(s->virtual)
                             : nj_times_simple_clock(&s->clock_ns);
    nj_workspace_begin(s->workspace, &clock);
    nj_programs_begin(s->virtual, nj_workspace_device(s->workspace), !s->setup->plan->rootfs);
    if (!times || s->virtual->level < NJ_LEVEL_FILE_TIMES)
        return;
    files.device = nj_workspace_device(s->workspace);
    nj_stat_begin(s->virtual, &files);
}

static int begin(struct nj_running *call, const struct nj_msg_in *in, struct nj_error *err)
{
    struct nj_supervisor *s = call->supervisor;
    const struct nj_cgroup *cgroup = &s->setup->cgroup;
    uint64_t allowed_ms = call->request->timeout_ms < call->request->runtime_left_ms
                              ? call->request->timeout_ms
                              : call->request->runtime_left_ms;
    size_t index;
    int r;

    if (allowed_ms > (uint64_t)INT64_MAX / NJ_NS_PER_MS / 2)
        allowed_ms = (uint64_t)INT64_MAX / NJ_NS_PER_MS / 2;
    for (int i = 0; i < 2; i++) {
        r = nj_output_init(&call->streams[i], call->request, err);
        if (r < 0)
            return r;
    }
    r = nj_running_fill(call, err);
    if (r >= 0)
        r = nj_virtual_begin(s->virtual, call->request, err);
    if (r < 0)
        return r;
    if (s->virtual->level > 0 && s->files.fd < 0)
        nj_virtual_lower(s->virtual, 0, NJ_LOWERED_DEVICES);
    nj_files_begin(&s->files, call->request,
                   s->virtual->page ? &s->virtual->page->now_ns : &s->clock_ns);
    nj_cgroup_memory_peak_reset(cgroup);
    call->oom_kills_before = nj_cgroup_oom_kills(cgroup);
    call->refusals_before = nj_cgroup_fork_refusals(cgroup);
    call->cpu_ns_before = nj_cgroup_cpu_ns(cgroup);
    call->started_ns = now_ns(CLOCK_MONOTONIC);
    call->deadline_ns = call->started_ns + (int64_t)allowed_ms * NJ_NS_PER_MS;
    call->next_drain_ns = call->started_ns + (int64_t)DRAIN_EVERY_MS * NJ_NS_PER_MS;
    call->next_watch_ns = call->started_ns + (int64_t)first_watch_ms(call) * NJ_NS_PER_MS;
    begin_files(call);
    r = nj_workspace_place(s->workspace, s->ops.places, s->ops.n_places, &index, err);
    if (r < 0)
        return r;
    s->placed = r == 0;
    if (r > 0)
        return nj_running_refuse(call, s->ops.places[index].path, err);
    r = start(call, in, err);
    if (r >= 0)
        r = run(call, err);
    if (r >= 0)
        r = nj_running_finish(call, err);
    return r;
}

int nj_supervisor_call(struct nj_supervisor *supervisor, struct nj_msg_in *in, struct nj_error *err)
{
    struct nj_running call = {.supervisor = supervisor,
                              .request = &in->msg.call.call,
                              .streams = {{.fd = -1}, {.fd = -1}}};
    int r;

    r = begin(&call, in, err);
    nj_output_done(&call.streams[0]);
    nj_output_done(&call.streams[1]);
    return r;
}
