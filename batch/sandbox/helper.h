/*
 * helper.h - the small process that keeps what building boxes needs
 *
 * A program of its own, nj-sandbox, started in nj_sandbox_start(), before the engine drops
 * privileges or reads a secret; of the engine's memory, descriptors and environment it has the
 * socket, standard error and a few variables. As root it
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

#define NJ_HELPER_FD 3 /* of its socket to the engine, when the program begins */

/* nj_helper_start - the engine starts the program, with @fd as its socket
 *
 * It lies beside the running program, or in ../libexec/nightjar from there. Fails with NJ_E_SYSTEM
 * where it does not, naming the cure. The process is the caller's to wait for.
 */
int nj_helper_start(const char *run_name, int fd, pid_t *ret_pid, struct nj_error *err) NJ_MUST_USE;

/* nj_build_name - "0.1.0 (build 1f5a90c3d2b7)": the version, and which sources both are made of */
extern const char nj_build_name[];

/* nj_helper_run - what the program does; never returns. Sends READY or FAILED first; it fails where
 * @build, the engine's nj_build_name, is not its own. */
void nj_helper_run(int engine_fd, const char *build, const char *run_name)
    __attribute__((noreturn));

#endif
