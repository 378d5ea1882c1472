/*
 * call.h - one exchange as libcurl sees it; client.c says when it runs
 */
#ifndef NJ_HTTP_CALL_H
#define NJ_HTTP_CALL_H

#include <curl/curl.h>
#include <sys/queue.h>

#include "batch/http/client.h"
#include "batch/http/flood.h"
#include "batch/http/origins.h"
#include "batch/http/trust.h"

TAILQ_HEAD(call_list, nj_http_call);

struct nj_http {
    struct event_base *base;
    CURLM *multi;
    CURLSH *share; /* TLS sessions */
    struct event *timer;
    struct event *watch; /* the next limit of any call that can pass */
    uint64_t watch_ms;   /* when it rings; UINT64_MAX: not at all */
    uint64_t now_ms;     /* when libcurl was last entered */
    char *ca_file;
    struct nj_trust *trust; /* NULL: libcurl reads it when it is due */
    struct nj_http_options options;
    struct call_list calls;    /* known to libcurl */
    struct call_list ending;   /* the same, and their end is due: on_watch() */
    struct call_list starting; /* begun inside a callback */
    struct call_list sending;  /* of calls: their bodies may not have been sent yet */
    CURL *idle[NJ_HTTP_IDLE_HANDLES_MAX];
    size_t n_idle;
    size_t n_calls;        /* made and not freed */
    uint64_t dead_ms;      /* when a kept connection was last found dead; 0: never */
    struct nj_origins old; /* servers that want HTTP/1.1 */
    struct nj_flood flood;
    unsigned inside; /* libcurl is on the stack */
};

struct nj_http_call {
    struct nj_http *http;
    CURL *easy;
    struct curl_slist *lines; /* of the headers: one piece of memory... */
    size_t lines_bytes;       /* ...so large */
    struct nj_http_callbacks callbacks;
    TAILQ_ENTRY(nj_http_call) link;
    TAILQ_ENTRY(nj_http_call) sending_link;
    bool sending;   /* in http->sending */
    bool started;   /* in http->calls, otherwise in http->starting */
    bool ending;    /* in http->ending, before that in http->calls */
    bool cancelled; /* no callback any more; freed by settle() */

    struct nj_span *spans; /* the body; NULL when flat, or sent */
    size_t n_spans;
    size_t span, span_at; /* what is sent next */
    uint64_t body_bytes;
    uint8_t *flat;
    bool body_gone; /* it is sent: libcurl must not begin again, it still has flat */

    struct nj_buf head; /* header lines of the answer under way */
    int status;
    bool head_done;
    uint64_t received_bytes;
    uint64_t received_max_bytes;
    uint64_t trailer_bytes;

    uint64_t began_ms, active_ms;
    uint64_t first_byte_ms, idle_ms, deadline_ms;
    enum nj_http_end end; /* when it was we who ended it: not WHOLE */
    bool address_refused;
    bool connecting;            /* libcurl has begun to connect for it... */
    bool alone;                 /* ...or would at once: it waits for nobody's connection */
    bool asked;                 /* libcurl was about to send it... */
    long sent_before;           /* ...with so many bytes counted until then */
    bool unanswered;            /* ...and once more, for lack of an answer... */
    bool too_new;               /* ...or as the server wants it by HTTP/1.1 */
    const void *tls;            /* OpenSSL's end of the connection it was asked by, or NULL... */
    bool flooded;               /* ...which flood.h ended */
    char text[CURL_ERROR_SIZE]; /* libcurl writes here why */
};

/* nj_http_now_ms - the clock of all limits */
uint64_t nj_http_now_ms(void);

/* nj_http_call_new - all of a call but its start: what it is asked with is copied or borrowed as
 * client.h says */
int nj_http_call_new(struct nj_http *http, const struct nj_http_request *request,
                     const struct nj_http_callbacks *callbacks, struct nj_http_call **ret_call,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_http_let_go - of bodies, header lines and upload buffers, once they are sent: who waits for an
 * answer waits long. Not from inside libcurl. */
void nj_http_let_go(struct nj_http *http);

/* nj_http_call_free - libcurl must not know it any more; its handle is kept for the next */
void nj_http_call_free(struct nj_http_call *call);
NJ_DEFINE_AUTO_PTR(struct nj_http_call, nj_http_call_free);

/* nj_http_call_end - what libcurl's @code means for @call; asked while libcurl still knows it */
enum nj_http_end nj_http_call_end(const struct nj_http_call *call, CURLcode code);

/* nj_http_call_tell - put the words for @end into call->text; once libcurl has let go of it */
void nj_http_call_tell(struct nj_http_call *call, CURLcode code, enum nj_http_end end);

#endif
