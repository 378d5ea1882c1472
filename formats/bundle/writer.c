/*
 * writer.c - one session into one tar
 *
 * The complication: a tar member's size stands before its bytes, so every stream is spooled first.
 * Nothing of where and when this happens gets into the bytes: no clock, no names of users, no
 * directory.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include <archive.h>
#include <archive_entry.h>
#include <jansson.h>

#include "formats/base/fsio.h"
#include "formats/base/squeeze.h"
#include "formats/bundle/entry.h"
#include "formats/bundle/index.h"
#include "formats/bundle/spool.h"

#include "formats/base/banned.h"

#define COPY_CHUNK_BYTES ((size_t)256 << 10)
#define MEMBER_MODE 0600

static const char WHAT[] =
    "The record of one session of an AI agent, written by Nightjar. Open it with: tar -xf FILE; "
    "zstd -d *.zst; then any msgpack reader, or: nightjar-replay show FILE";

/* One compressed stream: records gather in block, whole blocks are squeezed into the spool. */
struct stream {
    struct nj_buf block;
    struct nj_buf squeezed;
    struct nj_spool spool;
    struct nj_hasher *hasher;
    uint64_t decoded_bytes;
};

struct nj_bundle_writer {
    int spool_dir_fd;                               /* borrowed */
    struct stream streams[NJ_BUNDLE_MEMBERS_COUNT]; /* only JOURNAL to INPUTS are used */
    struct nj_index objects;
    struct nj_index inputs;
    struct nj_record_digests digests;
    uint64_t sequence; /* of the last frame */
    struct nj_buf record;
};

static bool is_stream(int member)
{
    return member >= NJ_BUNDLE_JOURNAL && member <= NJ_BUNDLE_INPUTS;
}

int nj_bundle_writer_new(int spool_dir_fd, struct nj_bundle_writer **ret_writer,
                         struct nj_error *err)
{
    NJ_AUTO(nj_bundle_writer_free) struct nj_bundle_writer *writer = calloc(1, sizeof(*writer));

    if (!writer)
        return nj_fail_nomem(err);
    writer->spool_dir_fd = spool_dir_fd;
    nj_buf_init(&writer->record, NJ_BUNDLE_RECORD_MAX_BYTES);
    for (int member = 0; member < NJ_BUNDLE_MEMBERS_COUNT; member++) {
        struct stream *stream = &writer->streams[member];

        if (!is_stream(member))
            continue;
        nj_buf_init(&stream->block, NJ_BUNDLE_BLOCK_BYTES + NJ_BUNDLE_RECORD_MAX_BYTES);
        nj_buf_init(&stream->squeezed, 2 * (NJ_BUNDLE_BLOCK_BYTES + NJ_BUNDLE_RECORD_MAX_BYTES));
        nj_spool_init(&stream->spool, spool_dir_fd, NJ_BUNDLE_SPOOL_MEMORY_BYTES);
        stream->hasher = nj_hasher_new();
        if (!stream->hasher)
            return nj_fail_nomem(err);
    }
    *ret_writer = nj_steal_ptr(&writer);
    return 0;
}

void nj_bundle_writer_free(struct nj_bundle_writer *writer)
{
    if (!writer)
        return;
    for (int member = 0; member < NJ_BUNDLE_MEMBERS_COUNT; member++) {
        struct stream *stream = &writer->streams[member];

        nj_buf_done(&stream->block);
        nj_buf_done(&stream->squeezed);
        nj_spool_done(&stream->spool);
        nj_hasher_free(stream->hasher);
    }
    nj_index_done(&writer->objects);
    nj_index_done(&writer->inputs);
    nj_buf_done(&writer->record);
    free(writer);
}

/* ---- streams ---- */

/* A stream without records is one frame of nothing, so that `zstd -d` opens it. */
static int stream_flush(struct stream *stream, struct nj_error *err)
{
    int r;

    if (stream->block.len == 0 && stream->decoded_bytes > 0)
        return 0;
    nj_buf_clear(&stream->squeezed);
    r = nj_squeeze(&stream->squeezed, nj_buf_span(&stream->block),
                   stream->block.len > NJ_SQUEEZE_SHORT_MAX_BYTES ? NJ_SQUEEZE_LEVEL_ARCHIVE
                                                                  : NJ_SQUEEZE_LEVEL_ARCHIVE_SHORT,
                   err);
    if (r == 0)
        r = nj_spool_append(&stream->spool, nj_buf_span(&stream->squeezed), err);
    if (r < 0)
        return r;
    nj_hasher_update(stream->hasher, stream->squeezed.data, stream->squeezed.len);
    nj_buf_clear(&stream->block);
    return 0;
}

static int stream_add(struct stream *stream, struct nj_span record, struct nj_error *err)
{
    int r;

    if (record.len > NJ_BUNDLE_STREAM_MAX_BYTES - stream->decoded_bytes)
        return nj_fail(err, NJ_E_LIMIT, "a stream of a bundle holds at most %llu bytes",
                       NJ_BUNDLE_STREAM_MAX_BYTES);
    if (stream->block.len > 0 && stream->block.len + record.len > NJ_BUNDLE_BLOCK_BYTES) {
        r = stream_flush(stream, err);
        if (r < 0)
            return r;
    }
    r = nj_buf_append(&stream->block, record.data, record.len, err);
    if (r < 0)
        return r;
    stream->decoded_bytes += record.len;
    return 0;
}

/* check_frame - whether @frame may be the next */
static int check_frame(const struct nj_bundle_writer *writer, const struct nj_frame *frame,
                       struct nj_error *err)
{
    if (frame->kind != NJ_FRAME_SNAPSHOT && frame->kind != NJ_FRAME_EVENT &&
        frame->kind != NJ_FRAME_OUTPUT)
        return nj_fail(err, NJ_E_INPUT, "bundle: %s frames have no place in it",
                       nj_frame_kind_text(frame->kind));
    if (frame->sequence != writer->sequence + 1)
        return nj_fail(err, NJ_E_INPUT, "bundle: frame %" PRIu64 " follows frame %" PRIu64,
                       frame->sequence, writer->sequence);
    if (frame->sequence > NJ_BUNDLE_FRAMES_MAX)
        return nj_fail(err, NJ_E_LIMIT, "bundle: at most %u frames", NJ_BUNDLE_FRAMES_MAX);
    if (frame->payload.len > NJ_FRAME_PAYLOAD_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT, "bundle: frame %" PRIu64 " has %zu bytes, at most %u",
                       frame->sequence, frame->payload.len, NJ_FRAME_PAYLOAD_MAX_BYTES);
    return 0;
}

/* add_frame - @event: what it decodes to, NULL when that is not known */
static int add_frame(struct nj_bundle_writer *writer, const struct nj_frame *frame,
                     const struct nj_event *event, struct nj_error *err)
{
    struct nj_record_digests digests = writer->digests;
    enum nj_bundle_member member =
        frame->kind == NJ_FRAME_SNAPSHOT ? NJ_BUNDLE_SNAPSHOTS : NJ_BUNDLE_JOURNAL;
    int r;

    r = check_frame(writer, frame, err);
    if (r < 0)
        return r;
    if (event)
        nj_record_digests_add_event(&digests, frame, event);
    else
        r = nj_record_digests_add(&digests, frame, err);
    if (r < 0)
        return nj_wrap(err, "bundle");
    nj_buf_clear(&writer->record);
    r = nj_bundle_record_encode(frame, &writer->record, err);
    if (r == 0)
        r = stream_add(&writer->streams[member], nj_buf_span(&writer->record), err);
    if (r < 0)
        return nj_wrap(err, "bundle: %s", nj_bundle_member_name(member));
    writer->digests = digests;
    writer->sequence = frame->sequence;
    return 0;
}

int nj_bundle_writer_frame(struct nj_bundle_writer *writer, const struct nj_frame *frame,
                           struct nj_error *err)
{
    return add_frame(writer, frame, NULL, err);
}

int nj_bundle_writer_event(struct nj_bundle_writer *writer, const struct nj_frame *frame,
                           const struct nj_event *event, struct nj_error *err)
{
    assert(frame->kind == NJ_FRAME_EVENT);
    return add_frame(writer, frame, event, err);
}

static int object_add(struct nj_bundle_writer *writer, enum nj_bundle_member member,
                      struct nj_index *index, const struct nj_object *object, struct nj_error *err)
{
    int r;

    if (nj_index_find(index, &object->digest))
        return 0;
    if (index->count == NJ_BUNDLE_OBJECTS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "bundle: at most %u objects", NJ_BUNDLE_OBJECTS_MAX);
    nj_buf_clear(&writer->record);
    r = nj_object_encode(object, &writer->record, err);
    if (r == 0)
        r = stream_add(&writer->streams[member], nj_buf_span(&writer->record), err);
    if (r == 0)
        r = nj_index_add(index, &object->digest, 0, 0, (uint8_t)object->kind, err);
    return r < 0 ? nj_wrap(err, "bundle: %s", nj_bundle_member_name(member)) : 0;
}

int nj_bundle_writer_object(struct nj_bundle_writer *writer, const struct nj_object *object,
                            struct nj_error *err)
{
    return object_add(writer, NJ_BUNDLE_OBJECTS, &writer->objects, object, err);
}

int nj_bundle_writer_input(struct nj_bundle_writer *writer, const struct nj_object *object,
                           struct nj_error *err)
{
    return object_add(writer, NJ_BUNDLE_INPUTS, &writer->inputs, object, err);
}

/* ---- nightjar.json ---- */

static void json_free(json_t *object)
{
    json_decref(object);
}
NJ_DEFINE_AUTO_PTR(json_t, json_free);

static int put_text(json_t *object, const char *key, const char *text, struct nj_error *err)
{
    json_t *value;

    if (!text)
        return nj_fail(err, NJ_E_INPUT, "%s is missing", key);
    value = json_string(text);
    if (!value) /* jansson does not say which; text from people is the likely one */
        return nj_fail(err, NJ_E_INPUT, "%s is not UTF-8", key);
    return json_object_set_new(object, key, value) < 0 ? nj_fail_nomem(err) : 0;
}

static int put_digest(json_t *object, const char *key, const struct nj_digest *digest,
                      struct nj_error *err)
{
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(digest, hex);
    return put_text(object, key, hex, err);
}

/* put_environment - the caller's JSON object, as an object of ours */
static int put_environment(json_t *object, const char *text, struct nj_error *err)
{
    json_error_t fault;
    json_t *value;

    if (!text)
        return nj_fail(err, NJ_E_INPUT, "environment is missing");
    value = json_loads(text, JSON_REJECT_DUPLICATES, &fault);
    if (!value || !json_is_object(value)) {
        json_decref(value);
        return nj_fail(err, NJ_E_INPUT, "environment is not a JSON object");
    }
    return json_object_set_new(object, "environment", value) < 0 ? nj_fail_nomem(err) : 0;
}

static int info_put(const struct nj_bundle_writer *writer, const struct nj_bundle_info *info,
                    json_t *object, struct nj_error *err)
{
    const struct {
        const char *key;
        const char *text;
    } texts[] = {
        {"agent", info->agent}, {"format", NJ_BUNDLE_FORMAT},
        {"group", info->group}, {"job", info->job},
        {"key", info->key},     {"reproducible", info->reproducible},
        {"run", info->run},     {"status", nj_status_text(info->status)},
        {"what", WHAT},
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof(texts) / sizeof(texts[0]); i++)
        r = put_text(object, texts[i].key, texts[i].text, err);
    if (r == 0)
        r = put_digest(object, "identity", &info->identity, err);
    if (r == 0)
        r = put_digest(object, "record_digest", &writer->digests.record, err);
    if (r == 0)
        r = put_digest(object, "content_digest", &writer->digests.content, err);
    if (r == 0)
        r = put_environment(object, info->environment, err);
    if (r < 0)
        return r;
    if (json_object_set_new(object, "version", json_integer(NJ_BUNDLE_VERSION)) < 0 ||
        json_object_set_new(object, "frames", json_integer((json_int_t)writer->sequence)) < 0 ||
        json_object_set_new(object, "inputs_embedded", json_boolean(info->inputs_embedded)) < 0)
        return nj_fail_nomem(err);
    return 0;
}

static int info_encode(const struct nj_bundle_writer *writer, const struct nj_bundle_info *info,
                       struct nj_buf *out, struct nj_error *err)
{
    NJ_AUTO(json_free) json_t *object = json_object();
    nj_auto_free char *text = NULL;
    int r;

    if (!object)
        return nj_fail_nomem(err);
    r = info_put(writer, info, object, err);
    if (r < 0)
        return r;
    text = json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS);
    if (!text)
        return nj_fail_nomem(err);
    r = nj_buf_text(out, text, err);
    return r < 0 ? r : nj_buf_text(out, "\n", err);
}

/* ---- the tar ---- */

struct tar {
    struct archive *archive;
    int fd;
    struct nj_error *err; /* of the write callback */
};

static la_ssize_t tar_write(struct archive *archive, void *object, const void *data, size_t len)
{
    struct tar *tar = object;

    if (nj_fsio_write(tar->fd, data, len, tar->err) < 0) {
        archive_set_error(archive, EIO, "%s", tar->err->text);
        return -1;
    }
    return (la_ssize_t)len;
}

/* tar_fail - the callback's own story where there is one, else libarchive's */
static int tar_fail(const struct tar *tar)
{
    if (tar->err->code != 0)
        return -(int)tar->err->code;
    return nj_fail(tar->err, NJ_E_SYSTEM, "tar: %s", archive_error_string(tar->archive));
}

static int tar_header(const struct tar *tar, enum nj_bundle_member member, uint64_t bytes)
{
    struct archive_entry *entry = archive_entry_new();
    int r;

    if (!entry)
        return nj_fail_nomem(tar->err);
    archive_entry_set_pathname(entry, nj_bundle_member_name(member));
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, MEMBER_MODE);
    archive_entry_set_size(entry, (la_int64_t)bytes);
    archive_entry_set_uid(entry, 0);
    archive_entry_set_gid(entry, 0);
    archive_entry_set_mtime(entry, 0, 0);
    r = archive_write_header(tar->archive, entry) == ARCHIVE_OK ? 0 : tar_fail(tar);
    archive_entry_free(entry);
    return r;
}

static int tar_data(const struct tar *tar, const void *data, size_t len)
{
    while (len > 0) {
        la_ssize_t n = archive_write_data(tar->archive, data, len);

        if (n <= 0)
            return tar_fail(tar);
        data = (const uint8_t *)data + n;
        len -= (size_t)n;
    }
    return 0;
}

static int tar_bytes(const struct tar *tar, enum nj_bundle_member member, struct nj_span bytes)
{
    int r = tar_header(tar, member, bytes.len);

    return r < 0 ? r : tar_data(tar, bytes.data, bytes.len);
}

static int tar_spool(const struct tar *tar, enum nj_bundle_member member,
                     const struct nj_spool *spool)
{
    NJ_AUTO(nj_buf_done) struct nj_buf chunk = {0};
    int r;

    nj_buf_init(&chunk, COPY_CHUNK_BYTES);
    r = tar_header(tar, member, spool->len);
    for (uint64_t at = 0; r == 0 && at < spool->len; at += chunk.len) {
        uint64_t left = spool->len - at;

        nj_buf_clear(&chunk);
        r = nj_spool_read(spool, at, left < COPY_CHUNK_BYTES ? (size_t)left : COPY_CHUNK_BYTES,
                          &chunk, tar->err);
        if (r == 0)
            r = tar_data(tar, chunk.data, chunk.len);
    }
    return r;
}

static int tar_open(struct tar *tar)
{
    struct archive *archive = tar->archive;

    /* The last block is not filled up: how far would depend on what kind of file @fd is. */
    if (archive_write_set_format_pax_restricted(archive) != ARCHIVE_OK ||
        archive_write_add_filter_none(archive) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(archive, 1) != ARCHIVE_OK ||
        archive_write_open(archive, tar, NULL, tar_write, NULL) != ARCHIVE_OK)
        return tar_fail(tar);
    return 0;
}

static int tar_members(struct nj_bundle_writer *writer, const struct tar *tar,
                       const struct nj_bundle_info *info, struct nj_span info_json,
                       struct nj_span manifest)
{
    NJ_AUTO(nj_buf_done) struct nj_buf sums = {0};
    struct nj_digest digests[NJ_BUNDLE_MEMBERS_COUNT];
    bool present[NJ_BUNDLE_MEMBERS_COUNT] = {false};
    int r;

    r = tar_bytes(tar, NJ_BUNDLE_INFO, info_json);
    if (r == 0)
        r = tar_bytes(tar, NJ_BUNDLE_MANIFEST, manifest);
    nj_digest_bytes(info_json.data, info_json.len, &digests[NJ_BUNDLE_INFO]);
    nj_digest_bytes(manifest.data, manifest.len, &digests[NJ_BUNDLE_MANIFEST]);
    present[NJ_BUNDLE_INFO] = present[NJ_BUNDLE_MANIFEST] = true;
    for (int member = NJ_BUNDLE_JOURNAL; r == 0 && member <= NJ_BUNDLE_INPUTS; member++) {
        struct stream *stream = &writer->streams[member];

        if (member == NJ_BUNDLE_INPUTS && !info->inputs_embedded)
            continue;
        present[member] = true;
        r = tar_spool(tar, (enum nj_bundle_member)member, &stream->spool);
        nj_hasher_finish(stream->hasher, &digests[member]);
    }
    if (r < 0)
        return r;
    nj_buf_init(&sums, NJ_BUNDLE_SUMS_MAX_BYTES);
    r = nj_bundle_sums(digests, present, &sums, tar->err);
    if (r == 0)
        r = tar_bytes(tar, NJ_BUNDLE_SUMS, nj_buf_span(&sums));
    if (r == 0 && archive_write_close(tar->archive) != ARCHIVE_OK)
        r = tar_fail(tar);
    return r;
}

int nj_bundle_writer_finish(struct nj_bundle_writer *writer, const struct nj_bundle_info *info,
                            struct nj_span manifest, int fd, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf info_json = {0};
    struct nj_error callback_err = {0};
    struct tar tar = {.fd = fd, .err = &callback_err};
    int r = 0;

    if (manifest.len > NJ_BUNDLE_MANIFEST_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT, "bundle: a manifest of %zu bytes, at most %u", manifest.len,
                       NJ_BUNDLE_MANIFEST_MAX_BYTES);
    if (!info->inputs_embedded && writer->inputs.count > 0)
        return nj_fail(err, NJ_E_INPUT, "bundle: inputs were added, but are not to be embedded");
    if (info->status < NJ_STATUS_SUCCEEDED || info->status > NJ_STATUS_SKIPPED)
        return nj_fail(err, NJ_E_INPUT, "bundle: no such status");
    nj_buf_init(&info_json, NJ_BUNDLE_INFO_MAX_BYTES);
    r = info_encode(writer, info, &info_json, err);
    if (r < 0)
        return nj_wrap(err, "bundle: %s", nj_bundle_member_name(NJ_BUNDLE_INFO));
    for (int member = NJ_BUNDLE_JOURNAL; r == 0 && member <= NJ_BUNDLE_INPUTS; member++)
        r = stream_flush(&writer->streams[member], err);
    if (r < 0)
        return nj_wrap(err, "bundle");

    tar.archive = archive_write_new();
    if (!tar.archive)
        return nj_fail_nomem(err);
    r = tar_open(&tar);
    if (r == 0)
        r = tar_members(writer, &tar, info, nj_buf_span(&info_json), manifest);
    if (r < 0)
        (void)archive_write_fail(tar.archive); /* else freeing would go on writing */
    (void)archive_write_free(tar.archive);
    if (r == 0)
        r = nj_fsio_fdatasync(fd, &callback_err);
    if (r < 0) {
        *err = callback_err;
        return nj_wrap(err, "bundle");
    }
    return 0;
}
