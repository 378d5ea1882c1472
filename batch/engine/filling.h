/*
 * filling.h - the objects that a box is sent to restore a workspace from
 *
 * Used by whoever has a session's objects: the engine, whose boxes are new when they are restored,
 * and replay, whose box mostly holds another state of the session. Such a one is sent the
 * directories, and of contents those that it has not: it changes what differs
 * (batch/sandbox/restore_changed.c).
 */
#ifndef NJ_FILLING_H
#define NJ_FILLING_H

#include "formats/object/object.h"

struct nj_filling {
    struct nj_object_source source;   /* of directories, and of what is in them */
    struct nj_object_source contents; /* of what is sent, which the box checks */
    const struct nj_digest *held; /* the tree that the box has; NULL: nothing, or it is not known.
                                     What the source does not know of it is sent. */
};

/* nj_fill - write all that @wanted takes to @fd, encoded. A box that was given @filling->held may
 * refuse it, where it has not what it was thought to have; then it is to be built anew. */
int nj_fill(const struct nj_filling *filling, const struct nj_workspace_ref *wanted, int fd,
            struct nj_error *err) NJ_MUST_USE;

#endif
