/*
 * table.h - what a workspace remembers of its tree; private to its files
 *
 * A directory is remembered in one piece, with an arena of its own, and never changed after, but
 * for what a restore trusts until its proof: a capture makes new pieces of those that it looks at
 * and shares the others with the table before, so that it costs what changed. The index by inode
 * number belongs to one table at a time and moves on to the next one (table_replace).
 */
#ifndef NJ_SANDBOX_TABLE_H
#define NJ_SANDBOX_TABLE_H

#include <sys/stat.h>

#include "batch/sandbox/workspace.h"

struct table_dir;

struct table_entry {
    struct nj_tree_entry tree; /* spans and xattrs in the directory's arena */
    uint64_t ino;
    int64_t mtime_ns;
    int64_t ctime_ns;
    int64_t shown_ctime_ns;        /* what programs see where the box is reproducible */
    bool trusted;                  /* of a restore: the digest holds whatever the times say */
    bool several;                  /* its inode has other names; of no directory */
    const struct nj_digest *parts; /* digests of the parts, of a file that has some */
    size_t n_parts;
    struct table_dir *dir; /* of a directory; a reference */
    struct table_dir *in;  /* the directory that this is an entry of */
};

struct table_dir {
    struct nj_arena arena;
    unsigned refs;
    struct table_dir *parent; /* in the newest table */
    uint64_t ino;
    struct table_entry *entries; /* ascending by name */
    size_t n_entries;
    uint32_t *order; /* creation order, oldest first: indexes into entries */
    int64_t mtime_ns;
    int64_t shown_ctime_ns;
    bool identified;           /* its stamps tell ctimes and inode numbers */
    struct nj_dir_stored tree; /* their leaves in the arena */
    struct nj_dir_stored stamps;
    uint64_t due; /* must be looked at by the capture of this number */
    /* of it and all below */
    uint64_t files;
    uint64_t bytes;  /* sum of the sizes of regular files */
    unsigned height; /* 0: no directory below */
    bool several;    /* something in it has several names */
};

struct table {
    struct nj_arena arena;       /* of entries that are in no directory (restore) */
    struct table_dir *root;      /* a reference */
    struct table_entry **by_ino; /* open addressing */
    size_t by_ino_size;          /* a power of two, or 0 */
    size_t n_inodes;
    struct table_entry **fresh; /* not in the index yet */
    size_t n_fresh;
    size_t room_fresh;
};

struct nj_workspace {
    int root_fd;
    uint64_t max_size_bytes;
    struct table table;
    struct nj_changes *changes;
    uint64_t captures; /* their count, to mark directories with */
    /* of a reproducible box */
    struct nj_times *times; /* else NULL */
    uint64_t next_ino;      /* the next file's; 0: not known */
    bool renumbered;        /* a restore could not keep the inode numbers */
};

/* TABLE_READ_ALL: every file is read. TABLE_CHANGES: only what is due is looked at. TABLE_DATE:
 * what changed is given its times. TABLE_PLAIN: stamps without ctimes and inode numbers, whatever
 * the box is. */
enum { TABLE_READ_ALL = 1, TABLE_CHANGES = 2, TABLE_DATE = 4, TABLE_PLAIN = 8 };

/* table_plain - TABLE_PLAIN where the stamps remembered are so: restored, and no call yet */
static inline unsigned table_plain(const struct nj_workspace *workspace)
{
    const struct table_dir *root = workspace->table.root;

    return workspace->times && root && !root->identified ? TABLE_PLAIN : 0;
}

/* table_look - a capture begins: mark what the changes heard so far make due. Returns its flags:
 * TABLE_CHANGES where it is enough to look at that, TABLE_READ_ALL where nothing is known. */
unsigned table_look(struct nj_workspace *workspace);

/* table_capture - walk the tree into @ret_table, which must be zeroed; @old is what is known, may
 * be empty. With TABLE_CHANGES the new table has no index before table_replace(), and 1 is returned
 * when more than what is due must be looked at. */
int table_capture(struct nj_workspace *workspace, const struct table *old, unsigned flags,
                  const struct nj_object_sink *sink, struct table *ret_table,
                  struct nj_workspace_capture *ret_capture, struct nj_error *err) NJ_MUST_USE;

void table_done(struct table *table);
NJ_DEFINE_AUTO_VAL(struct table, table_done);

/* table_replace - @table, which may share directories with @by, becomes @by, which becomes empty.
 * On failure neither is of use. */
int table_replace(struct table *table, struct table *by, struct nj_error *err) NJ_MUST_USE;

/* table_remember - @entry, which lives as long as the table, is to be in the index */
int table_remember(struct table *table, struct table_entry *entry,
                   struct nj_error *err) NJ_MUST_USE;
/* table_index - put what was remembered into the index */
int table_index(struct table *table, struct nj_error *err) NJ_MUST_USE;
const struct table_entry *table_find(const struct table *table, uint64_t ino);

/* table_dir_new - one reference; NULL without memory */
struct table_dir *table_dir_new(void);
static inline struct table_dir *table_dir_ref(struct table_dir *dir)
{
    dir->refs++;
    return dir;
}
/* table_dir_unref - @table: whose index the entries leave with the last reference; may be NULL */
void table_dir_unref(struct table_dir *dir, struct table *table);

/* table_due - the directories that lead to the inode, and it, must be looked at */
void table_due(struct table *table, uint64_t ino, uint64_t capture);

/* table_open_at - open one name below @dir_fd: never through a link, never out of the file system,
 * never blocking. Returns the descriptor or -1 with errno. */
int table_open_at(int dir_fd, const char *name, int flags);

int64_t table_mtime_ns(const struct stat *st);
int64_t table_ctime_ns(const struct stat *st);
int64_t table_atime_ns(const struct stat *st);
struct timespec table_time(int64_t ns);

#endif
