/*
 * files.h - files of a box of level D1 and up whose content is made when it is read: the random
 * devices, fresh UUIDs, the time since boot
 *
 * A file of fixed bytes cannot stand for /dev/urandom, and a FIFO gives short reads, which make a
 * `dd` write too little. So init mounts a FUSE file system with these four files in the box's own
 * namespaces and hands its descriptor to the supervisor, which answers the requests between two
 * turns of its loop; each call covers the devices with them. A file gives the same bytes again
 * whenever it is opened as the n-th one of the same call.
 *
 *   nj_files_mount()   init, while the host's /dev is still there
 *   nj_files_begin()   before a call: its key, its time
 *   nj_files_serve()   whenever the descriptor is readable
 *
 * Requests come from the kernel, but their order and number from an agent: each is bounded, and a
 * turn answers a few.
 */
#ifndef NJ_VIRTUAL_FILES_H
#define NJ_VIRTUAL_FILES_H

#include "batch/sandbox/plan.h"

#define NJ_FILES_DIR NJ_BOX_HIDDEN "/live" /* where init mounts it; gone from a payload's view */

/* Each file once: enumerator, node, name, what a call covers with it. */
#define NJ_FILES(X)                                                                                \
    X(RANDOM, 2, "random", "/dev/random")                                                          \
    X(URANDOM, 3, "urandom", "/dev/urandom")                                                       \
    X(UUID, 4, "uuid", "/proc/sys/kernel/random/uuid")                                             \
    X(UPTIME, 5, "uptime", "/proc/uptime")

#define NJ_FILES_READ_MAX (128u << 10) /* of one request: the kernel's own bound */

struct nj_files {
    int fd;                /* -1: this host has no FUSE for us */
    struct nj_digest key;  /* of the call */
    uint64_t opened;       /* in this call so far; the number of the newest */
    const int64_t *now_ns; /* the box's clock */
    uint8_t *reply;        /* one header and NJ_FILES_READ_MAX bytes */
};

/* nj_files_mount - returns the descriptor, or -errno; allocates nothing. The directory exists below
 * the current one. */
int nj_files_mount(void) NJ_MUST_USE;

/* nj_files_init - takes @fd, which may be -1 */
int nj_files_init(struct nj_files *files, int fd, struct nj_error *err) NJ_MUST_USE;
void nj_files_done(struct nj_files *files);

/* nj_files_begin - @now_ns is borrowed until the next call begins */
void nj_files_begin(struct nj_files *files, const struct nj_box_call *call, const int64_t *now_ns);

void nj_files_serve(struct nj_files *files);

#endif
