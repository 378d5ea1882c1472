/*
 * junit.h - junit.xml: a test suite a group, a test case a session
 *
 * For the dashboards that everybody has. A failed session is a failure of its cause's kind (an
 * error where the engine itself failed), with the command that replays it; one that has not ended,
 * or was skipped, is skipped. What XML cannot hold appears as \xNN.
 */
#ifndef NJ_JUNIT_H
#define NJ_JUNIT_H

#include "batch/report/tally.h"

#define NJ_JUNIT_NAME "junit.xml"

int nj_junit_write(const struct nj_ledger *ledger, const struct nj_tally *tally, struct nj_buf *out,
                   struct nj_error *err) NJ_MUST_USE;

#endif
