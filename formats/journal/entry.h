/*
 * entry.h - segment headers, frame headers and commits as bytes
 *
 * What the journal's writer and reader share, and all that they share. Nothing here reads or writes
 * a file. Checksums are XXH3-64; those of frames and commits are seeded with the run's id, so that
 * bytes an agent wrote (which may well look like a frame) never pass for one of the run's own.
 * Source: formats/journal/FORMAT.md.
 */
#ifndef NJ_JOURNAL_ENTRY_H
#define NJ_JOURNAL_ENTRY_H

#include "formats/journal/journal.h"

#define NJ_JOURNAL_MAJOR 0
#define NJ_JOURNAL_MINOR 0

#define NJ_SEGMENT_HEADER_BYTES 64u
#define NJ_SEGMENT_MIN_BYTES 4096u
#define NJ_SEGMENT_MAX_BYTES (1u << 30)
#define NJ_SEGMENT_THINNED                                                                         \
    1u /* feature bit: one commit, which stands for all from the first on                          \
        */
#define NJ_SEGMENT_NUMBER_MAX 99999999u
#define NJ_SEGMENT_NAME_MAX_BYTES 16

#define NJ_FRAME_HEADER_BYTES 40u
#define NJ_FRAME_FLAG_ZSTD 1u
#define NJ_FRAME_ALIGN_BYTES 8u
#define NJ_COMMIT_PAYLOAD_MAX_BYTES 48u
#define NJ_COMMIT_FRAME_MAX_BYTES (NJ_FRAME_HEADER_BYTES + NJ_COMMIT_PAYLOAD_MAX_BYTES)

/* clang-format off */
#define NJ_SEGMENT_MAGIC {0x4e, 0x4a, 0x4a, 0x1a} /* NJJ and an end of file for terminals */
#define NJ_FRAME_MAGIC {0x4e, 0x4a, 0x46, 0xb7}   /* NJF and a byte that no text has there */
/* clang-format on */

/* Field offsets, as in the tables of FORMAT.md. */
#define NJ_SEGMENT_AT_MAJOR 4
#define NJ_SEGMENT_AT_MINOR 6
#define NJ_SEGMENT_AT_REQUIRES 8
#define NJ_SEGMENT_AT_HINTS 12
#define NJ_SEGMENT_AT_NUMBER 16
#define NJ_SEGMENT_AT_EPOCH 20
#define NJ_SEGMENT_AT_RUN_ID 24
#define NJ_SEGMENT_AT_CAPACITY 40
#define NJ_SEGMENT_AT_FIRST_COMMIT 48
#define NJ_SEGMENT_AT_CHECKSUM 56

#define NJ_FRAME_AT_KIND 4
#define NJ_FRAME_AT_FLAGS 5
#define NJ_FRAME_AT_RESERVED 6
#define NJ_FRAME_AT_STORED_BYTES 8
#define NJ_FRAME_AT_PAYLOAD_BYTES 12
#define NJ_FRAME_AT_SESSION 16
#define NJ_FRAME_AT_EPOCH 20
#define NJ_FRAME_AT_SEQUENCE 24
#define NJ_FRAME_AT_CHECKSUM 32

struct nj_segment_header {
    uint32_t requires; /* NJ_SEGMENT_THINNED or 0 */
    uint32_t hints;
    uint32_t number;
    uint32_t epoch;
    uint8_t run_id[NJ_JOURNAL_RUN_ID_BYTES];
    uint64_t capacity;     /* the most bytes the segment may hold */
    uint64_t first_commit; /* number of the first commit in it, from 1 over all epochs */
};

struct nj_frame_header {
    enum nj_frame_kind kind;
    uint8_t flags;
    uint32_t stored_bytes;
    uint32_t payload_bytes;
    uint32_t session;
    uint32_t epoch;
    uint64_t sequence;
    uint64_t checksum;
};

struct nj_commit {
    uint64_t bytes;    /* of the frames that it covers, with their padding */
    uint64_t number;   /* from 1 over all epochs, no gaps */
    uint64_t frames;   /* at least 1; of a thinned segment 0 too */
    uint64_t checksum; /* over those bytes */
};

/* nj_entry_segment_name - "000001.njj" */
void nj_entry_segment_name(uint32_t number, char name[NJ_SEGMENT_NAME_MAX_BYTES]);

/* nj_entry_segment_number - the number in a segment's name, 0 when @name is not one */
uint32_t nj_entry_segment_number(const char *name);

void nj_entry_segment_encode(const struct nj_segment_header *header,
                             uint8_t bytes[NJ_SEGMENT_HEADER_BYTES]);

/* nj_entry_segment_decode - returns 0, 1 when @bytes are no whole header, or fails with
 * NJ_E_VERSION */
int nj_entry_segment_decode(const uint8_t bytes[NJ_SEGMENT_HEADER_BYTES],
                            struct nj_segment_header *ret_header, struct nj_error *err) NJ_MUST_USE;

/* nj_entry_seed - what the checksums of a run's frames begin with */
uint64_t nj_entry_seed(const uint8_t run_id[NJ_JOURNAL_RUN_ID_BYTES]);

/* nj_entry_frame_fault - what is impossible about kind, session, sequence and lengths; NULL when
 * nothing is */
const char *nj_entry_frame_fault(const struct nj_frame_header *header);

/* nj_entry_frame_encode - write the header of @stored, checksum included; header->checksum is not
 * read */
void nj_entry_frame_encode(const struct nj_frame_header *header, struct nj_span stored,
                           uint64_t seed, uint8_t bytes[NJ_FRAME_HEADER_BYTES]);

/* nj_entry_frame_decode - false when @bytes cannot be a frame's header; the checksum is not looked
 * at */
bool nj_entry_frame_decode(const uint8_t bytes[NJ_FRAME_HEADER_BYTES],
                           struct nj_frame_header *ret_header);

/* nj_entry_frame_whole - do header and stored payload have the checksum that the header says? */
bool nj_entry_frame_whole(const uint8_t bytes[NJ_FRAME_HEADER_BYTES], struct nj_span stored,
                          uint64_t seed);

/* nj_entry_frame_payload - append the decoded payload of a whole frame to @out; NJ_E_CORRUPT
 * otherwise */
int nj_entry_frame_payload(const struct nj_frame_header *header, struct nj_span stored,
                           struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_entry_frame_bytes - header, stored payload and padding */
static inline size_t nj_entry_frame_bytes(uint32_t stored_bytes)
{
    size_t bytes = (size_t)NJ_FRAME_HEADER_BYTES + stored_bytes;

    return (bytes + NJ_FRAME_ALIGN_BYTES - 1) & ~(size_t)(NJ_FRAME_ALIGN_BYTES - 1);
}

int nj_entry_commit_encode(const struct nj_commit *commit, struct nj_buf *out,
                           struct nj_error *err) NJ_MUST_USE;
int nj_entry_commit_decode(struct nj_span payload, struct nj_commit *ret_commit,
                           struct nj_error *err) NJ_MUST_USE;

#endif
