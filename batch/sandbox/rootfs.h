/*
 * rootfs.h - an image becomes a directory that boxes can have as their system
 *
 * In the helper, once an image and run. The archive comes from wherever the manifest's author had
 * it, so it is read by a process that can do nothing but fill the directory: a root of its own (the
 * directory), no capabilities, as root another uid, and no calls that reach other processes or a
 * network. Files keep modes and times; owners, setuid bits and attributes are dropped. What an
 * image has below /dev, /proc, /sys and /run is left out, since a box brings its own.
 */
#ifndef NJ_SANDBOX_ROOTFS_H
#define NJ_SANDBOX_ROOTFS_H

#include "formats/base/error.h"

#define NJ_ROOTFS_MAX_BYTES (UINT64_C(8) << 30) /* unpacked; the store's tmpfs may end before */
#define NJ_ROOTFS_MAX_ENTRIES 500000

/* nj_rootfs_unpack - the archive @tar_fd into the empty directory @path, which @dir_fd is. As root
 * @dir_fd is opened to everybody meanwhile: it must lie where nobody else gets at it. Ends early
 * when the process of the pidfd @engine_fd (-1: none) does. Fails with NJ_E_INPUT, naming the
 * entry, NJ_E_LIMIT, NJ_E_UPSTREAM (the engine is gone) or NJ_E_SYSTEM; the directory then holds
 * some part. */
int nj_rootfs_unpack(int tar_fd, const char *path, int dir_fd, int engine_fd,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_rootfs_dress - what boxes mount over is there, as plain files; NJ_E_INPUT when @dir_fd is no
 * system at all */
int nj_rootfs_dress(int dir_fd, struct nj_error *err) NJ_MUST_USE;

#endif
