/*
 * allowed.h - the directories of --allow-path, kept with the run so that a resume has them, too
 *
 * All other inputs are in the run by then; what is read again at a resume are the sources of
 * credentials. The file is inputs/allowed.json, an array of absolute paths. Whoever owns the run
 * could change it, and reads only what he may read: see secrets.h.
 */
#ifndef NJ_ALLOWED_H
#define NJ_ALLOWED_H

#include "formats/base/error.h"

#define NJ_ALLOWED_NAME "allowed.json"

/* nj_allowed_save - @allow is NULL-terminated and may be NULL; the directories exist. Durable. */
int nj_allowed_save(const char *const *allow, int inputs_fd, struct nj_error *err) NJ_MUST_USE;

/* nj_allowed_load - what was saved, NULL-terminated; a run of an earlier build has none. A
 * directory that is gone is left out. */
int nj_allowed_load(int inputs_fd, char ***ret_allow, struct nj_error *err) NJ_MUST_USE;
void nj_allowed_free(char **allow);

#endif
