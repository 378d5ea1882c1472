/*
 * store.h - the helper's store: trees that boxes mount read-only
 *
 * A tmpfs that only the helper's mount namespace and those copied from it see. An input or image is
 * made under another name and appears whole, by rename, under that of its digests (plan.h); the
 * same twice is free. One thing is added at a time.
 */
#ifndef NJ_SANDBOX_STORE_H
#define NJ_SANDBOX_STORE_H

#include "batch/sandbox/protocol.h"

bool nj_store_has_input(const char *store, const struct nj_workspace_ref *ref);
bool nj_store_has_image(const char *store, const struct nj_workspace_ref *image);

/* nj_store_add - what an INPUT or ROOTFS message asks for; @objects_fd is its descriptor, taken.
 * @engine_fd is a pidfd of who asks, or -1: unpacking an image ends with it. */
int nj_store_add(const char *store, const struct nj_msg *msg, int objects_fd, int engine_fd,
                 struct nj_error *err) NJ_MUST_USE;

#endif
