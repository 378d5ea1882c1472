/*
 * fuzz_journal.c - a journal of up to three segments
 *
 * Input: one byte of flags, then segments, each behind its length (u16le). With REPAIR the
 * checksums of headers and frames are mended first, and with COMMITS each commit is made to cover
 * what precedes it; else hardly any mutation would get past them. Properties: reading ends;
 * salvaging ends too, and gives what the reader gave before all else; recovery agrees with the
 * reader about how many frames there are, and after recovery the journal reads to a clean end,
 * takes another epoch, and delivers that too.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "formats/base/bytes.h"
#include "formats/base/fsio.h"
#include "formats/journal/entry.h"

#include "formats/base/banned.h"

#define FLAG_REPAIR 1
#define FLAG_COMMITS 2
#define FLAG_HEADERS 4
#define SEGMENTS 3u
#define FRAMES_MAX 100000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];
static int folder_fd = -1;

static void folder_remove(void)
{
    struct nj_error err = {0};

    if (nj_fsio_remove_tree(AT_FDCWD, folder, &err) < 0)
        fprintf(stderr, "%s\n", err.text);
}

static int folder_open(void)
{
    static const char *const parents[] = {"/dev/shm", "/tmp"};

    for (size_t i = 0; folder_fd < 0 && i < 2; i++) {
        (void)snprintf(folder, sizeof(folder), "%s/nj-fuzz-XXXXXX", parents[i]);
        if (mkdtemp(folder))
            folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder_fd >= 0)
            (void)atexit(folder_remove);
    }
    if (folder_fd < 0)
        abort();
    return folder_fd;
}

static void segment_put(uint32_t number, const uint8_t *data, size_t size)
{
    char name[NJ_SEGMENT_NAME_MAX_BYTES];
    int fd;

    nj_entry_segment_name(number, name);
    if (!data) {
        (void)unlinkat(folder_fd, name, 0);
        return;
    }
    fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    (void)close(fd);
}

/* commit_mend - rewrite the commit at @at so that it covers the bytes from @start */
static size_t commit_mend(uint8_t *bytes, size_t size, size_t start, size_t at, uint64_t frames,
                          uint64_t *number, uint32_t epoch, uint64_t seed)
{
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_frame_header header = {.kind = NJ_FRAME_COMMIT, .epoch = epoch};
    struct nj_commit commit = {.bytes = at - start,
                               .number = (*number)++,
                               .frames = frames,
                               .checksum = XXH3_64bits_withSeed(bytes + start, at - start, seed)};
    struct nj_error err = {0};
    size_t total;

    nj_buf_init(&payload, NJ_COMMIT_PAYLOAD_MAX_BYTES);
    if (nj_entry_commit_encode(&commit, &payload, &err) < 0)
        abort();
    header.stored_bytes = header.payload_bytes = (uint32_t)payload.len;
    total = nj_entry_frame_bytes(header.stored_bytes);
    if (total > size - at)
        return size - at;
    memset(bytes + at, 0, total);
    memcpy(bytes + at + NJ_FRAME_HEADER_BYTES, payload.data, payload.len);
    nj_entry_frame_encode(&header, nj_buf_span(&payload), seed, bytes + at);
    return total;
}

/* frames_mend - mend the frames of one segment; *number is that of the next commit */
static void frames_mend(uint8_t *bytes, size_t size, unsigned flags, uint32_t epoch, uint64_t seed,
                        uint64_t *number)
{
    size_t at = NJ_SEGMENT_HEADER_BYTES, start = at;
    uint64_t frames = 0;

    while (size >= at + NJ_FRAME_HEADER_BYTES) {
        struct nj_frame_header header;
        struct nj_span stored;

        bytes[at + NJ_FRAME_AT_RESERVED] = bytes[at + NJ_FRAME_AT_RESERVED + 1] = 0;
        nj_store_u32le(bytes + at + NJ_FRAME_AT_EPOCH, epoch);
        if (!nj_entry_frame_decode(bytes + at, &header))
            return;
        if (header.kind == NJ_FRAME_COMMIT && flags & FLAG_COMMITS) {
            at += commit_mend(bytes, size, start, at, frames, number, epoch, seed);
            start = at;
            frames = 0;
            continue;
        }
        if (header.stored_bytes > size - at - NJ_FRAME_HEADER_BYTES)
            return;
        stored = (struct nj_span){bytes + at + NJ_FRAME_HEADER_BYTES, header.stored_bytes};
        nj_entry_frame_encode(&header, stored, seed, bytes + at);
        frames++;
        at += nj_entry_frame_bytes(header.stored_bytes);
    }
}

/* segment_mend - what checksums would otherwise hide */
static void segment_mend(uint8_t *bytes, size_t size, unsigned flags, uint32_t number,
                         uint64_t *commit_number)
{
    struct nj_segment_header header = {
        .number = number, .first_commit = *commit_number, .capacity = NJ_SEGMENT_MIN_BYTES * 16};

    if (size < NJ_SEGMENT_HEADER_BYTES)
        return;
    header.epoch = nj_load_u32le(bytes + NJ_SEGMENT_AT_EPOCH) % 3 + 1;
    header.requires = nj_load_u32le(bytes + NJ_SEGMENT_AT_REQUIRES) & NJ_SEGMENT_THINNED;
    header.hints = nj_load_u32le(bytes + NJ_SEGMENT_AT_HINTS);
    if (flags & FLAG_HEADERS) { /* as they came, with a fitting checksum */
        header.number = nj_load_u32le(bytes + NJ_SEGMENT_AT_NUMBER);
        header.first_commit = nj_load_u64le(bytes + NJ_SEGMENT_AT_FIRST_COMMIT);
        header.capacity = nj_load_u64le(bytes + NJ_SEGMENT_AT_CAPACITY);
        memcpy(header.run_id, bytes + NJ_SEGMENT_AT_RUN_ID, NJ_JOURNAL_RUN_ID_BYTES);
    }
    nj_entry_segment_encode(&header, bytes);
    frames_mend(bytes, size, flags, header.epoch, nj_entry_seed(header.run_id), commit_number);
}

/* frame_check - what @journal delivered is at its place, too; *chain becomes the digest of all */
static void frame_check(struct nj_journal *journal, const struct nj_frame *frame,
                        struct nj_buf *payload, uint64_t *chain)
{
    struct nj_error err = {0};

    nj_buf_clear(payload);
    if (nj_journal_read(journal, &frame->place, payload, &err) < 0 ||
        !nj_span_equal(nj_buf_span(payload), frame->payload))
        abort();
    *chain = XXH3_64bits_withSeed(payload->data, payload->len,
                                  *chain + frame->sequence + ((uint64_t)frame->session << 32));
}

/* read_all - how many frames there are; *ret_outcome is an outcome or an error */
static unsigned read_all(int *ret_outcome, uint64_t *ret_chain)
{
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    struct nj_error err = {0};
    struct nj_frame frame;
    unsigned frames = 0;
    int r;

    if (nj_journal_open(folder_fd, &journal, &err) < 0)
        abort();
    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    while ((r = nj_journal_next(journal, &frame, &err)) == NJ_JOURNAL_FRAME) {
        frame_check(journal, &frame, &payload, ret_chain);
        if (++frames > FRAMES_MAX)
            abort();
    }
    if (r >= 0 && frames > 0) { /* a place that is none */
        frame.place.offset += NJ_FRAME_ALIGN_BYTES;
        if (nj_journal_read(journal, &frame.place, &payload, &err) == 0)
            abort();
    }
    *ret_outcome = r;
    return frames;
}

/* salvage - the first @frames frames are those of @chain, whatever is behind them */
static void salvage(unsigned frames, uint64_t chain)
{
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    NJ_AUTO(nj_buf_done) struct nj_buf payload = {0};
    unsigned salvaged = 0, damages = 0;
    struct nj_error err = {0};
    struct nj_frame frame;
    uint64_t found = 0;
    int r;

    if (nj_journal_open_damaged(folder_fd, &journal, &err) < 0) {
        if (err.code != NJ_E_CORRUPT || frames > 0)
            abort();
        return;
    }
    nj_buf_init(&payload, NJ_FRAME_PAYLOAD_MAX_BYTES);
    while ((r = nj_journal_next(journal, &frame, &err)) == NJ_JOURNAL_FRAME ||
           r == NJ_JOURNAL_DAMAGE) {
        if (r == NJ_JOURNAL_DAMAGE && (++damages > FRAMES_MAX || !*nj_journal_damage(journal)))
            abort();
        if (r == NJ_JOURNAL_DAMAGE)
            continue;
        frame_check(journal, &frame, &payload, &found);
        if (++salvaged == frames && found != chain)
            abort();
        if (salvaged > FRAMES_MAX)
            abort();
    }
    if (r != NJ_JOURNAL_END || salvaged < frames)
        abort();
}

/* go_on - recover, append one frame in the next epoch, and read all again */
static void go_on(unsigned frames)
{
    NJ_AUTO(nj_journal_writer_close) struct nj_journal_writer *writer = NULL;
    struct nj_journal_recovery recovery;
    struct nj_frame frame = {.kind = NJ_FRAME_RUN, .payload = nj_span_text("more")};
    struct nj_error err = {0};
    uint64_t chain = 0;
    int outcome;
    unsigned again;

    if (nj_journal_recover(folder_fd, &recovery, &err) < 0)
        return; /* a payload that does not decode is no matter for recovery, the other way round it
                   is */
    again = read_all(&outcome, &chain);
    if (outcome >= 0 && (outcome != NJ_JOURNAL_END || again != frames))
        abort();
    recovery.next.segment_bytes = NJ_SEGMENT_MIN_BYTES;
    if (nj_journal_writer_open(folder_fd, &recovery.next, &writer, &err) < 0)
        abort();
    if (nj_journal_append(writer, &frame, NULL, &err) < 0 || nj_journal_commit(writer, &err) < 0)
        abort();
    if (outcome >= 0 && (read_all(&outcome, &chain) != frames + 1 || outcome != NJ_JOURNAL_END))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nj_auto_free uint8_t *copy = malloc(size ? size : 1);
    uint64_t commit_number = 1, chain = 0;
    unsigned flags, frames;
    size_t at = 1;
    int outcome;

    if (!copy || size == 0)
        return 0;
    memcpy(copy, data, size);
    (void)folder_open();
    flags = copy[0];
    for (uint32_t number = 1; number < SEGMENTS + 3; number++) {
        size_t len = size - at >= 2 ? nj_load_u16le(copy + at) : 0;

        if (number > SEGMENTS || size - at < 2) {
            segment_put(number, NULL, 0);
            continue;
        }
        at += 2;
        len = len < size - at ? len : size - at;
        if (flags & FLAG_REPAIR)
            segment_mend(copy + at, len, flags, number, &commit_number);
        segment_put(number, copy + at, len);
        at += len;
    }
    frames = read_all(&outcome, &chain);
    salvage(frames, chain);
    if (outcome >= 0)
        go_on(frames);
    return 0;
}
