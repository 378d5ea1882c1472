/*
 * streams.c - zstd frames of a bundle's member, and the records in them
 *
 * Lengths meet their caps before memory is spent, a zstd frame its declared size before it is
 * decoded, a record the canonical walk before it is understood. The one complication is a zstd
 * frame that is damaged: of what can be decoded of it all the same, only what proves itself is
 * taken (load.h, enum nj_bundle_trust).
 */
#include <inttypes.h>

#include <zstd.h>

#include "formats/base/squeeze.h"
#include "formats/bundle/load.h"

#include "formats/base/banned.h"

#define READ_CHUNK_BYTES ((size_t)128 << 10)
#define ZSTD_HEADER_MAX_BYTES 18u
#define PARTLY_BYTES ((size_t)4096)

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
static int frame_take(struct nj_bundle_load *load, enum nj_bundle_member member,
                      struct nj_span rest, uint64_t offset, size_t *ret_len, struct nj_error *err)
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
static int object_take(struct nj_bundle_load *load, enum nj_bundle_member member,
                       struct nj_span rest, uint64_t offset, size_t *ret_len, struct nj_error *err)
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
    r = nj_index_add(index, &object.digest, offset, (uint32_t)object.bytes.len,
                     (uint8_t)object.kind, err);
    if (r == 1) {
        nj_digest_hex(&object.digest, hex);
        return nj_fail(err, NJ_E_CORRUPT, "object %.16s is there twice", hex);
    }
    return r;
}

/* object_proves_itself - of a damaged block: is the object at the head of @rest what its digest
 * says? Where its length can be told it is passed over otherwise. */
static int object_proves_itself(struct nj_bundle_load *load, enum nj_bundle_member member,
                                struct nj_span rest, uint64_t offset, size_t *ret_len,
                                struct nj_error *err)
{
    struct nj_object object;
    struct nj_digest digest;
    int r;

    r = nj_object_decode(rest, false, &object, ret_len, err);
    if (r < 0)
        return r;
    nj_digest_bytes(object.bytes.data, object.bytes.len, &digest);
    if (!nj_digest_equal(&digest, &object.digest))
        return 0;
    return object_take(load, member, rest, offset, ret_len, err);
}

int nj_bundle_block_take(struct nj_bundle_load *load, enum nj_bundle_member member,
                         enum nj_bundle_trust trust, struct nj_error *err)
{
    bool frames = member == NJ_BUNDLE_JOURNAL || member == NJ_BUNDLE_SNAPSHOTS;
    struct nj_spool *spool = &load->bundle->spools[member];
    uint64_t start = spool->len;
    int r;

    if (frames && trust == NJ_BUNDLE_TRUST_DIGESTS)
        return 0;
    if (load->block.len > NJ_BUNDLE_STREAM_MAX_BYTES - start)
        return nj_fail(err, NJ_E_LIMIT, "decodes to more than %llu bytes",
                       NJ_BUNDLE_STREAM_MAX_BYTES);
    r = nj_spool_append(spool, nj_buf_span(&load->block), err);
    for (size_t at = 0; r == 0 && at < load->block.len;) {
        struct nj_span rest = {load->block.data + at, load->block.len - at};
        size_t len = 0;

        if (frames)
            r = frame_take(load, member, rest, start + at, &len, err);
        else if (trust == NJ_BUNDLE_TRUST_DIGESTS)
            r = object_proves_itself(load, member, rest, start + at, &len, err);
        else
            r = object_take(load, member, rest, start + at, &len, err);
        if (r < 0)
            return trust != NJ_BUNDLE_TRUST_WHOLE
                       ? 0
                       : nj_wrap(err, "at byte %" PRIu64 " of the decoded stream", start + at);
        at += len;
    }
    return r;
}

/* ---- streams ---- */

/* squeezed_rest - what was read of a stream and not yet decoded */
static struct nj_span squeezed_rest(const struct nj_bundle_load *load)
{
    if (load->squeezed_at == load->squeezed.len)
        return (struct nj_span){NULL, 0};
    return (struct nj_span){load->squeezed.data + load->squeezed_at,
                            load->squeezed.len - load->squeezed_at};
}

int nj_bundle_squeezed_frame(struct nj_span rest, size_t *ret_len, struct nj_error *err)
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

void nj_bundle_block_partly(struct nj_bundle_load *load, struct nj_span rest)
{
    unsigned long long size = ZSTD_getFrameContentSize(rest.data, rest.len);
    struct nj_error ignored = {0}; /* nothing is promised */
    ZSTD_inBuffer in = {rest.data, 0, 0};
    ZSTD_DCtx *context;
    ZSTD_outBuffer out;
    size_t r;

    nj_buf_clear(&load->block);
    if (size > NJ_BUNDLE_RECORD_MAX_BYTES || size == 0) /* or its header is cut off */
        return;
    if (nj_buf_reserve(&load->block, (size_t)size, &ignored) < 0)
        return;
    context = ZSTD_createDCtx();
    if (!context)
        return;
    out = (ZSTD_outBuffer){load->block.data, (size_t)size, 0};
    do { /* in small pieces: of a frame that is handed over whole and is damaged, nothing comes out
          */
        in.size = rest.len - in.pos < PARTLY_BYTES ? rest.len : in.pos + PARTLY_BYTES;
        r = ZSTD_decompressStream(context, &out, &in);
    } while (r != 0 && !ZSTD_isError(r) && in.pos < rest.len);
    (void)ZSTD_freeDCtx(context); /* never fails for one that was made */
    load->block.len = out.pos;
}

static int frame_decode(struct nj_bundle_load *load, enum nj_bundle_member member, size_t len,
                        struct nj_error *err)
{
    struct nj_span frame = {squeezed_rest(load).data, len};
    int r;

    nj_buf_clear(&load->block);
    r = nj_unsqueeze(&load->block, frame, NJ_BUNDLE_RECORD_MAX_BYTES, err);
    if (r == 0)
        r = nj_bundle_block_take(load, member, NJ_BUNDLE_TRUST_WHOLE, err);
    if (r == 0)
        load->squeezed_at += len;
    return r;
}

/* is_stream_of_nothing - the one place for a frame without content: as the whole member, so that
 * `zstd -d` opens a stream without records, too */
static bool is_stream_of_nothing(struct nj_bundle_load *load, struct nj_span rest)
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
static int stream_decode(struct nj_bundle_load *load, enum nj_bundle_member member, bool end,
                         struct nj_error *err)
{
    for (;;) {
        struct nj_span rest = squeezed_rest(load);
        size_t len = 0;
        int r;

        if (rest.len == 0 || is_stream_of_nothing(load, rest))
            return 0;
        r = nj_bundle_squeezed_frame(rest, &len, err);
        if (r < 0)
            return r;
        if (len == 0 && end)
            return nj_fail(err, NJ_E_CORRUPT, "its last zstd frame is damaged or cut off");
        if (len == 0 && rest.len >= NJ_BUNDLE_SQUEEZED_MAX_BYTES)
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
static void squeezed_shift(struct nj_bundle_load *load)
{
    struct nj_buf *squeezed = &load->squeezed;

    if (load->squeezed_at > 0)
        memmove(squeezed->data, squeezed->data + load->squeezed_at,
                squeezed->len - load->squeezed_at);
    squeezed->len -= load->squeezed_at;
    load->squeezed_at = 0;
}

static int stream_bytes(struct nj_bundle_load *load, enum nj_bundle_member member,
                        struct nj_hasher *hasher, struct nj_error *err)
{
    uint64_t read = 0;
    size_t decode_at = 0; /* a try costs the frame's length, so tries come at doubled lengths */
    size_t got;
    int r;

    nj_buf_clear(&load->squeezed);
    load->squeezed_at = 0;
    while (read < load->member_bytes) {
        size_t room = NJ_BUNDLE_SQUEEZED_MAX_BYTES - load->squeezed.len;
        size_t before = load->squeezed.len;

        r = nj_bundle_member_read(load, &load->squeezed,
                                  room < READ_CHUNK_BYTES ? room : READ_CHUNK_BYTES, &got, err);
        if (r < 0)
            return r;
        if (got == 0)
            return nj_fail(err, NJ_E_CORRUPT, "%" PRIu64 " of %" PRIu64 " bytes", read,
                           load->member_bytes);
        nj_hasher_update(hasher, load->squeezed.data + before, got);
        read += got;
        if (read < load->member_bytes && load->squeezed.len < decode_at &&
            load->squeezed.len < NJ_BUNDLE_SQUEEZED_MAX_BYTES)
            continue;
        r = stream_decode(load, member, read == load->member_bytes, err);
        if (r < 0)
            return r;
        squeezed_shift(load);
        decode_at = 2 * load->squeezed.len;
    }
    return 0;
}

int nj_bundle_stream_load(struct nj_bundle_load *load, enum nj_bundle_member member,
                          struct nj_error *err)
{
    NJ_AUTO(nj_hasher_free) struct nj_hasher *hasher = nj_hasher_new();
    struct nj_digest digest;
    int r;

    if (!hasher)
        return nj_fail_nomem(err);
    r = stream_bytes(load, member, hasher, err);
    if (r < 0)
        return nj_wrap(err, "%s", nj_bundle_member_name(member));
    nj_hasher_finish(hasher, &digest);
    return nj_bundle_member_close(load, member, &digest, err);
}
