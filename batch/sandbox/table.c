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

/* ns_of - the nearest there is: a program can set any time */
static int64_t ns_of(const struct timespec *time)
{
    int64_t ns;

    if (__builtin_mul_overflow(time->tv_sec, INT64_C(1000000000), &ns) ||
        __builtin_add_overflow(ns, time->tv_nsec, &ns))
        return time->tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

int64_t table_mtime_ns(const struct stat *st)
{
    return ns_of(&st->st_mtim);
}

int64_t table_ctime_ns(const struct stat *st)
{
    return ns_of(&st->st_ctim);
}

int64_t table_atime_ns(const struct stat *st)
{
    return ns_of(&st->st_atim);
}

struct timespec table_time(int64_t ns)
{
    struct timespec time = {ns / 1000000000, ns % 1000000000};

    if (time.tv_nsec < 0) {
        time.tv_nsec += 1000000000;
        time.tv_sec--;
    }
    return time;
}

/* ---- directories ---- */

struct table_dir *table_dir_new(void)
{
    struct table_dir *dir = calloc(1, sizeof(*dir));

    if (dir)
        dir->refs = 1;
    return dir;
}

static void forget(struct table *table, const struct table_entry *entry);

/* It recurses as deep as a tree may be: NJ_TREE_DEPTH_MAX. */
void table_dir_unref(struct table_dir *dir, struct table *table)
{
    if (!dir || --dir->refs > 0)
        return;
    for (size_t i = 0; i < dir->n_entries; i++) {
        table_dir_unref(dir->entries[i].dir, table);
        if (table)
            forget(table, &dir->entries[i]);
    }
    nj_arena_done(&dir->arena);
    free(dir);
}

void table_due(struct table *table, uint64_t ino, uint64_t capture)
{
    const struct table_entry *entry = table_find(table, ino);
    struct table_dir *dir = NULL;

    if (table->root && table->root->ino == ino)
        dir = table->root;
    else if (entry)
        dir = entry->dir ? entry->dir : entry->in;
    for (; dir && dir->due != capture; dir = dir->parent)
        dir->due = capture;
    /* A directory's own mode and attributes are looked at with the one it is in, which is its
     * parent. */
}

/* ---- the index ---- */

void table_done(struct table *table)
{
    table_dir_unref(table->root, NULL);
    free(table->by_ino);
    free(table->fresh);
    nj_arena_done(&table->arena);
    *table = (struct table){0};
}

static size_t slot_of(const struct table *table, uint64_t ino)
{
    return (size_t)(ino * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (table->by_ino_size - 1);
}

/* put - where the number is, or the first free slot behind its own */
static void put(struct table *table, struct table_entry *entry)
{
    size_t slot = slot_of(table, entry->ino);

    while (table->by_ino[slot] && table->by_ino[slot]->ino != entry->ino)
        slot = (slot + 1) & (table->by_ino_size - 1);
    table->n_inodes += !table->by_ino[slot];
    table->by_ino[slot] = entry;
}

static int make_room(struct table *table, size_t n, struct nj_error *err)
{
    size_t old_size = table->by_ino_size, size = old_size ? old_size : 16;
    struct table_entry **old = table->by_ino, **by_ino;

    while (size < 2 * n)
        size *= 2;
    if (size == old_size)
        return 0;
    by_ino = calloc(size, sizeof(*by_ino));
    if (!by_ino)
        return nj_fail_nomem(err);
    table->by_ino = by_ino;
    table->by_ino_size = size;
    table->n_inodes = 0;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i])
            put(table, old[i]);
    }
    free(old);
    return 0;
}

/* forget - unless the number means another entry by now; what was pushed aside moves back */
static void forget(struct table *table, const struct table_entry *entry)
{
    size_t mask = table->by_ino_size - 1, slot, next;

    if (table->by_ino_size == 0)
        return;
    for (slot = slot_of(table, entry->ino); table->by_ino[slot] != entry;
         slot = (slot + 1) & mask) {
        if (!table->by_ino[slot])
            return;
    }
    for (next = (slot + 1) & mask; table->by_ino[next]; next = (next + 1) & mask) {
        size_t own = slot_of(table, table->by_ino[next]->ino);

        if (((next - own) & mask) < ((next - slot) & mask))
            continue; /* it lies between its own slot and here */
        table->by_ino[slot] = table->by_ino[next];
        slot = next;
    }
    table->by_ino[slot] = NULL;
    table->n_inodes--;
}

int table_remember(struct table *table, struct table_entry *entry, struct nj_error *err)
{
    if (table->n_fresh == table->room_fresh) {
        size_t room = table->room_fresh ? 2 * table->room_fresh : 64;
        struct table_entry **fresh = reallocarray(table->fresh, room, sizeof(*fresh));

        if (!fresh)
            return nj_fail_nomem(err);
        table->fresh = fresh;
        table->room_fresh = room;
    }
    table->fresh[table->n_fresh++] = entry;
    return 0;
}

int table_index(struct table *table, struct nj_error *err)
{
    int r = make_room(table, table->n_inodes + table->n_fresh, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < table->n_fresh; i++)
        put(table, table->fresh[i]);
    free(table->fresh);
    table->fresh = NULL;
    table->n_fresh = table->room_fresh = 0;
    return 0;
}

int table_replace(struct table *table, struct table *by, struct nj_error *err)
{
    struct table_dir *before = nj_steal_ptr(&table->root);
    int r = 0;

    if (by->by_ino) {
        free(table->by_ino);
        table->by_ino = by->by_ino;
        table->by_ino_size = by->by_ino_size;
        table->n_inodes = by->n_inodes;
        by->by_ino = NULL;
        table_dir_unref(before, NULL); /* shares nothing */
    } else {
        table->fresh = nj_steal_ptr(&by->fresh);
        table->n_fresh = by->n_fresh;
        r = table_index(table, err);
        table_dir_unref(before, table); /* what is gone leaves the index */
    }
    table->root = nj_steal_ptr(&by->root);
    table_done(by);
    return r;
}

const struct table_entry *table_find(const struct table *table, uint64_t ino)
{
    if (table->by_ino_size == 0)
        return NULL;
    for (size_t slot = slot_of(table, ino); table->by_ino[slot];
         slot = (slot + 1) & (table->by_ino_size - 1)) {
        if (table->by_ino[slot]->ino == ino)
            return table->by_ino[slot];
    }
    return NULL;
}
