/*
 * salvage.c - whatever is whole in a damaged journal
 *
 * A frame's checksum is seeded with the run's id, which no box knows, so a frame that is whole by
 * it was written by this run's engine, wherever it is found. Between two whole frames the next one
 * is looked for at every multiple of 8. The one complication is the end of the last segment: what
 * has no commit behind it there was never acted upon, and is no part of the record.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

#include "formats/journal/inside.h"

#include "formats/base/banned.h"

/* What a box wrote can look like a header at each multiple of 8, of a frame of 17 MiB: so many
 * bytes of a segment are hashed in vain, then what looks like a long frame is passed over. */
#define HASHED_MAX_BYTES ((uint64_t)4 << 30)
#define SHORT_FRAME_BYTES ((size_t)16 << 10)

int nj_journal_salvage_segment(const struct nj_journal *journal, uint32_t number, int *ret_fd,
                               struct nj_error *err)
{
    char name[NJ_SEGMENT_NAME_MAX_BYTES];
    int fd;

    nj_entry_segment_name(number, name);
    fd = openat(journal->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open journal segment %s", name);
    *ret_fd = fd;
    return 0;
}

/* segment_read - all of segment @number into the window; returns 1 when there is none */
static int segment_read(struct nj_journal *journal, uint32_t number, struct nj_error *err)
{
    struct nj_buf *window = &journal->window;
    nj_auto_close int fd = -1;
    uint64_t bytes = 0;
    size_t got = 0;
    int r;

    nj_buf_clear(window);
    r = nj_journal_salvage_segment(journal, number, &fd, err);
    if (r < 0 && err->sys_errno == ENOENT) {
        *err = (struct nj_error){0};
        return 1;
    }
    if (r == 0)
        r = nj_journal_file_bytes(fd, &bytes, err);
    if (r == 0 && bytes > NJ_SEGMENT_MAX_BYTES)
        r = nj_fail(err, NJ_E_LIMIT, "journal segment %06u: %llu bytes, at most %u are allowed",
                    (unsigned)number, (unsigned long long)bytes, NJ_SEGMENT_MAX_BYTES);
    if (r == 0)
        r = nj_buf_reserve(window, (size_t)bytes, err);
    if (r == 0)
        r = nj_journal_read_up_to(fd, 0, window->data, (size_t)bytes, &got, err);
    if (r < 0)
        return r;
    window->len = got;
    return 0;
}

static bool header_whole(const struct nj_journal *journal, uint32_t number,
                         struct nj_segment_header *ret_header)
{
    struct nj_error ignored = {0};

    return journal->window.len >= NJ_SEGMENT_HEADER_BYTES &&
           nj_entry_segment_decode(journal->window.data, ret_header, &ignored) == 0 &&
           ret_header->number == number;
}

int nj_journal_open_damaged(int dir_fd, struct nj_journal **ret_journal, struct nj_error *err)
{
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    struct nj_segment_header header;
    uint32_t last = 0;
    int r;

    r = nj_journal_open(dir_fd, &journal, err);
    if (r == 0)
        r = nj_journal_last_segment(journal, &last, err);
    if (r < 0)
        return r;
    journal->salvage = true;
    for (uint32_t number = 1; number <= last && journal->seed == 0; number++) {
        r = segment_read(journal, number, err);
        if (r < 0)
            return r;
        if (r == 0 && header_whole(journal, number, &header))
            journal->seed = nj_entry_seed(header.run_id);
    }
    if (journal->seed == 0)
        return nj_fail(err, NJ_E_CORRUPT,
                       "journal: no segment's header is whole, so no frame can be judged");
    nj_journal_rewind(journal);
    *ret_journal = nj_steal_ptr(&journal);
    return 0;
}

const char *nj_journal_damage(const struct nj_journal *journal)
{
    return journal->damage;
}

/* frame_at - is there a whole frame at @offset of the window? @sought: there need not be one */
static bool frame_at(struct nj_journal *journal, uint64_t offset, bool sought,
                     struct nj_frame_header *ret_header)
{
    const struct nj_buf *window = &journal->window;
    const uint8_t *bytes = window->data + offset;
    uint64_t left = window->len - offset;
    struct nj_span stored;

    if (left < NJ_FRAME_HEADER_BYTES || !nj_entry_frame_decode(bytes, ret_header) ||
        (journal->segment.epoch != 0 && ret_header->epoch != journal->segment.epoch) ||
        ret_header->stored_bytes > left - NJ_FRAME_HEADER_BYTES ||
        (sought && journal->hashed > HASHED_MAX_BYTES &&
         ret_header->stored_bytes > SHORT_FRAME_BYTES))
        return false;
    stored = (struct nj_span){bytes + NJ_FRAME_HEADER_BYTES, ret_header->stored_bytes};
    if (nj_entry_frame_whole(bytes, stored, journal->seed))
        return true;
    journal->hashed += stored.len;
    return false;
}

/* frame_behind - the first whole frame from @offset on; the window's length when there is none */
static uint64_t frame_behind(struct nj_journal *journal, uint64_t offset,
                             struct nj_frame_header *ret_header)
{
    static const uint8_t magic[4] = NJ_FRAME_MAGIC;
    const struct nj_buf *window = &journal->window;
    uint64_t start = offset;

    for (; offset + NJ_FRAME_HEADER_BYTES <= window->len; offset += NJ_FRAME_ALIGN_BYTES)
        if (memcmp(window->data + offset, magic, sizeof(magic)) == 0 &&
            frame_at(journal, offset, offset > start, ret_header))
            return offset;
    return window->len;
}

/* committed - where the last whole commit of the window ends; 0 when there is none */
static uint64_t committed(struct nj_journal *journal)
{
    struct nj_frame_header header;
    uint64_t offset = NJ_SEGMENT_HEADER_BYTES, end = 0;

    while ((offset = frame_behind(journal, offset, &header)) < journal->window.len) {
        offset += nj_entry_frame_bytes(header.stored_bytes);
        if (header.kind == NJ_FRAME_COMMIT)
            end = offset;
    }
    return end;
}

static void NJ_PRINTF(2, 3) tell(struct nj_journal *journal, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(journal->damage, sizeof(journal->damage), fmt, args);
    va_end(args);
}

static bool window_zero_from(const struct nj_journal *journal, uint64_t offset)
{
    return offset >= journal->window.len ||
           nj_journal_all_zero(journal->window.data + offset,
                               (size_t)(journal->window.len - offset));
}

/* segment_next - the next segment into the window; returns an enum nj_journal_outcome, FRAME when
 * there is one to go on in */
static int segment_next(struct nj_journal *journal, struct nj_error *err)
{
    uint32_t number = journal->segment.number + 1, last = 0;
    struct nj_segment_header header;
    int r;

    r = nj_journal_last_segment(journal, &last, err);
    if (r < 0)
        return r;
    if (number > last)
        return NJ_JOURNAL_END;
    r = segment_read(journal, number, err);
    if (r < 0)
        return r;
    journal->segment.number = number;
    journal->offset = NJ_SEGMENT_HEADER_BYTES;
    journal->limit = 0;
    journal->hashed = 0;
    if (r == 1) {
        tell(journal, "journal segment %06u is missing", (unsigned)number);
        return number < last ? NJ_JOURNAL_DAMAGE : NJ_JOURNAL_FRAME;
    }
    if (window_zero_from(journal, 0))
        return NJ_JOURNAL_FRAME; /* in hand, never used */
    journal->segment.epoch = 0;
    journal->limit = journal->window.len;
    if (header_whole(journal, number, &header)) {
        journal->segment.epoch = header.epoch;
        if (number + 1 >= last)
            journal->limit = committed(journal);
        return NJ_JOURNAL_FRAME;
    }
    if (number + 1 >= last)
        journal->limit = committed(journal);
    tell(journal, "journal segment %06u, offset 0: the segment's header is damaged",
         (unsigned)number);
    return NJ_JOURNAL_DAMAGE;
}

/* deliver - the whole frame at journal->offset; DAMAGE when its payload is none */
static int deliver(struct nj_journal *journal, const struct nj_frame_header *header,
                   struct nj_frame *ret_frame, struct nj_error *err)
{
    const uint8_t *bytes = journal->window.data + journal->offset;
    struct nj_span stored = {bytes + NJ_FRAME_HEADER_BYTES, header->stored_bytes};
    int r;

    nj_buf_clear(&journal->payload);
    r = nj_entry_frame_payload(header, stored, &journal->payload, err);
    *ret_frame = (struct nj_frame){.kind = header->kind,
                                   .session = header->session,
                                   .sequence = header->sequence,
                                   .payload = nj_buf_span(&journal->payload),
                                   .place = {.segment = journal->segment.number,
                                             .bytes = NJ_FRAME_HEADER_BYTES + header->stored_bytes,
                                             .offset = journal->offset}};
    if (r == -NJ_E_CORRUPT) { /* behind it things go on as behind any other damage */
        tell(journal, "journal segment %06u, offset %llu: %s", (unsigned)journal->segment.number,
             (unsigned long long)journal->offset, err->text);
        *err = (struct nj_error){0};
        r = NJ_JOURNAL_DAMAGE;
    }
    journal->offset += nj_entry_frame_bytes(header->stored_bytes);
    return r;
}

int nj_journal_salvage_next(struct nj_journal *journal, struct nj_frame *ret_frame,
                            struct nj_error *err)
{
    for (;;) {
        struct nj_frame_header header;
        uint64_t found;
        int r;

        if (journal->offset >= journal->limit) {
            r = segment_next(journal, err);
            if (r != NJ_JOURNAL_FRAME)
                return r;
            continue;
        }
        if (window_zero_from(journal, journal->offset)) {
            journal->offset = journal->limit;
            continue;
        }
        found = frame_behind(journal, journal->offset, &header);
        if (found > journal->offset) {
            tell(journal, "journal segment %06u, offset %llu: %llu bytes are damaged",
                 (unsigned)journal->segment.number, (unsigned long long)journal->offset,
                 (unsigned long long)(found - journal->offset));
            journal->offset = found;
            return NJ_JOURNAL_DAMAGE;
        }
        if (header.kind == NJ_FRAME_COMMIT) {
            journal->offset += nj_entry_frame_bytes(header.stored_bytes);
            continue;
        }
        return deliver(journal, &header, ret_frame, err);
    }
}
