/*
 * init.c - pid 1 of a box, and the reapers of its calls
 *
 * Between clone and exec nothing is allocated and nothing can be reported but through the shared
 * page. Three complications. A reaper needs its capabilities to mount, a payload must have none,
 * and must not be able to look into the reaper; so all of init's line is undumpable before the
 * first payload exists. Copying init's memory twice would be half of a short call's cost, so a
 * reaper runs in init's memory on a stack of its own, and the payload in the reaper's until exec,
 * which waits for it. They share errno: init makes no call that fails while a reaper lives. And a
 * reaper is made ahead of its call, so what happens to it may happen to no call, to this one or to
 * the last: numbers tell which.
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
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "batch/sandbox/changes.h"
#include "batch/sandbox/ops.h"
#include "batch/sandbox/payload.h"
#include "batch/sandbox/virtual/files.h"
#include "batch/sandbox/virtual/virtual.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define EXIT_FAILED 127
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

/* ---- rights ---- */

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

/* ---- the reaper ---- */

/* What a reaper and its payload work on; one of them lives at a time. */
struct start {
    const struct nj_init *init;
    struct nj_payload_call call;
};

/* What of a call failed, kept until there is a call to tell it to. */
struct failure {
    enum nj_init_stage stage;
    int errnum;
    uint32_t op;
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

static void note_usage(struct nj_init_share *share)
{
    struct rusage usage;

    if (getrusage(RUSAGE_CHILDREN, &usage) < 0)
        return;
    share->cpu_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
                    (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    share->max_rss_kb = (uint64_t)usage.ru_maxrss;
}

/* first_late - the first operation that depends on what an agent may do to the workspace until the
 * call comes */
static size_t first_late(const struct nj_ops *ops)
{
    for (size_t i = 0; i < ops->n_call; i++) {
        if (ops->call[i].kind == NJ_OP_INSIDE || ops->call[i].kind == NJ_OP_FREEZE)
            return i;
    }
    return ops->n_call;
}

static void do_ops(const struct nj_ops *ops, size_t first, size_t end, struct failure *failure)
{
    for (size_t i = first; i < end && failure->stage == NJ_INIT_NONE; i++) {
        const struct nj_op *op = &ops->call[i];
        bool inside = op->kind == NJ_OP_INSIDE || op->kind == NJ_OP_FREEZE;
        int r = nj_op_do(op);

        if (r < 0)
            *failure =
                (struct failure){inside ? NJ_INIT_TAMPERED : NJ_INIT_CALL_OP, -r, (uint32_t)i};
    }
}

/* prepare - the mounts of a call, and the call itself where its payload cannot wait for it. Ends
 * the process when this fails. */
static void prepare(struct start *start)
{
    const struct nj_init *init = start->init;
    size_t late = first_late(init->ops);
    struct failure failure = {NJ_INIT_NONE, 0, 0};

    do_ops(init->ops, 0, late, &failure);
    if (failure.stage == NJ_INIT_NONE && late == init->ops->n_call)
        return;
    nj_payload_take(init, &start->call);
    do_ops(init->ops, late, init->ops->n_call, &failure);
    if (failure.stage == NJ_INIT_NONE) {
        int r = nj_payload_write_script(init, &start->call);

        if (r < 0)
            failure = (struct failure){NJ_INIT_SCRIPT, -r, 0};
    }
    if (failure.stage == NJ_INIT_NONE)
        return;
    init->share->op = failure.op;
    fail(init->share, failure.stage, failure.errnum);
    _exit(EXIT_FAILED);
}

/* tell - to the supervisor: call @number is over, none of its processes is left */
static void tell(const struct nj_init *init, uint32_t number)
{
    const struct nj_init_word word = {'D', number};
    struct nj_error err;

    if (nj_fsio_sendmsg(init->socket_fd, &word, sizeof(word), NULL, 0, &err) != 0)
        _exit(EXIT_FAILED); /* the supervisor is gone, so are we soon */
    init->share->told = number;
}

static int payload_main(void *argument)
{
    struct start *start = argument;
    enum nj_init_stage stage = nj_payload_run(start->init, &start->call);

    fail(start->init->share, stage, errno);
    _exit(EXIT_FAILED);
}

/* end_all - whatever of the call still runs. All of it are our children in the end, and a signal to
 * all meets also those that are being born; so when there is no child any more the call is over,
 * and nobody need wait for the kernel to take its namespaces apart. */
static void end_all(void)
{
    (void)kill(-1, SIGKILL);
    while (waitpid(-1, NULL, __WALL) >= 0 || errno == EINTR)
        ;
}

/* reaper - pid 1 of a call: its exit makes the kernel kill and reap whatever else runs in the call
 */
static int reaper_main(void *argument)
{
    struct start *start = argument;
    const struct nj_init *init = start->init;
    struct nj_init_share *share = init->share;
    pid_t pid;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* a payload may have ended while it showed itself */
    prepare(start);
    clean_stack(payload_stack);
    pid = clone(payload_main, payload_stack + sizeof(payload_stack),
                CLONE_VM | CLONE_VFORK | SIGCHLD, argument);
    if (pid < 0) {
        int errnum = errno;

        if (start->call.n_fds == 0)
            nj_payload_take(init, &start->call);
        fail(share, NJ_INIT_FORK, errnum);
        _exit(EXIT_FAILED);
    }
    (void)close_range(0, 2, 0);
    (void)close(init->call_fd);
    for (size_t i = 0; i < start->call.n_fds; i++)
        (void)close(start->call.fds[i]); /* the supervisor must see the end of the pipes */
    (void)nj_payload_set_caps(0);        /* it only waits from here */
    for (;;) {
        int status;
        pid_t ended = waitpid(-1, &status, __WALL);

        if (ended < 0 && errno == EINTR)
            continue;
        if (share->taken == share->told)
            _exit(0); /* it was killed before a call came */
        if (ended == pid || ended < 0) {
            share->status = ended < 0 ? 0 : status;
            share->ended = ended == pid;
            note_usage(share);
            end_all();
            tell(init, share->taken);
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
    return loopback_up();
}

/* await_word - what the supervisor says between two steps; without it there is no box to build */
static void await_word(const struct nj_init *init, char wanted)
{
    char word;

    if (recv(init->socket_fd, &word, 1, 0) != 1 || word != wanted)
        _exit(EXIT_FAILED);
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
    struct nj_cgroup cgroup = init->cgroup;
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
    await_word(init, 'C');
    r = nj_cgroup_join(&cgroup);
    nj_cgroup_entered(&cgroup);
    if (r < 0) {
        *ret_errno = -r;
        return NJ_INIT_JOIN;
    }
    if (unshare(CLONE_NEWCGROUP) < 0) { /* now that the box's own cgroup is the root it sees */
        *ret_errno = errno;
        return NJ_INIT_CGROUP;
    }
    return NJ_INIT_NONE;
}

/* keep_fds - close everything but 0, 1, 2 and init's own */
static void keep_fds(const struct nj_init *init)
{
    int kept[3 + NJ_CGROUP_CONTROLLERS] = {init->socket_fd, init->call_fd, init->alive_fd};
    unsigned next = 3;

    memcpy(kept + 3, init->cgroup.tasks_fd, sizeof(init->cgroup.tasks_fd)); /* some are -1 */
    for (;;) { /* the lowest that is not behind us, until there is none */
        unsigned lowest = ~0u;

        for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
            if (kept[i] >= (int)next && (unsigned)kept[i] < lowest)
                lowest = (unsigned)kept[i];
        }
        if (lowest > next)
            (void)close_range(next, lowest == ~0u ? ~0u : lowest - 1, 0);
        if (lowest == ~0u)
            return;
        next = lowest + 1;
    }
}

/* The one reaper that lives, made ahead of its call or for it. */
struct reaper {
    pid_t pid; /* 0: none */
    int pid_fd;
};

/* drop_call - take the message of call @number, which will not run, if it is there */
static void drop_call(const struct nj_init *init, uint32_t number)
{
    struct nj_payload_call call = {.n_fds = 0};
    struct nj_init_word word;
    ssize_t n = recv(init->call_fd, &word, sizeof(word), MSG_PEEK | MSG_DONTWAIT);

    if (n != sizeof(word) || word.call != number)
        return;
    nj_payload_take(init, &call);
    for (size_t i = 0; i < call.n_fds; i++)
        (void)close(call.fds[i]);
}

/* end_call - there is no reaper that could run call @number to its end, or tell it */
static void end_call(const struct nj_init *init, uint32_t number)
{
    drop_call(init, number);
    tell(init, number);
}

/* begin_reaper - returns 0 or the negative errno */
static int begin_reaper(const struct nj_init *init, struct reaper *reaper)
{
    static struct start start; /* outlives the reaper, which is waited for before the next */
    int r;

    start = (struct start){.init = init};
    clean_stack(reaper_stack);
    reaper->pid = clone(reaper_main, reaper_stack + sizeof(reaper_stack),
                        CLONE_VM | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | SIGCHLD, &start);
    reaper->pid_fd = reaper->pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, reaper->pid, 0);
    if (reaper->pid_fd >= 0)
        return 0;
    r = -errno;
    if (reaper->pid > 0) {
        (void)kill(reaper->pid, SIGKILL);
        while (waitpid(reaper->pid, NULL, __WALL) < 0 && errno == EINTR)
            ;
    }
    reaper->pid = 0;
    return r;
}

static void bury(const struct nj_init *init, struct reaper *reaper)
{
    while (waitpid(reaper->pid, NULL, __WALL) < 0 && errno == EINTR)
        ;
    (void)close(reaper->pid_fd);
    *reaper = (struct reaper){0, -1};
    if (init->share->taken != init->share->told) /* it could not say so itself */
        end_call(init, init->share->taken);
}

static void end_reaper(const struct nj_init *init, struct reaper *reaper)
{
    if (reaper->pid == 0)
        return;
    (void)kill(reaper->pid, SIGKILL);
    bury(init, reaper);
}

/* hear - one word of the supervisor */
static void hear(const struct nj_init *init, struct reaper *reaper, bool *wanted)
{
    const struct nj_init_share *share = init->share;
    struct nj_init_word word;
    ssize_t n = recv(init->socket_fd, &word, sizeof(word), 0);

    if (n != sizeof(word))
        _exit(0); /* the supervisor is gone, and with us the box */
    switch (word.word) {
    case 'P': /* the last call's reaper may still be about to end */
        *wanted = true;
        break;
    case 'X':
        *wanted = false;
        if (share->taken == share->told)
            end_reaper(init, reaper);
        if (send(init->socket_fd, &word, sizeof(word), MSG_NOSIGNAL) != sizeof(word))
            _exit(0);
        break;
    case 'K':
        if (word.call <= share->told)
            break; /* crossed its end */
        end_reaper(init, reaper);
        if (word.call > share->told)
            end_call(init, word.call);
        break;
    default:
        break;
    }
}

static void serve(const struct nj_init *init)
{
    struct reaper reaper = {0, -1};
    bool wanted = false;

    for (;;) {
        struct pollfd polled[3] = {{reaper.pid_fd, POLLIN, 0},
                                   {init->socket_fd, POLLIN, 0},
                                   {reaper.pid == 0 ? init->call_fd : -1, POLLIN, 0}};

        if (poll(polled, 3, -1) < 0)
            continue; /* EINTR; nothing else can happen to a valid list */
        if (polled[0].revents)
            bury(init, &reaper);
        if (polled[1].revents)
            hear(init, &reaper, &wanted);
        if (reaper.pid == 0 && (wanted || polled[2].revents)) {
            int r = begin_reaper(init, &reaper);

            if (r < 0 && polled[2].revents) { /* ahead of a call nobody need know */
                fail(init->share, NJ_INIT_CLONE, -r);
                end_call(init, init->share->number);
            }
            wanted = false;
        }
    }
}

void nj_init_run(const struct nj_init *init)
{
    static const uint64_t kept_caps = UINT64_C(1) << CAP_SYS_ADMIN; /* for the mounts of calls */
    nj_auto_close int workspace_fd = -1, files_fd = -1, changes_fd = -1;
    enum nj_init_stage stage;
    int errnum = 0, fds[3];
    size_t n_fds = 0;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    (void)prctl(PR_SET_NAME, "nj-init", 0, 0, 0);
    (void)umask(0); /* modes are what the plan says */
    reset_signals();
    await_word(init, 'G');
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    keep_fds(init);
    stage = build(init, &files_fd, &errnum);
    if (stage == NJ_INIT_NONE) {
        workspace_fd = open(NJ_BOX_WORKSPACE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (workspace_fd < 0) {
            errnum = errno;
            stage = NJ_INIT_WORKSPACE;
        }
        changes_fd = nj_changes_mark(NJ_BOX_WORKSPACE); /* without it the supervisor knows others */
    }
    if (stage == NJ_INIT_NONE && (drop_bounding() < 0 || nj_payload_set_caps(kept_caps) < 0)) {
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
