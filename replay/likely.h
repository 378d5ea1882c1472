/*
 * likely.h - where a difference probably comes from, judged by what differs
 *
 * A guess for a person, said as one: it never changes a verdict. What is known (a step that was
 * lowered, a program that is another one) is looked at by the caller first; here two outputs are
 * looked at around their first differing byte.
 */
#ifndef NJ_REPLAY_LIKELY_H
#define NJ_REPLAY_LIKELY_H

#include "formats/base/buf.h"

/* Each source once: enumerator and what a person reads. */
#define NJ_LIKELY(X)                                                                               \
    X(UNKNOWN, "the program itself: nothing about it looks like time, chance or order")            \
    X(TIME, "time: a date or clock reading differs")                                               \
    X(RANDOMNESS, "randomness: a number or name of chance differs")                                \
    X(ADDRESS, "addresses: a pointer differs")                                                     \
    X(ORDER, "order: the same lines came in another one")

enum nj_likely {
#define X(name, text) NJ_LIKELY_##name,
    NJ_LIKELY(X)
#undef X
};

const char *nj_likely_text(enum nj_likely likely);

/* nj_likely_source - of two outputs that differ, as far as they were kept */
enum nj_likely nj_likely_source(struct nj_span recorded, struct nj_span now);

#endif
