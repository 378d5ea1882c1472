/*
 * recovery.c - cutting off what a crash left behind the last whole commit
 *
 * Nothing is changed before the whole journal was read: damage is for a person to look at.
 */
#include <errno.h>
#include <fcntl.h>

#include "formats/base/fsio.h"
#include "formats/journal/inside.h"

#include "formats/base/banned.h"

/* remove_behind - unlink the segments after @last; none of them holds a commit. Highest first, so
 * that a crash in between leaves no gap. */
static int remove_behind(const struct nj_journal *journal, uint32_t last, uint64_t *torn_bytes,
                         struct nj_error *err)
{
    uint32_t highest = 0;
    int r;

    r = nj_journal_last_segment(journal, &highest, err);
    if (r < 0)
        return r;
    for (uint32_t number = highest; number > last; number--) {
        struct nj_segment_header header;
        char name[NJ_SEGMENT_NAME_MAX_BYTES];
        nj_auto_close int fd = -1;
        struct nj_journal_tail tail;
        uint64_t offset;

        nj_entry_segment_name(number, name);
        r = nj_journal_segment_look(journal, number, &fd, &header, err);
        if (r < 0)
            return r;
        if (r == NJ_HEADER_ABSENT)
            continue;
        offset =
            r == NJ_HEADER_WHOLE ? NJ_SEGMENT_HEADER_BYTES : 0; /* a header alone lost nothing */
        r = nj_journal_tail_scan(fd, offset, journal->seed, journal->segment.epoch, &tail, err);
        if (r < 0)
            return r;
        *torn_bytes += tail.end - offset;
        if (unlinkat(journal->dir_fd, name, 0) < 0)
            return nj_fail_errno(err, errno, "remove journal segment %s", name);
    }
    return 0;
}

/* truncate_tail - cut the current segment behind its last commit */
static int truncate_tail(const struct nj_journal *journal, uint64_t *torn_bytes,
                         struct nj_error *err)
{
    char name[NJ_SEGMENT_NAME_MAX_BYTES];
    nj_auto_close int fd = -1;
    struct nj_journal_tail tail;
    int r;

    nj_entry_segment_name(journal->segment.number, name);
    r = nj_journal_tail_scan(journal->fd, journal->offset, journal->seed, journal->segment.epoch,
                             &tail, err);
    if (r < 0)
        return r;
    *torn_bytes += tail.end - journal->offset;
    if (tail.file_bytes == journal->offset)
        return 0;
    fd = openat(journal->dir_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open journal segment %s", name);
    if (ftruncate(fd, (off_t)journal->offset) < 0)
        return nj_fail_errno(err, errno, "truncate journal segment %s", name);
    r = nj_fsio_fdatasync(fd, err);
    return r < 0 ? nj_wrap(err, "journal segment %s", name) : 0;
}

int nj_journal_recover(int dir_fd, struct nj_journal_recovery *ret_recovery, struct nj_error *err)
{
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    struct nj_journal_recovery recovery = {.next = {.epoch = 1, .first_segment = 1}};
    uint32_t keep = 0;
    int r;

    r = nj_journal_open(dir_fd, &journal, err);
    if (r < 0)
        return r;
    do {
        journal->frame_offset = journal->commit_offset; /* payloads are not looked at */
        r = nj_journal_batch_next(journal, err);
    } while (r == NJ_JOURNAL_FRAME);
    if (r >= 0)
        r = nj_fsio_sweep(dir_fd, err); /* what thinning left beside */
    if (r < 0)
        return r;

    if (journal->fd >= 0) {
        bool used = journal->offset > NJ_SEGMENT_HEADER_BYTES;

        keep = journal->segment.number - (used ? 0 : 1);
        memcpy(recovery.next.run_id, journal->segment.run_id, NJ_JOURNAL_RUN_ID_BYTES);
        recovery.next.epoch = journal->segment.epoch + 1;
        recovery.next.first_segment = keep + 1;
        recovery.next.commits = journal->commit;
        if (recovery.next.epoch == 0)
            return nj_fail(err, NJ_E_LIMIT, "journal: no epoch is left");
        if (used)
            r = truncate_tail(journal, &recovery.torn_bytes, err);
        if (r < 0)
            return r;
    }
    r = remove_behind(journal, keep, &recovery.torn_bytes, err);
    if (r < 0)
        return r;
    r = nj_fsio_sync_dir(dir_fd, err);
    if (r < 0)
        return nj_wrap(err, "journal");
    *ret_recovery = recovery;
    return 0;
}
