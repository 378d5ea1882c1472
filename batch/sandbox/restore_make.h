/*
 * restore_make.h - making entries of a tree; what restore.c, which makes a whole one, and
 * restore_changed.c, which makes what differs, share
 */
#ifndef NJ_SANDBOX_RESTORE_MAKE_H
#define NJ_SANDBOX_RESTORE_MAKE_H

#include "batch/sandbox/table.h"

#define RESTORE_PATH_MAX_BYTES ((size_t)NJ_TREE_DEPTH_MAX * (NJ_OBJECT_NAME_MAX_BYTES + 2))

struct pending {
    const char *target; /* the file's path; NULL: free */
    const char *holder; /* a name of its inode that exists already */
    bool arrived;
};

struct making {
    int root_fd;
    bool read_only; /* an input */
    bool dates_all; /* ctimes as well, in the place of atimes */
    bool is_staged; /* every inode was made, in the order of their numbers (restore_inodes.c) */
    const struct nj_object_source *source;
    uint64_t max_file_bytes; /* what a file may claim, as a capture keeps none above it */
    uint64_t apparent_left;  /* and what all together still may */
    int awaited_by;          /* pidfd of whose end makes this vain; 0 or -1: nobody's */
    struct table made;       /* what a capture would have to read, known from the objects */
    struct pending *pending; /* heap, open addressing */
    size_t n_pending;
    size_t room_pending;
    struct nj_buf path;
    struct nj_changes *changes; /* they hear what is made here; NULL: nobody does */
    bool is_heard;    /* and keep it: what was made is looked at as a call's changes are */
    unsigned unheard; /* entries made since that was heard or thrown away */
};

void restore_making_done(struct making *m);
NJ_DEFINE_AUTO_VAL(struct making, restore_making_done);

/* restore_path_push, restore_path_cut - m->path is that of the entry at hand, from the root */
int restore_path_push(struct making *m, struct nj_span name, struct nj_error *err) NJ_MUST_USE;
void restore_path_cut(struct making *m, size_t len);

/* Both sides of a directory: what is in it, and when and in which order. */
struct restore_opened {
    struct nj_arena arena;
    struct nj_tree tree;
    struct nj_stamps stamps; /* as many entries as the tree */
};

int restore_open_dir(const struct making *m, const struct nj_digest *tree_digest,
                     const struct nj_digest *stamps_digest, struct restore_opened *opened,
                     struct nj_error *err) NJ_MUST_USE;
static inline void restore_opened_done(struct restore_opened *opened)
{
    nj_arena_done(&opened->arena);
}
NJ_DEFINE_AUTO_VAL(struct restore_opened, restore_opened_done);

struct restore_dates {
    int64_t mtime_ns;
    int64_t ctime_ns;
};

/* restore_dates_of - what has no ctime was not made by a reproducible box: an input */
struct restore_dates restore_dates_of(const struct nj_stamp *stamp);
static inline struct restore_dates restore_dates_of_dir(const struct nj_stamps *stamps)
{
    return (struct restore_dates){stamps->mtime_ns,
                                  stamps->has_ctime ? stamps->ctime_ns : stamps->mtime_ns};
}

/* restore_set_time - of @name in the directory; NULL: of the descriptor itself */
int restore_set_time(const struct making *m, int dir_fd, const char *name,
                     struct restore_dates dates, struct nj_error *err) NJ_MUST_USE;

/* restore_bound - what the files may claim: a few objects make up a terabyte, and each byte of it
 * is hashed */
static inline void restore_bound(struct making *m, uint64_t max_size_bytes)
{
    m->max_file_bytes = max_size_bytes;
    m->apparent_left = max_size_bytes * NJ_WORKSPACE_APPARENT_FACTOR;
}

/* restore_count - one more file; NJ_E_LIMIT where it or all claim too much: no capture kept more,
 * so neither did one keep this tree */
int restore_count(struct making *m, uint64_t bytes, struct nj_error *err) NJ_MUST_USE;

/* restore_write_content - of a regular file, into an empty one; NJ_E_LIMIT where it claims too much
 */
int restore_write_content(struct making *m, int fd, const struct nj_tree_entry *entry,
                          struct nj_error *err) NJ_MUST_USE;

/* restore_make_entry - one that is not there yet, with all that is below */
int restore_make_entry(struct making *m, int dir_fd, const struct nj_tree_entry *entry,
                       const struct nj_stamp *stamp, unsigned depth,
                       struct nj_error *err) NJ_MUST_USE;

/* restore_forget_own - after each entry: nobody but us works here, and the kernel's queue is short
 */
void restore_forget_own(struct making *m);

/* restore_prove - capture the tree, of which @known is what need not be read; it becomes what the
 * workspace remembers, and an error when it is not @ref. @flags and 1 are those of table_capture().
 */
int restore_prove(struct nj_workspace *workspace, const struct table *known, unsigned flags,
                  const struct nj_workspace_ref *ref, struct nj_error *err) NJ_MUST_USE;

/* restore_changed - make the tree that @ref names of the one that is remembered, by changing what
 * differs
 *
 * Returns 0; else, or where it fails, the tree is what it was or something in between, and is to be
 * made as a whole. Before anything is changed, all that it takes is known to be in @objects.
 */
int restore_changed(struct nj_workspace *workspace, const struct nj_workspace_ref *ref,
                    const struct nj_objects *objects, struct nj_error *err) NJ_MUST_USE;

#endif
