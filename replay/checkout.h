/*
 * checkout.h - a recorded workspace as files of this host
 *
 * The tree is hostile until proven otherwise, so nothing is ever written through a path: each name
 * is created in its parent's descriptor (openat2 beneath it, no symlinks), links are made but never
 * followed, special files are left out, and no bit that gives rights (setuid, setgid) is set. Modes
 * and times are those of the record; owner and extended attributes are not.
 */
#ifndef NJ_REPLAY_CHECKOUT_H
#define NJ_REPLAY_CHECKOUT_H

#include "formats/object/object.h"

struct nj_checkout {
    struct nj_object_source source;
    struct nj_workspace_ref workspace;
    uint64_t max_size_bytes; /* of the session: its workspace holds no more */
    const char *only; /* "workspace/out": nothing but this and what is below; NULL: everything */
    int target_fd;    /* of the folder that becomes the workspace's root; borrowed */
    bool force;       /* replace files that are there; never a folder or what a link points to */
};

struct nj_checkout_report {
    uint64_t files;
    uint64_t folders;
    uint64_t links;
    uint64_t bytes;
    uint64_t skipped_special; /* FIFOs and sockets */
    uint64_t skipped_xattrs;  /* files and folders that had some */
    uint64_t dropped_rights;  /* files and folders that had setuid or setgid bits */
};

/* nj_checkout - write it. On failure what was written stays. Fails with NJ_E_CORRUPT (the tree),
 * NJ_E_INPUT (a file is in the way), NJ_E_LIMIT (more than fits, or than the session could keep;
 * found before anything is written)
 * or NJ_E_SYSTEM. */
int nj_checkout(const struct nj_checkout *checkout, struct nj_checkout_report *ret_report,
                struct nj_error *err) NJ_MUST_USE;

/* nj_checkout_target - open @path as a target: made when missing (@ret_made, also on failure); an
 * existing one must be an empty folder, or any with @force */
int nj_checkout_target(const char *path, bool force, int *ret_fd, bool *ret_made,
                       struct nj_error *err) NJ_MUST_USE;

#endif
