/*
 * journal.h - what happened, in order, append-only: one log per run, all sessions interleaved
 *
 * A journal is a folder of segments (000001.njj ...), each with a header, then frames, each with a
 * header and a payload. Frames are appended to a batch in memory; a batch ends in a COMMIT frame
 * with a checksum over the whole batch, and is made durable by one write and one fdatasync for
 * every session that waits. A reader delivers only frames that a whole commit covers: a batch is
 * there or it is not. Each opening of a run has an epoch; a segment and all its frames carry it, so
 * stale frames in reused space never pass. Commits are numbered over the whole run without gaps, so
 * none can go missing unseen.
 *
 * Writing: nj_journal_writer_open() -> nj_journal_append()... -> nj_journal_seal() ->
 * nj_journal_batch_write() (any one thread at a time, in the order sealed) ->
 * nj_journal_batch_done(). nj_journal_commit() does the last three at once. After a failed batch
 * write the writer refuses everything: stop, and read again. Reading: nj_journal_open() ->
 * nj_journal_next()... ; beside a live writer it ends at the last commit. Going on:
 * nj_journal_recover() truncates the torn tail, then a writer opens the next epoch. Source:
 * formats/journal/FORMAT.md.
 */
#ifndef NJ_JOURNAL_H
#define NJ_JOURNAL_H

#include "formats/journal/event.h"

#define NJ_FRAME_PAYLOAD_MAX_BYTES (17u << 20) /* an object of 16 MiB and its keys */
#define NJ_JOURNAL_SEGMENT_BYTES (24u << 20)   /* preallocated; a frame never spans two */
#define NJ_JOURNAL_RUN_ID_BYTES 16
#define NJ_JOURNAL_SESSION_RUN 0 /* frames of the run itself; sessions count from 1 */

#define NJ_FRAME_KINDS(X)                                                                          \
    X(RUN, 1, "run")           /* once an epoch: which run, which build */                         \
    X(EVENT, 2, "event")       /* event.h */                                                       \
    X(OBJECT, 3, "object")     /* object.h, encoded */                                             \
    X(SNAPSHOT, 4, "snapshot") /* snapshot.h, packed */                                            \
    X(OUTPUT, 5, "output")     /* a piece of a running call's output */                            \
    X(ARCHIVED, 6, "archived") /* the session's bundle is published: its frames are dead */        \
    X(COMMIT, 7, "commit")     /* ends a batch; never delivered */                                 \
    X(REOPENED, 8, "reopened") /* archived, but not ended: another attempt follows */

enum nj_frame_kind {
#define X(name, value, text) NJ_FRAME_##name = value,
    NJ_FRAME_KINDS(X)
#undef X
};

const char *nj_frame_kind_text(enum nj_frame_kind kind);

/* Where a frame lies: stable for the life of the run directory. */
struct nj_journal_place {
    uint32_t segment;
    uint32_t bytes; /* header and stored payload */
    uint64_t offset;
};

struct nj_frame {
    enum nj_frame_kind kind;
    uint32_t session;
    uint64_t sequence; /* per attempt of a session from 1 without gaps over EVENT, SNAPSHOT, OUTPUT;
                          0 for the others */
    struct nj_span payload; /* decoded */
    struct nj_journal_place place;
};

/* ---- digests over a session's frames ---- */

/* record: every sequenced frame as decoded, with kind and sequence. content: the bodies of the
 * content events, in order (event.h). Zeroed to begin. */
struct nj_record_digests {
    struct nj_digest record;
    struct nj_digest content;
};

/* nj_record_digests_add - fold one frame in; OBJECT and unsequenced frames change nothing */
int nj_record_digests_add(struct nj_record_digests *digests, const struct nj_frame *frame,
                          struct nj_error *err) NJ_MUST_USE;

/* nj_record_digests_add_event - the same for an EVENT that is decoded already */
void nj_record_digests_add_event(struct nj_record_digests *digests, const struct nj_frame *frame,
                                 const struct nj_event *event);

/* ---- writing ---- */

struct nj_journal_start {
    uint8_t run_id[NJ_JOURNAL_RUN_ID_BYTES];
    uint32_t epoch;         /* from 1; higher than any before */
    uint32_t first_segment; /* from 1; must not exist */
    uint64_t segment_bytes; /* 0: NJ_JOURNAL_SEGMENT_BYTES; tests use small ones */
    uint64_t commits; /* how many the journal has already; commits are numbered over all epochs */
};

struct nj_journal_writer;
struct nj_journal_batch;

int nj_journal_writer_open(int dir_fd, const struct nj_journal_start *start,
                           struct nj_journal_writer **ret_writer, struct nj_error *err) NJ_MUST_USE;

/* nj_journal_writer_close - drops what was never written, truncates the last segment to its used
 * length. Every batch that was taken must be back. */
void nj_journal_writer_close(struct nj_journal_writer *writer);
NJ_DEFINE_AUTO_PTR(struct nj_journal_writer, nj_journal_writer_close);

/* nj_journal_append - add a frame to the pending batch; the payload is compressed where that pays
 * and copied. ret_place may be NULL. frame->place is not read. Fails with NJ_E_LIMIT (payload too
 * long), NJ_E_SYSTEM (no room for one more segment: ENOSPC is in err->sys_errno) or the writer's
 * earlier failure. The writer keeps a segment in hand: a frame refused for want of room was not
 * appended, but the next ones have a whole segment to suspend in. After that every append that
 * needs another segment fails until there is room again. */
int nj_journal_append(struct nj_journal_writer *writer, const struct nj_frame *frame,
                      struct nj_journal_place *ret_place, struct nj_error *err) NJ_MUST_USE;

/* A payload as its frame will hold it, made ahead of appending: in any thread, without a writer. */
struct nj_journal_stored {
    uint32_t payload_bytes; /* before compression */
    uint8_t flags;          /* of the frame's header */
    struct nj_span bytes;
};

/* nj_journal_store - append the stored form of @payload to @out; ret_stored->bytes is borrowed from
 * there until @out grows. NJ_E_LIMIT: the payload is too long. */
int nj_journal_store(struct nj_span payload, struct nj_buf *out,
                     struct nj_journal_stored *ret_stored, struct nj_error *err) NJ_MUST_USE;

/* nj_journal_append_stored - as nj_journal_append() of a frame whose payload is @stored;
 * frame->payload is not read. What is left to do is copying and two checksums. */
int nj_journal_append_stored(struct nj_journal_writer *writer, const struct nj_frame *frame,
                             const struct nj_journal_stored *stored,
                             struct nj_journal_place *ret_place, struct nj_error *err) NJ_MUST_USE;

/* nj_journal_ticket - the number of the commit that will cover all that is appended so far; it is
 * durable when nj_journal_durable() has reached it */
uint64_t nj_journal_ticket(const struct nj_journal_writer *writer);
uint64_t nj_journal_durable(const struct nj_journal_writer *writer);

/* nj_journal_seal - end the pending batch with its COMMIT frame and take it; *ret_batch NULL when
 * nothing pends. A batch lies in one segment, so appending may have sealed some already: they come
 * first, in order. Call again until NULL. */
int nj_journal_seal(struct nj_journal_writer *writer, struct nj_journal_batch **ret_batch,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_journal_batch_write - write and fdatasync; touches nothing that the writer's other calls
 * touch, so another thread may do it. After one failure it refuses every later batch of the writer.
 */
int nj_journal_batch_write(struct nj_journal_batch *batch, struct nj_error *err) NJ_MUST_USE;

/* nj_journal_batch_done - give the batch back with its result (0 or negative); frees it */
void nj_journal_batch_done(struct nj_journal_writer *writer, struct nj_journal_batch *batch,
                           int result);

int nj_journal_commit(struct nj_journal_writer *writer, struct nj_error *err) NJ_MUST_USE;

/* nj_journal_durable_segment - where the last durable commit of this writer lies, 0 before its
 * first one; the segments before it are complete. (The pending batch may be several segments
 * ahead.) */
uint32_t nj_journal_durable_segment(const struct nj_journal_writer *writer);

uint64_t
nj_journal_bytes_written(const struct nj_journal_writer *writer); /* for metrics and benchmarks */

/* ---- freeing ---- */

/*
 * A segment that is complete can be thinned: its frames that live go into a new file, which takes
 * its name. Frames stay in their segment and in their order; only their offsets change, so whoever
 * keeps places of it must follow the moves (nj_journal_thin_place()), and readers must forget it
 * (nj_journal_forget()). nj_journal_thin() only reads the journal and writes a file beside it, in
 * any process; nj_journal_thin_swap() is one rename. A crash leaves the old segment or the new one,
 * each whole; the file beside it is swept by recovery.
 */
struct nj_journal_thin {
    bool (*lives)(void *ctx, const struct nj_frame *frame); /* without its payload */
    void *ctx;
};

struct nj_journal_move {
    uint64_t from; /* offsets, ascending */
    uint64_t to;
};

struct nj_journal_thinned {
    uint64_t bytes_before;
    uint64_t bytes_after;
    struct nj_journal_move *moves; /* heap, the caller's; NULL when it was kept */
    size_t n_moves;
};

enum nj_journal_thin_outcome {
    NJ_JOURNAL_THIN_READY = 0, /* the new file is durable: swap it in, or drop it */
    NJ_JOURNAL_THIN_KEPT = 1   /* more than three quarters live: it is not worth it */
};

/* nj_journal_thin - @segment must be complete: a later one has a commit that is durable. Fails with
 * NJ_E_CORRUPT when it is damaged or the next one does not follow it (which leaves it as it is), or
 * NJ_E_SYSTEM. */
int nj_journal_thin(int dir_fd, uint32_t segment, const struct nj_journal_thin *thin,
                    struct nj_journal_thinned *ret_thinned, struct nj_error *err) NJ_MUST_USE;
int nj_journal_thin_swap(int dir_fd, uint32_t segment, struct nj_error *err) NJ_MUST_USE;
void nj_journal_thin_drop(int dir_fd, uint32_t segment);

/* nj_journal_segment_bytes - how long its file is, 0 when it is not there or longer than one can be
 */
uint32_t nj_journal_segment_bytes(int dir_fd, uint32_t segment);

/* nj_journal_thin_place - where the frame is now; false when it did not live */
bool nj_journal_thin_place(const struct nj_journal_move *moves, size_t n_moves, uint32_t segment,
                           struct nj_journal_place *place);

/* ---- reading ---- */

struct nj_journal; /* a reader */

enum nj_journal_outcome {
    NJ_JOURNAL_FRAME = 0,
    NJ_JOURNAL_END = 1,
    NJ_JOURNAL_TORN = 2,
    NJ_JOURNAL_DAMAGE = 3, /* salvaging only */
};

/* nj_journal_open - @dir_fd is borrowed for the reader's life */
int nj_journal_open(int dir_fd, struct nj_journal **ret_journal, struct nj_error *err) NJ_MUST_USE;
void nj_journal_free(struct nj_journal *journal);
NJ_DEFINE_AUTO_PTR(struct nj_journal, nj_journal_free);

/* nj_journal_next - the next committed frame; borrowed until the next call on @journal
 *
 * Returns NJ_JOURNAL_FRAME, NJ_JOURNAL_END, or NJ_JOURNAL_TORN (the last batch was cut off or is
 * still being written; all before it was delivered). A torn tail is legal only at the journal's
 * end. Fails with NJ_E_CORRUPT (segment and offset in the text) where a commit lies behind the
 * damage, NJ_E_VERSION or NJ_E_SYSTEM.
 */
int nj_journal_next(struct nj_journal *journal, struct nj_frame *ret_frame,
                    struct nj_error *err) NJ_MUST_USE;

/*
 * nj_journal_open_damaged - a reader for what is whole in a damaged journal
 *
 * nj_journal_next() then gives every frame that is whole by its own checksum, also of batches that
 * are not, in the order of places, and NJ_JOURNAL_DAMAGE for each stretch that is none;
 * nj_journal_damage() tells it. What lies behind the last commit of the last segment is left out,
 * as it was never acted upon. Fails with NJ_E_CORRUPT when not one segment's header is whole, as
 * checksums then cannot be judged.
 */
int nj_journal_open_damaged(int dir_fd, struct nj_journal **ret_journal,
                            struct nj_error *err) NJ_MUST_USE;
const char *nj_journal_damage(const struct nj_journal *journal);

/* nj_journal_is_thinned - whether dead frames were taken out of any segment read so far: then the
 * frames of a session that was archived may be there in part */
bool nj_journal_is_thinned(const struct nj_journal *journal);

/* nj_journal_hold - for who reads by place beside a live engine: each segment that
 * nj_journal_next() comes to from now on stays open (512 at most), so that places hold though it is
 * thinned */
void nj_journal_hold(struct nj_journal *journal);

/* nj_journal_forget - open @segment (0: all) anew when it is next read by place: it was thinned */
void nj_journal_forget(struct nj_journal *journal, uint32_t segment);

/* nj_journal_rewind - the next nj_journal_next() delivers the first frame again */
void nj_journal_rewind(struct nj_journal *journal);

/* nj_journal_read - one frame by place, its checksum verified; payload is appended to @out */
int nj_journal_read(struct nj_journal *journal, const struct nj_journal_place *place,
                    struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_journal_read_frame - the same with kind, session and sequence; ret_frame->payload is borrowed
 * from @out */
int nj_journal_read_frame(struct nj_journal *journal, const struct nj_journal_place *place,
                          struct nj_buf *out, struct nj_frame *ret_frame,
                          struct nj_error *err) NJ_MUST_USE;

/* nj_journal_gather - for who reads @places one after the other: in one go what lies at the first
 * of them and at those that follow it closely, so that reading them asks the system no more.
 * Nothing is done where that was done already, where only one lies there, or where it fails, which
 * reading will tell. What was gathered is forgotten by nj_journal_forget(). */
void nj_journal_gather(struct nj_journal *journal, const struct nj_journal_place *places, size_t n);

struct nj_journal_recovery {
    struct nj_journal_start
        next;            /* for nj_journal_writer_open(): same run_id, next epoch and segment, and
                          * how many commits there are. Where not even a segment's header was ever
                          * written, epoch is 1 and run_id zero: draw one, the run begins anew. */
    uint64_t torn_bytes; /* cut off */
};

/* nj_journal_recover - find the last whole commit, truncate what lies behind it, say how to go on
 */
int nj_journal_recover(int dir_fd, struct nj_journal_recovery *ret_recovery,
                       struct nj_error *err) NJ_MUST_USE;

#endif
