/*
 * deadline.h - "06:00 Europe/Berlin": when that is next
 */
#ifndef NJ_DEADLINE_H
#define NJ_DEADLINE_H

#include <stdint.h>

#include "formats/base/error.h"

/*
 * nj_deadline_next - the next such time after @now_s, in seconds since 1970
 *
 * @text  as the manifest has it; its shape was checked there
 *
 * Each day has one: a time that a clock shows twice (put back in autumn) is the first of the two;
 * one that it jumps over (put forward in spring) is the moment of the jump. The zone is looked up
 * in the host's zone files; UTC needs none. Sets TZ for a moment: not while other threads run.
 * Fails with NJ_E_INPUT when the host does not know the zone.
 */
int nj_deadline_next(const char *text, int64_t now_s, int64_t *ret_s,
                     struct nj_error *err) NJ_MUST_USE;

#endif
