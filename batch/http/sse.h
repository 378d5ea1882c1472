/*
 * sse.h - server-sent events: bytes in, events out
 *
 * A pure stepper. Feed what came with nj_sse_next() until it says MORE, then feed the next bytes;
 * wherever the bytes are cut, the same events come out. Lines end in LF, CR or CRLF; a BOM at the
 * very beginning is passed over; comments, `id` and `retry` are read and dropped (nobody here goes
 * on with a stream that broke); several `data` lines are joined with a newline. What stands after
 * the last blank line when the stream ends is no event: nj_sse_is_clean() tells.
 * Source: HTML standard, "Server-sent events", parsing an event stream.
 */
#ifndef NJ_HTTP_SSE_H
#define NJ_HTTP_SSE_H

#include "formats/base/buf.h"

#define NJ_SSE_NAME_MAX_BYTES                                                                      \
    64 /* of an event's name; a longer one is cut, so it is an unknown one */

struct nj_sse {
    struct nj_buf line; /* the beginning of a line whose end has not come */
    struct nj_buf data;
    char name[NJ_SSE_NAME_MAX_BYTES + 1];
    size_t name_len;
    size_t max_bytes;
    bool has_data;
    bool begun;    /* the first line's beginning was looked at */
    bool after_cr; /* an LF now belongs to the line before */
    bool given;    /* the event in data was handed out */
};

/* Borrowed until the next call. */
struct nj_sse_event {
    struct nj_span name; /* "" when the stream gave none: a "message" */
    struct nj_span data;
};

enum nj_sse_outcome { NJ_SSE_MORE, NJ_SSE_EVENT };

/* nj_sse_init - neither a line nor an event's data may be longer than @max_bytes */
void nj_sse_init(struct nj_sse *sse, size_t max_bytes);
void nj_sse_done(struct nj_sse *sse);
NJ_DEFINE_AUTO_VAL(struct nj_sse, nj_sse_done);

/*
 * nj_sse_next - take bytes from the front of @bytes, which moves on, up to the next event
 *
 * Returns NJ_SSE_EVENT, or NJ_SSE_MORE when @bytes is used up. Fails with NJ_E_LIMIT (a line or an
 * event is too long) or NJ_E_NOMEM; the reader is of no use then.
 */
int nj_sse_next(struct nj_sse *sse, struct nj_span *bytes, struct nj_sse_event *ret_event,
                struct nj_error *err) NJ_MUST_USE;

/* nj_sse_is_clean - did the bytes so far end between two events? */
bool nj_sse_is_clean(const struct nj_sse *sse);

#endif
