/*
 * helper.c - store, cgroups, supervisors
 *
 * The complication is the end of a box. A supervisor's death is not the end of the box's processes,
 * which the kernel kills a moment later; so a box's uid and cgroups are free only when its
 * supervisor was waited for *and* the last copy of the "alive" pipe, held by init and reapers
 * alone, is closed.
 */
#include "batch/sandbox/helper.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "batch/sandbox/fuse_device.h"
#include "batch/sandbox/kept_ops.h"
#include "batch/sandbox/probe.h"
#include "batch/sandbox/store.h"
#include "batch/sandbox/supervisor.h"
#include "formats/base/digest.h"
#include "formats/base/fault.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

/* What building boxes needs, of the initial user namespace or of the helper's own: mounts and
 * namespaces; as root also the uids of boxes, ending what runs as them, and their cgroups and
 * trees. */
#define KEPT_CAPS                                                                                  \
    (UINT64_C(1) << CAP_SYS_ADMIN | UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID |        \
     UINT64_C(1) << CAP_KILL | UINT64_C(1) << CAP_DAC_OVERRIDE | UINT64_C(1) << CAP_FOWNER)
#define SHUTDOWN_MS 10000
#define RETRY_MS 20
#define FILES_WANTED 8192

struct box {
    uint64_t number;
    pid_t pid;    /* of its supervisor; 0: waited for */
    int alive_fd; /* -1: all its processes are gone */
    uint32_t slot;
};

struct helper {
    int engine_fd;
    int engine_pid_fd; /* -1: gone already */
    int signal_fd;
    char group_name[128]; /* of cgroups: the run's name and our pid */
    const char *store;
    bool own_uids;
    struct nj_cgroups cgroups;
    struct nj_kept_ops kept_ops;
    struct nj_filter payload_filter;
    struct nj_filter soft_filter; /* of payloads whose memory no cgroup bounds */
    struct nj_filter supervisor_filter;
    struct box boxes[NJ_HELPER_BOXES_MAX];
    size_t n_boxes;
    bool slots[NJ_HELPER_BOXES_MAX];
};

/* ---- start ---- */

/* own_fds - 0 and 1 on /dev/null, 2 for the reports of sanitizers, @fd; nothing else of the
 * engine's */
static int own_fds(int fd, struct nj_error *err)
{
    nj_auto_close int null_fd = -1;

    assert(fd > 2);
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        return nj_fail_errno(err, errno, "helper: open /dev/null");
    if (dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0)
        return nj_fail_errno(err, errno, "helper: dup2");
    if (fcntl(2, F_GETFD) < 0 && dup2(null_fd, 2) < 0)
        return nj_fail_errno(err, errno, "helper: dup2");
    (void)close_range(3, (unsigned)fd - 1, 0);
    (void)close_range((unsigned)fd + 1, ~0u, 0);
    (void)nj_steal_fd(&null_fd); /* one of the three, or just closed with the others */
    return 0;
}

static int write_file(const char *path, const char *text, struct nj_error *err)
{
    nj_auto_close int fd = -1;

    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return nj_fail_errno(err, errno, "helper: open %s", path);
    if (write(fd, text, strlen(text)) < 0)
        return nj_fail_errno(err, errno, "helper: write %s", path);
    return 0;
}

/* A root that a container left without some rights: what would fail later is named now. */
static int check_rights(struct nj_error *err)
{
    static const struct {
        int number;
        const char *name;
    } wanted[] = {{CAP_SYS_ADMIN, "SYS_ADMIN"},
                  {CAP_SETUID, "SETUID"},
                  {CAP_SETGID, "SETGID"},
                  {CAP_KILL, "KILL"},
                  {CAP_DAC_OVERRIDE, "DAC_OVERRIDE"},
                  {CAP_FOWNER, "FOWNER"}};
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];

    if (syscall(SYS_capget, &header, data) < 0)
        return nj_fail_errno(err, errno, "helper: capget");
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        if (!(data[0].permitted & 1u << wanted[i].number))
            return nj_fail(err, NJ_E_SYSTEM,
                           "this root lacks CAP_%s: " NJ_PROBE_NO_BOX
                           ". Cure: start it as an ordinary user, whose boxes need a user "
                           "namespace and no right; or give the right (docker, podman: --cap-add "
                           "%s)",
                           wanted[i].name, wanted[i].name);
    return 0;
}

static int enter_namespaces(const struct helper *h, struct nj_error *err)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    char map[64];
    int r;

    /* An engine that changed its uid before it called us is undumpable, and /proc/self not its own.
     */
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    if (h->own_uids && check_rights(err) < 0)
        return -(int)err->code;
    if (h->own_uids)
        return unshare(CLONE_NEWNS) < 0 ? nj_fail_errno(err, errno, "helper: unshare") : 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return nj_probe_explain(err, NJ_PROBE_NAMESPACES, errno);
    r = write_file("/proc/self/setgroups", "deny", err);
    if (r < 0)
        return r;
    /* Not uid 0: mapping that on into a box's namespace asks for CAP_SETFCAP, which supervisors
     * gave up. */
    (void)snprintf(map, sizeof(map), "%d %u 1", NJ_BOX_UID, uid);
    r = write_file("/proc/self/uid_map", map, err);
    if (r < 0)
        return r;
    (void)snprintf(map, sizeof(map), "%d %u 1", NJ_BOX_GID, gid);
    return write_file("/proc/self/gid_map", map, err);
}

/* make_store - a tmpfs that only this mount namespace and those copied from it see */
static int make_store(struct helper *h, struct nj_error *err)
{
    static const char *const places[] = {"/mnt", "/media", "/srv", "/opt"};
    char root[64];
    struct stat st;

    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return nj_probe_explain(err, NJ_PROBE_MOUNTS, errno);
    for (size_t i = 0; !h->store && i < sizeof(places) / sizeof(places[0]); i++) {
        if (stat(places[i], &st) == 0 && S_ISDIR(st.st_mode))
            h->store = places[i];
    }
    if (!h->store)
        return nj_fail(err, NJ_E_SYSTEM,
                       "helper: none of /mnt, /media, /srv and /opt exists; make an empty /mnt");
    if (h->own_uids)
        (void)nj_fuse_device_share(h->store); /* else the level of a box says what it lacks */
    if (mount("tmpfs", h->store, "tmpfs", MS_NOSUID | MS_NODEV, "size=50%,mode=0711") < 0)
        return nj_probe_explain(err, NJ_PROBE_MOUNTS, errno);
    (void)snprintf(root, sizeof(root), "%s/root", h->store); /* fits: the places are above */
    if (mkdir(root, 0755) < 0)
        return nj_fail_errno(err, errno, "helper: mkdir %s", root);
    return 0;
}

static void raise_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FILES_WANTED) {
        limit.rlim_cur = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* fewer boxes at a time, else nothing */
    }
}

static int own_signals(struct helper *h, struct nj_error *err)
{
    sigset_t children;

    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_DFL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&children);
    (void)sigaddset(&children, SIGCHLD);
    if (sigprocmask(SIG_SETMASK, &children, NULL) < 0)
        return nj_fail_errno(err, errno, "helper: sigprocmask");
    h->signal_fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    return h->signal_fd < 0 ? nj_fail_errno(err, errno, "helper: signalfd") : 0;
}

/* warm_up - what the libraries set up at their first use is set up here, once, and not in every
 * supervisor: the first digest alone costs more than building a box's mounts. */
static void warm_up(void)
{
    struct nj_digest unused;

    nj_digest_bytes("", 0, &unused);
}

/* confine - from here the helper neither gains anything by an exec, nor can be looked into, nor
 * holds more than it needs. Its children inherit that, and give up the rest. */
static int confine(struct nj_error *err)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];

    if (syscall(SYS_capget, &header, data) < 0)
        return nj_fail_errno(err, errno, "helper: capget");
    data[0].permitted &= (uint32_t)KEPT_CAPS;
    data[1].permitted = 0;
    for (size_t i = 0; i < 2; i++) {
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    if (syscall(SYS_capset, &header, data) < 0)
        return nj_fail_errno(err, errno, "helper: capset");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return nj_fail_errno(err, errno, "helper: prctl");
    return 0;
}

static int set_up(struct helper *h, pid_t engine_pid, struct nj_error *err)
{
    int r;

    r = own_fds(h->engine_fd, err);
    if (r < 0)
        return r;
    nj_fault_init("helper");
    /* A Ctrl-C for the engine, which then suspends its sessions, must not end boxes. */
    (void)setsid();
    /* The inits of killed supervisors come to us, not to a host's pid 1 that may never wait for
     * them. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return nj_fail_errno(err, errno, "helper: prctl");
    (void)umask(022);
    raise_files();
    h->engine_pid_fd = (int)syscall(SYS_pidfd_open, engine_pid, 0);
    r = own_signals(h, err);
    if (r < 0)
        return r;
    h->own_uids = nj_helper_own_uids();
    nj_cgroups_find(&h->cgroups);
    r = nj_cgroups_begin(&h->cgroups, h->group_name, err);
    if (r < 0)
        return r;
    r = enter_namespaces(h, err);
    if (r < 0)
        return r;
    r = make_store(h, err);
    if (r < 0)
        return r;
    r = nj_filter_build(NJ_FILTER_PAYLOAD, &h->payload_filter, err);
    if (r < 0)
        return r;
    r = nj_filter_build(NJ_FILTER_PAYLOAD_SOFT, &h->soft_filter, err);
    if (r < 0)
        return r;
    r = nj_filter_build(NJ_FILTER_SUPERVISOR, &h->supervisor_filter, err);
    if (r < 0)
        return r;
    warm_up();
    return confine(err);
}

/* ---- boxes ---- */

static int take_slot(struct helper *h, uint32_t *ret_slot, struct nj_error *err)
{
    for (uint32_t i = 0; i < NJ_HELPER_BOXES_MAX && h->n_boxes < NJ_HELPER_BOXES_MAX; i++) {
        if (!h->slots[i]) {
            h->slots[i] = true;
            *ret_slot = i;
            return 0;
        }
    }
    return nj_fail(err, NJ_E_LIMIT, "helper: %u boxes live at once", NJ_HELPER_BOXES_MAX);
}

static int check_open(const struct helper *h, const struct nj_msg *msg, struct nj_error *err)
{
    const struct nj_box_plan *plan = &msg->open.plan;
    int r;

    r = nj_box_plan_check(plan, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < plan->n_mounts; i++) {
        if (!nj_store_has_input(h->store, &plan->mounts[i].input))
            return nj_fail(err, NJ_E_INPUT, "mount \"%s\": its input was not added",
                           plan->mounts[i].target);
    }
    if (plan->rootfs && !nj_store_has_image(h->store, plan->rootfs))
        return nj_fail(err, NJ_E_INPUT, "the box's image was not added");
    for (size_t i = 0; i < h->n_boxes; i++) {
        if (h->boxes[i].number == msg->open.box)
            return nj_fail(err, NJ_E_INPUT, "box %" PRIu64 " is open already", msg->open.box);
    }
    return 0;
}

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* keep_fds - close all above 2 but these */
static void keep_fds(int *fds, size_t n)
{
    unsigned next = 3;

    qsort(fds, n, sizeof(*fds), compare_ints);
    for (size_t i = 0; i < n; i++) {
        if (fds[i] < (int)next)
            continue; /* -1, or twice */
        if ((unsigned)fds[i] > next)
            (void)close_range(next, (unsigned)fds[i] - 1, 0);
        next = (unsigned)fds[i] + 1;
    }
    (void)close_range(next, ~0u, 0);
}

static void become_supervisor(const struct helper *h, struct nj_supervisor_setup *setup)
{
    int fds[2 + NJ_CGROUP_FDS_MAX] = {setup->engine_fd, setup->alive_fd};
    sigset_t none;

    (void)h;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    nj_cgroup_fds(&setup->cgroup, fds + 2);
    keep_fds(fds, sizeof(fds) / sizeof(fds[0]));
    nj_supervisor_run(setup);
}

static int fork_supervisor(struct helper *h, const struct nj_msg *msg, int box_fd, uint32_t slot,
                           struct nj_error *err)
{
    NJ_AUTO(nj_cgroup_close) struct nj_cgroup cgroup = NJ_CGROUP_NOTHING;
    nj_auto_close int reading = -1, writing = -1;
    struct nj_supervisor_setup setup;
    pid_t self = getpid(), pid;
    const struct nj_ops *ops;
    int pipe_fds[2], r;

    r = nj_kept_ops_get(&h->kept_ops, &msg->open.plan, h->store, &ops, err);
    if (r < 0)
        return r;
    r = nj_cgroup_make(&h->cgroups, msg->open.box, &msg->open.plan, &cgroup, err);
    if (r < 0)
        return r;
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return nj_fail_errno(err, errno, "helper: pipe");
    reading = pipe_fds[0];
    writing = pipe_fds[1];
    setup = (struct nj_supervisor_setup){
        .engine_fd = box_fd,
        .alive_fd = writing,
        .plan = &msg->open.plan,
        .ops = ops,
        .store = h->store,
        .own_uid = h->own_uids
                       ? NJ_HELPER_UID_FIRST +
                             (unsigned)self % NJ_HELPER_UID_BLOCKS * NJ_HELPER_BOXES_MAX + slot
                       : (uid_t)-1,
        .helper_pid = self,
        .cgroup = cgroup,
        .payload_filter = cgroup.memory_oom_fd < 0 ? &h->soft_filter : &h->payload_filter,
        .supervisor_filter = &h->supervisor_filter,
    };
    pid = fork();
    if (pid < 0)
        return nj_fail_errno(err, errno, "helper: fork");
    if (pid == 0)
        become_supervisor(h, &setup);
    h->boxes[h->n_boxes++] = (struct box){
        .number = msg->open.box, .pid = pid, .alive_fd = nj_steal_fd(&reading), .slot = slot};
    return 0;
}

static int open_box(struct helper *h, const struct nj_msg *msg, int box_fd, struct nj_error *err)
{
    uint32_t slot = 0;
    int r;

    r = check_open(h, msg, err);
    if (r < 0)
        return r;
    r = take_slot(h, &slot, err);
    if (r < 0)
        return r;
    r = fork_supervisor(h, msg, box_fd, slot, err);
    if (r < 0) {
        h->slots[slot] = false;
        (void)nj_cgroup_remove(&h->cgroups, msg->open.box); /* perhaps half made */
    }
    return r;
}

/* reap - note which supervisors ended */
static void reap(struct helper *h)
{
    struct signalfd_siginfo info;
    pid_t pid;

    while (read(h->signal_fd, &info, sizeof(info)) > 0)
        ;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
        for (size_t i = 0; i < h->n_boxes; i++) {
            if (h->boxes[i].pid == pid)
                h->boxes[i].pid = 0;
        }
    }
}

/* tidy - give back what ended boxes held; true when one must be looked at again soon */
static bool tidy(struct helper *h)
{
    bool again = false;

    for (size_t i = 0; i < h->n_boxes;) {
        struct box *box = &h->boxes[i];

        if (box->pid != 0 || box->alive_fd >= 0) {
            i++;
            continue;
        }
        if (!nj_cgroup_remove(&h->cgroups, box->number)) {
            again = true; /* its last tasks are not quite gone from the group */
            i++;
            continue;
        }
        h->slots[box->slot] = false;
        *box = h->boxes[--h->n_boxes];
    }
    return again;
}

/* ---- loop ---- */

static int handle(struct helper *h, struct nj_msg_in *in, struct nj_error *err)
{
    struct nj_msg reply = {.kind = NJ_MSG_FAILED};
    int fd = in->n_fds == 1 ? nj_steal_fd(&in->fds[0]) : -1;
    struct nj_error ignored;
    int r;

    if (fd < 0)
        return nj_fail(err, NJ_E_CORRUPT, "helper: a \"%s\" message without its descriptor",
                       nj_msg_kind_text(in->msg.kind));
    if (in->msg.kind == NJ_MSG_OPEN) {
        if (open_box(h, &in->msg, fd, &reply.failed) < 0)
            (void)!nj_msg_send(fd, &reply, NULL, 0,
                               &ignored); /* else the engine sees the socket end */
        (void)close(fd);
        return 0;
    }
    if (in->msg.kind == NJ_MSG_INPUT || in->msg.kind == NJ_MSG_ROOTFS) {
        r = nj_store_add(h->store, &in->msg, fd, h->engine_pid_fd, &reply.failed);
        if (r >= 0)
            reply.kind = NJ_MSG_DONE;
        r = nj_msg_send(h->engine_fd, &reply, NULL, 0, err);
        return r > 0 ? nj_fail(err, NJ_E_UPSTREAM, "helper: the engine does not read") : r;
    }
    (void)close(fd);
    return nj_fail(err, NJ_E_CORRUPT, "helper: a \"%s\" message is not for it",
                   nj_msg_kind_text(in->msg.kind));
}

/* step - wait for something and deal with it. Returns 0, or 1 when the engine is gone. */
static int step(struct helper *h, int timeout_ms, bool listen, struct nj_error *err)
{
    static struct pollfd polled[NJ_HELPER_BOXES_MAX + 3];
    static struct nj_msg_in in; /* large */
    size_t n = 3;
    int r;

    polled[0] = (struct pollfd){h->signal_fd, POLLIN, 0};
    polled[1] = (struct pollfd){listen ? h->engine_pid_fd : -1, POLLIN, 0};
    polled[2] = (struct pollfd){listen ? h->engine_fd : -1, POLLIN, 0};
    for (size_t i = 0; i < h->n_boxes; i++)
        polled[n++] = (struct pollfd){h->boxes[i].alive_fd, 0, 0}; /* only its end matters */
    if (poll(polled, n, timeout_ms) < 0)
        return errno == EINTR ? 0 : nj_fail_errno(err, errno, "helper: poll");
    for (size_t i = 0; i < h->n_boxes; i++) {
        if (polled[3 + i].revents) {
            (void)close(h->boxes[i].alive_fd);
            h->boxes[i].alive_fd = -1;
        }
    }
    if (polled[0].revents)
        reap(h);
    if (polled[1].revents)
        return 1;
    if (!polled[2].revents)
        return 0;
    r = nj_msg_receive(h->engine_fd, &in, err);
    if (r == 2)
        return 1;
    if (r == 0)
        r = handle(h, &in, err);
    nj_msg_in_done(&in);
    return r < 0 ? r : 0;
}

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void shut_down(struct helper *h)
{
    int64_t until = now_ms() + SHUTDOWN_MS;
    struct nj_error ignored;

    for (size_t i = 0; i < h->n_boxes; i++) {
        if (h->boxes[i].pid > 0)
            (void)kill(h->boxes[i].pid, SIGKILL);
    }
    while (h->n_boxes > 0 && now_ms() < until) {
        bool again = tidy(h);

        if (h->n_boxes > 0)
            (void)!step(h, again ? RETRY_MS : 1000, false, &ignored);
    }
    nj_cgroups_end(&h->cgroups);
}

static int serve(struct helper *h, struct nj_error *err)
{
    bool again = false;

    for (;;) {
        int r = step(h, again ? RETRY_MS : -1, true, err);

        if (r != 0)
            return r < 0 ? r : 0;
        again = tidy(h);
    }
}

/* check_build - what the two say to each other is of one build */
static int check_build(const char *build, struct nj_error *err)
{
    return strcmp(build, nj_build_name) == 0
               ? 0
               : nj_fail(err, NJ_E_VERSION,
                         "nj-sandbox is of version %s, this program of %.60s. Cure: install both "
                         "from one package or build",
                         nj_build_name, build);
}

void nj_helper_run(int engine_fd, const char *build, const char *run_name)
{
    static struct helper h; /* large, and this process has only one */
    struct nj_msg ready = {.kind = NJ_MSG_READY};
    struct nj_error err, ignored;
    pid_t engine_pid = getppid();
    int r;

    (void)prctl(PR_SET_NAME, "nj-helper", 0, 0, 0);
    h.engine_fd = engine_fd;
    h.engine_pid_fd = -1;
    for (size_t i = 0; i < NJ_CGROUP_CONTROLLERS; i++)
        h.cgroups.lock_fd[i] = -1;
    (void)snprintf(h.group_name, sizeof(h.group_name), "%s-%d", run_name, getpid()); /* fits */
    r = check_build(build, &err);
    if (r >= 0)
        r = set_up(&h, engine_pid, &err);
    if (r < 0) {
        ready = (struct nj_msg){.kind = NJ_MSG_FAILED, .failed = err};
        nj_cgroups_end(&h.cgroups);
        (void)!nj_msg_send(engine_fd, &ready, NULL, 0, &ignored);
        _exit(1);
    }
    r = nj_msg_send(engine_fd, &ready, NULL, 0, &err);
    if (r == 0)
        r = serve(&h, &err);
    if (r < 0)
        fprintf(stderr, "nightjar: %s\n", err.text); /* to the engine's own standard error */
    shut_down(&h);
    nj_kept_ops_done(&h.kept_ops);
    nj_fault_done();
    _exit(r < 0 ? 1 : 0);
}
