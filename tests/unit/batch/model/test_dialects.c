/*
 * test_dialects.c - recorded streams give the same reply wherever they are cut; bodies that came
 * whole; what errors mean
 *
 * tests/golden/stream/ has the streams (.sse) and beside each what is read of it (.reply). The
 * name's beginning is the dialect.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>

#include "tests/lib/golden.h"
#include "tests/lib/stream_kit.h"

#include "formats/base/banned.h"

#define STREAMS_MAX 256

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t list_streams(char **names)
{
    char path[512];
    struct dirent *entry;
    size_t n = 0;
    DIR *dir;

    (void)snprintf(path, sizeof(path), "%s/tests/golden/stream", nj_source_dir);
    dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        size_t len = strlen(entry->d_name);

        if (len < 4 || strcmp(entry->d_name + len - 4, ".sse") != 0)
            continue;
        assert_true(n < STREAMS_MAX);
        names[n++] = strndup(entry->d_name, len - 4);
    }
    (void)closedir(dir);
    qsort(names, n, sizeof(*names), by_text);
    return n;
}

static const struct nj_dialect *dialect_of(const char *name)
{
    return strncmp(name, "openai", 6) == 0 ? &nj_dialect_openai : &nj_dialect_anthropic;
}

static void streams_give_the_same_reply_wherever_they_are_cut(void **state)
{
    char *names[STREAMS_MAX];
    size_t n = list_streams(names);

    (void)state;
    assert_true(n > 50);
    for (size_t i = 0; i < n; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf stream = {0};
        NJ_AUTO(nj_buf_done) struct nj_buf whole = {0};
        char path[256];

        (void)snprintf(path, sizeof(path), "stream/%s.sse", names[i]);
        golden_read(path, &stream);
        stream_dump(dialect_of(names[i]), nj_buf_span(&stream), 0, &whole);
        (void)snprintf(path, sizeof(path), "stream/%s.reply", names[i]);
        golden_check(path, nj_buf_span(&whole));
        for (size_t cut = 1; cut < stream.len; cut++) {
            NJ_AUTO(nj_buf_done) struct nj_buf again = {0};

            stream_dump(dialect_of(names[i]), nj_buf_span(&stream), cut, &again);
            if (!nj_span_equal(nj_buf_span(&whole), nj_buf_span(&again)))
                fail_msg("%s cut at %zu:\n%s\nwhole:\n%s", names[i], cut, (char *)again.data,
                         (char *)whole.data);
        }
        free(names[i]);
    }
}

/* Every third byte of a good stream changed, and each prefix: a reply or a fault, never a crash. */
static void damaged_streams_are_replies_or_faults(void **state)
{
    static const char *const names[] = {"anthropic-every-event", "openai-every-chunk"};
    static const uint8_t changes[] = {0, '"', '{', '9', 0xff};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf stream = {0};
        char path[256];

        (void)snprintf(path, sizeof(path), "stream/%s.sse", names[i]);
        golden_read(path, &stream);
        for (size_t at = 0; at < stream.len; at += 3) {
            uint8_t before = stream.data[at];

            for (size_t k = 0; k < sizeof(changes); k++) {
                NJ_AUTO(nj_buf_done) struct nj_buf dump = {0};

                stream.data[at] = changes[k];
                stream_dump(dialect_of(names[i]), nj_buf_span(&stream), 0, &dump);
            }
            stream.data[at] = before;
        }
        for (size_t len = 0; len < stream.len; len++) {
            NJ_AUTO(nj_buf_done) struct nj_buf dump = {0};

            stream_dump(dialect_of(names[i]), (struct nj_span){stream.data, len}, 0, &dump);
            /* Nothing before the last event is a reply; a server may leave out [DONE]. */
            if (strncmp((char *)dump.data, "rubbish", 7) != 0 &&
                !(i == 1 && strstr((char *)dump.data, "no [DONE]")) && len + 2 < stream.len)
                fail_msg("%s: a prefix of %zu bytes is a reply:\n%s", names[i], len,
                         (char *)dump.data);
        }
    }
}

static void expect_whole(const struct nj_dialect *dialect, const char *body, const char *dump)
{
    NJ_AUTO(nj_buf_done) struct nj_buf seen = {0};

    whole_dump(dialect, nj_span_text(body), &seen);
    if (!strstr((char *)seen.data, dump))
        fail_msg("%s\nreads:\n%s\nwanted:\n%s", body, (char *)seen.data, dump);
}

static void whole_answers_keep_their_bytes(void **state)
{
    const struct nj_dialect *a = &nj_dialect_anthropic, *o = &nj_dialect_openai;

    (void)state;
    expect_whole(a,
                 " {\"type\":\"message\",\"model\":\"m\",\"content\":[ {\"type\":\"text\" , "
                 "\"text\":\"\\u00e9\"},"
                 "{\"type\":\"new\",\"x\":[1.50]} "
                 "],\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":3}}",
                 "[{\"type\":\"text\" , \"text\":\"\\u00e9\"},{\"type\":\"new\",\"x\":[1.50]}]");
    expect_whole(a, "{\"type\":\"message\",\"content\":[],\"stop_reason\":\"end_turn\"}",
                 "content []");
    expect_whole(a, "{\"type\":\"message\",\"content\":[]}",
                 "rubbish: answer: there is no stop_reason");
    expect_whole(a, "{\"type\":\"message\",\"content\":[7],\"stop_reason\":\"end_turn\"}",
                 "content[0]: not a block");
    expect_whole(a, "{\"type\":\"ping\"}", "rubbish: answer: it is no message");
    expect_whole(a,
                 "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}",
                 "fault overloaded again: overloaded (529): m");
    expect_whole(a,
                 "{\"type\":\"message\",\"content\":[],\"stop_reason\":\"end_turn\",\"usage\":[7]}",
                 "rubbish: usage: it is no object");
    expect_whole(a, "<html>", "rubbish: answer: JSON: byte 0");
    expect_whole(a, "", "rubbish: answer: JSON");
    expect_whole(
        a,
        "{\"type\":\"message\",\"content\":[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"b\","
        "\"input\":{\"n\":123456789012345678901234567890}}],\"stop_reason\":\"tool_use\"}",
        "rubbish: a tool_use block's input: too big integer");
    expect_whole(
        o,
        "{\"model\":\"m\",\"choices\":[{\"message\":{ \"content\" : \"x\" "
        "},\"finish_reason\":\"stop\"}]}",
        "[{\"type\":\"openai_message\",\"message\":{\"role\":\"assistant\", \"content\" : \"x\" }},"
        "{\"type\":\"text\",\"text\":\"x\"}]");
    expect_whole(o,
                 "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":[{\"type\":"
                 "\"text\",\"text\":\"a\"}],"
                 "\"reasoning\":\"r\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,"
                 "\"prompt_tokens_details\":{\"cached_tokens\":9}}}",
                 "\"reasoning\":\"r\"}},{\"type\":\"text\",\"text\":\"a\"}]");
    expect_whole(o, "{\"choices\":[]}", "rubbish: answer: there is no choices[0]");
    expect_whole(o, "{\"choices\":[{\"message\":7,\"finish_reason\":\"stop\"}]}",
                 "rubbish: message: it is no object");
    expect_whole(
        o,
        "{\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}],\"usage\":7}",
        "rubbish: usage: it is no object");
    expect_whole(o, "{\"error\":{\"message\":\"bad\"}}",
                 "fault error again: answered with 500: bad");
}

static void expect_chunk(const char *chunk, const char *dump)
{
    NJ_AUTO(nj_buf_done) struct nj_buf stream = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf seen = {0};
    struct nj_error err = {0};

    nj_buf_init(&stream, 4096);
    assert_int_equal(nj_buf_printf(&stream, &err,
                                   "data: {\"choices\":%s}\n\ndata: {\"choices\":[{\"delta\":{},"
                                   "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
                                   chunk),
                     0);
    stream_dump(&nj_dialect_openai, nj_buf_span(&stream), 0, &seen);
    if (!strstr((char *)seen.data, dump))
        fail_msg("%s\nreads:\n%s\nwanted:\n%s", chunk, (char *)seen.data, dump);
}

/* Passed over, each of these would leave a reply behind that lacks what was said. */
static void a_chunk_of_other_types_is_no_part_of_a_reply(void **state)
{
    (void)state;
    expect_chunk("[{\"delta\":{\"content\":\"x\"}}]", "{\"type\":\"text\",\"text\":\"x\"}");
    expect_chunk("{\"delta\":{\"content\":\"x\"}}", "rubbish: chunk.choices: no list");
    expect_chunk("[[17]]", "rubbish: chunk.choices: not a list of objects");
    expect_chunk("[{\"delta\":[\"x\"]}]", "rubbish: chunk.choices[0].delta: it is no object");
    expect_chunk("[{\"delta\":{\"content\":[\"x\"]}}]", "rubbish: delta.content: no text");
    expect_chunk("[{\"delta\":{\"tool_calls\":{\"index\":0}}}]",
                 "rubbish: delta.tool_calls: no list");
    expect_chunk("[{\"delta\":{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\","
                 "\"arguments\":17}}]}}]",
                 "rubbish: delta.tool_calls: arguments are neither a text nor an object");
}

static void expect_fault(const struct nj_dialect *dialect, int status, const char *body,
                         enum nj_manifest_cause cause, enum nj_try_verdict verdict,
                         const char *text)
{
    NJ_AUTO(nj_reply_done) struct nj_reply reply;

    nj_reply_init(&reply);
    dialect->error(status, nj_span_text(body), &reply);
    assert_true(reply.fault.is);
    if (reply.fault.cause != cause || reply.fault.verdict != verdict ||
        !strstr(reply.fault.text, text))
        fail_msg("%d %s: cause %d, verdict %d, \"%s\"", status, body, (int)reply.fault.cause,
                 (int)reply.fault.verdict, reply.fault.text);
}

static void errors_mean_what_their_status_and_type_say(void **state)
{
    const struct nj_dialect *a = &nj_dialect_anthropic, *o = &nj_dialect_openai;

    (void)state;
#define BODY(type, message)                                                                        \
    "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"" message "\"}}"
    expect_fault(a, 400, BODY("invalid_request_error", "max_tokens: too large"), NJ_CAUSE_ERROR,
                 NJ_TRY_FINAL, "max_tokens: too large");
    expect_fault(a, 400, BODY("invalid_request_error", "prompt is too long: 9 tokens"),
                 NJ_CAUSE_CONTEXT_FULL, NJ_TRY_FINAL, "9 tokens");
    expect_fault(a, 400, BODY("invalid_request_error", "Your credit balance is too low"),
                 NJ_CAUSE_ERROR, NJ_TRY_STOP, "raise it");
    expect_fault(a, 401, BODY("authentication_error", "invalid x-api-key"), NJ_CAUSE_ERROR,
                 NJ_TRY_STOP, "mend the model's credential");
    expect_fault(a, 402, BODY("billing_error", "no money"), NJ_CAUSE_ERROR, NJ_TRY_STOP, "fill it");
    expect_fault(a, 403, BODY("permission_error", ""), NJ_CAUSE_ERROR, NJ_TRY_STOP, "403");
    expect_fault(a, 404, BODY("not_found_error", "model: x"), NJ_CAUSE_ERROR, NJ_TRY_STOP,
                 "model: x");
    expect_fault(a, 409, BODY("conflict_error", ""), NJ_CAUSE_ERROR, NJ_TRY_AGAIN, "409");
    expect_fault(a, 413, "<html>too large</html>", NJ_CAUSE_CONTEXT_FULL, NJ_TRY_FINAL, "413");
    expect_fault(a, 429, BODY("rate_limit_error", "slow"), NJ_CAUSE_RATE_LIMITED, NJ_TRY_AGAIN,
                 "slow");
    expect_fault(a, 500, "", NJ_CAUSE_ERROR, NJ_TRY_AGAIN, "500");
    expect_fault(a, 504, BODY("timeout_error", ""), NJ_CAUSE_ERROR, NJ_TRY_AGAIN, "504");
    expect_fault(a, 529, BODY("overloaded_error", "Overloaded"), NJ_CAUSE_OVERLOADED, NJ_TRY_AGAIN,
                 "Overloaded");
    expect_fault(a, 503, "<html>", NJ_CAUSE_OVERLOADED, NJ_TRY_AGAIN, "503");
    expect_fault(a, 302, "", NJ_CAUSE_ERROR, NJ_TRY_FINAL, "(302), where the key is not sent");
    expect_fault(a, 418, "[[[", NJ_CAUSE_ERROR, NJ_TRY_FINAL, "418");
#undef BODY
    expect_fault(o, 429, "{\"error\":{\"message\":\"quota\",\"type\":\"insufficient_quota\"}}",
                 NJ_CAUSE_ERROR, NJ_TRY_STOP, "quota");
    expect_fault(o, 429, "{\"error\":{\"message\":\"slow\",\"code\":\"rate_limit_exceeded\"}}",
                 NJ_CAUSE_RATE_LIMITED, NJ_TRY_AGAIN, "slow");
    expect_fault(o, 400,
                 "{\"error\":{\"message\":\"maximum context length is "
                 "9\",\"code\":\"context_length_exceeded\"}}",
                 NJ_CAUSE_CONTEXT_FULL, NJ_TRY_FINAL, "is 9");
    expect_fault(o, 400, "{\"error\":\"plain words\"}", NJ_CAUSE_ERROR, NJ_TRY_FINAL,
                 "plain words");
    expect_fault(o, 404, "{\"message\":\"at the top\"}", NJ_CAUSE_ERROR, NJ_TRY_STOP, "at the top");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_give_the_same_reply_wherever_they_are_cut),
        cmocka_unit_test(damaged_streams_are_replies_or_faults),
        cmocka_unit_test(whole_answers_keep_their_bytes),
        cmocka_unit_test(a_chunk_of_other_types_is_no_part_of_a_reply),
        cmocka_unit_test(errors_mean_what_their_status_and_type_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
