/*
 * fsio.c - descriptors: reading, writing, syncing, messages
 *
 * Each wrapped call passes its fault point before the system call, once per turn of its loop, so an
 * injected failure takes the way a real one would take. Whole files and folders are in fsio_tree.c.
 */
#include "formats/base/fsio.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "formats/base/bytes.h"
#include "formats/base/fault.h"

#include "formats/base/banned.h"

#define MESSAGE_FDS_MAX 8u
#define BLOCK_BYTES 4096u /* of most file systems: a smaller hole would save nothing */
#define READ_CHUNK_BYTES ((size_t)64 << 10)

/* act_out - set errno as @action wants; true when the system call must not be made */
static bool act_out(enum nj_fault_action action)
{
    switch (action) {
    case NJ_FAULT_ENOSPC:
        errno = ENOSPC;
        return true;
    case NJ_FAULT_EIO:
        errno = EIO;
        return true;
    case NJ_FAULT_EINTR:
        errno = EINTR;
        return true;
    case NJ_FAULT_NONE:
    case NJ_FAULT_SHORT: /* for the writers, who halve their count; others have no short form */
        break;
    }
    return false;
}

/* write_some - one write, or with @offset one pwrite */
static ssize_t write_some(int fd, const uint8_t *data, size_t len, const off_t *offset)
{
    enum nj_fault_action action = nj_fault("write");

    if (act_out(action))
        return -1;
    if (action == NJ_FAULT_SHORT && len > 1)
        len /= 2;
    return offset ? pwrite(fd, data, len, *offset) : write(fd, data, len);
}

static int write_all(int fd, const uint8_t *data, size_t len, const off_t *offset,
                     struct nj_error *err)
{
    off_t at = offset ? *offset : 0;

    while (len > 0) {
        ssize_t n = write_some(fd, data, len, offset ? &at : NULL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return nj_fail_errno(err, errno, "write %zu bytes", len);
        if (n == 0)
            return nj_fail_errno(err, EIO, "write %zu bytes: no progress", len);
        data += n;
        len -= (size_t)n;
        at += n;
    }
    return 0;
}

int nj_fsio_write(int fd, const void *data, size_t len, struct nj_error *err)
{
    return write_all(fd, data, len, NULL, err);
}

/* offset_of - the kernel's signed offset, with room for @len behind it */
static int offset_of(uint64_t offset, uint64_t len, off_t *ret_offset, struct nj_error *err)
{
    if (offset > INT64_MAX || len > INT64_MAX - offset)
        return nj_fail(err, NJ_E_LIMIT, "file offset %llu is too large",
                       (unsigned long long)offset);
    *ret_offset = (off_t)offset;
    return 0;
}

int nj_fsio_pwrite(int fd, const void *data, size_t len, uint64_t offset, struct nj_error *err)
{
    off_t at = 0;
    int r = offset_of(offset, len, &at, err);

    return r < 0 ? r : write_all(fd, data, len, &at, err);
}

/* zeros_of - how many of the bytes, in whole blocks of the file, are zeros that a hole can stand
 * for */
static size_t zeros_of(const uint8_t *data, size_t len, uint64_t at)
{
    size_t n = 0;

    while (n < len) {
        size_t block = BLOCK_BYTES - (size_t)((at + n) % BLOCK_BYTES);

        block = block < len - n ? block : len - n;
        if (data[n] != 0 || memcmp(data + n, data + n + 1, block - 1) != 0)
            break;
        n += block;
    }
    return n;
}

int nj_fsio_sparse_write(struct nj_fsio_sparse *file, const void *data, size_t len,
                         struct nj_error *err)
{
    const uint8_t *bytes = data;

    while (len > 0) {
        size_t hole = zeros_of(bytes, len, file->at);
        size_t end = hole;
        int r;

        while (end < len && zeros_of(bytes + end, len - end, file->at + end) == 0)
            end += BLOCK_BYTES - (size_t)((file->at + end) % BLOCK_BYTES);
        end = end < len ? end : len;
        if (end > hole) {
            r = nj_fsio_pwrite(file->fd, bytes + hole, end - hole, file->at + hole, err);
            if (r < 0)
                return r;
            file->size = file->at + end;
        }
        bytes += end;
        len -= end;
        file->at += end;
    }
    return 0;
}

int nj_fsio_sparse_end(const struct nj_fsio_sparse *file, struct nj_error *err)
{
    if (file->size < file->at && ftruncate(file->fd, (off_t)file->at) < 0)
        return nj_fail_errno(err, errno, "set a size"); /* a hole at the end */
    return 0;
}

int nj_fsio_fdatasync(int fd, struct nj_error *err)
{
    for (;;) {
        int r = act_out(nj_fault("fdatasync")) ? -1 : fdatasync(fd);

        if (r == 0)
            return 0;
        if (errno != EINTR) /* an interrupted wait lost no pages, any other failure may have */
            return nj_fail_errno(err, errno, "fdatasync");
    }
}

int nj_fsio_sync_dir(int dir_fd, struct nj_error *err)
{
    for (;;) {
        int r = act_out(nj_fault("fdatasync")) ? -1 : fsync(dir_fd);

        if (r == 0)
            return 0;
        if (errno != EINTR)
            return nj_fail_errno(err, errno, "sync folder");
    }
}

int nj_fsio_fallocate(int fd, uint64_t offset, uint64_t len, struct nj_error *err)
{
    off_t at = 0;
    int r = offset_of(offset, len, &at, err);

    if (r < 0)
        return r;
    for (;;) {
        r = act_out(nj_fault("fallocate")) ? -1 : fallocate(fd, 0, at, (off_t)len);
        if (r == 0)
            return 0;
        if (errno == EINTR)
            continue;
        if (errno == EOPNOTSUPP) { /* glibc then writes to each block: slower, same promise */
            r = posix_fallocate(fd, at, (off_t)len);
            return r == 0 ? 0
                          : nj_fail_errno(err, r, "allocate %llu bytes", (unsigned long long)len);
        }
        return nj_fail_errno(err, errno, "allocate %llu bytes", (unsigned long long)len);
    }
}

int nj_fsio_rename(int old_dir_fd, const char *old_name, int new_dir_fd, const char *new_name,
                   struct nj_error *err)
{
    for (;;) {
        int r =
            act_out(nj_fault("rename")) ? -1 : renameat(old_dir_fd, old_name, new_dir_fd, new_name);

        if (r == 0)
            return 0;
        if (errno != EINTR)
            return nj_fail_errno(err, errno, "rename %s to %s", old_name, new_name);
    }
}

/* Room for the largest descriptor list, aligned as the kernel wants it. */
union control {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(MESSAGE_FDS_MAX * sizeof(int))];
};

int nj_fsio_sendmsg(int fd, const void *data, size_t len, const int *fds, size_t n_fds,
                    struct nj_error *err)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    union control control = {0};

    assert(n_fds <= MESSAGE_FDS_MAX);
    if (n_fds > 0) {
        struct cmsghdr *header;

        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
    }
    for (;;) {
        ssize_t n = act_out(nj_fault("sendmsg")) ? -1 : sendmsg(fd, &message, MSG_NOSIGNAL);

        if (n >= 0 && (size_t)n == len)
            return 0;
        if (n >= 0)
            return nj_fail_errno(err, EIO, "send: %zd of %zu bytes", n, len);
        if (errno == EAGAIN)
            return 1;
        if (errno != EINTR)
            return nj_fail_errno(err, errno, "send %zu bytes", len);
    }
}

/* take_fds - the descriptors that came with @message, at most MESSAGE_FDS_MAX */
static size_t take_fds(struct msghdr *message, int fds[MESSAGE_FDS_MAX])
{
    size_t n = 0;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        size_t bytes;

        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        bytes = header->cmsg_len - CMSG_LEN(0);
        /* The kernel filled no more than the control buffer, which has room for just so many. */
        assert(n + bytes / sizeof(int) <= MESSAGE_FDS_MAX);
        memcpy(fds + n, CMSG_DATA(header), bytes);
        n += bytes / sizeof(int);
    }
    return n;
}

static void close_fds(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)close(fds[i]); /* nothing was written to them here */
}

int nj_fsio_recvmsg(int fd, void *data, size_t max_bytes, size_t *ret_len, int *fds,
                    size_t *ret_n_fds, struct nj_error *err)
{
    struct iovec part = {.iov_base = data, .iov_len = max_bytes};
    int received[MESSAGE_FDS_MAX];
    union control control = {0};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    size_t n_received;
    ssize_t n;

    do {
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return 1;
    if (n < 0)
        return nj_fail_errno(err, errno, "receive");

    n_received = take_fds(&message, received);
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || n_received > *ret_n_fds ||
        (n == 0 && n_received > 0)) {
        close_fds(received, n_received);
        return nj_fail(err, NJ_E_CORRUPT,
                       "receive: a message above %zu bytes, or not fit for its descriptors (%zu, "
                       "at most %zu)",
                       max_bytes, n_received, *ret_n_fds);
    }
    if (n_received > 0)
        memcpy(fds, received, n_received * sizeof(int));
    *ret_n_fds = n_received;
    *ret_len = (size_t)n;
    return 0;
}

static int read_exactly(int fd, uint8_t *data, size_t len, const off_t *offset,
                        struct nj_error *err)
{
    off_t at = offset ? *offset : 0;
    size_t got = 0;

    while (got < len) {
        ssize_t n = offset ? pread(fd, data + got, len - got, at + (off_t)got)
                           : read(fd, data + got, len - got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return nj_fail_errno(err, errno, "read %zu bytes", len);
        if (n == 0)
            return nj_fail(err, NJ_E_CORRUPT, "ends after %zu of %zu bytes", got, len);
        got += (size_t)n;
    }
    return 0;
}

int nj_fsio_read(int fd, void *data, size_t len, struct nj_error *err)
{
    return read_exactly(fd, data, len, NULL, err);
}

int nj_fsio_pread(int fd, void *data, size_t len, uint64_t offset, struct nj_error *err)
{
    off_t at = 0;
    int r = offset_of(offset, len, &at, err);

    return r < 0 ? r : read_exactly(fd, data, len, &at, err);
}

/* room_for_read - make room in @buf, as much as a file of known size still needs */
static int room_for_read(struct nj_buf *buf, size_t hint, size_t *ret_room, struct nj_error *err)
{
    size_t room = buf->max - buf->len;
    int r;

    if (hint == 0)
        hint = READ_CHUNK_BYTES;
    if (room > hint)
        room = hint;
    r = nj_buf_reserve(buf, room, err);
    if (r == 0)
        *ret_room = room;
    return r;
}

static int read_more(int fd, struct nj_buf *buf, struct nj_error *err)
{
    struct stat st;
    size_t hint = 0, room = 0;

    /* One byte above the size tells the end of the file without another growth of the buffer. */
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
        hint = (size_t)st.st_size + 1;
    for (;;) {
        uint8_t beyond;
        ssize_t n;
        int r = room_for_read(buf, hint, &room, err);

        if (r < 0)
            return r;
        do {
            n = room > 0 ? read(fd, buf->data + buf->len, room) : read(fd, &beyond, 1);
        } while (n < 0 && errno == EINTR);
        if (n < 0)
            return nj_fail_errno(err, errno, "read");
        if (n == 0)
            return 0;
        if (room == 0)
            return nj_fail(err, NJ_E_LIMIT, "more than %zu bytes", buf->max);
        buf->len += (size_t)n;
        hint = hint > (size_t)n ? hint - (size_t)n : 0;
    }
}

int nj_fsio_read_all(int fd, struct nj_buf *buf, struct nj_error *err)
{
    size_t start = buf->len;
    int r = read_more(fd, buf, err);

    if (r < 0)
        buf->len = start;
    if (buf->data)
        buf->data[buf->len] = '\0';
    return r;
}

int nj_fsio_read_file(int dir_fd, const char *name, struct nj_buf *buf, struct nj_error *err)
{
    nj_auto_close int fd = -1;
    struct stat st;
    int r;

    /* O_NONBLOCK: opening a FIFO would wait for its writer. It has no effect on regular files. */
    fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open %s", name);
    if (fstat(fd, &st) < 0)
        return nj_fail_errno(err, errno, "stat %s", name);
    if (!S_ISREG(st.st_mode))
        return nj_fail(err, NJ_E_INPUT, "%s: not a regular file", name);
    r = nj_fsio_read_all(fd, buf, err);
    return r < 0 ? nj_wrap(err, "read %s", name) : 0;
}

int nj_fsio_memfd(const char *name, int *ret_fd, struct nj_error *err)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return nj_fail_errno(err, errno, "memfd %s", name);
    *ret_fd = fd;
    return 0;
}
