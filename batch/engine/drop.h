/*
 * drop.h - becoming an unprivileged user
 */
#ifndef NJ_DROP_H
#define NJ_DROP_H

#include "batch/run/run_dir.h"

/*
 * nj_drop_privileges - as root: hand @dir over and become that user; as anybody else: only
 * undumpable
 *
 * @user  a name or number; NULL: the folder's owner unless that is root, else the user who called
 * sudo, else "nightjar" if there is one, else "nobody". Becoming root is refused.
 * @dir   NULL: nothing is handed over (a replay)
 *
 * Afterwards no capability is left in any set and none can come back.
 */
int nj_drop_privileges(const char *user, const struct nj_run_dir *dir,
                       struct nj_error *err) NJ_MUST_USE;

#endif
