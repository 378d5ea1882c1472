/*
 * test_slice.c - what is JSON, and the slices of it
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "formats/base/slice.h"

#include "formats/base/banned.h"

static void good(const char *text, const char *value)
{
    struct nj_error err = {0};
    struct nj_span got;

    if (nj_slice_check(nj_span_text(text), &got, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    assert_true(nj_span_is(got, value));
}

static void bad(const char *text, const char *why)
{
    struct nj_error err = {0};
    struct nj_span got;

    if (nj_slice_check(nj_span_text(text), &got, &err) != -NJ_E_INPUT || !strstr(err.text, why))
        fail_msg("%s: \"%s\", wanted \"%s\"", text, err.text, why);
}

static void json_is_what_the_standard_says(void **state)
{
    (void)state;
    good(" {} ", "{}");
    good("[ ]", "[ ]");
    good("[1,[2,{\"a\":[]}],{}]\n", "[1,[2,{\"a\":[]}],{}]");
    good("-0.5e+10", "-0.5e+10");
    good("123456789012345678901234567890", "123456789012345678901234567890");
    good("\"\\u00e9 \\ud83d \xc3\xa9 \\\"\"", "\"\\u00e9 \\ud83d \xc3\xa9 \\\"\"");
    good("null", "null");
    bad("", "byte 0 of 0: expected a value");
    bad("{\"a\":1,}", "byte 7 of 8: expected a key");
    bad("[1 2]", "byte 3 of 5: expected a comma or ]");
    bad("{\"a\" 1}", "colon");
    bad("{\"a\":1]", "a comma or }");
    bad("[1", "a comma or ]");
    bad("[", "a value");
    bad("01", "byte 1 of 2: expected nothing behind");
    bad("1.", "digit behind the point");
    bad("1e", "exponent");
    bad("+1", "a value");
    bad("nul", "a value");
    bad("\"a\nb\"", "byte 2 of 5: expected no control");
    bad("\"\\x\"", "an escape");
    bad("\"\\u12g4\"", "hexadecimal");
    bad("\"abc", "byte 4 of 4: expected the end of a string");
    bad("\"\xff\"", "byte 1 of 3: expected UTF-8");
    bad("\"\xed\xa0\x80\"", "UTF-8");
    bad("{} {}", "byte 3 of 5: expected nothing behind");
    bad("NaN", "a value");
}

static void depth_has_an_end(void **state)
{
    char text[2 * NJ_SLICE_DEPTH_MAX + 3];

    (void)state;
    memset(text, '[', NJ_SLICE_DEPTH_MAX);
    memset(text + NJ_SLICE_DEPTH_MAX, ']', NJ_SLICE_DEPTH_MAX);
    text[2 * NJ_SLICE_DEPTH_MAX] = 0;
    good(text, text);
    memset(text, '[', NJ_SLICE_DEPTH_MAX + 1);
    memset(text + NJ_SLICE_DEPTH_MAX + 1, ']', NJ_SLICE_DEPTH_MAX + 1);
    text[2 * NJ_SLICE_DEPTH_MAX + 2] = 0;
    bad(text, "byte 200 of 402: expected less depth");
}

static void values_are_cut_out_byte_for_byte(void **state)
{
    const struct nj_span object =
        nj_span_text("{ \"a\" : [1, {\"b\":\"c\\n\"} ,\"}\"], \"n\":1e2,\"a2\":{ }, \"n\": 7 }");
    struct nj_slice_walk walk = {0};
    struct nj_span key, value;
    size_t n = 0;

    (void)state;
    assert_true(nj_span_is(nj_slice_get(object, "a"), "[1, {\"b\":\"c\\n\"} ,\"}\"]"));
    assert_true(nj_span_is(nj_slice_get(object, "a2"), "{ }"));
    assert_true(nj_span_is(nj_slice_get(object, "n"), "7")); /* the last one counts */
    assert_int_equal(nj_slice_kind(nj_slice_get(object, "b")), NJ_SLICE_NONE);
    while (nj_slice_member(object, &walk, &key, &value))
        n++;
    assert_int_equal(n, 4);
    walk = (struct nj_slice_walk){0};
    for (n = 0; nj_slice_item(nj_slice_get(object, "a"), &walk, &value); n++)
        if (n == 1)
            assert_true(nj_slice_is(nj_slice_get(value, "b"), "c\\n"));
    assert_int_equal(n, 3);
    walk = (struct nj_slice_walk){0};
    assert_false(nj_slice_item(object, &walk, &value));
    assert_false(nj_slice_item(nj_span_text("[ ]"), &walk, &value));
}

static void members_are_found_while_the_text_is_checked(void **state)
{
    static const char *const keys[] = {"a", "ab", "none"};
    static const char *const texts[] = {
        " { \"ab\" : [1,{\"a\":2}] , \"a\":3.0 , \"b\":{\"a\":4} } ",
        "{\"a\":1,\"a\":\"2\\\"\"}",
        "{\"a\\u0062\":1,\"a\":{}}",
        "[\"a\",1,{\"a\":1}]",
        "{}",
        "\"a\""};
    struct nj_span value, whole, found[3], later[3];
    struct nj_error err = {0};

    (void)state;
    for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]); t++) {
        assert_int_equal(nj_slice_check(nj_span_text(texts[t]), &value, &err), 0);
        nj_slice_pick(value, keys, 3, later);
        assert_int_equal(nj_slice_check_pick(nj_span_text(texts[t]), keys, 3, &whole, found, &err),
                         0);
        assert_true(nj_span_equal(whole, value));
        for (size_t i = 0; i < 3; i++)
            assert_true(found[i].data == later[i].data && found[i].len == later[i].len);
    }
    assert_int_equal(
        nj_slice_check_pick(nj_span_text("{\"a\":1,\"ab\":}"), keys, 3, &whole, found, &err),
        -NJ_E_INPUT);
    assert_int_equal(found[0].len, 0);
}

static void a_strings_text_has_its_escapes_undone(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&out, 1000);
    assert_int_equal(
        nj_slice_text(nj_span_text("\"a\\n\\u00e9\\ud83d\\ude00\\/\\u0041\""), &out, &err), 0);
    assert_true(nj_span_is(nj_buf_span(&out), "a\n\xc3\xa9\xf0\x9f\x98\x80/A"));
    assert_int_equal(nj_slice_text(nj_span_text("\"\\ud83d\""), &out, &err), -NJ_E_INPUT);
    assert_int_equal(nj_slice_text(nj_span_text("\"\\ud83d\\u0041\""), &out, &err), -NJ_E_INPUT);
    assert_int_equal(nj_slice_text(nj_span_text("\"\\ude00\""), &out, &err), -NJ_E_INPUT);
    assert_int_equal(nj_slice_text(nj_span_text("7"), &out, &err), -NJ_E_INPUT);
}

static void whole_numbers_are_read_as_written(void **state)
{
    static const char *const wrong[] = {
        "-1", "1.0", "1e3", "\"1\"", "", "18446744073709551616", "99999999999999999999999999",
        "101"};
    struct nj_error err = {0};
    uint64_t n;

    (void)state;
    assert_int_equal(nj_slice_uint(nj_span_text("100"), 100, "tokens", &n, &err), 0);
    assert_int_equal(n, 100);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(nj_slice_uint(nj_span_text(wrong[i]), 100, "tokens", &n, &err),
                         -NJ_E_INPUT);
}

static void half_a_surrogate_pair_is_json_and_no_text(void **state)
{
    static const struct {
        const char *json;
        size_t at; /* SIZE_MAX: all of it is text */
    } rows[] = {
        {"", SIZE_MAX},
        {"[\"plain\",\"\\\\ud800\",\"\\u00e9\",\"\\ud83d\\ude00\"]", SIZE_MAX},
        {"\"\\ud83d\"", 1},
        {"\"\\ude00\"", 1},
        {"\"a\\ud83d\\u0041\"", 2},
        {"\"\\ud83d\\ud83d\\ude00\"", 1},
        {"{\"\\udfff\":1}", 2},
        {"\"\\ud83d\\ude0\"", 1}, /* cut short: no JSON either, and read no further */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t at = SIZE_MAX;

        assert_int_equal(nj_slice_is_text(nj_span_text(rows[i].json), &at), rows[i].at == SIZE_MAX);
        assert_int_equal(at, rows[i].at);
    }
}

/* The checker looks at many bytes at once: whatever stands wherever in a string must be seen. */
static void a_string_is_read_to_its_last_byte_wherever_that_is(void **state)
{
    static const struct {
        const char *bytes;
        bool sound;
    } rows[] = {{"x", true},     {"\\n", true},   {"\\\"", true}, {"\xc3\xa9", true},
                {"\x7f", true},  {"\x1f", false}, {"\\q", false}, {"\"", false},
                {"\xc3", false}, {"\xff", false}};

    (void)state;
    for (size_t before = 0; before < 40; before++)
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            struct nj_error err = {0};
            struct nj_span value;
            char text[128];
            int n = snprintf(text, sizeof(text), "\"%.*s%s%.*s\"", (int)before,
                             "........................................", rows[i].bytes,
                             (int)(40 - before), "----------------------------------------");

            assert_int_equal(nj_slice_check((struct nj_span){(const uint8_t *)text, (size_t)n},
                                            &value, &err) == 0,
                             rows[i].sound);
        }
}

static void what_stands_in_a_string_ends_no_value(void **state)
{
    static const char *const keys[] = {"b", "none", "a"};
    const struct nj_span object =
        nj_span_text("{\"a\":\"}]\\\"{,\\\\\",\"x\":[{\"b\":\"\\\\\\\"]\"},"
                     "[]],\"b\":-1.5e3,\"a\":{\"a\":0} , \"c\":null}");
    struct nj_slice_walk walk = {0};
    struct nj_span values[3], key, value;

    (void)state;
    nj_slice_pick(object, keys, 3, values);
    assert_true(nj_span_is(values[0], "-1.5e3"));
    assert_int_equal(values[1].len, 0);
    assert_true(nj_span_is(values[2], "{\"a\":0}")); /* the last one counts */
    assert_true(nj_slice_member(object, &walk, &key, &value));
    assert_true(nj_span_is(value, "\"}]\\\"{,\\\\\""));
    assert_true(nj_slice_member(object, &walk, &key, &value));
    assert_true(nj_span_is(value, "[{\"b\":\"\\\\\\\"]\"},[]]"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_what_the_standard_says),
        cmocka_unit_test(depth_has_an_end),
        cmocka_unit_test(values_are_cut_out_byte_for_byte),
        cmocka_unit_test(members_are_found_while_the_text_is_checked),
        cmocka_unit_test(a_strings_text_has_its_escapes_undone),
        cmocka_unit_test(whole_numbers_are_read_as_written),
        cmocka_unit_test(half_a_surrogate_pair_is_json_and_no_text),
        cmocka_unit_test(a_string_is_read_to_its_last_byte_wherever_that_is),
        cmocka_unit_test(what_stands_in_a_string_ends_no_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
