/*
 * sandbox.h - boxes: where tool calls run
 *
 * Order of calls: nj_sandbox_start() early, while the process is small and (as root) still
 * privileged: it starts the helper, the only process that keeps what building boxes needs. Then, on
 * the caller's event loop: nj_box_open() -> [nj_box_restore()] -> nj_box_call() ... ->
 * nj_box_close(). Each of these ends in one callback; a box does one thing at a time and asking for
 * a second is a mistake of the caller (asserted). When a supervisor dies, the operation under way
 * ends in its callback with NJ_E_UPSTREAM ("the box was lost: ...") and every later one fails so at
 * once; closing it is always right.
 *
 * Processes: helper -> supervisor (one a box) -> init (pid 1 of the box's namespaces) -> a reaper
 * and a payload a call, in a pid namespace of their own. Nothing outlives a call but files.
 *
 * What always holds: the payload has no capability, no_new_privs, an allow-list filter, descriptors
 * 0, 1, 2 only, no network but its own loopback, and sees as writable only the plan's paths, which
 * share one tmpfs with one hard size. As root every box has a host uid of its own.
 */
#ifndef NJ_SANDBOX_H
#define NJ_SANDBOX_H

#include <sys/types.h>

#include "formats/journal/event.h"

struct event_base; /* libevent */

#define NJ_BOX_PATHS_MAX 64
#define NJ_BOX_ENV_MAX 128
#define NJ_BOX_HEAD_BYTES (48u << 10) /* default cap of an output stream's head */
#define NJ_BOX_SEED_BYTES 32
#define NJ_BOX_TAIL_BYTES (16u << 10) /* and of the ring that keeps its tail */

/* A read-only tree placed into every box that asks for it; made once per run by the helper. */
struct nj_box_mount {
    const char *target;            /* absolute path in the box */
    struct nj_workspace_ref input; /* must have been given to nj_sandbox_add_input() */
};

/* What a box is, as data: can be printed (nj_box_plan_print) and tested without building it. All
 * memory is borrowed and must live until the box is open. */
struct nj_box_plan {
    const char *const *writable_paths; /* absolute, normalised; captured */
    size_t n_writable_paths;
    const char *const *read_only_paths; /* under a writable path, or a mount: made read-only */
    size_t n_read_only_paths;
    const struct nj_box_mount *mounts;
    size_t n_mounts;
    uint64_t max_size_bytes;   /* of the one tmpfs; ENOSPC beyond */
    uint64_t max_files;        /* its inodes */
    uint64_t max_memory_bytes; /* of the box's processes, workspace not counted */
    uint64_t max_processes;
    uint64_t max_cpu_micro; /* millionths of a CPU for all of them together; 0: no limit */
    const char *hostname;   /* seen inside */
    const struct nj_workspace_ref *rootfs; /* an image given to nj_sandbox_add_rootfs(); NULL: the
                                            * host's system directories */
    unsigned level; /* of reproducibility that is aimed at, 0 to NJ_LEVEL_MAX (README.md) */
};

/* nj_box_plan_default - 512 MB workspace, 2048 MB memory, 256 processes, /workspace and /tmp */
void nj_box_plan_default(struct nj_box_plan *ret_plan);

/* nj_box_plan_check - faults a person can mend (a writable path over /usr, a relative target...):
 * NJ_E_INPUT */
int nj_box_plan_check(const struct nj_box_plan *plan, struct nj_error *err) NJ_MUST_USE;

/* nj_box_plan_print - append the operations in order, one line each, the filter by family with its
 * reason, and the limits with how this host keeps them ("memory 2048 MiB: cgroup v1" or "soft:
 * rlimits and watchdog") */
int nj_box_plan_print(const struct nj_box_plan *plan, struct nj_buf *out,
                      struct nj_error *err) NJ_MUST_USE;

struct nj_sandbox;
struct nj_box;

/* nj_sandbox_start - start the helper, a program of its own (helper.h)
 *
 * @run_name  names leftovers (cgroups) so that the next start can sweep them; [A-Za-z0-9_.-]
 *
 * Probes the host first and fails with NJ_E_SYSTEM naming what is missing and its cure; never a
 * weaker sandbox in silence. Call before threads exist and before dropping privileges. As root the
 * helper stays root. nj_sandbox_attach() then connects it to the caller's loop (after which
 * callbacks may come).
 */
int nj_sandbox_start(const char *run_name, struct nj_sandbox **ret_sandbox,
                     struct nj_error *err) NJ_MUST_USE;
int nj_sandbox_attach(struct nj_sandbox *sandbox, struct event_base *base,
                      struct nj_error *err) NJ_MUST_USE;

/* nj_sandbox_free - ends all boxes and the helper, and waits for them (bounded) */
void nj_sandbox_free(struct nj_sandbox *sandbox);
NJ_DEFINE_AUTO_PTR(struct nj_sandbox, nj_sandbox_free);

/* nj_sandbox_add_input - hand a tree to the helper, which keeps it for the mounts of later boxes.
 * May be called before or after attach; blocking; the same input twice is free. */
int nj_sandbox_add_input(struct nj_sandbox *sandbox, const struct nj_workspace_ref *input,
                         const struct nj_object_source *source, struct nj_error *err) NJ_MUST_USE;

/* The one file in the folder that holds an archive. */
#define NJ_BOX_ROOTFS_TAR "rootfs.tar"

/* nj_sandbox_add_rootfs - hand an image to the helper, which keeps its files for the boxes whose
 * plan names it. @is_tar: @image is a folder with NJ_BOX_ROOTFS_TAR (plain or packed by gzip, xz
 * or zstd), which is unpacked by a confined process; else it is the image's files. Of an image that
 * cannot be a root (a path that leads out, a device outside /dev, no /usr or /bin) NJ_E_INPUT tells
 * the first such entry. As nj_sandbox_add_input() otherwise. */
int nj_sandbox_add_rootfs(struct nj_sandbox *sandbox, const struct nj_workspace_ref *image,
                          bool is_tar, const struct nj_object_source *source,
                          struct nj_error *err) NJ_MUST_USE;

/* nj_sandbox_boxes_bearable - how many boxes can be kept so that as many of another run of this
 * user have what theirs need of the kernel: each hears of changes by a fanotify group and an
 * inotify instance, of which a user has some 128. Boxes of root have users of their own. */
size_t nj_sandbox_boxes_bearable(void);

/* nj_sandbox_memory - what this process and its boxes can have: the host's, or less where a cgroup
 * bounds them, as in a container. @sandbox NULL: of this process. */
struct nj_sandbox_memory {
    uint64_t total_bytes;
    uint64_t available_bytes;
};
int nj_sandbox_memory(const struct nj_sandbox *sandbox, struct nj_sandbox_memory *ret_memory,
                      struct nj_error *err) NJ_MUST_USE;

/* nj_box_open - build a box with an empty workspace. @opened gets the box, or NULL and why; never
 * before nj_box_open() returned. */
typedef void (*nj_box_opened)(void *ctx, struct nj_box *box, const struct nj_error *err);
int nj_box_open(struct nj_sandbox *sandbox, const struct nj_box_plan *plan, nj_box_opened opened,
                void *ctx, struct nj_error *err) NJ_MUST_USE;

/* nj_sandbox_ahead - open up to @boxes_max boxes ahead (NJ_SANDBOX_AHEAD_MAX at most; 0, as at the
 * start: none), of the plans that are being opened, so that the next nj_box_open() of such a plan
 * finds its box made. They cost what idle boxes cost. May be changed at any time: what is too many
 * then is closed. */
#define NJ_SANDBOX_AHEAD_MAX 3
void nj_sandbox_ahead(struct nj_sandbox *sandbox, size_t boxes_max);

/* nj_box_restore - make the box's workspace exactly @ref: contents, modes, xattrs, links,
 * nanosecond mtimes, listing order. @objects_fd is a memfd of encoded objects (object.h) holding
 * all that nj_tree_reach() names; taken. Objects that a box still holds from an earlier state need
 * not be in it. */
typedef void (*nj_box_done)(void *ctx, const struct nj_error *err); /* err NULL: done */
int nj_box_restore(struct nj_box *box, const struct nj_workspace_ref *ref, int objects_fd,
                   nj_box_done done, void *ctx, struct nj_error *err) NJ_MUST_USE;

/* One call. All memory is borrowed until nj_box_call() returns. */
struct nj_box_call {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in the box's PATH */
    const char *const
        *env; /* "NAME=value", NULL-terminated, on top of the fixed environment; may be NULL */
    const char *cwd; /* absolute; NULL: the first writable path */
    const char
        *script_name; /* NULL, or: @script appears at /run/<script_name>, mode 0444, not captured */
    struct nj_span script;
    struct nj_span input;      /* standard input; empty: /dev/null */
    uint64_t timeout_ms;       /* of this call: NJ_LIMIT_TIMEOUT */
    uint64_t runtime_left_ms;  /* of the session: NJ_LIMIT_RUNTIME */
    uint64_t runtime_limit_ms; /* the configured whole, reported when it strikes */
    size_t head_max_bytes;
    size_t tail_max_bytes;
    uint8_t seed[NJ_BOX_SEED_BYTES]; /* the session's; with @step all randomness of the call */
    uint64_t step;                   /* the call's number in its session */
    int64_t clock_ns; /* virtual wall time at which it starts, 0 to INT64_MAX / 2; D1 and up */
};

/* What a call left. Memory is the callee's until the callback returns; objects_fd is taken by the
 * callback. */
struct nj_box_result {
    struct nj_call_outcome outcome; /* outcome.tree and meta.stamps name the captured workspace */
    struct nj_call_meta meta;
    int objects_fd; /* memfd of encoded objects that are new since the last capture or restore; -1:
                       none */
    uint64_t objects_bytes;
    uint64_t files_hashed; /* how much work the capture was: for metrics and tests */
};

typedef void (*nj_box_called)(void *ctx, const struct nj_box_result *result,
                              const struct nj_error *err); /* exactly one is non-NULL */

/* Output as it comes, for calls that run longer than 250 ms: pieces of the head only. May be NULL.
 */
typedef void (*nj_box_output)(void *ctx, int stream, struct nj_span piece); /* stream 1 or 2 */

int nj_box_call(struct nj_box *box, const struct nj_box_call *call, nj_box_output output,
                nj_box_called called, void *ctx, struct nj_error *err) NJ_MUST_USE;

/* nj_box_cancel - end the call under way at once; its callback comes with exit SIGNALLED, status 9
 */
void nj_box_cancel(struct nj_box *box);

/* nj_box_scan - a full hash walk of the workspace beside the last capture; misses must be 0 */
typedef void (*nj_box_scanned)(void *ctx, uint64_t files, uint64_t misses,
                               const struct nj_error *err);
int nj_box_scan(struct nj_box *box, nj_box_scanned scanned, void *ctx,
                struct nj_error *err) NJ_MUST_USE;

/* nj_box_close - end the box and all its processes; takes @box, accepts NULL. Never blocks. No
 * callback comes after it, not even of an operation under way. */
void nj_box_close(struct nj_box *box);

pid_t nj_box_supervisor_pid(const struct nj_box *box); /* for tests and status */

#endif
