/*
 * place.c - single frames of a journal, by the place where they lie
 *
 * The one complication: a run of many segments is read by places in no order, so a few descriptors
 * are kept, and what is known of a segment by its header goes with them. Who reads places in their
 * order gathers them first: a call to the system for each would cost more than the frames do.
 */
#include <fcntl.h>
#include <unistd.h>

#include "formats/base/fsio.h"
#include "formats/journal/inside.h"

#include "formats/base/banned.h"

#define GATHER_MAX_BYTES ((size_t)128 << 10)
#define GATHER_GAP_MAX_BYTES                                                                       \
    4096u /* what lies between is read along: that costs less than a call */

void nj_journal_hold(struct nj_journal *journal)
{
    journal->holds = true;
}

void nj_journal_hold_entered(struct nj_journal *journal)
{
    uint32_t number = journal->segment.number;
    struct nj_journal_kept_fd *held;

    if (number >= NJ_JOURNAL_HELD_FDS)
        return;
    if (number >= journal->n_held) {
        size_t count = number + 16;
        struct nj_journal_kept_fd *grown = reallocarray(journal->held, count, sizeof(*grown));

        if (!grown)
            return; /* it is opened when it is read */
        memset(grown + journal->n_held, 0, (count - journal->n_held) * sizeof(*grown));
        journal->held = grown;
        journal->n_held = count;
    }
    held = &journal->held[number];
    if (held->segment != 0)
        (void)close(held->fd); /* read only; it was read again since */
    *held = (struct nj_journal_kept_fd){.fd = fcntl(journal->fd, F_DUPFD_CLOEXEC, 0),
                                        .segment = number,
                                        .epoch = journal->segment.epoch};
    if (held->fd < 0)
        held->segment = 0; /* likewise */
}

/* keep_open - the descriptor of @segment and its epoch and seed; the oldest one makes room */
static int keep_open(struct nj_journal *journal, uint32_t segment,
                     const struct nj_journal_kept_fd **ret_kept, struct nj_error *err)
{
    struct nj_segment_header header;
    nj_auto_close int fd = -1;
    struct nj_journal_kept_fd *slot;
    int r;

    if (segment < journal->n_held && journal->held[segment].segment != 0) {
        *ret_kept = &journal->held[segment];
        return 0;
    }
    for (size_t i = 0; i < NJ_JOURNAL_KEPT_FDS; i++) {
        if (journal->kept[i].fd >= 0 && journal->kept[i].segment == segment) {
            *ret_kept = &journal->kept[i];
            return 0;
        }
    }
    r = nj_journal_segment_look(journal, segment, &fd, &header, err);
    if (r != NJ_HEADER_WHOLE && journal->salvage) {
        *err = (struct nj_error){0};
        header.epoch = 0; /* any: its frames' checksums have the run's seed */
        r = nj_journal_salvage_segment(journal, segment, &fd, err);
    }
    if (r < 0)
        return r;
    if (r != NJ_HEADER_WHOLE)
        return nj_journal_corrupt(err, segment, 0, "no such segment");
    if (journal->seed == 0) /* nothing was read before: any segment of the run has the run's id */
        journal->seed = nj_entry_seed(header.run_id);
    slot = &journal->kept[journal->kept_next++ % NJ_JOURNAL_KEPT_FDS];
    if (slot->fd >= 0)
        (void)close(slot->fd); /* read only */
    *slot = (struct nj_journal_kept_fd){
        .fd = nj_steal_fd(&fd), .segment = segment, .epoch = header.epoch};
    *ret_kept = slot;
    return 0;
}

void nj_journal_forget(struct nj_journal *journal, uint32_t segment)
{
    if (segment == 0 || journal->gathered_segment == segment)
        nj_buf_clear(&journal->gathered);
    for (size_t i = 0; i < NJ_JOURNAL_KEPT_FDS; i++) {
        struct nj_journal_kept_fd *kept = &journal->kept[i];

        if (kept->fd < 0 || (segment != 0 && kept->segment != segment))
            continue;
        (void)close(kept->fd); /* read only */
        *kept = (struct nj_journal_kept_fd){.fd = -1};
    }
    for (size_t i = 0; i < journal->n_held; i++) {
        struct nj_journal_kept_fd *held = &journal->held[i];

        if (held->segment == 0 || (segment != 0 && held->segment != segment))
            continue;
        (void)close(held->fd); /* read only */
        *held = (struct nj_journal_kept_fd){0};
    }
}

static bool is_place(const struct nj_journal_place *place)
{
    return place->bytes >= NJ_FRAME_HEADER_BYTES &&
           place->bytes <= NJ_FRAME_HEADER_BYTES + NJ_FRAME_PAYLOAD_MAX_BYTES;
}

/* gathered_at - the bytes of @place, NULL when they were not gathered */
static const uint8_t *gathered_at(const struct nj_journal *journal,
                                  const struct nj_journal_place *place)
{
    uint64_t at = place->offset - journal->gathered_offset;

    if (journal->gathered_segment != place->segment || place->offset < journal->gathered_offset ||
        at > journal->gathered.len || place->bytes > journal->gathered.len - at)
        return NULL;
    return journal->gathered.data + at;
}

/* reach - to the end of how many of @places, each near the one before, one read should go */
static size_t reach(const struct nj_journal_place *places, size_t n, size_t *ret_bytes)
{
    uint64_t end = places[0].offset + places[0].bytes;
    size_t i = 1;

    for (; i < n; i++) {
        const struct nj_journal_place *next = &places[i];

        if (next->segment != places[0].segment || !is_place(next) || next->offset < end ||
            next->offset - end > GATHER_GAP_MAX_BYTES ||
            next->offset + next->bytes - places[0].offset > GATHER_MAX_BYTES)
            break;
        end = next->offset + next->bytes;
    }
    *ret_bytes = (size_t)(end - places[0].offset);
    return i;
}

void nj_journal_gather(struct nj_journal *journal, const struct nj_journal_place *places, size_t n)
{
    const struct nj_journal_kept_fd *kept = NULL;
    struct nj_buf *gathered = &journal->gathered;
    struct nj_error ignored = {0}; /* it comes again when the frame is read, and is told there */
    size_t bytes = 0;

    if (n == 0 || !is_place(&places[0]) || gathered_at(journal, &places[0]) ||
        reach(places, n, &bytes) == 1)
        return;
    if (!gathered->data)
        nj_buf_init(gathered, GATHER_MAX_BYTES);
    nj_buf_clear(gathered);
    if (keep_open(journal, places[0].segment, &kept, &ignored) < 0 ||
        nj_buf_reserve(gathered, GATHER_MAX_BYTES, &ignored) < 0 ||
        nj_fsio_pread(kept->fd, gathered->data, bytes, places[0].offset, &ignored) < 0)
        return;
    gathered->len = bytes;
    journal->gathered_segment = places[0].segment;
    journal->gathered_offset = places[0].offset;
}

/* read_bytes - what lies at @place, gathered or read into @own */
static int read_bytes(const struct nj_journal *journal, int fd,
                      const struct nj_journal_place *place, struct nj_buf *own,
                      const uint8_t **ret_bytes, struct nj_error *err)
{
    *ret_bytes = gathered_at(journal, place);
    if (*ret_bytes)
        return 0;
    nj_buf_init(own, place->bytes);
    if (nj_buf_reserve(own, place->bytes, err) < 0)
        return -(int)err->code;
    *ret_bytes = own->data;
    return nj_fsio_pread(fd, own->data, place->bytes, place->offset, err);
}

int nj_journal_read_frame(struct nj_journal *journal, const struct nj_journal_place *place,
                          struct nj_buf *out, struct nj_frame *ret_frame, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf own = {0};
    const struct nj_journal_kept_fd *kept = NULL;
    const uint8_t *bytes = NULL;
    struct nj_frame_header header;
    size_t start = out->len;
    struct nj_span stored;
    int r;

    if (!is_place(place))
        return nj_journal_corrupt(err, place->segment, place->offset, "no frame has such a length");
    r = keep_open(journal, place->segment, &kept, err);
    if (r < 0)
        return r;
    r = read_bytes(journal, kept->fd, place, &own, &bytes, err);
    if (r < 0)
        return nj_wrap(err, "journal segment %06u, offset %llu", (unsigned)place->segment,
                       (unsigned long long)place->offset);
    stored = (struct nj_span){bytes + NJ_FRAME_HEADER_BYTES, place->bytes - NJ_FRAME_HEADER_BYTES};
    if (!nj_entry_frame_decode(bytes, &header) || header.stored_bytes != stored.len ||
        (kept->epoch != 0 && header.epoch != kept->epoch) ||
        !nj_entry_frame_whole(bytes, stored, journal->seed))
        return nj_journal_corrupt(err, place->segment, place->offset, "the frame is damaged");
    r = nj_entry_frame_payload(&header, stored, out, err);
    if (r < 0)
        return nj_wrap(err, "journal segment %06u, offset %llu", (unsigned)place->segment,
                       (unsigned long long)place->offset);
    *ret_frame = (struct nj_frame){
        .kind = header.kind,
        .session = header.session,
        .sequence = header.sequence,
        .payload = {out->data + start, out->len - start},
        .place = *place,
    };
    return 0;
}

int nj_journal_read(struct nj_journal *journal, const struct nj_journal_place *place,
                    struct nj_buf *out, struct nj_error *err)
{
    struct nj_frame frame;

    return nj_journal_read_frame(journal, place, out, &frame, err);
}
