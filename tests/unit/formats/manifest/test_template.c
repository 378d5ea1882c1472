/*
 * test_template.c - placeholders, braces, and values that look like placeholders
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/manifest/template.h"

#include "formats/base/banned.h"

static const char *const item_and_results[] = {"item.path", "item.stem", "results", NULL};

static int look_up(void *ctx, const char *name, struct nj_buf *out, struct nj_error *err)
{
    (void)ctx;
    if (strcmp(name, "item.path") == 0)
        return nj_buf_text(out, "inbox/{results}.pdf", err);
    if (strcmp(name, "results") == 0)
        return nj_buf_text(out, "", err);
    return nj_fail(err, NJ_E_INPUT, "no value for {%s}", name);
}

static void expands_to(const char *text, const char *expected)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};

    nj_buf_init(&out, 1000);
    assert_int_equal(nj_buf_text(&out, ">", &err), 0);
    assert_int_equal(nj_template_expand(text, look_up, NULL, &out, &err), 0);
    assert_string_equal((const char *)out.data + 1, expected);
}

static void placeholders_are_replaced_and_doubled_braces_are_one(void **state)
{
    (void)state;
    expands_to("", "");
    expands_to("no braces", "no braces");
    expands_to("[{results}]", "[]");
    expands_to("{{\"a\": {{}}}}", "{\"a\": {}}");
    expands_to("{{{results}}}", "{}");
}

static void a_value_is_never_expanded_again(void **state)
{
    (void)state;
    expands_to("{item.path}", "inbox/{results}.pdf");
}

static void a_failed_expansion_leaves_the_buffer_as_it_was(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&out, 30);
    assert_int_equal(nj_buf_text(&out, "kept", &err), 0);
    assert_int_equal(nj_template_expand("a {results} {item.other}", look_up, NULL, &out, &err),
                     -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "{item.other}"));
    assert_string_equal((const char *)out.data, "kept");
    assert_int_equal(nj_template_expand("a { b", look_up, NULL, &out, &err), -NJ_E_INPUT);
    assert_string_equal((const char *)out.data, "kept");
    assert_int_equal(nj_template_expand("{item.path}{item.path}", look_up, NULL, &out, &err),
                     -NJ_E_LIMIT);
    assert_string_equal((const char *)out.data, "kept");
}

static void refused(const char *text, const char *why)
{
    struct nj_error err = {0};

    assert_int_equal(nj_template_check(text, item_and_results, &err), -NJ_E_INPUT);
    if (!strstr(err.text, why))
        fail_msg("%s: %s", text, err.text);
}

static void every_other_brace_is_refused_with_its_place(void **state)
{
    static const char *const nothing[] = {NULL};
    struct nj_error err = {0};

    (void)state;
    refused("ab{", "character 3: this { has no }");
    refused("a}b", "character 2: this } has no {");
    refused("{a\nb}", "this { has no }");
    refused("{a{b}}", "character 1: this { has no }");
    refused("{}", "{} is no placeholder");
    refused("{ results }", "is no placeholder");
    refused("{.results}", "is no placeholder");
    refused("{item.}", "is no placeholder");
    refused("{item..x}", "is no placeholder");
    refused("{result}", "did you mean {results}?");
    refused("{item.xyzxyz}", "known here: {item.path}, {item.stem}, {results}");
    assert_int_equal(nj_template_check("{a}", nothing, &err), -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "none can be used here"));
}

static void a_placeholder_is_not_longer_than_its_limit(void **state)
{
    static const char *const any[] = {"a.", NULL};
    char text[NJ_TEMPLATE_NAME_MAX_CHARS + 4] = "{a.";
    struct nj_error err = {0};

    (void)state;
    memset(text + 3, 'x', NJ_TEMPLATE_NAME_MAX_CHARS - 2);
    text[NJ_TEMPLATE_NAME_MAX_CHARS + 1] = '}';
    assert_int_equal(nj_template_check(text, any, &err), 1);
    text[NJ_TEMPLATE_NAME_MAX_CHARS + 1] = 'x';
    text[NJ_TEMPLATE_NAME_MAX_CHARS + 2] = '}';
    assert_int_equal(nj_template_check(text, any, &err), -NJ_E_INPUT);
}

static void placeholders_are_counted_and_found(void **state)
{
    static const char *const fields[] = {"item.", NULL};
    struct nj_error err = {0};

    (void)state;
    assert_int_equal(nj_template_check("{item.a} {item.b.c} {{x}}", fields, &err), 2);
    assert_int_equal(nj_template_check("plain", fields, &err), 0);
    assert_true(nj_template_uses("see {item.a}", "item."));
    assert_true(nj_template_uses("see {item.a}", "item.a"));
    assert_false(nj_template_uses("see {item.a}", "item.b"));
    assert_false(nj_template_uses("see {{item.a}}", "item."));
    assert_false(nj_template_uses("see {itemx}", "item."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(placeholders_are_replaced_and_doubled_braces_are_one),
        cmocka_unit_test(a_value_is_never_expanded_again),
        cmocka_unit_test(a_failed_expansion_leaves_the_buffer_as_it_was),
        cmocka_unit_test(every_other_brace_is_refused_with_its_place),
        cmocka_unit_test(a_placeholder_is_not_longer_than_its_limit),
        cmocka_unit_test(placeholders_are_counted_and_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
