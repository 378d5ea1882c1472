/*
 * pieces.c - what is intact in a damaged bundle
 *
 * Where the tar's headers are whole they say where members lie. Where one is not, its member is
 * taken to lie between the last whole header and the next one that can be found. Within a stream a
 * zstd frame that does not decode is passed over: by the length that its blocks tell, else by
 * looking for the next one that does. Whatever is taken proves itself all the same: a zstd frame by
 * its checksum, an object by its digest.
 *
 * The one complication is effort: a hostile file can be full of what looks like headers and frames.
 * Blocks are looked at once, and frames that begin well and end badly are counted.
 */
#include <inttypes.h>
#include <stdarg.h>

#include <zstd.h>

#include "formats/base/bytes.h"
#include "formats/base/fsio.h"
#include "formats/base/squeeze.h"
#include "formats/bundle/load.h"

#include "formats/base/banned.h"

#define SCAN_CHUNK_BYTES ((size_t)64 << 10)
#define BAD_FRAMES_MAX 256u /* of one stream, until the rest of it is given up */
#define TAR_AT_SIZE 124
#define TAR_AT_CHECKSUM 148
#define TAR_AT_TYPE 156
#define TAR_AT_MAGIC 257

/* Where a member's content lies. */
struct piece {
    enum nj_bundle_member member;
    uint64_t start;
    uint64_t end;
};

struct pieces {
    struct nj_bundle_load load; /* bundle, file and buffers; libarchive has no part in it */
    struct piece items[NJ_BUNDLE_MEMBERS_COUNT];
    size_t count;
    bool known; /* at least one header is a bundle's */
};

static void pieces_done(struct pieces *pieces)
{
    nj_bundle_load_done(&pieces->load);
}
NJ_DEFINE_AUTO_VAL(struct pieces, pieces_done);

/* damage - take down one place; those beyond the room for them are in the last one's company */
static int NJ_PRINTF(3, 4)
    damage(struct nj_bundle *bundle, struct nj_error *err, const char *fmt, ...)
{
    nj_auto_free char *text = NULL;
    va_list args;
    int n;

    if (bundle->n_damages == NJ_BUNDLE_DAMAGES_MAX)
        return 0;
    va_start(args, fmt);
    n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0) {
        text = NULL;
        return nj_fail_nomem(err);
    }
    bundle->damages[bundle->n_damages] = nj_arena_text(&bundle->arena, text);
    if (!bundle->damages[bundle->n_damages])
        return nj_fail_nomem(err);
    bundle->n_damages++;
    return 0;
}

/* ---- where the members are ---- */

/* octal - a number field of a tar header; UINT64_MAX when it is none */
static uint64_t octal(const uint8_t *field, size_t len)
{
    uint64_t value = 0;
    size_t i = 0;

    while (i < len && field[i] == ' ')
        i++;
    for (; i < len && field[i] >= '0' && field[i] <= '7'; i++)
        value = value << 3 | (uint64_t)(field[i] - '0');
    return i > 0 && (i == len || field[i] == 0 || field[i] == ' ') ? value : UINT64_MAX;
}

static bool checksum_fits(const uint8_t block[NJ_TAR_BLOCK_BYTES])
{
    uint64_t sum = 0;

    for (size_t i = 0; i < NJ_TAR_BLOCK_BYTES; i++)
        sum += i >= TAR_AT_CHECKSUM && i < TAR_AT_TYPE ? ' ' : block[i];
    return octal(block + TAR_AT_CHECKSUM, 8) == sum;
}

/* header_at - is @block the whole header of a member of ours? */
static bool header_at(const uint8_t block[NJ_TAR_BLOCK_BYTES], enum nj_bundle_member *ret_member,
                      uint64_t *ret_bytes)
{
    if (memcmp(block + TAR_AT_MAGIC, "ustar", 5) != 0 || block[TAR_AT_TYPE] != '0' ||
        !checksum_fits(block))
        return false;
    *ret_bytes = octal(block + TAR_AT_SIZE, 12);
    for (int member = 0; member < NJ_BUNDLE_MEMBERS_COUNT; member++) {
        const char *name = nj_bundle_member_name((enum nj_bundle_member)member);

        if (memcmp(block, name, strlen(name) + 1) == 0) {
            *ret_member = (enum nj_bundle_member)member;
            return *ret_bytes <= NJ_BUNDLE_STREAM_MAX_BYTES;
        }
    }
    return false;
}

/* header_find - the next whole header from *at on, of @from or a later member; false: none */
static int header_find(const struct pieces *pieces, enum nj_bundle_member from, uint64_t *at,
                       enum nj_bundle_member *ret_member, uint64_t *ret_bytes, struct nj_error *err)
{
    nj_auto_free uint8_t *chunk = malloc(SCAN_CHUNK_BYTES);
    uint64_t end = pieces->load.fd_bytes / NJ_TAR_BLOCK_BYTES * NJ_TAR_BLOCK_BYTES;

    if (!chunk)
        return nj_fail_nomem(err);
    while (*at < end) {
        size_t len = end - *at < SCAN_CHUNK_BYTES ? (size_t)(end - *at) : SCAN_CHUNK_BYTES;
        int r = nj_fsio_pread(pieces->load.fd, chunk, len, *at, err);

        if (r < 0)
            return r;
        for (size_t i = 0; i < len; i += NJ_TAR_BLOCK_BYTES, *at += NJ_TAR_BLOCK_BYTES)
            if (header_at(chunk + i, ret_member, ret_bytes) && *ret_member >= from)
                return 1;
    }
    return 0;
}

static void piece_add(struct pieces *pieces, enum nj_bundle_member member, uint64_t start,
                      uint64_t end)
{
    if (end > pieces->load.fd_bytes)
        end = pieces->load.fd_bytes;
    if (start < end || member == NJ_BUNDLE_MANIFEST)
        pieces->items[pieces->count++] = (struct piece){member, start < end ? start : end, end};
}

static int locate(struct pieces *pieces, struct nj_error *err)
{
    struct nj_bundle *bundle = pieces->load.bundle;
    uint64_t at = 0;

    for (int expected = NJ_BUNDLE_INFO; expected < NJ_BUNDLE_MEMBERS_COUNT;) {
        enum nj_bundle_member member = NJ_BUNDLE_SIGNATURE;
        uint64_t found = at, bytes = 0;
        int r;

        r = header_find(pieces, (enum nj_bundle_member)expected, &found, &member, &bytes, err);
        if (r < 0)
            return r;
        if (found > at || r == 0) {
            bool end = expected > NJ_BUNDLE_SUMS && r == 0;

            if (!end && (r == 0 || (int)member > expected))
                piece_add(pieces, (enum nj_bundle_member)expected, at + NJ_TAR_BLOCK_BYTES, found);
            if (!end &&
                damage(bundle, err, "%s: its header, at byte %" PRIu64 " of the file, is %s",
                       nj_bundle_member_name((enum nj_bundle_member)expected), at,
                       at >= pieces->load.fd_bytes ? "missing" : "damaged") < 0)
                return -(int)err->code;
        }
        if (r == 0)
            return 0;
        pieces->known = true;
        piece_add(pieces, member, found + NJ_TAR_BLOCK_BYTES, found + NJ_TAR_BLOCK_BYTES + bytes);
        if (found + NJ_TAR_BLOCK_BYTES + bytes > pieces->load.fd_bytes &&
            damage(bundle, err, "%s: the file ends within it", nj_bundle_member_name(member)) < 0)
            return -(int)err->code;
        bytes = (bytes + NJ_TAR_BLOCK_BYTES - 1) / NJ_TAR_BLOCK_BYTES * NJ_TAR_BLOCK_BYTES;
        at = found + NJ_TAR_BLOCK_BYTES + bytes;
        expected = (int)member + 1;
    }
    return 0;
}

static const struct piece *piece_of(const struct pieces *pieces, enum nj_bundle_member member)
{
    for (size_t i = 0; i < pieces->count; i++)
        if (pieces->items[i].member == member)
            return &pieces->items[i];
    return NULL;
}

/* ---- streams ---- */

struct cursor {
    struct pieces *pieces;
    const struct piece *piece;
    uint64_t at; /* of the first byte of load.squeezed, in the file */
    unsigned bad_frames;
};

/* window - load.squeezed begins at @at of the file, with as much as a zstd frame can have */
static int window(struct cursor *cursor, uint64_t at, struct nj_error *err)
{
    struct nj_buf *squeezed = &cursor->pieces->load.squeezed;
    uint64_t past = at - cursor->at, next;
    size_t want;
    int r;

    if (past < squeezed->len) {
        memmove(squeezed->data, squeezed->data + past, squeezed->len - past);
        squeezed->len -= past;
    } else {
        nj_buf_clear(squeezed);
    }
    cursor->at = at;
    next = at + squeezed->len;
    want = NJ_BUNDLE_SQUEEZED_MAX_BYTES - squeezed->len;
    if (cursor->piece->end - next < want)
        want = (size_t)(cursor->piece->end - next);
    r = nj_buf_reserve(squeezed, want, err);
    if (r == 0)
        r = nj_fsio_pread(cursor->pieces->load.fd, squeezed->data + squeezed->len, want, next, err);
    if (r == 0)
        squeezed->len += want;
    return r;
}

/* window_rest - the stream from @at on: the next zstd frame, or as much as one can have. Frames can
 * be many and tiny, so the window moves only where the next one is not all in it. */
static int window_rest(struct cursor *cursor, uint64_t at, struct nj_span *ret_rest,
                       struct nj_error *err)
{
    const struct nj_buf *squeezed = &cursor->pieces->load.squeezed;
    uint64_t past = at - cursor->at;
    struct nj_error ignored = {0};
    size_t len = 0;
    int r;

    if (past < squeezed->len) {
        *ret_rest = (struct nj_span){squeezed->data + past, squeezed->len - past};
        if (nj_bundle_squeezed_frame(*ret_rest, &len, &ignored) == 0 && len > 0)
            return 0;
    }
    r = window(cursor, at, err);
    *ret_rest = nj_buf_span(squeezed);
    return r;
}

static bool all_zero(struct nj_span span)
{
    return span.len == 0 ||
           (span.data[0] == 0 && memcmp(span.data, span.data + 1, span.len - 1) == 0);
}

/* frame_try - the zstd frame at the head of @rest: decode it into load.block. Returns 0, or 1 with
 * the reason in @why. */
static int frame_try(struct pieces *pieces, struct nj_span rest, size_t *ret_len,
                     struct nj_error *why)
{
    *ret_len = 0;
    if (nj_bundle_squeezed_frame(rest, ret_len, why) < 0)
        return 1;
    if (*ret_len == 0) {
        (void)nj_fail(why, NJ_E_CORRUPT, "a zstd frame is damaged or cut off");
        return 1;
    }
    nj_buf_clear(&pieces->load.block);
    return nj_unsqueeze(&pieces->load.block, (struct nj_span){rest.data, *ret_len},
                        NJ_BUNDLE_RECORD_MAX_BYTES, why) < 0
               ? 1
               : 0;
}

/* frame_skip - how far behind the head of @rest the next frame that decodes may begin; rest.len
 * when there is none in it */
static size_t frame_skip(struct cursor *cursor, struct nj_span rest, size_t len)
{
    struct nj_error ignored = {0};
    size_t unused;

    if (len > 0 && len < rest.len && rest.len - len >= 4 &&
        nj_load_u32le(rest.data + len) == ZSTD_MAGICNUMBER)
        return len;
    for (size_t at = 1; at + 4 <= rest.len; at++) {
        struct nj_span behind = {rest.data + at, rest.len - at};

        if (nj_load_u32le(behind.data) != ZSTD_MAGICNUMBER)
            continue;
        if (frame_try(cursor->pieces, behind, &unused, &ignored) == 0)
            return at;
        if (++cursor->bad_frames > BAD_FRAMES_MAX)
            return rest.len;
    }
    return rest.len;
}

/* bad_frame - what of the frame at @at proves itself is taken; *ret_skip is where to go on */
static int bad_frame(struct cursor *cursor, uint64_t at, size_t len, const char *why,
                     size_t *ret_skip, struct nj_error *err)
{
    struct nj_bundle_load *load = &cursor->pieces->load;
    enum nj_bundle_member member = cursor->piece->member;
    struct nj_span rest;
    size_t skip;
    bool cut;
    int r;

    r = window(cursor, at, err);
    if (r < 0)
        return r;
    rest = nj_buf_span(&load->squeezed);
    skip = frame_skip(cursor, rest, len);
    cut = len == 0 && skip == rest.len && at + rest.len == load->fd_bytes;
    nj_bundle_block_partly(load, rest);
    r = nj_bundle_block_take(load, member, cut ? NJ_BUNDLE_TRUST_CUT : NJ_BUNDLE_TRUST_DIGESTS,
                             err);
    if (r < 0)
        return r;
    cursor->bad_frames++;
    *ret_skip = skip;
    return damage(load->bundle, err, "%s: at byte %" PRIu64 " of the file, for %zu bytes: %s",
                  nj_bundle_member_name(member), at, skip, why);
}

/* host_failed - an error that is not the file's fault ends the reading */
static bool host_failed(int r)
{
    return r == -NJ_E_NOMEM || r == -NJ_E_SYSTEM;
}

static int stream_pieces(struct pieces *pieces, const struct piece *piece, struct nj_error *err)
{
    struct cursor cursor = {.pieces = pieces, .piece = piece, .at = piece->start};
    struct nj_bundle_load *load = &pieces->load;

    nj_buf_clear(&load->squeezed);
    for (uint64_t at = piece->start; at < piece->end && cursor.bad_frames <= BAD_FRAMES_MAX;) {
        struct nj_error why = {0};
        struct nj_span rest;
        size_t len = 0, skip;
        int r;

        r = window_rest(&cursor, at, &rest, err);
        if (r < 0)
            return r;
        if (all_zero(rest) || rest.len <= NJ_BUNDLE_EMPTY_STREAM_MAX_BYTES)
            return 0; /* filling, or a stream of nothing */
        r = frame_try(pieces, rest, &len, &why);
        if (r == 0) {
            skip = len;
            r = nj_bundle_block_take(load, piece->member, NJ_BUNDLE_TRUST_WHOLE, &why);
            if (host_failed(r)) {
                *err = why;
                return r;
            }
            if (r < 0 && damage(load->bundle, err, "%s: %s", nj_bundle_member_name(piece->member),
                                why.text) < 0)
                return -(int)err->code;
        } else {
            r = bad_frame(&cursor, at, len, why.text, &skip, err);
            if (r < 0)
                return r;
        }
        at += skip;
    }
    return 0;
}

/* ---- nightjar.json, job.yaml, SHA256SUMS ---- */

static int read_piece(const struct pieces *pieces, const struct piece *piece, uint64_t max_bytes,
                      struct nj_buf *out, struct nj_error *err)
{
    uint64_t len = piece->end - piece->start;
    int r;

    nj_buf_clear(out);
    if (len > max_bytes)
        len = max_bytes;
    r = nj_buf_reserve(out, (size_t)len, err);
    if (r == 0 && len > 0)
        r = nj_fsio_pread(pieces->load.fd, out->data, (size_t)len, piece->start, err);
    if (r == 0)
        out->len = (size_t)len;
    if (out->data)
        out->data[out->len] = '\0';
    return r;
}

/* info_from_frames - what the first and the last event tell of what nightjar.json told */
static int info_from_frames(struct nj_bundle *bundle, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_bundle_info *info = &bundle->info;
    struct nj_error ignored = {0};
    struct nj_event event;

    *info = (struct nj_bundle_info){.job = "",
                                    .run = "",
                                    .key = "",
                                    .group = "",
                                    .agent = "",
                                    .status = NJ_STATUS_SUSPENDED,
                                    .reproducible = "D0",
                                    .environment = "{}"};
    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    for (size_t i = 0; i < bundle->journal.count; i++) {
        const struct nj_bundle_place *place = &bundle->journal.items[i];
        int r;

        if (place->kind != NJ_FRAME_EVENT || (i > 0 && i + 1 < bundle->journal.count))
            continue;
        nj_buf_clear(&payload);
        r = nj_bundle_payload(bundle, place, &payload, err);
        if (r < 0)
            return r;
        if (nj_event_decode(nj_buf_span(&payload), &event, &ignored) < 0)
            continue;
        if (event.kind == NJ_EVENT_OPENED && place->sequence == 1) {
            info->key = nj_arena_span(&bundle->arena, event.opened.key);
            info->group = nj_arena_span(&bundle->arena, event.opened.group);
            info->agent = nj_arena_span(&bundle->arena, event.opened.agent);
            if (!info->key || !info->group || !info->agent)
                return nj_fail_nomem(err);
            info->identity = event.opened.identity;
        } else if (event.kind == NJ_EVENT_CLOSED) {
            info->status = event.closed.status;
        }
    }
    return 0;
}

/* frames_known - the highest sequence that is there */
static uint64_t frames_known(const struct nj_bundle *bundle)
{
    const struct nj_bundle_places *journal = &bundle->journal, *snapshots = &bundle->snapshots;
    uint64_t last = journal->count > 0 ? journal->items[journal->count - 1].sequence : 0;

    if (snapshots->count > 0 && snapshots->items[snapshots->count - 1].sequence > last)
        last = snapshots->items[snapshots->count - 1].sequence;
    return last;
}

/* info_piece - returns 1 when nightjar.json cannot be read */
static int info_piece(struct pieces *pieces, struct nj_error *err)
{
    const struct piece *piece = piece_of(pieces, NJ_BUNDLE_INFO);
    struct nj_bundle *bundle = pieces->load.bundle;
    struct nj_error why = {0};
    int r;

    if (!piece)
        return 1;
    r = read_piece(pieces, piece, NJ_BUNDLE_INFO_MAX_BYTES, &pieces->load.text, err);
    if (r < 0)
        return r;
    while (pieces->load.text.len > 0 && pieces->load.text.data[pieces->load.text.len - 1] == '\0')
        pieces->load.text.len--; /* filling, where the header is damaged */
    r = nj_bundle_info_decode(bundle, nj_buf_span(&pieces->load.text), &why);
    if (r == 0)
        return 0;
    if (host_failed(r)) {
        *err = why;
        return r;
    }
    r = damage(bundle, err, "%s: %s", nj_bundle_member_name(NJ_BUNDLE_INFO), why.text);
    return r < 0 ? r : 1;
}

/* sums_tell - hold nightjar.json and job.yaml, which have no other checksum, against SHA256SUMS */
static int sums_tell(struct pieces *pieces, struct nj_error *err)
{
    static const enum nj_bundle_member members[] = {NJ_BUNDLE_INFO, NJ_BUNDLE_MANIFEST};
    const struct piece *sums = piece_of(pieces, NJ_BUNDLE_SUMS);
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    int r;

    if (!sums)
        return 0;
    nj_buf_init(&text, NJ_BUNDLE_SUMS_MAX_BYTES);
    r = read_piece(pieces, sums, NJ_BUNDLE_SUMS_MAX_BYTES, &text, err);
    for (size_t i = 0; r == 0 && i < sizeof(members) / sizeof(members[0]); i++) {
        const struct piece *piece = piece_of(pieces, members[i]);
        const char *name = nj_bundle_member_name(members[i]);
        char line[NJ_DIGEST_HEX_CHARS + 32], hex[NJ_DIGEST_HEX_CHARS + 1];
        NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
        struct nj_digest digest;

        if (!piece)
            continue;
        nj_buf_init(&bytes, NJ_BUNDLE_MANIFEST_MAX_BYTES);
        r = read_piece(pieces, piece, NJ_BUNDLE_MANIFEST_MAX_BYTES, &bytes, err);
        if (r < 0)
            return r;
        nj_digest_bytes(bytes.data, bytes.len, &digest);
        nj_digest_hex(&digest, hex);
        (void)snprintf(line, sizeof(line), "%s  %s\n", hex, name);
        if (!text.data || !strstr((const char *)text.data, line))
            r = damage(pieces->load.bundle, err, "%s: it or its line in SHA256SUMS is damaged",
                       name);
    }
    return r;
}

int nj_bundle_pieces(struct nj_bundle *bundle, int fd, struct nj_error *err)
{
    NJ_AUTO(pieces_done) struct pieces pieces = {.load = {.bundle = bundle, .fd = fd}};
    const struct piece *piece;
    bool info_lost;
    int r;

    r = nj_bundle_load_open(&pieces.load, err);
    if (r == -NJ_E_INPUT) /* libarchive sees no tar; headers may be there all the same */
        *err = (struct nj_error){0};
    else if (r < 0)
        return r;
    r = locate(&pieces, err);
    if (r < 0)
        return r;
    if (!pieces.known)
        return 1;
    r = info_piece(&pieces, err);
    if (r < 0)
        return r;
    info_lost = r == 1;
    piece = piece_of(&pieces, NJ_BUNDLE_MANIFEST);
    if (piece) {
        r = read_piece(&pieces, piece, NJ_BUNDLE_MANIFEST_MAX_BYTES, &bundle->manifest, err);
        if (r < 0)
            return r;
    }
    for (int member = NJ_BUNDLE_JOURNAL; member <= NJ_BUNDLE_INPUTS; member++) {
        piece = piece_of(&pieces, (enum nj_bundle_member)member);
        if (!piece)
            continue;
        r = stream_pieces(&pieces, piece, err);
        if (r < 0)
            return r;
    }
    if (info_lost) {
        r = info_from_frames(bundle, err);
        if (r < 0)
            return r;
        bundle->info.frames = frames_known(bundle);
        bundle->info.inputs_embedded = piece_of(&pieces, NJ_BUNDLE_INPUTS) != NULL;
    }
    return sums_tell(&pieces, err);
}
