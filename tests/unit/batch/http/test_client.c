/*
 * test_client.c - exchanges over real sockets with a server that says what each case needs
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <malloc.h>
#include <netdb.h>
#include <pthread.h>
#include <time.h>

#include "batch/http/client.h"
#include "tests/lib/http_stub.h"

#include "formats/base/banned.h"

#define BIG_BYTES (1u << 20)

struct stage {
    struct event_base *base;
    struct stub stub;
    struct stub_answer answer;
    struct nj_http *http;
    char url[64];
};

struct seen {
    struct stage *stage;
    struct nj_http_call *call;
    int status;
    char kind[64];
    struct nj_buf body;
    size_t n_ended, n_sent;
    enum nj_http_end end;
    char text[300];
    size_t stop_after; /* bytes; 0: never */
    bool cancel_at_body;
    size_t again;       /* further exchanges to begin from inside ended */
    struct seen *other; /* whose exchange ended cancels */
    struct seen *next;  /* body cancels the other one's, and begins this one's */
};

static void stage_init(struct stage *stage, const struct nj_http_options *options)
{
    struct nj_error err = {0};

    memset(stage, 0, sizeof(*stage));
    stage->base = event_base_new();
    assert_non_null(stage->base);
    stub_init(&stage->stub, stage->base);
    stage->stub.answers[0] = &stage->answer;
    stage->stub.n_answers = 1;
    assert_int_equal(nj_http_new(stage->base, options, &stage->http, &err), 0);
    (void)snprintf(stage->url, sizeof(stage->url), "http://127.0.0.1:%u/v1/x", stage->stub.port);
}

static void stage_done(struct stage *stage)
{
    nj_http_free(stage->http);
    stub_done(&stage->stub);
    event_base_free(stage->base);
}

static void say(struct stage *stage, const char *text)
{
    stage->answer.pieces[stage->answer.n_pieces++] = nj_span_text(text);
}

static void on_headers(void *ctx, int status, const struct nj_http_header *headers, size_t n)
{
    struct seen *seen = ctx;
    struct nj_span kind = nj_http_header_find(headers, n, "x-KIND");

    seen->status = status;
    (void)snprintf(seen->kind, sizeof(seen->kind), "%.*s", (int)kind.len,
                   kind.data ? (const char *)kind.data : "");
}

static void ask(struct stage *stage, struct seen *seen, const struct nj_http_request *request);

static bool on_body(void *ctx, struct nj_span bytes)
{
    const struct nj_http_request limited = {.first_byte_ms = 10000};
    struct seen *seen = ctx;
    struct nj_error err = {0};

    assert_int_equal(nj_buf_append(&seen->body, bytes.data, bytes.len, &err), 0);
    if (seen->next) {
        nj_http_cancel(seen->other->call);
        ask(seen->stage, seen->next, &limited);
    }
    if (seen->cancel_at_body) {
        nj_http_cancel(seen->call);
        return true;
    }
    return !seen->stop_after || seen->body.len < seen->stop_after;
}

static void on_ended(void *ctx, const struct nj_http_result *result)
{
    struct seen *seen = ctx;

    seen->n_ended++;
    seen->end = result->end;
    seen->status = result->status;
    (void)snprintf(seen->text, sizeof(seen->text), "%s", result->text);
    if (seen->other)
        nj_http_cancel(seen->other->call);
    if (seen->again) {
        seen->again--;
        ask(seen->stage, seen, NULL);
    }
}

static void on_sent(void *ctx)
{
    ((struct seen *)ctx)->n_sent++;
}

static void ask(struct stage *stage, struct seen *seen, const struct nj_http_request *wanted)
{
    struct nj_http_request request = wanted ? *wanted : (struct nj_http_request){0};
    struct nj_http_callbacks callbacks = {
        .headers = on_headers, .body = on_body, .ended = on_ended, .sent = on_sent, .ctx = seen};
    struct nj_error err = {0};

    seen->stage = stage;
    if (!seen->body.max)
        nj_buf_init(&seen->body, 64u << 20);
    if (!request.method)
        request.method = "GET";
    if (!request.url)
        request.url = stage->url;
    if (nj_http_begin(stage->http, &request, &callbacks, &seen->call, &err) < 0)
        fail_msg("%s", err.text);
}

static void turn(struct stage *stage, const struct seen *seen, size_t n_ended)
{
    for (unsigned i = 0; i < 20000 && seen->n_ended < n_ended; i++)
        (void)event_base_loop(stage->base, EVLOOP_ONCE);
    assert_int_equal(seen->n_ended, n_ended);
}

static void an_answer_comes_with_its_headers_and_body(void **state)
{
    struct nj_http_options options = {0};
    struct stage stage;
    struct seen seen = {0};

    (void)state;
    stage_init(&stage, &options);
    say(&stage, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nX-Ki");
    say(&stage, "nd:  a b \r\nContent-Length: 5\r\n\r\nhe");
    say(&stage, "llo");
    ask(&stage, &seen, NULL);
    assert_int_equal(seen.n_ended, 0);
    turn(&stage, &seen, 1);
    assert_int_equal(seen.end, NJ_HTTP_WHOLE);
    assert_int_equal(seen.status, 201);
    assert_string_equal(seen.kind, "a b");
    assert_true(nj_span_is(nj_buf_span(&seen.body), "hello"));
    nj_buf_done(&seen.body);
    stage_done(&stage);
}

static void bodies_arrive_byte_for_byte_in_one_piece_or_many(void **state)
{
    static const size_t sizes[] = {0, 1, NJ_HTTP_FLAT_MAX_BYTES, NJ_HTTP_FLAT_MAX_BYTES + 1,
                                   BIG_BYTES};
    const char *const headers[] = {"X-Key: not-a-secret", "Content-Type: text/plain"};
    struct nj_http_options options = {0};
    nj_auto_free uint8_t *bytes = malloc(BIG_BYTES);
    struct stage stage;

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < BIG_BYTES; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    stage_init(&stage, &options);
    say(&stage, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t third = sizes[i] / 3;
        struct nj_span body[] = {{bytes, third}, {bytes, 0}, {bytes + third, sizes[i] - third}};
        struct nj_http_request request = {
            .method = "POST", .headers = headers, .n_headers = 2, .body = body, .n_body = 3};
        struct seen seen = {0};
        const char *sent;

        ask(&stage, &seen, &request);
        turn(&stage, &seen, 1);
        assert_int_equal(seen.end, NJ_HTTP_WHOLE);
        assert_int_equal(seen.n_sent, 1);
        assert_non_null(strstr((char *)stage.stub.last.data, "\r\nX-Key: not-a-secret\r\n"));
        assert_null(strstr((char *)stage.stub.last.data, "Expect"));
        sent = strstr((char *)stage.stub.last.data, "\r\n\r\n");
        assert_non_null(sent);
        assert_true(nj_span_equal(
            (struct nj_span){(const uint8_t *)sent + 4,
                             stage.stub.last.len -
                                 (size_t)((const uint8_t *)sent + 4 - stage.stub.last.data)},
            (struct nj_span){bytes, sizes[i]}));
        nj_buf_done(&seen.body);
    }
    assert_int_equal(stage.stub.n_connections, 1); /* kept alive and used again */
    stage_done(&stage);
}

static void expect_end(const struct nj_http_options *options, const char *answer,
                       const struct stub_answer *manner, const struct nj_http_request *request,
                       enum nj_http_end end, const char *text)
{
    struct stage stage;
    struct seen seen = {0};

    stage_init(&stage, options);
    if (manner)
        stage.answer = *manner;
    say(&stage, answer);
    ask(&stage, &seen, request);
    turn(&stage, &seen, 1);
    if (seen.end != end || !strstr(seen.text, text))
        fail_msg("ended with %d \"%s\", wanted %d \"%s\"", seen.end, seen.text, end, text);
    nj_buf_done(&seen.body);
    stage_done(&stage);
}

static void an_answer_cut_short_is_no_answer(void **state)
{
    static const struct stub_answer closes = {.close = true}, resets = {.reset = true};
    struct nj_http_options options = {0};

    (void)state;
    expect_end(&options, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", &closes, NULL,
               NJ_HTTP_CUT, "");
    expect_end(&options, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
               &closes, NULL, NJ_HTTP_CUT, "");
    expect_end(&options, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", &resets, NULL,
               NJ_HTTP_CUT, "");
    expect_end(&options, "HTTP/1.1 200 OK\r\nContent-Le", &closes, NULL, NJ_HTTP_CUT, "");
    expect_end(&options, "SSH-2.0-OpenSSH_9\r\n", &closes, NULL, NJ_HTTP_CUT, "");
    expect_end(&options, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\nhello\r\n",
               NULL, NULL, NJ_HTTP_CUT, "");
}

/* libcurl would ask again by itself, which nobody would see. */
static void what_a_kept_connection_swallowed_is_not_sent_again(void **state)
{
    static const struct stub_answer closes = {.close = true}, resets = {.reset = true};
    static const size_t sizes[] = {100, NJ_HTTP_FLAT_MAX_BYTES + 1}; /* in one piece, and read */
    static uint8_t bytes[NJ_HTTP_FLAT_MAX_BYTES + 1];
    struct nj_http_options options = {0};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const struct nj_span body = {bytes, sizes[i % 2]};
        struct nj_http_request request = {.method = "POST", .body = &body, .n_body = 1};
        struct stage stage;
        struct seen seen = {0};

        stage_init(&stage, &options);
        stage.stub.answers[1] = i < 2 ? &closes : &resets;
        stage.stub.answers[2] = &stage.answer;
        stage.stub.n_answers = 3;
        say(&stage, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        request.url = stage.url;
        for (size_t k = 1; k <= 3; k++) {
            ask(&stage, &seen, &request);
            turn(&stage, &seen, k);
            assert_int_equal(stage.stub.n_requests, k);
            assert_int_equal(seen.end, k == 2 ? NJ_HTTP_CUT : NJ_HTTP_WHOLE);
            if (k == 2)
                assert_non_null(strstr(seen.text, "was closed without an answer"));
        }
        nj_buf_done(&seen.body);
        stage_done(&stage);
    }
}

/* One that closed while it lay idle is known to be gone: nothing is sent there. */
static void a_connection_that_closed_between_calls_costs_nothing(void **state)
{
    struct nj_http_options options = {0};
    struct stage stage;
    struct seen seen = {0};

    (void)state;
    stage_init(&stage, &options);
    stage.answer.close = true;
    say(&stage, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    for (size_t k = 1; k <= 3; k++) {
        ask(&stage, &seen, NULL);
        turn(&stage, &seen, k);
        assert_int_equal(seen.end, NJ_HTTP_WHOLE);
        while (stage.stub.peers)
            (void)event_base_loop(stage.base, EVLOOP_ONCE);
    }
    assert_int_equal(stage.stub.n_requests, 3);
    assert_int_equal(stage.stub.n_connections, 3);
    nj_buf_done(&seen.body);
    stage_done(&stage);
}

static void time_limits_end_silence_and_trickles_alike(void **state)
{
    static const struct stub_answer holds = {.hold = true};
    struct nj_http_options options = {0};
    struct nj_http_request first = {.first_byte_ms = 60, .idle_ms = 5000};
    struct nj_http_request idle = {.first_byte_ms = 5000, .idle_ms = 60};
    struct nj_http_request late = {.idle_ms = 2000, .deadline_ms = 150};
    struct stub_answer *trickle = calloc(1, sizeof(*trickle));

    (void)state;
    assert_non_null(trickle);
    trickle->gap_ms = 10;
    trickle->pieces[trickle->n_pieces++] =
        nj_span_text("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n");
    for (size_t i = 0; i < 800; i++)
        trickle->pieces[trickle->n_pieces++] = nj_span_text("x");
    expect_end(&options, "", &holds, &first, NJ_HTTP_STALLED, "no answer came within 60 ms");
    expect_end(&options, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", &holds, &idle,
               NJ_HTTP_STALLED, "nothing came for 60 ms, after 3 bytes");
    expect_end(&options, "", trickle, &late, NJ_HTTP_LATE, "not whole within 150 ms");
    free(trickle);
}

/* All limits share one timer. The first of two that pass in one moment cancels the second. */
static void each_ends_by_its_own_limit(void **state)
{
    struct nj_http_options options = {0};
    struct nj_http_request request = {0};
    struct seen seen[12] = {0}, cancelled = {0};
    struct timespec both = {.tv_nsec = 80 * 1000000}, hold = {.tv_nsec = 30 * 1000000};
    struct stage stage;

    (void)state;
    stage_init(&stage, &options);
    stage.answer.hold = true;
    for (size_t i = 0; i < 12; i++) { /* the longest first */
        request.first_byte_ms = 60 * (12 - i);
        ask(&stage, &seen[i], &request);
    }
    request.first_byte_ms = 61;
    ask(&stage, &cancelled, &request);
    seen[11].other = &cancelled;
    (void)nanosleep(&both, NULL);
    for (size_t i = 12; i-- > 0;) {
        turn(&stage, &seen[i], 1);
        assert_int_equal(seen[i].end, NJ_HTTP_STALLED);
        (void)nanosleep(&hold, NULL); /* several pass while the loop is held up */
    }
    assert_int_equal(cancelled.n_ended, 0);
    stage_done(&stage);
}

static void caps_hold_for_headers_and_body(void **state)
{
    struct nj_http_options options = {0};
    struct nj_http_request small = {.body_max_bytes = 8};
    struct stub_answer *many = calloc(1, sizeof(*many));

    (void)state;
    assert_non_null(many);
    expect_end(&options, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789", NULL, &small,
               NJ_HTTP_TOO_LARGE, "more than 8 bytes");
    expect_end(&options,
               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n",
               NULL, &small, NJ_HTTP_TOO_LARGE, "more than 8 bytes");
    many->pieces[many->n_pieces++] = nj_span_text("HTTP/1.1 200 OK\r\n");
    for (size_t i = 0; i < 4000; i++)
        many->pieces[many->n_pieces++] =
            nj_span_text("X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
    expect_end(&options, "\r\n", many, NULL, NJ_HTTP_TOO_LARGE, "headers have more than");
    many->pieces[0] = nj_span_text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
    expect_end(&options, "\r\n", many, NULL, NJ_HTTP_TOO_LARGE, "trailers have more than");
    many->pieces[0] = nj_span_text("HTTP/1.1 200 OK\r\n");
    for (size_t i = 1; i < many->n_pieces; i++)
        many->pieces[i] = nj_span_text("X-Filler-in-one-line-without-an-end-aaaaaaaaaaa");
    expect_end(&options, "\r\n", many, NULL, NJ_HTTP_CUT, "has more than 100 KB");
    free(many);
}

/* Interim answers are none, however many; another protocol is nothing that was asked for. */
static void what_comes_before_an_answer_is_none(void **state)
{
    static const struct stub_answer closes = {.close = true};
    struct nj_http_options options = {0};
    struct stub_answer *many = calloc(1, sizeof(*many));

    (void)state;
    assert_non_null(many);
    expect_end(&options,
               "HTTP/1.1 101 On\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nbytes of another",
               &closes, NULL, NJ_HTTP_CUT, "changed the protocol (101)");
    expect_end(&options,
               "HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
               NULL, NULL, NJ_HTTP_WHOLE, "");
    while (many->n_pieces + 1 < STUB_PIECES_MAX)
        many->pieces[many->n_pieces++] = nj_span_text(
            "HTTP/1.1 103 Early\r\nLink: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
            "Link: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n");
    expect_end(&options, "\r\n", many, NULL, NJ_HTTP_CUT, "Too large response headers");
    free(many);
}

static void a_redirect_is_an_answer_like_any_other(void **state)
{
    struct nj_http_options options = {0};
    struct stage stage;
    struct seen seen = {0};

    (void)state;
    stage_init(&stage, &options);
    say(&stage, "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
    ask(&stage, &seen, NULL);
    turn(&stage, &seen, 1);
    assert_int_equal(seen.end, NJ_HTTP_WHOLE);
    assert_int_equal(seen.status, 302);
    assert_int_equal(stage.stub.n_requests, 1);
    nj_buf_done(&seen.body);
    stage_done(&stage);
}

static bool nobody(void *ctx, const struct sockaddr *address, socklen_t len)
{
    (void)ctx;
    (void)len;
    assert_int_equal(address->sa_family, AF_INET);
    return false;
}

static void what_we_would_not_ask_is_refused(void **state)
{
    struct nj_http_options guarded = {.allow_address = nobody};
    struct nj_http_options options = {0};
    struct nj_http_request file = {.url = "file:///etc/hostname"};
    struct nj_http_request named = {.url = "http://user:word@127.0.0.1:1/"};
    struct nj_http_request nowhere = {.url = "http://127.0.0.1:1/"};

    (void)state;
    expect_end(&guarded, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", NULL, NULL,
               NJ_HTTP_REFUSED, "not allowed");
    expect_end(&options, "", NULL, &file, NJ_HTTP_REFUSED, "rotocol");
    expect_end(&options, "", NULL, &named, NJ_HTTP_REFUSED, "");
    expect_end(&options, "", NULL, &nowhere, NJ_HTTP_UNREACHED, "");
}

static void a_line_end_in_a_header_is_refused_at_once(void **state)
{
    const char *const headers[] = {"X-A: b\r\nX-C: d"};
    struct nj_http_request request = {.method = "GET", .headers = headers, .n_headers = 1};
    struct nj_http_options options = {0};
    struct nj_http_callbacks callbacks = {.body = on_body, .ended = on_ended};
    struct nj_http_call *call = NULL;
    struct nj_error err = {0};
    struct stage stage;

    (void)state;
    stage_init(&stage, &options);
    request.url = stage.url;
    assert_int_equal(nj_http_begin(stage.http, &request, &callbacks, &call, &err), -NJ_E_INPUT);
    assert_null(call);
    stage_done(&stage);
}

static void nothing_comes_after_a_cancel(void **state)
{
    struct nj_http_options options = {0};
    struct stage stage;
    struct seen seen = {0}, inside = {.cancel_at_body = true}, after = {0},
                stopped = {.stop_after = 1};

    (void)state;
    stage_init(&stage, &options);
    say(&stage, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
    say(&stage, "llo");
    stage.answer.gap_ms = 30;
    ask(&stage, &seen, NULL);
    nj_http_cancel(seen.call);
    ask(&stage, &inside, NULL);
    ask(&stage, &after, NULL);
    turn(&stage, &after, 1);
    for (unsigned i = 0; i < 200 && inside.body.len == 0; i++)
        (void)event_base_loop(stage.base, EVLOOP_ONCE);
    (void)event_base_loop(stage.base, EVLOOP_NONBLOCK);
    assert_int_equal(seen.n_ended, 0);
    assert_int_equal(inside.n_ended, 0);
    assert_int_equal(inside.body.len, 2);
    ask(&stage, &stopped, NULL);
    turn(&stage, &stopped, 1);
    assert_int_equal(stopped.end, NJ_HTTP_STOPPED);
    nj_buf_done(&inside.body);
    nj_buf_done(&after.body);
    nj_buf_done(&stopped.body);
    stage_done(&stage);
}

static void nobody_waits_for_the_answer_of_another(void **state)
{
    struct nj_http_options options = {0};
    struct stub_answer nothing = {.hold = true};
    struct nj_http_request limited = {.first_byte_ms = 10000};
    struct seen silent = {0}, asks = {0};
    struct stage stage;

    (void)state;
    stage_init(&stage, &options);
    say(&stage, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    stage.stub.answers[0] = &nothing;
    stage.stub.answers[1] = &stage.answer;
    stage.stub.n_answers = 2;
    ask(&stage, &silent, NULL);
    while (stage.stub.n_requests < 1)
        (void)event_base_loop(stage.base, EVLOOP_ONCE);
    ask(&stage, &asks, &limited);
    turn(&stage, &asks, 1);
    assert_int_equal(asks.end, NJ_HTTP_WHOLE);
    assert_int_equal(silent.n_ended, 0);
    nj_http_cancel(silent.call);
    nj_buf_done(&asks.body);
    stage_done(&stage);
}

static size_t bytes_that_wait(struct stage *stage, struct nj_span body, struct seen *seen)
{
    const struct nj_http_request request = {.method = "POST", .body = &body, .n_body = 1};
    size_t before = mallinfo2().uordblks, n_requests = stage->stub.n_requests;

    ask(stage, seen, &request);
    while (seen->n_sent == 0 || stage->stub.n_requests == n_requests)
        (void)event_base_loop(stage->base, EVLOOP_ONCE);
    nj_buf_done(&stage->stub.last); /* the server's */
    return mallinfo2().uordblks - before;
}

/* Whoever waits for an answer holds as much whether he asked much or little. */
static void nothing_of_a_body_is_held_once_it_is_sent(void **state)
{
    struct nj_http_options options = {0};
    struct seen first = {0}, small = {0}, large = {0};
    nj_auto_free uint8_t *bytes = calloc(1, BIG_BYTES);
    size_t little, much;
    struct stage stage;

    (void)state;
    assert_non_null(bytes);
    stage_init(&stage, &options);
    stage.answer.hold = true;
    (void)bytes_that_wait(&stage, (struct nj_span){bytes, 1}, &first);
    little = bytes_that_wait(&stage, (struct nj_span){bytes, 1000}, &small);
    much = bytes_that_wait(&stage, (struct nj_span){bytes, BIG_BYTES / 4}, &large);
    if (much > little + 4096)
        fail_msg("%zu bytes are held, %zu where little is asked", much, little);
    assert_int_equal(first.n_sent + small.n_sent + large.n_sent, 3);
    nj_http_cancel(first.call);
    nj_http_cancel(small.call);
    nj_http_cancel(large.call);
    stage_done(&stage);
}

/* The first connection could be one that many share; but nobody waits for that for ever. */
static void a_server_that_never_shakes_hands_is_asked_by_all(void **state)
{
    struct nj_http_options options = {0};
    struct nj_http_request request = {0};
    struct seen seen[6] = {{0}};
    struct stage stage;
    char url[64];
    time_t since;

    (void)state;
    stage_init(&stage, &options);
    (void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/v1/x", stage.stub.port);
    request.url = url;
    for (size_t i = 0; i < 6; i++)
        ask(&stage, &seen[i], &request);
    since = time(NULL);
    while (stage.stub.n_connections < 6 && time(NULL) < since + 15)
        (void)event_base_loop(stage.base, EVLOOP_ONCE);
    assert_int_equal(stage.stub.n_connections, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(seen[i].n_ended, 0);
        nj_http_cancel(seen[i].call);
    }
    stage_done(&stage);
}

static pthread_mutex_t names = PTHREAD_MUTEX_INITIALIZER;

/* In the place of the C library's: libcurl's thread stands still as long as `names` is locked. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    look_up *real = (look_up *)dlsym(RTLD_NEXT, "getaddrinfo");

    if (node && strcmp(node, "slow.invalid") == 0) {
        (void)pthread_mutex_lock(&names);
        (void)pthread_mutex_unlock(&names);
        return EAI_NONAME;
    }
    return real(node, service, hints, found);
}

static void an_end_does_not_stand_still_for_a_name(void **state)
{
    struct nj_http_options options = {0};
    struct nj_http_request late = {.url = "http://slow.invalid/", .deadline_ms = 50};
    struct seen ends = {0}, cancelled = {0};
    struct stage stage;

    (void)state;
    stage_init(&stage, &options);
    (void)pthread_mutex_lock(&names);
    (void)alarm(20); /* it would stand still for ever */
    ask(&stage, &ends, &late);
    ask(&stage, &cancelled, &late);
    for (unsigned i = 0; i < 3; i++)
        (void)event_base_loop(stage.base, EVLOOP_NONBLOCK);
    nj_http_cancel(cancelled.call);
    turn(&stage, &ends, 1);
    (void)alarm(0);
    assert_int_equal(ends.end, NJ_HTTP_LATE);
    stage_done(&stage);
    (void)pthread_mutex_unlock(&names);
    (void)pthread_mutex_lock(&names); /* the threads that waited are gone on, or will be */
    (void)pthread_mutex_unlock(&names);
}

/* Cancelled from inside another's callback, a connection is closed at once, whatever limit is set
 * behind that. */
static void a_cancel_is_not_put_off_by_the_next_limit(void **state)
{
    struct nj_http_options options = {0};
    struct stub_answer nothing = {.hold = true};
    struct seen silent = {0}, next = {0}, speaks = {.other = &silent, .next = &next};
    struct stage stage;
    size_t n_peers = 0;

    (void)state;
    stage_init(&stage, &options);
    say(&stage, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
    stage.answer.hold = true;
    stage.stub.answers[0] = &nothing;
    stage.stub.answers[1] = &stage.answer;
    stage.stub.answers[2] = &nothing;
    stage.stub.n_answers = 3;
    ask(&stage, &silent, NULL);
    while (stage.stub.n_requests < 1)
        (void)event_base_loop(stage.base, EVLOOP_ONCE);
    ask(&stage, &speaks, NULL);
    while (next.n_ended == 0 && (stage.stub.n_requests < 3 || n_peers != 2)) {
        (void)event_base_loop(stage.base, EVLOOP_ONCE);
        n_peers = 0;
        for (const struct stub_peer *peer = stage.stub.peers; peer; peer = peer->next)
            n_peers++;
    }
    assert_int_equal(n_peers, 2);
    assert_int_equal(silent.n_ended + speaks.n_ended + next.n_ended, 0);
    nj_http_cancel(speaks.call);
    nj_http_cancel(next.call);
    nj_buf_done(&speaks.body);
    stage_done(&stage);
}

static void an_ending_may_begin_the_next(void **state)
{
    struct nj_http_options options = {0};
    struct stage stage;
    struct seen seen = {.again = 99};

    (void)state;
    stage_init(&stage, &options);
    say(&stage, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    ask(&stage, &seen, NULL);
    turn(&stage, &seen, 100);
    assert_int_equal(seen.body.len, 500);
    assert_int_equal(stage.stub.n_connections, 1);
    nj_buf_done(&seen.body);
    stage_done(&stage);
}

static void many_at_once_all_end_once(void **state)
{
    struct nj_http_options options = {0};
    struct stage stage;
    struct seen seen[200];
    size_t ended = 0;

    (void)state;
    memset(seen, 0, sizeof(seen));
    stage_init(&stage, &options);
    say(&stage, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
    say(&stage, "llo");
    for (size_t i = 0; i < 200; i++)
        ask(&stage, &seen[i], NULL);
    for (size_t i = 0; i < 200; i += 7)
        nj_http_cancel(seen[i].call);
    for (unsigned i = 0; i < 20000 && ended < 200 - 29; i++) {
        (void)event_base_loop(stage.base, EVLOOP_ONCE);
        ended = 0;
        for (size_t k = 0; k < 200; k++)
            ended += seen[k].n_ended;
    }
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(seen[i].n_ended, i % 7 ? 1 : 0);
        assert_int_equal(seen[i].body.len, i % 7 ? 5 : 0);
        nj_buf_done(&seen[i].body);
    }
    stage_done(&stage);
}

static void header_lines_are_split_strictly(void **state)
{
    static const char block[] =
        "Retry-After: 3 \r\nno colon\r\nbad name: x\r\n: y\r\n folded: z\r\nX:\r\nA:b:c\n";
    struct nj_http_header headers[8];
    size_t n = nj_http_headers_read(nj_span_text(block), headers, 8);

    (void)state;
    assert_int_equal(n, 3);
    assert_true(nj_span_is(nj_http_header_find(headers, n, "retry-AFTER"), "3"));
    assert_int_equal(nj_http_header_find(headers, n, "x").len, 0);
    assert_true(nj_span_is(nj_http_header_find(headers, n, "a"), "b:c"));
    assert_null(nj_http_header_find(headers, n, "b").data);
    assert_int_equal(nj_http_headers_read(nj_span_text(block), headers, 1), 1);
    assert_int_equal(nj_http_status_read(nj_span_text("HTTP/1.1 204 No\r\n")), 204);
    assert_int_equal(nj_http_status_read(nj_span_text("HTTP/2 200 \r\n")), 200);
    assert_int_equal(nj_http_status_read(nj_span_text("HTTP/1.1 2000\r\n")), -1);
    assert_int_equal(nj_http_status_read(nj_span_text("HTTP/1.1 20")), -1);
    assert_int_equal(nj_http_status_read(nj_span_text("http: x")), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_lines_are_split_strictly),
        cmocka_unit_test(an_answer_comes_with_its_headers_and_body),
        cmocka_unit_test(bodies_arrive_byte_for_byte_in_one_piece_or_many),
        cmocka_unit_test(what_a_kept_connection_swallowed_is_not_sent_again),
        cmocka_unit_test(a_connection_that_closed_between_calls_costs_nothing),
        cmocka_unit_test(an_answer_cut_short_is_no_answer),
        cmocka_unit_test(time_limits_end_silence_and_trickles_alike),
        cmocka_unit_test(each_ends_by_its_own_limit),
        cmocka_unit_test(caps_hold_for_headers_and_body),
        cmocka_unit_test(what_comes_before_an_answer_is_none),
        cmocka_unit_test(a_redirect_is_an_answer_like_any_other),
        cmocka_unit_test(what_we_would_not_ask_is_refused),
        cmocka_unit_test(a_line_end_in_a_header_is_refused_at_once),
        cmocka_unit_test(nothing_comes_after_a_cancel),
        cmocka_unit_test(nobody_waits_for_the_answer_of_another),
        cmocka_unit_test(nothing_of_a_body_is_held_once_it_is_sent),
        cmocka_unit_test(a_server_that_never_shakes_hands_is_asked_by_all),
        cmocka_unit_test(an_end_does_not_stand_still_for_a_name),
        cmocka_unit_test(a_cancel_is_not_put_off_by_the_next_limit),
        cmocka_unit_test(an_ending_may_begin_the_next),
        cmocka_unit_test(many_at_once_all_end_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
