/*
 * load.h - a bundle being read: what members.c (the tar), streams.c (zstd and records), verify.c
 * (the whole, strictly) and pieces.c (what is intact around a damage) share; private to them
 */
#ifndef NJ_BUNDLE_LOAD_H
#define NJ_BUNDLE_LOAD_H

#include "formats/bundle/inside.h"

#define NJ_TAR_BLOCK_BYTES 512u
#define NJ_BUNDLE_SQUEEZED_MAX_BYTES                                                               \
    ((size_t)NJ_BUNDLE_RECORD_MAX_BYTES + (NJ_BUNDLE_RECORD_MAX_BYTES >> 7) + 4096)

struct archive;

struct nj_bundle_load {
    struct nj_bundle *bundle;
    int fd;
    uint64_t fd_bytes;
    uint64_t read_at; /* of libarchive's next read */
    uint8_t *chunk;   /* what libarchive reads into */
    struct archive *archive;
    struct nj_digest digests[NJ_BUNDLE_MEMBERS_COUNT];
    bool present[NJ_BUNDLE_MEMBERS_COUNT];
    uint64_t member_end;    /* where the next header must be */
    uint64_t member_bytes;  /* of the member being read */
    struct nj_buf squeezed; /* of a stream; the first squeezed_at bytes are decoded already */
    size_t squeezed_at;
    struct nj_buf block; /* one zstd frame, decoded */
    struct nj_buf text;  /* nightjar.json, SHA256SUMS */
};

/* ---- members.c ---- */

/* nj_bundle_load_open - @load has bundle and fd; pair with nj_bundle_load_done(), whatever comes of
 * it */
int nj_bundle_load_open(struct nj_bundle_load *load, struct nj_error *err) NJ_MUST_USE;
void nj_bundle_load_done(struct nj_bundle_load *load);
NJ_DEFINE_AUTO_VAL(struct nj_bundle_load, nj_bundle_load_done);

/* nj_bundle_member_open - the next header; *ret_name is NULL at the end of the archive, else valid
 * until the next call. @expected_text says in errors what should be there. */
int nj_bundle_member_open(struct nj_bundle_load *load, enum nj_bundle_member member,
                          const char *expected_text, const char **ret_name,
                          struct nj_error *err) NJ_MUST_USE;

/* nj_bundle_member_expect - the next member is @member, of at most @max_bytes */
int nj_bundle_member_expect(struct nj_bundle_load *load, enum nj_bundle_member member,
                            uint64_t max_bytes, struct nj_error *err) NJ_MUST_USE;

/* nj_bundle_member_read - append up to @len bytes of the member's content to @out; 0 bytes at its
 * end */
int nj_bundle_member_read(struct nj_bundle_load *load, struct nj_buf *out, size_t len,
                          size_t *ret_len, struct nj_error *err) NJ_MUST_USE;

/* nj_bundle_member_close - the member was read to its end: check its filling, keep its digest */
int nj_bundle_member_close(struct nj_bundle_load *load, enum nj_bundle_member member,
                           const struct nj_digest *digest, struct nj_error *err) NJ_MUST_USE;

/* nj_bundle_member_whole - a member that is kept in memory */
int nj_bundle_member_whole(struct nj_bundle_load *load, enum nj_bundle_member member,
                           struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_bundle_zeros_between - the bytes from @from to @to fill up a tar and are 0 */
int nj_bundle_zeros_between(const struct nj_bundle_load *load, uint64_t from, uint64_t to,
                            struct nj_error *err) NJ_MUST_USE;

/* ---- streams.c ---- */

int nj_bundle_stream_load(struct nj_bundle_load *load, enum nj_bundle_member member,
                          struct nj_error *err) NJ_MUST_USE;

/* How far the bytes of a block may be trusted. */
enum nj_bundle_trust {
    NJ_BUNDLE_TRUST_WHOLE, /* the zstd frame's checksum fits: every record must be good */
    NJ_BUNDLE_TRUST_CUT, /* the frame's end is missing: records count up to the first that is cut */
    NJ_BUNDLE_TRUST_DIGESTS, /* the frame is damaged somewhere: only what has a digest of its own,
                                and fits it */
};

/* nj_bundle_block_take - the records of load->block; the stream's spool gets its bytes */
int nj_bundle_block_take(struct nj_bundle_load *load, enum nj_bundle_member member,
                         enum nj_bundle_trust trust, struct nj_error *err) NJ_MUST_USE;

/* nj_bundle_squeezed_frame - the length of the zstd frame that @rest begins with; 0 when it is not
 * all there */
int nj_bundle_squeezed_frame(struct nj_span rest, size_t *ret_len,
                             struct nj_error *err) NJ_MUST_USE;

/* nj_bundle_block_partly - decode as much as there is of the zstd frame that @rest begins with into
 * load->block, whatever its checksum says; nothing when not even its header can be read */
void nj_bundle_block_partly(struct nj_bundle_load *load, struct nj_span rest);

/* ---- pieces.c ---- */

/* nj_bundle_pieces - read whatever is intact into the emptied @bundle, with nothing promised about
 * the rest; bundle->damages tells each place. Returns 1 when nothing of a bundle is in the file. */
int nj_bundle_pieces(struct nj_bundle *bundle, int fd, struct nj_error *err) NJ_MUST_USE;

#endif
