/*
 * outputs.h - what a session leaves: collected from its workspace, published as a folder
 *
 *     nj_outputs_collect()   while the session closes: a tree of what the globs name
 *     nj_outputs_publish()   any time after, as often as wanted: outputs/<slug>/ is that tree
 *
 * Globs are those of glob.h. Paths stay as they are in the box: /workspace/out/a becomes
 * outputs/<slug>/workspace/out/a.
 */
#ifndef NJ_OUTPUTS_H
#define NJ_OUTPUTS_H

#include "formats/object/object.h"

#define NJ_OUTPUTS_REPORT_MAX_BYTES ((size_t)16 << 10)

/* nj_outputs_match - does one of @globs (absolute) name @path ("workspace/out/a", no leading '/')?
 * A glob that cannot be compiled fails with NJ_E_INPUT. Returns 0 or 1. */
int nj_outputs_match(const char *const *globs, size_t n_globs, const char *path,
                     struct nj_error *err) NJ_MUST_USE;

/*
 * nj_outputs_collect - the tree of what @globs name in the workspace @tree
 *
 * Regular files and symlinks; a hard link becomes the file it is a name of; FIFOs and sockets are
 * left out, and folders in which nothing was named. Directories and files keep mode and xattrs.
 * Contents are not put again: they are the session's objects already; only TREE objects are new.
 * Same workspace and globs, same digest.
 */
int nj_outputs_collect(const struct nj_object_source *source, const struct nj_digest *tree,
                       const char *const *globs, size_t n_globs, const struct nj_object_sink *sink,
                       struct nj_digest *ret_outputs, struct nj_error *err) NJ_MUST_USE;

/*
 * nj_outputs_publish - make outputs/<slug>/ the tree @outputs, whole or not at all
 *
 * @dir_fd  of the outputs folder; engines of one run only, one publisher a slug at a time
 * @report  appended, one line each: links that point out of the folder, which are not created. May
 * be NULL.
 *
 * Written beside it and synced, then renamed over what was there; a leftover of a killed publisher
 * is removed first. Modes are 0700 and 0600, 0700 for what was executable; owner, times and xattrs
 * are not set. No link is followed on the way. A tree with anything but files, folders and symlinks
 * in it fails with NJ_E_CORRUPT. Blocks: for a worker.
 */
int nj_outputs_publish(const struct nj_object_source *source, const struct nj_digest *outputs,
                       int dir_fd, const char *slug, struct nj_buf *report,
                       struct nj_error *err) NJ_MUST_USE;

#endif
