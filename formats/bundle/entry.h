/*
 * entry.h - a bundle's members, records and sums: what its writer and its reader share
 *
 * Source: formats/bundle/FORMAT.md.
 */
#ifndef NJ_BUNDLE_ENTRY_H
#define NJ_BUNDLE_ENTRY_H

#include "formats/bundle/bundle.h"

#define NJ_BUNDLE_FORMAT "nightjar-bundle"
#define NJ_BUNDLE_VERSION 0

#define NJ_BUNDLE_BLOCK_BYTES (4u << 20) /* a zstd frame is closed when it would grow beyond */
#define NJ_BUNDLE_RECORD_MAX_BYTES                                                                 \
    (18u << 20) /* a payload and its keys; such a one has a frame alone */
#define NJ_BUNDLE_INFO_MAX_BYTES (1u << 20)
#define NJ_BUNDLE_SUMS_MAX_BYTES 4096u
#define NJ_BUNDLE_SIGNATURE_MAX_BYTES 4096u
#define NJ_BUNDLE_OBJECTS_MAX 4000000u
#define NJ_BUNDLE_SPOOL_MEMORY_BYTES (4u << 20) /* a stream longer than this goes to a file */

/* Each member once, in the order of the archive: enumerator, name. */
#define NJ_BUNDLE_MEMBERS(X)                                                                       \
    X(INFO, "nightjar.json")                                                                       \
    X(MANIFEST, "job.yaml")                                                                        \
    X(JOURNAL, "journal.msgpack.zst")                                                              \
    X(SNAPSHOTS, "snapshots.msgpack.zst")                                                          \
    X(OBJECTS, "objects.msgpack.zst")                                                              \
    X(INPUTS, "inputs.msgpack.zst")                                                                \
    X(SUMS, "SHA256SUMS")                                                                          \
    X(SIGNATURE, "SHA256SUMS.sig")

enum nj_bundle_member {
#define X(name, text) NJ_BUNDLE_##name,
    NJ_BUNDLE_MEMBERS(X)
#undef X
};

#define NJ_BUNDLE_MEMBERS_COUNT (NJ_BUNDLE_SIGNATURE + 1)

const char *nj_bundle_member_name(enum nj_bundle_member member);

/* nj_bundle_record_encode - append {"kind", "payload", "sequence"}; a SNAPSHOT has no kind */
int nj_bundle_record_encode(const struct nj_frame *frame, struct nj_buf *out,
                            struct nj_error *err) NJ_MUST_USE;

/* nj_bundle_record_decode - the first record in @bytes, its length to *ret_len. In the stream of
 * @member the kinds are EVENT and OUTPUT (JOURNAL) or SNAPSHOT. The payload is borrowed from
 * @bytes; place is zero. */
int nj_bundle_record_decode(struct nj_span bytes, enum nj_bundle_member member,
                            struct nj_frame *ret_frame, size_t *ret_len,
                            struct nj_error *err) NJ_MUST_USE;

/* nj_bundle_sums - append a line of SHA256SUMS for every member before it that is @present */
int nj_bundle_sums(const struct nj_digest digests[NJ_BUNDLE_MEMBERS_COUNT],
                   const bool present[NJ_BUNDLE_MEMBERS_COUNT], struct nj_buf *out,
                   struct nj_error *err) NJ_MUST_USE;

#endif
