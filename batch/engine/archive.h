/*
 * archive.h - one session's record as a bundle: what the engine does at a session's end and
 * `bundle` does at any time
 */
#ifndef NJ_ARCHIVE_H
#define NJ_ARCHIVE_H

#include "batch/engine/digested.h"
#include "batch/run/object_index.h"
#include "formats/bundle/bundle.h"

/* Where a session's record lies. Everything is borrowed. */
struct nj_archive {
    struct nj_journal *journal;
    const struct nj_journal_place *places; /* sequenced frames, in order */
    size_t n_places;
    const struct nj_object_index *index;
    const struct nj_workspace_ref *mounts; /* inputs to embed: nj_config_inputs() */
    size_t n_mounts;
    struct nj_object_source inputs;
    struct nj_span manifest;
    const char *host;             /* of nj_plan_environment() */
    struct nj_digested *digested; /* what it has not read yet is read now */
};

/* nj_archive_publish - the bundle appears whole as @name in @dir_fd, or not at all. @info as in
 * nj_bundle_writer_finish(), without the environment: that is the host's, the files that ran in the
 * session's calls, and the interpreters among them; where nobody knows what ran (D0), those that
 * could. A file that is another one by now is told without a digest. Streams are spooled in
 * @dir_fd. */
int nj_archive_publish(const struct nj_archive *archive, const struct nj_bundle_info *info,
                       int dir_fd, const char *name, struct nj_error *err) NJ_MUST_USE;

#endif
