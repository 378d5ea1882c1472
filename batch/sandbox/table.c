/*
 * table.c - what a workspace remembers, found by inode number
 */
#include "batch/sandbox/table.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include "formats/base/banned.h"

int table_open_at(int dir_fd, const char *name, int flags)
{
    /* With O_PATH nothing is opened that could block, and openat2() wants no flag about it. */
    int guard = O_NOFOLLOW | O_CLOEXEC | (flags & O_PATH ? 0 : O_NONBLOCK | O_NOCTTY);
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | guard),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    };

    return (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));
}

int64_t table_mtime_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

int64_t table_ctime_ns(const struct stat *st)
{
    return (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
}

/* ---- the table's index ---- */

void table_done(struct table *table)
{
    nj_arena_done(&table->arena);
    *table = (struct table){0};
}

static size_t slot_of(const struct table *table, uint64_t ino)
{
    return (size_t)(ino * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (table->by_ino_size - 1);
}

int table_index(struct table *table, struct table_entry **entries, size_t n, struct nj_error *err)
{
    size_t size = 16;

    while (size < 2 * n)
        size *= 2;
    table->by_ino = nj_arena_array(&table->arena, size, sizeof(*table->by_ino));
    if (!table->by_ino)
        return nj_fail_nomem(err);
    table->by_ino_size = size;
    for (size_t i = 0; i < n; i++) {
        size_t slot = slot_of(table, entries[i]->ino);

        while (table->by_ino[slot] && table->by_ino[slot]->ino != entries[i]->ino)
            slot = (slot + 1) & (size - 1);
        table->by_ino[slot] = entries[i];
    }
    table->n_inodes = n;
    return 0;
}

const struct table_entry *table_find(const struct table *table, uint64_t ino)
{
    size_t slot;

    if (table->by_ino_size == 0)
        return NULL;
    for (slot = slot_of(table, ino); table->by_ino[slot];
         slot = (slot + 1) & (table->by_ino_size - 1)) {
        if (table->by_ino[slot]->ino == ino)
            return table->by_ino[slot];
    }
    return NULL;
}
