/*
 * inputs.h - the run's inputs: everything it read from the host, by digest, once per run
 *
 * inputs/<64 hex> is one object's bytes, mode 0600, published atomically; inputs/sources.jsonl lists, for a person, which
 * path of the manifest's directory had which digest.
 */
#ifndef NJ_INPUTS_H
#define NJ_INPUTS_H

#include "formats/object/object.h"

struct nj_inputs;

/* nj_inputs_open - @dir_fd is the inputs folder, borrowed for the life of the result */
int nj_inputs_open(int dir_fd, struct nj_inputs **ret_inputs, struct nj_error *err) NJ_MUST_USE;
void nj_inputs_free(struct nj_inputs *inputs);
NJ_DEFINE_AUTO_PTR(struct nj_inputs, nj_inputs_free);

/* nj_inputs_sync - all that was put is durable afterwards (one sync a file would be slow) */
int nj_inputs_sync(struct nj_inputs *inputs, struct nj_error *err) NJ_MUST_USE;

struct nj_object_sink nj_inputs_sink(struct nj_inputs *inputs);
struct nj_object_source nj_inputs_source(struct nj_inputs *inputs); /* verifies each digest */

/* nj_inputs_add_path - put the file or folder at @path beneath @dir_fd (openat2 RESOLVE_BENEATH: links cannot leave it); a folder's tree
 * holds regular files, folders and symlinks as they are, modes kept without write bits */
int nj_inputs_add_path(int dir_fd, const char *path, const struct nj_object_sink *sink,
                       struct nj_workspace_ref *ret_ref, struct nj_error *err) NJ_MUST_USE;

#endif
