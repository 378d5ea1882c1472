/*
 * workspace.h - what a box keeps: capture a directory tree into objects, and make one from objects
 *
 * The tree is one tmpfs, reached by one directory descriptor and never by an absolute path. Its
 * owner is hostile: names hold any bytes, directories have mode 000, files are FIFOs. It must be
 * quiescent, no process left; the walk still never follows a link, never leaves the file system and
 * never opens what could block.
 *
 * A workspace remembers what the last capture or restore saw (inode, size, mtime, ctime, digest),
 * so the next capture reads only what changed. See README.md for what cannot be kept and what then
 * happens.
 */
#ifndef NJ_SANDBOX_WORKSPACE_H
#define NJ_SANDBOX_WORKSPACE_H

#include "batch/sandbox/changes.h"
#include "batch/sandbox/objects.h"
#include "batch/sandbox/plan.h"

/* Sparse files can claim more bytes than fit; the sum of what is read is bounded by this many times
 * the size. */
#define NJ_WORKSPACE_APPARENT_FACTOR 4

struct nj_workspace;

/* nj_workspace_new - takes @root_fd, a directory opened for reading, and @changes, which hears it;
 * nothing in it is known yet */
int nj_workspace_new(int root_fd, uint64_t max_size_bytes, struct nj_changes *changes,
                     struct nj_workspace **ret_workspace, struct nj_error *err) NJ_MUST_USE;
void nj_workspace_free(struct nj_workspace *workspace);
NJ_DEFINE_AUTO_PTR(struct nj_workspace, nj_workspace_free);

/* nj_workspace_place - make sure the places exist. Returns 0, or 1 when something that is no
 * directory is in the way of the place *ret_index. A file is good enough where one is asked to be
 * read-only. */
int nj_workspace_place(struct nj_workspace *workspace, const struct nj_op_place *places,
                       size_t n_places, size_t *ret_index, struct nj_error *err) NJ_MUST_USE;

/* nj_workspace_reproduce - from now on (the workspace is empty) files have the times that the
 * virtual clock gives them (virtual/times.h), and stamps tell ctimes and inode numbers */
int nj_workspace_reproduce(struct nj_workspace *workspace, struct nj_error *err) NJ_MUST_USE;

/* nj_workspace_begin - a call begins, before its places are made; nothing where the workspace is
 * not reproducible. The next capture ends it. */
void nj_workspace_begin(struct nj_workspace *workspace, const struct nj_times_clock *clock);

dev_t nj_workspace_device(const struct nj_workspace *workspace);

/* nj_workspace_times - what answers about them; NULL: not reproducible */
struct nj_times *nj_workspace_times(struct nj_workspace *workspace);

struct nj_workspace_capture {
    struct nj_workspace_ref ref;
    uint64_t files;        /* regular files, each inode once */
    uint64_t files_hashed; /* of them, read */
    uint64_t removed; /* entries that no tree can hold: they were removed, live and captured state
                         are equal */
    uint64_t removed_bytes; /* the largest of them, in apparent bytes */
    bool times_lost; /* of a reproducible workspace: times or inode numbers are not what they should
                        be */
};

/* nj_workspace_capture - name the tree as it is; objects that the last capture or restore did not
 * have go to
 * @sink. A file is read when its inode, size, mtime or ctime differ from what is remembered, or
 * when its changes.h says that it may have changed. */
int nj_workspace_capture(struct nj_workspace *workspace, const struct nj_object_sink *sink,
                         struct nj_workspace_capture *ret_capture,
                         struct nj_error *err) NJ_MUST_USE;

/* nj_workspace_restore - make the tree exactly what @ref names. What the present tree holds need
 * not be in
 * @objects. On failure the tree is neither old nor new: end the box. */
int nj_workspace_restore(struct nj_workspace *workspace, const struct nj_workspace_ref *ref,
                         const struct nj_objects *objects, struct nj_error *err) NJ_MUST_USE;

/* nj_workspace_scan - read every file and compare with what is remembered; where the files are as
 * they were but the trees are not, that is one miss */
int nj_workspace_scan(struct nj_workspace *workspace, uint64_t *ret_files, uint64_t *ret_misses,
                      struct nj_error *err) NJ_MUST_USE;

/* nj_workspace_usage - bytes and inodes in use, and whether either is exhausted */
void nj_workspace_usage(struct nj_workspace *workspace, uint64_t *ret_bytes, bool *ret_full);

/* nj_workspace_memory - what it costs the kernel: its pages, and about 1 KiB an inode */
uint64_t nj_workspace_memory(struct nj_workspace *workspace);

/* nj_workspace_input - build the tree of @ref in the empty directory @dir_fd for reading only:
 * modes without write bits, readable by all. What its files claim is not bounded; it ends with
 * NJ_E_CANCELLED when the process of the pidfd @engine_fd (-1: none) does. */
int nj_workspace_input(int dir_fd, const struct nj_workspace_ref *ref,
                       const struct nj_objects *objects, int engine_fd,
                       struct nj_error *err) NJ_MUST_USE;

#endif
