/*
 * spool.c - a stream in memory or in an unlinked file
 *
 * O_TMPFILE makes a file that never had a name; file systems without it get a name for an instant.
 * The reserved file is one for all: it is sparse, and each spool's region is as long as a stream
 * may become, so that regions never meet.
 */
#include "formats/bundle/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>

#include "formats/base/fsio.h"
#include "formats/bundle/bundle.h"

#include "formats/base/banned.h"

#define NAME_TRIES 16
#define REGION_BYTES NJ_BUNDLE_STREAM_MAX_BYTES
#define REGIONS_MAX 1024u /* 4 TiB: what every file system lets a file claim */

/* The file that nj_spool_reserve() opened, and which of its regions are taken. */
static struct {
    int fd;
    bool taken[REGIONS_MAX];
} reserve = {.fd = -1};

void nj_spool_init(struct nj_spool *spool, int dir_fd, size_t memory_max_bytes)
{
    *spool = (struct nj_spool){.dir_fd = dir_fd, .fd = -1, .memory_max_bytes = memory_max_bytes};
    nj_buf_init(&spool->memory, memory_max_bytes);
}

/* Its blocks go back to the disk; where holes cannot be made they go with the process. */
static void give_back(const struct nj_spool *spool)
{
    reserve.taken[spool->base / REGION_BYTES] = false;
    if (spool->len > 0)
        (void)fallocate(reserve.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)spool->base,
                        (off_t)spool->len);
}

void nj_spool_done(struct nj_spool *spool)
{
    if (!spool)
        return;
    nj_buf_done(&spool->memory);
    if (spool->memory_max_bytes > 0 && spool->fd >= 0) { /* a zeroed one has no descriptor 0 */
        if (spool->fd == reserve.fd)
            give_back(spool);
        else
            (void)close(spool->fd); /* its bytes go with it */
    }
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

static int file_below(int dir_fd, int *ret_fd, struct nj_error *err)
{
    int fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT || errno == EINVAL))
        return named_file(dir_fd, ret_fd, err);
    if (fd < 0)
        return nj_fail_errno(err, errno, "make a spool file");
    *ret_fd = fd;
    return 0;
}

static int file_in(const char *path, int *ret_fd, struct nj_error *err)
{
    nj_auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return nj_fail_errno(err, errno, "open the folder for spool files, TMPDIR %s", path);
    if (file_below(fd, ret_fd, err) < 0)
        return nj_wrap(err, "TMPDIR %s", path);
    return 0;
}

static int spool_file(int dir_fd, int *ret_fd, struct nj_error *err)
{
    const char *path = getenv("TMPDIR");

    if (dir_fd >= 0)
        return file_below(dir_fd, ret_fd, err);
    if (!path || !*path)
        return file_in("/tmp", ret_fd, err);
    if (file_in(path, ret_fd, err) == 0)
        return 0;
    /* Root's TMPDIR is not always writable for whom we became. */
    return file_in("/tmp", ret_fd, &(struct nj_error){0}) == 0 ? 0 : -(int)err->code;
}

int nj_spool_reserve(struct nj_error *err)
{
    return reserve.fd >= 0 ? 0 : spool_file(-1, &reserve.fd, err);
}

static int take_region(struct nj_spool *spool, struct nj_error *err)
{
    size_t at = 0;

    while (at < REGIONS_MAX && reserve.taken[at])
        at++;
    if (at == REGIONS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "more than %u spooled streams at once", REGIONS_MAX);
    reserve.taken[at] = true;
    spool->base = at * REGION_BYTES;
    spool->fd = reserve.fd;
    return 0;
}

/* leave_memory - what is there so far goes into a file, and so will the rest */
static int leave_memory(struct nj_spool *spool, struct nj_error *err)
{
    int r;

    if (spool->dir_fd < 0 && reserve.fd >= 0)
        r = take_region(spool, err);
    else
        r = spool_file(spool->dir_fd, &spool->fd, err);
    if (r == 0)
        r = nj_fsio_pwrite(spool->fd, spool->memory.data, spool->memory.len, spool->base, err);
    if (r == 0)
        nj_buf_done(&spool->memory);
    return r;
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
    if (spool->fd < 0 && leave_memory(spool, err) < 0)
        return -(int)err->code;
    if (bytes.len > REGION_BYTES - spool->len && spool->fd == reserve.fd)
        return nj_fail(err, NJ_E_LIMIT, "spool: above %llu bytes", REGION_BYTES);
    r = nj_fsio_pwrite(spool->fd, bytes.data, bytes.len, spool->base + spool->len, err);
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
    r = nj_fsio_pread(spool->fd, out->data + out->len, len, spool->base + offset, err);
    if (r < 0)
        return nj_wrap(err, "spool file");
    out->len += len;
    if (out->data)
        out->data[out->len] = '\0';
    return 0;
}
