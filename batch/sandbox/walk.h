/*
 * walk.h - one capture under way; private to capture.c, which looks at directories, and
 * capture_file.c, which looks at what is in them
 */
#ifndef NJ_SANDBOX_WALK_H
#define NJ_SANDBOX_WALK_H

#include "batch/sandbox/table.h"

#define PATH_BYTES (NJ_OBJECT_TARGET_MAX_BYTES + 1)

struct walk {
    int root_fd;
    const struct table *old;
    struct table *table;
    unsigned flags;
    struct nj_changes *changes;
    const struct nj_object_sink *sink;
    struct nj_workspace_capture *capture;
    uint64_t dir_ino; /* of the directory whose entries are looked at */
    uint64_t apparent_left;
    uint64_t max_file_bytes;
    uint8_t *buffer; /* one part */
    char path[PATH_BYTES];
    size_t path_len;             /* beyond PATH_BYTES: path holds nothing useful */
    struct table_entry **inodes; /* for the index, heap */
    size_t n_inodes;
    size_t room_inodes;
    struct link *links; /* heap, open addressing by inode */
    size_t n_links;
    size_t room_links;
};

/* The first name of an inode that has several. */
struct link {
    uint64_t ino;        /* 0: free */
    struct nj_span path; /* in the arena */
};

/* walk_remember - the entry is to be found by its inode number later */
int walk_remember(struct walk *w, struct table_entry *entry, struct nj_error *err);

/* walk_read_xattrs - "user." ones; beyond what a tree can hold they are removed, later names first
 */
int walk_read_xattrs(struct walk *w, int fd, struct nj_tree_entry *entry, struct nj_error *err);

/* walk_copy_xattrs - from the old table, which goes when the new one is complete */
int walk_copy_xattrs(struct walk *w, const struct nj_tree_entry *from, struct nj_tree_entry *entry,
                     struct nj_error *err);
bool walk_same_xattrs(const struct nj_tree_entry *a, const struct nj_tree_entry *b);

/* walk_file - look at a regular file; returns 1 when it cannot be kept */
int walk_file(struct walk *w, int dir_fd, const char *name, const struct stat *st,
              struct table_entry *entry, struct nj_error *err);

#endif
