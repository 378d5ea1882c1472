/*
 * record.h - one session's record, wherever it lies
 *
 * A bundle and a session in a run's journal look the same from here on: frames by sequence number,
 * objects by digest, inputs, and what is known about the session as a whole. What is read is
 * checked below (bundle reader, journal reader, objects against their digests), and everything in
 * it is data, never authority: nothing here opens a path, runs a command or looks at a variable
 * that a record names.
 *
 * Opening: nj_record_open_bundle() takes a descriptor, nj_record_open_run() an open run directory,
 * so that a caller can open both while it still may, give up its rights, and only then have bytes
 * parsed.
 */
#ifndef NJ_REPLAY_RECORD_H
#define NJ_REPLAY_RECORD_H

#include "batch/run/run_dir.h"
#include "batch/run/scan.h"
#include "formats/bundle/bundle.h"

struct nj_record;

/* nj_record_open_bundle - @fd is borrowed for the record's life; @flags as for nj_bundle_open() */
int nj_record_open_bundle(int fd, const char *name, unsigned flags, struct nj_record **ret_record,
                          struct nj_error *err) NJ_MUST_USE;

/*
 * nj_record_open_run - the session @key of a run, to its last commit
 *
 * @dir  borrowed for the record's life; needs no lock and works beside a live engine
 *
 * An archived session is read from its bundle in the run, from the journal where that bundle is
 * gone. Fails with NJ_E_INPUT when the run has no such session (the nearest key is named), or as
 * nj_bundle_open() and nj_journal_next().
 */
int nj_record_open_run(const struct nj_run_dir *dir, const char *key, unsigned flags,
                       struct nj_record **ret_record, struct nj_error *err) NJ_MUST_USE;

/* nj_record_open_scan - a session whose frames the caller has scanned already; takes @scan, borrows
 * @dir and @journal */
int nj_record_open_scan(const struct nj_run_dir *dir, struct nj_journal *journal,
                        struct nj_scan *scan, struct nj_record **ret_record,
                        struct nj_error *err) NJ_MUST_USE;

void nj_record_free(struct nj_record *record);
NJ_DEFINE_AUTO_PTR(struct nj_record, nj_record_free);

/* nj_record_info - borrowed from the record. status is 0 while the session has not ended. For a
 * session in a journal the host is not known (environment "{}"), and the agent's level
 * (reproducible "") stands in its config only. */
const struct nj_bundle_info *nj_record_info(const struct nj_record *record);

/* nj_record_manifest - the manifest's bytes, as a curiosity to show; empty when there is none */
struct nj_span nj_record_manifest(const struct nj_record *record);

/* nj_record_damage - with NJ_BUNDLE_SALVAGE: what is broken behind the frames that are there; NULL:
 * whole */
const char *nj_record_damage(const struct nj_record *record);

/* nj_record_damage_at - each damage that is known, from 0; NULL behind the last */
const char *nj_record_damage_at(const struct nj_record *record, size_t i);

/* nj_record_is_bundle - false while it is read from a journal */
bool nj_record_is_bundle(const struct nj_record *record);

/* nj_record_frame - frame @sequence, 1 to info->frames; the payload is appended to @out and
 * borrowed from it */
int nj_record_frame(struct nj_record *record, uint64_t sequence, struct nj_buf *out,
                    struct nj_frame *ret_frame, struct nj_error *err) NJ_MUST_USE;

/*
 * nj_record_messages - what an event does not hold itself but the core wants with it
 *
 * @event      a REPLY gets its message_bytes
 * @ret_first  an OPENED's first message, empty for all others
 *
 * Both are read from the session's objects, appended to @out and borrowed from it.
 */
int nj_record_messages(struct nj_record *record, struct nj_event *event, struct nj_buf *out,
                       struct nj_span *ret_first, struct nj_error *err) NJ_MUST_USE;

/* The session's objects, and the run's inputs (mounts). Both live as long as the record; every
 * object is checked against its digest by nj_object_get(). */
struct nj_object_source nj_record_objects(struct nj_record *record);
struct nj_object_source nj_record_inputs(struct nj_record *record);

/* nj_record_each_object - every object of the session that is whole, in the order they came; a
 * negative return of @visit ends it and is returned */
typedef int (*nj_record_visit)(void *ctx, const struct nj_object *object, struct nj_error *err);
int nj_record_each_object(struct nj_record *record, nj_record_visit visit, void *ctx,
                          struct nj_error *err) NJ_MUST_USE;

#endif
