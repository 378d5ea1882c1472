/*
 * isolate.h - a process that is about to read hostile bytes gives up what it does not need
 *
 * Order in a command: nj_isolate_descriptors() first of all; nj_isolate_network() before any bundle
 * or run is opened; nj_sandbox_start() for those who re-execute (its helper is born inside the
 * empty network and keeps, as root, what building boxes needs); open the files;
 * nj_drop_privileges(); then parse.
 *
 * Why the namespace comes before the helper: whatever a replay starts then has no network by birth,
 * and a later slip in the helper cannot bring it back. An ordinary user gets the network namespace
 * inside a user namespace that maps the user to itself; all capabilities in it are dropped at once,
 * so the helper nests its own user namespaces exactly as it would outside.
 */
#ifndef NJ_REPLAY_ISOLATE_H
#define NJ_REPLAY_ISOLATE_H

#include "formats/base/error.h"

/* nj_isolate_descriptors - close everything above standard error: what a caller left open (a
 * socket, say) is not ours to have */
int nj_isolate_descriptors(struct nj_error *err) NJ_MUST_USE;

/*
 * nj_isolate_network - move this process into a network namespace with nothing in it, and check
 * that
 *
 * Must be called while the process has one thread. Checks afterwards: another namespace than
 * before, no interface but a loopback that is down, no route even to the own machine.
 *
 * Returns 0, or 1 when this host refuses the namespaces (@err then tells which and the cure;
 * readers may go on). Fails when the namespace is there but not empty.
 */
int nj_isolate_network(struct nj_error *err) NJ_MUST_USE;

/* nj_isolate_check - the checks alone: fails with NJ_E_SYSTEM and what was found */
int nj_isolate_check(struct nj_error *err) NJ_MUST_USE;

#endif
