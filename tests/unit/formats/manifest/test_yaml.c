/*
 * test_yaml.c - the tree, its places, its values, and JSON out of it
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/manifest/yaml.h"

#include "formats/base/banned.h"

/* One file being read; every test has its own. */
struct fixture {
    struct nj_arena arena;
    struct nj_manifest_faults faults;
    struct nj_yaml_reader reader;
    const struct nj_yaml_node *root;
};

static const struct nj_yaml_limits limits = {.max_bytes = 1000, .max_nodes = 20, .max_depth = 5};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    if (!f)
        return -1;
    f->reader.arena = &f->arena;
    f->reader.faults = &f->faults;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    nj_arena_done(&f->arena);
    nj_manifest_faults_done(&f->faults);
    free(f);
    return 0;
}

static void load_bytes(struct fixture *f, const char *text, size_t len)
{
    struct nj_span bytes = {(const uint8_t *)text, len};
    struct nj_error err = {0};

    nj_manifest_faults_done(&f->faults);
    assert_int_equal(nj_yaml_load(bytes, &limits, &f->reader, &f->root, &err), 0);
}

static void load(struct fixture *f, const char *text)
{
    load_bytes(f, text, strlen(text));
}

/* The only fault, as a person sees it. */
static void assert_fault(struct fixture *f, const char *expected)
{
    struct nj_error err = {0};

    assert_int_equal(nj_yaml_end(&f->reader, "f", &err), -NJ_E_INPUT);
    if (!strstr(err.text, expected))
        fail_msg("expected \"%s\" in \"%s\"", expected, err.text);
    nj_manifest_faults_done(&f->faults);
}

static void nodes_know_line_column_and_path(void **state)
{
    struct fixture *f = *state;
    char path[NJ_YAML_PATH_MAX_BYTES];
    const struct nj_yaml_node *node;

    load(f, "a:\n  - x\n  - {\"b c\": \xc3\xa9, d: [1, 2]}\n");
    node = nj_yaml_get(nj_yaml_get(f->root, "a")->first->next, "d");
    assert_int_equal(node->mark.line, 3);
    assert_int_equal(node->mark.column, 19); /* characters, not bytes */
    assert_int_equal(node->key_mark.column, 16);
    nj_yaml_path(node->first->next, path);
    assert_string_equal(path, "a[1].d[1]");
    nj_yaml_path(nj_yaml_get(f->root, "a")->first->next->first, path);
    assert_string_equal(path, "a[1].\"b c\"");
    nj_yaml_path(f->root, path);
    assert_string_equal(path, "");
    assert_int_equal(f->faults.count, 0);
}

static void plain_scalars_have_the_types_of_the_core_schema(void **state)
{
    static const struct {
        const char *text;
        enum nj_yaml_type type;
    } cases[] = {
        {"", NJ_YAML_NULL},      {"~", NJ_YAML_NULL},        {"null", NJ_YAML_NULL},
        {"NULL", NJ_YAML_NULL},  {"nULL", NJ_YAML_TEXT},     {"true", NJ_YAML_BOOL},
        {"FALSE", NJ_YAML_BOOL}, {"yes", NJ_YAML_TEXT},      {"on", NJ_YAML_TEXT},
        {"0", NJ_YAML_INT},      {"-12", NJ_YAML_INT},       {"+3", NJ_YAML_INT},
        {"007", NJ_YAML_INT},    {"0o17", NJ_YAML_INT},      {"0xFf", NJ_YAML_INT},
        {"0o8", NJ_YAML_TEXT},   {"0x", NJ_YAML_TEXT},       {"-0x1", NJ_YAML_TEXT},
        {"1_000", NJ_YAML_TEXT}, {"1.5", NJ_YAML_FLOAT},     {".5", NJ_YAML_FLOAT},
        {"1.", NJ_YAML_FLOAT},   {"1e3", NJ_YAML_FLOAT},     {"-1.2E-3", NJ_YAML_FLOAT},
        {".inf", NJ_YAML_FLOAT}, {"-.INF", NJ_YAML_FLOAT},   {".nan", NJ_YAML_FLOAT},
        {"-.nan", NJ_YAML_TEXT}, {".", NJ_YAML_TEXT},        {"1e", NJ_YAML_TEXT},
        {"1.2.3", NJ_YAML_TEXT}, {"12:30", NJ_YAML_TEXT},    {"2026-01-01", NJ_YAML_TEXT},
        {"'1'", NJ_YAML_TEXT},   {"\"true\"", NJ_YAML_TEXT}, {"|\n 5", NJ_YAML_TEXT},
        {"[]", NJ_YAML_LIST},    {"{}", NJ_YAML_TREE},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[64];

        (void)snprintf(text, sizeof(text), "k: %s\n", cases[i].text);
        load(f, text);
        if (nj_yaml_type(f->root->first) != cases[i].type)
            fail_msg("%s has type %d", cases[i].text, (int)nj_yaml_type(f->root->first));
    }
}

static void whatever_cannot_be_a_tree_is_one_fault_with_its_place(void **state)
{
    struct fixture *f = *state;

    load(f, "");
    assert_null(f->root);
    assert_fault(f, "f:1:1: the file is empty");
    load_bytes(f, NULL, 0);
    assert_fault(f, "the file is empty");
    load(f, "a: [1, 2\n");
    assert_null(f->root);
    assert_fault(f, "not YAML");
    load(f, "a:\n\t- b\n");
    assert_fault(f, "f:2:1: not YAML: a tab stands where only spaces may");
    load_bytes(f, "a: b\xff\n", 6);
    assert_fault(f, "f:1:5: not plain UTF-8 text");
    load(f, "[[[[[[1]]]]]]");
    assert_null(f->root);
    assert_fault(f, "f:1:6: [0][0][0][0]: nested too deeply");
    load(f, "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]");
    assert_null(f->root);
    assert_fault(f, "too many values");
    load(f, "a: 1\n---\nb: 2\n");
    assert_null(f->root);
    assert_fault(f, "f:2:1: a second document");
    load(f, "? [a]\n: b\n");
    assert_fault(f, "a key must be a text");
    load(f, "a: &x 1\n*x : 2\n");
    assert_null(f->root);
}

static void tag_directives_are_refused_before_libyaml_compares_them(void **state)
{
    struct fixture *f = *state;

    load(f, "%TAG !a! tag:x,2000:\n---\na: 1\n");
    assert_null(f->root);
    assert_fault(f, "f:1:1: %TAG directives are not allowed");
    load(f, "a: 1\n%TAG !a! tag:x,2000:\n---\na: 1\n");
    assert_fault(f, "f:2:1: %TAG directives are not allowed");
    load(f, "a: 1\xe2\x80\xa8%TAG !a! tag:x,2000:\n---\na: 1\n");
    assert_fault(f, "%TAG directives are not allowed");
    load(f, "a: x%TAG\nb: '%TAG'\n");
    assert_int_equal(f->faults.count, 0);
    load(f, "%YAML 1.2\n---\na: 1\n");
    assert_int_equal(f->faults.count, 0);
}

static void a_file_beyond_the_cap_is_refused_before_it_is_read(void **state)
{
    struct fixture *f = *state;
    char big[1001];

    memset(big, ' ', sizeof(big));
    load_bytes(f, big, sizeof(big));
    assert_null(f->root);
    assert_fault(f, "f: the file has 1001 bytes, at most 1000 are read");
}

static void what_the_dialect_lacks_is_named_and_the_rest_is_still_read(void **state)
{
    struct fixture *f = *state;
    const char *text = NULL;

    load(f, "a: &x 1\nb: *y\nc: !!str 5\na: 2\nd: good\n");
    assert_non_null(f->root);
    assert_int_equal(f->faults.count, 3);
    assert_int_equal(nj_yaml_type(nj_yaml_get(f->root, "b")), NJ_YAML_NONE);
    assert_false(nj_yaml_text(&f->reader, nj_yaml_get(f->root, "b"), 10, true, &text));
    assert_int_equal(f->faults.count, 3); /* its fault is known already */
    assert_true(nj_yaml_text(&f->reader, nj_yaml_get(f->root, "d"), 10, true, &text));
    assert_string_equal(text, "good");
    assert_string_equal(f->faults.items[0].text, "alias *y: there is no anchor &y before it");
    assert_string_equal(f->faults.items[2].text, "given twice: first in line 1");
    assert_string_equal(f->faults.items[2].path, "a");
    assert_int_equal(f->faults.items[2].mark.line, 4);
}

static void a_byte_order_mark_is_passed_over(void **state)
{
    struct fixture *f = *state;

    load(f, "\xef\xbb\xbf"
            "a: 1\n");
    assert_int_equal(f->faults.count, 0);
    assert_string_equal(f->root->first->key, "a");
    assert_int_equal(f->root->first->key_mark.column, 1);
}

static void json_with_surrogate_pairs_keeps_its_marks(void **state)
{
    struct fixture *f = *state;

    load(f, "{\"a\": \"\\ud83d\\uDE00\\n\", \"b\": 5}");
    assert_int_equal(f->faults.count, 0);
    assert_string_equal((const char *)f->root->first->text.data, "\xf0\x9f\x98\x80\n");
    assert_int_equal(f->root->first->next->mark.column, 30);
    load(f, "{\"a\": \"\\\\ud83d\\\\ude00\"}"); /* escaped backslashes, no pair */
    assert_string_equal((const char *)f->root->first->text.data, "\\ud83d\\ude00");
    load(f, "{\"a\": \"\\ude00\\ud83d\"}");
    assert_null(f->root);
    assert_fault(f, "half of a surrogate pair?");
    load(f, "a: '\\ud83d\\ude00'\n"); /* not JSON: a text of twelve characters */
    assert_int_equal(f->root->first->text.len, 12);
}

static void numbers_are_whole_and_within_their_range(void **state)
{
    struct fixture *f = *state;
    uint64_t value = 77;

    load(f, "a: 0x10\nb: 18446744073709551615\nc: 18446744073709551616\nd: -1\ne: 1.0\nf: "
            "\"3\"\ng: 11\n");
    assert_true(nj_yaml_uint(&f->reader, nj_yaml_get(f->root, "a"), 0, 100, &value));
    assert_int_equal(value, 16);
    assert_true(nj_yaml_uint(&f->reader, nj_yaml_get(f->root, "b"), 0, UINT64_MAX, &value));
    assert_true(value == UINT64_MAX);
    assert_false(nj_yaml_uint(&f->reader, nj_yaml_get(f->root, "c"), 0, UINT64_MAX, &value));
    assert_false(nj_yaml_uint(&f->reader, nj_yaml_get(f->root, "d"), 0, 10, &value));
    assert_false(nj_yaml_uint(&f->reader, nj_yaml_get(f->root, "e"), 0, 10, &value));
    assert_false(nj_yaml_uint(&f->reader, nj_yaml_get(f->root, "f"), 0, 10, &value));
    assert_false(nj_yaml_uint(&f->reader, nj_yaml_get(f->root, "g"), 1, 10, &value));
    assert_true(value == UINT64_MAX); /* only written on success */
    assert_int_equal(f->faults.count, 5);
    assert_string_equal(f->faults.items[3].text,
                        "expected a whole number from 0 to 10 without quotes, found \"3\"");
    assert_string_equal(f->faults.items[4].text, "expected a whole number from 1 to 10, found 11");
}

static void money_is_exact(void **state)
{
    static const struct {
        const char *text;
        int64_t micro; /* -1: refused */
    } cases[] = {
        {"0", 0},
        {"0.50", 500000},
        {"3", 3000000},
        {".25", 250000},
        {"1.", 1000000},
        {"0.000001", 1},
        {"0.1000000", 100000},
        {"0.0000001", -1},
        {"9007199254.740993", 9007199254740993},
        {"1e3", -1},
        {"-1", -1},
        {"+2.5", 2500000},
        {"99999999999999999999", -1},
        {"9223372036855", -1},
        {".nan", -1},
        {".inf", -1},
        {"'1'", -1},
        {"x", -1},
        {"0x10", -1},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[64];
        int64_t micro = -1;

        (void)snprintf(text, sizeof(text), "k: %s\n", cases[i].text);
        load(f, text);
        (void)nj_yaml_micro(&f->reader, f->root->first, 0, INT64_MAX, &micro);
        if (micro != cases[i].micro)
            fail_msg("%s became %lld", cases[i].text, (long long)micro);
        assert_int_equal(f->faults.count, cases[i].micro < 0 ? 1 : 0);
    }
}

static void texts_are_texts_only(void **state)
{
    struct fixture *f = *state;
    const char *text = "untouched";
    bool flag = false;

    load(f, "a: 5\nb: true\nc:\nd: \"\"\ne: \"x\\0y\"\nf: longer\ng: []\nh: True\n");
    for (const char *key = "abcdefg"; *key; key++) {
        char name[2] = {*key, '\0'};

        assert_false(nj_yaml_text(&f->reader, nj_yaml_get(f->root, name), 5, false, &text));
    }
    assert_string_equal(text, "untouched");
    assert_int_equal(f->faults.count, 7);
    assert_string_equal(f->faults.items[0].text, "expected a text, found 5; quotes make it a text");
    assert_string_equal(f->faults.items[2].text, "expected a text, found nothing");
    assert_string_equal(f->faults.items[4].text, "holds a NUL character");
    assert_string_equal(f->faults.items[5].text, "has 6 bytes, at most 5 are allowed");
    assert_true(nj_yaml_bool(&f->reader, nj_yaml_get(f->root, "h"), &flag));
    assert_true(flag);
    assert_false(nj_yaml_bool(&f->reader, nj_yaml_get(f->root, "a"), &flag));
}

static void the_nearest_name_is_offered_where_it_is_near(void **state)
{
    static const char *const names[] = {"max_memory_mb", "max_processes", "mounts", "D0"};

    (void)state;
    assert_string_equal(nj_yaml_nearest("max_memory", names, 4), "max_memory_mb");
    assert_string_equal(nj_yaml_nearest("memory", names, 4), "max_memory_mb");
    assert_string_equal(nj_yaml_nearest("mount", names, 4), "mounts");
    assert_string_equal(nj_yaml_nearest("mouts", names, 4), "mounts");
    assert_string_equal(nj_yaml_nearest("muonts", names, 4), "mounts"); /* a swap is one edit */
    assert_null(nj_yaml_nearest("D9", names, 4)); /* two letters say nothing */
    assert_null(nj_yaml_nearest("completely", names, 4));
    assert_null(nj_yaml_nearest(
        "a_word_that_is_so_long_that_nobody_can_have_meant_any_of_the_names", names, 4));
}

static void missing_keys_and_wrong_shapes_are_named(void **state)
{
    static const char *const known[] = {"a", "b"};
    struct fixture *f = *state;

    load(f, "a: []\nb: {c: 1}\n");
    assert_true(nj_yaml_keys(&f->reader, f->root, known, 2));
    assert_null(nj_yaml_get(f->root, "z"));
    assert_int_equal(f->faults.count, 0);
    assert_null(nj_yaml_need(&f->reader, nj_yaml_get(f->root, "b"), "z"));
    assert_fault(f, "f:2:4: b: the key z is missing");
    assert_false(nj_yaml_list(&f->reader, nj_yaml_get(f->root, "a"), 2, 3));
    assert_fault(f, "f:1:4: a: at least 2 items are needed, found 0");
    assert_false(nj_yaml_names(&f->reader, nj_yaml_get(f->root, "b"), 0, 0));
    assert_fault(f, "b: at most 0 entries are allowed, found 1");
    assert_false(nj_yaml_list(&f->reader, f->root, 0, 3));
    assert_fault(f, "f:1:1: expected a list, found a map");
    assert_false(nj_yaml_keys(&f->reader, nj_yaml_get(f->root, "a"), known, 2));
    assert_fault(f, "a: expected a map, found a list");
    assert_true(nj_yaml_keys(&f->reader, nj_yaml_get(f->root, "b"), known, 2));
    assert_fault(f, "f:2:5: b.c: unknown key; known here: a, b");
}

static void json_of(struct fixture *f, const char *yaml, const char *expected)
{
    NJ_AUTO(nj_buf_done) struct nj_buf out = {0};
    struct nj_error err = {0};

    nj_buf_init(&out, 1000);
    load(f, yaml);
    assert_non_null(f->root);
    if (expected) {
        assert_int_equal(nj_yaml_to_json(f->root, &out, &err), 0);
        assert_string_equal((const char *)out.data, expected);
    } else {
        assert_int_equal(nj_yaml_to_json(f->root, &out, &err), -NJ_E_INPUT);
        assert_non_null(strstr(err.text, "1:"));
    }
}

static void json_is_canonical_and_exact(void **state)
{
    struct fixture *f = *state;

    json_of(f, "{b: 1, a: [x, \"1\", 1], B: {}}", "{\"B\":{},\"a\":[\"x\",\"1\",1],\"b\":1}");
    json_of(f, "[~, True, false, 'null']", "[null,true,false,\"null\"]");
    json_of(f, "[0x1F, 0o17, 007, +5, -0, -9223372036854775808]",
            "[31,15,7,5,0,-9223372036854775808]");
    json_of(f, "[1.50, .5, -.5, 1., 1.e3, 01.5, +1e-3, 0.1e+05]",
            "[1.50,0.5,-0.5,1.0,1.0e3,1.5,1e-3,0.1e+05]");
    json_of(f, "\"quote \\\" and\\nline\"", "\"quote \\\" and\\nline\"");
    json_of(f, "|\n  block\n  text\n", "\"block\\ntext\\n\"");
    json_of(f, "9223372036854775808", NULL);
    json_of(f, "0xffffffffffffffff", NULL);
    json_of(f, "[.inf]", NULL);
    json_of(f, "{a: .NaN}", NULL);
    json_of(f, "[1e999]", NULL);
    json_of(f, "[&x 1, *x]", "[1,1]");
    json_of(f, "[&x 1, *y]", NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nodes_know_line_column_and_path),
        TEST(plain_scalars_have_the_types_of_the_core_schema),
        TEST(whatever_cannot_be_a_tree_is_one_fault_with_its_place),
        TEST(tag_directives_are_refused_before_libyaml_compares_them),
        TEST(a_file_beyond_the_cap_is_refused_before_it_is_read),
        TEST(what_the_dialect_lacks_is_named_and_the_rest_is_still_read),
        TEST(a_byte_order_mark_is_passed_over),
        TEST(json_with_surrogate_pairs_keeps_its_marks),
        TEST(numbers_are_whole_and_within_their_range),
        TEST(money_is_exact),
        TEST(texts_are_texts_only),
        TEST(the_nearest_name_is_offered_where_it_is_near),
        TEST(missing_keys_and_wrong_shapes_are_named),
        TEST(json_is_canonical_and_exact),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
