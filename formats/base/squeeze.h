/*
 * squeeze.h - zstd frames under a decoded-size cap
 */
#ifndef NJ_BASE_SQUEEZE_H
#define NJ_BASE_SQUEEZE_H

#include "formats/base/buf.h"

#define NJ_SQUEEZE_LEVEL 1         /* the journal: speed; a step waits for it */
#define NJ_SQUEEZE_LEVEL_QUICK -1  /* what is short: a third of the time, a tenth more bytes */
#define NJ_SQUEEZE_LEVEL_ARCHIVE 3 /* bundles: written once, in a worker */
#define NJ_SQUEEZE_LEVEL_ARCHIVE_SHORT 2 /* as small where there is little; half the time */
#define NJ_SQUEEZE_SHORT_MAX_BYTES ((size_t)128 << 10) /* beyond, level 3 finds more */

/* nj_squeeze - append one zstd frame (content size and checksum in its header) to @out */
int nj_squeeze(struct nj_buf *out, struct nj_span data, int level,
               struct nj_error *err) NJ_MUST_USE;

/* nj_unsqueeze - append the decoded bytes of exactly one zstd frame to @out.
 * NJ_E_CORRUPT: damaged, no content size, bytes behind the frame; NJ_E_LIMIT: more than @max_bytes,
 * checked on the frame's header before any allocation. */
int nj_unsqueeze(struct nj_buf *out, struct nj_span data, size_t max_bytes,
                 struct nj_error *err) NJ_MUST_USE;

/* nj_squeeze_onto, nj_unsqueeze_onto - the same where the reader has @base: what the data shares
 * with it costs next to nothing. The frame has no checksum (whoever has a base has a digest of the
 * whole) and is what "zstd --patch-from" reads. @base is at most NJ_SQUEEZE_BASE_MAX_BYTES. */
#define NJ_SQUEEZE_BASE_MAX_BYTES (1u << 20)
int nj_squeeze_onto(struct nj_buf *out, struct nj_span data, struct nj_span base, int level,
                    struct nj_error *err) NJ_MUST_USE;
int nj_unsqueeze_onto(struct nj_buf *out, struct nj_span data, struct nj_span base,
                      size_t max_bytes, struct nj_error *err) NJ_MUST_USE;

#endif
