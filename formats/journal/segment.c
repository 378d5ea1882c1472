/*
 * segment.c - looking at one segment's file: its header, what lies behind its last whole batch, and
 * which segments there are
 *
 * The complication is a file that a crash has cut: without a whole header it is either a segment
 * that was never used or a damaged one, and only what lies behind can tell (no_header()).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "formats/base/fsio.h"
#include "formats/journal/inside.h"

#include "formats/base/banned.h"

#define SCAN_CHUNK_BYTES ((size_t)64 << 10)

int nj_journal_file_bytes(int fd, uint64_t *ret_bytes, struct nj_error *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return nj_fail_errno(err, errno, "stat");
    if (!S_ISREG(st.st_mode))
        return nj_fail(err, NJ_E_CORRUPT, "not a regular file");
    *ret_bytes = (uint64_t)st.st_size;
    return 0;
}

int nj_journal_read_up_to(int fd, uint64_t offset, uint8_t *data, size_t len, size_t *ret_len,
                          struct nj_error *err)
{
    size_t got = 0;

    while (got < len) {
        ssize_t n = pread(fd, data + got, len - got, (off_t)(offset + got));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return nj_fail_errno(err, errno, "read at offset %llu",
                                 (unsigned long long)(offset + got));
        if (n == 0)
            break;
        got += (size_t)n;
    }
    *ret_len = got;
    return 0;
}

bool nj_journal_all_zero(const uint8_t *data, size_t len)
{
    return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

/* commit_at - is there a whole commit of an epoch from @epoch on at @offset? */
static int commit_at(int fd, uint64_t offset, uint64_t seed, uint32_t epoch,
                     struct nj_journal_tail *tail, struct nj_error *err)
{
    uint8_t bytes[NJ_COMMIT_FRAME_MAX_BYTES];
    struct nj_error ignored = {0};
    struct nj_frame_header header;
    struct nj_commit commit;
    struct nj_span payload;
    size_t got = 0;
    int r;

    r = nj_journal_read_up_to(fd, offset, bytes, sizeof(bytes), &got, err);
    if (r < 0)
        return r;
    if (got < NJ_FRAME_HEADER_BYTES || !nj_entry_frame_decode(bytes, &header) ||
        header.kind != NJ_FRAME_COMMIT || header.epoch < epoch ||
        header.stored_bytes > got - NJ_FRAME_HEADER_BYTES)
        return 0;
    payload = (struct nj_span){bytes + NJ_FRAME_HEADER_BYTES, header.stored_bytes};
    /* Before any header was read the seed is not known: then the looks of a commit are enough. */
    if ((seed != 0 && !nj_entry_frame_whole(bytes, payload, seed)) ||
        nj_entry_commit_decode(payload, &commit, &ignored) < 0 || commit.bytes > offset)
        return 0;
    tail->commit = true;
    tail->commit_start = offset - commit.bytes;
    tail->commit_end = offset + nj_entry_frame_bytes(header.stored_bytes);
    return 0;
}

/* tail_scan_chunk - look through @len bytes of the file at @offset, a multiple of 8 */
static int tail_scan_chunk(int fd, uint64_t offset, const uint8_t *data, size_t len, uint64_t seed,
                           uint32_t epoch, struct nj_journal_tail *tail, struct nj_error *err)
{
    static const uint8_t magic[4] = NJ_FRAME_MAGIC;

    if (nj_journal_all_zero(data, len))
        return 0;
    for (size_t at = len; at > 0; at--) {
        if (data[at - 1] != 0) {
            tail->end = offset + at;
            break;
        }
    }
    for (size_t at = 0; at + NJ_FRAME_AT_KIND < len; at += NJ_FRAME_ALIGN_BYTES) {
        int r;

        if (data[at + NJ_FRAME_AT_KIND] != NJ_FRAME_COMMIT || memcmp(data + at, magic, 4) != 0)
            continue;
        r = commit_at(fd, offset + at, seed, epoch, tail, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int nj_journal_tail_scan(int fd, uint64_t offset, uint64_t seed, uint32_t epoch,
                         struct nj_journal_tail *ret_tail, struct nj_error *err)
{
    nj_auto_free uint8_t *chunk = malloc(SCAN_CHUNK_BYTES);
    struct nj_journal_tail tail = {.end = offset};
    int r;

    if (!chunk)
        return nj_fail_nomem(err);
    r = nj_journal_file_bytes(fd, &tail.file_bytes, err);
    if (r < 0)
        return r;
    while (offset < tail.file_bytes) {
        off_t data = lseek(fd, (off_t)offset, SEEK_DATA);
        size_t got = 0;

        if (data < 0 && errno == ENXIO)
            break; /* only a hole is left */
        if (data > 0 && (uint64_t)data > offset)
            offset = (uint64_t)data & ~(uint64_t)(NJ_FRAME_ALIGN_BYTES - 1);
        r = nj_journal_read_up_to(fd, offset, chunk, SCAN_CHUNK_BYTES, &got, err);
        if (r == 0)
            r = tail_scan_chunk(fd, offset, chunk, got, seed, epoch, &tail, err);
        if (r < 0)
            return r;
        if (got < SCAN_CHUNK_BYTES)
            break;
        offset += got;
    }
    *ret_tail = tail;
    return 0;
}

int nj_journal_corrupt(struct nj_error *err, uint32_t segment, uint64_t offset, const char *what)
{
    return nj_fail(err, NJ_E_CORRUPT, "journal segment %06u, offset %llu: %s", (unsigned)segment,
                   (unsigned long long)offset, what);
}

/* no_header - the file has no whole header: is that a segment that was never used, or damage?
 *
 * Header and first batch are one write. Until that is synced the disk may hold any part of it: of
 * the header a beginning, or nothing, and behind it even the batch's own commit. */
static int no_header(const struct nj_journal *journal, int fd, uint32_t number,
                     const uint8_t bytes[NJ_SEGMENT_HEADER_BYTES], size_t got, struct nj_error *err)
{
    struct nj_journal_tail tail;
    bool has_end, synced;
    int r;

    if (got < NJ_SEGMENT_HEADER_BYTES)
        return NJ_HEADER_NONE;
    r = nj_journal_tail_scan(fd, NJ_SEGMENT_HEADER_BYTES, journal->seed, journal->segment.epoch,
                             &tail, err);
    if (r < 0)
        return r;
    if (tail.end == NJ_SEGMENT_HEADER_BYTES)
        return NJ_HEADER_NONE;
    has_end = bytes[NJ_SEGMENT_HEADER_BYTES - 1] != 0;
    synced = tail.commit && (tail.commit_start != NJ_SEGMENT_HEADER_BYTES ||
                             tail.commit_end == tail.file_bytes); /* cut behind it by closing */
    if (has_end || synced)
        return nj_journal_corrupt(err, number, 0, "the segment's header is damaged");
    return NJ_HEADER_NONE;
}

int nj_journal_segment_look(const struct nj_journal *journal, uint32_t number, int *ret_fd,
                            struct nj_segment_header *ret_header, struct nj_error *err)
{
    uint8_t bytes[NJ_SEGMENT_HEADER_BYTES], before[NJ_SEGMENT_HEADER_BYTES];
    char name[NJ_SEGMENT_NAME_MAX_BYTES];
    nj_auto_close int fd = -1;
    uint64_t size;
    size_t got = 0;
    int r;

    nj_entry_segment_name(number, name);
    fd = openat(journal->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENOENT)
        return NJ_HEADER_ABSENT;
    if (fd < 0)
        return nj_fail_errno(err, errno, "open journal segment %s", name);
    r = nj_journal_file_bytes(fd, &size, err);
    if (r < 0)
        return nj_wrap(err, "journal segment %s", name);
    memset(bytes, 0xff, sizeof(bytes)); /* never what is read first */
    do { /* again when a live writer wrote the header while we looked behind it */
        memcpy(before, bytes, sizeof(before));
        r = nj_journal_read_up_to(fd, 0, bytes, sizeof(bytes), &got, err);
        if (r == 0 && got == sizeof(bytes))
            r = nj_entry_segment_decode(bytes, ret_header, err);
        else if (r == 0)
            r = 1;
        if (r < 0)
            return nj_wrap(err, "journal segment %s", name);
        if (r == 0 && ret_header->number != number)
            return nj_journal_corrupt(err, number, NJ_SEGMENT_AT_NUMBER,
                                      "the header names another segment");
        if (r > 0)
            r = no_header(journal, fd, number, bytes, got, err);
    } while (r == -NJ_E_CORRUPT && memcmp(before, bytes, sizeof(bytes)) != 0);
    if (r < 0)
        return r;
    *ret_fd = nj_steal_fd(&fd);
    return r;
}

int nj_journal_last_segment(const struct nj_journal *journal, uint32_t *ret_number,
                            struct nj_error *err)
{
    uint32_t last = 0;
    struct dirent *entry;
    DIR *dir;
    int fd = openat(journal->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return nj_fail_errno(err, errno, "open journal folder");
    dir = fdopendir(fd);
    if (!dir) {
        int errnum = errno;

        (void)close(fd);
        return nj_fail_errno(err, errnum, "read journal folder");
    }
    for (errno = 0; (entry = readdir(dir)); errno = 0) {
        uint32_t number = nj_entry_segment_number(entry->d_name);

        if (number > last)
            last = number;
    }
    if (errno != 0) {
        int errnum = errno;

        (void)closedir(dir);
        return nj_fail_errno(err, errnum, "read journal folder");
    }
    (void)closedir(dir);
    *ret_number = last;
    return 0;
}
