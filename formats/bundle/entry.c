/*
 * entry.c - member names, records of the streams, lines of SHA256SUMS
 */
#include "formats/bundle/entry.h"

#include "formats/base/banned.h"

const char *nj_bundle_member_name(enum nj_bundle_member member)
{
    switch (member) {
#define X(name, text)                                                                              \
    case NJ_BUNDLE_##name:                                                                         \
        return text;
        NJ_BUNDLE_MEMBERS(X)
#undef X
    }
    return "?";
}

int nj_bundle_record_encode(const struct nj_frame *frame, struct nj_buf *out, struct nj_error *err)
{
    bool kind = frame->kind != NJ_FRAME_SNAPSHOT;
    struct nj_packer packer;

    nj_packer_init(&packer, out);
    nj_pack_map(&packer, kind ? 3 : 2);
    if (kind)
        nj_pack_put_uint(&packer, "kind", (uint64_t)frame->kind);
    nj_pack_put_bin(&packer, "payload", frame->payload);
    nj_pack_put_uint(&packer, "sequence", frame->sequence);
    return nj_packer_end(&packer, err);
}

int nj_bundle_record_decode(struct nj_span bytes, enum nj_bundle_member member,
                            struct nj_frame *ret_frame, size_t *ret_len, struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_frame frame = {.kind = NJ_FRAME_SNAPSHOT};
    struct nj_pack_at root;
    uint64_t kind = 0;
    size_t len = 0;
    int r;

    r = nj_pack_walk_one(bytes, &len, err);
    if (r < 0)
        return nj_wrap(err, "record");
    r = nj_pack_open(&doc, "record", (struct nj_span){bytes.data, len}, err);
    if (r == 0)
        r = nj_pack_root(&doc, &root, err);
    if (r == 0 && member == NJ_BUNDLE_JOURNAL) {
        r = nj_pack_get_uint(&root, "kind", UINT16_MAX, &kind, err);
        if (r == 0 && kind != NJ_FRAME_EVENT && kind != NJ_FRAME_OUTPUT)
            r = nj_pack_fail(&root, err, "frames of kind %u have no place in a bundle",
                             (unsigned)kind);
        frame.kind = (enum nj_frame_kind)kind;
    }
    if (r == 0)
        r = nj_pack_get_bin(&root, "payload", &frame.payload, err);
    if (r == 0 && frame.payload.len > NJ_FRAME_PAYLOAD_MAX_BYTES)
        r = nj_pack_fail(&root, err, "a payload of %zu bytes, at most %u are allowed",
                         frame.payload.len, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (r == 0)
        r = nj_pack_get_uint(&root, "sequence", NJ_BUNDLE_FRAMES_MAX, &frame.sequence, err);
    if (r == 0 && frame.sequence == 0)
        r = nj_pack_fail(&root, err, "sequence numbers begin at 1");
    if (r < 0)
        return r;
    *ret_frame = frame;
    *ret_len = len;
    return 0;
}

int nj_bundle_sums(const struct nj_digest digests[NJ_BUNDLE_MEMBERS_COUNT],
                   const bool present[NJ_BUNDLE_MEMBERS_COUNT], struct nj_buf *out,
                   struct nj_error *err)
{
    for (int member = 0; member < NJ_BUNDLE_SUMS; member++) {
        char hex[NJ_DIGEST_HEX_CHARS + 1];
        int r;

        if (!present[member])
            continue;
        nj_digest_hex(&digests[member], hex);
        r = nj_buf_printf(out, err, "%s  %s\n", hex,
                          nj_bundle_member_name((enum nj_bundle_member)member));
        if (r < 0)
            return r;
    }
    return 0;
}
