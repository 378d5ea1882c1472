/*
 * probe.h - what this host offers to boxes, and how to get what it lacks
 */
#ifndef NJ_SANDBOX_PROBE_H
#define NJ_SANDBOX_PROBE_H

#include <sys/types.h>

#include "formats/base/error.h"

enum nj_probe_what {
    NJ_PROBE_NAMESPACES, /* clone with user, pid, mount, network, ipc and uts namespaces */
    NJ_PROBE_PROC,       /* a procfs of one's own */
    NJ_PROBE_MOUNTS,     /* mount_setattr and the other calls of Linux 5.12 */
    NJ_PROBE_FILTER,     /* seccomp filters */
};

/* nj_probe_explain - NJ_E_SYSTEM: what is missing, what it answered, and what to do about it on
 * this host */
int nj_probe_explain(struct nj_error *err, enum nj_probe_what what, int errnum);

/* nj_probe_host - try everything in a child process, as a box would: as @uid when we are root (-1:
 * as we are). Takes a few milliseconds. */
int nj_probe_host(uid_t uid, struct nj_error *err) NJ_MUST_USE;

#endif
