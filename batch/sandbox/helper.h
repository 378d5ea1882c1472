/*
 * helper.h - the small process that keeps what building boxes needs
 *
 * Forked in nj_sandbox_start(), before the engine drops privileges or reads a secret. As root it
 * stays root in a private mount namespace; as an ordinary user it holds the capabilities of a user
 * namespace of its own, so both ways go on alike. It owns the store of inputs and the cgroups,
 * forks a supervisor for each box and cleans up behind it. What the engine sends is hostile until
 * checked: the engine has given privileges up, the helper has not.
 */
#ifndef NJ_SANDBOX_HELPER_H
#define NJ_SANDBOX_HELPER_H

#include "batch/sandbox/protocol.h"

/* As root each live box has a host uid and gid of its own: helpers that live at the same time take
 * different blocks, by their pids. */
#define NJ_HELPER_UID_FIRST 0x6e6a0000u
#define NJ_HELPER_BOXES_MAX 4096u
#define NJ_HELPER_UID_BLOCKS 16384u

/* nj_helper_own_uids - we are root and these uids exist in our user namespace */
bool nj_helper_own_uids(void);

/* nj_helper_run - what the forked process does; never returns. Sends READY or FAILED first. */
void nj_helper_run(int engine_fd, const char *run_name) __attribute__((noreturn));

#endif
