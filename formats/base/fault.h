/*
 * fault.h - named points where a test makes the world fail
 *
 * NJ_FAULT="[role/]point[#n]:action[,...]" arms the n-th pass (default 1) over a point by the
 * processes of that role (default "engine"), all of them counted together: a process and those it
 * forks share one count, so a fault strikes once, whichever supervisor or worker gets there.
 * Actions: kill (SIGKILL to ourselves), enospc, eio, eintr, short (half of the bytes, then the
 * caller's loop goes on). Points are the wrapped system calls ("write" "fdatasync" "rename"
 * "sendmsg" "fallocate") and names like "journal.before_sync". NJ_FAULT_COUNT=FILE appends "role
 * point count" lines when the process that began ends normally: for itself and for all it forked,
 * also those that were killed or cannot see the file. So a test knows how many n there are. Without
 * these variables a point costs one predictable branch. An NJ_FAULT that cannot be read aborts the
 * process: a test that arms nothing proves nothing.
 */
#ifndef NJ_BASE_FAULT_H
#define NJ_BASE_FAULT_H

#include <stdbool.h>

enum nj_fault_action {
    NJ_FAULT_NONE,
    NJ_FAULT_ENOSPC,
    NJ_FAULT_EIO,
    NJ_FAULT_EINTR,
    NJ_FAULT_SHORT
};

/* nj_fault_init - read the environment; @role is a literal: "engine" "helper" "supervisor"
 * "worker". Call again after fork() when the role changes: what is armed and counted is then that
 * role's. In the process that called it first every count starts anew. */
void nj_fault_init(const char *role);

/* nj_fault_done - write the counts where NJ_FAULT_COUNT asks for them; only the process that began
 * does. What was told is not told again. */
void nj_fault_done(void);

/* nj_fault - pass a point, from any thread: the action the caller must act out (kill never
 * returns).
 * @point is a literal: it is kept. */
enum nj_fault_action nj_fault(const char *point);

#endif
