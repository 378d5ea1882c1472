/*
 * apart.h - the part of a command that reads a record, in a process of its own
 *
 * A confined process (batch/engine/confine.h) cannot name a file outside the folders it was given.
 * Where a command must (the folder of a checkout, the file of a salvage), the reading is done
 * apart: the child confines itself, reads, writes into what was opened for it, and tells a few
 * bytes; the parent, which never parses a byte of the record, does the naming.
 */
#ifndef NJ_REPLAY_APART_H
#define NJ_REPLAY_APART_H

#include <stddef.h>

#include "formats/base/error.h"

#define NJ_APART_TOLD_MAX_BYTES 256

/* What the child tells, as far as it is not its exit status: text that the parent still has to
 * check. */
struct nj_told {
    char text[NJ_APART_TOLD_MAX_BYTES];
};

typedef int (*nj_apart_work)(void *ctx, struct nj_told *told, struct nj_error *err);

/*
 * nj_apart - run @work in a child, which ends with this process, and wait for it
 *
 * Returns what @work returned: an exit status, or its failure with the child's error. A child that
 * ended otherwise is NJ_E_SYSTEM. @ret_told is written in each case (zeroed unless the child told),
 * and is always terminated.
 */
int nj_apart(nj_apart_work work, void *ctx, struct nj_told *ret_told,
             struct nj_error *err) NJ_MUST_USE;

#endif
