/*
 * supervisor.h - the one process that stands between the engine and a box
 *
 * Forked by the helper for each box. It gives up the helper's privileges, clones init, joins the
 * box's user namespace (to read files of mode 000), makes the workspace its root directory,
 * confines itself by a filter and serves the engine until that closes the socket. See README.md for
 * what it holds at each point.
 */
#ifndef NJ_SANDBOX_SUPERVISOR_H
#define NJ_SANDBOX_SUPERVISOR_H

#include "batch/sandbox/init.h"
#include "batch/sandbox/limits.h"
#include "batch/sandbox/virtual/files.h"
#include "batch/sandbox/virtual/virtual.h"
#include "batch/sandbox/workspace.h"

/* What the helper gives; descriptors are the supervisor's. */
struct nj_supervisor_setup {
    int engine_fd;
    int alive_fd;
    const struct nj_box_plan *plan; /* checked */
    const struct nj_ops *ops;       /* the same, spelled out */
    const char *store;              /* inputs; its directory "root" is where boxes are built */
    uid_t own_uid;                  /* to become; (uid_t)-1: stay who we are */
    pid_t helper_pid;
    struct nj_cgroup cgroup;
    const struct nj_filter *payload_filter;
    const struct nj_filter *supervisor_filter;
};

void nj_supervisor_run(struct nj_supervisor_setup *setup) __attribute__((noreturn));

/* A box as its supervisor holds it. */
struct nj_supervisor {
    const struct nj_supervisor_setup *setup;
    struct nj_ops ops;
    struct nj_init_share *share;
    struct nj_workspace *workspace;
    struct nj_changes *changes; /* the workspace's */
    struct nj_files files;      /* what is read from the seed and the clock; level D1 and up */
    int64_t clock_ns;           /* what /proc/uptime goes by */
    int engine_fd;              /* non-blocking */
    int init_fd;
    int call_fd;    /* to whoever takes the next call */
    bool placed;    /* the directories that calls mount at exist */
    bool prepared;  /* init has been asked for a reaper, and what it mounts is still right */
    bool rehearsed; /* what a call touches was touched before */
    pid_t init_pid;
    int null_fd;
    int sockets_fd;             /* lists the unix sockets of the box; -1: they cannot be listed */
    struct nj_virtual *virtual; /* the reproducible layer */
    int64_t made_ns;            /* by the kernel's clock: what is younger was made by the box */
    int proc_fd; /* the host's, for the watchdog; -1 where a cgroup bounds memory and processes */
};

/* nj_supervisor_call - run one call to its end and send what it left. @in holds the CALL message
 * and its descriptors. Fails when the box is no longer usable. */
int nj_supervisor_call(struct nj_supervisor *supervisor, struct nj_msg_in *in,
                       struct nj_error *err) NJ_MUST_USE;

/* nj_supervisor_hear_init - one word; false when it is not one, or init is gone */
bool nj_supervisor_hear_init(struct nj_supervisor *supervisor, struct nj_init_word *ret_word);

/* nj_supervisor_send - send to the engine, waiting while the socket is full */
int nj_supervisor_send(struct nj_supervisor *supervisor, const struct nj_msg *msg, const int *fds,
                       size_t n_fds, struct nj_error *err) NJ_MUST_USE;

/* A sink that collects encoded objects in a memfd. */
struct nj_supervisor_objects {
    int fd; /* -1 until the first object */
    uint64_t bytes;
};
int nj_supervisor_put(void *objects, const struct nj_object *object,
                      struct nj_error *err) NJ_MUST_USE;

#endif
