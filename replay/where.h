/*
 * where.h - what a person means by B, B@N and RUN:KEY
 *
 * B is a bundle's path, or RUN:KEY: a run directory and a session's key. N is a step, counted from
 * 1 as `show` prints them: 0 or "start" is the workspace the session began with, -1 or "last" is
 * the last step, -2 the one before. A file that is really called "a@3" or "run:key" wins over these
 * readings. Only stat() happens here: nothing is opened.
 */
#ifndef NJ_REPLAY_WHERE_H
#define NJ_REPLAY_WHERE_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/base/cleanup.h"
#include "formats/base/error.h"

struct nj_where {
    char *text; /* as the person wrote it, without @N: for messages */
    char *path; /* bundle file or run directory */
    char *key;  /* NULL for a bundle file */
    bool has_step;
    int64_t step; /* from 1; 0: the start; negative: from the end */
};

void nj_where_done(struct nj_where *where);
NJ_DEFINE_AUTO_VAL(struct nj_where, nj_where_done);

/* nj_where_parse - fails with NJ_E_INPUT and what was expected: neither such a file nor such a run,
 * a run without a key, a step that is no step */
int nj_where_parse(const char *text, struct nj_where *ret_where, struct nj_error *err) NJ_MUST_USE;

#endif
