/*
 * rate.h - what the headers of a server's answer say about limits and waiting
 *
 * nj_rate_headers_init(), then nj_rate_header() for each header line of one answer, in any order.
 * Both styles are known: anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,
 * remaining,reset} with RFC 3339 times, and x-ratelimit-{limit,remaining,reset}-{requests,tokens}
 * with durations such as 6m0.5s. What cannot be read is passed over: headers are hints of a server
 * that may be wrong, so nothing here fails. Every figure and every wait has a cap.
 * Source: WIRE.md 3.
 */
#ifndef NJ_MODEL_RATE_H
#define NJ_MODEL_RATE_H

#include "formats/base/buf.h"

#define NJ_RATE_FIGURE_MAX 1000000000000ull        /* requests or tokens a minute */
#define NJ_RATE_WAIT_MAX_MS (30ull * 24 * 3600000) /* of any time that a header names */
#define NJ_RATE_VALUE_MAX_BYTES 128                /* longer values are passed over */

enum nj_rate_kind {
    NJ_RATE_REQUESTS,
    NJ_RATE_INPUT, /* input tokens */
    NJ_RATE_OUTPUT,
    NJ_RATE_TOKENS, /* of both kinds together */
    NJ_RATE_KINDS
};

struct nj_rate_figure {
    bool has_limit;
    bool has_remaining;
    bool has_reset;
    uint64_t limit;
    uint64_t remaining;
    uint64_t reset_ms; /* from the answer until the bucket is full again */
};

enum nj_rate_should { NJ_RATE_UNSAID, NJ_RATE_RETRY, NJ_RATE_DO_NOT };

struct nj_rate_headers {
    struct nj_rate_figure figures[NJ_RATE_KINDS];
    bool any; /* some figure was read */
    bool has_wait;
    uint64_t wait_ms; /* retry-after-ms, else retry-after */
    bool wait_is_ms;  /* it came from retry-after-ms, which wins */
    enum nj_rate_should should_retry;
};

void nj_rate_headers_init(struct nj_rate_headers *headers);

/* nj_rate_header - take one header in. @name in any case, without the colon; @value without the
 * line's end. @wall_ms is CLOCK_REALTIME in milliseconds, against which dates are taken. */
void nj_rate_header(struct nj_rate_headers *headers, struct nj_span name, struct nj_span value,
                    int64_t wall_ms);

/* nj_rate_read_rfc3339, nj_rate_read_http_date, nj_rate_read_duration - false when @text is none.
 * Times are milliseconds since 1970, the duration milliseconds, capped. */
bool nj_rate_read_rfc3339(struct nj_span text, int64_t *ret_ms);
bool nj_rate_read_http_date(struct nj_span text, int64_t *ret_ms);
bool nj_rate_read_duration(struct nj_span text, uint64_t *ret_ms);

#endif
