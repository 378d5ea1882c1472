/*
 * slug.h - a session's key as a file name
 */
#ifndef NJ_SLUG_H
#define NJ_SLUG_H

#include "formats/base/buf.h"

#define NJ_SLUG_MAX_BYTES 80

/*
 * nj_slug - [a-z0-9._-]+, at most NJ_SLUG_MAX_BYTES, begins with a letter or digit
 *
 * @clash  false: ASCII letters in lower case, runs of everything else that is not in the set as
 *         one '-'; true: the same, cut shorter, with "-" and the first 16 hex characters of the
 *         key's SHA-256, for a key whose plain slug is taken by another
 */
void nj_slug(const char *key, bool clash, char slug[NJ_SLUG_MAX_BYTES + 1]);

#endif
