/*
 * client.c - libcurl's multi interface on libevent
 *
 * The one complication: libcurl may not be entered again from inside its own callbacks, but ours
 * may begin and cancel exchanges. So a call begun there waits in `starting`, a cancelled one only
 * loses its callbacks and stops at its next byte, and settle(), which runs whenever libcurl was
 * left, does what is due: starts, ends, frees.
 */
#include "batch/http/client.h"

#include <assert.h>
#include <event2/event.h>

#include "batch/http/call.h"

#include "formats/base/banned.h"

#define IDLE_CONNECTIONS_MAX 256L
#define STREAMS_MAX 256L /* of one HTTP/2 connection */
/* Limits further away than this may end so much later: thousands of calls then share a look. */
#define COARSE_FROM_MS 10000u
#define COARSE_MS 256u

/* ---- starts and ends ---- */

static void take_out(struct nj_http_call *call)
{
    struct nj_http *http = call->http;

    if (!call->started) {
        TAILQ_REMOVE(&http->starting, call, link);
        return;
    }
    TAILQ_REMOVE(call->ending ? &http->ending : &http->calls, call, link);
    http->inside++;
    (void)curl_multi_remove_handle(http->multi, call->easy); /* it is in there: it cannot fail */
    http->inside--;
}

/* libcurl is not on the stack: end @call, whose callbacks may begin and cancel others. */
static void finish(struct nj_http_call *call, CURLcode code)
{
    struct nj_http_result result = {.end = nj_http_call_end(call, code),
                                    .status = call->head_done ? call->status : 0,
                                    .text = call->text,
                                    .body_bytes = call->received_bytes};

    take_out(call); /* where libcurl may have its own words for an end that we forced */
    nj_http_call_tell(call, code, result.end);
    if (!call->cancelled)
        call->callbacks.ended(call->callbacks.ctx, &result);
    nj_http_call_free(call);
}

/* The loop comes to on_watch() next. A timer that was set meanwhile would take its place: none is,
 * since nothing is due before 0. */
static void watch_at_once(struct nj_http *http)
{
    http->watch_ms = 0;
    event_active(http->watch, EV_TIMEOUT, 0);
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
        watch_at_once(http);
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
    nj_http_let_go(http);
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
            nj_http_call_free(call);
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

/* Does it wait for the connection that another call makes, to share it by HTTP/2? */
static bool is_sharing(const struct nj_http_call *call)
{
    return call->started && !call->alone && !call->connecting && !call->asked;
}

/* A server that takes a connection and never shakes hands would be asked one call at a time, each
 * for as long as connecting may last: who waited long enough makes a connection of his own. */
static void go_alone(struct nj_http_call *call)
{
    struct nj_http *http = call->http;

    call->alone = true;
    http->inside++;
    (void)curl_multi_remove_handle(http->multi, call->easy); /* it is in there: it cannot fail */
    if (curl_easy_setopt(call->easy, CURLOPT_PIPEWAIT, 0L) != CURLE_OK ||
        curl_multi_add_handle(http->multi, call->easy) != CURLM_OK)
        call->end = NJ_HTTP_UNREACHED;
    http->inside--;
}

/* When to look at @call next. Bytes only note the time: whether a limit has passed is seen then. */
static uint64_t look_ms(const struct nj_http_call *call, uint64_t now)
{
    enum nj_http_end end = NJ_HTTP_WHOLE;
    uint64_t due = due_ms(call, &end);

    /* The first byte may come at any time, and from then on idle_ms counts: look again. */
    if (call->idle_ms && !call->active_ms && now + call->idle_ms < due)
        due = now + call->idle_ms;
    if (!call->alone && !call->asked && call->began_ms + NJ_HTTP_SHARE_MS > now &&
        call->began_ms + NJ_HTTP_SHARE_MS < due)
        due = call->began_ms + NJ_HTTP_SHARE_MS;
    if (due != UINT64_MAX && due > now + COARSE_FROM_MS)
        due += COARSE_MS - due % COARSE_MS;
    return due;
}

static void watch_until(struct nj_http *http, uint64_t due, uint64_t now)
{
    uint64_t wait = due > now ? due - now : 0;
    struct timeval delay = {.tv_sec = (time_t)(wait / 1000),
                            .tv_usec = (suseconds_t)(wait % 1000) * 1000};

    /* Without memory for it the limit comes late: with the next that can be set. */
    if (due < http->watch_ms && evtimer_add(http->watch, &delay) == 0)
        http->watch_ms = due;
}

/* One timer for all calls: thousands wait, and each of theirs would cost memory. Whose end is due
 * is told first, and ended then, since callbacks may cancel others. */
static void on_watch(int fd, short what, void *ctx)
{
    struct nj_http *http = ctx;
    struct nj_http_call *call, *next;
    uint64_t now = nj_http_now_ms(), due = UINT64_MAX;

    (void)fd;
    (void)what;
    for (call = TAILQ_FIRST(&http->calls); call; call = next) {
        enum nj_http_end end = NJ_HTTP_WHOLE;
        bool late = due_ms(call, &end) <= now;
        uint64_t look = look_ms(call, now);

        next = TAILQ_NEXT(call, link);
        if (!late && is_sharing(call) && call->began_ms + NJ_HTTP_SHARE_MS <= now)
            go_alone(call);
        if (!call->cancelled && call->end == NJ_HTTP_WHOLE && late)
            call->end = end;
        if (call->cancelled || call->end != NJ_HTTP_WHOLE) {
            TAILQ_REMOVE(&http->calls, call, link);
            TAILQ_INSERT_TAIL(&http->ending, call, link);
            call->ending = true;
        } else if (look < due) {
            due = look;
        }
    }
    http->watch_ms = UINT64_MAX;
    if (due != UINT64_MAX)
        watch_until(http, due, now);
    while ((call = TAILQ_FIRST(&http->ending)))
        finish(call, CURLE_OPERATION_TIMEDOUT);
    settle(http);
}

/* ---- libcurl and the loop ---- */

static void act(struct nj_http *http, curl_socket_t fd, int what)
{
    int running;

    if (http->options.on_piece)
        http->options.on_piece(http->options.piece_ctx);
    http->now_ms = nj_http_now_ms();
    nj_flood_begin(&http->flood);
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
    http->watch = evtimer_new(http->base, on_watch, http);
    http->watch_ms = UINT64_MAX;
    if (!http->multi || !http->share || !http->timer || !http->watch)
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
    TAILQ_INIT(&http->ending);
    TAILQ_INIT(&http->sending);
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
        nj_http_call_free(call);
    }
    for (size_t i = 0; i < http->n_idle; i++)
        curl_easy_cleanup(http->idle[i]);
    if (http->multi)
        (void)curl_multi_cleanup(http->multi); /* nothing is in it */
    if (http->share)
        (void)curl_share_cleanup(http->share);
    if (http->timer)
        event_free(http->timer);
    if (http->watch)
        event_free(http->watch);
    free(http->ca_file);
    nj_trust_free(http->trust);
    nj_origins_done(&http->old);
    free(http);
}

/* ---- a call ---- */

int nj_http_begin(struct nj_http *http, const struct nj_http_request *request,
                  const struct nj_http_callbacks *callbacks, struct nj_http_call **ret_call,
                  struct nj_error *err)
{
    NJ_AUTO(nj_http_call_free) struct nj_http_call *call = NULL;

    if (nj_http_call_new(http, request, callbacks, &call, err) < 0)
        return -(int)err->code;
    watch_until(http, look_ms(call, call->began_ms), call->began_ms);
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
    uint64_t deadline_ms = nj_http_now_ms() - call->began_ms + ms;

    if (call->deadline_ms && call->deadline_ms <= deadline_ms)
        return;
    call->deadline_ms = deadline_ms;
    watch_until(call->http, call->began_ms + deadline_ms, nj_http_now_ms());
}

void nj_http_cancel(struct nj_http_call *call)
{
    if (!call)
        return;
    call->cancelled = true;
    if (!call->http->inside) {
        take_out(call);
        nj_http_call_free(call);
        return;
    }
    watch_at_once(call->http); /* inside libcurl: it is ended as soon as the loop is back */
}
