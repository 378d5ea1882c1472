/*
 * fuzz_bundle.c - a bundle, damaged at a place of the input's choice
 *
 * Input: one byte of mode, then
 *   TAR      a tar as it is
 *   HEADERS  a tar whose header checksums are mended
 *   JSON     a nightjar.json; all else is whole
 *   RECORDS  four lengths (u16le) and so many bytes: the decoded streams; digests, frames and sums
 * are mended SQUEEZED the journal stream as zstd; all else is whole Properties: opening ends; what
 * opens says of itself what a reader can check, and every frame and object that it lists can be
 * had. With salvage, what opens whole is the same, and what does not may still open: its objects
 * are what their digests say all the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "formats/base/bytes.h"
#include "formats/base/fsio.h"
#include "formats/base/squeeze.h"
#include "formats/bundle/entry.h"

#include "formats/base/banned.h"

enum mode { MODE_TAR, MODE_HEADERS, MODE_JSON, MODE_RECORDS, MODE_SQUEEZED, MODES };

#define TAR_BLOCK 512u
#define TAR_MAX_BYTES (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int r)
{
    if (r < 0)
        abort();
}

/* ---- a tar by hand ---- */

static void header_sum(uint8_t *header)
{
    unsigned sum = 0;

    memset(header + 148, ' ', 8);
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += header[i];
    (void)snprintf((char *)header + 148, 8, "%06o", sum);
}

static void tar_member(struct nj_buf *tar, enum nj_bundle_member member, struct nj_span bytes)
{
    static const uint8_t zeros[TAR_BLOCK];
    uint8_t header[TAR_BLOCK] = {0};
    struct nj_error err = {0};

    (void)snprintf((char *)header, 100, "%s", nj_bundle_member_name(member));
    (void)snprintf((char *)header + 100, 8, "%07o", 0600u);
    (void)snprintf((char *)header + 108, 8, "%07o", 0u);
    (void)snprintf((char *)header + 116, 8, "%07o", 0u);
    (void)snprintf((char *)header + 124, 12, "%011o", (unsigned)bytes.len);
    (void)snprintf((char *)header + 136, 12, "%011o", 0u);
    header[156] = '0';
    memcpy(header + 257,
           "ustar\0"
           "00",
           8);
    header_sum(header);
    must(nj_buf_append(tar, header, sizeof(header), &err));
    must(nj_buf_append(tar, bytes.data, bytes.len, &err));
    must(nj_buf_append(tar, zeros, (TAR_BLOCK - bytes.len % TAR_BLOCK) % TAR_BLOCK, &err));
}

/* headers_mend - walk the headers by their sizes and mend their checksums */
static void headers_mend(uint8_t *tar, size_t size)
{
    for (size_t at = 0; size - at >= TAR_BLOCK && tar[at] != 0;) {
        size_t len = (size_t)strtoull((const char *)tar + at + 124, NULL, 8);

        tar[at + 135] = '\0';
        header_sum(tar + at);
        if (len > size - at - TAR_BLOCK)
            return;
        at += TAR_BLOCK + (len + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
        if (at > size)
            return;
    }
}

/* ---- what the input does not give ---- */

/* The decoded streams of JOURNAL to INPUTS, and what replaces a member as it is in the tar. */
struct parts {
    struct nj_span streams[4];
    struct nj_span json;     /* empty: one that fits */
    struct nj_span squeezed; /* empty: the journal stream squeezed */
};

/* digests_of - as record_check() will compute them, as far as the streams go */
static uint64_t digests_of(const struct parts *parts, struct nj_record_digests *digests)
{
    struct nj_span rest[2] = {parts->streams[0], parts->streams[1]};
    struct nj_frame next[2] = {{0}, {0}};
    uint64_t frames = 0;

    for (;;) {
        struct nj_error err = {0};
        size_t len = 0, take;

        for (size_t i = 0; i < 2; i++) {
            if (next[i].sequence == 0 && rest[i].len > 0 &&
                nj_bundle_record_decode(rest[i], i == 0 ? NJ_BUNDLE_JOURNAL : NJ_BUNDLE_SNAPSHOTS,
                                        &next[i], &len, &err) == 0) {
                rest[i].data += len;
                rest[i].len -= len;
            }
        }
        if (next[0].sequence == 0 && next[1].sequence == 0)
            return frames;
        take =
            next[1].sequence == 0 || (next[0].sequence != 0 && next[0].sequence < next[1].sequence)
                ? 0
                : 1;
        if (nj_record_digests_add(digests, &next[take], &err) < 0)
            return frames;
        next[take] = (struct nj_frame){0};
        frames++;
    }
}

static void json_make(const struct parts *parts, struct nj_buf *out)
{
    struct nj_record_digests digests = {0};
    char record[NJ_DIGEST_HEX_CHARS + 1], content[NJ_DIGEST_HEX_CHARS + 1];
    uint64_t frames = digests_of(parts, &digests);
    struct nj_error err = {0};

    nj_digest_hex(&digests.record, record);
    nj_digest_hex(&digests.content, content);
    must(nj_buf_printf(
        out, &err,
        "{\"agent\":\"a\",\"content_digest\":\"%s\",\"environment\":{},\"format\":"
        "\"nightjar-bundle\",\"frames\":%u,\"group\":\"g\",\"identity\":\"%s\","
        "\"inputs_embedded\":true,\"job\":\"j\",\"key\":\"k\",\"record_digest\":\"%s\","
        "\"reproducible\":\"D0\",\"run\":\"r\",\"status\":\"failed\",\"version\":0}\n",
        content, (unsigned)frames, content, record));
}

static void tar_make(const struct parts *parts, struct nj_buf *tar)
{
    NJ_AUTO(nj_buf_done) struct nj_buf json = {0}, sums = {0};
    struct nj_digest digests[NJ_BUNDLE_MEMBERS_COUNT];
    bool present[NJ_BUNDLE_MEMBERS_COUNT] = {false};
    struct nj_span bytes;
    struct nj_error err = {0};

    nj_buf_init(&json, NJ_BUNDLE_INFO_MAX_BYTES);
    nj_buf_init(&sums, NJ_BUNDLE_SUMS_MAX_BYTES);
    if (parts->json.len == 0)
        json_make(parts, &json);
    for (int member = NJ_BUNDLE_INFO; member < NJ_BUNDLE_SUMS; member++) {
        NJ_AUTO(nj_buf_done) struct nj_buf squeezed = {0};

        nj_buf_init(&squeezed, TAR_MAX_BYTES);
        if (member == NJ_BUNDLE_INFO) {
            bytes = parts->json.len > 0 ? parts->json : nj_buf_span(&json);
        } else if (member == NJ_BUNDLE_MANIFEST) {
            bytes = nj_span_text("nightjar: 1\n");
        } else if (member == NJ_BUNDLE_JOURNAL && parts->squeezed.len > 0) {
            bytes = parts->squeezed;
        } else {
            bytes = parts->streams[member - NJ_BUNDLE_JOURNAL];
            if (bytes.len > 0)
                must(nj_squeeze(&squeezed, bytes, NJ_SQUEEZE_LEVEL, &err));
            bytes = nj_buf_span(&squeezed);
        }
        nj_digest_bytes(bytes.data, bytes.len, &digests[member]);
        present[member] = true;
        tar_member(tar, (enum nj_bundle_member)member, bytes);
    }
    must(nj_bundle_sums(digests, present, &sums, &err));
    tar_member(tar, NJ_BUNDLE_SUMS, nj_buf_span(&sums));
    must(nj_buf_append(tar, (const uint8_t[2 * TAR_BLOCK]){0}, (size_t)2 * TAR_BLOCK, &err));
}

/* ---- what must be true ---- */

/* objects_check - every object of a stream that was accepted can be had */
static void objects_check(struct nj_span stream, struct nj_object_source source)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};

    nj_buf_init(&out, NJ_OBJECT_MAX_BYTES);
    while (stream.len > 0) {
        struct nj_object object;
        size_t len;

        if (nj_object_decode(stream, true, &object, &len, &err) < 0)
            abort();
        nj_buf_clear(&out);
        if (nj_object_get(&source, object.kind, &object.digest, &out, &err) < 0)
            abort();
        stream.data += len;
        stream.len -= len;
    }
}

static int object_fits(void *ctx, const struct nj_object *object, struct nj_error *err)
{
    struct nj_digest digest;

    (void)ctx;
    (void)err;
    nj_digest_bytes(object->bytes.data, object->bytes.len, &digest);
    if (!nj_digest_equal(&digest, &object->digest))
        abort();
    return 0;
}

/* open_check - *ret_frames is set when the bundle opens */
static bool open_check(int fd, unsigned flags, const struct parts *parts, uint64_t *ret_frames)
{
    NJ_AUTO(nj_bundle_free) struct nj_bundle *bundle = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_record_digests digests = {0};
    struct nj_error err = {0};
    uint64_t got = 0;

    if (nj_bundle_open(fd, "f", flags, &bundle, &err) < 0) {
        if (err.code == 0 || !*err.text)
            abort();
        return false;
    }
    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    for (uint64_t sequence = 1; sequence <= nj_bundle_info(bundle)->frames && sequence < 10000;
         sequence++) {
        struct nj_frame frame;

        nj_buf_clear(&payload);
        if (nj_bundle_frame(bundle, sequence, &payload, &frame, &err) < 0) {
            if (!nj_bundle_damage(bundle))
                abort();
            continue;
        }
        got++;
        if (!nj_bundle_damage(bundle))
            must(nj_record_digests_add(&digests, &frame, &err));
    }
    must(nj_bundle_each_object(bundle, object_fits, NULL, &err));
    if (!nj_bundle_damage(bundle)) {
        if (got != nj_bundle_info(bundle)->frames ||
            !nj_digest_equal(&digests.record, &nj_bundle_info(bundle)->digests.record) ||
            !nj_digest_equal(&digests.content, &nj_bundle_info(bundle)->digests.content))
            abort();
        if (parts) {
            objects_check(parts->streams[2], nj_bundle_objects(bundle));
            objects_check(parts->streams[3], nj_bundle_inputs(bundle));
        }
        *ret_frames = got;
    }
    return !nj_bundle_damage(bundle);
}

/* both_ways - open as it is and with salvage: they agree about what is whole */
static void both_ways(struct nj_span tar, const struct parts *parts)
{
    nj_auto_close int fd = memfd_create("bundle", MFD_CLOEXEC);
    uint64_t frames = 0, salvaged = 0;
    bool whole;

    if (fd < 0 || write(fd, tar.data, tar.len) != (ssize_t)tar.len)
        abort();
    whole = open_check(fd, 0, parts, &frames);
    if (open_check(fd, NJ_BUNDLE_SALVAGE, parts, &salvaged) != whole || frames != salvaged)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NJ_AUTO(nj_buf_done) struct nj_buf tar = {0};
    struct parts parts = {0};
    struct nj_error err = {0};
    struct nj_span rest;

    if (size == 0)
        return 0;
    rest = (struct nj_span){data + 1, size - 1};
    nj_buf_init(&tar, TAR_MAX_BYTES);
    switch ((enum mode)(data[0] % MODES)) {
    case MODE_TAR:
    case MODE_HEADERS:
        must(nj_buf_append(&tar, rest.data, rest.len, &err));
        if (data[0] % MODES == MODE_HEADERS && tar.len > 0)
            headers_mend(tar.data, tar.len);
        both_ways(nj_buf_span(&tar), NULL);
        return 0;
    case MODE_JSON:
        parts.json = rest;
        break;
    case MODE_RECORDS:
        for (size_t i = 0; i < 4 && rest.len >= 2; i++) {
            size_t len = nj_load_u16le(rest.data);

            rest.data += 2;
            rest.len -= 2;
            len = len < rest.len ? len : rest.len;
            parts.streams[i] = (struct nj_span){rest.data, len};
            rest.data += len;
            rest.len -= len;
        }
        break;
    case MODE_SQUEEZED:
        parts.squeezed = rest;
        break;
    case MODES:
        break;
    }
    tar_make(&parts, &tar);
    both_ways(nj_buf_span(&tar), data[0] % MODES == MODE_RECORDS ? &parts : NULL);
    return 0;
}
