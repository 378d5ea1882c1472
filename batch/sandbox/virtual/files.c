/*
 * files.c - a FUSE server for four files
 *
 * The complication is that reads of the random devices must be whole, at any length, and their
 * bytes a function of the call, the opening and the place in the stream: SHA-256 in counter mode
 * gives any block of a stream by its number. Reads bypass the page cache (FOPEN_DIRECT_IO), so a
 * file has no size and no read is cut.
 */
#include "batch/sandbox/virtual/files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "batch/sandbox/probe.h"
#include "formats/base/bytes.h"

#include "formats/base/banned.h"

#define REQUEST_MAX_BYTES                                                                          \
    (64u << 10) /* a write of the agent's at most, and the kernel's minimum                        \
                 */
#define WRITE_MAX_BYTES (32u << 10)
#define REQUESTS_A_TURN 32
#define FOREVER_S 86400 /* names and attributes never change */
#define TEXT_MAX_BYTES 64
#define BOOT_NS INT64_C(1700000000000000000) /* NJ_CLOCK_BOOT_NS of layout.h */
#define NS_PER_S INT64_C(1000000000)

/* The low bits of a handle say which file it is, the others which opening. */
#define HANDLE_FILE_BITS 8

struct request {
    struct fuse_in_header header;
    uint8_t body[REQUEST_MAX_BYTES - sizeof(struct fuse_in_header)];
};

static const struct {
    uint64_t node;
    const char *name;
} nodes[] = {
#define X(enumerator, number, name, target) {number, name},
    NJ_FILES(X)
#undef X
};

enum {
#define X(enumerator, number, name, target) NODE_##enumerator = number,
    NJ_FILES(X)
#undef X
};

int nj_files_mount(void)
{
    char options[96];
    int fd, errnum;

    if (nj_probe_is_withheld(NJ_PROBE_FUSE))
        return -ENOENT;
    fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    (void)snprintf(options, sizeof(options), "fd=%d,rootmode=40555,user_id=%d,group_id=%d", fd,
                   NJ_BOX_UID, NJ_BOX_GID);
    if (mount("nj-files", NJ_FILES_DIR + 1, "fuse", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) == 0)
        return fd;
    errnum = errno;
    (void)close(fd);
    return -errnum;
}

int nj_files_init(struct nj_files *files, int fd, struct nj_error *err)
{
    *files = (struct nj_files){.fd = fd};
    if (fd < 0)
        return 0;
    files->reply = malloc(sizeof(struct fuse_out_header) + NJ_FILES_READ_MAX);
    return files->reply ? 0 : nj_fail_nomem(err);
}

void nj_files_done(struct nj_files *files)
{
    if (files->fd >= 0)
        (void)close(files->fd);
    free(files->reply);
    *files = (struct nj_files){.fd = -1};
}

void nj_files_begin(struct nj_files *files, const struct nj_box_call *call, const int64_t *now_ns)
{
    uint8_t step[8];

    nj_store_u64le(step, call->step);
    files->key = (struct nj_digest){0};
    nj_digest_chain(&files->key, "files", (struct nj_span){call->seed, sizeof(call->seed)});
    nj_digest_chain(&files->key, "step", (struct nj_span){step, sizeof(step)});
    files->opened = 0;
    files->now_ns = now_ns;
}

/* ---- contents ---- */

/* stream - @len bytes from @offset of what the opening @handle gives */
static void stream(const struct nj_files *files, uint64_t handle, uint64_t offset, uint8_t *out,
                   size_t len)
{
    struct {
        struct nj_digest key;
        uint8_t handle[8];
        uint8_t block[8];
    } input = {.key = files->key};

    nj_store_u64le(input.handle, handle);
    while (len > 0) {
        size_t skip = offset % NJ_DIGEST_BYTES, n = NJ_DIGEST_BYTES - skip;
        struct nj_digest block;

        nj_store_u64le(input.block, offset / NJ_DIGEST_BYTES);
        nj_digest_bytes(&input, sizeof(input), &block);
        if (n > len)
            n = len;
        memcpy(out, block.bytes + skip, n);
        out += n;
        offset += n;
        len -= n;
    }
}

/* A fresh random UUID (RFC 9562, version 4) for each opening, as the kernel's file gives one. */
static size_t uuid_text(const struct nj_files *files, uint64_t handle, char text[TEXT_MAX_BYTES])
{
    uint8_t b[16];

    stream(files, handle, 0, b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    return (size_t)snprintf(
        text, TEXT_MAX_BYTES,
        "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n", b[0], b[1], b[2],
        b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static size_t uptime_text(const struct nj_files *files, char text[TEXT_MAX_BYTES])
{
    int64_t up_ns;

    if (__builtin_sub_overflow(__atomic_load_n(files->now_ns, __ATOMIC_RELAXED), BOOT_NS, &up_ns) ||
        up_ns < 0) /* a program may have written the clock */
        up_ns = 0;
    return (size_t)snprintf(text, TEXT_MAX_BYTES, "%" PRId64 ".%02d 0.00\n", up_ns / NS_PER_S,
                            (int)(up_ns % NS_PER_S / (NS_PER_S / 100)));
}

/* ---- requests ---- */

static void reply(struct nj_files *files, const struct request *request, int error, size_t len)
{
    struct fuse_out_header header = {
        .len = (uint32_t)(sizeof(header) + (error ? 0 : len)),
        .error = error,
        .unique = request->header.unique,
    };
    ssize_t n;

    memcpy(files->reply, &header, sizeof(header));
    do {
        n = write(files->fd, files->reply, header.len);
    } while (n < 0 && errno == EINTR);
    /* ENOENT: who asked was killed meanwhile; anything else would be a mistake of ours, and who
     * asked waits until the call's time is over. */
}

static void reply_with(struct nj_files *files, const struct request *request, const void *data,
                       size_t len)
{
    memcpy(files->reply + sizeof(struct fuse_out_header), data, len);
    reply(files, request, 0, len);
}

static struct fuse_attr attributes(uint64_t node)
{
    struct fuse_attr attr = {
        .ino = node,
        .mode = node == FUSE_ROOT_ID                          ? S_IFDIR | 0555
                : node == NODE_RANDOM || node == NODE_URANDOM ? S_IFREG | 0666
                                                              : S_IFREG | 0444,
        .nlink = 1,
        .uid = NJ_BOX_UID,
        .gid = NJ_BOX_GID,
        .blksize = 4096,
    };

    return attr;
}

static void on_init(struct nj_files *files, const struct request *request)
{
    struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION,
        .minor = 31, /* what is used here is as old as that */
        .max_background = 16,
        .congestion_threshold = 12,
        .max_write = WRITE_MAX_BYTES,
        .time_gran = 1,
    };

    reply_with(files, request, &out, sizeof(out));
}

static void on_lookup(struct nj_files *files, const struct request *request, size_t len)
{
    const char *name = (const char *)request->body;

    for (size_t i = 0; request->header.nodeid == FUSE_ROOT_ID && memchr(name, 0, len) &&
                       i < sizeof(nodes) / sizeof(nodes[0]);
         i++) {
        struct fuse_entry_out out = {
            .nodeid = nodes[i].node, .entry_valid = FOREVER_S, .attr_valid = FOREVER_S};

        if (strcmp(name, nodes[i].name) != 0)
            continue;
        out.attr = attributes(nodes[i].node);
        reply_with(files, request, &out, sizeof(out));
        return;
    }
    reply(files, request, -ENOENT, 0);
}

static void on_getattr(struct nj_files *files, const struct request *request)
{
    struct fuse_attr_out out = {.attr_valid = FOREVER_S,
                                .attr = attributes(request->header.nodeid)};

    reply_with(files, request, &out, sizeof(out));
}

static void on_open(struct nj_files *files, const struct request *request)
{
    const struct fuse_open_in *in = (const void *)request->body;
    uint64_t node = request->header.nodeid;
    /* Not told of each close: the supervisor, with a copy of a descriptor, would wait for itself.
     */
    struct fuse_open_out out = {.open_flags = FOPEN_DIRECT_IO | FOPEN_NOFLUSH};

    if (node != NODE_RANDOM && node != NODE_URANDOM && (in->flags & O_ACCMODE) != O_RDONLY) {
        reply(files, request, -EACCES, 0);
        return;
    }
    out.fh = ++files->opened << HANDLE_FILE_BITS | node;
    reply_with(files, request, &out, sizeof(out));
}

static void on_read(struct nj_files *files, const struct request *request)
{
    const struct fuse_read_in *in = (const void *)request->body;
    uint8_t *data = files->reply + sizeof(struct fuse_out_header);
    size_t size = in->size < NJ_FILES_READ_MAX ? in->size : NJ_FILES_READ_MAX, len;
    uint64_t node = in->fh & ((1u << HANDLE_FILE_BITS) - 1);
    char text[TEXT_MAX_BYTES];

    if (node == NODE_RANDOM || node == NODE_URANDOM) {
        stream(files, in->fh, in->offset, data, size);
        reply(files, request, 0, size);
        return;
    }
    len = node == NODE_UUID ? uuid_text(files, in->fh, text) : uptime_text(files, text);
    if (in->offset >= len)
        size = 0;
    else if (size > len - in->offset)
        size = len - (size_t)in->offset;
    if (size > 0)
        memcpy(data, text + in->offset, size);
    reply(files, request, 0, size);
}

/* What is written to a random device stirs the kernel's pool, and gives nothing back. */
static void on_write(struct nj_files *files, const struct request *request)
{
    const struct fuse_write_in *in = (const void *)request->body;
    struct fuse_write_out out = {.size = in->size};

    reply_with(files, request, &out, sizeof(out));
}

/* For df, which asks for every mount: it holds nothing. */
static void on_statfs(struct nj_files *files, const struct request *request)
{
    struct fuse_statfs_out out = {.st = {.bsize = 4096, .namelen = 255, .frsize = 4096}};

    reply_with(files, request, &out, sizeof(out));
}

static size_t body_bytes(uint32_t opcode)
{
    switch (opcode) {
    case FUSE_OPEN:
        return sizeof(struct fuse_open_in);
    case FUSE_READ:
        return sizeof(struct fuse_read_in);
    case FUSE_WRITE:
        return sizeof(struct fuse_write_in);
    default:
        return 0;
    }
}

static void answer(struct nj_files *files, const struct request *request, size_t len)
{
    size_t body_len = len - sizeof(request->header);

    if (body_len < body_bytes(request->header.opcode)) {
        reply(files, request, -EIO, 0);
        return;
    }
    switch (request->header.opcode) {
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
    case FUSE_DESTROY:
        return; /* want no answer */
    case FUSE_INIT:
        on_init(files, request);
        return;
    case FUSE_LOOKUP:
        on_lookup(files, request, body_len);
        return;
    case FUSE_GETATTR:
    case FUSE_SETATTR:
        on_getattr(files, request);
        return;
    case FUSE_OPEN:
        on_open(files, request);
        return;
    case FUSE_READ:
        on_read(files, request);
        return;
    case FUSE_WRITE:
        on_write(files, request);
        return;
    case FUSE_STATFS:
        on_statfs(files, request);
        return;
    case FUSE_RELEASE:
        reply(files, request, 0, 0);
        return;
    default:
        reply(files, request, -ENOSYS, 0);
        return;
    }
}

void nj_files_serve(struct nj_files *files)
{
    static struct request request; /* too large for a stack; a supervisor has one thread */

    for (int i = 0; files->fd >= 0 && i < REQUESTS_A_TURN; i++) {
        ssize_t n = read(files->fd, &request, sizeof(request));

        if (n < 0 && (errno == EINTR || errno == ENOENT))
            continue; /* ENOENT: taken back before it was read */
        if (n < (ssize_t)sizeof(request.header)) {
            if (n >= 0 || errno != EAGAIN)
                (void)close(nj_steal_fd(&files->fd)); /* ENODEV: it is unmounted */
            return;
        }
        answer(files, &request, (size_t)n);
    }
}
