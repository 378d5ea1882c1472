/*
 * probe.h - what this kernel offers to boxes, and how to get what it lacks
 *
 * Each is tried for real, in a child process that may fail or die, as a box would use it; no
 * version is looked at. nj_sandbox_start() tries what boxes cannot do without and refuses with the
 * same words that `nightjar doctor` prints; the doctor tries the rest as well.
 *
 * NJ_TEST_LACK="proc,seccomp-filter" makes these answer as a kernel without them does: tests of the
 * words.
 */
#ifndef NJ_SANDBOX_PROBE_H
#define NJ_SANDBOX_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "formats/base/error.h"

#define NJ_PROBE_NO_BOX "no box can be built: run, resume and verify refuse to start"

/* Each once: enumerator, id, name, where it is tried, the errno that NJ_TEST_LACK answers, and what
 * follows without it. Those in front of NOTIFY are what no box can do without. */
#define NJ_PROBES(X)                                                                               \
    X(NAMESPACES, "namespaces", "user namespaces", PLAIN, EPERM, NJ_PROBE_NO_BOX)                  \
    X(MOUNTS, "mounts", "mounting in a namespace", INSIDE, ENOSYS, NJ_PROBE_NO_BOX)                \
    X(TMPFS, "tmpfs", "a bounded tmpfs", INSIDE, EINVAL, NJ_PROBE_NO_BOX)                          \
    X(PROC, "proc", "a /proc of its own", INSIDE, EPERM, NJ_PROBE_NO_BOX)                          \
    X(CALLS, "calls", "newer file and process calls", PLAIN, ENOSYS, NJ_PROBE_NO_BOX)              \
    X(FILTER, "seccomp-filter", "seccomp filters", PLAIN, EINVAL, NJ_PROBE_NO_BOX)                 \
    X(NOTIFY, "seccomp-notify", "seccomp notification", PLAIN, EBUSY,                              \
      "steps cannot be made reproducible: time and randomness in boxes are the host's")            \
    X(KILLABLE, "seccomp-killable", "killable notification", PLAIN, EINVAL,                        \
      "a signal may restart an answered call: reproducible steps of programs in Go may differ")    \
    X(PTRACE, "ptrace", "tracing a box at exec", PLAIN, EPERM,                                     \
      "the clock page cannot be replaced in programs: steps are not reproducible")                 \
    X(FUSE, "fuse", "files of our own in a box", PLAIN, ENOENT,                                    \
      "/dev/urandom and its like in boxes are the host's: steps are not reproducible")             \
    X(TIME_NS, "time-namespace", "time namespaces", INSIDE, EINVAL,                                \
      "a box cannot be given an uptime of its own")                                                \
    X(XATTR, "tmpfs-xattr", "user attributes on tmpfs", INSIDE, EOPNOTSUPP,                        \
      "programs in boxes cannot set user.* attributes, and a workspace that has some cannot be "   \
      "restored here")                                                                             \
    X(FANOTIFY, "fanotify", "fanotify in a user namespace", INSIDE, EPERM,                         \
      "the order of changes in a workspace cannot be watched: file times fall back to stamps")     \
    X(REALTIME, "real-time", "real-time scheduling", SELF, EPERM,                                  \
      "order within a step is kept by the token scheduler alone, which costs more")

enum nj_probe_what {
#define X(name, id, text, where, lack, consequence) NJ_PROBE_##name,
    NJ_PROBES(X)
#undef X
        NJ_PROBES_COUNT
};
#define NJ_PROBES_REQUIRED NJ_PROBE_NOTIFY

enum nj_probe_state { NJ_PROBE_OK, NJ_PROBE_DEGRADED, NJ_PROBE_MISSING };

/* One thing that was looked at. */
struct nj_probe_finding {
    const char *id;   /* for scripts */
    const char *name; /* for people */
    enum nj_probe_state state;
    char found[320];         /* what there is, or what the kernel answered */
    const char *consequence; /* NULL: none, it is OK */
    char cure[400];          /* a line to type, as far as there is one; empty when OK */
};

/* nj_probe_try - try one thing, as @uid when we are root (-1: as we are). Takes a millisecond or
 * two, five seconds when something hangs. */
void nj_probe_try(enum nj_probe_what what, uid_t uid, struct nj_probe_finding *ret_finding);

/* nj_probe_host - all that boxes cannot do without; NJ_E_SYSTEM with the first that is missing */
int nj_probe_host(uid_t uid, struct nj_error *err) NJ_MUST_USE;

/* nj_probe_explain - NJ_E_SYSTEM in the doctor's words: what is missing, what it answered, and the
 * cure on this host */
int nj_probe_explain(struct nj_error *err, enum nj_probe_what what, int errnum);

/* Root in a namespace that maps nobody else: the engine does not run as root, and whom should it
 * become? */
#define NJ_PROBE_NO_USER                                                                           \
    "the engine does not run as root, and here is nobody else it could become: run and resume "    \
    "refuse to start"
#define NJ_PROBE_NO_USER_CURE                                                                      \
    "start it as an ordinary user (unshare --map-current-user), or map more uids into this "       \
    "namespace (podman: --userns=auto; newuidmap)"

/* nj_probe_has_uid - @uid exists in this user namespace */
bool nj_probe_has_uid(uid_t uid);

/* nj_probe_switch - a number of /proc/sys or the like; -1 where this kernel has none */
long nj_probe_switch(const char *path);

/* nj_probe_is_withheld - NJ_TEST_LACK says that a test is to go without it */
bool nj_probe_is_withheld(enum nj_probe_what what);

#endif
