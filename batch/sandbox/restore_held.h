/*
 * restore_held.h - what a workspace held before it is restored; private to batch/sandbox
 */
#ifndef NJ_RESTORE_HELD_H
#define NJ_RESTORE_HELD_H

#include "batch/sandbox/objects.h"
#include "batch/sandbox/workspace.h"

/* restore_is_complete - is all of @ref in @objects? */
bool restore_is_complete(const struct nj_objects *objects, const struct nj_workspace_ref *ref);

/* restore_reach_new - for a walk that fails where something is not in @objects, which live longer;
 * over several trees it looks at each object once */
int restore_reach_new(const struct nj_objects *objects, struct nj_reach **ret_reach,
                      struct nj_error *err) NJ_MUST_USE;

/* restore_save - every object of the present tree */
int restore_save(struct nj_workspace *workspace, struct nj_objects *ret_objects,
                 struct nj_error *err) NJ_MUST_USE;

/* restore_wipe - remove all that is in it */
int restore_wipe(struct nj_workspace *workspace, struct nj_error *err) NJ_MUST_USE;

#endif
