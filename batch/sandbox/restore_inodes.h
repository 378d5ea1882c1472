/*
 * restore_inodes.h - the inodes of a tree, made before their names, so that each has its number
 *
 * A tmpfs numbers its inodes one after the other. The entries of a tree are created in the order of
 * their listing, which is another one; and files that are gone took numbers, too. So all inodes are
 * made first, empty, in the order of their numbers, under names in the root directory that no tree
 * has; the restore then moves each to its place.
 */
#ifndef NJ_SANDBOX_RESTORE_INODES_H
#define NJ_SANDBOX_RESTORE_INODES_H

#include "formats/object/object.h"

/* Numbers of files that are gone cost a moment each, so a restore does not take more than these. */
#define NJ_RESTORE_SKIP_MAX (UINT64_C(1) << 20)

/* restore_inodes - make the inodes of @ref in the empty workspace @root_fd
 *
 * @ret_next_ino  what the tree calls the next number; 0: it tells none
 *
 * Returns 0; 1 when the tree was not made by a reproducible box; 2 when the numbers cannot be had
 * (the file system counted further already, or too many are missing). Nothing is left behind then.
 */
int restore_inodes(int root_fd, const struct nj_object_source *source,
                   const struct nj_workspace_ref *ref, uint64_t *ret_next_ino,
                   struct nj_error *err) NJ_MUST_USE;

/* restore_inode_take - move one to its place; -1 with errno */
int restore_inode_take(int root_fd, uint64_t ino, int dir_fd, const char *name);

/* restore_inodes_skip - let the next file get the number @next_ino. Returns 0, or 2 when it was
 * given already. */
int restore_inodes_skip(int root_fd, uint64_t next_ino, struct nj_error *err) NJ_MUST_USE;

#endif
