/*
 * payload.c - a payload up to exec
 *
 * The complication is what it may do when. Limits, capabilities and filters are set before the call
 * is known; what follows is within the list, and where the second filter tells the supervisor of it
 * that lets it pass, until the first exec. What belongs to the call comes later: the bound of a
 * file's size, because the script may be larger than a small workspace allows, and what the
 * supervisor does at the exec, which is when time and randomness begin.
 */
#include "batch/sandbox/payload.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "batch/sandbox/virtual/virtual.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define EXIT_FAILED 127
#define FILES_MAX 4096
#define SIGNALS_MAX 4096 /* queued signals and timers: the kernel's own memory */
#define STACK_BYTES (8u << 20)
#define LOCKED_BYTES (8u << 20) /* this and the next as the kernel has them by itself */
#define QUEUED_BYTES 819200

int nj_payload_set_caps(uint64_t caps)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)caps, (uint32_t)caps, 0},
        {(uint32_t)(caps >> 32), (uint32_t)(caps >> 32), 0},
    };

    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* ---- the call ---- */

void nj_payload_take(const struct nj_init *init, struct nj_payload_call *call)
{
    struct pollfd polled = {init->call_fd, POLLIN, 0};
    struct nj_init_word word;
    struct nj_error err;
    size_t len;

    while (poll(&polled, 1, -1) < 0)
        ; /* EINTR; nothing else can happen to a valid list */
    /* First: who is killed from here on had the call, whether or not its message is still there. */
    init->share->taken = init->share->number;
    call->n_fds = NJ_PAYLOAD_FDS_MAX;
    if (nj_fsio_recvmsg(init->call_fd, &word, sizeof(word), &len, call->fds, &call->n_fds, &err) !=
            0 ||
        len != sizeof(word) || call->n_fds < 3)
        _exit(EXIT_FAILED);
}

int nj_payload_write_script(const struct nj_init *init, const struct nj_payload_call *call)
{
    const char *name = init->share->text + init->share->script_at;
    nj_auto_close int dir_fd = -1, fd = -1;
    struct stat st;
    off_t at = 0;

    if (init->share->script_at == 0 || call->n_fds < 4)
        return 0;
    if (fstat(call->fds[3], &st) < 0)
        return -errno;
    dir_fd = open(NJ_BOX_SCRIPTS, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return -errno;
    fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
    if (fd < 0)
        return -errno;
    while (at < st.st_size) {
        ssize_t n = sendfile(fd, call->fds[3], &at, (size_t)(st.st_size - at));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
    }
    return fchmod(fd, 0444) < 0 ? -errno : 0; /* whatever the umask was */
}

/* ---- rights ---- */

static int set_limit(int resource, uint64_t value)
{
    struct rlimit now, limit = {(rlim_t)value, (rlim_t)value};

    if (getrlimit((__rlimit_resource_t)resource, &now) < 0)
        return -errno;
    if (limit.rlim_max > now.rlim_max)
        limit = (struct rlimit){now.rlim_max, now.rlim_max}; /* raising is not ours to do */
    return setrlimit((__rlimit_resource_t)resource, &limit) < 0 ? -errno : 0;
}

/* What is not of the plan: the same wherever the engine was started. */
static const struct {
    int resource;
    uint64_t value;
} fixed_limits[] = {
    {RLIMIT_CORE, 1}, /* not 0: only 1 keeps a core_pattern that is a pipe from running */
    {RLIMIT_NOFILE, FILES_MAX},
    {RLIMIT_STACK, STACK_BYTES},
    {RLIMIT_SIGPENDING, SIGNALS_MAX},
    {RLIMIT_MEMLOCK, LOCKED_BYTES},
    {RLIMIT_MSGQUEUE, QUEUED_BYTES},
    {RLIMIT_RTPRIO, 0},
    {RLIMIT_NICE, 0},
};

/* set_limits - all but that of a file's size */
static int set_limits(const struct nj_init_limits *limits)
{
    int r = 0;

    for (size_t i = 0; i < sizeof(fixed_limits) / sizeof(fixed_limits[0]) && r >= 0; i++)
        r = set_limit(fixed_limits[i].resource, fixed_limits[i].value);
    if (r >= 0)
        r = set_limit(RLIMIT_NPROC, limits->processes);
    if (r >= 0 && limits->data_bytes > 0)
        r = set_limit(RLIMIT_DATA, limits->data_bytes);
    return r;
}

/* give_rights_up - returns 0 or the negative errno */
static int give_rights_up(const struct nj_init_limits *limits)
{
    int r;

    (void)setsid(); /* pid 2 leads nothing yet, so this cannot fail */
    (void)umask(022);
    r = set_limits(limits);
    if (r >= 0)
        r = nj_payload_set_caps(0); /* the bounding set is empty since init dropped it */
    if (r < 0)
        return r;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return 0;
}

/* send_listener - the one call that may wait and is told to nobody, as nobody could answer it yet;
 * -1: there is no listener */
static int send_listener(int socket_fd, int listener_fd)
{
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec part = {.iov_base = (void *)(uintptr_t) "L", .iov_len = 1};
    struct mmsghdr message = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};

    if (listener_fd >= 0) {
        memcpy(CMSG_DATA(&control.header), &listener_fd, sizeof(listener_fd));
        message.msg_hdr.msg_control = &control;
        message.msg_hdr.msg_controllen = sizeof(control.bytes);
    }
    return sendmmsg(socket_fd, &message, 1, MSG_NOSIGNAL) == 1 ? 0 : -EPIPE;
}

/* show - ourselves to the supervisor, which is to follow our exec and can see nobody whose memory
 * is closed. Ours is init's, so this is done while no process of an agent is in the box, and a
 * reaper closes it once more if we end half-way. */
static int show(void)
{
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
        return -errno;
    nj_virtual_show();
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

/* give_listener - the second filter, and its listener to the supervisor, which serves from then on.
 * Where the kernel has no such thing the supervisor is told so. */
static int give_listener(unsigned level, int socket_fd)
{
    nj_auto_close int fd = -1;
    int r;

    if (personality(ADDR_NO_RANDOMIZE) < 0) /* the vDSO has a fixed address */
        return -errno;
    fd = nj_virtual_install(level);
    r = send_listener(socket_fd, fd);
    return r < 0 || fd < 0 ? r : show();
}

/* confine - all that needs no call; returns 0 or the negative errno */
static int confine(const struct nj_init *init)
{
    int r;

    r = give_rights_up(&init->limits);
    if (r >= 0)
        r = nj_filter_install(init->filter);
    if (r >= 0 && init->share->level > 0)
        r = give_listener(init->share->level, init->call_fd);
    return r;
}

/* ---- exec ---- */

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
        if (access(name, F_OK) < 0 && errno == ENOENT)
            continue; /* asked first: the supervisor is told of each exec, and readies it */
        (void)execve(name, argv, env);
        (void)close_range(3, ~0u, 0); /* what was put here for the program that did not come */
        if (errno != ENOENT)
            kept = errno;
    }
    errno = kept;
}

static void exec_call(const struct nj_init_share *share)
{
    char *argv[NJ_BOX_ARGS_MAX + 1], *env[NJ_INIT_ENV_MAX + 1];

    for (uint32_t i = 0; i < share->n_args; i++)
        argv[i] = (char *)(uintptr_t)share->text + share->args_at[i];
    argv[share->n_args] = NULL;
    for (uint32_t i = 0; i < share->n_env; i++)
        env[i] = (char *)(uintptr_t)share->text + share->env_at[i];
    env[share->n_env] = NULL;
    exec_in_path(argv, env);
}

/* place_fds - 0, 1, 2, and nothing else */
static int place_fds(const int *fds)
{
    /* Received descriptors are 3 and up: 0, 1, 2 were kept busy with /dev/null by init. */
    for (int i = 0; i < 3; i++) {
        if (dup2(fds[i], i) < 0)
            return -1;
    }
    return close_range(3, ~0u, 0);
}

static enum nj_init_stage failed(enum nj_init_stage stage, int r)
{
    errno = -r;
    return stage;
}

enum nj_init_stage nj_payload_run(const struct nj_init *init, struct nj_payload_call *call)
{
    const struct nj_init_share *share = init->share;
    bool ahead = call->n_fds == 0;
    int r;

    r = confine(init);
    if (ahead)
        nj_payload_take(init, call); /* which is told, too, of what failed ahead of it */
    if (r < 0)
        return failed(NJ_INIT_PRIVILEGES, r);
    if (ahead) {
        r = nj_payload_write_script(init, call);
        if (r < 0)
            return failed(NJ_INIT_SCRIPT, r);
    }
    r = set_limit(RLIMIT_FSIZE, init->limits.file_bytes);
    if (r < 0)
        return failed(NJ_INIT_PRIVILEGES, r);
    if (place_fds(call->fds) < 0)
        return NJ_INIT_FORK;
    if (chdir(share->text + share->cwd_at) < 0)
        return NJ_INIT_CWD;
    exec_call(share);
    return NJ_INIT_EXEC;
}
