/*
 * test_pack_walk.c - one refused document for every rule, and the accepted one next to it
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/pack.h"
#include "formats/base/pack_walk.h"

#include "formats/base/banned.h"

#define BYTES(text) ((struct nj_span){(const uint8_t *)(text), sizeof(text) - 1})

static void assert_walks(struct nj_span bytes)
{
    struct nj_error err = {0};

    if (nj_pack_walk(bytes, &err) != 0)
        fail_msg("%s", err.text);
}

static void assert_refused(struct nj_span bytes, size_t at, enum nj_pack_rule rule)
{
    struct nj_error err = {0};
    char words[100];

    assert_int_equal(nj_pack_walk(bytes, &err), -NJ_E_CORRUPT);
    (void)snprintf(words, sizeof(words), "msgpack byte %zu: %s", at, nj_pack_rule_text(rule));
    assert_string_equal(err.text, words);
}

static void shortest_forms_pass_and_longer_ones_do_not(void **state)
{
    static const struct {
        struct nj_span shortest, longer;
    } cases[] = {
        {BYTES("\x00"), BYTES("\xcc\x00")},
        {BYTES("\x7f"), BYTES("\xcc\x7f")},
        {BYTES("\xcc\x80"), BYTES("\xcd\x00\x80")},
        {BYTES("\xcc\xff"), BYTES("\xcd\x00\xff")},
        {BYTES("\xcd\x01\x00"), BYTES("\xce\x00\x00\x01\x00")},
        {BYTES("\xcd\xff\xff"), BYTES("\xce\x00\x00\xff\xff")},
        {BYTES("\xce\x00\x01\x00\x00"), BYTES("\xcf\x00\x00\x00\x00\x00\x01\x00\x00")},
        {BYTES("\xce\xff\xff\xff\xff"), BYTES("\xcf\x00\x00\x00\x00\xff\xff\xff\xff")},
        {BYTES("\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
         BYTES("\xd3\x00\x00\x00\x01\x00\x00\x00\x00")},
        {BYTES("\xff"), BYTES("\xd0\xff")},
        {BYTES("\xe0"), BYTES("\xd0\xe0")},
        {BYTES("\xd0\xdf"), BYTES("\xd1\xff\xdf")},
        {BYTES("\xd0\x80"), BYTES("\xd1\xff\x80")},
        {BYTES("\xd1\xff\x7f"), BYTES("\xd2\xff\xff\xff\x7f")},
        {BYTES("\xd1\x80\x00"), BYTES("\xd2\xff\xff\x80\x00")},
        {BYTES("\xd2\xff\xff\x7f\xff"), BYTES("\xd3\xff\xff\xff\xff\xff\xff\x7f\xff")},
        {BYTES("\xd2\x80\x00\x00\x00"), BYTES("\xd3\xff\xff\xff\xff\x80\x00\x00\x00")},
        {BYTES("\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"), BYTES("\xd0\x01")}, /* not negative */
        {BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), BYTES("\xd1\x01\x00")},
        {BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), BYTES("\xd2\x00\x01\x00\x00")},
        {BYTES("\xa0"), BYTES("\xd9\x00")},
        {BYTES("\xa1z"), BYTES("\xd9\x01z")},
        {BYTES("\xc4\x00"), BYTES("\xc5\x00\x00")},
        {BYTES("\xc4\x01\xff"), BYTES("\xc6\x00\x00\x00\x01\xff")},
        {BYTES("\x90"), BYTES("\xdc\x00\x00")},
        {BYTES("\x91\xc0"), BYTES("\xdd\x00\x00\x00\x01\xc0")},
        {BYTES("\x80"), BYTES("\xde\x00\x00")},
        {BYTES("\x81\xa0\xc3"), BYTES("\xdf\x00\x00\x00\x01\xa0\xc3")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_walks(cases[i].shortest);
        assert_refused(cases[i].longer, 0, NJ_PACK_RULE_SHORTEST);
    }
}

/* headed - @head, then @count times @item */
static struct nj_span headed(struct nj_buf *buf, struct nj_span head, size_t count,
                             struct nj_span item)
{
    struct nj_error err = {0};

    nj_buf_clear(buf);
    assert_int_equal(nj_buf_append(buf, head.data, head.len, &err), 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(nj_buf_append(buf, item.data, item.len, &err), 0);
    return nj_buf_span(buf);
}

static void lengths_have_one_form_each_at_their_borders(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    static const struct {
        struct nj_span head;
        size_t count;
        bool good;
    } cases[] = {
        {BYTES("\xbf"), 31, true},
        {BYTES("\xd9\x1f"), 31, false},
        {BYTES("\xd9\x20"), 32, true},
        {BYTES("\xd9\xff"), 255, true},
        {BYTES("\xda\x00\xff"), 255, false},
        {BYTES("\xda\x01\x00"), 256, true},
        {BYTES("\xda\xff\xff"), 65535, true},
        {BYTES("\xdb\x00\x00\xff\xff"), 65535, false},
        {BYTES("\xdb\x00\x01\x00\x00"), 65536, true},
        {BYTES("\xc4\xff"), 255, true},
        {BYTES("\xc5\x00\xff"), 255, false},
        {BYTES("\xc5\x01\x00"), 256, true},
        {BYTES("\xc6\x00\x00\xff\xff"), 65535, false},
        {BYTES("\xc6\x00\x01\x00\x00"), 65536, true},
        {BYTES("\x9f"), 15, true},
        {BYTES("\xdc\x00\x0f"), 15, false},
        {BYTES("\xdc\x00\x10"), 16, true},
        {BYTES("\xdc\xff\xff"), 65535, true},
        {BYTES("\xdd\x00\x00\xff\xff"), 65535, false},
        {BYTES("\xdd\x00\x01\x00\x00"), 65536, true},
    };

    (void)state;
    nj_buf_init(&buf, 1 << 20);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct nj_span bytes = headed(&buf, cases[i].head, cases[i].count, BYTES("x"));

        if (cases[i].good)
            assert_walks(bytes);
        else
            assert_refused(bytes, 0, NJ_PACK_RULE_SHORTEST);
    }
}

static void every_cut_is_noticed(void **state)
{
    /* {"a": [1, -200, 70000, 2^40, nil, true], "b": bin, "c": {"d": "text"}} */
    static const struct nj_span whole =
        BYTES("\x83\xa1"
              "a\x96\x01\xd1\xff\x38\xce\x00\x01\x11\x70\xcf\x00\x00\x01\x00\x00\x00\x00"
              "\x00\xc0\xc3\xa1"
              "b\xc4\x02\xff\x00\xa1"
              "c\x81\xa1"
              "d\xa4text");

    (void)state;
    assert_walks(whole);
    for (size_t len = 0; len < whole.len; len++) {
        struct nj_error err = {0};

        assert_int_equal(nj_pack_walk((struct nj_span){whole.data, len}, &err), -NJ_E_CORRUPT);
        assert_non_null(strstr(err.text, "cut off"));
    }
}

static void a_count_beyond_the_bytes_is_refused_at_its_head(void **state)
{
    (void)state;
    assert_refused(BYTES("\xdd\xff\xff\xff\xff\xc0"), 0, NJ_PACK_RULE_CUT);
    assert_refused(BYTES("\xdf\xff\xff\xff\xff\xa0\xc0"), 0, NJ_PACK_RULE_CUT);
    assert_refused(BYTES("\xdb\xff\xff\xff\xffx"), 0, NJ_PACK_RULE_CUT);
    assert_refused(BYTES("\xc6\xff\xff\xff\xffx"), 0, NJ_PACK_RULE_CUT);
    assert_refused(BYTES("\x92\xc0\x93\xc0\xc0"), 2, NJ_PACK_RULE_CUT);
    assert_refused(BYTES("\x82\xa0\xc0\xa0"), 0, NJ_PACK_RULE_CUT); /* a pair takes two bytes */
}

static void floats_ext_types_and_the_unused_byte_are_refused(void **state)
{
    static const uint8_t heads[] = {0xc1, 0xc7, 0xc8, 0xc9, 0xca, 0xcb,
                                    0xd4, 0xd5, 0xd6, 0xd7, 0xd8};

    (void)state;
    for (size_t i = 0; i < sizeof(heads); i++) {
        uint8_t bytes[40] = {0x92, 0xc0, heads[i], 1};

        assert_refused((struct nj_span){bytes, sizeof(bytes)}, 2, NJ_PACK_RULE_TYPE);
    }
}

static void keys_are_unique_ascending_strings(void **state)
{
    (void)state;
    assert_walks(BYTES("\x83\xa0\xc0\xa1"
                       "a\xc0\xa2"
                       "aa\xc0"));
    assert_walks(BYTES("\x82\xa1"
                       "a\x81\xa1"
                       "z\x01\xa1"
                       "b\x02")); /* an inner map counts anew */
    assert_walks(BYTES("\x82\xa2"
                       "az\xc0\xa1"
                       "b\xc0"));
    assert_walks(BYTES("\x82\xa1"
                       "z\xc0\xa2\xc3\xbc\xc0")); /* bytes are compared unsigned */
    assert_refused(BYTES("\x82\xa1"
                         "a\xc0\xa1"
                         "a\xc0"),
                   4, NJ_PACK_RULE_ORDER);
    assert_refused(BYTES("\x82\xa1"
                         "b\xc0\xa1"
                         "a\xc0"),
                   4, NJ_PACK_RULE_ORDER);
    assert_refused(BYTES("\x82\xa2"
                         "aa\xc0\xa1"
                         "a\xc0"),
                   5, NJ_PACK_RULE_ORDER);
    assert_refused(BYTES("\x82\xa1"
                         "a\xc0\xa0\xc0"),
                   4, NJ_PACK_RULE_ORDER);
    assert_refused(BYTES("\x82\xa0\xc0\xa0\xc0"), 3, NJ_PACK_RULE_ORDER);
    assert_refused(BYTES("\x82\xa1"
                         "a\x81\xa1"
                         "z\x01\xa1"
                         "a\x02"),
                   7, NJ_PACK_RULE_ORDER);
    assert_refused(BYTES("\x81\x01\xc0"), 1, NJ_PACK_RULE_KEY);
    assert_refused(BYTES("\x81\xc4\x01"
                         "a\xc0"),
                   1, NJ_PACK_RULE_KEY);
    assert_refused(BYTES("\x81\x80\xc0"), 1, NJ_PACK_RULE_KEY);
    assert_refused(BYTES("\x81\xc0\xc0"), 1, NJ_PACK_RULE_KEY);
}

static void strings_are_utf8_and_bins_are_anything(void **state)
{
    (void)state;
    assert_walks(BYTES("\xa2\xc3\xbc"));
    assert_walks(BYTES("\xc4\x02\xbc\xc3"));
    assert_walks(BYTES("\xa1\x00")); /* a NUL is a character */
    assert_refused(BYTES("\x92\xc0\xa2\xbc\xc3"), 2, NJ_PACK_RULE_UTF8);
    assert_refused(BYTES("\x81\xa1\xff\xc0"), 1, NJ_PACK_RULE_UTF8);
}

static void nesting_ends_at_its_limit(void **state)
{
    uint8_t arrays[NJ_PACK_DEPTH_MAX + 1], maps[2 * NJ_PACK_DEPTH_MAX + 1];
    const size_t n = NJ_PACK_DEPTH_MAX;

    (void)state;
    memset(arrays, 0x91, sizeof(arrays));
    arrays[n] = 0xc0; /* a scalar may lie in the innermost container */
    assert_walks((struct nj_span){arrays, n + 1});
    arrays[n] = 0x90; /* one container more may not, not even an empty one */
    assert_refused((struct nj_span){arrays, n + 1}, n, NJ_PACK_RULE_DEPTH);
    for (size_t i = 0; i < n; i++) {
        maps[2 * i] = 0x81;
        maps[2 * i + 1] = 0xa0;
    }
    maps[2 * n] = 0xc0;
    assert_walks((struct nj_span){maps, 2 * n + 1});
    maps[2 * n] = 0x80;
    assert_refused((struct nj_span){maps, 2 * n + 1}, 2 * n, NJ_PACK_RULE_DEPTH);
}

static void bytes_behind_the_value_are_refused_unless_one_is_asked_for(void **state)
{
    struct nj_error err = {0};
    size_t len = 0;

    (void)state;
    assert_int_equal(nj_pack_walk(BYTES("\x91\xc0\xc0\xc0"), &err), -NJ_E_CORRUPT);
    assert_string_equal(err.text, "msgpack byte 2: 2 bytes behind the value");
    assert_int_equal(nj_pack_walk_one(BYTES("\x91\xc0\xc1\xc1"), &len, &err), 0);
    assert_int_equal(len, 2); /* what follows is not looked at */
    assert_refused(BYTES(""), 0, NJ_PACK_RULE_CUT);
    assert_int_equal(nj_pack_walk_one((struct nj_span){NULL, 0}, &len, &err), -NJ_E_CORRUPT);
}

/* array_of_nils - an array of @items, from 65536, each a nil */
static struct nj_span array_of_nils(struct nj_buf *buf, size_t items)
{
    const uint8_t head[] = {0xdd, (uint8_t)(items >> 24), (uint8_t)(items >> 16),
                            (uint8_t)(items >> 8), (uint8_t)(items & 0xff)};
    struct nj_error err = {0};

    nj_buf_clear(buf);
    assert_int_equal(nj_buf_append(buf, head, sizeof(head), &err), 0);
    assert_int_equal(nj_buf_reserve(buf, items, &err), 0);
    memset(buf->data + buf->len, 0xc0, items);
    buf->len += items;
    return nj_buf_span(buf);
}

static void more_values_than_allowed_are_refused(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};

    (void)state;
    nj_buf_init(&buf, NJ_PACK_NODES_MAX + 100);
    assert_walks(array_of_nils(&buf, NJ_PACK_NODES_MAX - 1)); /* the array is a value too */
    assert_refused(array_of_nils(&buf, NJ_PACK_NODES_MAX), 5 + NJ_PACK_NODES_MAX - 1,
                   NJ_PACK_RULE_NODES);
}

static void a_raw_value_is_found_without_decoding(void **state)
{
    static const struct nj_span map = BYTES("\x84\xa1"
                                            "a\x92\xa1"
                                            "b\x81\xa1"
                                            "b\x05\xa1"
                                            "b\xc4\x01\x07\xa2"
                                            "bb\xc0\xa1"
                                            "d\x01");
    struct nj_span value = {NULL, 0};

    (void)state;
    assert_walks(map);
    assert_true(nj_pack_raw_at(map, "a", &value));
    assert_true(nj_span_equal(value, BYTES("\x92\xa1"
                                           "b\x81\xa1"
                                           "b\x05")));
    assert_true(nj_pack_raw_at(map, "b", &value)); /* not the inner ones */
    assert_true(nj_span_equal(value, BYTES("\xc4\x01\x07")));
    assert_true(nj_pack_raw_at(map, "bb", &value));
    assert_true(nj_pack_raw_at(map, "d", &value));
    assert_true(nj_span_equal(value, BYTES("\x01")));
    assert_false(nj_pack_raw_at(map, "", &value));
    assert_false(nj_pack_raw_at(map, "c", &value));
    assert_false(nj_pack_raw_at(map, "e", &value));
    assert_false(nj_pack_raw_at(BYTES("\x90"), "a", &value));
    assert_false(nj_pack_raw_at(BYTES(""), "a", &value));
    assert_false(nj_pack_raw_at(BYTES("\x81\xa1"
                                      "a\x91"),
                                "a", &value)); /* cut: not found */
}

static void unknown_pairs_are_kept_as_they_are_and_in_order(void **state)
{
    static const struct nj_span map = BYTES("\x84\xa1"
                                            "a\x01\xa1"
                                            "b\x91\x02\xa1"
                                            "c\x03\xa1"
                                            "d\xa1x");
    static const char *const known[] = {"c", "a", "zz"};
    NJ_AUTO(nj_buf_done) struct nj_buf raw = {0};
    struct nj_error err = {0};
    size_t pairs = 77;

    (void)state;
    nj_buf_init(&raw, 100);
    assert_int_equal(nj_buf_text(&raw, ">", &err), 0);
    assert_int_equal(nj_pack_unknown(map, known, 3, &raw, &pairs, &err), 0);
    assert_int_equal(pairs, 2);
    assert_true(nj_span_equal(nj_buf_span(&raw), BYTES(">\xa1"
                                                       "b\x91\x02\xa1"
                                                       "d\xa1x")));
    assert_int_equal(nj_pack_unknown(map, NULL, 0, &raw, &pairs, &err), 0);
    assert_int_equal(pairs, 4);
}

static void unknown_pairs_of_a_damaged_map_are_refused(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf raw = {0};
    struct nj_error err = {0};
    size_t pairs = 77;

    (void)state;
    nj_buf_init(&raw, 4);
    assert_int_equal(nj_pack_unknown(BYTES("\x90"), NULL, 0, &raw, &pairs, &err), -NJ_E_CORRUPT);
    assert_int_equal(nj_pack_unknown(BYTES("\x82\xa1"
                                           "a\x01\x01\x01"),
                                     NULL, 0, &raw, &pairs, &err),
                     -NJ_E_CORRUPT);
    assert_string_equal(err.text, "msgpack byte 4: no pair of a key and a value");
    assert_int_equal(nj_pack_unknown(BYTES("\x81\xa5"
                                           "abcde\x01"),
                                     NULL, 0, &raw, &pairs, &err),
                     -NJ_E_LIMIT);
    assert_int_equal(raw.len, 0);
    assert_int_equal(pairs, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shortest_forms_pass_and_longer_ones_do_not),
        cmocka_unit_test(lengths_have_one_form_each_at_their_borders),
        cmocka_unit_test(every_cut_is_noticed),
        cmocka_unit_test(a_count_beyond_the_bytes_is_refused_at_its_head),
        cmocka_unit_test(floats_ext_types_and_the_unused_byte_are_refused),
        cmocka_unit_test(keys_are_unique_ascending_strings),
        cmocka_unit_test(strings_are_utf8_and_bins_are_anything),
        cmocka_unit_test(nesting_ends_at_its_limit),
        cmocka_unit_test(bytes_behind_the_value_are_refused_unless_one_is_asked_for),
        cmocka_unit_test(more_values_than_allowed_are_refused),
        cmocka_unit_test(a_raw_value_is_found_without_decoding),
        cmocka_unit_test(unknown_pairs_are_kept_as_they_are_and_in_order),
        cmocka_unit_test(unknown_pairs_of_a_damaged_map_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
