/*
 * times.h - when the files of a workspace changed, by a box's virtual clock
 *
 * The kernel dates files by its own clock, by ticks of some milliseconds. What a program may see is
 * decided here instead: changes are noted in the order in which the kernel told them, and at the
 * next sync point (opening for writing, setting times, a look at what changed, or the end of the
 * call) each changed inode gets a time of its
 * own, one nanosecond apart, from the virtual clock as it stood at the sync point before. Opening a
 * file for writing is a sync point, so a change lies behind whatever was asked of the clock before
 * the file was opened, and before whatever is asked later.
 *
 * Between two sync points an inode's first change gives its place, whatever came after, and
 * directories whose entries changed come last, by their numbers. The kernel merges what is queued
 * in a similar way: what happened to a file and what happened to its name become one. How often the
 * queue is read makes therefore no difference.
 *
 * An unchanged inode carries its virtual times itself: its mtime, and its ctime in the place of its
 * atime, which the workspace's mount never changes (noatime). Programs are told the mtime in place
 * of the atime. What changed is written into the inodes by the capture (capture.c), so that this
 * table begins each call empty.
 *
 * Use: nj_times_begin() before a call; nj_times_note() for each change; nj_times_settle() at each
 * sync point; nj_times_find(); nj_times_end() after the capture.
 */
#ifndef NJ_SANDBOX_VIRTUAL_TIMES_H
#define NJ_SANDBOX_VIRTUAL_TIMES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "formats/base/cleanup.h"
#include "formats/base/error.h"

#define NJ_TIMES_MAX                                                                               \
    (1u << 20)                 /* inodes that one call may change; beyond, the level is lowered    \
                                */
#define NJ_TIMES_WISHES_MAX 64 /* explicit times that are under way */

/* What happened to an inode. */
enum {
    NJ_TIMES_CONTENT = 1, /* written: mtime and ctime */
    NJ_TIMES_STATUS = 2,  /* attributes, names: ctime */
    NJ_TIMES_ENTRIES = 8, /* of a directory: mtime and ctime */
    NJ_TIMES_MADE = 4,    /* a name was made: of a new inode mtime and ctime, else (a link) ctime */
};

/* The box's clock: nanoseconds since 1970. @advance adds to it, so that programs which ask it at
 * the same time make no difference to where it stands after both. */
struct nj_times_clock {
    int64_t (*now)(void *ctx);
    void (*advance)(void *ctx, int64_t ns);
    void *ctx;
};

/* nj_times_simple_clock - *@ns, which nothing but changes moves */
struct nj_times_clock nj_times_simple_clock(int64_t *ns);

/* What utimensat() and its kin ask for. */
struct nj_times_wish {
    uint64_t ino;
    pid_t tid;
    bool sets_mtime; /* false: UTIME_OMIT */
    bool is_now;     /* UTIME_NOW */
    int64_t mtime_ns;
};

struct nj_times;

int nj_times_new(struct nj_times **ret_times, struct nj_error *err) NJ_MUST_USE;
void nj_times_free(struct nj_times *times);
NJ_DEFINE_AUTO_PTR(struct nj_times, nj_times_free);

/* nj_times_begin - a call begins; inodes from @first_new on do not exist yet (0: not known) */
void nj_times_begin(struct nj_times *times, const struct nj_times_clock *clock, uint64_t first_new);
void nj_times_end(struct nj_times *times);

/* nj_times_is_on - between begin and end */
bool nj_times_is_on(const struct nj_times *times);

/* nj_times_note - @what (flags) happened to @ino, after all that was noted before */
void nj_times_note(struct nj_times *times, uint64_t ino, unsigned what);

/* nj_times_hear_wishes - every wish of this call will be told. Otherwise (no listener) a time set
 * by a program is known by what the kernel's clock could not have given. */
void nj_times_hear_wishes(struct nj_times *times);

/* nj_times_wish - the task wish->tid is about to set times; counts from the change that tells it
 * done. Call at a sync point, behind nj_times_settle(). */
void nj_times_wish(struct nj_times *times, const struct nj_times_wish *wish);

/* nj_times_settle - a sync point, made by the task @tid (0: by none) */
void nj_times_settle(struct nj_times *times, pid_t tid);

/* nj_times_knows - was a change of the inode told in this call? */
bool nj_times_knows(const struct nj_times *times, uint64_t ino);

/* nj_times_is_due - would a sync point give it a time that it does not have yet? */
bool nj_times_is_due(const struct nj_times *times, uint64_t ino);

/* nj_times_find - the times that programs see
 *
 * @mtime_ns, @atime_ns  as the kernel has them now
 *
 * An inode that is not known to have changed in this call, and is not new, has what it carries. A
 * new one that no change told of (O_TMPFILE) is dated by the last sync point, from now on.
 */
void nj_times_find(struct nj_times *times, uint64_t ino, int64_t mtime_ns, int64_t atime_ns,
                   int64_t *ret_mtime_ns, int64_t *ret_ctime_ns);

/* nj_times_changed - whether the inode must be given its times at capture; false the second time
 */
bool nj_times_changed(struct nj_times *times, uint64_t ino);

/* nj_times_lose - changes went by unheard: times of this call are not what they should be */
void nj_times_lose(struct nj_times *times);
bool nj_times_lost(const struct nj_times *times);

#endif
