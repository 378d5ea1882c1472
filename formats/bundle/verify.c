/*
 * verify.c - reading a bundle that anybody may have made
 *
 * libarchive reads the tar, and reads much more than what we write: links, devices, long names,
 * sparse files, extended headers. So each member is held against what the writer would have written
 * there: name, type, owner, mode and time, and its place in the file, which leaves no room for a
 * hidden header. Lengths meet their caps before memory is spent, a zstd frame its declared size
 * before it is decoded, a record the canonical walk before it is understood. Nothing is ever
 * written under a name.
 *
 * Damage ends the reading. With salvage, what was read before it stays, and the damage is
 * remembered.
 */
#include <errno.h>
#include <inttypes.h>

#include <archive.h>
#include <archive_entry.h>
#include <zstd.h>

#include "formats/base/fsio.h"
#include "formats/base/squeeze.h"
#include "formats/bundle/inside.h"

#include "formats/base/banned.h"

#define TAR_BLOCK_BYTES 512u
#define TAR_TRAILER_MAX_BYTES                                                                      \
    (20u * TAR_BLOCK_BYTES + 2u * TAR_BLOCK_BYTES) /* tar fills up to 20 blocks */
#define READ_CHUNK_BYTES ((size_t)128 << 10)
#define ZSTD_HEADER_MAX_BYTES 18u
#define SQUEEZED_MAX_BYTES                                                                         \
    ((size_t)NJ_BUNDLE_RECORD_MAX_BYTES + (NJ_BUNDLE_RECORD_MAX_BYTES >> 7) + 4096)
#define SIGNATURE_BYTES 64u

struct load {
    struct nj_bundle *bundle;
    int fd;
    uint64_t fd_bytes;
    uint64_t read_at; /* of libarchive's next read */
    uint8_t *chunk;   /* what libarchive reads into */
    struct archive *archive;
    bool salvage;
    struct nj_digest digests[NJ_BUNDLE_MEMBERS_COUNT];
    bool present[NJ_BUNDLE_MEMBERS_COUNT];
    uint64_t member_end;    /* where the next header must be */
    uint64_t member_bytes;  /* of the member being read */
    struct nj_buf squeezed; /* of a stream; the first squeezed_at bytes are decoded already */
    size_t squeezed_at;
    struct nj_buf block; /* one zstd frame, decoded */
    struct nj_buf text;  /* nightjar.json, SHA256SUMS */
};

/* ---- the tar ---- */

static la_ssize_t tar_read(struct archive *archive, void *object, const void **ret_data)
{
    struct load *load = object;
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

static const char *tar_error(const struct load *load)
{
    const char *text = archive_error_string(load->archive);

    return text ? text : "damaged";
}

/* zeros_between - the bytes from @from to @to fill up a tar and are 0 */
static int zeros_between(const struct load *load, uint64_t from, uint64_t to, struct nj_error *err)
{
    uint8_t bytes[TAR_BLOCK_BYTES];

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
static const char *member_fault(const struct load *load, struct archive_entry *entry)
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

/* member_open - the next header; *ret_name is NULL at the end of the archive, else valid until the
 * next call.
 * @expected_text says in errors what should be there. */
static int member_open(struct load *load, enum nj_bundle_member member, const char *expected_text,
                       const char **ret_name, struct nj_error *err)
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

/* member_expect - the next member is @member, of at most @max_bytes */
static int member_expect(struct load *load, enum nj_bundle_member member, uint64_t max_bytes,
                         struct nj_error *err)
{
    const char *text = nj_bundle_member_name(member);
    const char *name = NULL;
    int r = member_open(load, member, text, &name, err);

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

/* member_read - append up to @len bytes of the member's content to @out; 0 bytes at its end */
static int member_read(struct load *load, struct nj_buf *out, size_t len, size_t *ret_len,
                       struct nj_error *err)
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

/* member_close - the member was read to its end: check its filling, keep its digest */
static int member_close(struct load *load, enum nj_bundle_member member,
                        const struct nj_digest *digest, struct nj_error *err)
{
    uint64_t end = load->member_end + TAR_BLOCK_BYTES + load->member_bytes;
    uint64_t next = (end + TAR_BLOCK_BYTES - 1) / TAR_BLOCK_BYTES * TAR_BLOCK_BYTES;
    int r;

    if (next > load->fd_bytes)
        return nj_fail(err, NJ_E_CORRUPT, "%s: the file ends within it",
                       nj_bundle_member_name(member));
    r = zeros_between(load, end, next, err);
    if (r < 0)
        return nj_wrap(err, "behind %s", nj_bundle_member_name(member));
    load->member_end = next;
    load->digests[member] = *digest;
    load->present[member] = true;
    return 0;
}

/* member_whole - a member that is kept in memory */
static int member_whole(struct load *load, enum nj_bundle_member member, struct nj_buf *out,
                        struct nj_error *err)
{
    struct nj_digest digest;
    size_t got = 1;
    int r = 0;

    nj_buf_clear(out);
    while (r == 0 && got > 0 && out->len < load->member_bytes)
        r = member_read(load, out, (size_t)load->member_bytes - out->len, &got, err);
    if (r == 0 && out->len != load->member_bytes)
        r = nj_fail(err, NJ_E_CORRUPT, "%zu of %" PRIu64 " bytes", out->len, load->member_bytes);
    if (r < 0)
        return nj_wrap(err, "%s", nj_bundle_member_name(member));
    if (out->data)
        out->data[out->len] = '\0';
    nj_digest_bytes(out->data, out->len, &digest);
    return member_close(load, member, &digest, err);
}

/* ---- records ---- */

static int place_add(struct nj_bundle_places *places, const struct nj_bundle_place *place,
                     struct nj_error *err)
{
    if (places->count > 0 && places->items[places->count - 1].sequence >= place->sequence)
        return nj_fail(err, NJ_E_CORRUPT, "frame %u after frame %u", (unsigned)place->sequence,
                       (unsigned)places->items[places->count - 1].sequence);
    if (places->count == places->cap) {
        size_t cap = places->cap ? 2 * places->cap : 64;
        struct nj_bundle_place *items = realloc(places->items, cap * sizeof(*items));

        if (!items)
            return nj_fail_nomem(err);
        places->items = items;
        places->cap = cap;
    }
    places->items[places->count++] = *place;
    return 0;
}

/* frame_take - one record of journal or snapshots that lies at @offset of its stream */
static int frame_take(struct load *load, enum nj_bundle_member member, struct nj_span rest,
                      uint64_t offset, size_t *ret_len, struct nj_error *err)
{
    struct nj_bundle *bundle = load->bundle;
    struct nj_frame frame;
    struct nj_bundle_place place;
    int r;

    r = nj_bundle_record_decode(rest, member, &frame, ret_len, err);
    if (r < 0)
        return r;
    place = (struct nj_bundle_place){.kind = frame.kind,
                                     .sequence = (uint32_t)frame.sequence,
                                     .len = (uint32_t)frame.payload.len,
                                     .offset = offset};
    if (frame.payload.len > 0)
        place.offset += (uint64_t)(frame.payload.data - rest.data);
    return place_add(member == NJ_BUNDLE_JOURNAL ? &bundle->journal : &bundle->snapshots, &place,
                     err);
}

/* object_take - the same for objects and inputs */
static int object_take(struct load *load, enum nj_bundle_member member, struct nj_span rest,
                       uint64_t offset, size_t *ret_len, struct nj_error *err)
{
    struct nj_index *index =
        member == NJ_BUNDLE_OBJECTS ? &load->bundle->objects : &load->bundle->inputs;
    char hex[NJ_DIGEST_HEX_CHARS + 1];
    struct nj_object object;
    int r;

    r = nj_object_decode(rest, true, &object, ret_len, err);
    if (r < 0)
        return r;
    if (index->count == NJ_BUNDLE_OBJECTS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "more than %u objects", NJ_BUNDLE_OBJECTS_MAX);
    if (object.bytes.len > 0)
        offset += (uint64_t)(object.bytes.data - rest.data);
    r = nj_index_add(index, &object.digest, offset, (uint32_t)object.bytes.len, err);
    if (r == 1) {
        nj_digest_hex(&object.digest, hex);
        return nj_fail(err, NJ_E_CORRUPT, "object %.16s is there twice", hex);
    }
    return r;
}

/* block_take - the records of one decoded zstd frame; the stream's spool gets its bytes. With
 * @partial the last record may be cut off. */
static int block_take(struct load *load, enum nj_bundle_member member, bool partial,
                      struct nj_error *err)
{
    bool frames = member == NJ_BUNDLE_JOURNAL || member == NJ_BUNDLE_SNAPSHOTS;
    struct nj_spool *spool = &load->bundle->spools[member];
    uint64_t start = spool->len;
    int r;

    if (load->block.len > NJ_BUNDLE_STREAM_MAX_BYTES - start)
        return nj_fail(err, NJ_E_LIMIT, "decodes to more than %llu bytes",
                       NJ_BUNDLE_STREAM_MAX_BYTES);
    r = nj_spool_append(spool, nj_buf_span(&load->block), err);
    for (size_t at = 0; r == 0 && at < load->block.len;) {
        struct nj_span rest = {load->block.data + at, load->block.len - at};
        size_t len = 0;

        r = frames ? frame_take(load, member, rest, start + at, &len, err)
                   : object_take(load, member, rest, start + at, &len, err);
        if (r < 0)
            return partial ? 0
                           : nj_wrap(err, "at byte %" PRIu64 " of the decoded stream", start + at);
        at += len;
    }
    return r;
}

/* ---- streams ---- */

/* squeezed_rest - what was read of a stream and not yet decoded */
static struct nj_span squeezed_rest(const struct load *load)
{
    if (load->squeezed_at == load->squeezed.len)
        return (struct nj_span){NULL, 0};
    return (struct nj_span){load->squeezed.data + load->squeezed_at,
                            load->squeezed.len - load->squeezed_at};
}

/* squeezed_frame - the length of the zstd frame that @rest begins with; 0 when it is not all there
 */
static int squeezed_frame(struct nj_span rest, size_t *ret_len, struct nj_error *err)
{
    unsigned long long size = ZSTD_getFrameContentSize(rest.data, rest.len);
    size_t len;

    *ret_len = 0;
    if (size == ZSTD_CONTENTSIZE_ERROR)
        return rest.len < ZSTD_HEADER_MAX_BYTES ? 0
                                                : nj_fail(err, NJ_E_CORRUPT, "not a zstd frame");
    if (size == ZSTD_CONTENTSIZE_UNKNOWN)
        return nj_fail(err, NJ_E_CORRUPT, "a zstd frame does not tell its content size");
    if (size == 0) /* they could be many */
        return nj_fail(err, NJ_E_CORRUPT, "an empty zstd frame");
    if (size > NJ_BUNDLE_RECORD_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT, "a zstd frame holds %llu bytes, at most %u are allowed",
                       size, NJ_BUNDLE_RECORD_MAX_BYTES);
    len = ZSTD_findFrameCompressedSize(rest.data, rest.len);
    if (!ZSTD_isError(len))
        *ret_len = len;
    return 0;
}

/* salvage_frame - decode as much as there is of a zstd frame that was cut off. No checksum covers
 * what comes out; that is why there is a damage to tell. */
static int salvage_frame(struct load *load, enum nj_bundle_member member)
{
    struct nj_error ignored = {0}; /* of the cut record at the end; the damage is known already */
    struct nj_span rest = squeezed_rest(load);
    ZSTD_inBuffer in = {rest.data, rest.len, 0};
    unsigned long long size;
    ZSTD_DCtx *context;
    ZSTD_outBuffer out;
    size_t r;

    if (rest.len == 0 || squeezed_frame(rest, &r, &ignored) < 0 || r > 0)
        return 0; /* a frame that is all there was decoded, and refused */
    size = ZSTD_getFrameContentSize(rest.data, rest.len);
    if (size > NJ_BUNDLE_RECORD_MAX_BYTES) /* its header is cut off */
        return 0;
    nj_buf_clear(&load->block);
    if (nj_buf_reserve(&load->block, (size_t)size, &ignored) < 0)
        return 0;
    context = ZSTD_createDCtx();
    if (!context)
        return 0;
    out = (ZSTD_outBuffer){load->block.data, (size_t)size, 0};
    do {
        size_t before = in.pos + out.pos;

        r = ZSTD_decompressStream(context, &out, &in);
        if (in.pos + out.pos == before)
            break;
    } while (r != 0 && !ZSTD_isError(r));
    (void)ZSTD_freeDCtx(context); /* never fails for one that was made */
    load->block.len = out.pos;
    return block_take(load, member, true, &ignored);
}

static int frame_decode(struct load *load, enum nj_bundle_member member, size_t len,
                        struct nj_error *err)
{
    struct nj_span frame = {squeezed_rest(load).data, len};
    int r;

    nj_buf_clear(&load->block);
    r = nj_unsqueeze(&load->block, frame, NJ_BUNDLE_RECORD_MAX_BYTES, err);
    if (r == 0)
        r = block_take(load, member, false, err);
    if (r == 0)
        load->squeezed_at += len;
    return r;
}

/* is_stream_of_nothing - the one place for a frame without content: as the whole member, so that
 * `zstd -d` opens a stream without records, too */
static bool is_stream_of_nothing(struct load *load, struct nj_span rest)
{
    struct nj_error ignored = {0};

    if (rest.len != load->member_bytes || rest.len > NJ_BUNDLE_EMPTY_STREAM_MAX_BYTES)
        return false;
    nj_buf_clear(&load->block);
    if (nj_unsqueeze(&load->block, rest, 0, &ignored) < 0)
        return false;
    load->squeezed_at += rest.len;
    return true;
}

/* stream_decode - all of the zstd frames that begin in @load->squeezed; @end: no more bytes will
 * come */
static int stream_decode(struct load *load, enum nj_bundle_member member, bool end,
                         struct nj_error *err)
{
    for (;;) {
        struct nj_span rest = squeezed_rest(load);
        size_t len = 0;
        int r;

        if (rest.len == 0 || is_stream_of_nothing(load, rest))
            return 0;
        r = squeezed_frame(rest, &len, err);
        if (r < 0)
            return r;
        if (len == 0 && end)
            return nj_fail(err, NJ_E_CORRUPT, "its last zstd frame is damaged or cut off");
        if (len == 0 && rest.len >= SQUEEZED_MAX_BYTES)
            return nj_fail(err, NJ_E_CORRUPT, "a zstd frame is damaged or longer than it can be");
        if (len == 0)
            return 0;
        r = frame_decode(load, member, len, err);
        if (r < 0)
            return r;
    }
}

/* squeezed_shift - drop what is decoded; once a round, not once a frame: frames can be many and
 * tiny */
static void squeezed_shift(struct load *load)
{
    struct nj_buf *squeezed = &load->squeezed;

    if (load->squeezed_at > 0)
        memmove(squeezed->data, squeezed->data + load->squeezed_at,
                squeezed->len - load->squeezed_at);
    squeezed->len -= load->squeezed_at;
    load->squeezed_at = 0;
}

static int stream_bytes(struct load *load, enum nj_bundle_member member, struct nj_hasher *hasher,
                        struct nj_error *err)
{
    uint64_t read = 0;
    size_t decode_at = 0; /* a try costs the frame's length, so tries come at doubled lengths */
    size_t got;
    int r;

    nj_buf_clear(&load->squeezed);
    load->squeezed_at = 0;
    while (read < load->member_bytes) {
        size_t room = SQUEEZED_MAX_BYTES - load->squeezed.len;
        size_t before = load->squeezed.len;

        r = member_read(load, &load->squeezed, room < READ_CHUNK_BYTES ? room : READ_CHUNK_BYTES,
                        &got, err);
        if (r < 0)
            return r;
        if (got == 0)
            return nj_fail(err, NJ_E_CORRUPT, "%" PRIu64 " of %" PRIu64 " bytes", read,
                           load->member_bytes);
        nj_hasher_update(hasher, load->squeezed.data + before, got);
        read += got;
        if (read < load->member_bytes && load->squeezed.len < decode_at &&
            load->squeezed.len < SQUEEZED_MAX_BYTES)
            continue;
        r = stream_decode(load, member, read == load->member_bytes, err);
        if (r < 0)
            return r;
        squeezed_shift(load);
        decode_at = 2 * load->squeezed.len;
    }
    return 0;
}

static int stream_load(struct load *load, enum nj_bundle_member member, struct nj_error *err)
{
    NJ_AUTO(nj_hasher_free) struct nj_hasher *hasher = nj_hasher_new();
    struct nj_digest digest;
    int r;

    if (!hasher)
        return nj_fail_nomem(err);
    r = stream_bytes(load, member, hasher, err);
    if (r < 0) {
        if (load->salvage)
            (void)salvage_frame(load, member); /* it keeps what it can */
        return nj_wrap(err, "%s", nj_bundle_member_name(member));
    }
    nj_hasher_finish(hasher, &digest);
    return member_close(load, member, &digest, err);
}

/* ---- the whole ---- */

/* sums_check - SHA256SUMS is what the members before it call for, byte for byte */
static int sums_check(const struct load *load, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf expected = {0};
    struct nj_span found = nj_buf_span(&load->text);
    size_t at = 0;
    int r;

    nj_buf_init(&expected, NJ_BUNDLE_SUMS_MAX_BYTES);
    r = nj_bundle_sums(load->digests, load->present, &expected, err);
    if (r < 0)
        return r;
    if (nj_span_equal(found, nj_buf_span(&expected)))
        return 0;
    for (int member = 0; member < NJ_BUNDLE_SUMS; member++) {
        size_t len = NJ_DIGEST_HEX_CHARS + 3;

        if (!load->present[member])
            continue;
        len += strlen(nj_bundle_member_name((enum nj_bundle_member)member));
        if (found.len < at + len || memcmp(found.data + at, expected.data + at, len) != 0)
            return nj_fail(err, NJ_E_CORRUPT, "SHA256SUMS does not agree with %s",
                           nj_bundle_member_name((enum nj_bundle_member)member));
        at += len;
    }
    return nj_fail(err, NJ_E_CORRUPT, "SHA256SUMS has more lines than there are members");
}

/* rest_check - an optional signature (whose worth is for others to judge), then nothing */
static int rest_check(struct load *load, struct nj_error *err)
{
    const char *name = NULL;
    int r;

    r = member_open(load, NJ_BUNDLE_SIGNATURE, "the end", &name, err);
    if (r == 0 && name) {
        if (strcmp(name, nj_bundle_member_name(NJ_BUNDLE_SIGNATURE)) != 0)
            return nj_fail(err, NJ_E_CORRUPT, "member \"%.100s\" behind SHA256SUMS", name);
        if (load->member_bytes != SIGNATURE_BYTES)
            return nj_fail(err, NJ_E_CORRUPT, "%s has %" PRIu64 " bytes, not %u", name,
                           load->member_bytes, SIGNATURE_BYTES);
        r = member_whole(load, NJ_BUNDLE_SIGNATURE, &load->text, err);
        if (r == 0)
            r = member_open(load, NJ_BUNDLE_SIGNATURE, "the end", &name, err);
        if (r == 0 && name)
            return nj_fail(err, NJ_E_CORRUPT, "member \"%.100s\" behind the last", name);
    }
    if (r < 0)
        return r;
    if (load->fd_bytes < load->member_end + 2 * TAR_BLOCK_BYTES)
        return nj_fail(err, NJ_E_CORRUPT, "the end of the tar is cut off");
    if (load->fd_bytes > load->member_end + TAR_TRAILER_MAX_BYTES)
        return nj_fail(err, NJ_E_CORRUPT, "bytes behind the end of the tar");
    r = zeros_between(load, load->member_end, load->fd_bytes, err);
    return r < 0 ? nj_wrap(err, "the end of the tar") : 0;
}

static int members_load(struct load *load, struct nj_error *err)
{
    struct nj_bundle *bundle = load->bundle;
    int r;

    r = member_expect(load, NJ_BUNDLE_MANIFEST, NJ_BUNDLE_MANIFEST_MAX_BYTES, err);
    if (r == 0)
        r = member_whole(load, NJ_BUNDLE_MANIFEST, &bundle->manifest, err);
    for (int member = NJ_BUNDLE_JOURNAL; r == 0 && member <= NJ_BUNDLE_INPUTS; member++) {
        if (member == NJ_BUNDLE_INPUTS && !bundle->info.inputs_embedded)
            continue;
        r = member_expect(load, (enum nj_bundle_member)member, NJ_BUNDLE_STREAM_MAX_BYTES, err);
        if (r == 0)
            r = stream_load(load, (enum nj_bundle_member)member, err);
    }
    if (r == 0)
        r = member_expect(load, NJ_BUNDLE_SUMS, NJ_BUNDLE_SUMS_MAX_BYTES, err);
    if (r == 0)
        r = member_whole(load, NJ_BUNDLE_SUMS, &load->text, err);
    if (r == 0)
        r = sums_check(load, err);
    return r < 0 ? r : rest_check(load, err);
}

/* record_check - no frame is missing, every event is one, and the digests are those of
 * nightjar.json */
static int record_check(const struct nj_bundle *bundle, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_record_digests digests = {0};
    const struct nj_bundle_info *info = &bundle->info;
    int r;

    if (bundle->journal.count + bundle->snapshots.count != info->frames)
        return nj_fail(err, NJ_E_CORRUPT, "%zu frames are there, nightjar.json says %" PRIu64,
                       bundle->journal.count + bundle->snapshots.count, info->frames);
    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    for (uint64_t sequence = 1; sequence <= info->frames; sequence++) {
        const struct nj_bundle_place *place = nj_bundle_find(bundle, sequence);
        struct nj_frame frame = {.sequence = sequence};

        if (!place)
            return nj_fail(err, NJ_E_CORRUPT, "frame %" PRIu64 " is missing", sequence);
        nj_buf_clear(&payload);
        r = nj_bundle_payload(bundle, place, &payload, err);
        if (r < 0)
            return r;
        frame.kind = place->kind;
        frame.payload = nj_buf_span(&payload);
        r = nj_record_digests_add(&digests, &frame, err);
        if (r < 0)
            return r;
    }
    if (!nj_digest_equal(&digests.record, &info->digests.record))
        return nj_fail(err, NJ_E_CORRUPT, "the record digest is not that of nightjar.json");
    if (!nj_digest_equal(&digests.content, &info->digests.content))
        return nj_fail(err, NJ_E_CORRUPT, "the content digest is not that of nightjar.json");
    return 0;
}

/* load_all - everything up to the first damage; *ret_known is set once the bundle has said what it
 * is */
static int load_all(struct load *load, bool *ret_known, struct nj_error *err)
{
    int r;

    r = member_expect(load, NJ_BUNDLE_INFO, NJ_BUNDLE_INFO_MAX_BYTES, err);
    if (r == 0)
        r = member_whole(load, NJ_BUNDLE_INFO, &load->text, err);
    if (r < 0)
        return r;
    r = nj_bundle_info_decode(load->bundle, nj_buf_span(&load->text), err);
    if (r < 0)
        return nj_wrap(err, "%s", nj_bundle_member_name(NJ_BUNDLE_INFO));
    *ret_known = true;
    r = members_load(load, err);
    return r < 0 ? r : record_check(load->bundle, err);
}

static int load_open(struct load *load, struct nj_error *err)
{
    struct stat st;

    if (fstat(load->fd, &st) < 0)
        return nj_fail_errno(err, errno, "stat");
    if (!S_ISREG(st.st_mode))
        return nj_fail(err, NJ_E_INPUT, "not a regular file");
    load->fd_bytes = (uint64_t)st.st_size;
    load->chunk = malloc(READ_CHUNK_BYTES);
    load->archive = archive_read_new();
    if (!load->chunk || !load->archive)
        return nj_fail_nomem(err);
    if (archive_read_support_format_tar(load->archive) != ARCHIVE_OK ||
        archive_read_open(load->archive, load, NULL, tar_read, NULL) != ARCHIVE_OK)
        return nj_fail(err, NJ_E_INPUT, "this is not a bundle: %s", tar_error(load));
    return 0;
}

static void load_done(struct load *load)
{
    if (load->archive)
        (void)archive_read_free(load->archive); /* read only */
    free(load->chunk);
    nj_buf_done(&load->squeezed);
    nj_buf_done(&load->block);
    nj_buf_done(&load->text);
}

int nj_bundle_load(struct nj_bundle *bundle, int fd, bool salvage, struct nj_error *err)
{
    struct load load = {.bundle = bundle, .fd = fd, .salvage = salvage};
    bool known = false;
    int r;

    nj_buf_init(&load.squeezed, SQUEEZED_MAX_BYTES + READ_CHUNK_BYTES);
    nj_buf_init(&load.block, NJ_BUNDLE_RECORD_MAX_BYTES);
    nj_buf_init(&load.text, NJ_BUNDLE_INFO_MAX_BYTES);
    r = load_open(&load, err);
    if (r == 0)
        r = load_all(&load, &known, err);
    load_done(&load);
    if (r < 0 && salvage && known && r != -NJ_E_NOMEM && r != -NJ_E_SYSTEM) {
        bundle->damaged = true;
        bundle->damage = *err;
        *err = (struct nj_error){0};
        return 0;
    }
    return r;
}
