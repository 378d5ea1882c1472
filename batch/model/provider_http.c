/*
 * provider_http.c - tries over HTTP: the providers anthropic and openai, each with its dialect
 *
 * A try writes its body once, sends it, and reads the answer as it comes. Only an answer that the
 * dialect has read to its end is a reply; however the exchange ended before that (cut, stalled, an
 * error within the stream, rubbish), the whole try has failed, and what was received of it is kept,
 * up to NJ_TRY_RAW_MAX_BYTES.
 *
 * The one complication is the secret: a try first waits for its header, which comes from another
 * process and is wiped as soon as libcurl has its copy. When a try failed the secret is taken out
 * of whatever the server may have sent back of it.
 */
#include "batch/model/provider.h"

#include <ctype.h>
#include <event2/event.h>
#include <inttypes.h>
#include <strings.h>

#include "batch/http/client.h"
#include "batch/model/dialect.h"
#include "formats/base/bytes.h"
#include "formats/base/utf8.h"

#include "formats/base/banned.h"

#define TRY_IDLE_MS 120000           /* between two bytes of an answer; services ping every 15 s */
#define AFTER_DONE_MS 1000           /* for the end of an answer whose reply is whole already */
#define STREAM_MAX_BYTES (64u << 20) /* events are many times their text */
#define WHOLE_MAX_BYTES (16u << 20)
#define LINE_MAX_BYTES 8192 /* of the betas */
#define TRACE_MAX_BYTES 80
#define HEADERS_MAX 12
#define REQUEST_ID_MAX_BYTES 128
#define SHOWN_BYTES 60u /* of an answer that is something else altogether */

/* One model's service: the state of struct nj_model. */
struct endpoint {
    const struct nj_dialect *dialect;
    char *url;
    char *count_url; /* NULL: the service counts no tokens */
    char *host;  /* of the URL, with its port where that is not the scheme's own; in lower case */
    char *betas; /* "anthropic-beta: a,b", or NULL */
};

/* What comes of a try: made when it begins to come, as thousands may wait for theirs. */
struct answer {
    int status;    /* 0: none came */
    bool streamed; /* it is an event stream */
    bool done;     /* the dialect has read the reply to its end */
    size_t n_events;
    uint64_t received_bytes;
    char request_id[REQUEST_ID_MAX_BYTES + 1];
    struct nj_buf raw; /* what was received, from its beginning; behind it why it is a failure */
    struct nj_try_failure failure;
    size_t failure_text_bytes;
    struct nj_buf whole;
    struct nj_sse sse;
    struct nj_reader *reader;
    struct nj_reply reply;
    struct nj_error rubbish; /* code is set: what the dialect could not read */
};

struct nj_try {
    const struct nj_model *model;
    struct nj_try_callbacks callbacks;
    struct nj_request_body body; /* large: lent to libcurl until it is sent */
    char trace[TRACE_MAX_BYTES];
    struct nj_credential_wait *secret; /* it is waited for: to ask with, or to be blotted out */
    struct nj_http_call *call;
    struct event *refused; /* it could not even be asked: told from the loop */

    bool counting;         /* asked for a prompt's tokens, not for a reply */
    struct answer *answer; /* NULL: nothing came yet, and nothing failed */
};

/* ---- the service ---- */

static void endpoint_free(struct endpoint *endpoint)
{
    if (!endpoint)
        return;
    free(endpoint->url);
    free(endpoint->count_url);
    free(endpoint->host);
    free(endpoint->betas);
    free(endpoint);
}
NJ_DEFINE_AUTO_PTR(struct endpoint, endpoint_free);

/* Name and, where it is not the scheme's own, port. */
static char *host_of(const char *url)
{
    const char *begin = strstr(url, "://");
    const char *own = begin && begin == url + 5 ? ":443" : ":80";
    size_t len, own_len = strlen(own);
    char *host;

    begin = begin ? begin + 3 : url;
    len = strcspn(begin, "/?#");
    if (len > own_len && memcmp(begin + len - own_len, own, own_len) == 0)
        len -= own_len;
    host = strndup(begin, len);
    for (char *at = host; at && *at; at++)
        *at = (char)tolower((unsigned char)*at);
    return host;
}

static char *join_texts(const char *before, const struct nj_manifest_texts *texts)
{
    NJ_AUTO(nj_buf_done) struct nj_buf line = {0};
    struct nj_error err = {0};

    nj_buf_init(&line, LINE_MAX_BYTES);
    for (size_t i = 0; i < texts->count; i++)
        if (nj_buf_text(&line, i ? "," : before, &err) < 0 ||
            nj_buf_text(&line, texts->items[i].text, &err) < 0)
            return NULL;
    return nj_buf_steal(&line);
}

/* A base with or without its version: people write both. */
static char *url_of(const char *base, size_t len, const char *path)
{
    char *url;

    if (len > 3 && strncmp(base + len - 3, "/v1", 3) == 0 && strncmp(path, "/v1/", 4) == 0)
        path += 3;
    return asprintf(&url, "%.*s%s", (int)len, base, path) < 0 ? NULL : url;
}

static int open_endpoint(struct nj_model *model, const struct nj_dialect *dialect,
                         struct nj_error *err)
{
    NJ_AUTO(endpoint_free) struct endpoint *endpoint = calloc(1, sizeof(*endpoint));
    const char *base = model->spec->base_url ? model->spec->base_url : dialect->base_url;
    size_t len = strlen(base);

    if (!endpoint)
        return nj_fail_nomem(err);
    endpoint->dialect = dialect;
    while (len > 0 && base[len - 1] == '/')
        len--;
    endpoint->url = url_of(base, len, dialect->path);
    endpoint->host = host_of(base);
    if (dialect->count_path)
        endpoint->count_url = url_of(base, len, dialect->count_path);
    if (!endpoint->url || !endpoint->host || (dialect->count_path && !endpoint->count_url))
        return nj_fail_nomem(err);
    if (model->spec->betas.count > 0) {
        endpoint->betas = join_texts("anthropic-beta: ", &model->spec->betas);
        if (!endpoint->betas)
            return nj_fail(err, NJ_E_INPUT, "betas: their names are too long together");
    }
    model->state = nj_steal_ptr(&endpoint);
    return 0;
}

static int open_anthropic(struct nj_model *model, int dir_fd, struct nj_error *err)
{
    (void)dir_fd;
    return open_endpoint(model, &nj_dialect_anthropic, err);
}

static int open_openai(struct nj_model *model, int dir_fd, struct nj_error *err)
{
    (void)dir_fd;
    return open_endpoint(model, &nj_dialect_openai, err);
}

static void close_endpoint(struct nj_model *model)
{
    endpoint_free(model->state);
}

/* ---- endings ---- */

static void answer_free(struct nj_try *try)
{
    struct answer *answer = try->answer;

    if (!answer)
        return;
    if (answer->reader)
        ((const struct endpoint *)try->model->state)->dialect->reader_free(answer->reader);
    nj_reply_done(&answer->reply);
    nj_buf_done(&answer->raw);
    nj_buf_done(&answer->whole);
    nj_sse_done(&answer->sse);
    free(answer);
}

/* The try's answer, made where it has none; NULL: no memory. */
static struct answer *answer_of(struct nj_try *try)
{
    struct answer *answer = try->answer ? try->answer : calloc(1, sizeof(*answer));

    if (answer && !try->answer) {
        nj_reply_init(&answer->reply);
        nj_buf_init(&answer->raw, NJ_TRY_RAW_MAX_BYTES + NJ_ERROR_TEXT_MAX_BYTES);
        nj_buf_init(&answer->whole, WHOLE_MAX_BYTES);
        nj_sse_init(&answer->sse, NJ_EVENT_DATA_MAX_BYTES);
    }
    try->answer = answer;
    return answer;
}

static void try_free(struct nj_try *try)
{
    if (!try)
        return;
    if (try->secret)
        try->model->services->credentials.forget(try->secret);
    nj_http_cancel(try->call);
    if (try->refused)
        event_free(try->refused);
    nj_request_body_done(&try->body);
    answer_free(try);
    free(try);
}
NJ_DEFINE_AUTO_PTR(struct nj_try, try_free);

static void on_masked(void *ctx)
{
    struct nj_try *try = ctx;
    struct answer *answer = try->answer;
    size_t text_at = answer->raw.len - answer->failure_text_bytes;
    char text[NJ_ERROR_TEXT_MAX_BYTES] = "";

    try->secret = NULL;
    if (answer->failure_text_bytes > 0)
        memcpy(text, answer->raw.data + text_at, answer->failure_text_bytes);
    nj_utf8_clean(text);
    answer->failure.text = text;
    answer->failure.request_id = answer->request_id[0] ? answer->request_id : NULL;
    answer->failure.http_status = answer->status;
    answer->failure.raw = (struct nj_span){answer->raw.data, text_at};
    answer->failure.usage = answer->reply.usage;
    try->callbacks.failed(try->callbacks.ctx, &answer->failure);
    try_free(try);
}

/* Servers echo what they were sent, and the record must not hold it: text and bytes are masked
 * together before they are told. */
static void fail_try(struct nj_try *try, enum nj_manifest_cause cause, enum nj_try_verdict verdict,
                     const char *text)
{
    struct answer *answer = try->answer;
    const struct nj_credentials *credentials = &try->model->services->credentials;
    size_t len = strnlen(text, NJ_ERROR_TEXT_MAX_BYTES - 1);
    struct nj_error ignored = {0};

    answer->failure = (struct nj_try_failure){.cause = cause, .verdict = verdict};
    if (nj_buf_append(&answer->raw, text, len, &ignored) == 0) /* else it fails without words */
        answer->failure_text_bytes = len;
    if (!credentials->mask || credentials->mask(credentials->ctx, (char *)answer->raw.data,
                                                answer->raw.len, on_masked, try, &try->secret))
        on_masked(try);
}

static void fail_without_memory(struct nj_try *try)
{
    const struct nj_try_failure failure = {
        .cause = NJ_CAUSE_ERROR, .verdict = NJ_TRY_AGAIN, .text = "out of memory"};

    try->callbacks.failed(try->callbacks.ctx, &failure);
    try_free(try);
}

static void succeed(struct nj_try *try)
{
    const struct answer *answer = try->answer;
    const struct nj_reply *reply = &answer->reply;
    struct nj_try_reply told = {.content = nj_buf_span(&reply->content),
                                .model = reply->model[0] ? reply->model : NULL,
                                .request_id = answer->request_id[0] ? answer->request_id : NULL,
                                .stop = reply->stop,
                                .usage = reply->usage,
                                .variants = reply->variants};

    try->callbacks.replied(try->callbacks.ctx, &told);
    try_free(try);
}

/* Whoever answered speaks neither event streams nor JSON: a page, most often, and a wrong base_url.
 */
static bool is_strange(const struct nj_try *try)
{
    const struct answer *answer = try->answer;
    size_t at = 0;

    while (at < answer->raw.len && isspace(answer->raw.data[at]))
        at++;
    return answer->streamed ? answer->raw.len > 0 && answer->n_events == 0
                            : at < answer->raw.len && answer->raw.data[at] != '{';
}

/* What was wrong, and where: the text behind the service's address. */
static void tell_rubbish(const struct nj_try *try, char *text, size_t size)
{
    const struct answer *answer = try->answer;
    int shown = (int)(answer->raw.len < SHOWN_BYTES ? answer->raw.len : SHOWN_BYTES);

    if (is_strange(try))
        (void)snprintf(text, size,
                       "is base_url right? What came is no reply as provider %s gives it, but "
                       "begins \"%.*s\"",
                       try->model->provider->name, shown, (const char *)answer->raw.data);
    else
        (void)snprintf(text, size, "what came is no reply: %s", answer->rubbish.text);
}

/* The exchange was no whole answer, or not one that the dialect could read. */
static void fail_exchange(struct nj_try *try, const struct nj_http_result *result)
{
    const struct answer *answer = try->answer;
    const char *url = ((const struct endpoint *)try->model->state)->url;
    enum nj_try_verdict verdict = result->end == NJ_HTTP_REFUSED ? NJ_TRY_STOP : NJ_TRY_AGAIN;
    char why[NJ_ERROR_TEXT_MAX_BYTES + 64], text[NJ_ERROR_TEXT_MAX_BYTES * 2];

    if (answer->rubbish.code)
        tell_rubbish(try, why, sizeof(why));
    else if (result->end == NJ_HTTP_CUT && result->status)
        (void)snprintf(why, sizeof(why), "the answer was cut short after %" PRIu64 " bytes: %s",
                       result->body_bytes, result->text);
    else
        (void)snprintf(why, sizeof(why), "%s%s", result->text,
                       result->end == NJ_HTTP_LATE ? "; timeout_seconds gives it more" : "");
    (void)snprintf(text, sizeof(text), "%s: %s", url, why);
    fail_try(try, NJ_CAUSE_ERROR, verdict, text);
}

/* A whole answer with status 200: does it hold a whole reply? */
static int read_end(struct nj_try *try, struct nj_error *err)
{
    struct answer *answer = try->answer;
    const struct nj_dialect *dialect = ((const struct endpoint *)try->model->state)->dialect;

    if (!answer->streamed)
        return dialect->whole(nj_buf_span(&answer->whole), &answer->reply, err);
    if (!answer->reader) /* a whole body of nothing: no event ever came */
        return nj_fail(err, NJ_E_UPSTREAM, "the event stream is empty");
    if (!answer->done && dialect->end(answer->reader, &answer->reply, err) < 0)
        return nj_wrap(err, "after %zu events in %" PRIu64 " bytes", answer->n_events,
                       answer->received_bytes);
    return 0;
}

static void end_counting(struct nj_try *try, const struct nj_http_result *result)
{
    struct answer *answer = try->answer;
    const struct nj_dialect *dialect = ((const struct endpoint *)try->model->state)->dialect;
    uint64_t tokens;

    if (answer->rubbish.code || result->end != NJ_HTTP_WHOLE ||
        dialect->counted(nj_buf_span(&answer->whole), &tokens, &answer->rubbish) < 0) {
        fail_exchange(try, result);
        return;
    }
    try->callbacks.counted(try->callbacks.ctx, tokens);
    try_free(try);
}

static void on_ended(void *ctx, const struct nj_http_result *result)
{
    struct nj_try *try = ctx;
    struct answer *answer = answer_of(try);
    const struct nj_dialect *dialect = ((const struct endpoint *)try->model->state)->dialect;

    try->call = NULL;
    if (!answer) {
        fail_without_memory(try);
        return;
    }
    if (answer->status != 0 && answer->status != 200) {
        /* An error's words may be cut short; its status tells enough. */
        dialect->error(answer->status, nj_buf_span(&answer->raw), &answer->reply);
        fail_try(try, answer->reply.fault.cause, answer->reply.fault.verdict,
                 answer->reply.fault.text);
        return;
    }
    if (try->counting) {
        end_counting(try, result);
        return;
    }
    if (!answer->done && (answer->rubbish.code || result->end != NJ_HTTP_WHOLE ||
                          read_end(try, &answer->rubbish) < 0)) {
        fail_exchange(try, result);
        return;
    }
    if (answer->reply.fault.is)
        fail_try(try, answer->reply.fault.cause, answer->reply.fault.verdict,
                 answer->reply.fault.text);
    else
        succeed(try);
}

/* ---- the answer ---- */

static bool is_stream(const struct nj_http_header *headers, size_t n_headers)
{
    static const char type[] = "text/event-stream";
    struct nj_span given = nj_http_header_find(headers, n_headers, "content-type");

    return given.len >= sizeof(type) - 1 &&
           strncasecmp((const char *)given.data, type, sizeof(type) - 1) == 0;
}

static void on_headers(void *ctx, int status, const struct nj_http_header *headers,
                       size_t n_headers)
{
    struct nj_try *try = ctx;
    struct answer *answer = answer_of(try);
    const struct nj_dialect *dialect = ((const struct endpoint *)try->model->state)->dialect;
    struct nj_span id = nj_http_header_find(headers, n_headers, dialect->request_id);

    if (!answer)
        return;
    answer->status = status;
    answer->streamed = !try->counting && is_stream(headers, n_headers);
    (void)snprintf(answer->request_id, sizeof(answer->request_id), "%.*s",
                   (int)(id.len < REQUEST_ID_MAX_BYTES ? id.len : REQUEST_ID_MAX_BYTES),
                   id.data ? (const char *)id.data : "");
    nj_utf8_clean(answer->request_id);
    if (try->callbacks.headers)
        try->callbacks.headers(try->callbacks.ctx, status, headers, n_headers);
}

static int read_events(struct nj_try *try, struct nj_span bytes, struct nj_error *err)
{
    struct answer *answer = try->answer;
    const struct nj_dialect *dialect = ((const struct endpoint *)try->model->state)->dialect;
    struct nj_sse_event event;
    int r;

    if (!answer->reader && dialect->reader_new(&answer->reader, err) < 0)
        return -(int)err->code;
    while (!answer->done && (r = nj_sse_next(&answer->sse, &bytes, &event, err)) != NJ_SSE_MORE) {
        answer->n_events++;
        if (r == NJ_SSE_EVENT)
            r = dialect->event(answer->reader, &event, &answer->reply, err);
        if (r < 0)
            return nj_wrap(err, "event %zu, which ends at byte %" PRIu64, answer->n_events,
                           answer->received_bytes - bytes.len);
        answer->done = r == NJ_READ_DONE;
    }
    if (answer->done)
        nj_http_hurry(try->call, AFTER_DONE_MS);
    return 0;
}

static bool on_body(void *ctx, struct nj_span bytes)
{
    struct nj_try *try = ctx;
    struct answer *answer = try->answer;
    struct nj_error ignored = {0};
    size_t room;

    if (!answer) /* on_headers() had no memory for it */
        return false;
    if (answer->done)
        return true;
    room = NJ_TRY_RAW_MAX_BYTES - answer->raw.len;
    answer->received_bytes += bytes.len;
    /* Without memory the record has less of it. */
    (void)!nj_buf_append(&answer->raw, bytes.data, bytes.len < room ? bytes.len : room, &ignored);
    if (answer->status != 200)
        return true;
    if (!answer->whole.len && !answer->reader && try->callbacks.first_byte)
        try->callbacks.first_byte(try->callbacks.ctx);
    if (answer->streamed)
        return read_events(try, bytes, &answer->rubbish) == 0;
    return nj_buf_append(&answer->whole, bytes.data, bytes.len, &answer->rubbish) == 0;
}

/* ---- asking ---- */

/* W3C trace context: the trace is the session, the span the step that this reply will be; a later
 * reading of the record gives the same. */
static void write_trace(const struct nj_try_request *request, char *line, size_t size)
{
    const struct nj_digest *digest =
        request->identity ? request->identity : &request->session->config_digest;
    char hex[NJ_DIGEST_HEX_CHARS + 1];

    nj_digest_hex(digest, hex);
    (void)snprintf(line, size, "traceparent: 00-%.32s-%016" PRIx64 "-01", hex,
                   request->session->steps + 1);
}

static void on_sent(void *ctx)
{
    nj_request_body_done(&((struct nj_try *)ctx)->body);
}

/* @secret: the credential's header, or NULL where the model has none */
static int send_request(struct nj_try *try, const char *secret, struct nj_error *err)
{
    const struct endpoint *endpoint = try->model->state;
    const struct nj_http_callbacks callbacks = {
        .headers = on_headers, .body = on_body, .ended = on_ended, .sent = on_sent, .ctx = try};
    bool stream = try->model->spec->stream && !try->counting;
    const char *headers[HEADERS_MAX] = {
        "content-type: application/json", "user-agent: nightjar/" NJ_VERSION,
        stream ? "accept: text/event-stream" : "accept: application/json"};
    struct nj_http_request http = {.method = "POST",
                                   .url = try->counting ? endpoint->count_url : endpoint->url,
                                   .headers = headers,
                                   .n_headers = 3,
                                   .body = try->body.spans,
                                   .n_body = try->body.n_spans,
                                   .idle_ms = TRY_IDLE_MS,
                                   .deadline_ms = try->model->spec->timeout_seconds * 1000,
                                   .body_max_bytes = stream ? STREAM_MAX_BYTES : WHOLE_MAX_BYTES};

    headers[http.n_headers++] = try->trace;
    for (size_t i = 0; i < endpoint->dialect->n_headers; i++)
        headers[http.n_headers++] = endpoint->dialect->headers[i];
    if (endpoint->betas)
        headers[http.n_headers++] = endpoint->betas;
    if (secret)
        headers[http.n_headers++] = secret;
    if (nj_http_begin(try->model->services->http, &http, &callbacks, &try->call, err) < 0)
        return -(int)err->code;
    if (try->body.bytes <= NJ_HTTP_FLAT_MAX_BYTES)
        nj_request_body_done(&try->body); /* libcurl has it in one piece */
    return 0;
}

static void on_secret(void *ctx, const char *line, const struct nj_error *why)
{
    struct nj_try *try = ctx;
    struct nj_try_callbacks callbacks = try->callbacks;
    struct nj_error err = {0};

    try->secret = NULL;
    if (line && send_request(try, line, &err) == 0)
        return;
    try_free(try);
    callbacks.unasked(callbacks.ctx, line ? &err : why);
}

static int ask_for_secret(struct nj_try *try, struct nj_error *err)
{
    const struct nj_credentials *credentials = &try->model->services->credentials;
    const struct endpoint *endpoint = try->model->state;
    const struct nj_credential_ask ask = {.credential = try->model->spec->credential,
                                          .host = endpoint->host,
                                          .method = "POST",
                                          .default_header = endpoint->dialect->key_header,
                                          .default_format = endpoint->dialect->key_format};

    if (!credentials->ask)
        return nj_fail(err, NJ_E_INPUT, "this run has no credentials");
    return credentials->ask(credentials->ctx, &ask, on_secret, try, &try->secret, err);
}

static void on_refused(int fd, short what, void *ctx)
{
    struct nj_try *try = ctx;

    (void)fd;
    (void)what;
    fail_try(try, NJ_CAUSE_CONTEXT_FULL, NJ_TRY_FINAL, try->answer->rubbish.text);
}

/* A request that no service would take is a failure of the try, and comes from the loop like any.
 */
static int refuse_later(struct nj_try *try, const struct nj_error *why, struct nj_error *err)
{
    struct answer *answer = answer_of(try);
    const struct timeval now = {0};

    if (!answer)
        return nj_fail_nomem(err);
    answer->rubbish = *why;
    try->refused = evtimer_new(try->model->services->base, on_refused, try);
    if (!try->refused || evtimer_add(try->refused, &now) < 0)
        return nj_fail(err, NJ_E_SYSTEM, "model call: cannot set a timer");
    return 0;
}

static int begin_asking(const struct nj_model *model, const struct nj_try_request *asked,
                        bool counting, const struct nj_try_callbacks *callbacks,
                        struct nj_try **ret_try, struct nj_error *err)
{
    static const struct nj_request_policy no_policy = {0};
    NJ_AUTO(try_free) struct nj_try *try = calloc(1, sizeof(*try));
    const struct endpoint *endpoint = model->state;
    const struct nj_request request = {.session = asked->session,
                                       .n_messages = asked->n_messages,
                                       .model = model->spec,
                                       .counting = counting,
                                       .tools = asked->tools,
                                       .policy = asked->policy ? asked->policy : &no_policy};
    int r;

    if (!try)
        return nj_fail_nomem(err);
    try->model = model;
    try->counting = counting;
    try->callbacks = *callbacks;
    r = endpoint->dialect->write(&request, &try->body, err);
    write_trace(asked, try->trace, sizeof(try->trace));
    if (r == 0)
        r = model->spec->credential == NJ_MANIFEST_NONE ? send_request(try, NULL, err)
                                                        : ask_for_secret(try, err);
    else if (r == -NJ_E_LIMIT)
        r = refuse_later(try, err, err);
    if (r < 0)
        return r;
    *ret_try = nj_steal_ptr(&try);
    return 0;
}

static int begin(const struct nj_model *model, const struct nj_try_request *request,
                 const struct nj_try_callbacks *callbacks, struct nj_try **ret_try,
                 struct nj_error *err)
{
    return begin_asking(model, request, false, callbacks, ret_try, err);
}

static int count(const struct nj_model *model, const struct nj_try_request *request,
                 const struct nj_try_callbacks *callbacks, struct nj_try **ret_try,
                 struct nj_error *err)
{
    if (!((const struct endpoint *)model->state)->count_url)
        return nj_fail(err, NJ_E_INPUT, "the service of model %s counts no tokens",
                       model->spec->model);
    return begin_asking(model, request, true, callbacks, ret_try, err);
}

const struct nj_provider nj_provider_anthropic = {
    .name = "anthropic",
    .open = open_anthropic,
    .close = close_endpoint,
    .begin = begin,
    .cancel = try_free,
    .count = count,
};

const struct nj_provider nj_provider_openai = {
    .name = "openai",
    .open = open_openai,
    .close = close_endpoint,
    .begin = begin,
    .cancel = try_free,
    .count = count,
};
