/*
 * reader.c - the journal's reading side: whole batches or nothing
 *
 * The complication is the end. Behind the last commit lie zeros (the segment is preallocated), or
 * the remains of a batch whose write was cut off, or a batch that is being written at this moment,
 * or damage. Damage is what cannot come from a crash: the writer begins a batch only after the one
 * before it was synced, and a segment only after the one before it is complete. So whatever is
 * broken in front of a later commit or of a later segment's header was whole once, and is not a
 * torn tail.
 *
 * A live writer may finish a batch between two looks of ours. Whenever a look finds something
 * behind the place where we stopped, that place is read once more before anything is said about it.
 */
#include <xxhash.h>

#include "formats/journal/inside.h"

#include "formats/base/banned.h"

#define READ_CHUNK_BYTES NJ_JOURNAL_READ_CHUNK_BYTES
#define WINDOW_MAX_BYTES ((size_t)NJ_SEGMENT_MAX_BYTES + 2 * READ_CHUNK_BYTES)

int nj_journal_open(int dir_fd, struct nj_journal **ret_journal, struct nj_error *err)
{
    struct nj_journal *journal = calloc(1, sizeof(*journal));

    if (!journal)
        return nj_fail_nomem(err);
    journal->dir_fd = dir_fd;
    journal->fd = -1;
    for (size_t i = 0; i < NJ_JOURNAL_KEPT_FDS; i++)
        journal->kept[i].fd = -1;
    nj_buf_init(&journal->window, WINDOW_MAX_BYTES);
    nj_buf_init(&journal->payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    *ret_journal = journal;
    return 0;
}

void nj_journal_free(struct nj_journal *journal)
{
    if (!journal)
        return;
    if (journal->fd >= 0)
        (void)close(journal->fd); /* read only; so are the kept ones */
    for (size_t i = 0; i < NJ_JOURNAL_KEPT_FDS; i++) {
        if (journal->kept[i].fd >= 0)
            (void)close(journal->kept[i].fd);
    }
    for (size_t i = 0; i < journal->n_held; i++) {
        if (journal->held[i].segment != 0)
            (void)close(journal->held[i].fd);
    }
    free(journal->held);
    nj_buf_done(&journal->gathered);
    nj_buf_done(&journal->window);
    nj_buf_done(&journal->payload);
    free(journal);
}

bool nj_journal_is_thinned(const struct nj_journal *journal)
{
    return journal->thinned;
}

void nj_journal_rewind(struct nj_journal *journal)
{
    if (journal->fd >= 0)
        (void)close(journal->fd); /* read only */
    journal->fd = -1;
    journal->segment = (struct nj_segment_header){0};
    journal->limit = 0;
    journal->commit = 0;
    journal->offset = 0;
    journal->window_offset = 0;
    journal->frame_offset = 0;
    journal->commit_offset = 0;
    nj_buf_clear(&journal->window);
    nj_buf_clear(&journal->payload);
}

/* ---- the current segment ---- */

/* header_follows - may @header come after what was read so far? */
static int header_follows(const struct nj_journal *journal, const struct nj_segment_header *header,
                          struct nj_error *err)
{
    if (journal->fd >= 0 &&
        memcmp(header->run_id, journal->segment.run_id, NJ_JOURNAL_RUN_ID_BYTES) != 0)
        return nj_journal_corrupt(err, header->number, NJ_SEGMENT_AT_RUN_ID,
                                  "the segment belongs to another run");
    if (header->epoch < journal->segment.epoch)
        return nj_journal_corrupt(err, header->number, NJ_SEGMENT_AT_EPOCH,
                                  "its epoch is before that of an earlier segment");
    if (header->first_commit != journal->commit + 1)
        return nj_journal_corrupt(err, header->number, NJ_SEGMENT_AT_FIRST_COMMIT,
                                  "commits are missing before it");
    return 0;
}

static void segment_enter(struct nj_journal *journal, int *fd,
                          const struct nj_segment_header *header)
{
    if (journal->fd < 0)
        journal->seed = nj_entry_seed(header->run_id);
    else
        (void)close(journal->fd); /* read only */
    journal->fd = nj_steal_fd(fd);
    journal->segment = *header;
    journal->thinned |= (header->requires & NJ_SEGMENT_THINNED) != 0;
    journal->offset = NJ_SEGMENT_HEADER_BYTES;
    nj_buf_clear(&journal->window);
    journal->window_offset = journal->offset;
    if (journal->holds)
        nj_journal_hold_entered(journal);
}

int nj_journal_enter(struct nj_journal *journal, uint32_t segment, struct nj_error *err)
{
    struct nj_segment_header header;
    nj_auto_close int fd = -1;
    int r;

    nj_journal_rewind(journal);
    r = nj_journal_segment_look(journal, segment, &fd, &header, err);
    if (r < 0)
        return r;
    if (r != NJ_HEADER_WHOLE)
        return nj_journal_corrupt(err, segment, 0, "no such segment");
    segment_enter(journal, &fd, &header);
    journal->commit = header.first_commit - 1;
    return 0;
}

/* window_forget - read the next batch anew, whatever was read before */
static void window_forget(struct nj_journal *journal)
{
    nj_buf_clear(&journal->window);
    journal->window_offset = journal->offset;
}

/* window_shift - drop the bytes before the next batch */
static void window_shift(struct nj_journal *journal)
{
    struct nj_buf *window = &journal->window;
    uint64_t past = journal->offset - journal->window_offset;

    if (past >= window->len) {
        window_forget(journal);
    } else if (past > 0) {
        window->len -= (size_t)past;
        memmove(window->data, window->data + past, window->len);
        journal->window_offset = journal->offset;
    }
}

/* window_need - @len bytes at @offset, NULL when the file ends before; offset is at or behind the
 * window's */
static int window_need(struct nj_journal *journal, uint64_t offset, size_t len,
                       const uint8_t **ret_bytes, struct nj_error *err)
{
    struct nj_buf *window = &journal->window;

    *ret_bytes = NULL;
    if (offset + len > journal->segment.capacity)
        return 0;
    if (offset - journal->window_offset + len > window->len) {
        uint64_t at, size = 0;
        size_t want, got = 0;
        int r;

        window_shift(journal);
        at = journal->window_offset + window->len;
        want = (size_t)(offset + len - at);
        r = nj_journal_file_bytes(journal->fd, &size, err);
        if (r < 0)
            return r;
        if (offset + len > size)
            return 0;
        if (want < READ_CHUNK_BYTES)
            want = size - at < READ_CHUNK_BYTES ? (size_t)(size - at) : READ_CHUNK_BYTES;
        r = nj_buf_reserve(window, want, err);
        if (r < 0)
            return r;
        r = nj_journal_read_up_to(journal->fd, at, window->data + window->len, want, &got, err);
        if (r < 0)
            return r;
        window->len += got;
        if (offset + len > journal->window_offset + window->len)
            return 0; /* truncated meanwhile */
    }
    *ret_bytes = window->data + (offset - journal->window_offset);
    return 0;
}

/* commit_check - does the commit at @offset fit what precedes it? returns an enum
 * nj_journal_batch_state */
static int commit_check(struct nj_journal *journal, uint64_t offset, struct nj_span payload,
                        uint64_t frames, struct nj_error *err)
{
    struct nj_commit commit;
    const uint8_t *bytes;
    uint64_t len = offset - journal->offset;
    bool thinned;
    int r;

    r = nj_entry_commit_decode(payload, &commit, err);
    if (r < 0)
        return nj_wrap(err, "journal segment %06u, offset %llu", (unsigned)journal->segment.number,
                       (unsigned long long)offset);
    thinned = (journal->segment.requires & NJ_SEGMENT_THINNED) != 0;
    if (thinned ? commit.number <= journal->commit || journal->offset != NJ_SEGMENT_HEADER_BYTES
                : commit.number != journal->commit + 1)
        return nj_journal_corrupt(err, journal->segment.number, offset,
                                  "the commit's number is out of order");
    if (commit.bytes != len || commit.frames != frames || (frames == 0 && !thinned))
        return nj_journal_corrupt(err, journal->segment.number, offset,
                                  "the commit covers other frames");
    bytes = journal->window.data + (journal->offset - journal->window_offset);
    if (commit.checksum != XXH3_64bits_withSeed(bytes, (size_t)len, journal->seed))
        return NJ_BATCH_BROKEN;
    journal->commit = commit.number;
    return NJ_BATCH_WHOLE;
}

int nj_journal_batch_load(struct nj_journal *journal, struct nj_error *err)
{
    uint64_t offset = journal->offset;
    uint64_t frames = 0;

    for (;;) {
        struct nj_frame_header header;
        const uint8_t *bytes;
        struct nj_span stored;
        size_t total;
        int r;

        r = window_need(journal, offset, NJ_FRAME_HEADER_BYTES, &bytes, err);
        if (r < 0)
            return r;
        if (!bytes || !nj_entry_frame_decode(bytes, &header) ||
            header.epoch != journal->segment.epoch)
            return NJ_BATCH_BROKEN;
        total = nj_entry_frame_bytes(header.stored_bytes);
        r = window_need(journal, offset, total, &bytes, err);
        if (r < 0)
            return r;
        if (!bytes)
            return NJ_BATCH_BROKEN;
        stored = (struct nj_span){bytes + NJ_FRAME_HEADER_BYTES, header.stored_bytes};
        if (!nj_entry_frame_whole(bytes, stored, journal->seed) ||
            !nj_journal_all_zero(stored.data + stored.len,
                                 total - NJ_FRAME_HEADER_BYTES - stored.len))
            return NJ_BATCH_BROKEN;
        if (header.kind == NJ_FRAME_COMMIT) {
            r = commit_check(journal, offset, stored, frames, err);
            if (r != NJ_BATCH_WHOLE)
                return r;
            journal->frame_offset = journal->offset;
            journal->commit_offset = offset;
            journal->offset = offset + total;
            return NJ_BATCH_WHOLE;
        }
        frames++;
        offset += total;
    }
}

/* trailing_check - behind the end no segment may have a header or a commit. Returns 0 (nothing
 * there), 1 (bytes that are part of nothing), or 2: the next segment has come into use meanwhile,
 * look again. */
static int trailing_check(const struct nj_journal *journal, uint32_t after, struct nj_error *err)
{
    struct nj_segment_header header;
    uint32_t last = 0;
    int torn = 0;
    int r;

    r = nj_journal_last_segment(journal, &last, err);
    if (r < 0)
        return r;
    for (uint32_t number = after + 1; number <= last; number++) {
        nj_auto_close int fd = -1;
        struct nj_journal_tail tail;

        r = nj_journal_segment_look(journal, number, &fd, &header, err);
        if (r < 0)
            return r;
        if (r == NJ_HEADER_NONE) {
            r = nj_journal_tail_scan(fd, 0, journal->seed, journal->segment.epoch, &tail, err);
            if (r < 0)
                return r;
            if (tail.end > 0)
                torn = 1;
            continue;
        }
        if (r == NJ_HEADER_WHOLE && number == after + 1)
            return 2;
        /* Absent below the last, or in use behind one that is not: unless the writer is at work. */
        if (r == NJ_HEADER_WHOLE) {
            nj_auto_close int next_fd = -1;

            r = nj_journal_segment_look(journal, after + 1, &next_fd, &header, err);
            if (r < 0)
                return r;
            return r == NJ_HEADER_WHOLE
                       ? 2
                       : nj_journal_corrupt(err, after + 1, 0, "the segment is missing or empty");
        }
    }
    return torn;
}

/* behind_batch - journal->offset holds no whole batch: is this the end, a torn tail, or damage?
 * Returns an enum nj_journal_outcome; NJ_JOURNAL_FRAME means look again. */
static int behind_batch(struct nj_journal *journal, bool next_in_use, struct nj_error *err)
{
    struct nj_journal_tail tail;
    bool torn, closed;
    int r;

    r = nj_journal_tail_scan(journal->fd, journal->offset, journal->seed, journal->segment.epoch,
                             &tail, err);
    if (r < 0)
        return r;
    torn = tail.end > journal->offset;
    if (torn) {
        window_forget(journal);
        r = nj_journal_batch_load(journal, err);
        if (r != NJ_BATCH_BROKEN)
            return r < 0 ? r : NJ_JOURNAL_FRAME;
        /* A batch's own commit may have reached the disk before its frames, unless the segment was
         * closed behind it. */
        closed = tail.commit && tail.commit_end == tail.file_bytes &&
                 tail.file_bytes < journal->segment.capacity;
        if (next_in_use || closed || (tail.commit && tail.commit_start != journal->offset))
            return nj_journal_corrupt(
                err, journal->segment.number, journal->offset,
                "a frame is damaged that was whole once: commits lie behind it");
    }
    if (next_in_use)
        return NJ_JOURNAL_END; /* of the segment */
    r = trailing_check(journal, journal->segment.number, err);
    if (r < 0)
        return r;
    if (r == 2)
        return NJ_JOURNAL_FRAME;
    return torn || r == 1 ? NJ_JOURNAL_TORN : NJ_JOURNAL_END;
}

/* before_first - enter segment 1; returns an enum nj_journal_outcome, NJ_JOURNAL_FRAME when entered
 */
static int before_first(struct nj_journal *journal, struct nj_error *err)
{
    struct nj_segment_header header;
    nj_auto_close int fd = -1;
    int r;

    r = nj_journal_segment_look(journal, 1, &fd, &header, err);
    if (r < 0)
        return r;
    if (r == NJ_HEADER_WHOLE) {
        r = header_follows(journal, &header, err);
        if (r < 0)
            return r;
        segment_enter(journal, &fd, &header);
        return NJ_JOURNAL_FRAME;
    }
    r = trailing_check(journal, 0, err);
    if (r < 0)
        return r;
    if (r == 2)
        return NJ_JOURNAL_FRAME;
    return r == 1 ? NJ_JOURNAL_TORN : NJ_JOURNAL_END;
}

int nj_journal_batch_next(struct nj_journal *journal, struct nj_error *err)
{
    for (;;) {
        struct nj_segment_header header;
        nj_auto_close int next_fd = -1;
        bool next_in_use;
        int r;

        if (journal->fd < 0) {
            r = before_first(journal, err);
            if (r != NJ_JOURNAL_FRAME)
                return r;
            continue;
        }
        r = nj_journal_batch_load(journal, err);
        if (r <= NJ_BATCH_WHOLE)
            return r < 0 ? r : NJ_JOURNAL_FRAME;

        /* The next header first, then the batch again: a header is written behind a complete
         * segment. */
        r = nj_journal_segment_look(journal, journal->segment.number + 1, &next_fd, &header, err);
        if (r < 0)
            return r;
        next_in_use = r == NJ_HEADER_WHOLE;
        window_forget(journal);
        r = nj_journal_batch_load(journal, err);
        if (r <= NJ_BATCH_WHOLE)
            return r < 0 ? r : NJ_JOURNAL_FRAME;
        r = behind_batch(journal, next_in_use, err);
        if (r < 0)
            return r;
        if (journal->frame_offset < journal->commit_offset)
            return NJ_JOURNAL_FRAME;
        if (r == NJ_JOURNAL_FRAME)
            continue;
        if (!next_in_use)
            return r;
        r = header_follows(journal, &header, err);
        if (r < 0)
            return r;
        segment_enter(journal, &next_fd, &header);
    }
}

/* ---- delivering ---- */

int nj_journal_next(struct nj_journal *journal, struct nj_frame *ret_frame, struct nj_error *err)
{
    struct nj_frame_header header;
    const uint8_t *bytes;
    struct nj_span stored;
    int r;

    if (journal->salvage)
        return nj_journal_salvage_next(journal, ret_frame, err);
    while (journal->frame_offset == journal->commit_offset) { /* a thinned one may be empty */
        r = nj_journal_batch_next(journal, err);
        if (r != NJ_JOURNAL_FRAME)
            return r;
    }
    /* nj_journal_batch_load() has checked these bytes, and they have not left the window since. */
    bytes = journal->window.data + (journal->frame_offset - journal->window_offset);
    (void)nj_entry_frame_decode(bytes, &header);
    stored = (struct nj_span){bytes + NJ_FRAME_HEADER_BYTES, header.stored_bytes};
    *ret_frame = (struct nj_frame){.kind = header.kind,
                                   .session = header.session,
                                   .sequence = header.sequence,
                                   .payload = stored,
                                   .place = {.segment = journal->segment.number,
                                             .bytes = NJ_FRAME_HEADER_BYTES + header.stored_bytes,
                                             .offset = journal->frame_offset}};
    if (header.flags & NJ_FRAME_FLAG_ZSTD) {
        nj_buf_clear(&journal->payload);
        r = nj_entry_frame_payload(&header, stored, &journal->payload, err);
        if (r < 0)
            return nj_wrap(err, "journal segment %06u, offset %llu",
                           (unsigned)journal->segment.number,
                           (unsigned long long)journal->frame_offset);
        ret_frame->payload = nj_buf_span(&journal->payload);
    }
    journal->frame_offset += nj_entry_frame_bytes(header.stored_bytes);
    return NJ_JOURNAL_FRAME;
}
