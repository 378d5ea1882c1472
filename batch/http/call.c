/*
 * call.c - one exchange as libcurl sees it: its handle, its callbacks, what its end means
 *
 * Memory is counted: a call that waits for its first byte holds its easy handle and a receive
 * buffer. The buffer has 8 KiB, so that most answers are read at once; where so many calls are
 * under way that their memory matters, those that come then have libcurl's least. An upload buffer
 * comes to that, until all is sent, for large bodies, for what is not taken at once, and for all
 * that goes by HTTP/1.1 over TLS.
 */
#include "batch/http/call.h"

#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <time.h>

#include "formats/base/banned.h"

#define RECEIVE_BYTES 8192L
#define RECEIVE_SMALL_BYTES 1024L
#define UPLOAD_BYTES 16384L /* libcurl's least */
#define CALLS_MANY 96u      /* from here on the small buffer */
#define KEEPALIVE_IDLE_S 60L
#define KEEPALIVE_INTERVAL_S 30L
/* libcurl's own figure, just below the two minutes that many servers keep to. */
#define KEPT_MAX_S 118L

uint64_t nj_http_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)(now.tv_nsec / 1000000);
}

/* ---- memory of a call ---- */

static void wipe_lines(struct nj_http_call *call)
{
    if (call->lines)
        explicit_bzero(call->lines, call->lines_bytes);
    free(call->lines);
    call->lines = NULL;
}

/* Whether @easy takes the size of its receive buffer: it must not hold one yet. */
static bool set_receive_buffer(const struct nj_http *http, CURL *easy)
{
    long bytes = http->n_calls < CALLS_MANY ? RECEIVE_BYTES : RECEIVE_SMALL_BYTES;

    return curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, bytes) == CURLE_OK;
}

/* What holds for every exchange stays set, what was this one's is set by the next one, and nothing
 * of ours is left behind. A transfer that left an HTTP/2 connection to others keeps its receive
 * buffer in libcurl 7.88, which then takes no other size: such a handle goes. */
static void recycle(struct nj_http *http, CURL *easy)
{
    if (!easy)
        return;
    if (http->n_idle == NJ_HTTP_IDLE_HANDLES_MAX || !set_receive_buffer(http, easy) ||
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL) != CURLE_OK) {
        curl_easy_cleanup(easy);
        return;
    }
    http->idle[http->n_idle++] = easy;
}

void nj_http_call_free(struct nj_http_call *call)
{
    if (!call)
        return;
    if (call->sending)
        TAILQ_REMOVE(&call->http->sending, call, sending_link);
    recycle(call->http, call->easy);
    wipe_lines(call);
    nj_buf_done(&call->head);
    free(call->spans);
    free(call->flat);
    call->http->n_calls--;
    free(call);
}

/* ---- libcurl's callbacks ---- */

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
    struct nj_http_header headers[NJ_HTTP_HEADERS_MAX];
    struct nj_http_call *call = ctx;
    size_t len = size * count;
    struct nj_span line = {(const uint8_t *)data, len};
    struct nj_error err = {0};
    int status;

    call->active_ms = call->http->now_ms;
    nj_flood_got(&call->http->flood);
    if (call->cancelled)
        return 0;
    if (call->head_done) { /* trailers: nobody asks for them, and libcurl keeps each */
        call->trailer_bytes += len;
        if (call->trailer_bytes <= NJ_HTTP_HEADER_MAX_BYTES)
            return len;
        call->end = NJ_HTTP_TOO_LARGE;
        return 0;
    }
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

    call->active_ms = call->http->now_ms;
    nj_flood_got(&call->http->flood);
    if (call->cancelled)
        return 0;
    call->received_bytes += len;
    if (!call->head_done) { /* bytes of another protocol, behind 101 */
        call->end = NJ_HTTP_CUT;
        return 0;
    }
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

/* libcurl has no use for what is sent: what it would have to send again is not sent again
 * (on_about_to_ask). And a secret is gone as soon as it can be. */
static void let_go(struct nj_http_call *call)
{
    curl_off_t sent = 0;

    (void)curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    if ((uint64_t)sent < call->body_bytes)
        return;
    TAILQ_REMOVE(&call->http->sending, call, sending_link);
    call->sending = false;
    if (curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, NULL) == CURLE_OK)
        wipe_lines(call);
    /* Where it has a buffer to send from libcurl frees it to take its size, the same as before. */
    (void)curl_easy_setopt(call->easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BYTES);
    free(call->flat);
    call->flat = NULL;
    free(call->spans);
    call->spans = NULL;
    call->n_spans = 0;
    call->body_gone = true;
    if (call->callbacks.sent && !call->cancelled)
        call->callbacks.sent(call->callbacks.ctx);
}

void nj_http_let_go(struct nj_http *http)
{
    struct nj_http_call *call, *next;

    for (call = TAILQ_FIRST(&http->sending); call; call = next) {
        next = TAILQ_NEXT(call, sending_link);
        let_go(call);
    }
}

/* A kept connection may turn out dead once the body is under way: libcurl then goes back to where
 * the body begins, and only then asks whether it may send it (on_about_to_ask). */
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

/* It is about to have a connection of its own. */
static int on_look_up(void *state, void *reserved, void *ctx)
{
    struct nj_http_call *call = ctx;

    (void)state;
    (void)reserved;
    call->connecting = true;
    return 0;
}

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct nj_http_call *call = ctx;
    const struct nj_http_options *options = &call->http->options;

    (void)purpose;
    call->connecting = true;
    if (options->allow_address &&
        !options->allow_address(options->ctx, &address->addr, address->addrlen)) {
        call->address_refused = true;
        return CURL_SOCKET_BAD;
    }
    call->address_refused = false;
    return socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                  address->protocol);
}

/* Where a kept connection closes without a byte of an answer libcurl sends the request again by
 * itself, up to five times. But the server may have done what was asked, and nobody would know: so
 * what has been sent is sent once, and whether again is for whoever began the exchange. HTTP/2's
 * REFUSED_STREAM would allow it, but libcurl does not tell it apart. HTTP_1_1_REQUIRED it tells in
 * its words for the stream's end, before it would ask once more: what is asked of that server from
 * then on goes by HTTP/1.1, as such a call would fail however often it is tried. */
static int on_about_to_ask(void *ctx, char *peer, char *own, int peer_port, int own_port)
{
    struct nj_http_call *call = ctx;
    struct curl_tlssessioninfo *tls = NULL;
    char *url = NULL;
    long sent = 0;

    (void)peer;
    (void)own;
    (void)peer_port;
    (void)own_port;
    (void)curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &sent);
    (void)curl_easy_getinfo(call->easy, CURLINFO_TLS_SSL_PTR, &tls);
    call->tls = tls ? tls->internals : NULL;
    if (!call->asked) {
        call->asked = true;
        call->sent_before = sent;
        call->sending = call->flat || call->spans;
        if (call->sending)
            TAILQ_INSERT_TAIL(&call->http->sending, call, sending_link);
    }
    /* Where it is anew: the old connection took nothing of it. Not all that is sent is counted. */
    if (sent == call->sent_before && !call->body_gone)
        return CURL_PREREQFUNC_OK;
    call->too_new = strstr(call->text, "HTTP_1_1_REQUIRED");
    call->unanswered = !call->too_new;
    if (call->too_new) {
        (void)curl_easy_getinfo(call->easy, CURLINFO_EFFECTIVE_URL, &url);
        nj_origins_add(&call->http->old, url ? url : "");
    } else {
        call->http->dead_ms = nj_http_now_ms();
    }
    return CURL_PREREQFUNC_ABORT;
}

/* ---- its end ---- */

enum nj_http_end nj_http_call_end(const struct nj_http_call *call, CURLcode code)
{
    long asked = 0;

    if (call->end != NJ_HTTP_WHOLE)
        return call->end;
    /* libcurl is content with headers that the connection's end cut off. */
    if (code == CURLE_OK)
        return call->head_done ? NJ_HTTP_WHOLE : NJ_HTTP_CUT;
    if (call->unanswered || call->too_new)
        return NJ_HTTP_CUT;
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
void nj_http_call_tell(struct nj_http_call *call, CURLcode code, enum nj_http_end end)
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
        if (call->head_done && call->trailer_bytes <= NJ_HTTP_HEADER_MAX_BYTES)
            (void)snprintf(call->text, sizeof(call->text), "the answer has more than %llu bytes",
                           (unsigned long long)call->received_max_bytes);
        else
            (void)snprintf(call->text, sizeof(call->text),
                           "the answer's %s have more than %u bytes",
                           call->head_done ? "trailers" : "headers", NJ_HTTP_HEADER_MAX_BYTES);
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
    else if (call->flooded)
        (void)snprintf(call->text, sizeof(call->text),
                       "the server sent frames that are for no call, without end");
    else if (call->unanswered)
        (void)snprintf(call->text, sizeof(call->text),
                       "a connection kept from an earlier call was closed without an answer");
    else if (call->too_new)
        (void)snprintf(call->text, sizeof(call->text),
                       "the server wants HTTP/1.1 (HTTP_1_1_REQUIRED), which the next try uses");
    else if (call->status == 101 && !call->head_done)
        (void)snprintf(call->text, sizeof(call->text),
                       "the server changed the protocol (101), which nobody asked for");
    else if (code == CURLE_OUT_OF_MEMORY && call->status && !call->head_done)
        (void)snprintf(call->text, sizeof(call->text),
                       "a line of the answer's headers has more than 100 KB, or memory is out");
    else if (!call->text[0])
        (void)snprintf(call->text, sizeof(call->text), "%s",
                       code == CURLE_OK ? "the connection ended within the answer's headers"
                                        : curl_easy_strerror(code));
}

/* ---- what it is asked with ---- */

/* libcurl's list, in one piece with its texts: made and wiped at one stroke. */
static int take_lines(struct nj_http_call *call, const struct nj_http_request *request,
                      struct nj_error *err)
{
    /* Without this libcurl holds back a large body for a second, until a 100 comes. */
    static const char no_expect[] = "Expect:";
    size_t n = request->n_headers + 1, bytes = n * sizeof(struct curl_slist) + sizeof(no_expect);
    struct curl_slist *nodes;
    char *text;

    for (size_t i = 0; i < request->n_headers; i++) {
        if (strpbrk(request->headers[i], "\r\n"))
            return nj_fail(err, NJ_E_INPUT, "header %zu holds a line end", i);
        bytes += strlen(request->headers[i]) + 1;
    }
    nodes = malloc(bytes);
    if (!nodes)
        return nj_fail_nomem(err);
    text = (char *)(nodes + n);
    for (size_t i = 0; i < n; i++) {
        const char *line = i ? request->headers[i - 1] : no_expect;
        size_t len = strlen(line) + 1;

        nodes[i] = (struct curl_slist){.data = text, .next = i + 1 < n ? &nodes[i + 1] : NULL};
        memcpy(text, line, len);
        text += len;
    }
    call->lines = nodes;
    call->lines_bytes = bytes;
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

/* What has a body is posted unless it says otherwise. */
static bool set_method(struct nj_http_call *call, const struct nj_http_request *request)
{
    bool plain = request->n_body > 0 && strcmp(request->method, "POST") == 0;
    CURL *easy = call->easy;

    if (curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, plain ? NULL : request->method) != CURLE_OK)
        return false;
    if (request->n_body == 0)
        return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    return curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_bytes) ==
               CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->flat) == CURLE_OK;
}

/* How long a connection may have lain idle to be used again. Where one was found dead those that
 * lay beside it are not trusted either: each would cost a call another try. */
static long kept_max_s(const struct nj_http *http)
{
    uint64_t since_s = (nj_http_now_ms() - http->dead_ms) / 1000;

    return !http->dead_ms || since_s > KEPT_MAX_S ? KEPT_MAX_S : (long)since_s;
}

static bool set_exchange(struct nj_http_call *call, const struct nj_http_request *request)
{
    const struct nj_http *http = call->http;
    uint64_t connect_ms = request->connect_ms ? request->connect_ms : NJ_HTTP_CONNECT_MS;
    /* Where HTTP/2 can be, the calls behind a first one wait for what its connection turns out to
     * speak. With TLS the handshake tells; without, only an answer would, which may take long. */
    bool old =
        strncasecmp(request->url, "https:", 6) != 0 || nj_origins_have(&http->old, request->url);
    long version = old ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS;
    CURL *easy = call->easy;

    call->alone = old;
    return set_method(call, request) && set_receive_buffer(http, easy) &&
           curl_easy_setopt(easy, CURLOPT_URL, request->url) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, version) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, kept_max_s(http)) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->lines) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->text) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PRIVATE, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_READDATA, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SEEKDATA, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_RESOLVER_START_DATA, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PREREQDATA, call) == CURLE_OK;
}

static CURLcode on_context(CURL *easy, void *context, void *ctx)
{
    struct nj_http *http = ctx;

    (void)easy;
    if (http->trust)
        nj_trust_give(http->trust, context);
    nj_flood_watch(http, context);
    return CURLE_OK;
}

static bool set_callbacks(CURL *easy)
{
    return curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_RESOLVER_START_FUNCTION, on_look_up) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_about_to_ask) == CURLE_OK;
}

/* What holds for every exchange: set once, a handle keeps it. */
static bool set_rules(struct nj_http *http, CURL *easy)
{
    return set_callbacks(easy) &&
           curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           /* An end does not stand still for a name that is being looked up. */
           curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BYTES) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SHARE, http->share) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_context) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, http) == CURLE_OK &&
           (http->trust ? nj_trust_use(easy)
                        : !http->ca_file ||
                              curl_easy_setopt(easy, CURLOPT_CAINFO, http->ca_file) == CURLE_OK) &&
           curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK; /* nor one of the environment */
}

static int take_handle(struct nj_http_call *call, struct nj_error *err)
{
    struct nj_http *http = call->http;

    if (http->n_idle > 0) {
        call->easy = http->idle[--http->n_idle];
        return 0;
    }
    call->easy = curl_easy_init();
    if (!call->easy)
        return nj_fail_nomem(err);
    if (set_rules(http, call->easy))
        return 0;
    curl_easy_cleanup(nj_steal_ptr(&call->easy)); /* it is not to be used again */
    return nj_fail(err, NJ_E_SYSTEM, "libcurl: it lacks an option that is needed");
}

int nj_http_call_new(struct nj_http *http, const struct nj_http_request *request,
                     const struct nj_http_callbacks *callbacks, struct nj_http_call **ret_call,
                     struct nj_error *err)
{
    NJ_AUTO(nj_http_call_free) struct nj_http_call *call = calloc(1, sizeof(*call));

    if (!call)
        return nj_fail_nomem(err);
    call->http = http;
    http->n_calls++;
    call->callbacks = *callbacks;
    nj_buf_init(&call->head, NJ_HTTP_HEADER_MAX_BYTES);
    call->received_max_bytes =
        request->body_max_bytes ? request->body_max_bytes : NJ_HTTP_BODY_MAX_BYTES;
    call->first_byte_ms = request->first_byte_ms;
    call->idle_ms = request->idle_ms;
    call->deadline_ms = request->deadline_ms;
    call->began_ms = nj_http_now_ms();
    if (take_handle(call, err) < 0 || take_lines(call, request, err) < 0 ||
        take_body(call, request, err) < 0)
        return -(int)err->code;
    if (!set_exchange(call, request))
        return nj_fail(err, NJ_E_SYSTEM, "libcurl does not take a request for %.200s",
                       request->url);
    *ret_call = nj_steal_ptr(&call);
    return 0;
}
