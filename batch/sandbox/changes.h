/*
 * changes.h - which inodes of a workspace a call may have changed, as the kernel tells it
 *
 * Times and sizes do not tell all: tmpfs dates neither a write through a shared mapping that was
 * read first, nor the second of two writes within one tick of its clock. But whoever writes, by
 * whatever way, holds a file open for writing, and the kernel tells the end of that (CLOSE_WRITE)
 * when the last descriptor and the last mapping of it are gone. A capture runs when no process of
 * the call is left, so by then every such file was told. One that was open for writing is read,
 * whether it was written or not; nothing else can have other content than before.
 *
 * Three ways, the first that this host lets us have:
 *   fanotify  one mark on the tmpfs, made by init in its own user namespace (Linux 6.16 and later);
 *             says inodes
 *   inotify   one watch a directory; says names in directories. A directory that a call makes has
 *             none until its capture, and needs none: all in it is new or was moved there, which
 *             dates it.
 *   nothing   every file is read at every capture
 * Whatever a queue lost, or a limit refused, is the last of these for as long as it matters.
 *
 * Use: nj_changes_drain() whenever nj_changes_fd() is readable and once when the call is over; then
 * nj_changes_are_known() and nj_changes_has() by the capture, which ends with
 * nj_changes_done_with(). Whose a change is makes no difference: the reader's own are told, too,
 * and what is told between two calls belongs to the next capture.
 */
#ifndef NJ_SANDBOX_CHANGES_H
#define NJ_SANDBOX_CHANGES_H

#include "batch/sandbox/virtual/times.h"
#include "formats/base/buf.h"
#include "formats/base/cleanup.h"
#include "formats/base/error.h"

/* NJ_TEST_CHANGES=inotify or =nothing forces the lesser ways. */
#define NJ_CHANGES_ENV "NJ_TEST_CHANGES"

enum nj_changes_way { NJ_CHANGES_NOTHING, NJ_CHANGES_INOTIFY, NJ_CHANGES_FANOTIFY };

struct nj_changes;

/* nj_changes_mark - a fanotify descriptor that hears all of the file system at @path, or -1 with
 * errno: this kernel does not let us */
int nj_changes_mark(const char *path);

/* nj_changes_new - takes @fanotify_fd; -1: inotify, when there is an instance left for us. Before
 * the caller confines itself. */
int nj_changes_new(int fanotify_fd, struct nj_changes **ret_changes,
                   struct nj_error *err) NJ_MUST_USE;
void nj_changes_free(struct nj_changes *changes);

enum nj_changes_way nj_changes_way(const struct nj_changes *changes);

/* nj_changes_tell - @times, which lives longer, notes each change from now on while a call is on;
 * only fanotify tells inodes and their order */
void nj_changes_tell(struct nj_changes *changes, struct nj_times *times);

/* nj_changes_fd - to poll for reading; -1: there is nothing to hear */
int nj_changes_fd(const struct nj_changes *changes);

/* nj_changes_drain - take in what is queued. A queue holds 16,384 events as a rule, so a busy call
 * needs this every few ten milliseconds. */
void nj_changes_drain(struct nj_changes *changes);

/* nj_changes_watch - hear the directory @dir_fd, too; it moves the working directory. For inotify:
 * every directory once. */
void nj_changes_watch(struct nj_changes *changes, int dir_fd, uint64_t ino);

/* nj_changes_are_known - false: anything may have changed */
bool nj_changes_are_known(const struct nj_changes *changes);

/* nj_changes_any - false: nothing has changed */
bool nj_changes_any(const struct nj_changes *changes);

/* nj_changes_has - may the file @ino, named @name in the directory @dir_ino, have changed? Of a
 * file with several names (@several) inotify may have said another one, so it always may. That it
 * was renamed is told by its ctime. */
bool nj_changes_has(const struct nj_changes *changes, uint64_t ino, uint64_t dir_ino,
                    const char *name, bool several);

/* nj_changes_each - every inode that changed, or whose listing did, in no order; false (and none)
 * where inodes are not told */
bool nj_changes_each(const struct nj_changes *changes, void (*each)(void *ctx, uint64_t ino),
                     void *ctx);

/* nj_changes_lose - something else may hold a file open: until the capture anything may have
 * changed
 */
void nj_changes_lose(struct nj_changes *changes);

/* nj_changes_forget_own - drain, and leave out what the calling process did itself; inotify cannot
 * tell, and so leaves nothing out */
void nj_changes_forget_own(struct nj_changes *changes);

/* nj_changes_done_with - the state as of the last nj_changes_drain() was captured */
void nj_changes_done_with(struct nj_changes *changes);

#endif
