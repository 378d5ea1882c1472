/*
 * payload.h - what runs between the clone of a payload and its exec
 *
 * A payload comes into being in one of two ways. Ahead of its call, where the plan allows it: then
 * it gives up all it must not have, waits for the call by itself and needs only descriptors and
 * directory before it execs. Or its reaper, which still has mounts to make, takes the call first.
 * Nothing is allocated here; a failure is told as a stage, with errno.
 */
#ifndef NJ_SANDBOX_PAYLOAD_H
#define NJ_SANDBOX_PAYLOAD_H

#include "batch/sandbox/init.h"

/* What comes with a call: stdin, stdout, stderr, perhaps the script. */
#define NJ_PAYLOAD_FDS_MAX 4
struct nj_payload_call {
    int fds[NJ_PAYLOAD_FDS_MAX];
    size_t n_fds; /* 0: not taken yet */
};

/* nj_payload_take - wait for the call and own it: from here it counts as begun. Ends the process
 * when the supervisor is gone. */
void nj_payload_take(const struct nj_init *init, struct nj_payload_call *call);

/* nj_payload_write_script - returns 0 or the negative errno. The reaper does it, or a payload that
 * took its call itself. */
int nj_payload_write_script(const struct nj_init *init, const struct nj_payload_call *call);

/* nj_payload_run - become the program; takes the call first where nobody did. Returns the stage
 * that failed. */
enum nj_init_stage nj_payload_run(const struct nj_init *init, struct nj_payload_call *call);

/* nj_payload_set_caps - exactly these, of the calling process; 0 or the negative errno */
int nj_payload_set_caps(uint64_t caps);

#endif
