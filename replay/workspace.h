/*
 * workspace.h - listing and printing a recorded workspace; paths as people write them
 */
#ifndef NJ_REPLAY_WORKSPACE_H
#define NJ_REPLAY_WORKSPACE_H

#include "formats/object/object.h"

/* nj_workspace_path - "/workspace/out/" or "workspace/out" as a tree path without slashes around
 * it; "" for the root. NJ_E_INPUT when it is no path (empty names, "..", too long). The result is
 * the caller's to free(). */
int nj_workspace_path(const char *text, char **ret_path, struct nj_error *err) NJ_MUST_USE;

/* Behind the words that a path is not there, for whoever typed it as the box knows it. */
#define NJ_WORKSPACE_HINT "; `nightjar-replay ls` tells what is"

/* nj_workspace_find - as nj_tree_lookup(), the root too (an entry without name). Returns 0, or 1
 * when there is none. */
int nj_workspace_find(const struct nj_object_source *source, const struct nj_digest *root,
                      const char *path, struct nj_arena *arena, struct nj_tree_entry *ret_entry,
                      struct nj_error *err) NJ_MUST_USE;

/* nj_workspace_list - append a line for @entry, which @path names, and, of a folder, for everything
 * below it; @print is called whenever a line is there and must clear @out. Plain: the absolute
 * path, quoted where it is no plain text. */
enum nj_listing { NJ_LISTING_PLAIN, NJ_LISTING_LONG, NJ_LISTING_JSON };
int nj_workspace_list(const struct nj_object_source *source, const char *path,
                      const struct nj_tree_entry *entry, enum nj_listing listing,
                      int (*print)(struct nj_buf *out, struct nj_error *err), struct nj_buf *out,
                      struct nj_error *err) NJ_MUST_USE;

/* nj_file_type_text - as --json tells it: "file", "folder"...; static memory */
const char *nj_file_type_text(enum nj_file_type type);

#endif
