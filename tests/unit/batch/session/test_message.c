/*
 * test_message.c - conversation items: spelled once, sliced without change, read with suspicion
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "batch/session/message.h"

#include "formats/base/banned.h"

#define USER_TEXT "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"

static void buf_is(const struct nj_buf *buf, const char *expected)
{
    assert_string_equal(buf->len ? (const char *)buf->data : "", expected);
}

static void an_assistant_s_content_comes_back_as_the_same_bytes(void **state)
{
    static const char *const contents[] = {
        "[]",
        "[ {\"type\" : \"text\",\"text\":\"\\u00e9 \\/ \\u20AC\"} ,\n{\"unknown\":[1.50,1e3]}]",
        "[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"t\",\"input\":{\"b\":1,\"a\":2}}]",
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
        struct nj_span content = {0};
        struct nj_error err = {0};
        enum nj_role role = NJ_ROLE_USER;

        nj_buf_init(&item, 4096);
        assert_int_equal(nj_message_assistant(nj_span_text(contents[i]), &item, &err), 0);
        assert_int_equal(nj_message_content(nj_buf_span(&item), &role, &content, &err), 0);
        assert_int_equal(role, NJ_ROLE_ASSISTANT);
        assert_true(nj_span_is(content, contents[i]));
    }
}

static void user_items_are_json_whatever_the_text_holds(void **state)
{
    static const uint8_t raw[] = "a\"\\\n\x01\xff\xe2\x82\xac";
    NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_span content = {0};
    struct nj_error err = {0};
    enum nj_role role = NJ_ROLE_ASSISTANT;

    (void)state;
    nj_buf_init(&item, 4096);
    nj_buf_init(&text, 4096);
    assert_int_equal(nj_message_user_text((struct nj_span){raw, sizeof(raw) - 1}, &item, &err), 0);
    assert_int_equal(nj_message_content(nj_buf_span(&item), &role, &content, &err), 0);
    assert_int_equal(role, NJ_ROLE_USER);
    assert_int_equal(nj_message_text(nj_buf_span(&item), &text, &err), 0);
    buf_is(&text, "a\"\\\n\x01\xef\xbf\xbd\xe2\x82\xac"); /* what is no UTF-8 became U+FFFD */
}

static void a_tool_result_names_its_call_and_its_failure(void **state)
{
    static const struct {
        bool is_error;
        const char *item;
    } rows[] = {
        {false,
         "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"i\\\"\","
         "\"content\":\"out\"}]}"},
        {true,
         "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"i\\\"\","
         "\"content\":\"out\",\"is_error\":true}]}"},
    };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
        struct nj_error err = {0};

        nj_buf_init(&item, 4096);
        assert_int_equal(
            nj_message_tool_result("i\"", nj_span_text("out"), rows[i].is_error, &item, &err), 0);
        buf_is(&item, rows[i].item);
    }
}

static void what_is_no_item_is_refused(void **state)
{
    static const char *const items[] = {
        "",
        "{}",
        "{\"role\":\"user\",\"content\":",
        "{\"role\":\"user\",\"content\":[]",
        "{\"role\":\"system\",\"content\":[]}",
        "{\"role\": \"user\",\"content\":[]}",
        "{\"content\":[],\"role\":\"user\"}",
        "[{\"role\":\"user\",\"content\":[]}]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        struct nj_span content = {0};
        struct nj_error err = {0};
        enum nj_role role = 0;

        assert_int_equal(nj_message_content(nj_span_text(items[i]), &role, &content, &err),
                         -NJ_E_CORRUPT);
        assert_null(content.data);
    }
}

static void text_is_of_text_blocks_and_results_only(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&text, 4096);
    assert_int_equal(nj_message_text(nj_span_text("{\"role\":\"user\",\"content\":["
                                                  "{\"type\":\"text\",\"text\":\"a\"},"
                                                  "{\"type\":\"image\",\"text\":\"no\"},"
                                                  "{\"type\":\"tool_result\",\"content\":\"b\"},"
                                                  "{\"type\":\"tool_result\",\"content\":[1]},"
                                                  "{\"type\":\"text\"},{\"text\":\"no\"},7,"
                                                  "{\"type\":\"text\",\"text\":\"c\\u0000d\"}]}"),
                                     &text, &err),
                     0);
    assert_int_equal(text.len, 7);
    assert_memory_equal(text.data, "a\nb\nc\0d", 7);
}

static void calls_come_in_order_with_their_inputs(void **state)
{
    NJ_AUTO(nj_calls_done) struct nj_calls calls = {0};
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(
        nj_message_calls(
            nj_span_text("{\"role\":\"assistant\",\"content\":["
                         "{\"type\":\"tool_use\",\"id\":\"1\",\"name\":\"t\",\"input\":{\"n\":1}},"
                         "{\"type\":\"text\",\"text\":\"x\"},"
                         "{\"type\":\"tool_use\",\"id\":\"2\",\"name\":\"u\",\"input\":{}}]}"),
            &calls, &err),
        0);
    assert_int_equal(calls.count, 2);
    assert_string_equal(calls.items[0].id, "1");
    assert_string_equal(calls.items[1].name, "u");
    assert_int_equal(json_integer_value(json_object_get(calls.items[0].input, "n")), 1);
}

static void malformed_calls_are_the_provider_s_fault(void **state)
{
    static const char *const contents[] = {
        "[{\"type\":\"tool_use\",\"name\":\"t\",\"input\":{}}]",
        "[{\"type\":\"tool_use\",\"id\":7,\"name\":\"t\",\"input\":{}}]",
        "[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"t\",\"input\":[]}]",
        "[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"t\\u0000\",\"input\":{}}]",
        "[{\"type\":\"tool_use\",\"id\":\"a\",\"id\":\"b\",\"name\":\"t\",\"input\":{}}]",
        "[",
        "{}",
        "7",
        "[\"\xff\"]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
        struct nj_calls calls = {0};
        struct nj_error err = {0};

        nj_buf_init(&item, 4096);
        assert_int_equal(nj_message_assistant(nj_span_text(contents[i]), &item, &err), 0);
        assert_int_equal(nj_message_calls(nj_buf_span(&item), &calls, &err), -NJ_E_UPSTREAM);
        assert_null(calls.items);
    }
}

static void calls_have_a_cap(void **state)
{
    (void)state;
    for (unsigned n = NJ_CALLS_MAX; n <= NJ_CALLS_MAX + 1; n++) {
        NJ_AUTO(nj_buf_done) struct nj_buf content = {0};
        NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
        NJ_AUTO(nj_calls_done) struct nj_calls calls = {0};
        struct nj_error err = {0};
        int r = 0;

        nj_buf_init(&content, 65536);
        nj_buf_init(&item, 65536);
        for (unsigned i = 0; i < n; i++)
            r |=
                nj_buf_printf(&content, &err,
                              "%c{\"type\":\"tool_use\",\"id\":\"%u\",\"name\":\"t\",\"input\":{}}",
                              i ? ',' : '[', i);
        r |= nj_buf_text(&content, "]", &err);
        r |= nj_message_assistant(nj_buf_span(&content), &item, &err);
        assert_int_equal(r, 0);
        r = nj_message_calls(nj_buf_span(&item), &calls, &err);
        assert_int_equal(r, n <= NJ_CALLS_MAX ? 0 : -NJ_E_UPSTREAM);
        assert_int_equal(calls.count, n <= NJ_CALLS_MAX ? n : 0);
    }
}

#define STREAM(head_text, tail_text, all)                                                          \
    {                                                                                              \
        .bytes = all, .head = {(const uint8_t *)head_text, sizeof(head_text) - 1}, .tail = {       \
            (const uint8_t *)tail_text,                                                            \
            sizeof(tail_text) - 1                                                                  \
        }                                                                                          \
    }

static void an_outcome_tells_what_there_is_to_tell(void **state)
{
    static const struct {
        struct nj_call_outcome outcome;
        bool is_error;
        const char *text;
    } rows[] = {
        {{.exit = NJ_EXIT_EXITED}, false, ""},
        {{.exit = NJ_EXIT_EXITED, .out = STREAM("7\n", "", 2)}, false, "7\n"},
        {{.exit = NJ_EXIT_EXITED, .status = 2, .out = STREAM("7", "", 1)},
         true,
         "7\n[exit status 2]"},
        {{.exit = NJ_EXIT_EXITED, .errors = STREAM("warning\n", "", 8)},
         false,
         "[stderr]\nwarning\n"},
        {{.exit = NJ_EXIT_EXITED,
          .status = 1,
          .out = STREAM("a", "", 1),
          .errors = STREAM("b", "", 1)},
         true,
         "a\n[stderr]\nb\n[exit status 1]"},
        {{.exit = NJ_EXIT_EXITED, .out = STREAM("head", "tail", 108)},
         false,
         "head\n[... 100 bytes left out ...]\ntail"},
        {{.exit = NJ_EXIT_EXITED, .out = STREAM("head", "tail", 8)}, false, "headtail"},
        {{.exit = NJ_EXIT_SIGNALLED, .status = 9, .limit = NJ_LIMIT_TIMEOUT, .limit_value = 2500},
         true,
         "[limit] the call was ended after its timeout_seconds of 2.5\n[killed by signal 9, "
         "SIGKILL]"},
        {{.exit = NJ_EXIT_SIGNALLED,
          .status = 9,
          .limit = NJ_LIMIT_RUNTIME,
          .limit_value = 3600000},
         true,
         "[limit] the session's max_runtime_seconds of 3600 are used up\n"
         "[killed by signal 9, SIGKILL]"},
        {{.exit = NJ_EXIT_SIGNALLED,
          .status = 9,
          .limit = NJ_LIMIT_MEMORY,
          .limit_value = UINT64_C(2048) << 20},
         true,
         "[limit] max_memory_mb of 2048 was reached and processes were killed\n"
         "[killed by signal 9, SIGKILL]"},
        {{.exit = NJ_EXIT_EXITED, .limit = NJ_LIMIT_DISK, .limit_value = 512u << 20},
         false,
         "[limit] the writable paths are full: max_size_mb is 512"},
        {{.exit = NJ_EXIT_EXITED, .status = 1, .limit = NJ_LIMIT_PROCESSES, .limit_value = 256},
         true,
         "[limit] max_processes of 256 was reached\n[exit status 1]"},
        {{.exit = NJ_EXIT_SIGNALLED, .status = 999}, true, "[killed by signal 999, SIG?]"},
        {{.exit = NJ_EXIT_REFUSED, .text = {(const uint8_t *)"no such tool", 12}},
         true,
         "no such tool"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
        struct nj_error err = {0};
        bool is_error = !rows[i].is_error;

        nj_buf_init(&text, 4096);
        assert_int_equal(nj_message_outcome(&rows[i].outcome, &text, &is_error, &err), 0);
        buf_is(&text, rows[i].text);
        assert_int_equal(is_error, rows[i].is_error);
    }
}

static void an_unknown_limit_is_damage(void **state)
{
    struct nj_call_outcome outcome = {.exit = NJ_EXIT_EXITED, .limit = (enum nj_limit)77};
    NJ_AUTO(nj_buf_done) struct nj_buf text = {0};
    struct nj_error err = {0};
    bool is_error;

    (void)state;
    nj_buf_init(&text, 4096);
    assert_int_equal(nj_message_outcome(&outcome, &text, &is_error, &err), -NJ_E_CORRUPT);
}

static void items_have_a_cap(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf item = {0};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&item, strlen(USER_TEXT) + 4);
    assert_int_equal(nj_message_user_text(nj_span_text("four"), &item, &err), -NJ_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_assistant_s_content_comes_back_as_the_same_bytes),
        cmocka_unit_test(user_items_are_json_whatever_the_text_holds),
        cmocka_unit_test(a_tool_result_names_its_call_and_its_failure),
        cmocka_unit_test(what_is_no_item_is_refused),
        cmocka_unit_test(text_is_of_text_blocks_and_results_only),
        cmocka_unit_test(calls_come_in_order_with_their_inputs),
        cmocka_unit_test(malformed_calls_are_the_provider_s_fault),
        cmocka_unit_test(calls_have_a_cap),
        cmocka_unit_test(an_outcome_tells_what_there_is_to_tell),
        cmocka_unit_test(an_unknown_limit_is_damage),
        cmocka_unit_test(items_have_a_cap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
