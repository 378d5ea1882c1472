/*
 * members.c - the tar of a bundle that anybody may have made
 *
 * libarchive reads the tar, and reads much more than what we write: links, devices, long names,
 * sparse files, extended headers. So each member is held against what the writer would have written
 * there: name, type, owner, mode and time, and its place in the file, which leaves no room for a
 * hidden header. Nothing is ever written under a name.
 */
#include <errno.h>
#include <inttypes.h>

#include <archive.h>
#include <archive_entry.h>

#include "formats/base/fsio.h"
#include "formats/bundle/load.h"

#include "formats/base/banned.h"

#define READ_CHUNK_BYTES ((size_t)128 << 10)

static la_ssize_t tar_read(struct archive *archive, void *object, const void **ret_data)
{
    struct nj_bundle_load *load = object;
    struct nj_error err = {0};
    uint64_t left = load->fd_bytes - load->read_at;
    size_t len = left < READ_CHUNK_BYTES ? (size_t)left : READ_CHUNK_BYTES;

    *ret_data = load->chunk;
    if (nj_fsio_pread(load->fd, load->chunk, len, load->read_at, &err) < 0) {
        archive_set_error(archive, err.sys_errno ? err.sys_errno : EIO, "%s", err.text);
        return -1;
    }
    load->read_at += len;
    return (la_ssize_t)len;
}

static const char *tar_error(const struct nj_bundle_load *load)
{
    const char *text = archive_error_string(load->archive);

    return text ? text : "damaged";
}

int nj_bundle_zeros_between(const struct nj_bundle_load *load, uint64_t from, uint64_t to,
                            struct nj_error *err)
{
    uint8_t bytes[NJ_TAR_BLOCK_BYTES];

    while (from < to) {
        size_t len = to - from < sizeof(bytes) ? (size_t)(to - from) : sizeof(bytes);
        int r = nj_fsio_pread(load->fd, bytes, len, from, err);

        if (r < 0)
            return r;
        for (size_t i = 0; i < len; i++) {
            if (bytes[i] != 0)
                return nj_fail(err, NJ_E_CORRUPT,
                               "byte %" PRIu64 " of the file is filling and not 0", from + i);
        }
        from += len;
    }
    return 0;
}

/* member_fault - what the writer would not have written, NULL when nothing */
static const char *member_fault(const struct nj_bundle_load *load, struct archive_entry *entry)
{
    const char *owner = archive_entry_uname(entry), *group = archive_entry_gname(entry);

    if (archive_entry_hardlink(entry) || archive_entry_symlink(entry) ||
        archive_entry_filetype(entry) != AE_IFREG)
        return "not a regular file";
    if (archive_read_header_position(load->archive) != (la_int64_t)load->member_end)
        return "its header is not where it belongs";
    if (!archive_entry_size_is_set(entry) || archive_entry_size(entry) < 0 ||
        archive_entry_sparse_count(entry) > 0)
        return "a sparse file or one without a size";
    if (archive_entry_perm(entry) != 0600 || archive_entry_uid(entry) != 0 ||
        archive_entry_gid(entry) != 0 || (owner && *owner) || (group && *group))
        return "owner or mode is not what a bundle has";
    if (archive_entry_mtime(entry) != 0 || archive_entry_mtime_nsec(entry) != 0)
        return "its time is not 0";
    return NULL;
}

/* first_member - is this a tar with our first member at all? */
static int first_member(int r, struct archive_entry *entry, struct nj_error *err)
{
    const char *name = r == ARCHIVE_OK || r == ARCHIVE_WARN ? archive_entry_pathname(entry) : NULL;

    if (!name || strcmp(name, nj_bundle_member_name(NJ_BUNDLE_INFO)) != 0)
        return nj_fail(err, NJ_E_INPUT, "this is not a bundle: no tar that begins with %s",
                       nj_bundle_member_name(NJ_BUNDLE_INFO));
    return 0;
}

int nj_bundle_member_open(struct nj_bundle_load *load, enum nj_bundle_member member,
                          const char *expected_text, const char **ret_name, struct nj_error *err)
{
    struct archive_entry *entry = NULL;
    const char *fault, *name;
    int r = archive_read_next_header(load->archive, &entry);

    if (member == NJ_BUNDLE_INFO) {
        int input = first_member(r, entry, err);

        if (input < 0)
            return input;
    }
    if (r == ARCHIVE_EOF) {
        *ret_name = NULL;
        return 0;
    }
    if (r != ARCHIVE_OK)
        return nj_fail(err, NJ_E_CORRUPT, "where %s should be: %s", expected_text, tar_error(load));
    name = archive_entry_pathname(entry);
    if (!name)
        return nj_fail(err, NJ_E_CORRUPT, "where %s should be: a member without a name",
                       expected_text);
    fault = member_fault(load, entry);
    if (fault)
        return nj_fail(err, NJ_E_CORRUPT, "member \"%.100s\" where %s should be: %s", name,
                       expected_text, fault);
    load->member_bytes = (uint64_t)archive_entry_size(entry);
    *ret_name = name;
    return 0;
}

int nj_bundle_member_expect(struct nj_bundle_load *load, enum nj_bundle_member member,
                            uint64_t max_bytes, struct nj_error *err)
{
    const char *text = nj_bundle_member_name(member);
    const char *name = NULL;
    int r = nj_bundle_member_open(load, member, text, &name, err);

    if (r < 0)
        return r;
    if (!name)
        return nj_fail(err, NJ_E_CORRUPT, "%s is missing", text);
    if (strcmp(name, text) != 0)
        return nj_fail(err, NJ_E_CORRUPT, "member \"%.100s\" where %s should be", name, text);
    if (load->member_bytes > max_bytes)
        return nj_fail(err, NJ_E_LIMIT, "%s: %" PRIu64 " bytes, at most %" PRIu64 " are allowed",
                       text, load->member_bytes, max_bytes);
    return 0;
}

int nj_bundle_member_read(struct nj_bundle_load *load, struct nj_buf *out, size_t len,
                          size_t *ret_len, struct nj_error *err)
{
    la_ssize_t n;
    int r = nj_buf_reserve(out, len, err);

    if (r < 0)
        return r;
    n = archive_read_data(load->archive, out->data + out->len, len);
    if (n < 0)
        return nj_fail(err, NJ_E_CORRUPT, "%s", tar_error(load));
    out->len += (size_t)n;
    *ret_len = (size_t)n;
    return 0;
}

int nj_bundle_member_close(struct nj_bundle_load *load, enum nj_bundle_member member,
                           const struct nj_digest *digest, struct nj_error *err)
{
    uint64_t end = load->member_end + NJ_TAR_BLOCK_BYTES + load->member_bytes;
    uint64_t next = (end + NJ_TAR_BLOCK_BYTES - 1) / NJ_TAR_BLOCK_BYTES * NJ_TAR_BLOCK_BYTES;
    int r;

    if (next > load->fd_bytes)
        return nj_fail(err, NJ_E_CORRUPT, "%s: the file ends within it",
                       nj_bundle_member_name(member));
    r = nj_bundle_zeros_between(load, end, next, err);
    if (r < 0)
        return nj_wrap(err, "behind %s", nj_bundle_member_name(member));
    load->member_end = next;
    load->digests[member] = *digest;
    load->present[member] = true;
    return 0;
}

int nj_bundle_member_whole(struct nj_bundle_load *load, enum nj_bundle_member member,
                           struct nj_buf *out, struct nj_error *err)
{
    struct nj_digest digest;
    size_t got = 1;
    int r = 0;

    nj_buf_clear(out);
    while (r == 0 && got > 0 && out->len < load->member_bytes)
        r = nj_bundle_member_read(load, out, (size_t)load->member_bytes - out->len, &got, err);
    if (r == 0 && out->len != load->member_bytes)
        r = nj_fail(err, NJ_E_CORRUPT, "%zu of %" PRIu64 " bytes", out->len, load->member_bytes);
    if (r < 0)
        return nj_wrap(err, "%s", nj_bundle_member_name(member));
    if (out->data)
        out->data[out->len] = '\0';
    nj_digest_bytes(out->data, out->len, &digest);
    return nj_bundle_member_close(load, member, &digest, err);
}

int nj_bundle_load_open(struct nj_bundle_load *load, struct nj_error *err)
{
    struct stat st;

    if (fstat(load->fd, &st) < 0)
        return nj_fail_errno(err, errno, "stat");
    if (!S_ISREG(st.st_mode))
        return nj_fail(err, NJ_E_INPUT, "not a regular file");
    load->fd_bytes = (uint64_t)st.st_size;
    nj_buf_init(&load->squeezed, NJ_BUNDLE_SQUEEZED_MAX_BYTES + READ_CHUNK_BYTES);
    nj_buf_init(&load->block, NJ_BUNDLE_RECORD_MAX_BYTES);
    nj_buf_init(&load->text, NJ_BUNDLE_INFO_MAX_BYTES);
    load->chunk = malloc(READ_CHUNK_BYTES);
    load->archive = archive_read_new();
    if (!load->chunk || !load->archive)
        return nj_fail_nomem(err);
    if (archive_read_support_format_tar(load->archive) != ARCHIVE_OK ||
        archive_read_open(load->archive, load, NULL, tar_read, NULL) != ARCHIVE_OK)
        return nj_fail(err, NJ_E_INPUT, "this is not a bundle: %s", tar_error(load));
    return 0;
}

void nj_bundle_load_done(struct nj_bundle_load *load)
{
    if (load->archive)
        (void)archive_read_free(load->archive); /* read only */
    load->archive = NULL;
    free(load->chunk);
    load->chunk = NULL;
    nj_buf_done(&load->squeezed);
    nj_buf_done(&load->block);
    nj_buf_done(&load->text);
}
