/*
 * entry.c - the journal's bytes: headers, checksums, commits
 *
 * Decoders here never fail on a frame: bytes that are no frame are an ordinary find behind the end
 * of a journal, and what they mean is for the reader to say, who knows what follows.
 */
#include "formats/journal/entry.h"

#include <stdio.h>

#include <xxhash.h>

#include "formats/base/bytes.h"
#include "formats/base/squeeze.h"

#include "formats/base/banned.h"

static const uint8_t SEGMENT_MAGIC[4] = NJ_SEGMENT_MAGIC;
static const uint8_t FRAME_MAGIC[4] = NJ_FRAME_MAGIC;

#define NAME_DIGITS 6
#define NAME_SUFFIX ".njj"

const char *nj_frame_kind_text(enum nj_frame_kind kind)
{
    switch (kind) {
#define X(name, value, text)                                                                       \
    case NJ_FRAME_##name:                                                                          \
        return text;
        NJ_FRAME_KINDS(X)
#undef X
    }
    return "?";
}

/* ---- segments ---- */

void nj_entry_segment_name(uint32_t number, char name[NJ_SEGMENT_NAME_MAX_BYTES])
{
    (void)snprintf(name, NJ_SEGMENT_NAME_MAX_BYTES, "%06u" NAME_SUFFIX,
                   (unsigned)(number % (NJ_SEGMENT_NUMBER_MAX + 1)));
}

uint32_t nj_entry_segment_number(const char *name)
{
    char again[NJ_SEGMENT_NAME_MAX_BYTES];
    uint32_t number = 0;
    size_t digits = 0;

    for (; name[digits] >= '0' && name[digits] <= '9'; digits++) {
        number = number * 10 + (uint32_t)(name[digits] - '0');
        if (number > NJ_SEGMENT_NUMBER_MAX)
            return 0;
    }
    nj_entry_segment_name(number,
                          again); /* a second spelling of a number is not a segment's name */
    return strcmp(name, again) == 0 ? number : 0;
}

void nj_entry_segment_encode(const struct nj_segment_header *header,
                             uint8_t bytes[NJ_SEGMENT_HEADER_BYTES])
{
    memset(bytes, 0, NJ_SEGMENT_HEADER_BYTES);
    memcpy(bytes, SEGMENT_MAGIC, sizeof(SEGMENT_MAGIC));
    nj_store_u16le(bytes + NJ_SEGMENT_AT_MAJOR, NJ_JOURNAL_MAJOR);
    nj_store_u16le(bytes + NJ_SEGMENT_AT_MINOR, NJ_JOURNAL_MINOR);
    nj_store_u32le(bytes + NJ_SEGMENT_AT_REQUIRES, header->requires);
    nj_store_u32le(bytes + NJ_SEGMENT_AT_HINTS, header->hints);
    nj_store_u32le(bytes + NJ_SEGMENT_AT_NUMBER, header->number);
    nj_store_u32le(bytes + NJ_SEGMENT_AT_EPOCH, header->epoch);
    memcpy(bytes + NJ_SEGMENT_AT_RUN_ID, header->run_id, NJ_JOURNAL_RUN_ID_BYTES);
    nj_store_u64le(bytes + NJ_SEGMENT_AT_CAPACITY, header->capacity);
    nj_store_u64le(bytes + NJ_SEGMENT_AT_FIRST_COMMIT, header->first_commit);
    nj_store_u64le(bytes + NJ_SEGMENT_AT_CHECKSUM, XXH3_64bits(bytes, NJ_SEGMENT_AT_CHECKSUM));
}

int nj_entry_segment_decode(const uint8_t bytes[NJ_SEGMENT_HEADER_BYTES],
                            struct nj_segment_header *ret_header, struct nj_error *err)
{
    struct nj_segment_header header;
    unsigned major = nj_load_u16le(bytes + NJ_SEGMENT_AT_MAJOR);
    uint32_t requires = nj_load_u32le(bytes + NJ_SEGMENT_AT_REQUIRES);

    /* A newer major may have its checksum elsewhere, so the version is read before it. */
    if (memcmp(bytes, SEGMENT_MAGIC, sizeof(SEGMENT_MAGIC)) != 0)
        return 1;
    if (major > NJ_JOURNAL_MAJOR)
        return nj_fail(err, NJ_E_VERSION, "journal format %u, this build reads up to %u", major,
                       (unsigned)NJ_JOURNAL_MAJOR);
    if (nj_load_u64le(bytes + NJ_SEGMENT_AT_CHECKSUM) != XXH3_64bits(bytes, NJ_SEGMENT_AT_CHECKSUM))
        return 1;
    if (requires & ~NJ_SEGMENT_THINNED)
        return nj_fail(err, NJ_E_VERSION,
                       "needs journal features 0x%x, this build has none of them",
                       (unsigned)(requires & ~NJ_SEGMENT_THINNED));

    header.requires = requires;
    header.hints = nj_load_u32le(bytes + NJ_SEGMENT_AT_HINTS);
    header.number = nj_load_u32le(bytes + NJ_SEGMENT_AT_NUMBER);
    header.epoch = nj_load_u32le(bytes + NJ_SEGMENT_AT_EPOCH);
    memcpy(header.run_id, bytes + NJ_SEGMENT_AT_RUN_ID, NJ_JOURNAL_RUN_ID_BYTES);
    header.capacity = nj_load_u64le(bytes + NJ_SEGMENT_AT_CAPACITY);
    header.first_commit = nj_load_u64le(bytes + NJ_SEGMENT_AT_FIRST_COMMIT);
    if (header.number == 0 || header.epoch == 0 || header.first_commit == 0 ||
        header.capacity < NJ_SEGMENT_MIN_BYTES || header.capacity > NJ_SEGMENT_MAX_BYTES)
        return 1;
    *ret_header = header;
    return 0;
}

/* ---- frames ---- */

uint64_t nj_entry_seed(const uint8_t run_id[NJ_JOURNAL_RUN_ID_BYTES])
{
    return XXH3_64bits(run_id, NJ_JOURNAL_RUN_ID_BYTES);
}

const char *nj_entry_frame_fault(const struct nj_frame_header *header)
{
    bool sequenced = false, of_session = true;

    switch (header->kind) {
    case NJ_FRAME_EVENT:
    case NJ_FRAME_SNAPSHOT:
    case NJ_FRAME_OUTPUT:
        sequenced = true;
        break;
    case NJ_FRAME_RUN:
    case NJ_FRAME_COMMIT:
        of_session = false;
        break;
    case NJ_FRAME_OBJECT: /* the run's own inputs belong to no session */
        of_session = header->session != NJ_JOURNAL_SESSION_RUN;
        break;
    case NJ_FRAME_ARCHIVED:
    case NJ_FRAME_REOPENED:
        break;
    default:
        return "no such kind of frame";
    }
    if (of_session != (header->session != NJ_JOURNAL_SESSION_RUN))
        return of_session ? "the frame needs a session" : "the frame belongs to no session";
    if (sequenced != (header->sequence != 0))
        return sequenced ? "sequence numbers begin at 1" : "the frame has no sequence number";
    if (header->payload_bytes > NJ_FRAME_PAYLOAD_MAX_BYTES)
        return "the payload is too long";
    if (header->flags & ~NJ_FRAME_FLAG_ZSTD)
        return "unknown flags";
    if (header->flags & NJ_FRAME_FLAG_ZSTD ? header->stored_bytes >= header->payload_bytes
                                           : header->stored_bytes != header->payload_bytes)
        return "stored and decoded length do not fit each other";
    if (header->kind == NJ_FRAME_COMMIT &&
        (header->flags != 0 || header->payload_bytes > NJ_COMMIT_PAYLOAD_MAX_BYTES))
        return "a commit is short and not compressed";
    return NULL;
}

static uint64_t frame_checksum(const uint8_t *bytes, struct nj_span stored, uint64_t seed)
{
    /* The header's checksum is the seed of the payload's: two calls cost less than a streaming
     * state. */
    return XXH3_64bits_withSeed(stored.data, stored.len,
                                XXH3_64bits_withSeed(bytes, NJ_FRAME_AT_CHECKSUM, seed));
}

void nj_entry_frame_encode(const struct nj_frame_header *header, struct nj_span stored,
                           uint64_t seed, uint8_t bytes[NJ_FRAME_HEADER_BYTES])
{
    memcpy(bytes, FRAME_MAGIC, sizeof(FRAME_MAGIC));
    bytes[NJ_FRAME_AT_KIND] = (uint8_t)header->kind;
    bytes[NJ_FRAME_AT_FLAGS] = header->flags;
    nj_store_u16le(bytes + NJ_FRAME_AT_RESERVED, 0);
    nj_store_u32le(bytes + NJ_FRAME_AT_STORED_BYTES, header->stored_bytes);
    nj_store_u32le(bytes + NJ_FRAME_AT_PAYLOAD_BYTES, header->payload_bytes);
    nj_store_u32le(bytes + NJ_FRAME_AT_SESSION, header->session);
    nj_store_u32le(bytes + NJ_FRAME_AT_EPOCH, header->epoch);
    nj_store_u64le(bytes + NJ_FRAME_AT_SEQUENCE, header->sequence);
    nj_store_u64le(bytes + NJ_FRAME_AT_CHECKSUM, frame_checksum(bytes, stored, seed));
}

bool nj_entry_frame_decode(const uint8_t bytes[NJ_FRAME_HEADER_BYTES],
                           struct nj_frame_header *ret_header)
{
    struct nj_frame_header header;

    if (memcmp(bytes, FRAME_MAGIC, sizeof(FRAME_MAGIC)) != 0 ||
        nj_load_u16le(bytes + NJ_FRAME_AT_RESERVED) != 0)
        return false;
    header.kind = (enum nj_frame_kind)bytes[NJ_FRAME_AT_KIND];
    header.flags = bytes[NJ_FRAME_AT_FLAGS];
    header.stored_bytes = nj_load_u32le(bytes + NJ_FRAME_AT_STORED_BYTES);
    header.payload_bytes = nj_load_u32le(bytes + NJ_FRAME_AT_PAYLOAD_BYTES);
    header.session = nj_load_u32le(bytes + NJ_FRAME_AT_SESSION);
    header.epoch = nj_load_u32le(bytes + NJ_FRAME_AT_EPOCH);
    header.sequence = nj_load_u64le(bytes + NJ_FRAME_AT_SEQUENCE);
    header.checksum = nj_load_u64le(bytes + NJ_FRAME_AT_CHECKSUM);
    if (nj_entry_frame_fault(&header))
        return false;
    *ret_header = header;
    return true;
}

bool nj_entry_frame_whole(const uint8_t bytes[NJ_FRAME_HEADER_BYTES], struct nj_span stored,
                          uint64_t seed)
{
    return nj_load_u64le(bytes + NJ_FRAME_AT_CHECKSUM) == frame_checksum(bytes, stored, seed);
}

int nj_entry_frame_payload(const struct nj_frame_header *header, struct nj_span stored,
                           struct nj_buf *out, struct nj_error *err)
{
    size_t start = out->len;
    int r;

    if (!(header->flags & NJ_FRAME_FLAG_ZSTD))
        return nj_buf_append(out, stored.data, stored.len, err);
    r = nj_unsqueeze(out, stored, header->payload_bytes, err);
    if (r == -NJ_E_NOMEM)
        return r;
    if (r < 0) /* a checksummed frame that does not decode is damage, whichever way it fails */
        return nj_fail(err, NJ_E_CORRUPT, "the frame's payload does not decode");
    if (out->len - start != header->payload_bytes) {
        size_t got = out->len - start;

        out->len = start;
        return nj_fail(err, NJ_E_CORRUPT, "the frame's payload has %zu bytes, its header says %u",
                       got, (unsigned)header->payload_bytes);
    }
    return 0;
}

/* ---- commits ---- */

int nj_entry_commit_encode(const struct nj_commit *commit, struct nj_buf *out, struct nj_error *err)
{
    struct nj_packer packer;

    nj_packer_init(&packer, out);
    nj_pack_map(&packer, 4);
    nj_pack_put_uint(&packer, "b", commit->bytes);
    nj_pack_put_uint(&packer, "c", commit->number);
    nj_pack_put_uint(&packer, "f", commit->frames);
    nj_pack_put_uint(&packer, "x", commit->checksum);
    return nj_packer_end(&packer, err);
}

int nj_entry_commit_decode(struct nj_span payload, struct nj_commit *ret_commit,
                           struct nj_error *err)
{
    NJ_AUTO(nj_pack_done) struct nj_pack_doc doc = {0};
    struct nj_commit commit = {0};
    struct nj_pack_at root;
    int r;

    r = nj_pack_open(&doc, "commit", payload, err);
    if (r == 0)
        r = nj_pack_root(&doc, &root, err);
    if (r == 0)
        r = nj_pack_get_uint(&root, "b", NJ_SEGMENT_MAX_BYTES, &commit.bytes, err);
    if (r == 0)
        r = nj_pack_get_uint(&root, "c", UINT64_MAX - 1, &commit.number, err);
    if (r == 0)
        r = nj_pack_get_uint(&root, "f", NJ_SEGMENT_MAX_BYTES, &commit.frames, err);
    if (r == 0)
        r = nj_pack_get_uint(&root, "x", UINT64_MAX, &commit.checksum, err);
    if (r < 0)
        return r;
    *ret_commit = commit;
    return 0;
}
