/*
 * kept_ops.h - what plans are spelled out as on this host, kept from box to box
 *
 * To spell a plan out means to look at /, /etc and /proc: a tenth of what a first box costs, and
 * the boxes of a run have a few plans. So the helper does it once for each of the last ones, and
 * its supervisors, which are copies of it, have it from there. What was kept is let go when one of
 * the directories looked at has changed since, or an entry of /etc leads nowhere any more, and
 * nothing is kept of a directory that changed within the last second, because two changes can have
 * one time.
 */
#ifndef NJ_SANDBOX_KEPT_OPS_H
#define NJ_SANDBOX_KEPT_OPS_H

#include <time.h>

#include "batch/sandbox/plan.h"

#define NJ_KEPT_OPS_PLANS 4
#define NJ_KEPT_OPS_DIRS 3 /* "/", "/etc" and "/etc/ssl" */

struct nj_kept_ops {
    struct nj_kept_plan {
        struct nj_buf key; /* the plan, encoded; empty: nothing is kept here */
        struct nj_arena arena;
        struct nj_ops ops;
        struct timespec changed[NJ_KEPT_OPS_DIRS];
    } plans[NJ_KEPT_OPS_PLANS];
    size_t next; /* to be let go of */
};

/* nj_kept_ops_get - @plan (checked) spelled out, as nj_ops_build() does with @store; borrowed, and
 * valid until the next call */
int nj_kept_ops_get(struct nj_kept_ops *kept, const struct nj_box_plan *plan, const char *store,
                    const struct nj_ops **ret_ops, struct nj_error *err) NJ_MUST_USE;
void nj_kept_ops_done(struct nj_kept_ops *kept);

#endif
