/*
 * reused_check.h - bundles of an earlier run are parsed in a process of their own
 *
 * What agents wrote is in them, and the engine holds all of this run. So one confined child
 * (confine.h) reads each bundle whole and publishes its outputs; it has none of the engine's
 * descriptors, and can write below the outputs' folder and nowhere else. The engine only hears
 * whether the bundle is good, of the very descriptor that it passed, which it then gives a name.
 */
#ifndef NJ_REUSED_CHECK_H
#define NJ_REUSED_CHECK_H

#include "batch/plan/plan.h"

struct nj_reused_checker;

/* nj_reused_checker_new - the child begins with the first check; @plan must not change afterwards,
 * @outputs_fd is borrowed */
int nj_reused_checker_new(const struct nj_plan *plan, int outputs_fd,
                          struct nj_reused_checker **ret_checker, struct nj_error *err) NJ_MUST_USE;

/* nj_reused_checker_free - ends the child and reaps it; accepts NULL */
void nj_reused_checker_free(struct nj_reused_checker *checker);
NJ_DEFINE_AUTO_PTR(struct nj_reused_checker, nj_reused_checker_free);

/*
 * nj_reused_check - is the bundle @fd that of @session, whole and succeeded? then its outputs are
 * published
 *
 * Waits. Fails as reading, comparing and publishing do, and with NJ_E_SYSTEM when the child
 * was ended by what it read or is not through with it in time: a second and one more for each
 * megabyte, at most a minute, and half an hour more for all bundles of a checker together. The next
 * check has a new child.
 */
int nj_reused_check(struct nj_reused_checker *checker, const struct nj_plan_session *session,
                    int fd, const char *name, struct nj_error *err) NJ_MUST_USE;

#endif
