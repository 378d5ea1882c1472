/*
 * writer.c - the journal's writing side: pending batch, group commit, segments
 *
 * The complication: two threads. The loop thread appends to the pending batch while a writer thread
 * writes a sealed one. A sealed batch therefore owns all that its write needs (bytes, offset,
 * segment), and what outlives one batch (was there ever a failed write?) is in the channel, which
 * only nj_journal_batch_write() touches. Counts of references and of durable commits belong to the
 * loop thread.
 *
 * There is always one segment more than needed: when the disk is full, the error comes while there
 * is still a whole segment for the records of suspending.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#define XXH_STATIC_LINKING_ONLY /* for a streaming state inside the writer */
#include <xxhash.h>

#include "formats/base/bytes.h"
#include "formats/base/fault.h"
#include "formats/base/fsio.h"
#include "formats/base/squeeze.h"
#include "formats/journal/entry.h"

#include "formats/base/banned.h"

#define COMPRESS_MIN_BYTES 256u /* below, a zstd frame's own header eats the gain */
/* Short ones are digests and numbers for the most part: trying costs more than all else of a step's
 * way into the journal, and hardly ever saves an eighth. */
#define COMPRESS_STATE_MIN_BYTES 512u
/* Below, most of the time would go into codes for the single bytes, which gain little there. */
#define COMPRESS_WELL_MIN_BYTES 1024u
#define SPARE_BATCHES_MAX 2u /* one pending, one being written: more never come back at once */
/* A batch's buffer has this much from the start, which costs nothing until it is written to:
 * growing one would copy it, and its fresh pages cost more than what is put there. A larger one is
 * given back to the system. */
#define BATCH_BYTES (4u << 20)
/* What is preallocated only becomes a file's content when it is first written, and that is recorded
 * in the inode, which a sync then has to write, too. So zeros are written ahead, this many at a
 * time: the syncs of what lands on them are of data alone. */
#define AHEAD_BYTES (256u << 10)

struct segment {
    int fd;
    uint32_t number;
    unsigned refs;
    uint64_t capacity;
    uint64_t done; /* end of the last durable commit, 0 when there is none */
    bool wants_zeros;
    uint64_t written; /* all before it was once; used only within nj_journal_batch_write() */
};

/* What batches share; used only within nj_journal_batch_write(). */
struct channel {
    int dir_fd;
    bool failed;
};

struct nj_journal_batch {
    struct nj_journal_batch *next; /* in the queue or among the spare ones */
    struct channel *channel;
    struct segment *segment;
    struct nj_buf bytes;
    uint64_t offset; /* of bytes in the segment; 0: the batch brings the segment's header along */
    uint64_t number;
    uint64_t frames;
};

struct nj_journal_writer {
    struct nj_journal_start start;
    struct channel channel;
    uint64_t seed;
    struct segment *segment; /* of the pending batch */
    struct segment *spare;   /* NULL when the disk was full */
    uint64_t used;           /* of segment: where the pending batch will lie */
    struct nj_journal_batch *pending;
    XXH3_state_t pending_sum;             /* over the pending batch's frames */
    struct nj_journal_batch *queue_first; /* sealed, not yet taken */
    struct nj_journal_batch *queue_last;
    struct nj_journal_batch *spare_batches;
    unsigned n_spare_batches;
    uint64_t next_number; /* of the next batch to be sealed */
    uint64_t durable;
    uint32_t durable_segment;
    uint64_t bytes_written;
    enum nj_error_code failure; /* 0, or why nothing is accepted any more */
};

/* ---- segments ---- */

/* wants_zeros - is it worth it to write zeros ahead? Elsewhere a block that is written again goes
 * to another place, or nothing is gained. */
static bool wants_zeros(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC);
}

static int segment_create(struct nj_journal_writer *writer, uint32_t number,
                          struct segment **ret_segment, struct nj_error *err)
{
    nj_auto_free struct segment *segment = calloc(1, sizeof(*segment));
    nj_auto_close int fd = -1;
    char name[NJ_SEGMENT_NAME_MAX_BYTES];
    int r;

    if (!segment)
        return nj_fail_nomem(err);
    if (number > NJ_SEGMENT_NUMBER_MAX)
        return nj_fail(err, NJ_E_LIMIT, "a journal has at most %u segments", NJ_SEGMENT_NUMBER_MAX);
    nj_entry_segment_name(number, name);
    fd = openat(writer->channel.dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                0600);
    if (fd < 0)
        return nj_fail_errno(err, errno, "make journal segment %s", name);
    r = nj_fsio_fallocate(fd, 0, writer->start.segment_bytes, err);
    if (r < 0) {
        (void)unlinkat(writer->channel.dir_fd, name,
                       0); /* an empty one would be swept by recovery */
        return nj_wrap(err, "journal segment %s", name);
    }
    segment->wants_zeros = wants_zeros(fd);
    segment->fd = nj_steal_fd(&fd);
    segment->number = number;
    segment->capacity = writer->start.segment_bytes;
    segment->refs = 1;
    *ret_segment = nj_steal_ptr(&segment);
    return 0;
}

static struct segment *segment_ref(struct segment *segment)
{
    segment->refs++;
    return segment;
}

static void segment_unref(struct segment *segment)
{
    if (!segment || --segment->refs > 0)
        return;
    (void)close(segment->fd); /* what matters in it was synced */
    free(segment);
}

static void segment_remove(struct nj_journal_writer *writer, const struct segment *segment)
{
    char name[NJ_SEGMENT_NAME_MAX_BYTES];

    nj_entry_segment_name(segment->number, name);
    (void)unlinkat(writer->channel.dir_fd, name, 0); /* a leftover is swept by recovery */
}

/* ---- batches ---- */

static void batch_free(struct nj_journal_batch *batch)
{
    if (!batch)
        return;
    segment_unref(batch->segment);
    nj_buf_done(&batch->bytes);
    free(batch);
}

static void batch_recycle(struct nj_journal_writer *writer, struct nj_journal_batch *batch)
{
    segment_unref(batch->segment);
    batch->segment = NULL;
    if (writer->n_spare_batches == SPARE_BATCHES_MAX || batch->bytes.cap > BATCH_BYTES) {
        batch_free(batch);
        return;
    }
    nj_buf_clear(&batch->bytes);
    batch->next = writer->spare_batches;
    writer->spare_batches = batch;
    writer->n_spare_batches++;
}

/* batch_new - an empty batch that will lie at @offset of @segment */
static int batch_new(struct nj_journal_writer *writer, struct segment *segment, uint64_t offset,
                     struct nj_journal_batch **ret_batch, struct nj_error *err)
{
    struct nj_journal_batch *batch = writer->spare_batches;
    static const uint8_t header_room[NJ_SEGMENT_HEADER_BYTES];
    int r;

    if (batch) {
        writer->spare_batches = batch->next;
        writer->n_spare_batches--;
    } else {
        batch = malloc(sizeof(*batch));
        if (!batch)
            return nj_fail_nomem(err);
        *batch = (struct nj_journal_batch){0};
        /* A frame is built in place and may be too long for the segment by its own length. */
        nj_buf_init(&batch->bytes,
                    (size_t)writer->start.segment_bytes + 2 * NJ_FRAME_PAYLOAD_MAX_BYTES);
        r = nj_buf_reserve(&batch->bytes, BATCH_BYTES, err);
        if (r < 0) {
            free(batch);
            return r;
        }
    }
    batch->next = NULL;
    batch->channel = &writer->channel;
    batch->segment = segment_ref(segment);
    batch->offset = offset;
    batch->frames = 0;
    if (offset == 0) {
        r = nj_buf_append(&batch->bytes, header_room, sizeof(header_room), err);
        if (r < 0) {
            batch_recycle(writer, batch);
            return r;
        }
    }
    *ret_batch = batch;
    return 0;
}

/* frames_start - where the first frame begins in the batch's bytes */
static size_t frames_start(const struct nj_journal_batch *batch)
{
    return batch->offset == 0 ? NJ_SEGMENT_HEADER_BYTES : 0;
}

static void batch_truncate(struct nj_journal_batch *batch, size_t len)
{
    batch->bytes.len = len;
    if (batch->bytes.data)
        batch->bytes.data[len] = '\0';
}

static void pending_set(struct nj_journal_writer *writer, struct nj_journal_batch *batch)
{
    writer->pending = batch;
    (void)XXH3_64bits_reset_withSeed(&writer->pending_sum, writer->seed); /* fails only for NULL */
}

/* store - what a payload of at least @compress_min bytes is stored as, appended to @out */
static int store(struct nj_span payload, size_t compress_min, struct nj_buf *out,
                 struct nj_journal_stored *ret_stored, struct nj_error *err)
{
    size_t start = out->len, len;
    uint8_t flags = 0;
    int r = 0;

    if (payload.len > NJ_FRAME_PAYLOAD_MAX_BYTES)
        return nj_fail(err, NJ_E_LIMIT, "a payload of %zu bytes, at most %u are allowed",
                       payload.len, NJ_FRAME_PAYLOAD_MAX_BYTES);
    if (payload.len >= compress_min) {
        r = nj_squeeze(
            out, payload,
            payload.len < COMPRESS_WELL_MIN_BYTES ? NJ_SQUEEZE_LEVEL_QUICK : NJ_SQUEEZE_LEVEL, err);
        if (r == 0 && out->len - start <= payload.len - payload.len / 8)
            flags = NJ_FRAME_FLAG_ZSTD;
        else if (r == 0)
            out->len = start;
    }
    if (r == 0 && !flags)
        r = nj_buf_append(out, payload.data, payload.len, err);
    if (r < 0)
        return r;
    len = out->len - start;
    *ret_stored = (struct nj_journal_stored){.payload_bytes = (uint32_t)payload.len,
                                             .flags = flags,
                                             .bytes = {len ? out->data + start : NULL, len}};
    return 0;
}

int nj_journal_store(struct nj_span payload, struct nj_buf *out,
                     struct nj_journal_stored *ret_stored, struct nj_error *err)
{
    return store(payload, COMPRESS_MIN_BYTES, out, ret_stored, err);
}

static size_t compress_min(enum nj_frame_kind kind)
{
    return kind == NJ_FRAME_EVENT || kind == NJ_FRAME_SNAPSHOT ? COMPRESS_STATE_MIN_BYTES
                                                               : COMPRESS_MIN_BYTES;
}

/* frame_put - append @frame behind what @bytes hold: header, stored payload, padding. @stored: its
 * payload, stored already; NULL: it is in the frame */
static int frame_put(struct nj_buf *bytes, const struct nj_frame *frame,
                     const struct nj_journal_stored *stored, uint32_t epoch, uint64_t seed,
                     struct nj_error *err)
{
    static const uint8_t zeros[NJ_FRAME_HEADER_BYTES];
    struct nj_frame_header header = {.kind = frame->kind,
                                     .session = frame->session,
                                     .epoch = epoch,
                                     .sequence = frame->sequence};
    size_t start = bytes->len;
    size_t payload = start + NJ_FRAME_HEADER_BYTES;
    struct nj_journal_stored here;
    int r;

    r = nj_buf_append(bytes, zeros, NJ_FRAME_HEADER_BYTES, err);
    if (r == 0 && stored)
        r = nj_buf_append(bytes, stored->bytes.data, stored->bytes.len, err);
    else if (r == 0)
        r = store(frame->payload, compress_min(frame->kind), bytes, &here, err);
    if (r < 0)
        return r;
    if (!stored)
        stored = &here;
    header.payload_bytes = stored->payload_bytes;
    header.flags = stored->flags;
    header.stored_bytes = (uint32_t)stored->bytes.len;
    r = nj_buf_append(bytes, zeros,
                      nj_entry_frame_bytes(header.stored_bytes) - NJ_FRAME_HEADER_BYTES -
                          header.stored_bytes,
                      err);
    if (r < 0)
        return r;
    nj_entry_frame_encode(&header, (struct nj_span){bytes->data + payload, header.stored_bytes},
                          seed, bytes->data + start);
    return 0;
}

/* pending_seal - end the pending batch with its COMMIT frame and queue it; on failure it is as
 * before */
static int pending_seal(struct nj_journal_writer *writer, struct nj_error *err)
{
    struct nj_journal_batch *batch = writer->pending;
    struct nj_commit commit = {.bytes = batch->bytes.len - frames_start(batch),
                               .number = writer->next_number,
                               .frames = batch->frames,
                               .checksum = XXH3_64bits_digest(&writer->pending_sum)};
    struct nj_frame frame = {.kind = NJ_FRAME_COMMIT};
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    size_t start = batch->bytes.len;
    int r;

    assert(batch->frames > 0);
    nj_buf_init(&payload, NJ_COMMIT_PAYLOAD_MAX_BYTES);
    r = nj_entry_commit_encode(&commit, &payload, err);
    if (r < 0)
        return r;
    frame.payload = nj_buf_span(&payload);
    r = frame_put(&batch->bytes, &frame, NULL, writer->start.epoch, writer->seed, err);
    if (r < 0) {
        batch_truncate(batch, start);
        return r;
    }
    if (batch->offset == 0) {
        struct nj_segment_header header = {.number = batch->segment->number,
                                           .epoch = writer->start.epoch,
                                           .capacity = batch->segment->capacity,
                                           .first_commit = commit.number};

        memcpy(header.run_id, writer->start.run_id, NJ_JOURNAL_RUN_ID_BYTES);
        nj_entry_segment_encode(&header, batch->bytes.data);
    }
    batch->number = writer->next_number++;
    writer->used = batch->offset + batch->bytes.len;
    assert(writer->used <= batch->segment->capacity);
    if (writer->queue_last)
        writer->queue_last->next = batch;
    else
        writer->queue_first = batch;
    writer->queue_last = batch;
    writer->pending = NULL;
    return 0;
}

/* segment_turn - the frame at @start of the pending batch does not fit: it becomes the first of the
 * next segment */
static int segment_turn(struct nj_journal_writer *writer, size_t start, struct nj_error *err)
{
    struct nj_journal_batch *pending = writer->pending;
    struct nj_journal_batch *fresh = NULL;
    size_t bytes = pending->bytes.len - start;
    uint32_t number = writer->segment->number + 1;
    int r = 0;

    if (NJ_SEGMENT_HEADER_BYTES + bytes + NJ_COMMIT_FRAME_MAX_BYTES > writer->start.segment_bytes)
        return nj_fail(err, NJ_E_LIMIT,
                       "a frame of %zu bytes is too long for segments of %llu bytes", bytes,
                       (unsigned long long)writer->start.segment_bytes);
    if (!writer->spare) /* the disk was full; perhaps there is room by now */
        r = segment_create(writer, number, &writer->spare, err);
    if (r == 0)
        r = batch_new(writer, writer->spare, 0, &fresh, err);
    if (r < 0)
        return r;
    r = nj_buf_append(&fresh->bytes, pending->bytes.data + start, bytes, err);
    if (r == 0) {
        batch_truncate(pending, start);
        if (pending->frames > 0)
            r = pending_seal(writer, err);
        else
            batch_recycle(writer, pending);
    }
    if (r < 0) {
        batch_recycle(writer, fresh);
        return r;
    }
    segment_unref(writer->segment);
    writer->segment = nj_steal_ptr(&writer->spare);
    writer->used = 0;
    pending_set(writer, fresh);
    return segment_create(writer, number + 1, &writer->spare, err);
}

/* ---- the writer ---- */

int nj_journal_writer_open(int dir_fd, const struct nj_journal_start *start,
                           struct nj_journal_writer **ret_writer, struct nj_error *err)
{
    NJ_AUTO(nj_journal_writer_close) struct nj_journal_writer *writer = NULL;
    void *memory = NULL;
    int r;

    if (posix_memalign(&memory, _Alignof(struct nj_journal_writer), sizeof(*writer)) != 0)
        return nj_fail_nomem(err);
    memset(memory, 0, sizeof(*writer));
    writer = memory;
    XXH3_INITSTATE(&writer->pending_sum);
    writer->start = *start;
    if (writer->start.segment_bytes == 0)
        writer->start.segment_bytes = NJ_JOURNAL_SEGMENT_BYTES;
    writer->channel.dir_fd = -1;
    writer->seed = nj_entry_seed(start->run_id);
    writer->next_number = start->commits + 1;
    writer->durable = start->commits;
    if (start->epoch == 0 || start->first_segment == 0 ||
        writer->start.segment_bytes < NJ_SEGMENT_MIN_BYTES ||
        writer->start.segment_bytes > NJ_SEGMENT_MAX_BYTES)
        return nj_fail(err, NJ_E_INPUT,
                       "journal: epoch and segment begin at 1, a segment has %u to %u bytes",
                       NJ_SEGMENT_MIN_BYTES, NJ_SEGMENT_MAX_BYTES);
    writer->channel.dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
    if (writer->channel.dir_fd < 0)
        return nj_fail_errno(err, errno, "journal folder");
    r = segment_create(writer, start->first_segment, &writer->segment, err);
    if (r == 0)
        r = segment_create(writer, start->first_segment + 1, &writer->spare, err);
    if (r < 0)
        return r;
    *ret_writer = nj_steal_ptr(&writer);
    return 0;
}

/* close_files - leave no byte behind that recovery would have to look at. Nothing of this is needed
 * for correctness: after a kill recovery does the same, so failures are ignored. */
static void close_files(struct nj_journal_writer *writer)
{
    struct segment *segment = writer->segment;

    if (writer->spare)
        segment_remove(writer, writer->spare);
    if (!segment)
        return;
    if (segment->done == 0)
        segment_remove(writer, segment);
    else
        (void)!ftruncate(segment->fd, (off_t)segment->done);
}

void nj_journal_writer_close(struct nj_journal_writer *writer)
{
    struct nj_journal_batch *batch;

    if (!writer)
        return;
    if (writer->failure == 0)
        close_files(writer);
    batch_free(writer->pending);
    while ((batch = writer->queue_first)) {
        writer->queue_first = batch->next;
        batch_free(batch);
    }
    while ((batch = writer->spare_batches)) {
        writer->spare_batches = batch->next;
        batch_free(batch);
    }
    segment_unref(writer->segment);
    segment_unref(writer->spare);
    if (writer->channel.dir_fd >= 0)
        (void)close(writer->channel.dir_fd); /* only a folder */
    free(writer);
}

static int refuse_after_failure(const struct nj_journal_writer *writer, struct nj_error *err)
{
    return nj_fail(err, writer->failure,
                   "journal: an earlier write failed, nothing more is written; resume the run");
}

static int append(struct nj_journal_writer *writer, const struct nj_frame *frame,
                  const struct nj_journal_stored *stored, struct nj_journal_place *ret_place,
                  struct nj_error *err)
{
    struct nj_frame_header header = {
        .kind = frame->kind, .session = frame->session, .sequence = frame->sequence};
    const char *fault = frame->kind == NJ_FRAME_COMMIT ? "commits are the writer's own"
                                                       : nj_entry_frame_fault(&header);
    struct nj_journal_batch *batch;
    size_t start, bytes;
    int r;

    if (writer->failure != 0)
        return refuse_after_failure(writer, err);
    if (fault)
        return nj_fail(err, NJ_E_INPUT, "journal: %s frame: %s", nj_frame_kind_text(frame->kind),
                       fault);
    if (!writer->pending) {
        r = batch_new(writer, writer->segment, writer->used, &batch, err);
        if (r < 0)
            return r;
        pending_set(writer, batch);
    }
    batch = writer->pending;
    start = batch->bytes.len;
    r = frame_put(&batch->bytes, frame, stored, writer->start.epoch, writer->seed, err);
    if (r == 0 &&
        batch->offset + batch->bytes.len + NJ_COMMIT_FRAME_MAX_BYTES > batch->segment->capacity) {
        r = segment_turn(writer, start, err);
        if (writer->pending !=
            batch) { /* turned; without a new spare segment the frame is dropped */
            batch = writer->pending;
            start = frames_start(batch);
        }
    }
    if (r < 0) {
        batch_truncate(batch, start);
        return nj_wrap(err, "journal");
    }

    bytes = batch->bytes.len - start;
    (void)XXH3_64bits_update(&writer->pending_sum, batch->bytes.data + start, bytes);
    batch->frames++;
    if (ret_place)
        *ret_place = (struct nj_journal_place){
            .segment = batch->segment->number,
            .bytes = NJ_FRAME_HEADER_BYTES +
                     nj_load_u32le(batch->bytes.data + start + NJ_FRAME_AT_STORED_BYTES),
            .offset = batch->offset + start};
    return 0;
}

int nj_journal_append(struct nj_journal_writer *writer, const struct nj_frame *frame,
                      struct nj_journal_place *ret_place, struct nj_error *err)
{
    return append(writer, frame, NULL, ret_place, err);
}

int nj_journal_append_stored(struct nj_journal_writer *writer, const struct nj_frame *frame,
                             const struct nj_journal_stored *stored,
                             struct nj_journal_place *ret_place, struct nj_error *err)
{
    return append(writer, frame, stored, ret_place, err);
}

uint64_t nj_journal_ticket(const struct nj_journal_writer *writer)
{
    return writer->pending && writer->pending->frames > 0 ? writer->next_number
                                                          : writer->next_number - 1;
}

uint64_t nj_journal_durable(const struct nj_journal_writer *writer)
{
    return writer->durable;
}

uint64_t nj_journal_bytes_written(const struct nj_journal_writer *writer)
{
    return writer->bytes_written;
}

uint32_t nj_journal_durable_segment(const struct nj_journal_writer *writer)
{
    return writer->durable_segment;
}

int nj_journal_seal(struct nj_journal_writer *writer, struct nj_journal_batch **ret_batch,
                    struct nj_error *err)
{
    struct nj_journal_batch *batch;
    int r;

    if (writer->failure != 0)
        return refuse_after_failure(writer, err);
    if (!writer->queue_first && writer->pending && writer->pending->frames > 0) {
        r = pending_seal(writer, err);
        if (r < 0)
            return nj_wrap(err, "journal");
    }
    batch = writer->queue_first;
    if (batch) {
        writer->queue_first = batch->next;
        if (!writer->queue_first)
            writer->queue_last = NULL;
        batch->next = NULL;
    }
    *ret_batch = batch;
    return 0;
}

/* pass - a named fault point; only errors make sense there */
static int pass(const char *point, struct nj_error *err)
{
    switch (nj_fault(point)) {
    case NJ_FAULT_ENOSPC:
        return nj_fail_errno(err, ENOSPC, "%s", point);
    case NJ_FAULT_EIO:
        return nj_fail_errno(err, EIO, "%s", point);
    case NJ_FAULT_NONE:
    case NJ_FAULT_EINTR:
    case NJ_FAULT_SHORT:
        break;
    }
    return 0;
}

/* write_ahead - zeros behind the batch, where it reaches what was never written. Behind a long one
 * none: it is as long as what they would save. */
static int write_ahead(const struct nj_journal_batch *batch, struct nj_error *err)
{
    static uint8_t zeros[AHEAD_BYTES]; /* not const: that would be in the program's file */
    struct segment *segment = batch->segment;
    uint64_t end = batch->offset + batch->bytes.len;
    uint64_t ahead = segment->capacity - end < AHEAD_BYTES ? segment->capacity - end : AHEAD_BYTES;

    if (!segment->wants_zeros || end <= segment->written)
        return 0;
    segment->written = end;
    if (batch->bytes.len >= AHEAD_BYTES / 2)
        return 0;
    segment->written += ahead;
    return nj_fsio_pwrite(segment->fd, zeros, (size_t)ahead, end, err);
}

static int batch_write(const struct nj_journal_batch *batch, struct nj_error *err)
{
    int fd = batch->segment->fd;
    int r;

    r = pass("journal.before_write", err);
    if (r == 0)
        r = nj_fsio_pwrite(fd, batch->bytes.data, batch->bytes.len, batch->offset, err);
    if (r == 0)
        r = write_ahead(batch, err);
    if (r == 0)
        r = pass("journal.before_sync", err);
    if (r == 0)
        r = nj_fsio_fdatasync(fd, err);
    if (r == 0 && batch->offset == 0) /* the segment is new, and so is its name */
        r = nj_fsio_sync_dir(batch->channel->dir_fd, err);
    if (r == 0)
        r = pass("journal.after_sync", err);
    return r;
}

int nj_journal_batch_write(struct nj_journal_batch *batch, struct nj_error *err)
{
    struct channel *channel = batch->channel;
    char name[NJ_SEGMENT_NAME_MAX_BYTES];
    int r;

    /* After a gap a commit would be worth nothing, and a failed sync may have dropped pages in
     * silence. */
    if (channel->failed)
        return nj_fail(err, NJ_E_SYSTEM,
                       "journal: an earlier write failed, nothing more is written");
    r = batch_write(batch, err);
    if (r < 0) {
        channel->failed = true;
        nj_entry_segment_name(batch->segment->number, name);
        return nj_wrap(err, "journal segment %s", name);
    }
    return 0;
}

void nj_journal_batch_done(struct nj_journal_writer *writer, struct nj_journal_batch *batch,
                           int result)
{
    if (!batch)
        return;
    if (result < 0) {
        if (writer->failure == 0)
            writer->failure = (enum nj_error_code) - result;
    } else {
        assert(batch->number ==
               writer->durable + 1); /* written and given back in the order sealed */
        writer->durable = batch->number;
        writer->durable_segment = batch->segment->number;
        writer->bytes_written += batch->bytes.len;
        batch->segment->done = batch->offset + batch->bytes.len;
    }
    batch_recycle(writer, batch);
}

int nj_journal_commit(struct nj_journal_writer *writer, struct nj_error *err)
{
    for (;;) {
        struct nj_journal_batch *batch = NULL;
        int r = nj_journal_seal(writer, &batch, err);

        if (r < 0 || !batch)
            return r;
        r = nj_journal_batch_write(batch, err);
        nj_journal_batch_done(writer, batch, r);
        if (r < 0)
            return r;
    }
}
