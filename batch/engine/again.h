/*
 * again.h - whether a session that failed is tried again, and when
 *
 * Pure. A second attempt begins from the start, in a fresh box, with the same identity: the attempt
 * is told in the journal (FORMAT.md, "Attempts") and enters no digest.
 */
#ifndef NJ_AGAIN_H
#define NJ_AGAIN_H

#include "formats/base/digest.h"
#include "formats/manifest/manifest.h"

/* nj_again_wanted - @attempts have ended, the last one failed with @error_kind ("model", ...) */
bool nj_again_wanted(const struct nj_manifest_retry *retry, uint64_t attempts,
                     const char *error_kind);

/* nj_again_delay_ms - how long to wait behind attempt @attempts: backoff_seconds doubled each time
 * up to backoff_max_seconds, of which between a half and the whole, as the session's identity
 * falls: those that failed together do not come back together, and a run that is repeated waits
 * alike. */
int64_t nj_again_delay_ms(const struct nj_manifest_retry *retry, uint64_t attempts,
                          const struct nj_digest *identity);

#endif
