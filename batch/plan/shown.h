/*
 * shown.h - names of files as a message or a terminal can bear them
 *
 * A name may hold any bytes. What is no UTF-8, and what could drive or deceive a terminal, is shown
 * as \xNN.
 */
#ifndef NJ_SHOWN_H
#define NJ_SHOWN_H

#include "formats/base/buf.h"

#define NJ_SHOWN_MAX_BYTES 256

struct nj_shown {
    char text[NJ_SHOWN_MAX_BYTES];
};

/* nj_shown - for one argument of a message: nj_fail(err, code, "%s is gone", nj_shown(name).text).
 * A long name loses its head, because the last parts of a path tell more. */
struct nj_shown nj_shown(const char *text);

/* nj_shown_append - the whole of @text */
int nj_shown_append(struct nj_buf *out, const char *text, struct nj_error *err) NJ_MUST_USE;

#endif
