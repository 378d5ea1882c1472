/*
 * fsck.h - is a record whole? and what can be saved of one that is not
 *
 * A record is whole when its container is (bundle or journal: checksums, digests, order; their
 * readers judge that), every event is one and can follow what came before it, every snapshot is
 * what the events before it give, and every object that any of them names is there with the bytes
 * that its digest says. The events are folded through the session core, so nothing is checked that
 * `resume` and `verify` would not trip over, and all that they would.
 *
 * What can be saved is a prefix: the frames before the first fault. It is a whole record again, of
 * a session that had not ended yet.
 */
#ifndef NJ_REPLAY_FSCK_H
#define NJ_REPLAY_FSCK_H

#include "replay/record.h"

/* One fault. Texts are borrowed for the call; they come from a record, so escape them. */
struct nj_fault {
    const char *where; /* "frame 12 (tool-done)", "journal segment 000002, offset 4711" */
    const char *what;
    const char *cure; /* NULL: as for the whole record */
};

/* Who hears of faults. A negative return ends the check and is returned. */
struct nj_fsck_ear {
    int (*fault)(void *ctx, const struct nj_fault *fault, struct nj_error *err);
    void *ctx;
};

#define NJ_FSCK_FAULTS_MAX 1000 /* of one record are told */

struct nj_fsck_result {
    uint64_t faults;
    uint64_t frames;       /* that the record should have */
    uint64_t frames_whole; /* 1 to this one are whole, with all that they name */
    uint64_t steps_whole;  /* replies and calls among them */
    enum nj_status status; /* of a CLOSED among them; 0: none */
    bool inputs_whole;     /* the mounts can be embedded */
    char reproducible[4];  /* as the config says; "" when it is not known */
};

/* nj_fsck_record - hear of every fault of a record that could be opened. Fails only where the host
 * or @ear does. */
int nj_fsck_record(struct nj_record *record, const struct nj_fsck_ear *ear,
                   struct nj_fsck_result *ret_result, struct nj_error *err) NJ_MUST_USE;

/*
 * nj_fsck_save - write frames 1 to @frames_whole of @record, and every object that is there, as a
 * bundle; with its inputs when they are whole and were embedded, or come from a run
 *
 * @fd  an empty file; synced on success
 *
 * A session that did not end within them is "suspended" in nightjar.json.
 */
int nj_fsck_save(struct nj_record *record, const struct nj_fsck_result *result, int fd,
                 struct nj_error *err) NJ_MUST_USE;

#endif
