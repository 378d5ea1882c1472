/*
 * scan.h - one session's record in a run's journal, found by its key: for those who read beside an
 * engine. Of a session that was tried again the last attempt counts.
 */
#ifndef NJ_SCAN_H
#define NJ_SCAN_H

#include "batch/run/object_index.h"

struct nj_scan {
    uint32_t session;
    struct nj_digest identity;
    struct nj_digest config;         /* its CONFIG object */
    struct nj_journal_place *places; /* sequenced frames, in order */
    size_t n_places;
    size_t cap_places;
    struct nj_object_index index;
    struct nj_record_digests digests; /* of those frames */
    char *job;                        /* its name; NULL: the journal does not tell */
    bool archived;
    bool reopened;         /* what was read is an attempt that failed; the next has no frame yet */
    char *key;             /* archived: as its row says */
    bool thinned;          /* set by the reader: dead frames may be missing (journal.h) */
    bool cut;              /* frames are missing, which only one that has ended may lack */
    char *bundle;          /* archived: its file in the run's bundles folder; NULL: not told */
    enum nj_status status; /* of its CLOSED; 0: it has not ended */
};

/* nj_scan_session - read @journal (freshly opened) to its last commit. NJ_E_INPUT when no session
 * has that key; the text names the nearest one. NJ_E_CORRUPT when its frames have a gap. */
int nj_scan_session(struct nj_journal *journal, const char *key, struct nj_scan *ret_scan,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_scan_frame - the same frame by frame, for who reads for many sessions at once: @scan is zeroed
 * but for its session's number, and is given that session's frames and those of the run, in order.
 * Of a session that has ended, a thinned journal may give no frames, or no places: its bundle
 * counts. NJ_E_CORRUPT: a frame that cannot follow, or cannot be read; it is then left out. */
int nj_scan_frame(struct nj_scan *scan, const struct nj_frame *frame,
                  struct nj_error *err) NJ_MUST_USE;
void nj_scan_done(struct nj_scan *scan);
NJ_DEFINE_AUTO_VAL(struct nj_scan, nj_scan_done);

/* nj_scan_source - the session's objects; both arguments must outlive the source, which is
 * @reader's memory */
struct nj_scan_reader {
    struct nj_journal *journal;
    const struct nj_scan *scan;
};
struct nj_object_source nj_scan_source(struct nj_scan_reader *reader);
struct nj_object_shelf nj_scan_shelf(struct nj_scan_reader *reader); /* the same, as stored */

#endif
