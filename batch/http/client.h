/*
 * client.h - HTTP exchanges on the engine's loop: what models, tools and the gateway share
 *
 * One struct nj_http is one connection pool: libcurl's multi interface driven by the loop's sockets
 * and timers. Nothing here blocks; names are resolved by libcurl's own threads. nj_http_begin()
 * starts an exchange; then from the loop come headers (once), body (any number of times) and
 * exactly one ended, after which the call is gone. nj_http_cancel() may be called at any time
 * before ended, from inside the callbacks too; nothing comes after it.
 *
 *   begin -> headers -> body ... -> ended
 *         \-> ended (no answer)
 *
 * What is always true: certificates are verified; only http and https; no redirect is followed,
 * since a credential would follow it; proxies of the environment are ignored unless asked for;
 * bodies are asked for and taken uncompressed, so a cap counts what memory holds; HTTP/2 where TLS
 * offers it and does not say, of a call, that it wants HTTP/1.1; what was sent once is not sent
 * again, also where a kept connection closes without an answer, as libcurl alone would. A limit
 * that is 0 is none, apart from the caps, which have defaults; one above ten seconds may pass a
 * quarter of a second later.
 */
#ifndef NJ_HTTP_CLIENT_H
#define NJ_HTTP_CLIENT_H

#include <sys/socket.h>

#include "batch/http/header.h"
#include "formats/base/error.h"

struct event_base;
struct nj_http;
struct nj_http_call;

#define NJ_HTTP_CONNECT_MS 20000 /* name, connection and TLS together */
#define NJ_HTTP_SHARE_MS 3000    /* a call waits so long for another's connection, to share it */
#define NJ_HTTP_BODY_MAX_BYTES (16u << 20) /* of an answer; a request may say otherwise */
/* Bodies up to this are handed to libcurl in one piece, which it sends with the headers and, as a
 * rule, without a buffer of its own; larger ones are read from the caller's spans, through 16 KiB.
 * Nothing of either is held once they are sent. */
#define NJ_HTTP_FLAT_MAX_BYTES (32u << 10)
#define NJ_HTTP_IDLE_HANDLES_MAX 64 /* kept for the next calls */

struct nj_http_options {
    const char *ca_file; /* certificates to trust, PEM; NULL: the system's */
    bool read_trust;     /* read them now: https will be asked for (trust.h) */

    /* allow_address - may a socket be opened to @address? NULL: to any. Called where libcurl opens
     * the socket, so after the name was resolved and for each address of it. */
    bool (*allow_address)(void *ctx, const struct sockaddr *address, socklen_t len);
    void *ctx;

    /* on_piece - called as the loop comes to a piece of work here: who measures how long the loop
     * is held up by one sees where the piece before it has ended. May be NULL. */
    void (*on_piece)(void *ctx);
    void *piece_ctx;
};

/* Spans, url and headers are borrowed: a large body until sent, ended or cancelled, the rest for
 * the call of nj_http_begin() only. */
struct nj_http_request {
    const char *method; /* "GET", "POST"... */
    const char *url;
    const char *const *headers; /* "Name: value"; secrets are welcome, copies are wiped */
    size_t n_headers;
    const struct nj_span *body; /* sent one behind the other, never joined when large */
    size_t n_body;
    uint64_t connect_ms;     /* 0: NJ_HTTP_CONNECT_MS */
    uint64_t first_byte_ms;  /* from begin to the answer's first byte */
    uint64_t idle_ms;        /* between two bytes of the answer */
    uint64_t deadline_ms;    /* from begin to ended: what ends a trickle */
    uint64_t body_max_bytes; /* 0: NJ_HTTP_BODY_MAX_BYTES */
};

enum nj_http_end {
    NJ_HTTP_WHOLE,     /* an answer came, whole as HTTP goes; whatever its status */
    NJ_HTTP_UNREACHED, /* no connection, so nothing was asked */
    NJ_HTTP_REFUSED,   /* we would not: bad URL, certificate not trusted, address not allowed */
    NJ_HTTP_CUT,       /* the connection broke, or the answer broke HTTP's rules */
    NJ_HTTP_STALLED,   /* first_byte_ms or idle_ms passed */
    NJ_HTTP_LATE,      /* deadline_ms passed */
    NJ_HTTP_TOO_LARGE, /* headers, body or trailers beyond their cap */
    NJ_HTTP_STOPPED    /* the body callback said so */
};

struct nj_http_result {
    enum nj_http_end end;
    int status;       /* 0: no answer's headers came */
    const char *text; /* why, for a person; "" when WHOLE. Never holds a header that was sent */
    uint64_t body_bytes;
};

struct nj_http_callbacks {
    void (*headers)(void *ctx, int status, const struct nj_http_header *headers,
                    size_t n_headers); /* of the final answer; may be NULL */
    /* body - the next bytes. Returning false stops the exchange: ended follows with STOPPED. */
    bool (*body)(void *ctx, struct nj_span bytes);
    void (*ended)(void *ctx, const struct nj_http_result *result);
    /* sent - the whole body is, and is not borrowed any more. Begins and cancels nothing. May be
     * NULL. */
    void (*sent)(void *ctx);
    void *ctx;
};

/* nj_http_new - @options is copied, its strings too; nj_http_free() wants all calls ended */
int nj_http_new(struct event_base *base, const struct nj_http_options *options,
                struct nj_http **ret_http, struct nj_error *err) NJ_MUST_USE;
void nj_http_free(struct nj_http *http);
NJ_DEFINE_AUTO_PTR(struct nj_http, nj_http_free);

/* nj_http_begin - fails only when memory is gone or the request cannot be written down at all; what
 * the network says comes through ended, from the loop */
int nj_http_begin(struct nj_http *http, const struct nj_http_request *request,
                  const struct nj_http_callbacks *callbacks, struct nj_http_call **ret_call,
                  struct nj_error *err) NJ_MUST_USE;

/* nj_http_hurry - what is left of the exchange has @ms from now: its answer is known already, and
 * only its end is waited for, so that the connection can be used again */
void nj_http_hurry(struct nj_http_call *call, uint64_t ms);

/* nj_http_cancel - accepts NULL; an HTTP/1.1 connection under way is closed with it */
void nj_http_cancel(struct nj_http_call *call);

#endif
