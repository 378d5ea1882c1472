/*
 * ops.h - carrying a plan's operations out, inside a box's namespaces
 */
#ifndef NJ_SANDBOX_OPS_H
#define NJ_SANDBOX_OPS_H

#include "batch/sandbox/plan.h"

/* nj_op_do - carry @op out; targets are relative to the current directory, which is the box's root.
 * Returns 0 or -errno. Allocates nothing. */
int nj_op_do(const struct nj_op *op) NJ_MUST_USE;

#endif
