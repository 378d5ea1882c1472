/*
 * ran.h - the host's files that ran in a call that is run again, beside those of the record
 *
 * Which files ran now is told by the box, and only they are read: no path that a record names is
 * looked at. A file that ran then and now, and is another one now, makes a difference of outputs
 * one of the environment. What a file holds (batch/sandbox/instructions.h) can only hint at where a
 * difference comes from.
 */
#ifndef NJ_REPLAY_RAN_H
#define NJ_REPLAY_RAN_H

#include "batch/engine/digested.h"
#include "formats/journal/event.h"
#include "replay/environment.h"

/* nj_ran_compare - each file of the list @digest in @now that the environment @then tells with
 * another digest: a line for each, appended to @what unless it stands there. */
int nj_ran_compare(struct nj_digested *digested, const struct nj_object_source *now,
                   const struct nj_digest *digest, const struct nj_environment *then,
                   struct nj_buf *what, struct nj_error *err) NJ_MUST_USE;

/* nj_ran_holder - the last path, in the list @digest of @now, of a file that holds one of @holds
 * and is no program's loader: into @path; false: there is none */
bool nj_ran_holder(const struct nj_digested *digested, const struct nj_object_source *now,
                   const struct nj_digest *digest, unsigned holds, char *path, size_t size);

/* nj_ran_stranger - the first path that stands in one of the lists alone: into @path; false: there
 * is none. *ret_then: it is of @then's */
bool nj_ran_stranger(const struct nj_object_source *source_then, const struct nj_digest *then,
                     const struct nj_object_source *source_now, const struct nj_digest *now,
                     char *path, size_t size, bool *ret_then);

#endif
