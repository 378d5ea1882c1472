/*
 * spool.c - a stream in memory or in an unlinked file
 *
 * O_TMPFILE makes a file that never had a name; file systems without it get a name for an instant.
 */
#include "formats/bundle/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

#define NAME_TRIES 16

void nj_spool_init(struct nj_spool *spool, int dir_fd, size_t memory_max_bytes)
{
    *spool = (struct nj_spool){.dir_fd = dir_fd, .fd = -1, .memory_max_bytes = memory_max_bytes};
    nj_buf_init(&spool->memory, memory_max_bytes);
}

void nj_spool_done(struct nj_spool *spool)
{
    if (!spool)
        return;
    nj_buf_done(&spool->memory);
    if (spool->memory_max_bytes > 0 && spool->fd >= 0) /* a zeroed one has no descriptor 0 */
        (void)close(spool->fd);                        /* its bytes go with it */
    spool->fd = -1;
}

/* named_file - for file systems without O_TMPFILE: the name lives until the next line */
static int named_file(int dir_fd, int *ret_fd, struct nj_error *err)
{
    for (int i = 0; i < NAME_TRIES; i++) {
        char name[32];
        uint64_t number;
        int fd;

        if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
            return nj_fail_errno(err, errno, "getrandom");
        (void)snprintf(name, sizeof(name), ".tmp-%016llx", (unsigned long long)number);
        fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd >= 0) {
            (void)unlinkat(dir_fd, name, 0); /* a leftover is swept at the next start */
            *ret_fd = fd;
            return 0;
        }
        if (errno != EEXIST)
            return nj_fail_errno(err, errno, "make a spool file");
    }
    return nj_fail(err, NJ_E_SYSTEM, "make a spool file: no free name");
}

static int spool_file(int dir_fd, int *ret_fd, struct nj_error *err)
{
    nj_auto_close int own_fd = -1;
    int fd;

    if (dir_fd < 0) {
        const char *path = getenv("TMPDIR");

        if (!path || !*path)
            path = "/tmp";
        own_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (own_fd < 0)
            return nj_fail_errno(err, errno, "open the folder for spool files, TMPDIR %s", path);
        dir_fd = own_fd;
    }
    fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT || errno == EINVAL))
        return named_file(dir_fd, ret_fd, err);
    if (fd < 0)
        return nj_fail_errno(err, errno, "make a spool file");
    *ret_fd = fd;
    return 0;
}

int nj_spool_append(struct nj_spool *spool, struct nj_span bytes, struct nj_error *err)
{
    int r;

    if (spool->fd < 0 && bytes.len <= spool->memory_max_bytes - spool->memory.len) {
        r = nj_buf_append(&spool->memory, bytes.data, bytes.len, err);
        if (r < 0)
            return r;
        spool->len += bytes.len;
        return 0;
    }
    if (spool->fd < 0) {
        nj_auto_close int fd = -1;

        r = spool_file(spool->dir_fd, &fd, err);
        if (r == 0)
            r = nj_fsio_pwrite(fd, spool->memory.data, spool->memory.len, 0, err);
        if (r < 0)
            return r;
        spool->fd = nj_steal_fd(&fd);
        nj_buf_done(&spool->memory);
    }
    r = nj_fsio_pwrite(spool->fd, bytes.data, bytes.len, spool->len, err);
    if (r < 0)
        return nj_wrap(err, "spool file");
    spool->len += bytes.len;
    return 0;
}

int nj_spool_read(const struct nj_spool *spool, uint64_t offset, size_t len, struct nj_buf *out,
                  struct nj_error *err)
{
    int r;

    if (offset > spool->len || len > spool->len - offset)
        return nj_fail(err, NJ_E_INPUT, "spool: %zu bytes at %llu of %llu", len,
                       (unsigned long long)offset, (unsigned long long)spool->len);
    if (spool->fd < 0)
        return len == 0 ? 0 : nj_buf_append(out, spool->memory.data + offset, len, err);
    r = nj_buf_reserve(out, len, err);
    if (r < 0)
        return r;
    r = nj_fsio_pread(spool->fd, out->data + out->len, len, offset, err);
    if (r < 0)
        return nj_wrap(err, "spool file");
    out->len += len;
    if (out->data)
        out->data[out->len] = '\0';
    return 0;
}
