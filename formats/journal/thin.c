/*
 * thin.c - a segment without its dead frames
 *
 * The frames that live are copied as they stand, in their order, into one batch of a new file that
 * takes the segment's name by a rename; so a session's frames keep their order in the journal, and
 * a crash leaves the one file or the other, each complete. The one complication is the count of
 * commits: the batch has the number of the last commit of those it stands for, and the header says
 * (by its feature bit) that one commit may stand for several.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include <xxhash.h>

#include "formats/base/fault.h"
#include "formats/base/fsio.h"
#include "formats/journal/inside.h"

#include "formats/base/banned.h"

#define TEMP_NAME_MAX_BYTES (NJ_SEGMENT_NAME_MAX_BYTES + 8) /* swept like all that begin so */

struct thinning {
    struct nj_journal *journal;
    const struct nj_journal_thin *thin;
    struct nj_buf bytes; /* of the new file */
    struct nj_buf moves;
    uint64_t frames;
};

static void thinning_done(struct thinning *thinning)
{
    nj_journal_free(thinning->journal);
    nj_buf_done(&thinning->bytes);
    nj_buf_done(&thinning->moves);
}
NJ_DEFINE_AUTO_VAL(struct thinning, thinning_done);

static void temp_name(uint32_t segment, char name[TEMP_NAME_MAX_BYTES])
{
    char own[NJ_SEGMENT_NAME_MAX_BYTES];

    nj_entry_segment_name(segment, own);
    (void)snprintf(name, TEMP_NAME_MAX_BYTES, ".tmp-%s", own);
}

/* The frames of the batch that the journal's reader has ready. */
static int take_batch(struct thinning *thinning, struct nj_error *err)
{
    struct nj_journal *journal = thinning->journal;

    while (journal->frame_offset < journal->commit_offset) {
        const uint8_t *bytes =
            journal->window.data + (journal->frame_offset - journal->window_offset);
        struct nj_frame_header header;
        struct nj_frame frame;
        size_t total;

        (void)nj_entry_frame_decode(bytes, &header); /* it was checked when the batch was loaded */
        total = nj_entry_frame_bytes(header.stored_bytes);
        frame = (struct nj_frame){.kind = header.kind,
                                  .session = header.session,
                                  .sequence = header.sequence,
                                  .place = {.segment = journal->segment.number,
                                            .bytes = NJ_FRAME_HEADER_BYTES + header.stored_bytes,
                                            .offset = journal->frame_offset}};
        if (thinning->thin->lives(thinning->thin->ctx, &frame)) {
            struct nj_journal_move move = {.from = journal->frame_offset,
                                           .to = thinning->bytes.len};

            if (nj_buf_append(&thinning->bytes, bytes, total, err) < 0 ||
                nj_buf_append(&thinning->moves, &move, sizeof(move), err) < 0)
                return -(int)err->code;
            thinning->frames++;
        }
        journal->frame_offset += total;
    }
    return 0;
}

/* is_followed - the next segment goes on with the commit behind the last one that was read. Its
 * header is written when this one is complete and durable; without it a batch may still be on its
 * way here, where it would be written into a file that has no name any more. */
static int is_followed(const struct nj_journal *journal, bool *ret_followed, struct nj_error *err)
{
    struct nj_segment_header next;
    nj_auto_close int fd = -1;
    int r = nj_journal_segment_look(journal, journal->segment.number + 1, &fd, &next, err);

    *ret_followed = r == NJ_HEADER_WHOLE && next.first_commit == journal->commit + 1;
    return r < 0 ? r : 0;
}

/* Everything that lives into thinning->bytes. A segment that does not end as a complete one ends is
 * left alone: there may be a torn tail or damage behind its last commit. */
static int take_segment(struct thinning *thinning, uint32_t segment, struct nj_error *err)
{
    struct nj_journal *journal = thinning->journal;
    struct nj_journal_tail tail;
    bool followed = false;
    int r;

    r = nj_journal_enter(journal, segment, err);
    if (r < 0)
        return r;
    while ((r = nj_journal_batch_load(journal, err)) == NJ_BATCH_WHOLE) {
        r = take_batch(thinning, err);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    r = nj_journal_tail_scan(journal->fd, journal->offset, journal->seed, journal->segment.epoch,
                             &tail, err);
    if (r == 0)
        r = is_followed(journal, &followed, err);
    if (r < 0)
        return r;
    if (tail.end > journal->offset || journal->offset == NJ_SEGMENT_HEADER_BYTES || !followed)
        return nj_journal_corrupt(err, segment, journal->offset, "the segment is not complete");
    return 0;
}

/* The commit behind the frames, and the header before them. */
static int end_batch(struct thinning *thinning, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    static const uint8_t zeros[NJ_COMMIT_FRAME_MAX_BYTES];
    const struct nj_journal *journal = thinning->journal;
    struct nj_buf *bytes = &thinning->bytes;
    struct nj_segment_header header = journal->segment;
    size_t start = bytes->len, covered = start - NJ_SEGMENT_HEADER_BYTES;
    struct nj_commit commit = {.bytes = covered,
                               .number = journal->commit,
                               .frames = thinning->frames,
                               .checksum = XXH3_64bits_withSeed(
                                   bytes->data + NJ_SEGMENT_HEADER_BYTES, covered, journal->seed)};
    struct nj_frame_header frame = {.kind = NJ_FRAME_COMMIT, .epoch = journal->segment.epoch};

    nj_buf_init(&payload, NJ_COMMIT_PAYLOAD_MAX_BYTES);
    if (nj_entry_commit_encode(&commit, &payload, err) < 0 ||
        nj_buf_append(bytes, zeros, nj_entry_frame_bytes((uint32_t)payload.len), err) < 0)
        return -(int)err->code;
    frame.stored_bytes = frame.payload_bytes = (uint32_t)payload.len;
    memcpy(bytes->data + start + NJ_FRAME_HEADER_BYTES, payload.data, payload.len);
    nj_entry_frame_encode(&frame, nj_buf_span(&payload), journal->seed, bytes->data + start);
    header.requires |= NJ_SEGMENT_THINNED;
    nj_entry_segment_encode(&header, bytes->data);
    return 0;
}

static int write_temp(const struct thinning *thinning, int dir_fd, uint32_t segment,
                      struct nj_error *err)
{
    char name[TEMP_NAME_MAX_BYTES];
    nj_auto_close int fd = -1;

    temp_name(segment, name);
    fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return nj_fail_errno(err, errno, "create %s", name);
    (void)nj_fault("journal.thinning"); /* to be killed at */
    if (nj_fsio_write(fd, thinning->bytes.data, thinning->bytes.len, err) < 0 ||
        nj_fsio_fdatasync(fd, err) < 0) {
        (void)unlinkat(dir_fd, name, 0); /* a leftover is swept by recovery */
        return nj_wrap(err, "%s", name);
    }
    return 0;
}

int nj_journal_thin(int dir_fd, uint32_t segment, const struct nj_journal_thin *thin,
                    struct nj_journal_thinned *ret_thinned, struct nj_error *err)
{
    NJ_AUTO(thinning_done) struct thinning thinning = {.thin = thin};
    static const uint8_t header_room[NJ_SEGMENT_HEADER_BYTES];
    struct nj_journal_thinned thinned;
    int r;

    nj_buf_init(&thinning.bytes, NJ_SEGMENT_MAX_BYTES);
    nj_buf_init(&thinning.moves, NJ_SEGMENT_MAX_BYTES);
    r = nj_journal_open(dir_fd, &thinning.journal, err);
    if (r == 0)
        r = nj_buf_append(&thinning.bytes, header_room, sizeof(header_room), err);
    if (r == 0)
        r = take_segment(&thinning, segment, err);
    if (r == 0)
        r = nj_journal_file_bytes(thinning.journal->fd, &thinned.bytes_before, err);
    if (r == 0)
        r = end_batch(&thinning, err);
    if (r < 0)
        return nj_wrap(err, "thin journal segment %06u", (unsigned)segment);
    thinned.bytes_after = thinning.bytes.len;
    thinned.n_moves = thinning.moves.len / sizeof(*thinned.moves);
    thinned.moves = NULL;
    if (thinned.bytes_after > thinned.bytes_before / 4 * 3) {
        *ret_thinned = thinned;
        return NJ_JOURNAL_THIN_KEPT;
    }
    r = write_temp(&thinning, dir_fd, segment, err);
    if (r < 0)
        return nj_wrap(err, "thin journal segment %06u", (unsigned)segment);
    thinned.moves = (struct nj_journal_move *)nj_buf_steal(&thinning.moves);
    *ret_thinned = thinned;
    return NJ_JOURNAL_THIN_READY;
}

int nj_journal_thin_swap(int dir_fd, uint32_t segment, struct nj_error *err)
{
    char own[NJ_SEGMENT_NAME_MAX_BYTES], temp[TEMP_NAME_MAX_BYTES];

    nj_entry_segment_name(segment, own);
    temp_name(segment, temp);
    (void)nj_fault("journal.before_swap");
    if (nj_fsio_rename(dir_fd, temp, dir_fd, own, err) < 0)
        return -(int)err->code;
    (void)nj_fault("journal.after_swap");
    return 0;
}

void nj_journal_thin_drop(int dir_fd, uint32_t segment)
{
    char temp[TEMP_NAME_MAX_BYTES];

    temp_name(segment, temp);
    (void)unlinkat(dir_fd, temp, 0); /* it may not be there yet */
}

uint32_t nj_journal_segment_bytes(int dir_fd, uint32_t segment)
{
    char name[NJ_SEGMENT_NAME_MAX_BYTES];
    struct stat st;

    nj_entry_segment_name(segment, name);
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_size > NJ_SEGMENT_MAX_BYTES)
        return 0;
    return (uint32_t)st.st_size;
}

static int by_from(const void *key, const void *element)
{
    uint64_t offset = *(const uint64_t *)key;
    const struct nj_journal_move *move = element;

    return offset < move->from ? -1 : offset > move->from;
}

bool nj_journal_thin_place(const struct nj_journal_move *moves, size_t n_moves, uint32_t segment,
                           struct nj_journal_place *place)
{
    const struct nj_journal_move *move;

    if (place->segment != segment)
        return true;
    move = bsearch(&place->offset, moves, n_moves, sizeof(*moves), by_from);
    if (!move)
        return false;
    place->offset = move->to;
    return true;
}
