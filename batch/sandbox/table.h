/*
 * table.h - what a workspace remembers of its tree; private to workspace.c, capture.c and restore.c
 *
 * A table is built whole by one capture, in one arena, and replaced by the next: no node is ever
 * freed alone.
 */
#ifndef NJ_SANDBOX_TABLE_H
#define NJ_SANDBOX_TABLE_H

#include <sys/stat.h>

#include "batch/sandbox/workspace.h"

struct table_dir;

struct table_entry {
    struct nj_tree_entry tree; /* spans and xattrs in the arena */
    uint64_t ino;
    int64_t mtime_ns;
    int64_t ctime_ns;
    bool trusted;                  /* of a restore: the digest holds whatever the times say */
    const struct nj_digest *parts; /* digests of the parts, of a file that has some */
    size_t n_parts;
    struct table_dir *dir; /* of a directory */
};

struct table_dir {
    struct table_entry *entries; /* ascending by name */
    size_t n_entries;
    uint32_t *order; /* creation order, oldest first: indexes into entries */
    int64_t mtime_ns;
    struct nj_digest tree;
    struct nj_digest stamps;
};

struct table {
    struct nj_arena arena;
    struct table_dir *root;
    struct table_entry **by_ino; /* open addressing; regular files and directories */
    size_t by_ino_size;          /* a power of two, or 0 */
    size_t n_inodes;
    uint64_t bytes; /* sum of the sizes of regular files */
    uint64_t files;
};

struct nj_workspace {
    int root_fd;
    uint64_t max_size_bytes;
    struct table table;
    struct nj_changes *changes;
};

enum { TABLE_READ_ALL = 1 };

/* table_capture - walk the tree into @ret_table, which must be zeroed; @old is what is known, may
 * be empty */
int table_capture(struct nj_workspace *workspace, const struct table *old, unsigned flags,
                  const struct nj_object_sink *sink, struct table *ret_table,
                  struct nj_workspace_capture *ret_capture, struct nj_error *err) NJ_MUST_USE;
void table_done(struct table *table);
NJ_DEFINE_AUTO_VAL(struct table, table_done);

/* table_index - make by_ino from a list of entries; @entries and the index live in the arena */
int table_index(struct table *table, struct table_entry **entries, size_t n,
                struct nj_error *err) NJ_MUST_USE;
const struct table_entry *table_find(const struct table *table, uint64_t ino);

/* table_open_at - open one name below @dir_fd: never through a link, never out of the file system,
 * never blocking. Returns the descriptor or -1 with errno. */
int table_open_at(int dir_fd, const char *name, int flags);

int64_t table_mtime_ns(const struct stat *st);
int64_t table_ctime_ns(const struct stat *st);

#endif
