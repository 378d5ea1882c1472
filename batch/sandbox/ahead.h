/*
 * ahead.h - boxes opened ahead; private to sandbox.c and box.c
 *
 * An OPEN message says all that a box is made of, and nothing of it is its session's: that comes
 * with restores and calls. So a box that was opened for nobody is the box of whoever asks next for
 * the same message, which therefore is its key (under the number of a box 1). Each open orders one
 * more box of its plan, so that those opened ahead are of the plans that are in use, in their
 * proportion; the oldest is closed where there would be too many. Once taken, a box is like every
 * other; none is ever given back.
 */
#ifndef NJ_SANDBOX_AHEAD_H
#define NJ_SANDBOX_AHEAD_H

#include "batch/sandbox/sandbox_inside.h"

/* nj_ahead_key - append the message that names boxes of @plan */
int nj_ahead_key(const struct nj_box_plan *plan, struct nj_buf *key,
                 struct nj_error *err) NJ_MUST_USE;

/* nj_ahead_take - a box of @key that is no longer ahead, open or being opened; NULL: there is none
 */
struct nj_box *nj_ahead_take(struct nj_sandbox *sandbox, struct nj_span key);

/* nj_ahead_order - one more box of @key, soon and if possible: it is a help, so nothing here fails
 */
void nj_ahead_order(struct nj_sandbox *sandbox, struct nj_span key);

void nj_ahead_done(struct nj_sandbox *sandbox);

#endif
