/*
 * init.c - pid 1 of a box, its reapers, and payloads up to exec
 *
 * Between clone and exec nothing is allocated and nothing can be reported but through the shared
 * page. Two complications. A reaper needs its capabilities to mount, a payload must have none, and
 * must not be able to look into the reaper; so all of init's line is undumpable before the first
 * payload exists. And copying init's memory twice would be half of a short call's cost, so a reaper
 * runs in init's memory on a stack of its own, and the payload in the reaper's until exec, which
 * waits for it. They share errno: init makes no call that fails while a reaper lives. Above level 0
 * the payload has a copy after all, because its exec is followed and init's memory must stay
 * closed.
 */
#include "batch/sandbox/init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "batch/sandbox/changes.h"
#include "batch/sandbox/ops.h"
#include "batch/sandbox/virtual/files.h"
#include "batch/sandbox/virtual/virtual.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define CALL_FDS_MAX 5
#define EXIT_FAILED 127
#define PAYLOAD_FILES_MAX 4096
#define PAYLOAD_SIGNALS_MAX 4096 /* queued signals and timers: the kernel's own memory */
#define PAYLOAD_STACK_BYTES (8u << 20)
#define CLONE_STACK_BYTES (64u << 10) /* of a reaper, and of a payload until exec */

const char *nj_init_stage_text(enum nj_init_stage stage)
{
    switch (stage) {
#define X(name, text)                                                                              \
    case NJ_INIT_##name:                                                                           \
        return text;
        NJ_INIT_STAGES(X)
#undef X
    }
    return "?";
}

static void fail(struct nj_init_share *share, enum nj_init_stage stage, int errnum)
{
    share->sys_errno = errnum;
    share->stage = stage;
}

/* send_byte - one message to the supervisor; when that is gone, so are we soon */
static void send_byte(int socket_fd, char byte, const int *fds, size_t n_fds)
{
    struct nj_error err;

    if (nj_fsio_sendmsg(socket_fd, &byte, 1, fds, n_fds, &err) != 0)
        _exit(EXIT_FAILED);
}

/* ---- capabilities ---- */

static int set_caps(uint64_t caps)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)caps, (uint32_t)caps, 0},
        {(uint32_t)(caps >> 32), (uint32_t)(caps >> 32), 0},
    };

    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int drop_bounding(void)
{
    for (unsigned long cap = 0; cap < 64; cap++) {
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
            if (errno == EINVAL)
                return 0; /* past the last one this kernel has */
            return -errno;
        }
    }
    return 0;
}

static void reset_signals(void)
{
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_DFL); /* those that cannot be changed need no reset */
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* ---- the payload ---- */

static int set_limit(int resource, uint64_t value)
{
    struct rlimit now, limit = {(rlim_t)value, (rlim_t)value};

    if (getrlimit((__rlimit_resource_t)resource, &now) < 0)
        return -errno;
    if (limit.rlim_max > now.rlim_max)
        limit = (struct rlimit){now.rlim_max, now.rlim_max}; /* raising is not ours to do */
    return setrlimit((__rlimit_resource_t)resource, &limit) < 0 ? -errno : 0;
}

static int set_limits(const struct nj_init_limits *limits)
{
    int r;

    /* 1, not 0: a core_pattern that is a pipe runs the host's handler whatever the limit, except
     * for 1. */
    r = set_limit(RLIMIT_CORE, 1);
    if (r >= 0)
        r = set_limit(RLIMIT_NOFILE, PAYLOAD_FILES_MAX);
    if (r >= 0)
        r = set_limit(RLIMIT_STACK, PAYLOAD_STACK_BYTES);
    if (r >= 0)
        r = set_limit(RLIMIT_FSIZE, limits->file_bytes);
    if (r >= 0)
        r = set_limit(RLIMIT_NPROC, limits->processes);
    if (r >= 0)
        r = set_limit(RLIMIT_SIGPENDING, PAYLOAD_SIGNALS_MAX);
    if (r >= 0)
        r = set_limit(RLIMIT_RTPRIO, 0);
    if (r >= 0 && limits->data_bytes > 0)
        r = set_limit(RLIMIT_DATA, limits->data_bytes);
    return r;
}

static void exec_in_path(char *const *argv, char *const *env)
{
    static const char path[] = NJ_BOX_PATH_VARIABLE;
    char name[sizeof(path) + NJ_BOX_PATH_MAX_BYTES + 2];
    size_t len = strlen(argv[0]);
    int kept = ENOENT;

    if (strchr(argv[0], '/')) {
        (void)execve(argv[0], argv, env);
        return;
    }
    if (len == 0 || len > NJ_BOX_PATH_MAX_BYTES) {
        errno = ENOENT;
        return;
    }
    for (const char *at = path; *at; at += strcspn(at, ":"), at += *at == ':') {
        size_t dir_len = strcspn(at, ":");

        memcpy(name, at, dir_len);
        name[dir_len] = '/';
        memcpy(name + dir_len + 1, argv[0], len + 1);
        (void)execve(name, argv, env);
        (void)close_range(3, ~0u, 0); /* what was put here for the program that did not come */
        if (errno != ENOENT)
            kept = errno;
    }
    errno = kept;
}

/* What a reaper and its payload are started with. */
struct start {
    const struct nj_init *init;
    const int *fds;
    size_t n_fds;
};

static alignas(64) uint8_t reaper_stack[CLONE_STACK_BYTES];
static alignas(64) uint8_t payload_stack[CLONE_STACK_BYTES];

/* Under AddressSanitizer a stack stays marked where its last user left it by _exit; absent in every
 * other build. */
extern void __asan_unpoison_memory_region(void const volatile *start, size_t bytes)
    __attribute__((weak));

static void clean_stack(uint8_t *stack)
{
    if (__asan_unpoison_memory_region)
        __asan_unpoison_memory_region(stack, CLONE_STACK_BYTES);
}

/* stay_on_cpu - one processor, wherever the kernel just put us: so boxes spread over all of them by
 * load, and a program counts one. A mask that is refused leaves more than one to count. */
static void stay_on_cpu(void)
{
    cpu_set_t set;
    int cpu = sched_getcpu();

    CPU_ZERO(&set);
    if (cpu >= 0 && cpu < CPU_SETSIZE) {
        CPU_SET((size_t)cpu, &set);
        (void)sched_setaffinity(0, sizeof(set), &set);
    }
}

/* listen - the second filter, and its listener to the supervisor, which serves from then on. Where
 * the kernel has no such thing the supervisor is told so. */
static int give_listener(unsigned level, int socket_fd)
{
    nj_auto_close int fd = -1;
    struct nj_error err;

    if (personality(ADDR_NO_RANDOMIZE) < 0) /* the vDSO has a fixed address */
        return -errno;
    fd = nj_virtual_install(level);
    return nj_fsio_sendmsg(socket_fd, "L", 1, &fd, fd < 0 ? 0 : 1, &err) < 0 ? -EPIPE : 0;
}

/* payload - from clone to exec; returns the stage that failed, with errno */
static enum nj_init_stage payload(const struct nj_init *init, const int *fds)
{
    struct nj_init_share *share = init->share;
    char *argv[NJ_BOX_ARGS_MAX + 1], *env[NJ_INIT_ENV_MAX + 1];
    int r;

    for (uint32_t i = 0; i < share->n_args; i++)
        argv[i] = share->text + share->args_at[i];
    argv[share->n_args] = NULL;
    for (uint32_t i = 0; i < share->n_env; i++)
        env[i] = share->text + share->env_at[i];
    env[share->n_env] = NULL;

    if (init->level > 0)
        stay_on_cpu();
    (void)setsid(); /* pid 2 leads nothing yet, so this cannot fail */
    (void)umask(022);
    /* Received descriptors are 3 and up: 0, 1, 2 were kept busy with /dev/null by init. */
    for (int i = 0; i < 3; i++) {
        if (dup2(fds[i], i) < 0)
            return NJ_INIT_FORK;
    }
    if (share->level > 0 && dup2(fds[share->script_at != 0 ? 4 : 3], 3) < 0)
        return NJ_INIT_FORK;
    if (close_range(share->level > 0 ? 4 : 3, ~0u, 0) < 0)
        return NJ_INIT_FORK;
    r = set_limits(&init->limits);
    if (r >= 0)
        r = set_caps(0); /* the bounding set is empty since init dropped it */
    if (r < 0) {
        errno = -r;
        return NJ_INIT_PRIVILEGES;
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return NJ_INIT_PRIVILEGES;
    if (chdir(share->text + share->cwd_at) < 0)
        return NJ_INIT_CWD;
    r = 0;
    if (share->level > 0) {
        /* Its first exec is to be followed, which needs a process that may be looked into: its
         * memory is a copy that nobody but the supervisor could see. */
        if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
            return NJ_INIT_PRIVILEGES;
        r = give_listener(share->level, 3);
    }
    if (r >= 0)
        r = nj_filter_install(init->filter);
    if (r < 0) {
        errno = -r;
        return NJ_INIT_PRIVILEGES;
    }
    (void)close_range(3, ~0u, 0);
    exec_in_path(argv, env);
    return NJ_INIT_EXEC;
}

/* ---- the reaper ---- */

static int write_script(const char *name, int script_fd)
{
    nj_auto_close int dir_fd = -1, fd = -1;
    struct stat st;
    off_t at = 0;

    if (fstat(script_fd, &st) < 0)
        return -errno;
    dir_fd = open(NJ_BOX_SCRIPTS, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return -errno;
    fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
    if (fd < 0)
        return -errno;
    while (at < st.st_size) {
        ssize_t n = sendfile(fd, script_fd, &at, (size_t)(st.st_size - at));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
    }
    return fchmod(fd, 0444) < 0 ? -errno : 0; /* whatever the umask was */
}

static int prepare_call(const struct nj_init *init, const int *fds, size_t n_fds)
{
    struct nj_init_share *share = init->share;
    int r;

    for (size_t i = 0; i < init->ops->n_call; i++) {
        const struct nj_op *op = &init->ops->call[i];

        r = nj_op_do(op);
        if (r < 0) {
            bool inside = op->kind == NJ_OP_INSIDE || op->kind == NJ_OP_FREEZE;

            share->op = (uint32_t)i;
            fail(share, inside ? NJ_INIT_TAMPERED : NJ_INIT_CALL_OP, -r);
            return -1;
        }
    }
    if (share->script_at != 0 && n_fds > 3) {
        r = write_script(share->text + share->script_at, fds[3]);
        if (r < 0) {
            fail(share, NJ_INIT_SCRIPT, -r);
            return -1;
        }
    }
    return 0;
}

static void note_usage(struct nj_init_share *share)
{
    struct rusage usage;

    if (getrusage(RUSAGE_CHILDREN, &usage) < 0)
        return;
    share->cpu_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
                    (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    share->max_rss_kb = (uint64_t)usage.ru_maxrss;
}

static int payload_main(void *argument)
{
    const struct start *start = argument;
    enum nj_init_stage stage = payload(start->init, start->fds);

    fail(start->init->share, stage, errno);
    _exit(EXIT_FAILED);
}

/* reaper - pid 1 of a call: its exit makes the kernel kill and reap whatever else runs in the call
 */
static int reaper_main(void *argument)
{
    const struct start *start = argument;
    const struct nj_init *init = start->init;
    struct nj_init_share *share = init->share;
    const int *fds = start->fds;
    size_t n_fds = start->n_fds;
    pid_t pid;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    (void)close(init->socket_fd);
    if (prepare_call(init, fds, n_fds) < 0)
        _exit(EXIT_FAILED);
    clean_stack(payload_stack);
    pid = clone(payload_main, payload_stack + sizeof(payload_stack),
                (share->level > 0 ? 0 : CLONE_VM | CLONE_VFORK) | SIGCHLD, argument);
    if (pid < 0) {
        fail(share, NJ_INIT_FORK, errno);
        _exit(EXIT_FAILED);
    }
    (void)close_range(0, 2, 0);
    for (size_t i = 0; i < n_fds; i++)
        (void)close(fds[i]); /* the supervisor must see the end of the pipes */
    (void)set_caps(0);       /* it only waits from here */
    for (;;) {
        int status;
        pid_t ended = waitpid(-1, &status, __WALL);

        if (ended < 0 && errno == EINTR)
            continue;
        if (ended == pid || ended < 0) {
            share->status = ended < 0 ? 0 : status;
            share->ended = ended == pid;
            note_usage(share);
            _exit(0);
        }
    }
}

/* ---- init ---- */

static int loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    nj_auto_close int fd = -1;

    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    request.ifr_flags = IFF_UP;
    return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

static int set_names(const struct nj_init *init)
{
    if (sethostname(init->hostname, strlen(init->hostname)) < 0)
        return -errno;
    if (unshare(CLONE_NEWCGROUP) < 0) /* now that the box's own cgroup is the root it sees */
        return -errno;
    return loopback_up();
}

static int enter_root(void)
{
    if (syscall(SYS_pivot_root, ".", ".") < 0)
        return -errno;
    if (umount2(".", MNT_DETACH) < 0) /* what lies on top is the old root */
        return -errno;
    return chdir("/") < 0 ? -errno : 0;
}

/* occupy_standard_fds - 0, 1, 2 become /dev/null, so that no descriptor of a call ever gets these
 * numbers */
static int occupy_standard_fds(void)
{
    int fd = open("/dev/null", O_RDWR);

    if (fd < 0)
        return -errno;
    for (int i = 0; i < 3; i++) {
        if (dup2(fd, i) < 0)
            return -errno;
    }
    if (fd > 2)
        (void)close(fd);
    return 0;
}

static enum nj_init_stage build(const struct nj_init *init, int *ret_files_fd, int *ret_errno)
{
    int r;

    r = set_names(init);
    if (r < 0) {
        *ret_errno = -r;
        return NJ_INIT_NAMES;
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        *ret_errno = errno;
        return NJ_INIT_PRIVATE;
    }
    if (mount("tmpfs", init->stage_dir, "tmpfs", MS_NOSUID | MS_NODEV,
              "size=1m,nr_inodes=1024,mode=0755") < 0 ||
        chdir(init->stage_dir) < 0) {
        *ret_errno = errno;
        return NJ_INIT_ROOT;
    }
    for (size_t i = 0; i < init->ops->n_open; i++) {
        const struct nj_op *op = &init->ops->open[i];

        r = nj_op_do(op);
        if (r < 0) {
            init->share->op = (uint32_t)i;
            *ret_errno = -r;
            return NJ_INIT_OPEN_OP;
        }
    }
    if (init->level > 0)
        *ret_files_fd = nj_files_mount(); /* without it the host's devices stay, which is told */
    r = enter_root();
    if (r >= 0)
        r = occupy_standard_fds();
    if (r < 0) {
        *ret_errno = -r;
        return NJ_INIT_PIVOT;
    }
    return NJ_INIT_NONE;
}

/* keep_two_fds - close everything but 0, 1, 2 and these */
static void keep_two_fds(int a, int b)
{
    unsigned low = (unsigned)(a < b ? a : b), high = (unsigned)(a < b ? b : a);

    if (low > 3)
        (void)close_range(3, low - 1, 0);
    if (high > low + 1)
        (void)close_range(low + 1, high - 1, 0);
    (void)close_range(high + 1, ~0u, 0);
}

static void run_call(const struct nj_init *init, const int *fds, size_t n_fds)
{
    struct start start = {init, fds, n_fds}; /* outlives the reaper, which is waited for below */
    struct nj_init_share *share = init->share;
    nj_auto_close int pid_fd = -1;
    bool killed = false;
    pid_t pid;

    clean_stack(reaper_stack);
    pid = clone(reaper_main, reaper_stack + sizeof(reaper_stack),
                CLONE_VM | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | SIGCHLD, &start);
    for (size_t i = 0; i < n_fds; i++)
        (void)close(fds[i]);
    if (pid < 0) {
        fail(share, NJ_INIT_CLONE, errno);
        send_byte(init->socket_fd, 'D', NULL, 0);
        return;
    }
    pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pid_fd < 0) {
        fail(share, NJ_INIT_CLONE, errno);
        (void)kill(pid, SIGKILL);
        killed = true;
    }
    while (!killed) {
        struct pollfd polled[2] = {{pid_fd, POLLIN, 0}, {init->socket_fd, POLLIN, 0}};
        char byte;
        ssize_t n;

        if (poll(polled, 2, -1) < 0)
            continue; /* EINTR; nothing else can happen to a valid list */
        if (polled[0].revents)
            break;
        n = recv(init->socket_fd, &byte, 1, MSG_DONTWAIT);
        if (n == 0)
            _exit(0); /* the supervisor is gone, and with us the box */
        if (n == 1 && byte == 'K') {
            (void)kill(pid, SIGKILL);
            killed = true;
        }
    }
    while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
        ;
    send_byte(init->socket_fd, 'D', NULL, 0);
}

static void serve(const struct nj_init *init)
{
    for (;;) {
        int fds[CALL_FDS_MAX];
        size_t n_fds = CALL_FDS_MAX, len;
        struct nj_error err;
        char byte;

        if (nj_fsio_recvmsg(init->socket_fd, &byte, 1, &len, fds, &n_fds, &err) != 0 || len == 0)
            _exit(0);
        if (byte == 'C' && n_fds >= 3)
            run_call(init, fds, n_fds);
        /* A 'K' that crossed the end of its call asks for nothing any more. */
    }
}

void nj_init_run(const struct nj_init *init)
{
    static const uint64_t kept_caps = UINT64_C(1) << CAP_SYS_ADMIN; /* for the mounts of calls */
    nj_auto_close int workspace_fd = -1, files_fd = -1, changes_fd = -1;
    enum nj_init_stage stage;
    int errnum = 0, fds[3];
    size_t n_fds = 0;
    char go;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    (void)prctl(PR_SET_NAME, "nj-init", 0, 0, 0);
    (void)umask(0); /* modes are what the plan says */
    reset_signals();
    if (recv(init->socket_fd, &go, 1, 0) != 1 || go != 'G')
        _exit(EXIT_FAILED);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    keep_two_fds(init->socket_fd, init->alive_fd);
    stage = build(init, &files_fd, &errnum);
    if (stage == NJ_INIT_NONE) {
        workspace_fd = open(NJ_BOX_WORKSPACE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (workspace_fd < 0) {
            errnum = errno;
            stage = NJ_INIT_WORKSPACE;
        }
        changes_fd = nj_changes_mark(NJ_BOX_WORKSPACE); /* without it the supervisor knows others */
    }
    if (stage == NJ_INIT_NONE && (drop_bounding() < 0 || set_caps(kept_caps) < 0)) {
        errnum = EPERM;
        stage = NJ_INIT_PRIVILEGES;
    }
    if (stage != NJ_INIT_NONE) {
        fail(init->share, stage, errnum);
        send_byte(init->socket_fd, 'F', NULL, 0);
        _exit(EXIT_FAILED);
    }
    fds[n_fds++] = workspace_fd;
    if (files_fd >= 0)
        fds[n_fds++] = files_fd;
    if (changes_fd >= 0)
        fds[n_fds++] = changes_fd;
    send_byte(init->socket_fd, files_fd >= 0 ? 'V' : 'R', fds, n_fds);
    for (size_t i = 0; i < n_fds; i++)
        (void)close(fds[i]);
    workspace_fd = files_fd = changes_fd = -1;
    serve(init);
    _exit(0);
}
