/*
 * verify.c - reading a bundle that anybody may have made, as a whole
 *
 * Every member is read, checked and held against SHA256SUMS, then the frames against the digests of
 * nightjar.json. Damage ends the reading. With salvage the file is then read once more, for
 * whatever is intact around the damage (pieces.c).
 */
#include <inttypes.h>

#include "formats/bundle/load.h"

#include "formats/base/banned.h"

#define TAR_TRAILER_MAX_BYTES                                                                      \
    (20u * NJ_TAR_BLOCK_BYTES + 2u * NJ_TAR_BLOCK_BYTES) /* tar fills up to 20 blocks */
#define SIGNATURE_BYTES 64u

/* sums_check - SHA256SUMS is what the members before it call for, byte for byte */
static int sums_check(const struct nj_bundle_load *load, struct nj_error *err)
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
static int rest_check(struct nj_bundle_load *load, struct nj_error *err)
{
    const char *name = NULL;
    int r;

    r = nj_bundle_member_open(load, NJ_BUNDLE_SIGNATURE, "the end", &name, err);
    if (r == 0 && name) {
        if (strcmp(name, nj_bundle_member_name(NJ_BUNDLE_SIGNATURE)) != 0)
            return nj_fail(err, NJ_E_CORRUPT, "member \"%.100s\" behind SHA256SUMS", name);
        if (load->member_bytes != SIGNATURE_BYTES)
            return nj_fail(err, NJ_E_CORRUPT, "%s has %" PRIu64 " bytes, not %u", name,
                           load->member_bytes, SIGNATURE_BYTES);
        r = nj_bundle_member_whole(load, NJ_BUNDLE_SIGNATURE, &load->text, err);
        if (r == 0)
            r = nj_bundle_member_open(load, NJ_BUNDLE_SIGNATURE, "the end", &name, err);
        if (r == 0 && name)
            return nj_fail(err, NJ_E_CORRUPT, "member \"%.100s\" behind the last", name);
    }
    if (r < 0)
        return r;
    if (load->fd_bytes < load->member_end + 2 * NJ_TAR_BLOCK_BYTES)
        return nj_fail(err, NJ_E_CORRUPT, "the end of the tar is cut off");
    if (load->fd_bytes > load->member_end + TAR_TRAILER_MAX_BYTES)
        return nj_fail(err, NJ_E_CORRUPT, "bytes behind the end of the tar");
    r = nj_bundle_zeros_between(load, load->member_end, load->fd_bytes, err);
    return r < 0 ? nj_wrap(err, "the end of the tar") : 0;
}

static int members_load(struct nj_bundle_load *load, struct nj_error *err)
{
    struct nj_bundle *bundle = load->bundle;
    int r;

    r = nj_bundle_member_expect(load, NJ_BUNDLE_MANIFEST, NJ_BUNDLE_MANIFEST_MAX_BYTES, err);
    if (r == 0)
        r = nj_bundle_member_whole(load, NJ_BUNDLE_MANIFEST, &bundle->manifest, err);
    for (int member = NJ_BUNDLE_JOURNAL; r == 0 && member <= NJ_BUNDLE_INPUTS; member++) {
        if (member == NJ_BUNDLE_INPUTS && !bundle->info.inputs_embedded)
            continue;
        r = nj_bundle_member_expect(load, (enum nj_bundle_member)member, NJ_BUNDLE_STREAM_MAX_BYTES,
                                    err);
        if (r == 0)
            r = nj_bundle_stream_load(load, (enum nj_bundle_member)member, err);
    }
    if (r == 0)
        r = nj_bundle_member_expect(load, NJ_BUNDLE_SUMS, NJ_BUNDLE_SUMS_MAX_BYTES, err);
    if (r == 0)
        r = nj_bundle_member_whole(load, NJ_BUNDLE_SUMS, &load->text, err);
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
static int load_all(struct nj_bundle_load *load, bool *ret_known, struct nj_error *err)
{
    int r;

    r = nj_bundle_member_expect(load, NJ_BUNDLE_INFO, NJ_BUNDLE_INFO_MAX_BYTES, err);
    if (r == 0)
        r = nj_bundle_member_whole(load, NJ_BUNDLE_INFO, &load->text, err);
    if (r < 0)
        return r;
    r = nj_bundle_info_decode(load->bundle, nj_buf_span(&load->text), err);
    if (r < 0)
        return nj_wrap(err, "%s", nj_bundle_member_name(NJ_BUNDLE_INFO));
    *ret_known = true;
    r = members_load(load, err);
    return r < 0 ? r : record_check(load->bundle, err);
}

/* damage_of_file - an error that tells of the file, not of this host's memory and disks */
static bool damage_of_file(int r)
{
    return r == -NJ_E_CORRUPT || r == -NJ_E_LIMIT || r == -NJ_E_VERSION || r == -NJ_E_INPUT;
}

int nj_bundle_load(struct nj_bundle *bundle, int fd, bool salvage, struct nj_error *err)
{
    NJ_AUTO(nj_bundle_load_done) struct nj_bundle_load load = {.bundle = bundle, .fd = fd};
    struct nj_error first;
    bool known = false;
    int r;

    r = nj_bundle_load_open(&load, err);
    if (r == 0)
        r = load_all(&load, &known, err);
    if (r == 0 || !salvage || !damage_of_file(r) || (r == -NJ_E_VERSION && !known))
        return r;
    first = *err;
    *err = (struct nj_error){0};
    nj_bundle_load_done(&load);
    nj_bundle_empty(bundle);
    r = nj_bundle_pieces(bundle, fd, err);
    if (r < 0)
        return r;
    if (r == 1) {
        *err = first;
        return -(int)first.code;
    }
    bundle->damaged = true;
    bundle->damage = first;
    return 0;
}
