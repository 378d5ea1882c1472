/*
 * client.c - libcurl's multi interface on libevent
 *
 * The one complication: libcurl may not be entered again from inside its own callbacks, but ours
 * may begin and cancel exchanges. So a call begun there waits in `starting`, a cancelled one only
 * loses its callbacks and stops at its next byte, and settle(), which runs whenever libcurl was
 * left, does what is due: starts, ends, frees.
 *
 * Memory is counted: a call that waits for its first byte holds its easy handle, a receive buffer
 * of 2 KiB, and its request. An upload buffer (16 KiB, libcurl's least) exists only for large
 * bodies.
 */
#include "batch/http/client.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/queue.h>
#include <time.h>

#include "batch/http/trust.h"

#include "formats/base/banned.h"

#define RECEIVE_BUFFER_BYTES 2048L
#define IDLE_CONNECTIONS_MAX 256L
#define STREAMS_MAX 256L /* of one HTTP/2 connection */
#define KEEPALIVE_IDLE_S 60L
#define KEEPALIVE_INTERVAL_S 30L

TAILQ_HEAD(call_list, nj_http_call);

struct nj_http {
    struct event_base *base;
    CURLM *multi;
    CURLSH *share; /* TLS sessions */
    struct event *timer;
    char *ca_file;
    struct nj_trust *trust; /* NULL: libcurl reads it when it is due */
    struct nj_http_options options;
    struct call_list calls;    /* known to libcurl */
    struct call_list starting; /* begun inside a callback */
    CURL *idle[NJ_HTTP_IDLE_HANDLES_MAX];
    size_t n_idle;
    unsigned inside; /* libcurl is on the stack */
};

struct nj_http_call {
    struct nj_http *http;
    CURL *easy;
    struct curl_slist *header_lines;
    struct nj_http_callbacks callbacks;
    TAILQ_ENTRY(nj_http_call) link;
    bool started;   /* in http->calls, otherwise in http->starting */
    bool cancelled; /* no callback any more; freed by settle() */

    struct nj_span *spans; /* the body; NULL when flat */
    size_t n_spans;
    size_t span, span_at; /* what is sent next */
    uint64_t body_bytes;
    uint8_t *flat;

    struct nj_buf head; /* header lines of the answer under way */
    int status;
    bool head_done;
    uint64_t received_bytes;
    uint64_t received_max_bytes;

    struct event *watch; /* the next of the limits below that can pass */
    uint64_t began_ms, active_ms;
    uint64_t first_byte_ms, idle_ms, deadline_ms;
    enum nj_http_end end; /* when it was we who ended it: not WHOLE */
    bool address_refused;
    char text[CURL_ERROR_SIZE]; /* libcurl writes here why */
};

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)(now.tv_nsec / 1000000);
}

/* ---- memory of a call ---- */

static void wipe_lines(struct curl_slist *lines)
{
    for (struct curl_slist *line = lines; line; line = line->next)
        explicit_bzero(line->data, strlen(line->data));
    curl_slist_free_all(lines);
}

/* Whether @easy takes the size of its receive buffer: it must not hold one yet. */
static bool set_receive_buffer(CURL *easy)
{
    return curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER_BYTES) == CURLE_OK;
}

/* A transfer that left an HTTP/2 connection to others keeps its receive buffer in libcurl 7.88,
 * while a reset makes libcurl believe that the buffer has the default size: such a handle goes. */
static void recycle(struct nj_http *http, CURL *easy)
{
    if (!easy)
        return;
    curl_easy_reset(easy);
    if (http->n_idle == NJ_HTTP_IDLE_HANDLES_MAX || !set_receive_buffer(easy)) {
        curl_easy_cleanup(easy);
        return;
    }
    http->idle[http->n_idle++] = easy;
}

static void call_free(struct nj_http_call *call)
{
    if (!call)
        return;
    if (call->watch)
        event_free(call->watch);
    recycle(call->http, call->easy);
    wipe_lines(call->header_lines);
    nj_buf_done(&call->head);
    free(call->spans);
    free(call->flat);
    free(call);
}
NJ_DEFINE_AUTO_PTR(struct nj_http_call, call_free);

/* ---- libcurl's callbacks ---- */

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
    struct nj_http_header headers[NJ_HTTP_HEADERS_MAX];
    struct nj_http_call *call = ctx;
    size_t len = size * count;
    struct nj_span line = {(const uint8_t *)data, len};
    struct nj_error err = {0};
    int status;

    call->active_ms = now_ms();
    if (call->cancelled)
        return 0;
    if (call->head_done)
        return len; /* trailers */
    status = nj_http_status_read(line);
    if (status > 0) {
        call->status = status;
        nj_buf_clear(&call->head);
        return len;
    }
    if (nj_buf_append(&call->head, data, len, &err) < 0) {
        call->end = NJ_HTTP_TOO_LARGE;
        return 0;
    }
    if (len > 2 || (len > 0 && data[0] != '\r' && data[0] != '\n') || call->status < 200)
        return len;
    call->head_done = true;
    if (call->callbacks.headers)
        call->callbacks.headers(
            call->callbacks.ctx, call->status, headers,
            nj_http_headers_read(nj_buf_span(&call->head), headers, NJ_HTTP_HEADERS_MAX));
    nj_buf_done(&call->head);
    return call->cancelled ? 0 : len;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    struct nj_http_call *call = ctx;
    size_t len = size * count;

    call->active_ms = now_ms();
    if (call->cancelled)
        return 0;
    call->received_bytes += len;
    if (call->received_bytes > call->received_max_bytes) {
        call->end = NJ_HTTP_TOO_LARGE;
        return 0;
    }
    if (!call->callbacks.body(call->callbacks.ctx, (struct nj_span){(const uint8_t *)data, len})) {
        call->end = NJ_HTTP_STOPPED;
        return 0;
    }
    return call->cancelled ? 0 : len;
}

static size_t on_read(char *to, size_t size, size_t count, void *ctx)
{
    struct nj_http_call *call = ctx;
    size_t room = size * count, done = 0;

    if (call->cancelled)
        return CURL_READFUNC_ABORT;
    while (done < room && call->span < call->n_spans) {
        const struct nj_span *span = &call->spans[call->span];
        size_t len = span->len - call->span_at;

        if (len > room - done)
            len = room - done;
        if (len > 0)
            memcpy(to + done, span->data + call->span_at, len);
        done += len;
        call->span_at += len;
        if (call->span_at == span->len) {
            call->span++;
            call->span_at = 0;
        }
    }
    return done;
}

/* A kept connection may turn out dead once the body is under way: libcurl then asks for it anew. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    struct nj_http_call *call = ctx;
    uint64_t left = (uint64_t)offset;

    if (origin != SEEK_SET || offset < 0 || left > call->body_bytes)
        return CURL_SEEKFUNC_FAIL;
    for (call->span = 0; call->span < call->n_spans && left >= call->spans[call->span].len;
         call->span++)
        left -= call->spans[call->span].len;
    call->span_at = (size_t)left;
    return CURL_SEEKFUNC_OK;
}

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct nj_http_call *call = ctx;
    const struct nj_http_options *options = &call->http->options;

    (void)purpose;
    if (options->allow_address &&
        !options->allow_address(options->ctx, &address->addr, address->addrlen)) {
        call->address_refused = true;
        return CURL_SOCKET_BAD;
    }
    call->address_refused = false;
    return socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                  address->protocol);
}

/* ---- ends ---- */

static enum nj_http_end end_of(const struct nj_http_call *call, CURLcode code)
{
    long asked = 0;

    if (call->end != NJ_HTTP_WHOLE)
        return call->end;
    /* libcurl is content with headers that the connection's end cut off. */
    if (code == CURLE_OK)
        return call->head_done ? NJ_HTTP_WHOLE : NJ_HTTP_CUT;
    if (call->address_refused && code == CURLE_COULDNT_CONNECT)
        return NJ_HTTP_REFUSED;
    switch ((int)code) {
    case CURLE_UNSUPPORTED_PROTOCOL: /* ours; or the server's, whose answer was no HTTP/1 */
        (void)curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &asked);
        return asked > 0 ? NJ_HTTP_CUT : NJ_HTTP_REFUSED;
    case CURLE_URL_MALFORMAT:
    case CURLE_LOGIN_DENIED: /* a name in the URL */
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
        return NJ_HTTP_REFUSED;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_OPERATION_TIMEDOUT: /* only the connecting has a limit of libcurl's */
        return NJ_HTTP_UNREACHED;
    default:
        return NJ_HTTP_CUT;
    }
}

/* What libcurl says of an end that we forced is not why. */
static void tell(struct nj_http_call *call, CURLcode code, enum nj_http_end end)
{
    switch (end) {
    case NJ_HTTP_WHOLE:
        call->text[0] = 0;
        return;
    case NJ_HTTP_STALLED:
        (void)snprintf(call->text, sizeof(call->text),
                       call->head_done ? "nothing came for %llu ms, after %llu bytes of the answer"
                                       : "no answer came within %llu ms",
                       (unsigned long long)(call->head_done ? call->idle_ms : call->first_byte_ms),
                       (unsigned long long)call->received_bytes);
        return;
    case NJ_HTTP_LATE:
        (void)snprintf(call->text, sizeof(call->text),
                       "the answer was not whole within %llu ms; %llu bytes of it came",
                       (unsigned long long)call->deadline_ms,
                       (unsigned long long)call->received_bytes);
        return;
    case NJ_HTTP_TOO_LARGE:
        if (call->head_done)
            (void)snprintf(call->text, sizeof(call->text), "the answer has more than %llu bytes",
                           (unsigned long long)call->received_max_bytes);
        else
            (void)snprintf(call->text, sizeof(call->text),
                           "the answer's headers have more than %u bytes",
                           NJ_HTTP_HEADER_MAX_BYTES);
        return;
    case NJ_HTTP_STOPPED:
        (void)snprintf(call->text, sizeof(call->text), "stopped after %llu bytes",
                       (unsigned long long)call->received_bytes);
        return;
    case NJ_HTTP_UNREACHED:
    case NJ_HTTP_REFUSED:
    case NJ_HTTP_CUT:
        break;
    }
    if (call->address_refused && end == NJ_HTTP_REFUSED)
        (void)snprintf(call->text, sizeof(call->text), "its address is not allowed");
    else if (!call->text[0])
        (void)snprintf(call->text, sizeof(call->text), "%s",
                       code == CURLE_OK ? "the connection ended within the answer's headers"
                                        : curl_easy_strerror(code));
}

static void take_out(struct nj_http_call *call)
{
    struct nj_http *http = call->http;

    if (!call->started) {
        TAILQ_REMOVE(&http->starting, call, link);
        return;
    }
    TAILQ_REMOVE(&http->calls, call, link);
    http->inside++;
    (void)curl_multi_remove_handle(http->multi, call->easy); /* it is in there: it cannot fail */
    http->inside--;
}

/* libcurl is not on the stack: end @call, whose callbacks may begin and cancel others. */
static void finish(struct nj_http_call *call, CURLcode code)
{
    struct nj_http_result result = {.end = end_of(call, code),
                                    .status = call->head_done ? call->status : 0,
                                    .text = call->text,
                                    .body_bytes = call->received_bytes};

    take_out(call);
    tell(call, code, result.end);
    if (!call->cancelled)
        call->callbacks.ended(call->callbacks.ctx, &result);
    call_free(call);
}

static void start(struct nj_http_call *call)
{
    struct nj_http *http = call->http;
    CURLMcode code;

    TAILQ_INSERT_TAIL(&http->calls, call, link);
    call->started = true;
    http->inside++;
    code = curl_multi_add_handle(http->multi, call->easy);
    http->inside--;
    if (code != CURLM_OK) { /* no memory: let the loop end it */
        call->end = NJ_HTTP_UNREACHED;
        (void)snprintf(call->text, sizeof(call->text), "%s", curl_multi_strerror(code));
        event_active(call->watch, EV_TIMEOUT, 0);
    }
}

/* Runs whenever libcurl was left, never inside it. */
static void settle(struct nj_http *http)
{
    struct nj_http_call *call;
    CURLMsg *message;
    int left;

    if (http->inside)
        return;
    while ((message = curl_multi_info_read(http->multi, &left))) {
        CURLcode code = message->data.result;
        char *ctx = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &ctx);
        finish((struct nj_http_call *)(void *)ctx, code);
    }
    while ((call = TAILQ_FIRST(&http->starting))) {
        TAILQ_REMOVE(&http->starting, call, link);
        if (call->cancelled)
            call_free(call);
        else
            start(call);
    }
}

/* ---- limits of time ---- */

/* When the nearest limit passes, as things stand; UINT64_MAX: never. */
static uint64_t due_ms(const struct nj_http_call *call, enum nj_http_end *ret_end)
{
    uint64_t due = UINT64_MAX;

    if (call->deadline_ms) {
        due = call->began_ms + call->deadline_ms;
        *ret_end = NJ_HTTP_LATE;
    }
    if (!call->active_ms && call->first_byte_ms && call->began_ms + call->first_byte_ms < due) {
        due = call->began_ms + call->first_byte_ms;
        *ret_end = NJ_HTTP_STALLED;
    }
    if (call->active_ms && call->idle_ms && call->active_ms + call->idle_ms < due) {
        due = call->active_ms + call->idle_ms;
        *ret_end = NJ_HTTP_STALLED;
    }
    return due;
}

/* Bytes only note the time; the watch looks at it when it rings, and is set anew. */
static void set_watch(struct nj_http_call *call)
{
    enum nj_http_end end = NJ_HTTP_WHOLE;
    uint64_t due = due_ms(call, &end), now = now_ms();
    uint64_t wait = due > now ? due - now : 0;
    uint64_t idle = call->idle_ms && !call->active_ms ? call->idle_ms : UINT64_MAX;
    struct timeval delay;

    if (wait > idle) /* the first byte may come at any time: look again */
        wait = idle;
    if (due == UINT64_MAX && idle == UINT64_MAX)
        return;
    delay = (struct timeval){.tv_sec = (time_t)(wait / 1000),
                             .tv_usec = (suseconds_t)(wait % 1000) * 1000};
    (void)evtimer_add(call->watch, &delay); /* without memory for it the limit comes late */
}

static void on_watch(int fd, short what, void *ctx)
{
    struct nj_http_call *call = ctx;
    struct nj_http *http = call->http;
    enum nj_http_end end = NJ_HTTP_WHOLE;

    (void)fd;
    (void)what;
    if (call->cancelled || call->end != NJ_HTTP_WHOLE) {
        finish(call, CURLE_ABORTED_BY_CALLBACK);
    } else if (due_ms(call, &end) <= now_ms()) {
        call->end = end;
        finish(call, CURLE_OPERATION_TIMEDOUT);
    } else {
        set_watch(call);
    }
    settle(http);
}

/* ---- libcurl and the loop ---- */

static void act(struct nj_http *http, curl_socket_t fd, int what)
{
    int running;

    if (http->options.on_piece)
        http->options.on_piece(http->options.piece_ctx);
    http->inside++;
    (void)curl_multi_socket_action(http->multi, fd, what, &running); /* calls tell of themselves */
    http->inside--;
    settle(http);
}

static void on_timer(int fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    act(ctx, CURL_SOCKET_TIMEOUT, 0);
}

static void on_socket_event(int fd, short what, void *ctx)
{
    act(ctx, fd, (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *ctx)
{
    struct nj_http *http = ctx;
    struct timeval delay = {.tv_sec = timeout_ms / 1000, .tv_usec = (timeout_ms % 1000) * 1000};

    (void)multi;
    if (timeout_ms < 0)
        return evtimer_del(http->timer);
    return evtimer_add(http->timer, &delay);
}

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known)
{
    struct nj_http *http = ctx;
    struct event *event = known;
    short wanted = EV_PERSIST;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (event)
            event_free(event);
        return curl_multi_assign(http->multi, fd, NULL) == CURLM_OK ? 0 : -1;
    }
    if (what & CURL_POLL_IN)
        wanted = (short)(wanted | EV_READ);
    if (what & CURL_POLL_OUT)
        wanted = (short)(wanted | EV_WRITE);
    if (event) {
        if (event_del(event) < 0 ||
            event_assign(event, http->base, fd, wanted, on_socket_event, http) < 0)
            return -1;
    } else {
        event = event_new(http->base, fd, wanted, on_socket_event, http);
        if (!event || curl_multi_assign(http->multi, fd, event) != CURLM_OK) {
            if (event)
                event_free(event);
            return -1;
        }
    }
    return event_add(event, NULL);
}

/* ---- birth and death ---- */

static int set_up(struct nj_http *http, struct nj_error *err)
{
    static bool global; /* once a process, and only the loop's thread comes here */

    if (!global && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return nj_fail(err, NJ_E_SYSTEM, "libcurl does not start");
    global = true;
    http->multi = curl_multi_init();
    http->share = curl_share_init();
    http->timer = evtimer_new(http->base, on_timer, http);
    if (!http->multi || !http->share || !http->timer)
        return nj_fail_nomem(err);
    if (curl_share_setopt(http->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK ||
        curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted) != CURLM_OK ||
        curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http) != CURLM_OK ||
        curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted) != CURLM_OK ||
        curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http) != CURLM_OK ||
        curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX) != CURLM_OK ||
        curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS_MAX) != CURLM_OK ||
        curl_multi_setopt(http->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, STREAMS_MAX) != CURLM_OK)
        return nj_fail(err, NJ_E_SYSTEM, "libcurl: it lacks an option that is needed");
    return 0;
}

int nj_http_new(struct event_base *base, const struct nj_http_options *options,
                struct nj_http **ret_http, struct nj_error *err)
{
    NJ_AUTO(nj_http_free) struct nj_http *http = calloc(1, sizeof(*http));

    if (!http)
        return nj_fail_nomem(err);
    TAILQ_INIT(&http->calls);
    TAILQ_INIT(&http->starting);
    http->base = base;
    http->options = *options;
    if (options->read_trust)
        http->trust = nj_trust_load(options->ca_file);
    if (options->ca_file) {
        http->ca_file = strdup(options->ca_file);
        if (!http->ca_file)
            return nj_fail_nomem(err);
    }
    if (set_up(http, err) < 0)
        return -(int)err->code;
    *ret_http = nj_steal_ptr(&http);
    return 0;
}

void nj_http_free(struct nj_http *http)
{
    struct nj_http_call *call;

    if (!http)
        return;
    assert(!http->inside);
    /* What was cancelled inside a callback may not have been freed yet. */
    while ((call = TAILQ_FIRST(&http->calls)) || (call = TAILQ_FIRST(&http->starting))) {
        assert(call->cancelled);
        take_out(call);
        call_free(call);
    }
    for (size_t i = 0; i < http->n_idle; i++)
        curl_easy_cleanup(http->idle[i]);
    if (http->multi)
        (void)curl_multi_cleanup(http->multi); /* nothing is in it */
    if (http->share)
        (void)curl_share_cleanup(http->share);
    if (http->timer)
        event_free(http->timer);
    free(http->ca_file);
    nj_trust_free(http->trust);
    free(http);
}

/* ---- a call ---- */

static int take_lines(struct nj_http_call *call, const struct nj_http_request *request,
                      struct nj_error *err)
{
    /* Without this libcurl holds back a large body for a second, until a 100 comes. */
    struct curl_slist *lines = curl_slist_append(NULL, "Expect:");

    if (!lines)
        return nj_fail_nomem(err);
    call->header_lines = lines;
    for (size_t i = 0; i < request->n_headers; i++) {
        if (strpbrk(request->headers[i], "\r\n"))
            return nj_fail(err, NJ_E_INPUT, "header %zu holds a line end", i);
        if (!curl_slist_append(lines, request->headers[i]))
            return nj_fail_nomem(err);
    }
    return 0;
}

static int take_body(struct nj_http_call *call, const struct nj_http_request *request,
                     struct nj_error *err)
{
    size_t at = 0;

    for (size_t i = 0; i < request->n_body; i++)
        call->body_bytes += request->body[i].len;
    if (call->body_bytes > NJ_HTTP_FLAT_MAX_BYTES) {
        call->spans = calloc(request->n_body, sizeof(*call->spans));
        if (!call->spans)
            return nj_fail_nomem(err);
        memcpy(call->spans, request->body, request->n_body * sizeof(*call->spans));
        call->n_spans = request->n_body;
        return 0;
    }
    call->flat = malloc((size_t)call->body_bytes + 1);
    if (!call->flat)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < request->n_body; i++) {
        if (request->body[i].len > 0)
            memcpy(call->flat + at, request->body[i].data, request->body[i].len);
        at += request->body[i].len;
    }
    return 0;
}

static bool set_body(struct nj_http_call *call)
{
    CURL *easy = call->easy;

    if (curl_easy_setopt(easy, CURLOPT_POST, 1L) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_bytes) !=
            CURLE_OK)
        return false;
    if (call->flat)
        return curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->flat) == CURLE_OK;
    return curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_READDATA, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SEEKDATA, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 16384L) == CURLE_OK;
}

static bool set_exchange(struct nj_http_call *call, const struct nj_http_request *request)
{
    const struct nj_http *http = call->http;
    uint64_t connect_ms = request->connect_ms ? request->connect_ms : NJ_HTTP_CONNECT_MS;
    CURL *easy = call->easy;

    if (request->n_body > 0 && !set_body(call))
        return false;
    return curl_easy_setopt(easy, CURLOPT_URL, request->url) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->header_lines) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PRIVATE, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->text) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms) == CURLE_OK &&
           (http->trust ? nj_trust_use(http->trust, easy)
                        : !http->ca_file ||
                              curl_easy_setopt(easy, CURLOPT_CAINFO, http->ca_file) == CURLE_OK) &&
           (http->options.proxy_of_environment ||
            curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK);
}

/* What holds for every exchange. */
static bool set_rules(struct nj_http_call *call)
{
    CURL *easy = call->easy;

    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK && set_receive_buffer(easy) &&
           curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SHARE, call->http->share) == CURLE_OK;
}

int nj_http_begin(struct nj_http *http, const struct nj_http_request *request,
                  const struct nj_http_callbacks *callbacks, struct nj_http_call **ret_call,
                  struct nj_error *err)
{
    NJ_AUTO(call_free) struct nj_http_call *call = calloc(1, sizeof(*call));

    if (!call)
        return nj_fail_nomem(err);
    call->http = http;
    call->callbacks = *callbacks;
    nj_buf_init(&call->head, NJ_HTTP_HEADER_MAX_BYTES);
    call->received_max_bytes =
        request->body_max_bytes ? request->body_max_bytes : NJ_HTTP_BODY_MAX_BYTES;
    call->first_byte_ms = request->first_byte_ms;
    call->idle_ms = request->idle_ms;
    call->deadline_ms = request->deadline_ms;
    call->began_ms = now_ms();
    call->watch = evtimer_new(http->base, on_watch, call);
    call->easy = http->n_idle ? http->idle[--http->n_idle] : curl_easy_init();
    if (!call->watch || !call->easy)
        return nj_fail_nomem(err);
    if (take_lines(call, request, err) < 0 || take_body(call, request, err) < 0)
        return -(int)err->code;
    if (!set_rules(call) || !set_exchange(call, request))
        return nj_fail(err, NJ_E_SYSTEM, "libcurl does not take a request for %.200s",
                       request->url);
    set_watch(call);
    *ret_call = call;
    if (http->inside)
        TAILQ_INSERT_TAIL(&http->starting, call, link);
    else
        start(call);
    call = NULL;
    return 0;
}

void nj_http_hurry(struct nj_http_call *call, uint64_t ms)
{
    uint64_t deadline_ms = now_ms() - call->began_ms + ms;

    if (call->deadline_ms && call->deadline_ms <= deadline_ms)
        return;
    call->deadline_ms = deadline_ms;
    set_watch(call);
}

void nj_http_cancel(struct nj_http_call *call)
{
    if (!call)
        return;
    call->cancelled = true;
    if (!call->http->inside) {
        take_out(call);
        call_free(call);
        return;
    }
    /* Inside libcurl: the watch ends it as soon as the loop is back. */
    event_active(call->watch, EV_TIMEOUT, 0);
}
