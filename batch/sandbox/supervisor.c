/*
 * supervisor.c - setting a box up, and serving its engine
 *
 * The complication is the order in which privileges go. Root first, before any namespace exists;
 * then init is cloned and mapped by a process that owns nothing but its own uid; then the box's
 * user namespace is joined, whose capabilities reach only what belongs to the box; last come
 * chroot, no_new_privs and the filter.
 */
#include "batch/sandbox/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "batch/sandbox/objects.h"
#include "batch/sandbox/output.h"
#include "batch/sandbox/probe.h"
#include "formats/base/fault.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define BUILD_TIMEOUT_MS 30000
/* An engine that has work for a box, or closes it, does so sooner: then nothing is prepared. */
#define PREPARE_AFTER_MS 1
#define NAMESPACES                                                                                 \
    (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
#define BACKSTOP_PROCESSES 8 /* of ours that RLIMIT_NPROC counts too, and some air */

/* Inside the box's user namespace: files of any mode, and reading /proc of what runs there. */
#define KEPT_CAPS                                                                                  \
    (UINT64_C(1) << CAP_DAC_OVERRIDE | UINT64_C(1) << CAP_DAC_READ_SEARCH |                        \
     UINT64_C(1) << CAP_FOWNER | UINT64_C(1) << CAP_FSETID | UINT64_C(1) << CAP_KILL |             \
     UINT64_C(1) << CAP_SYS_PTRACE)

static int set_caps(uint64_t caps, struct nj_error *err)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)caps, (uint32_t)caps, 0},
        {(uint32_t)(caps >> 32), (uint32_t)(caps >> 32), 0},
    };

    if (syscall(SYS_capset, &header, data) < 0)
        return nj_fail_errno(err, errno, "box: capset");
    return 0;
}

/* become - the box's own host uid, without groups and capabilities */
static int become(uid_t uid, struct nj_error *err)
{
    if (uid != (uid_t)-1) {
        if (setgroups(0, NULL) < 0)
            return nj_fail_errno(err, errno, "box: setgroups");
        if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
            return nj_fail_errno(err, errno, "box: become uid %u", uid);
    }
    return set_caps(0, err);
}

static int write_proc(int proc_fd, pid_t pid, const char *file, const char *text,
                      struct nj_error *err)
{
    nj_auto_close int fd = -1;
    char name[64];

    (void)snprintf(name, sizeof(name), "%d/%s", pid, file); /* fits: a pid and a literal */
    fd = openat(proc_fd, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return nj_fail_errno(err, errno, "box: open /proc/%s", name);
    if (write(fd, text, strlen(text)) < 0)
        return nj_fail_errno(err, errno, "box: write \"%s\" to /proc/%s", text, name);
    return 0;
}

static int map_ids(int proc_fd, pid_t pid, struct nj_error *err)
{
    char uid_map[64], gid_map[64];
    int r;

    (void)snprintf(uid_map, sizeof(uid_map), "%d %u 1", NJ_BOX_UID, geteuid());
    (void)snprintf(gid_map, sizeof(gid_map), "%d %u 1", NJ_BOX_GID, getegid());
    r = write_proc(proc_fd, pid, "setgroups", "deny", err);
    if (r >= 0)
        r = write_proc(proc_fd, pid, "uid_map", uid_map, err);
    if (r >= 0)
        r = write_proc(proc_fd, pid, "gid_map", gid_map, err);
    return r;
}

/* A box is the first thing to go when memory ends; what it is made of inherits this at clone. */
static void set_oom_adjustment(int proc_fd, const char *value)
{
    struct nj_error ignored; /* a host that forbids it keeps its own order */

    (void)write_proc(proc_fd, getpid(), "oom_score_adj", value, &ignored);
}

static int make_share(struct nj_init_share **ret_share, struct nj_error *err)
{
    void *memory = mmap(NULL, sizeof(struct nj_init_share), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return nj_fail_errno(err, errno, "box: map the shared page");
    *ret_share = memory;
    return 0;
}

static int make_pair(int *ret_ours, int *ret_theirs, struct nj_error *err)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return nj_fail_errno(err, errno, "box: socketpair");
    *ret_ours = pair[0];
    *ret_theirs = pair[1];
    return 0;
}

/* bound_init - into the box's cgroup of v2, while it builds: that takes the kernel a third of what
 * a box takes. One that failed meanwhile has said why. */
static int bound_init(struct nj_supervisor *s, int init_fd, struct nj_error *err)
{
    int r = nj_cgroup_move(&s->setup->cgroup, s->init_pid, err);
    char byte;

    if (r >= 0 && send(init_fd, "C", 1, MSG_NOSIGNAL) != 1)
        r = nj_fail_errno(err, errno, "box: let init finish");
    if (r < 0 && recv(init_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
        return 0;
    return r;
}

static int clone_init(struct nj_supervisor *s, int proc_fd, const char *stage_dir,
                      struct nj_error *err)
{
    const struct nj_box_plan *plan = s->setup->plan;
    nj_auto_close int ours = -1, theirs = -1, our_call = -1, their_call = -1, pid_fd = -1;
    struct nj_init init;
    char sockets[32];
    int r;

    r = make_pair(&ours, &theirs, err);
    if (r >= 0)
        r = make_pair(&our_call, &their_call, err);
    if (r < 0)
        return r;
    init = (struct nj_init){
        .socket_fd = theirs,
        .call_fd = their_call,
        .alive_fd = s->setup->alive_fd,
        .stage_dir = stage_dir,
        .ops = &s->ops,
        .filter = s->setup->payload_filter,
        .hostname = plan->hostname,
        .level = plan->level,
        .limits = {2 * plan->max_size_bytes, plan->max_processes + BACKSTOP_PROCESSES,
                   s->proc_fd >= 0 ? plan->max_memory_bytes : 0},
        .share = s->share,
        .cgroup = s->setup->cgroup,
    };
    init.cgroup.procs_fd = -1; /* that is ours to write to */
    set_oom_adjustment(proc_fd, "1000");
    s->init_pid = (pid_t)syscall(SYS_clone, NAMESPACES | SIGCHLD, NULL, NULL, NULL, NULL);
    if (s->init_pid == 0)
        nj_init_run(&init);
    r = errno;
    set_oom_adjustment(proc_fd, "0");
    if (s->init_pid < 0)
        return nj_probe_explain(err, NJ_PROBE_NAMESPACES, r);
    r = map_ids(proc_fd, s->init_pid, err);
    if (r >= 0 && plan->max_cpu_micro > 0 && !s->setup->cgroup.cpu_bounded)
        r = nj_limits_place(s->init_pid, plan->max_cpu_micro, err);
    if (r < 0)
        return r;
    pid_fd = (int)syscall(SYS_pidfd_open, s->init_pid, 0);
    if (pid_fd < 0 || setns(pid_fd, CLONE_NEWUSER) < 0)
        return nj_fail_errno(err, errno, "box: join its user namespace");
    (void)snprintf(sockets, sizeof(sockets), "%d/net/unix", (int)s->init_pid); /* fits */
    s->sockets_fd = openat(proc_fd, sockets, O_RDONLY | O_CLOEXEC);
    if (send(ours, "G", 1, MSG_NOSIGNAL) != 1)
        return nj_fail_errno(err, errno, "box: let init go on");
    r = bound_init(s, ours, err);
    if (r < 0)
        return r;
    s->init_fd = nj_steal_fd(&ours);
    s->call_fd = nj_steal_fd(&our_call);
    return 0;
}

static int explain_failure(struct nj_supervisor *s, struct nj_error *err)
{
    enum nj_init_stage stage = (enum nj_init_stage)s->share->stage;
    int errnum = s->share->sys_errno;

    if (stage == NJ_INIT_OPEN_OP && s->share->op < s->ops.n_open) {
        const struct nj_op *op = &s->ops.open[s->share->op];
        NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
        struct nj_error ignored;

        if (op->kind == NJ_OP_PROC)
            return nj_probe_explain(err, NJ_PROBE_PROC, errnum);
        nj_buf_init(&text, 4096);
        (void)!nj_op_text(op, &text, &ignored);
        return nj_fail_errno(err, errnum, "box: %s: %s", nj_init_stage_text(stage),
                             text.data ? (const char *)text.data : "?");
    }
    return nj_fail_errno(err, errnum, "box: %s", nj_init_stage_text(stage));
}

/* await_init - *ret_files_fd and *ret_changes_fd stay -1 where the kernel gives none */
static int await_init(struct nj_supervisor *s, int *ret_workspace_fd, int *ret_files_fd,
                      int *ret_changes_fd, struct nj_error *err)
{
    struct pollfd polled = {s->init_fd, POLLIN, 0};
    int fds[3] = {-1, -1, -1}, r;
    size_t n_fds = 3, len, next = 1;
    char byte;

    do {
        r = poll(&polled, 1, BUILD_TIMEOUT_MS);
    } while (r < 0 && errno == EINTR);
    if (r == 0)
        return nj_fail(err, NJ_E_SYSTEM, "box: init was not ready after %d s",
                       BUILD_TIMEOUT_MS / 1000);
    r = nj_fsio_recvmsg(s->init_fd, &byte, 1, &len, fds, &n_fds, err);
    if (r < 0)
        return nj_wrap(err, "box: init");
    if (len == 1 && byte == 'F')
        return explain_failure(s, err);
    if (len != 1 || (byte != 'R' && byte != 'V') || n_fds < (byte == 'V' ? 2 : 1))
        return nj_fail(err, NJ_E_UPSTREAM, "box: init ended while it built the box");
    *ret_workspace_fd = fds[0];
    if (byte == 'V')
        *ret_files_fd = fds[next++];
    if (n_fds > next)
        *ret_changes_fd = fds[next];
    return 0;
}

/* confine - from here only what the filter lists, below the workspace's root */
static int confine(struct nj_supervisor *s, int workspace_fd, struct nj_error *err)
{
    int r;

    if (fchdir(workspace_fd) < 0 || chroot(".") < 0)
        return nj_fail_errno(err, errno, "box: make the workspace the supervisor's root");
    r = set_caps(KEPT_CAPS, err);
    if (r < 0)
        return r;
    /* After the last change of credentials, which would clear it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return nj_fail_errno(err, errno, "box: prctl");
    if (getppid() != s->setup->helper_pid)
        return nj_fail(err, NJ_E_CANCELLED, "box: the helper is gone");
    r = nj_filter_install(s->setup->supervisor_filter);
    if (r < 0)
        return nj_fail_errno(err, -r, "box: install the supervisor's filter");
    return 0;
}

/* first_places - what an empty box has. It is not captured here: the first call's capture sends all
 * of it. */
static int first_places(struct nj_supervisor *s, struct nj_error *err)
{
    size_t index;
    int r;

    r = nj_workspace_place(s->workspace, s->ops.places, s->ops.n_places, &index, err);
    s->placed = r == 0;
    return r > 0
               ? nj_fail(err, NJ_E_INPUT, "box: \"/%s\" cannot be made", s->ops.places[index].path)
               : r;
}

static int set_up(struct nj_supervisor *s, struct nj_arena *arena, struct nj_error *err)
{
    struct nj_supervisor_setup *setup = (struct nj_supervisor_setup *)(uintptr_t)s->setup;
    nj_auto_close int proc_fd = -1, workspace_fd = -1, changes_fd = -1, files_fd = -1;
    struct nj_changes *changes = NULL;
    const char *stage_dir;
    bool soft = setup->cgroup.memory_oom_fd < 0 || setup->cgroup.pids_events_fd < 0;
    int r;

    s->ops = *setup->ops;
    stage_dir = nj_arena_printf(arena, "%s/root", setup->store);
    if (!stage_dir)
        return nj_fail_nomem(err);
    s->made_ns = nj_virtual_now_ns(CLOCK_REALTIME_COARSE);
    proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    s->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (proc_fd < 0 || s->null_fd < 0)
        return nj_fail_errno(err, errno, "box: open /proc and /dev/null");
    if (soft)
        s->proc_fd = proc_fd;
    r = make_share(&s->share, err);
    if (r < 0)
        return r;
    r = become(setup->own_uid, err);
    if (r < 0)
        return r;
    /* The maps of a child are only writable while we, and so it, count as dumpable; setresuid ended
     * that. */
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
        return nj_fail_errno(err, errno, "box: prctl");
    r = clone_init(s, proc_fd, stage_dir, err);
    if (r < 0)
        return r;
    r = await_init(s, &workspace_fd, &files_fd, &changes_fd, err);
    if (r >= 0)
        r = nj_files_init(&s->files, nj_steal_fd(&files_fd), err);
    if (r >= 0)
        r = nj_changes_new(nj_steal_fd(&changes_fd), &changes, err);
    if (r < 0)
        return r;
    nj_cgroup_entered(&setup->cgroup);
    nj_close_auto(&setup->alive_fd); /* only init's and the reapers' copies count */
    setup->alive_fd = -1;
    r = nj_virtual_new(setup->plan, s->call_fd, &s->virtual, err);
    if (r < 0)
        return r;
    s->share->level = s->virtual->level;
    r = confine(s, workspace_fd, err);
    if (r < 0)
        return r;
    if (soft)
        (void)nj_steal_fd(&proc_fd); /* kept as s->proc_fd */
    s->changes = changes;
    r = nj_workspace_new(nj_steal_fd(&workspace_fd), setup->plan->max_size_bytes, changes,
                         &s->workspace, err);
    if (r < 0)
        return r;
    /* Each call makes its places; where a restore is to keep inode numbers, they must not come
     * before it. */
    if (setup->plan->level >= NJ_LEVEL_FILE_TIMES)
        return nj_workspace_reproduce(s->workspace, err);
    return first_places(s, err);
}

/* ---- serving ---- */

int nj_supervisor_send(struct nj_supervisor *s, const struct nj_msg *msg, const int *fds,
                       size_t n_fds, struct nj_error *err)
{
    for (;;) {
        int r = nj_msg_send(s->engine_fd, msg, fds, n_fds, err);
        struct pollfd polled = {s->engine_fd, POLLOUT, 0};

        if (r <= 0)
            return r;
        if (poll(&polled, 1, -1) < 0 && errno != EINTR)
            return nj_fail_errno(err, errno, "box: poll");
        if (polled.revents & (POLLHUP | POLLERR))
            return nj_fail(err, NJ_E_CANCELLED, "box: the engine is gone");
    }
}

static int send_failure(struct nj_supervisor *s, const struct nj_error *failed,
                        struct nj_error *err)
{
    struct nj_msg msg = {.kind = NJ_MSG_FAILED, .failed = *failed};

    return nj_supervisor_send(s, &msg, NULL, 0, err);
}

int nj_supervisor_put(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    struct nj_supervisor_objects *objects = ctx;
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    int r;

    if (objects->fd < 0) {
        r = nj_fsio_memfd("nj-objects", &objects->fd, err);
        if (r < 0)
            return r;
    }
    nj_buf_init(&buf, NJ_OBJECT_MAX_BYTES + 4096);
    r = nj_object_encode(object, &buf, err);
    if (r < 0)
        return r;
    r = nj_fsio_write(objects->fd, buf.data, buf.len, err);
    if (r < 0)
        return nj_wrap(err, "collect objects");
    objects->bytes += buf.len;
    return 0;
}

/* ---- a call prepared ahead ---- */

bool nj_supervisor_hear_init(struct nj_supervisor *s, struct nj_init_word *ret_word)
{
    return recv(s->init_fd, ret_word, sizeof(*ret_word), MSG_DONTWAIT) == sizeof(*ret_word);
}

/* rehearse - once, what reads a call and holds its output: we are a copy of our helper, and each
 * page that we touch for the first time costs a fault, some sixty of them in a first call. */
static void rehearse(void)
{
    static const char *const argv[] = {"true", NULL};
    const struct nj_msg msg = {.kind = NJ_MSG_CALL,
                               .call.call = {.argv = argv,
                                             .head_max_bytes = NJ_BOX_HEAD_BYTES,
                                             .tail_max_bytes = NJ_BOX_TAIL_BYTES}};
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_output streams[2] = {{.fd = -1}, {.fd = -1}};
    struct nj_stream told;
    struct nj_msg read;
    struct nj_error ignored; /* what fails here fails again in the call, which says so */

    nj_buf_init(&bytes, NJ_MSG_MAX_BYTES);
    if (nj_msg_encode(&msg, &bytes, &ignored) >= 0)
        (void)!nj_msg_decode(nj_buf_span(&bytes), &arena, &read, &ignored);
    for (int i = 0; i < 2; i++) {
        if (nj_output_init(&streams[i], &msg.call.call, &ignored) >= 0)
            (void)!nj_output_finish(&streams[i], &told, &ignored);
    }
    for (int i = 0; i < 2; i++)
        nj_output_done(&streams[i]);
}

/* prepare - have init mount what the next call needs, while nobody waits for it. It is ready for it
 * without this, too; so whether the word arrives does not matter. */
static void prepare(struct nj_supervisor *s)
{
    const struct nj_init_word word = {'P', 0};
    struct nj_error ignored;

    s->prepared = true;
    if (!s->rehearsed)
        rehearse();
    s->rehearsed = true;
    (void)!nj_fsio_sendmsg(s->init_fd, &word, sizeof(word), NULL, 0, &ignored);
}

/* unprepare - what was mounted ahead may be about directories that a restore replaces */
static int unprepare(struct nj_supervisor *s, struct nj_error *err)
{
    const int64_t until_ns =
        nj_virtual_now_ns(CLOCK_MONOTONIC) + (int64_t)BUILD_TIMEOUT_MS * 1000000;
    const struct nj_init_word asked = {'X', 0};
    struct nj_init_word word = {0, 0};
    int r;

    s->placed = false;
    if (!s->prepared)
        return 0;
    s->prepared = false;
    r = nj_fsio_sendmsg(s->init_fd, &asked, sizeof(asked), NULL, 0, err);
    while (r == 0 && word.word != 'X') { /* the end of the last call may be told once more */
        struct pollfd polled = {s->init_fd, POLLIN, 0};

        r = nj_virtual_poll(s->virtual, &polled, 1, BUILD_TIMEOUT_MS, err);
        nj_virtual_stopped(s->virtual); /* init waits for the payload, and that for us */
        if (r == 0 && (polled.revents ? !nj_supervisor_hear_init(s, &word)
                                      : nj_virtual_now_ns(CLOCK_MONOTONIC) > until_ns))
            return nj_fail(err, NJ_E_UPSTREAM, "the box was lost: its init did not answer");
    }
    nj_virtual_forget(s->virtual);
    return r;
}

/* ---- requests ---- */

static int restore(struct nj_supervisor *s, struct nj_msg_in *in, struct nj_error *err)
{
    NJ_AUTO(nj_objects_close) struct nj_objects objects = {0};
    size_t index;
    int r;

    if (in->n_fds != 1)
        return nj_fail(err, NJ_E_CORRUPT, "restore: no objects came along");
    r = nj_objects_open(&objects, nj_steal_fd(&in->fds[0]), err);
    if (r < 0)
        return nj_wrap(err, "restore");
    r = nj_workspace_restore(s->workspace, &in->msg.ref, &objects, err);
    if (r < 0)
        return nj_wrap(err, "restore");
    r = nj_workspace_place(s->workspace, s->ops.places, s->ops.n_places, &index, err);
    if (r > 0)
        return nj_fail(err, NJ_E_INPUT,
                       "restore: \"/%s\" is to be a directory but the workspace holds something "
                       "else there",
                       s->ops.places[index].path);
    s->placed = r == 0;
    return r;
}

/* answer - one request. Fails only when the box cannot go on. */
static int answer(struct nj_supervisor *s, struct nj_msg_in *in, struct nj_error *err)
{
    struct nj_msg done = {.kind = NJ_MSG_DONE};
    struct nj_error failed;

    switch (in->msg.kind) {
    case NJ_MSG_RESTORE:
        if (unprepare(s, err) < 0)
            return -(int)err->code;
        if (restore(s, in, &failed) < 0)
            return send_failure(s, &failed, err);
        return nj_supervisor_send(s, &done, NULL, 0, err);
    case NJ_MSG_CALL:
        return nj_supervisor_call(s, in, err);
    case NJ_MSG_SCAN:
        done = (struct nj_msg){.kind = NJ_MSG_SCANNED};
        if (nj_workspace_scan(s->workspace, &done.scanned.files, &done.scanned.misses, &failed) < 0)
            return send_failure(s, &failed, err);
        return nj_supervisor_send(s, &done, NULL, 0, err);
    case NJ_MSG_CANCEL:
        return 0; /* crossed the end of its call */
    case NJ_MSG_OPEN:
    case NJ_MSG_INPUT:
    case NJ_MSG_READY:
    case NJ_MSG_OPENED:
    case NJ_MSG_DONE:
    case NJ_MSG_FAILED:
    case NJ_MSG_OUTPUT:
    case NJ_MSG_CALLED:
    case NJ_MSG_SCANNED:
    case NJ_MSG_ROOTFS:
        break;
    }
    return nj_fail(err, NJ_E_CORRUPT, "box: a \"%s\" message is not for a supervisor",
                   nj_msg_kind_text(in->msg.kind));
}

/* hear_init - between calls it has nothing to say but that, and its end */
static int hear_init(struct nj_supervisor *s, struct nj_error *err)
{
    struct nj_init_word word;

    return nj_supervisor_hear_init(s, &word) && word.word == 'D'
               ? 0
               : nj_fail(err, NJ_E_UPSTREAM, "box: init ended");
}

static int serve(struct nj_supervisor *s, struct nj_error *err)
{
    static struct nj_msg_in in; /* large */

    for (;;) {
        struct pollfd polled[5] = {{s->engine_fd, POLLIN, 0},
                                   {s->init_fd, POLLIN, 0},
                                   {s->files.fd, POLLIN, 0},
                                   {s->virtual->socket_fd, POLLIN, 0},
                                   {s->virtual->listener_fd, POLLIN, 0}};
        bool idle = s->placed && !s->prepared, is_quiet = true;
        int r = nj_virtual_poll(s->virtual, polled, 5, idle ? PREPARE_AFTER_MS : -1, err);

        if (r < 0)
            return r;
        for (size_t i = 0; i < 5; i++)
            is_quiet = is_quiet && !polled[i].revents;
        if (idle && is_quiet)
            prepare(s);
        if (polled[1].revents) {
            r = hear_init(s, err);
            if (r < 0)
                return r;
        }
        if (polled[2].revents)
            nj_files_serve(&s->files);
        nj_virtual_serve(s->virtual, polled[4].revents); /* what is prepared waits for its call */
        if (polled[3].revents)
            nj_virtual_listen(s->virtual);
        if (!polled[0].revents)
            continue;
        r = nj_msg_receive(s->engine_fd, &in, err);
        if (r == 1)
            continue;
        if (r == 2)
            return 0; /* the engine closed the box */
        if (r < 0)
            return r;
        r = answer(s, &in, err);
        nj_msg_in_done(&in);
        if (r < 0)
            return r;
    }
}

void nj_supervisor_run(struct nj_supervisor_setup *setup)
{
    struct nj_supervisor s = {.setup = setup,
                              .engine_fd = setup->engine_fd,
                              .init_fd = -1,
                              .call_fd = -1,
                              .null_fd = -1,
                              .proc_fd = -1};
    struct nj_msg opened = {.kind = NJ_MSG_OPENED, .opened.pid = getpid()};
    struct nj_arena arena = {0};
    struct nj_error err, ignored;
    int r;

    nj_fault_init("supervisor");
    (void)prctl(PR_SET_NAME, "nj-box", 0, 0, 0);
    (void)umask(0); /* places and restored files get the modes they were given */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != setup->helper_pid)
        _exit(1);
    if (set_up(&s, &arena, &err) < 0) {
        (void)send_failure(&s, &err, &ignored); /* nobody left to tell when this fails too */
        _exit(1);
    }
    r = nj_supervisor_send(&s, &opened, NULL, 0, &err);
    if (r >= 0)
        r = serve(&s, &err);
    if (r < 0 && err.code != NJ_E_CANCELLED)
        (void)send_failure(&s, &err, &ignored);
    nj_fault_done();
    _exit(r < 0 ? 1 : 0);
}
