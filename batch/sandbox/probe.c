/*
 * probe.c - trying what a box needs in a child process
 *
 * One complication: what is tried inside needs the namespaces, and these need the uid that a box
 * would have, so there are up to two children, and what they find comes by a pipe.
 */
#include "batch/sandbox/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "batch/sandbox/fuse_device.h"
#include "batch/sandbox/probe_cure.h"
#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV /* Linux 5.19, newer than Debian 12's C library */
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

#define PROBE_SECONDS 5
#define REALTIME_PRIORITY 5 /* of a supervisor above its payload */
#define NAMESPACES                                                                                 \
    (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |     \
     CLONE_NEWCGROUP)

enum where { PLAIN, INSIDE, SELF };

/* ---- what is tried: 0, or a negative errno ---- */

static int try_namespaces(void)
{
    int status;
    pid_t pid = (pid_t)syscall(SYS_clone, NAMESPACES | SIGCHLD, NULL, NULL, NULL, NULL);

    if (pid < 0)
        return -errno;
    if (pid == 0)
        _exit(0);
    return waitpid(pid, &status, 0) == pid ? 0 : -ECHILD;
}

static int try_mounts(void)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID};
    nj_auto_close int fd = -1;

    fd = open_tree(AT_FDCWD, "/usr", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (fd < 0)
        return -errno;
    if (mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
        return -errno;
    return move_mount(fd, "", AT_FDCWD, "/usr", MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

static int try_tmpfs(void)
{
    return mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV,
                 "size=64k,nr_inodes=64,mode=0755") < 0
               ? -errno
               : 0;
}

static int try_proc(void)
{
    return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ? -errno : 0;
}

static int try_calls(void)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC | O_DIRECTORY,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    nj_auto_close int root = -1, below = -1, pid_fd = -1, memory = -1;

    root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -errno;
    below = (int)syscall(SYS_openat2, root, "usr", &how, sizeof(how));
    if (below < 0)
        return -errno;
    pid_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (pid_fd < 0)
        return -errno;
    memory = memfd_create("nj-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0)
        return -errno;
    return close_range(~0u, ~0u, 0) < 0 ? -errno : 0;
}

static int install_filter(unsigned action, unsigned flags)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
    long r;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    return r < 0 ? -errno : (int)r;
}

static int try_filter(void)
{
    int r = install_filter(SECCOMP_RET_ERRNO | EXDEV, 0);

    if (r < 0)
        return r;
    return syscall(SYS_getpgid, 0) < 0 && errno == EXDEV ? 0 : -ENOSYS;
}

/* try_notify - a child's call is answered by us, as a supervisor would */
static int try_notify(void)
{
    struct seccomp_notif request = {0};
    struct seccomp_notif_resp answer = {.val = 4711};
    int fd = install_filter(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER), status;
    pid_t pid;

    if (fd < 0)
        return fd;
    pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        _exit(syscall(SYS_getpgid, 0) == 4711 ? 0 : 1);
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
        return -errno;
    answer.id = request.id;
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0)
        return -errno;
    (void)close(fd);
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -EPROTO;
}

static int try_killable(void)
{
    int fd = install_filter(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER |
                                                        SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);

    return fd < 0 ? fd : 0;
}

/* try_ptrace - seize a process of a user namespace that we own */
static int try_ptrace(void)
{
    int status, r;
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);

    if (pid < 0)
        return -errno;
    if (pid == 0) {
        (void)pause();
        _exit(0);
    }
    r = ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACEEXEC) < 0 ? -errno : 0;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    return r;
}

static int try_fuse(void)
{
    nj_auto_close int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    return fd < 0 ? -errno : 0;
}

static int try_time_namespace(void)
{
    return unshare(CLONE_NEWTIME) < 0 ? -errno : 0;
}

static int try_xattr(void)
{
    nj_auto_close int fd = -1;
    int r = try_tmpfs();

    if (r < 0)
        return r;
    fd = open("/tmp/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EOVERFLOW ? 0 : -errno; /* unmapped ids: nothing can be said */
    return fsetxattr(fd, "user.nj", "x", 1, 0) < 0 ? -errno : 0;
}

static int try_fanotify(void)
{
    nj_auto_close int fd = -1;
    int r = try_tmpfs();

    if (r < 0)
        return r;
    fd = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_NONBLOCK | FAN_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    return fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM,
                         FAN_MODIFY | FAN_CREATE | FAN_DELETE | FAN_MOVED_TO | FAN_ONDIR, AT_FDCWD,
                         "/tmp") < 0
               ? -errno
               : 0;
}

static int try_realtime(void)
{
    struct sched_param param = {.sched_priority = REALTIME_PRIORITY};

    return sched_setscheduler(0, SCHED_FIFO, &param) < 0 ? -errno : 0;
}

static const struct probe {
    const char *id;
    const char *name;
    enum where where;
    int lack_errno;
    const char *consequence;
} probes[] = {
#define X(name, id, text, where, lack, consequence) {id, text, where, lack, consequence},
    NJ_PROBES(X)
#undef X
};

static bool is_lacking(const char *id)
{
    const char *list = getenv("NJ_TEST_LACK");
    size_t len = strlen(id);

    for (const char *at = list; at && *at; at += strcspn(at, ","), at += *at == ',') {
        if (strcspn(at, ",") == len && strncmp(at, id, len) == 0)
            return true;
    }
    return false;
}

bool nj_probe_is_withheld(enum nj_probe_what what)
{
    return is_lacking(probes[what].id);
}

static int try_one(enum nj_probe_what what)
{
    if (is_lacking(probes[what].id))
        return -probes[what].lack_errno;
    switch (what) {
    case NJ_PROBE_NAMESPACES:
        return try_namespaces();
    case NJ_PROBE_MOUNTS:
        return try_mounts();
    case NJ_PROBE_TMPFS:
        return try_tmpfs();
    case NJ_PROBE_PROC:
        return try_proc();
    case NJ_PROBE_CALLS:
        return try_calls();
    case NJ_PROBE_FILTER:
        return try_filter();
    case NJ_PROBE_NOTIFY:
        return try_notify();
    case NJ_PROBE_KILLABLE:
        return try_killable();
    case NJ_PROBE_PTRACE:
        return try_ptrace();
    case NJ_PROBE_FUSE:
        return try_fuse();
    case NJ_PROBE_TIME_NS:
        return try_time_namespace();
    case NJ_PROBE_XATTR:
        return try_xattr();
    case NJ_PROBE_FANOTIFY:
        return try_fanotify();
    case NJ_PROBE_REALTIME:
        return try_realtime();
    case NJ_PROBES_COUNT:
        break;
    }
    return -EINVAL;
}

/* ---- the children ---- */

/* What a child found wrong. */
struct answer {
    int what;
    int errnum;
};

static void tell(int fd, enum nj_probe_what what, int errnum)
{
    struct answer answer = {(int)what, errnum};

    _exit(write(fd, &answer, sizeof(answer)) == (ssize_t)sizeof(answer) ? 1 : 2);
}

static bool is_asked(const bool *asked, enum nj_probe_what what, enum where where)
{
    return asked[what] && probes[what].where == where;
}

/* inside - in the namespaces: unmapped, which is enough to mount */
static void inside(int fd, const bool *asked)
{
    int r = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0;

    for (int i = 0; i < NJ_PROBES_COUNT; i++) {
        enum nj_probe_what what = (enum nj_probe_what)i;

        if (!is_asked(asked, what, INSIDE))
            continue;
        if (r < 0)
            tell(fd, NJ_PROBE_MOUNTS, -r);
        r = try_one(what);
        if (r < 0)
            tell(fd, what, -r);
    }
    _exit(0);
}

static void outside(int fd, const bool *asked, uid_t uid)
{
    bool goes_in = false;
    int status, r;
    pid_t pid;

    (void)alarm(PROBE_SECONDS);
    if (uid != (uid_t)-1 && asked[NJ_PROBE_FUSE] && unshare(CLONE_NEWNS) == 0 &&
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
        (void)nj_fuse_device_share("/tmp"); /* as the helper does */
    if (uid != (uid_t)-1 &&
        (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
        tell(fd, NJ_PROBE_NAMESPACES, errno);
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    /* Filters last: they stay. */
    for (int i = 0; i < NJ_PROBES_COUNT; i++) {
        goes_in |= is_asked(asked, (enum nj_probe_what)i, INSIDE);
        if (is_asked(asked, (enum nj_probe_what)i, SELF) ||
            (is_asked(asked, (enum nj_probe_what)i, PLAIN) && i < NJ_PROBE_FILTER)) {
            r = try_one((enum nj_probe_what)i);
            if (r < 0)
                tell(fd, (enum nj_probe_what)i, -r);
        }
    }
    if (goes_in) {
        pid = (pid_t)syscall(SYS_clone, NAMESPACES | SIGCHLD, NULL, NULL, NULL, NULL);
        if (pid < 0)
            tell(fd, NJ_PROBE_NAMESPACES, errno);
        if (pid == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
            inside(fd, asked);
        }
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
            _exit(1); /* it told */
    }
    for (int i = NJ_PROBE_FILTER; i < NJ_PROBES_COUNT; i++) {
        if (!is_asked(asked, (enum nj_probe_what)i, PLAIN))
            continue;
        r = try_one((enum nj_probe_what)i);
        if (r < 0)
            tell(fd, (enum nj_probe_what)i, -r);
    }
    _exit(0);
}

/* try_all - all that is asked, in one child. Returns 0, or 1 and what was found wrong first. */
static int try_all(const bool *asked, uid_t uid, struct answer *ret_answer, struct nj_error *err)
{
    nj_auto_close int reading = -1, writing = -1;
    int pipe_fds[2], status;
    ssize_t n;
    pid_t pid;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return nj_fail_errno(err, errno, "probe: pipe");
    reading = pipe_fds[0];
    writing = pipe_fds[1];
    pid = fork();
    if (pid < 0)
        return nj_fail_errno(err, errno, "probe: fork");
    if (pid == 0)
        outside(writing, asked, uid);
    (void)close(nj_steal_fd(&writing));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    do {
        n = read(reading, ret_answer, sizeof(*ret_answer));
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof(*ret_answer) && ret_answer->what >= 0 &&
        ret_answer->what < NJ_PROBES_COUNT)
        return 1;
    if (WIFSIGNALED(status))
        return nj_fail(err, NJ_E_SYSTEM, "the process that tried it was ended by signal %d%s",
                       WTERMSIG(status),
                       WTERMSIG(status) == SIGALRM  ? " (it hung)"
                       : WTERMSIG(status) == SIGSYS ? " (a filter around us forbids the call)"
                                                    : "");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return nj_fail(err, NJ_E_SYSTEM, "the process that tried it ended with status %d", status);
    return 0;
}

/* ---- words ---- */

static void fill(struct nj_probe_finding *finding, enum nj_probe_what what, int errnum)
{
    const struct probe *probe = &probes[what];
    char reason[96];

    *finding = (struct nj_probe_finding){
        .id = probe->id,
        .name = probe->name,
        .state = what < NJ_PROBES_REQUIRED ? NJ_PROBE_MISSING : NJ_PROBE_DEGRADED,
        .consequence = probe->consequence,
    };
    (void)snprintf(finding->found, sizeof(finding->found), "%s",
                   strerror_r(errnum, reason, sizeof(reason)));
    nj_probe_cure(what, errnum, finding->cure, sizeof(finding->cure));
}

int nj_probe_explain(struct nj_error *err, enum nj_probe_what what, int errnum)
{
    struct nj_probe_finding finding;

    fill(&finding, what, errnum);
    (void)nj_fail(err, NJ_E_SYSTEM, "this host lacks %s (%s): %s. Cure: %s", finding.name,
                  finding.found, finding.consequence, finding.cure);
    err->sys_errno = errnum;
    return -(int)err->code;
}

void nj_probe_try(enum nj_probe_what what, uid_t uid, struct nj_probe_finding *ret_finding)
{
    bool asked[NJ_PROBES_COUNT] = {false};
    struct answer answer = {(int)what, 0};
    struct nj_error err;
    int r;

    asked[what] = true;
    r = try_all(asked, probes[what].where == SELF ? (uid_t)-1 : uid, &answer, &err);
    fill(ret_finding, what, answer.errnum);
    if (r == 0) {
        ret_finding->state = NJ_PROBE_OK;
        ret_finding->consequence = NULL;
        ret_finding->cure[0] = '\0';
        (void)snprintf(ret_finding->found, sizeof(ret_finding->found), "tried");
    } else if (r < 0) {
        (void)snprintf(ret_finding->found, sizeof(ret_finding->found), "%.300s", err.text);
    } else if (answer.what != (int)what) {
        (void)snprintf(ret_finding->found, sizeof(ret_finding->found), "not tried: no %s",
                       probes[answer.what].name);
        nj_probe_cure((enum nj_probe_what)answer.what, answer.errnum, ret_finding->cure,
                      sizeof(ret_finding->cure));
    }
}

bool nj_probe_has_uid(uid_t uid)
{
    nj_auto_fclose FILE *map = fopen("/proc/self/uid_map", "re");
    unsigned inside, outside_it, count;

    while (map && fscanf(map, "%u %u %u", &inside, &outside_it, &count) == 3) {
        if (uid >= inside && uid - inside < count)
            return true;
    }
    return !map; /* it cannot be told */
}

int nj_probe_host(uid_t uid, struct nj_error *err)
{
    bool asked[NJ_PROBES_COUNT] = {false};
    struct answer answer;
    int r;

    for (int i = 0; i < (int)NJ_PROBES_REQUIRED; i++)
        asked[i] = true;
    r = try_all(asked, uid, &answer, err);
    if (r > 0)
        return nj_probe_explain(err, (enum nj_probe_what)answer.what, answer.errnum);
    return r < 0 ? nj_wrap(err, "what boxes need was tried") : 0;
}
