/*
 * fsio.h - every durable write goes through here, so that every one can be made to fail
 *
 * All loops handle EINTR and short counts. A failed fdatasync is never retried: after it the
 * kernel may have dropped the dirty pages, so the caller must stop and read again what is there.
 */
#ifndef NJ_BASE_FSIO_H
#define NJ_BASE_FSIO_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "formats/base/buf.h"
#include "formats/base/digest.h"

/* Fault points: "write", "fdatasync", "rename", "sendmsg", "fallocate". */
int nj_fsio_write(int fd, const void *data, size_t len, struct nj_error *err) NJ_MUST_USE;
int nj_fsio_pwrite(int fd, const void *data, size_t len, uint64_t offset,
                   struct nj_error *err) NJ_MUST_USE;

/* A file that is written in pieces from its beginning: blocks of zeros stay holes, so that a sparse
 * file takes no more room than it did where it was captured. */
struct nj_fsio_sparse {
    int fd;        /* borrowed; its own position is not used */
    uint64_t at;   /* bytes so far */
    uint64_t size; /* of the file: up to the last of them that is no hole */
};

int nj_fsio_sparse_write(struct nj_fsio_sparse *file, const void *data, size_t len,
                         struct nj_error *err) NJ_MUST_USE;
int nj_fsio_sparse_end(const struct nj_fsio_sparse *file, struct nj_error *err) NJ_MUST_USE;

int nj_fsio_fdatasync(int fd, struct nj_error *err) NJ_MUST_USE;
int nj_fsio_sync_dir(int dir_fd, struct nj_error *err) NJ_MUST_USE; /* point "fdatasync" too */
int nj_fsio_fallocate(int fd, uint64_t offset, uint64_t len, struct nj_error *err) NJ_MUST_USE;
int nj_fsio_rename(int old_dir_fd, const char *old_name, int new_dir_fd, const char *new_name,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_fsio_sendmsg - sendmsg(MSG_NOSIGNAL) of a whole SOCK_SEQPACKET message with up to 8
 * descriptors. Returns 0, or 1 when the socket is full (EAGAIN on a non-blocking socket). */
int nj_fsio_sendmsg(int fd, const void *data, size_t len, const int *fds, size_t n_fds,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_fsio_recvmsg - one SOCK_SEQPACKET message into @data. Received descriptors are CLOEXEC and the
 * caller's; *ret_n_fds on entry holds the capacity of @fds. A message or descriptor list that was
 * truncated fails with NJ_E_CORRUPT (and its descriptors are closed). *ret_len 0 means end of file.
 * Returns 0, or 1 when nothing is there (EAGAIN). */
int nj_fsio_recvmsg(int fd, void *data, size_t max_bytes, size_t *ret_len, int *fds,
                    size_t *ret_n_fds, struct nj_error *err) NJ_MUST_USE;

/* nj_fsio_read - exactly @len bytes; fails with NJ_E_CORRUPT when the file ends before */
int nj_fsio_read(int fd, void *data, size_t len, struct nj_error *err) NJ_MUST_USE;
int nj_fsio_pread(int fd, void *data, size_t len, uint64_t offset,
                  struct nj_error *err) NJ_MUST_USE;

/* nj_fsio_read_all - append all that @fd still has to @buf; NJ_E_LIMIT beyond the buffer's cap */
int nj_fsio_read_all(int fd, struct nj_buf *buf, struct nj_error *err) NJ_MUST_USE;

/* nj_fsio_read_file - append a file's bytes to @buf; opens with O_CLOEXEC|O_NONBLOCK|O_NOCTTY and
 * refuses what is not a regular file (NJ_E_INPUT) */
int nj_fsio_read_file(int dir_fd, const char *name, struct nj_buf *buf,
                      struct nj_error *err) NJ_MUST_USE;

/* nj_fsio_publish - a file appears whole under @name or not at all: temporary name, write,
 * fdatasync, rename, sync of the folder. A leftover ".tmp-*" is swept by nj_fsio_sweep(). @name may
 * be a path
 * (@dir_fd AT_FDCWD then works too); its folders must exist. @mode is exact, whatever the umask. */
int nj_fsio_publish(int dir_fd, const char *name, struct nj_span data, mode_t mode,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_fsio_sweep - unlink the ".tmp-*" files that a killed process left in the folder */
int nj_fsio_sweep(int dir_fd, struct nj_error *err) NJ_MUST_USE;

/* nj_fsio_remove_tree - remove a folder and all in it; never follows a link, never leaves it.
 * Missing is 0. A mount inside, a bind mount too, fails with NJ_E_INPUT and is left alone. */
int nj_fsio_remove_tree(int dir_fd, const char *name, struct nj_error *err) NJ_MUST_USE;

/* nj_fsio_open_dir - mkdir (mode 0700, an existing one is fine) and open it O_DIRECTORY|O_CLOEXEC
 */
int nj_fsio_open_dir(int dir_fd, const char *name, int *ret_fd, struct nj_error *err) NJ_MUST_USE;

/* nj_fsio_memfd - an anonymous file, CLOEXEC, sealable */
int nj_fsio_memfd(const char *name, int *ret_fd, struct nj_error *err) NJ_MUST_USE;

/* nj_fsio_utf8_valid - strict UTF-8: no overlong forms, surrogates or values above U+10FFFF */
bool nj_fsio_utf8_valid(struct nj_span text);

#endif
