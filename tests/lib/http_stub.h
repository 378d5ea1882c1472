/*
 * http_stub.h - a small HTTP server on the test's own loop: it says what it is told, byte for byte
 *
 * It reads one request (head and Content-Length bytes), keeps it in `last`, and answers with the
 * pieces of the next script; each piece goes out in a round of the loop of its own. Nothing of an
 * answer is made up: a test can send any rubbish.
 */
#ifndef NJ_TESTS_HTTP_STUB_H
#define NJ_TESTS_HTTP_STUB_H

#include <arpa/inet.h>
#include <assert.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/buf.h"

#define STUB_PIECES_MAX 4096
#define STUB_ANSWERS_MAX 64

struct stub_answer {
    struct nj_span pieces[STUB_PIECES_MAX];
    size_t n_pieces;
    unsigned gap_ms; /* between pieces */
    bool close;      /* after the last piece, with what remains unsaid */
    bool reset;      /* ...roughly: RST */
    bool hold;       /* say nothing more, keep the connection */
};

struct stub {
    struct event_base *base;
    struct evconnlistener *listener;
    unsigned port;
    const struct stub_answer *answers[STUB_ANSWERS_MAX]; /* one a request; the last one repeats */
    size_t n_answers;
    size_t n_requests;
    size_t n_connections;
    struct nj_buf last; /* the last request, head and body */
    struct stub_peer *peers;
};

struct stub_peer {
    struct stub *stub;
    struct bufferevent *bev;
    struct event *timer;
    const struct stub_answer *answer;
    size_t piece;
    struct stub_peer *next;
};

static inline void stub_close(struct stub_peer *peer)
{
    struct stub_peer **at = &peer->stub->peers;

    while (*at != peer)
        at = &(*at)->next;
    *at = peer->next;
    if (peer->answer && peer->answer->reset) {
        struct linger linger = {.l_onoff = 1};

        (void)setsockopt(bufferevent_getfd(peer->bev), SOL_SOCKET, SO_LINGER, &linger,
                         sizeof(linger));
    }
    event_free(peer->timer);
    bufferevent_free(peer->bev);
    free(peer);
}

static inline void stub_read(struct bufferevent *bev, void *ctx);

static inline void stub_say(int fd, short what, void *ctx)
{
    struct stub_peer *peer = ctx;
    const struct stub_answer *answer = peer->answer;
    struct timeval gap = {.tv_usec = answer ? (suseconds_t)answer->gap_ms * 1000 : 0};

    (void)fd;
    (void)what;
    if (!answer)
        return;
    if (evbuffer_get_length(bufferevent_get_output(peer->bev)) > 0) {
        (void)evtimer_add(peer->timer, &gap); /* the piece before is still going out */
        return;
    }
    if (peer->piece < answer->n_pieces) {
        struct nj_span piece = answer->pieces[peer->piece++];

        (void)bufferevent_write(peer->bev, piece.data, piece.len);
        (void)evtimer_add(peer->timer, &gap);
        return;
    }
    if (answer->hold)
        return;
    if (answer->close || answer->reset) {
        stub_close(peer);
        return;
    }
    peer->answer = NULL;
    stub_read(peer->bev, peer); /* the next request may have come meanwhile */
}

static inline void stub_read(struct bufferevent *bev, void *ctx)
{
    struct stub_peer *peer = ctx;
    struct stub *stub = peer->stub;
    struct evbuffer *in = bufferevent_get_input(bev);
    struct evbuffer_ptr blank = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    struct nj_error err = {0};
    nj_auto_free char *head = NULL;
    const char *length;
    size_t len, body;

    if (blank.pos < 0 || peer->answer)
        return;
    len = (size_t)blank.pos + 4;
    head = calloc(1, len + 1);
    assert(head && evbuffer_copyout(in, head, len) == (ssize_t)len);
    length = strcasestr(head, "\r\ncontent-length:");
    body = length ? strtoul(length + 17, NULL, 10) : 0;
    if (evbuffer_get_length(in) < len + body)
        return;
    nj_buf_done(&stub->last);
    nj_buf_init(&stub->last, 256u << 20);
    assert(nj_buf_reserve(&stub->last, len + body + 1, &err) == 0);
    assert(evbuffer_remove(in, stub->last.data, len + body) == (int)(len + body));
    stub->last.len = len + body;
    stub->last.data[stub->last.len] = 0;
    peer->answer =
        stub->answers[stub->n_requests < stub->n_answers ? stub->n_requests : stub->n_answers - 1];
    stub->n_requests++;
    peer->piece = 0;
    stub_say(-1, 0, peer);
}

static inline void stub_event(struct bufferevent *bev, short what, void *ctx)
{
    (void)bev;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        stub_close(ctx);
}

static inline void stub_accept(struct evconnlistener *listener, evutil_socket_t fd,
                               struct sockaddr *address, int len, void *ctx)
{
    struct stub *stub = ctx;
    struct stub_peer *peer = calloc(1, sizeof(*peer));

    (void)listener;
    (void)address;
    (void)len;
    assert(peer);
    stub->n_connections++;
    peer->stub = stub;
    peer->next = stub->peers;
    stub->peers = peer;
    peer->bev = bufferevent_socket_new(stub->base, fd, BEV_OPT_CLOSE_ON_FREE);
    peer->timer = evtimer_new(stub->base, stub_say, peer);
    assert(peer->bev && peer->timer);
    bufferevent_setcb(peer->bev, stub_read, NULL, stub_event, peer);
    assert(bufferevent_enable(peer->bev, EV_READ | EV_WRITE) == 0);
}

static inline void stub_init(struct stub *stub, struct event_base *base)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);

    *stub = (struct stub){.base = base};
    stub->listener = evconnlistener_new_bind(base, stub_accept, stub,
                                             LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 64,
                                             (struct sockaddr *)&address, (int)sizeof(address));
    assert(stub->listener);
    assert(getsockname(evconnlistener_get_fd(stub->listener), (struct sockaddr *)&address, &len) ==
           0);
    stub->port = ntohs(address.sin_port);
}

static inline void stub_done(struct stub *stub)
{
    while (stub->peers)
        stub_close(stub->peers);
    evconnlistener_free(stub->listener);
    nj_buf_done(&stub->last);
}

#endif
