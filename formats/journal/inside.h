/*
 * inside.h - a journal's reader, for reader.c (whole batches or nothing), segment.c (one file),
 * place.c, recovery.c, thin.c and salvage.c (whatever is whole); private to them
 */
#ifndef NJ_JOURNAL_INSIDE_H
#define NJ_JOURNAL_INSIDE_H

#include "formats/journal/entry.h"

#define NJ_JOURNAL_READ_CHUNK_BYTES ((size_t)1 << 20)
#define NJ_JOURNAL_KEPT_FDS 16u

#define NJ_JOURNAL_HELD_FDS 512u

/* A descriptor kept for nj_journal_read(). */
struct nj_journal_kept_fd {
    int fd;
    uint32_t segment; /* 0: the slot is free */
    uint32_t epoch;
};

struct nj_journal {
    int dir_fd; /* borrowed */
    int fd;     /* of the current segment, -1 before the first */
    struct nj_segment_header segment;
    bool thinned; /* one that was read is */
    uint64_t seed;
    uint64_t commit; /* number of the last commit read */
    uint64_t offset; /* of the next batch in the current segment */

    struct nj_buf window; /* bytes of the current segment from window_offset */
    uint64_t window_offset;

    /* The batch being delivered lies in the window: frames from .. commit frame. */
    uint64_t frame_offset;
    uint64_t commit_offset;
    struct nj_buf payload;

    struct nj_journal_kept_fd kept[NJ_JOURNAL_KEPT_FDS];
    unsigned kept_next;

    /* nj_journal_gather(): bytes of a segment, read ahead of its frames. */
    struct nj_buf gathered;
    uint32_t gathered_segment;
    uint64_t gathered_offset;

    /* nj_journal_hold(): each segment as it was read, by number. */
    bool holds;
    struct nj_journal_kept_fd *held;
    size_t n_held;

    /* Salvaging (salvage.c): the window holds the whole segment. */
    bool salvage;
    uint64_t limit;  /* frames of this segment count up to here */
    uint64_t hashed; /* bytes of what looked like frames of this segment, and were none */
    char damage[NJ_ERROR_TEXT_MAX_BYTES];
};

/* ---- segment.c ---- */

enum nj_journal_header_state { NJ_HEADER_WHOLE = 0, NJ_HEADER_NONE = 1, NJ_HEADER_ABSENT = 2 };

/* What lies behind the last whole batch of a file. */
struct nj_journal_tail {
    uint64_t end; /* behind the last byte that is not zero; the start of the scan when all are */
    uint64_t file_bytes;
    bool commit;           /* a whole commit was found */
    uint64_t commit_start; /* of the last one: where its batch begins */
    uint64_t commit_end;
};

int nj_journal_corrupt(struct nj_error *err, uint32_t segment, uint64_t offset, const char *what);

/* nj_journal_segment_look - open segment @number and read its header; returns an enum
 * nj_journal_header_state. *ret_fd is set for NJ_HEADER_WHOLE and NJ_HEADER_NONE. */
int nj_journal_segment_look(const struct nj_journal *journal, uint32_t number, int *ret_fd,
                            struct nj_segment_header *ret_header, struct nj_error *err) NJ_MUST_USE;

/* nj_journal_tail_scan - from @offset (a multiple of 8) to the end of the file; holes cost nothing
 */
int nj_journal_tail_scan(int fd, uint64_t offset, uint64_t seed, uint32_t epoch,
                         struct nj_journal_tail *ret_tail, struct nj_error *err) NJ_MUST_USE;

int nj_journal_file_bytes(int fd, uint64_t *ret_bytes, struct nj_error *err) NJ_MUST_USE;

/* nj_journal_read_up_to - as many bytes as the file has, at most @len */
int nj_journal_read_up_to(int fd, uint64_t offset, uint8_t *data, size_t len, size_t *ret_len,
                          struct nj_error *err) NJ_MUST_USE;

/* nj_journal_last_segment - the highest number in the folder, 0 when there is none */
int nj_journal_last_segment(const struct nj_journal *journal, uint32_t *ret_number,
                            struct nj_error *err) NJ_MUST_USE;

bool nj_journal_all_zero(const uint8_t *data, size_t len);

/* ---- reader.c ---- */

enum nj_journal_batch_state { NJ_BATCH_WHOLE = 0, NJ_BATCH_BROKEN = 1 };

/* nj_journal_enter - go to the beginning of @segment, whatever was read before */
int nj_journal_enter(struct nj_journal *journal, uint32_t segment,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_journal_batch_load - read the batch at journal->offset; returns an enum
 * nj_journal_batch_state. A whole one is ready for delivery. */
int nj_journal_batch_load(struct nj_journal *journal, struct nj_error *err) NJ_MUST_USE;

/* nj_journal_batch_next - make the next batch ready; returns an enum nj_journal_outcome */
int nj_journal_batch_next(struct nj_journal *journal, struct nj_error *err) NJ_MUST_USE;

/* nj_journal_hold_entered - of a reader that holds: the segment that was entered (place.c) */
void nj_journal_hold_entered(struct nj_journal *journal);

/* ---- salvage.c ---- */

/* nj_journal_salvage_next - nj_journal_next() of a journal that was opened to be salvaged */
int nj_journal_salvage_next(struct nj_journal *journal, struct nj_frame *ret_frame,
                            struct nj_error *err) NJ_MUST_USE;

/* nj_journal_salvage_segment - open a segment whose header is damaged */
int nj_journal_salvage_segment(const struct nj_journal *journal, uint32_t number, int *ret_fd,
                               struct nj_error *err) NJ_MUST_USE;

#endif
