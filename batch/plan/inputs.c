/*
 * inputs.c - objects as files named by their digest
 *
 * The complication is durability at the price of few syncs. Syncing the whole file system would
 * make this run wait for everybody else's data and, before Linux 5.8, would not tell of failures.
 * So every new file is told to start writing back first, and then each is synced: the first sync
 * commits the file system's journal for all of them, the others find little left to do. A file is
 * opened again for that; a write-back error that nobody has seen yet is reported to whoever syncs
 * next (since Linux 4.13).
 */
#include "batch/plan/inputs.h"

#include <errno.h>
#include <fcntl.h>

#include "batch/plan/table.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

struct nj_inputs {
    int dir_fd;
    struct nj_table known;   /* digests that were put; value: index in fresh, or SIZE_MAX */
    struct nj_digest *fresh; /* put and not yet synced */
    size_t n_fresh;
    size_t cap_fresh;
    uint64_t bytes;
    uint64_t temp_counter;
};

int nj_inputs_open(int dir_fd, struct nj_inputs **ret_inputs, struct nj_error *err)
{
    struct nj_inputs *inputs;
    int r;

    r = nj_fsio_sweep(dir_fd, err);
    if (r < 0)
        return nj_wrap(err, "inputs");
    inputs = calloc(1, sizeof(*inputs));
    if (!inputs)
        return nj_fail_nomem(err);
    inputs->dir_fd = dir_fd;
    *ret_inputs = inputs;
    return 0;
}

void nj_inputs_free(struct nj_inputs *inputs)
{
    if (!inputs)
        return;
    nj_table_done(&inputs->known);
    free(inputs->fresh);
    free(inputs);
}

uint64_t nj_inputs_bytes(const struct nj_inputs *inputs)
{
    return inputs->bytes;
}

/* ---- putting ---- */

/* is_there - an earlier process left this object, and left it whole */
static int is_there(int dir_fd, const char *name, const struct nj_object *object,
                    struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_digest digest;
    struct stat st;
    int r;

    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : nj_fail_errno(err, errno, "look at %s", name);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != object->bytes.len)
        return 0; /* torn by a power loss: replaced */
    nj_buf_init(&buf, object->bytes.len);
    r = nj_fsio_read_file(dir_fd, name, &buf, err);
    if (r < 0)
        return r;
    nj_digest_bytes(buf.data, buf.len, &digest);
    return nj_digest_equal(&digest, &object->digest);
}

static int temp_write(int dir_fd, const char *temp, struct nj_span bytes, struct nj_error *err)
{
    nj_auto_close int fd = -1;

    fd = openat(dir_fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return nj_fail_errno(err, errno, "create %s", temp);
    if (fchmod(fd, 0600) < 0) /* whatever the umask */
        return nj_fail_errno(err, errno, "chmod %s", temp);
    return nj_fsio_write(fd, bytes.data, bytes.len, err);
}

static int object_write(struct nj_inputs *inputs, const char *name, struct nj_span bytes,
                        struct nj_error *err)
{
    char temp[64];
    int r;

    (void)snprintf(temp, sizeof(temp), ".tmp-%ld-in-%llu", (long)getpid(),
                   (unsigned long long)inputs->temp_counter++);
    r = temp_write(inputs->dir_fd, temp, bytes, err);
    if (r == 0)
        r = nj_fsio_rename(inputs->dir_fd, temp, inputs->dir_fd, name, err);
    if (r < 0)
        (void)unlinkat(inputs->dir_fd, temp, 0); /* a leftover is swept at the next start */
    return r;
}

static int note_fresh(struct nj_inputs *inputs, const struct nj_digest *digest,
                      struct nj_error *err)
{
    if (inputs->n_fresh == inputs->cap_fresh) {
        size_t cap = inputs->cap_fresh ? inputs->cap_fresh * 2 : 64;
        struct nj_digest *larger = reallocarray(inputs->fresh, cap, sizeof(*larger));

        if (!larger)
            return nj_fail_nomem(err);
        inputs->fresh = larger;
        inputs->cap_fresh = cap;
    }
    inputs->fresh[inputs->n_fresh++] = *digest;
    return 0;
}

static int put(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    struct nj_span key = {object->digest.bytes, NJ_DIGEST_BYTES};
    struct nj_inputs *inputs = ctx;
    char name[NJ_DIGEST_HEX_CHARS + 1];
    size_t before;
    int r;

    if (nj_table_find(&inputs->known, key, &before))
        return 0;
    nj_digest_hex(&object->digest, name);
    r = is_there(inputs->dir_fd, name, object, err);
    if (r == 0)
        r = object_write(inputs, name, object->bytes, err);
    if (r >= 0)
        r = note_fresh(inputs, &object->digest,
                       err); /* one that was there may never have been synced */
    if (r >= 0)
        r = nj_table_add(&inputs->known, key, 0, &before, err);
    if (r < 0)
        return nj_wrap(err, "input %.8s", name);
    inputs->bytes += object->bytes.len;
    return 0;
}

struct nj_object_sink nj_inputs_sink(struct nj_inputs *inputs)
{
    return (struct nj_object_sink){.put = put, .ctx = inputs};
}

/* ---- syncing ---- */

static int open_fresh(const struct nj_inputs *inputs, size_t i, int *ret_fd, struct nj_error *err)
{
    char name[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(&inputs->fresh[i], name);
    *ret_fd = openat(inputs->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return *ret_fd >= 0 ? 0 : nj_fail_errno(err, errno, "sync inputs: open %.8s", name);
}

int nj_inputs_sync(struct nj_inputs *inputs, struct nj_error *err)
{
    int r;

    for (size_t i = 0; i < inputs->n_fresh; i++) {
        nj_auto_close int fd = -1;

        r = open_fresh(inputs, i, &fd, err);
        if (r < 0)
            return r;
        /* Only a hint to begin: what it could not do, the sync below does or tells. */
        (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    }
    for (size_t i = 0; i < inputs->n_fresh; i++) {
        nj_auto_close int fd = -1;

        r = open_fresh(inputs, i, &fd, err);
        if (r < 0)
            return r;
        r = nj_fsio_fdatasync(fd, err);
        if (r < 0)
            return nj_wrap(err, "sync inputs");
    }
    if (inputs->n_fresh > 0) {
        r = nj_fsio_sync_dir(inputs->dir_fd, err);
        if (r < 0)
            return nj_wrap(err, "sync inputs");
    }
    inputs->n_fresh = 0;
    return 0;
}

/* ---- reading ---- */

static int get(void *ctx, const struct nj_digest *digest, struct nj_buf *out, struct nj_error *err)
{
    struct nj_inputs *inputs = ctx;
    char name[NJ_DIGEST_HEX_CHARS + 1];
    struct nj_digest found;
    size_t start = out->len;
    int r;

    nj_digest_hex(digest, name);
    r = nj_fsio_read_file(inputs->dir_fd, name, out, err);
    if (r < 0 && err->code == NJ_E_SYSTEM && err->sys_errno == ENOENT)
        return nj_fail(err, NJ_E_CORRUPT, "input %s is missing from the run's inputs", name);
    if (r < 0)
        return nj_wrap(err, "inputs");
    nj_digest_bytes(out->data ? out->data + start : NULL, out->len - start, &found);
    if (nj_digest_equal(&found, digest))
        return 0;
    out->len = start;
    if (out->data)
        out->data[start] = '\0';
    return nj_fail(err, NJ_E_CORRUPT, "input %s holds other bytes than its name says", name);
}

struct nj_object_source nj_inputs_source(struct nj_inputs *inputs)
{
    return (struct nj_object_source){.get = get, .ctx = inputs};
}
