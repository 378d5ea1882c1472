/*
 * plan.h - a plan spelled out as operations: data that can be printed and tested without doing any
 * of it
 *
 * init carries the open operations out in order, once, in a fresh root directory; the reaper of
 * each call carries the call operations out in a mount namespace of its own. Nothing is allocated
 * there: all memory is in the arena given to nj_ops_build(), made before the processes are.
 */
#ifndef NJ_SANDBOX_PLAN_H
#define NJ_SANDBOX_PLAN_H

#include "batch/sandbox/sandbox.h"

#define NJ_BOX_UID 1000
#define NJ_BOX_GID 1000
#define NJ_BOX_USER "agent"
#define NJ_BOX_PATH_VARIABLE "/usr/local/bin:/usr/bin:/bin"
#define NJ_BOX_PATH_MAX_BYTES 1023
/* What only init and reapers see; detached, and a fresh tmpfs in its place, before a payload
 * starts. */
#define NJ_BOX_HIDDEN "/run"
#define NJ_BOX_WORKSPACE                                                                           \
    NJ_BOX_HIDDEN "/workspace" /* the one tmpfs whose tree mirrors the writable paths */
#define NJ_BOX_SCRIPTS "/run"
#define NJ_BOX_FILES_MAX NJ_TREE_ENTRIES_MAX

/* Each operation once: enumerator and the word it is printed with. */
#define NJ_OP_KINDS(X)                                                                             \
    X(DIR, "directory")      /* mkdir target, mode; an existing one is fine */                     \
    X(FILE, "file")          /* create target with the bytes of source */                          \
    X(LINK, "link")          /* symlink target -> source */                                        \
    X(TMPFS, "tmpfs")        /* mount a tmpfs with the options in source */                        \
    X(PROC, "proc")          /* mount a procfs of the process's own pid namespace */               \
    X(BIND, "bind")          /* recursive bind of source, with the flags */                        \
    X(INSIDE, "bind inside") /* the same, at a target an agent may have tampered with */           \
    X(FREEZE, "read-only")   /* target, inside a writable path, onto itself */                     \
    X(MASK, "mask")          /* /dev/null over target, where it exists */                          \
    X(COVER, "cover")        /* source over target, where it exists, as it is mounted there */     \
    X(SEAL, "seal")          /* the mount at target becomes read-only */                           \
    X(HIDE, "detach")        /* unmount target and all below it */

enum nj_op_kind {
#define X(name, text) NJ_OP_##name,
    NJ_OP_KINDS(X)
#undef X
};

enum { NJ_OP_READ_ONLY = 1, NJ_OP_DEVICES = 2, NJ_OP_NOEXEC = 4 };

struct nj_op {
    enum nj_op_kind kind;
    const char
        *target; /* absolute in the box; carried out relative to the current directory, its root */
    const char *source;
    unsigned flags;
    unsigned mode;
};

/* A directory that must exist in the workspace before a call: a writable path or a place to mount
 * at. */
struct nj_op_place {
    const char *path; /* from the workspace's root, no "/" first */
    unsigned mode;
};

struct nj_ops {
    const struct nj_op *open;
    size_t n_open;
    const struct nj_op *call;
    size_t n_call;
    const struct nj_op_place *places;
    size_t n_places;
};

/* nj_ops_build - spell @plan (checked) out on this host; inputs are in the directory @store */
int nj_ops_build(const struct nj_box_plan *plan, const char *store, struct nj_arena *arena,
                 struct nj_ops *ret_ops, struct nj_error *err) NJ_MUST_USE;

/* nj_op_text - a line for people, without line end */
int nj_op_text(const struct nj_op *op, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_plan_inside - @path is @top or below it */
bool nj_plan_inside(const char *path, const char *top);

#define NJ_PLAN_INPUT_NAME_BYTES (2 * NJ_DIGEST_HEX_CHARS + 2)
/* nj_plan_input_name - the directory of an input in the store */
void nj_plan_input_name(const struct nj_workspace_ref *ref, char name[NJ_PLAN_INPUT_NAME_BYTES]);

/* nj_plan_rootfs_name - the directory of an image in the store */
#define NJ_PLAN_ROOTFS_NAME_BYTES (NJ_PLAN_INPUT_NAME_BYTES + 7)
void nj_plan_rootfs_name(const struct nj_workspace_ref *image,
                         char name[NJ_PLAN_ROOTFS_NAME_BYTES]);

/* What a box says of itself in /etc whatever its image says there: the helper makes these files in
 * every image, so that there is something to mount over. */
#define NJ_PLAN_OWN_ETC(X)                                                                         \
    X("passwd") X("group") X("hosts") X("hostname") X("nsswitch.conf") X("resolv.conf")

#endif
