/*
 * test_provider_http.c - tries over real sockets: whatever a server does, one ending, and the right
 * one; what is sent is what it should be
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "batch/http/client.h"
#include "batch/model/dialect.h"
#include "formats/base/slice.h"
#include "tests/lib/http_stub.h"
#include "tests/lib/memory_objects.h"

#include "formats/base/banned.h"

#define KEY_LINE "x-api-key: not-so-secret"
#define KEY "not-so-secret"

static const struct nj_session_config config = {
    .key = "k",
    .group = "g",
    .agent = "a",
    .role = "r",
    .instructions = "Do \"it\".\n",
    .reproducible = "D0",
    .turns_max = 100,
    .max_runtime_ms = 1000,
    .budget_micro_usd = -1,
};

struct stage {
    struct event_base *base;
    struct stub stub;
    struct stub_answer answer;
    struct nj_http *http;
    char url[64];
    struct nj_manifest_model spec;
    struct nj_model_services services;
    struct nj_model model;
    struct memory_objects store;
    struct nj_session *session;
    struct nj_try *try;
    size_t n_ended;
    bool replied;
    char text[NJ_ERROR_TEXT_MAX_BYTES];
    char raw[256];
    char request_id[160];
    char content[4096];
    enum nj_manifest_cause cause;
    enum nj_try_verdict verdict;
    int status;
    struct nj_usage usage;
    size_t n_headers, n_first_bytes;
    size_t n_questions; /* for the key, under way */
    bool key_refused;
    bool unasked;
};

/* The one question under way. */
struct nj_credential_wait {
    struct event *due;
    struct stage *stage;
    nj_credential_answered *answered;
    nj_credential_masked *masked;
    void *ctx;
    char *text;
    size_t len;
};

static void forget_key(struct nj_credential_wait *wait)
{
    event_free(wait->due);
    wait->stage->n_questions--;
    free(wait);
}

static void on_due(int fd, short what, void *ctx)
{
    struct nj_credential_wait wait = *(struct nj_credential_wait *)ctx;
    struct nj_error why = {0};
    char line[] = KEY_LINE;

    (void)fd;
    (void)what;
    forget_key(ctx);
    if (wait.stage->key_refused)
        (void)nj_fail(&why, NJ_E_INPUT, "credentials.key is not for that host");
    wait.answered(wait.ctx, why.code ? NULL : line, &why);
    memset(line, '!', sizeof(line)); /* as whoever holds secrets wipes it */
}

static int give_key(void *ctx, const struct nj_credential_ask *asked,
                    nj_credential_answered *answered, void *answered_ctx,
                    struct nj_credential_wait **ret_wait, struct nj_error *err)
{
    struct nj_credential_wait *wait = calloc(1, sizeof(*wait));
    struct stage *stage = ctx;
    char wanted[64];

    (void)err;
    (void)snprintf(wanted, sizeof(wanted), "127.0.0.1:%u", stage->stub.port);
    assert_int_equal(asked->credential, 7);
    assert_string_equal(asked->host, wanted);
    assert_string_equal(asked->method, "POST");
    assert_string_equal(asked->default_header, "x-api-key");
    assert_non_null(wait);
    wait->stage = stage;
    wait->answered = answered;
    wait->ctx = answered_ctx;
    wait->due = evtimer_new(stage->base, on_due, wait);
    event_active(wait->due, EV_TIMEOUT, 0);
    stage->n_questions++;
    *ret_wait = wait;
    return 0;
}

static void on_mask_due(int fd, short what, void *ctx)
{
    struct nj_credential_wait wait = *(struct nj_credential_wait *)ctx;
    char *found = memmem(wait.text, wait.len, KEY, strlen(KEY));

    (void)fd;
    (void)what;
    forget_key(ctx);
    for (; found; found = memmem(wait.text, wait.len, KEY, strlen(KEY)))
        memset(found, '*', strlen(KEY));
    wait.masked(wait.ctx);
}

static bool mask(void *ctx, char *text, size_t len, nj_credential_masked *masked, void *masked_ctx,
                 struct nj_credential_wait **ret_wait)
{
    struct nj_credential_wait *wait = calloc(1, sizeof(*wait));
    struct stage *stage = ctx;

    assert_non_null(wait);
    *wait = (struct nj_credential_wait){
        .stage = stage, .masked = masked, .ctx = masked_ctx, .text = text, .len = len};
    wait->due = evtimer_new(stage->base, on_mask_due, wait);
    (void)evtimer_add(wait->due, &(struct timeval){0}); /* in the loop's next turn */
    stage->n_questions++;
    *ret_wait = wait;
    return false;
}

static void put(struct stage *stage, struct nj_event *event, const char *first)
{
    struct nj_object_sink sink = memory_objects_sink(&stage->store);
    struct nj_event snapshotted = {.kind = NJ_EVENT_SNAPSHOTTED};
    struct nj_error err = {0};

    if (nj_session_step(stage->session, event, nj_span_text(first), &sink, &err) < 0 ||
        nj_session_step(stage->session, &snapshotted, (struct nj_span){0}, &sink, &err) < 0)
        fail_msg("%s", err.text);
}

static void open_session(struct stage *stage)
{
    static const char first[] =
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"h\\u00e9llo\"}]}";
    struct nj_event opened = {.kind = NJ_EVENT_OPENED};
    struct nj_error err = {0};

    assert_int_equal(nj_session_new(&config, &stage->session, &err), 0);
    opened.opened.config = stage->session->config_digest;
    nj_digest_bytes(first, strlen(first), &opened.opened.first);
    put(stage, &opened, first);
}

static void stage_init(struct stage *stage, const struct nj_provider *provider)
{
    const struct nj_http_options options = {0};
    struct nj_error err = {0};

    memset(stage, 0, sizeof(*stage));
    stage->base = event_base_new();
    assert_non_null(stage->base);
    stub_init(&stage->stub, stage->base);
    stage->stub.answers[0] = &stage->answer;
    stage->stub.n_answers = 1;
    assert_int_equal(nj_http_new(stage->base, &options, &stage->http, &err), 0);
    (void)snprintf(stage->url, sizeof(stage->url), "http://127.0.0.1:%u/v1/", stage->stub.port);
    stage->spec = (struct nj_manifest_model){.provider = NJ_PROVIDER_ANTHROPIC,
                                             .model = "m",
                                             .base_url = stage->url,
                                             .credential = 7,
                                             .max_tokens = 99,
                                             .stream = true,
                                             .timeout_seconds = 5};
    stage->spec.can.parallel_tools = true;
    stage->services = (struct nj_model_services){
        .base = stage->base,
        .http = stage->http,
        .credentials = {.ask = give_key, .forget = forget_key, .mask = mask, .ctx = stage},
        .script_log_fd = -1};
    stage->model =
        (struct nj_model){.provider = provider, .spec = &stage->spec, .services = &stage->services};
    assert_int_equal(provider->open(&stage->model, -1, &err), 0);
    open_session(stage);
}

static void stage_done(struct stage *stage)
{
    stage->model.provider->close(&stage->model);
    nj_session_free(stage->session);
    memory_objects_done(&stage->store);
    nj_http_free(stage->http);
    stub_done(&stage->stub);
    event_base_free(stage->base);
}

static void on_replied(void *ctx, const struct nj_try_reply *reply)
{
    struct stage *stage = ctx;

    stage->n_ended++;
    stage->replied = true;
    stage->usage = reply->usage;
    (void)snprintf(stage->content, sizeof(stage->content), "%.*s", (int)reply->content.len,
                   (const char *)reply->content.data);
    (void)snprintf(stage->request_id, sizeof(stage->request_id), "%s",
                   reply->request_id ? reply->request_id : "");
}

static void on_failed(void *ctx, const struct nj_try_failure *failure)
{
    struct stage *stage = ctx;

    stage->n_ended++;
    stage->cause = failure->cause;
    stage->verdict = failure->verdict;
    stage->status = failure->http_status;
    stage->usage = failure->usage;
    (void)snprintf(stage->text, sizeof(stage->text), "%s", failure->text);
    (void)snprintf(stage->raw, sizeof(stage->raw), "%.*s", (int)failure->raw.len,
                   failure->raw.data ? (const char *)failure->raw.data : "");
    (void)snprintf(stage->request_id, sizeof(stage->request_id), "%s",
                   failure->request_id ? failure->request_id : "");
}

static void on_unasked(void *ctx, const struct nj_error *why)
{
    struct stage *stage = ctx;

    stage->n_ended++;
    stage->unasked = true;
    (void)snprintf(stage->text, sizeof(stage->text), "%s", why->text);
}

static void on_counted(void *ctx, uint64_t tokens)
{
    struct stage *stage = ctx;

    stage->n_ended++;
    stage->usage.input_tokens = tokens;
    stage->replied = true;
}

static void on_headers(void *ctx, int status, const struct nj_http_header *headers, size_t n)
{
    struct stage *stage = ctx;

    (void)status;
    (void)headers;
    stage->n_headers += n > 0;
}

static void on_first_byte(void *ctx)
{
    ((struct stage *)ctx)->n_first_bytes++;
}

static void ask(struct stage *stage, const struct nj_request_policy *policy)
{
    const struct nj_try_callbacks callbacks = {.replied = on_replied,
                                               .failed = on_failed,
                                               .unasked = on_unasked,
                                               .headers = on_headers,
                                               .first_byte = on_first_byte,
                                               .ctx = stage};
    const struct nj_try_request request = {
        .session = stage->session,
        .n_messages = stage->session->n_messages,
        .turn = stage->session->turn + 1,
        .attempt = 1,
        .item_json = "{}",
        .policy = policy,
        .tools = nj_span_text("[{\"name\":\"t\",\"description\":\"d\",\"input_schema\":{\"type\":"
                              "\"object\"}}]"),
    };
    struct nj_error err = {0};

    stage->n_ended = 0;
    stage->replied = false;
    if (stage->model.provider->begin(&stage->model, &request, &callbacks, &stage->try, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(stage->n_ended, 0);
}

static void turn(struct stage *stage)
{
    for (unsigned i = 0; i < 20000 && stage->n_ended == 0; i++)
        (void)event_base_loop(stage->base, EVLOOP_ONCE);
    assert_int_equal(stage->n_ended, 1);
}

static void say(struct stage *stage, const char *text)
{
    stage->answer.pieces[stage->answer.n_pieces++] = nj_span_text(text);
}

#define STREAM_HEAD                                                                                \
    "HTTP/1.1 200 OK\r\nrequest-id: req_1\r\nContent-Type: text/event-stream; charset=utf-8\r\n"   \
    "Transfer-Encoding: chunked\r\n\r\n"

static void say_event(struct stage *stage, const char *json, char *space, size_t size)
{
    size_t len = strlen(json) + 8;

    (void)snprintf(space, size, "%zx\r\ndata: %s\n\n\r\n", len, json);
    say(stage, space);
}

static void say_stream(struct stage *stage, char (*space)[400], size_t upto)
{
    static const char *const events[] = {
        "{\"type\":\"message_start\",\"message\":{\"model\":\"m-2\",\"content\":[],\"usage\":{"
        "\"input_tokens\":5}}}",
        "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\","
        "\"text\":"
        "\"\"}}",
        "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":"
        "\"hi\"}}",
        "{\"type\":\"content_block_stop\",\"index\":0}",
        "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_"
        "tokens\":2}}",
        "{\"type\":\"message_stop\"}",
    };

    say(stage, STREAM_HEAD);
    for (size_t i = 0; i < 6 && i < upto; i++)
        say_event(stage, events[i], space[i], 400);
    if (upto > 6)
        say(stage, "0\r\n\r\n");
}

static void a_streamed_reply_is_whole_or_none(void **state)
{
    char space[6][400];

    (void)state;
    for (size_t upto = 0; upto <= 7; upto++) {
        struct stage *stage = calloc(1, sizeof(*stage));

        assert_non_null(stage);
        stage_init(stage, &nj_provider_anthropic);
        say_stream(stage, space, upto);
        stage->answer.close = true;
        ask(stage, NULL);
        turn(stage);
        assert_int_equal(stage->replied, upto >= 6); /* message_stop came: the rest is HTTP's */
        assert_string_equal(stage->request_id, "req_1");
        if (stage->replied)
            assert_string_equal(stage->content, "[{\"type\":\"text\",\"text\":\"hi\"}]");
        else
            assert_true(stage->verdict == NJ_TRY_AGAIN && stage->cause == NJ_CAUSE_ERROR);
        if (upto > 0 && !stage->replied)
            assert_non_null(strstr(stage->raw, "data: {\"type\":\"message_start\""));
        assert_int_equal(stage->usage.input_tokens, upto > 0 ? 5 : 0);
        assert_int_equal(stage->n_first_bytes, upto > 0);
        assert_int_equal(stage->n_headers, 1);
        stage_done(stage);
        free(stage);
    }
}

static void what_is_sent_is_json_the_same_each_time(void **state)
{
    const struct nj_request_policy policy = {.cache_ttl = "1h",
                                             .cache_tools = true,
                                             .cache_system = true,
                                             .cache_items = {0},
                                             .n_cache_items = 1,
                                             .output_schema =
                                                 nj_span_text("{\"type\":\"object\"}")};
    struct stage *stage = calloc(1, sizeof(*stage));
    const struct nj_manifest_text betas[] = {{.text = "b-1"}, {.text = "b-2"}};
    const struct nj_manifest_text refuses[] = {{.text = "top_k"}};
    char space[6][400], *body;
    struct nj_error err = {0};
    struct nj_span value;

    (void)state;
    assert_non_null(stage);
    stage_init(stage, &nj_provider_anthropic);
    nj_provider_anthropic.close(&stage->model);
    stage->spec.betas = (struct nj_manifest_texts){betas, 2};
    stage->spec.refuses = (struct nj_manifest_texts){refuses, 1};
    stage->spec.parameters =
        "{\"temperature\": 0.5, \"top_k\":3,\"output_config\":{\"effort\":\"low\"}}";
    stage->spec.can.parallel_tools = false;
    assert_int_equal(nj_provider_anthropic.open(&stage->model, -1, &err), 0);
    say_stream(stage, space, 7);
    for (int i = 0; i < 2; i++) {
        ask(stage, &policy);
        turn(stage);
        assert_true(stage->replied);
        assert_int_equal(
            strncmp((char *)stage->stub.last.data, "POST /v1/messages HTTP/1.1\r\n", 28), 0);
        assert_non_null(strstr((char *)stage->stub.last.data, "\r\n" KEY_LINE "\r\n"));
        assert_non_null(
            strstr((char *)stage->stub.last.data, "\r\nanthropic-version: 2023-06-01\r\n"));
        assert_non_null(strstr((char *)stage->stub.last.data, "\r\nanthropic-beta: b-1,b-2\r\n"));
        assert_non_null(strstr((char *)stage->stub.last.data, "\r\ntraceparent: 00-"));
        assert_non_null(strstr((char *)stage->stub.last.data, "-0000000000000001-01\r\n"));
        body = strstr((char *)stage->stub.last.data, "\r\n\r\n") + 4;
        assert_string_equal(
            body, "{\"model\":\"m\",\"max_tokens\":99,\"stream\":true,\"temperature\":0.5,"
                  "\"output_config\":{\"effort\":\"low\",\"format\":{\"type\":\"json_schema\","
                  "\"schema\":{\"type\":\"object\"}}},"
                  "\"tool_choice\":{\"type\":\"auto\",\"disable_parallel_tool_use\":true},"
                  "\"tools\":[{\"name\":\"t\",\"description\":\"d\",\"input_schema\":{\"type\":"
                  "\"object\"},"
                  "\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}],"
                  "\"system\":[{\"type\":\"text\",\"text\":\"Do \\\"it\\\".\\n\","
                  "\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}],"
                  "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
                  "\"h\\u00e9llo\","
                  "\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}]}]}");
        assert_int_equal(nj_slice_check(nj_span_text(body), &value, &err), 0);
    }
    stage_done(stage);
    free(stage);
}

static void expect_failure(const char *answer, enum nj_manifest_cause cause,
                           enum nj_try_verdict verdict, const char *text, const char *raw)
{
    struct stage *stage = calloc(1, sizeof(*stage));

    assert_non_null(stage);
    stage_init(stage, &nj_provider_anthropic);
    say(stage, answer);
    stage->answer.close = true;
    ask(stage, NULL);
    turn(stage);
    if (stage->replied || stage->cause != cause || stage->verdict != verdict ||
        !strstr(stage->text, text) || !strstr(stage->raw, raw) || strstr(stage->text, KEY) ||
        strstr(stage->raw, KEY))
        fail_msg("%s\nreplied %d, cause %d, verdict %d, \"%s\", raw \"%s\"", answer, stage->replied,
                 (int)stage->cause, (int)stage->verdict, stage->text, stage->raw);
    stage_done(stage);
    free(stage);
}

static void failures_are_told_apart_and_hold_no_secret(void **state)
{
#define JSON_HEAD(status) "HTTP/1.1 " status "\r\nContent-Type: application/json\r\n\r\n"
    (void)state;
    expect_failure(
        JSON_HEAD("401 No") "{\"error\":{\"type\":\"authentication_error\",\"message\":\"bad " KEY
                            "\"}}",
        NJ_CAUSE_ERROR, NJ_TRY_STOP, "bad *************; mend", "bad ****");
    expect_failure(
        JSON_HEAD(
            "529 Busy") "{\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}",
        NJ_CAUSE_OVERLOADED, NJ_TRY_AGAIN, "Overloaded", "overloaded_error");
    expect_failure("HTTP/1.1 502 Bad\r\nContent-Type: text/html\r\n\r\n<html>", NJ_CAUSE_ERROR,
                   NJ_TRY_AGAIN, "502", "<html>");
    expect_failure(JSON_HEAD("200 OK") "{\"type\":\"message\",\"content\":", NJ_CAUSE_ERROR,
                   NJ_TRY_AGAIN, "/v1/messages: what came is no reply: answer: JSON: byte 28",
                   "message");
    expect_failure(JSON_HEAD("200 OK"), NJ_CAUSE_ERROR, NJ_TRY_AGAIN,
                   "no reply: answer: JSON: byte 0", "");
    expect_failure(JSON_HEAD("200 OK") " \r\n<h1>It works!</h1> " KEY, NJ_CAUSE_ERROR, NJ_TRY_AGAIN,
                   "is base_url right? What came is no reply as provider anthropic gives it, but "
                   "begins \" \r\n<h1>It works!</h1> *************\"",
                   "It works");
    expect_failure("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 7\n\n",
                   NJ_CAUSE_ERROR, NJ_TRY_AGAIN,
                   "event 1, which ends at byte 9: event: it has no type", "data: 7");
    expect_failure("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: "
                   "{\"type\":\"error\",\"error\":"
                   "{\"type\":\"rate_limit_error\",\"message\":\"m\"}}\n\n",
                   NJ_CAUSE_RATE_LIMITED, NJ_TRY_AGAIN, "rate limited (429): m", "error");
    expect_failure("not http at all\r\n\r\n", NJ_CAUSE_ERROR, NJ_TRY_AGAIN, "HTTP/0.9", "");
    expect_failure("", NJ_CAUSE_ERROR, NJ_TRY_AGAIN, "/v1/messages", "");
    expect_failure(
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        NJ_CAUSE_ERROR, NJ_TRY_FINAL, "302", "");
}

static void a_line_without_end_is_given_up_at_its_cap(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));
    nj_auto_free char *line = malloc(1u << 20);

    (void)state;
    assert_true(stage && line);
    memset(line, 'x', 1u << 20);
    stage_init(stage, &nj_provider_anthropic);
    stage->spec.timeout_seconds = 60; /* the cap is what ends it, however slow the machine is */
    say(stage, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: ");
    for (int i = 0; i < 100; i++)
        stage->answer.pieces[stage->answer.n_pieces++] =
            (struct nj_span){(uint8_t *)line, 1u << 20};
    ask(stage, NULL);
    turn(stage);
    assert_false(stage->replied);
    assert_true(stage->verdict == NJ_TRY_AGAIN);
    assert_non_null(strstr(stage->text, "a line has more than"));
    stage_done(stage);
    free(stage);
}

static void a_held_connection_ends_with_its_limit(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));
    char space[6][400];

    (void)state;
    assert_non_null(stage);
    stage_init(stage, &nj_provider_anthropic);
    stage->spec.timeout_seconds = 1;
    say_stream(stage, space, 3);
    stage->answer.hold = true;
    ask(stage, NULL);
    turn(stage);
    assert_false(stage->replied);
    assert_non_null(strstr(stage->text, "not whole within 1000 ms"));
    stage_done(stage);
    free(stage);
}

/* The reply is known with message_stop; a server that then says nothing more is not waited for
 * long, though its try may take all of timeout_seconds. */
static void a_reply_does_not_wait_for_a_lazy_end(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));
    char space[6][400];

    (void)state;
    assert_non_null(stage);
    stage_init(stage, &nj_provider_anthropic);
    stage->spec.timeout_seconds = 3600;
    say_stream(stage, space, 6);
    stage->answer.hold = true;
    ask(stage, NULL);
    turn(stage);
    assert_true(stage->replied);
    stage_done(stage);
    free(stage);
}

static void a_cancelled_try_says_nothing(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));
    char space[6][400];

    (void)state;
    assert_non_null(stage);
    stage_init(stage, &nj_provider_anthropic);
    stage->answer.gap_ms = 5;
    say_stream(stage, space, 7);
    for (int rounds = 0; rounds < 12; rounds++) {
        ask(stage, NULL);
        for (int i = 0; i < rounds && stage->n_ended == 0; i++)
            (void)event_base_loop(stage->base, EVLOOP_ONCE);
        if (stage->n_ended == 0)
            nj_provider_anthropic.cancel(stage->try);
        for (int i = 0; i < 3; i++)
            (void)event_base_loop(stage->base, EVLOOP_NONBLOCK);
        assert_int_equal(stage->n_ended, stage->replied ? 1 : 0);
    }
    stage_done(stage);
    free(stage);
}

static void a_try_whose_key_is_refused_was_never_asked(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));

    (void)state;
    stage_init(stage, &nj_provider_anthropic);
    stage->key_refused = true;
    ask(stage, NULL);
    turn(stage);
    assert_true(stage->unasked);
    assert_non_null(strstr(stage->text, "not for that host"));
    assert_int_equal(stage->stub.last.len, 0);
    stage_done(stage);
    free(stage);
}

static void a_try_cancelled_while_it_waits_for_its_key_forgets_the_question(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));

    (void)state;
    stage_init(stage, &nj_provider_anthropic);
    ask(stage, NULL);
    assert_int_equal(stage->n_questions, 1);
    nj_provider_anthropic.cancel(stage->try);
    assert_int_equal(stage->n_questions, 0);
    (void)event_base_loop(stage->base, EVLOOP_NONBLOCK);
    assert_int_equal(stage->n_ended, 0);
    assert_int_equal(stage->stub.last.len, 0);
    stage_done(stage);
    free(stage);
}

static void a_try_cancelled_while_its_failure_is_masked_forgets_the_question(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));

    (void)state;
    stage_init(stage, &nj_provider_anthropic);
    say(stage, JSON_HEAD("500 Bad") "{}");
    stage->answer.close = true;
    ask(stage, NULL);
    while (!stage->n_questions || !stage->n_headers) /* of the key; the answer; to be masked */
        (void)event_base_loop(stage->base, EVLOOP_ONCE);
    nj_provider_anthropic.cancel(stage->try);
    assert_int_equal(stage->n_questions, 0);
    (void)event_base_loop(stage->base, EVLOOP_NONBLOCK);
    assert_int_equal(stage->n_ended, 0);
    stage_done(stage);
    free(stage);
}

static void tokens_are_counted_without_being_spent(void **state)
{
    static const struct {
        const char *answer;
        bool counted;
    } cases[] = {{JSON_HEAD("200 OK") "{\"input_tokens\":41}", true},
                 {JSON_HEAD("200 OK") "{\"input_tokens\":-1}", false},
                 {JSON_HEAD("200 OK") "{", false},
                 {JSON_HEAD("404 None") "{\"error\":{\"message\":\"none\"}}", false}};
    const struct nj_try_callbacks callbacks = {
        .counted = on_counted, .failed = on_failed, .unasked = on_unasked, .ctx = NULL};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct stage *stage = calloc(1, sizeof(*stage));
        struct nj_try_callbacks own = callbacks;
        struct nj_try_request request;
        struct nj_error err = {0};

        assert_non_null(stage);
        stage_init(stage, &nj_provider_anthropic);
        say(stage, cases[i].answer);
        stage->answer.close = true;
        own.ctx = stage;
        stage->spec.parameters =
            "{\"temperature\":0.5,\"thinking\":{\"type\":\"adaptive\"},\"metadata\":{}}";
        request = (struct nj_try_request){
            .session = stage->session, .n_messages = 1, .turn = 1, .attempt = 1, .item_json = "{}"};
        assert_int_equal(
            nj_provider_anthropic.count(&stage->model, &request, &own, &stage->try, &err), 0);
        turn(stage);
        assert_int_equal(stage->replied, cases[i].counted);
        if (cases[i].counted)
            assert_int_equal(stage->usage.input_tokens, 41);
        assert_int_equal(
            strncmp((char *)stage->stub.last.data, "POST /v1/messages/count_tokens ", 31), 0);
        assert_null(strstr((char *)stage->stub.last.data, "max_tokens"));
        assert_null(strstr((char *)stage->stub.last.data, "\"stream\""));
        assert_null(strstr((char *)stage->stub.last.data, "temperature"));
        assert_non_null(
            strstr((char *)stage->stub.last.data, "\"thinking\":{\"type\":\"adaptive\"}"));
        stage_done(stage);
        free(stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_streamed_reply_is_whole_or_none),
        cmocka_unit_test(what_is_sent_is_json_the_same_each_time),
        cmocka_unit_test(failures_are_told_apart_and_hold_no_secret),
        cmocka_unit_test(a_line_without_end_is_given_up_at_its_cap),
        cmocka_unit_test(a_held_connection_ends_with_its_limit),
        cmocka_unit_test(a_reply_does_not_wait_for_a_lazy_end),
        cmocka_unit_test(a_cancelled_try_says_nothing),
        cmocka_unit_test(a_try_whose_key_is_refused_was_never_asked),
        cmocka_unit_test(a_try_cancelled_while_it_waits_for_its_key_forgets_the_question),
        cmocka_unit_test(a_try_cancelled_while_its_failure_is_masked_forgets_the_question),
        cmocka_unit_test(tokens_are_counted_without_being_spent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
