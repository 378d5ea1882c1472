/*
 * confine.h - a process that is about to parse hostile bytes keeps what parsing takes
 *
 * Everything is opened first, rights of root are given up by nj_drop_privileges(), spool files are
 * reserved (nj_spool_reserve()); then nj_confine(), and only then is a byte of a bundle or a
 * journal looked at. What stands between a fault in a decoder and this host afterwards:
 *
 *   Landlock   no path is opened but below the folders named here, nothing is bound or connected,
 *              no abstract socket and no process outside is reached
 *   seccomp    an allow-list: memory, descriptors that are open already, the clock; opening for
 *              reading where there are folders to read, making files where there are some to write
 *              into, messages and events where a sandbox is talked to. No memory becomes
 *              executable. What only an intruder asks for (a program, a socket, another process)
 *              ends the process; anything else is not permitted (EPERM)
 *   the rest   no_new_privs, undumpable, no capability but those named
 *
 * Nothing of it can be taken back.
 */
#ifndef NJ_CONFINE_H
#define NJ_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"

struct nj_confinement {
    const int *read_fds; /* folders (O_RDONLY or O_PATH): what is below may be read */
    size_t n_read;
    const int *write_fds; /* folders: what is below may be read, made, changed and removed */
    size_t n_write;
    uint64_t capabilities; /* to keep, as a mask of 1 << CAP_X; of those that are there */
    bool loop; /* an event loop that sends and receives messages over sockets it has already */
};

/*
 * nj_confine - from here this process has what @confinement names. It must have one thread.
 *
 * Returns 0, or 1 when this kernel has no Landlock that can express it (Linux 5.13, and 5.19 to
 * write): all the rest holds.
 */
int nj_confine(const struct nj_confinement *confinement, struct nj_error *err) NJ_MUST_USE;

/*
 * nj_confine_reader - nj_confine() with what reading these folders and writing into @write_fd (-1:
 * nowhere) takes: where one is another user's, the capabilities for that, of those that are there.
 * That the kernel has no Landlock that fits is logged.
 */
int nj_confine_reader(const int *read_fds, size_t n_read, int write_fd, bool loop,
                      struct nj_error *err) NJ_MUST_USE;

#endif
