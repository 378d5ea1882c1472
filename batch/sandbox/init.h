/*
 * init.h - pid 1 of a box, and the reaper and payload of each call
 *
 * init is cloned by the supervisor into namespaces of its own. It carries the plan's open
 * operations out, hands the workspace's root directory to the supervisor and then waits for calls.
 * Per call it clones a reaper (pid 1 of a new pid, mount and ipc namespace), which carries the call
 * operations out and forks the payload; the end of the reaper is the end of every process of the
 * call.
 *
 * Supervisor and init share one mapping made before the clone, so nothing is allocated or parsed in
 * the box: the supervisor fills the request part, the box the answer part. A payload loses the
 * mapping at exec.
 *
 * Two sockets between them. A call comes by the second, as the word 'C' with stdin, stdout, stderr
 * and perhaps the script; whoever is ready for it takes it: a payload that waits for it, or a
 * reaper that has still to do for it. The other way payloads of a level above 0 send their
 * listeners, ahead of their calls where they wait for them: the byte 'L', without a descriptor
 * where the kernel gave none. On the first, supervisor -> init: the byte 'G' go on (mapped), the
 * byte 'C' go on (in its cgroup of v2), then words (struct nj_init_word): 'P' prepare a reaper
 * ahead of its call, 'K' end this call, 'X' end what was prepared (and answer so: the workspace is
 * about to be replaced); init -> supervisor: the byte 'R' ready, with the workspace's directory
 * and, where the kernel lets init have it, a fanotify descriptor that hears it; 'F' failed, see
 * share; then the word 'D' (from the reaper itself, or from init when it could not): that call is
 * over, all its processes are gone. One call may be told twice, when a reaper is killed while it
 * speaks.
 */
#ifndef NJ_SANDBOX_INIT_H
#define NJ_SANDBOX_INIT_H

#include <sys/resource.h>

#include "batch/sandbox/cgroup.h"
#include "batch/sandbox/filter.h"
#include "batch/sandbox/plan.h"
#include "batch/sandbox/protocol.h"

#define NJ_INIT_ENV_MAX (NJ_BOX_ENV_MAX + 16)
#define NJ_INIT_TEXT_MAX_BYTES NJ_MSG_MAX_BYTES

/* Where a failure happened; the text is what a person reads. */
#define NJ_INIT_STAGES(X)                                                                          \
    X(NONE, "")                                                                                    \
    X(NAMES, "set host name and loopback")                                                         \
    X(PRIVATE, "make mounts private")                                                              \
    X(ROOT, "mount the box's root")                                                                \
    X(OPEN_OP, "build the box")                                                                    \
    X(PIVOT, "pivot_root")                                                                         \
    X(JOIN, "enter the box's cgroups")                                                             \
    X(CGROUP, "make a cgroup namespace")                                                           \
    X(WORKSPACE, "open the workspace")                                                             \
    X(PRIVILEGES, "drop privileges")                                                               \
    X(CLONE, "start a call")                                                                       \
    X(CALL_OP, "prepare a call")                                                                   \
    X(TAMPERED, "mount inside the workspace")                                                      \
    X(SCRIPT, "write the script")                                                                  \
    X(FORK, "start the payload")                                                                   \
    X(CWD, "change to the working directory")                                                      \
    X(EXEC, "run the program")

enum nj_init_stage {
#define X(name, text) NJ_INIT_##name,
    NJ_INIT_STAGES(X)
#undef X
};

const char *nj_init_stage_text(enum nj_init_stage stage);

struct nj_init_limits {
    uint64_t file_bytes; /* beyond what the tmpfs holds, so that a full one says ENOSPC first;
                            bounds sparse files */
    uint64_t processes;  /* RLIMIT_NPROC, a backstop; counts what runs as the box's user in its user
                            namespace */
    uint64_t data_bytes; /* RLIMIT_DATA; 0: none, a cgroup bounds memory */
};

struct nj_init_share {
    /* written by the supervisor before the first word */
    uint32_t level; /* of reproducibility; above 0 payloads send their listeners */

    /* the request, written by the supervisor before 'C' */
    uint32_t n_args;
    uint32_t n_env;
    uint32_t args_at[NJ_BOX_ARGS_MAX + 1]; /* offsets into text */
    uint32_t env_at[NJ_INIT_ENV_MAX + 1];
    uint32_t cwd_at;
    uint32_t script_at; /* 0: none */
    uint32_t number;    /* of the call; they count from 1 */
    char text[NJ_INIT_TEXT_MAX_BYTES + 4096];

    /* the answer, written in the box */
    volatile uint32_t taken; /* the last call that somebody took */
    volatile uint32_t told;  /* and the last whose end was told; these two are init's own */
    volatile uint32_t stage;
    volatile int32_t sys_errno;
    volatile uint32_t op;         /* OPEN_OP, CALL_OP, TAMPERED: which operation */
    volatile int32_t ended;       /* the payload was waited for: status is valid */
    volatile int32_t status;      /* as of waitpid */
    volatile uint64_t cpu_us;     /* of all that was waited for */
    volatile uint64_t max_rss_kb; /* of the largest process */
};

struct nj_init_word {
    uint32_t word; /* a letter, see above */
    uint32_t call; /* 'C', 'K' and 'D': its number */
};

/* All that init needs, made before the clone. */
struct nj_init {
    int socket_fd;
    int call_fd;           /* by which calls come */
    int alive_fd;          /* kept open as long as init or a reaper lives, for the helper to see */
    const char *stage_dir; /* an empty directory of the store: the box's root is built over it */
    const struct nj_ops *ops;
    const struct nj_filter *filter;
    const char *hostname;
    unsigned level; /* of the plan: above 0 payloads get files.h's files */
    struct nj_init_limits limits;
    struct nj_init_share *share;
    struct nj_cgroup cgroup; /* of v1: what init joins */
};

/* nj_init_run - what the cloned process does; never returns */
void nj_init_run(const struct nj_init *init) __attribute__((noreturn));

#endif
