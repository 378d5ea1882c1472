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
    struct nj_times *times;           /* what changed gets its times; NULL: nothing does */
    bool identified;                  /* stamps tell ctimes and inode numbers */
    uint64_t next_ino;                /* for the root's stamps */
    uint64_t number;                  /* of this capture: what is due bears it */
    struct table_dir *dir;            /* whose entries are looked at */
    const struct table_entry *before; /* what had the name of the entry looked at; may be NULL */
    struct nj_arena scratch;
    uint64_t apparent_left;
    uint64_t max_file_bytes;
    uint8_t *buffer; /* one part */
    char path[PATH_BYTES];
    size_t path_len;    /* beyond PATH_BYTES: path holds nothing useful */
    struct link *links; /* heap, open addressing by inode */
    size_t n_links;
    size_t room_links;
};

/* The first name of an inode that has several. */
struct link {
    uint64_t ino;        /* 0: free */
    struct nj_span path; /* in scratch */
};

/* walk_count - what an entry adds to its directory; false when that is more than may be read */
bool walk_count(struct walk *w, uint64_t bytes, uint64_t files);

/* walk_reuse - the content and attributes as they are remembered */
int walk_reuse(struct walk *w, const struct table_entry *old, struct table_entry *entry,
               struct nj_error *err);

/* walk_read_xattrs - "user." ones; beyond what a tree can hold they are removed, later names first
 */
int walk_read_xattrs(struct walk *w, int fd, struct nj_tree_entry *entry, struct nj_error *err);

/* walk_copy_xattrs - from the old table, which goes when the new one is complete */
int walk_copy_xattrs(struct walk *w, const struct nj_tree_entry *from, struct nj_tree_entry *entry,
                     struct nj_error *err);
bool walk_same_xattrs(const struct nj_tree_entry *a, const struct nj_tree_entry *b);

/* walk_file - look at a regular file. Returns 0, 1 when it cannot be kept, or 2 when all
 * directories must be looked at */
int walk_file(struct walk *w, int dir_fd, const char *name, const struct stat *st,
              struct table_entry *entry, struct nj_error *err);

#endif
