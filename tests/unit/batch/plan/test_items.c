/*
 * test_items.c - items of JSON lines and CSV: what is taken, what is refused and with which words
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "batch/plan/csv.h"
#include "batch/plan/items.h"

#include "formats/base/banned.h"

/* ---- JSON ---- */

static void values_have_one_form(void **state)
{
    static const struct {
        const char *text;
        const char *canonical;
    } cases[] = {
        {" {\"b\" : 1 , \"a\":[ ] } ", "{\"a\":[],\"b\":1}"},
        {"{\"a\":1,\"aa\":2,\"\":3}", "{\"\":3,\"a\":1,\"aa\":2}"},
        {"{\"z\":{\"y\":[1,{\"q\":null,\"p\":true}]},\"n\":1.10}",
         "{\"n\":1.10,\"z\":{\"y\":[1,{\"p\":true,\"q\":null}]}}"},
        {"123456789012345678901234567890.10e-5", "123456789012345678901234567890.10e-5"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"\"\\u00e9\\ud83d\\ude00\\/\\n\"", "\"\xc3\xa9\xf0\x9f\x98\x80/\\n\""},
        {"-0", "-0"},
        {"[]", "[]"},
        {"{}", "{}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
        struct nj_error err = {0};

        nj_buf_init(&out, NJ_ITEM_MAX_BYTES);
        if (nj_item_json_read(nj_span_text(cases[i].text), &out, &err) < 0)
            fail_msg("%s: %s", cases[i].text, err.text);
        assert_string_equal((const char *)out.data, cases[i].canonical);
    }
}

static void what_is_no_json_is_refused_at_its_character(void **state)
{
    static const struct {
        const char *text;
        const char *words;
    } cases[] = {
        {"", "character 1: expected a JSON value"},
        {"{\"a\":1", "character 7: expected , or }"},
        {"{\"a\":1,}", "character 8: expected a key in double quotes"},
        {"[1,]", "character 4: expected a JSON value"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "the key \"a\" is given twice"},
        {"01", "a zero before others"},
        {"-", "not a number"},
        {"1.", "a digit is missing behind the point"},
        {"9223372036854775808", "a whole number beyond 64 bits"},
        {"1e999", "a number beyond what programs can hold"},
        {"1e", "a digit is missing in the exponent"},
        {"{} x", "character 4: something stands behind the value"},
        {"\"\\ud800\"", "half of a surrogate pair"},
        {"\"\\u0000\"", "NUL"},
        {"\"\x01\"", "control character"},
        {"\"\xff\"", "not UTF-8"},
        {"\"abc", "no closing quote"},
        {"{'a':1}", "expected a key in double quotes"},
        {"NaN", "expected a JSON value"},
        {"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", "nested too deeply"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
        struct nj_error err = {0};

        nj_buf_init(&out, NJ_ITEM_MAX_BYTES);
        assert_int_equal(nj_item_json_read(nj_span_text(cases[i].text), &out, &err), -NJ_E_INPUT);
        if (!strstr(err.text, cases[i].words))
            fail_msg("%s: %s", cases[i].text, err.text);
    }
}

static void fields_are_found_inside_too(void **state)
{
    static const char item[] =
        "{\"a\":\"x}\\\"\",\"b\":{\"c\":[1,{\"d\":2}],\"e\":\"f\"},\"g\":1.50}";
    struct nj_span value;

    (void)state;
    assert_true(nj_item_json_find(item, "a", &value));
    assert_true(nj_span_is(value, "\"x}\\\"\""));
    assert_true(nj_item_json_find(item, "b.c", &value));
    assert_true(nj_span_is(value, "[1,{\"d\":2}]"));
    assert_true(nj_item_json_find(item, "b.e", &value));
    assert_true(nj_span_is(value, "\"f\""));
    assert_true(nj_item_json_find(item, "g", &value));
    assert_true(nj_span_is(value, "1.50"));
    assert_false(nj_item_json_find(item, "b.x", &value));
    assert_false(nj_item_json_find(item, "g.h", &value));
    assert_false(nj_item_json_find(item, "", &value));
    assert_false(nj_item_json_find("{}", "a", &value));
}

/* ---- CSV ---- */

/* Rows as "a|b;c|d;", or the fault. */
static void read_as(const char *text, size_t len, char delimiter, const char *expected)
{
    NJ_AUTO(nj_csv_row_done) struct nj_csv_row row = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};
    struct nj_csv csv;
    int r;

    nj_buf_init(&out, 65536);
    r = nj_csv_start(&csv, (struct nj_span){(const uint8_t *)text, len}, delimiter, &err);
    while (r == 0 && (r = nj_csv_next(&csv, &row, &err)) == 1) {
        for (size_t i = 0; i < row.count; i++) {
            assert_int_equal(nj_buf_append(&out, row.fields[i].data, row.fields[i].len, &err), 0);
            assert_int_equal(nj_buf_text(&out, i + 1 < row.count ? "|" : ";", &err), 0);
        }
        r = 0;
    }
    if (r < 0)
        assert_string_equal(err.text, expected);
    else
        assert_string_equal(out.data ? (const char *)out.data : "", expected);
}

static void rows_are_read_as_they_were_meant(void **state)
{
    (void)state;
    read_as("a,b\n1,2\n", 8, ',', "a|b;1|2;");
    read_as("a,b\r\n1,2", 8, ',', "a|b;1|2;");
    read_as("\xef\xbb\xbf"
            "a\n\n\r\nb\n",
            9, ',', "a;b;");
    read_as("\"a,\"\"x\"\"\r\nb\",c\n", 15, ',', "a,\"x\"\r\nb|c;");
    read_as("a;b,c\n", 6, ';', "a|b,c;");
    read_as(",\n", 2, ',', "|;");
    read_as("\"\"\n", 3, ',', ";");
    read_as("a,\"\"", 4, ',', "a|;");
    read_as("a\r", 2, ',', "a;");
    read_as("", 0, ',', "");
}

static void what_is_no_csv_is_refused_with_its_line(void **state)
{
    (void)state;
    read_as("a\n\"b\nc", 6, ',', "line 2: a quoted field is never closed");
    read_as("a\nb\"c\n", 6, ',',
            "line 2: a quote inside field 1: put the whole field in quotes and write the quote "
            "twice");
    read_as("\"a\"b\n", 5, ',', "line 1: something stands behind the closing quote of field 1");
    read_as("a\n\xff\n", 4, ',', "line 2: field 1 is not UTF-8");
    read_as("a\nx\0y\n", 6, ',', "line 2: field 1 holds a NUL character");
    read_as("\xff\xfe"
            "a",
            3, ',', "this is UTF-16: save the file as UTF-8");
}

static void a_field_of_ten_megabytes_costs_no_memory(void **state)
{
    size_t len = 10u << 20;
    nj_auto_free char *text = malloc(len);

    (void)state;
    assert_non_null(text);
    memset(text, 'x', len);
    memcpy(text, "a,b\n1,", 6);
    read_as(text, len, ',',
            "line 2: field 2 makes the row longer than 1048576 bytes (put large texts into files "
            "and name those)");
}

/* ---- where ---- */

static void tests_compare_numbers_exactly_and_texts_by_byte(void **state)
{
    static const struct {
        const char *where;
        const char *item;
        int holds;
    } cases[] = {
        {"n: 1.5", "{\"n\":1.50}", 1},
        {"n: 1.5", "{\"n\":\"1.5\"}", 1},
        {"n: \"1.5\"", "{\"n\":1.50}", 0},
        {"n: 12345678901234567890123", "{\"n\":12345678901234567890124}", 0},
        {"n: 100", "{\"n\":1e2}", 1},
        {"n: {above: -2}", "{\"n\":-1.999}", 1},
        {"n: {below: -2}", "{\"n\":\"-1\"}", 0},
        {"n: {at_least: 0.1, at_most: 0.1}", "{\"n\":0.10}", 1},
        {"n: {above: 1}", "{\"n\":\"many\"}", 0},
        {"n: 0", "{\"n\":-0}", 1},
        {"s: [a, b]", "{\"s\":\"b\"}", 1},
        {"s: {not: [a, b]}", "{\"s\":\"b\"}", 0},
        {"s: {not: a}", "{}", 1},
        {"s: a", "{}", 0},
        {"s: {exists: false}", "{\"s\":null}", 1},
        {"s: {exists: false}", "{\"s\":\"\"}", 1},
        {"s: {exists: true}", "{\"s\":0}", 1},
        {"s: {matches: \"^a.c$\"}", "{\"s\":\"abc\"}", 1},
        {"s: {matches: \"^a.c$\"}", "{\"s\":\"abcd\"}", 0},
        {"a.b: true", "{\"a\":{\"b\":true}}", 1},
        {"s: a, n: 1", "{\"n\":2,\"s\":\"a\"}", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
        NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = NULL;
        NJ_AUTO(nj_where_free) struct nj_where *where = NULL;
        struct nj_error err = {0};
        char text[600];

        (void)snprintf(text, sizeof(text),
                       "nightjar: 1\nmodels: {m: [{provider: script, script: r.yaml}]}\n"
                       "agents: {a: {model: m}}\nsessions: [{name: g, agent: a, input: x, "
                       "for_each: {lines: l}, key: \"{item.k}\", where: {%s}}]\n",
                       cases[i].where);
        if (nj_manifest_parse(nj_span_text(text), "job.yaml", &manifest, &faults, &err) < 0)
            fail_msg("%s: %s", cases[i].where, err.text);
        assert_int_equal(nj_where_new(&manifest->groups[0], &where, &err), 0);
        if (nj_where_holds(where, cases[i].item, &err) != cases[i].holds)
            fail_msg("%s on %s", cases[i].where, cases[i].item);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_have_one_form),
        cmocka_unit_test(what_is_no_json_is_refused_at_its_character),
        cmocka_unit_test(fields_are_found_inside_too),
        cmocka_unit_test(rows_are_read_as_they_were_meant),
        cmocka_unit_test(what_is_no_csv_is_refused_with_its_line),
        cmocka_unit_test(a_field_of_ten_megabytes_costs_no_memory),
        cmocka_unit_test(tests_compare_numbers_exactly_and_texts_by_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
