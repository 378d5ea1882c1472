/*
 * inputs.h - the run's inputs: everything it read from the host, by digest, once per run
 *
 * inputs/<64 hex> is one object's bytes, mode 0600. A file appears whole, by rename, but is not
 * durable before nj_inputs_sync(): a run puts all its inputs, syncs once, and starts its first
 * session after that. An object file of an earlier process is taken for what its name says only
 * after its bytes were hashed.
 *
 *     nj_inputs_open() -> put through nj_inputs_sink() ... -> nj_inputs_sync()
 *     any time: read through nj_inputs_source()
 */
#ifndef NJ_INPUTS_H
#define NJ_INPUTS_H

#include "batch/plan/roots.h"
#include "formats/object/object.h"

#define NJ_INPUTS_FILE_MAX_BYTES (1u << 30) /* of one file of the host */
#define NJ_INPUTS_DEPTH_MAX 128             /* folders in a folder */
#define NJ_INPUTS_ENTRIES_MAX 1000000       /* in one folder and all below it */

struct nj_inputs;

/* nj_inputs_open - @dir_fd is the inputs folder, borrowed for the life of the result */
int nj_inputs_open(int dir_fd, struct nj_inputs **ret_inputs, struct nj_error *err) NJ_MUST_USE;
void nj_inputs_free(struct nj_inputs *inputs);
NJ_DEFINE_AUTO_PTR(struct nj_inputs, nj_inputs_free);

/* nj_inputs_sync - all that was put is durable afterwards (one sync a file as it comes would be
 * slow). After a failure nothing is known about any of it: the run must not start. */
int nj_inputs_sync(struct nj_inputs *inputs, struct nj_error *err) NJ_MUST_USE;

struct nj_object_sink nj_inputs_sink(struct nj_inputs *inputs);
struct nj_object_source nj_inputs_source(struct nj_inputs *inputs); /* verifies each digest */

/* nj_inputs_bytes - of all objects that were put since nj_inputs_open(), each counted once */
uint64_t nj_inputs_bytes(const struct nj_inputs *inputs);

/*
 * nj_inputs_add_file - put one regular file's content
 *
 * Reads to the end of the file as it is then; fills size, digest and parts of @entry, its type, and
 * its mode: 0644, or 0755 where anybody may execute it, whatever the umask was. *ret_mtime_ns is
 * the file's. The content is appended to @out as well, unless that is NULL. Fails with NJ_E_INPUT
 * (missing, no regular file, a link that leaves the roots: the text says which) or NJ_E_LIMIT.
 */
int nj_inputs_add_file(const struct nj_roots *roots, const struct nj_place *place,
                       const struct nj_object_sink *sink, struct nj_buf *out,
                       struct nj_tree_entry *entry, int64_t *ret_mtime_ns,
                       struct nj_error *err) NJ_MUST_USE;

/*
 * nj_inputs_add_folder - put a folder and all below it
 *
 * Its tree holds regular files (0444, or 0555 where anybody may execute them), folders (0555) and
 * symlinks as they are: a box sees them read-only, and the digest does not depend on a umask. Links
 * inside are not followed. Creation order is the order of bytes; mtimes are kept. FIFOs, sockets
 * and devices fail with NJ_E_INPUT.
 */
int nj_inputs_add_folder(const struct nj_roots *roots, const struct nj_place *place,
                         const struct nj_object_sink *sink, struct nj_workspace_ref *ret_ref,
                         struct nj_error *err) NJ_MUST_USE;

/* nj_inputs_single - a folder with @file, whose content was put, as its one entry @name: 0444, all
 * of it as old as 1970 */
int nj_inputs_single(const struct nj_tree_entry *file, const char *name,
                     const struct nj_object_sink *sink, struct nj_workspace_ref *ret_ref,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_inputs_add_path - the file or folder at @path beneath @dir_fd; a file's tree has one entry,
 * its last name */
int nj_inputs_add_path(int dir_fd, const char *path, const struct nj_object_sink *sink,
                       struct nj_workspace_ref *ret_ref, struct nj_error *err) NJ_MUST_USE;

#endif
