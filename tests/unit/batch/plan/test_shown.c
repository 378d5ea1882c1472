/*
 * test_shown.c - names of files in messages
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "batch/plan/shown.h"

static void plain_names_stay(void **state)
{
    (void)state;
    assert_string_equal(nj_shown("in/M\xc3\xbcller & S\xc3\xb6hne.txt").text,
                        "in/M\xc3\xbcller & S\xc3\xb6hne.txt");
    assert_string_equal(nj_shown("").text, "");
}

static void what_drives_a_terminal_or_is_no_text_is_escaped(void **state)
{
    (void)state;
    assert_string_equal(nj_shown("a\x1b[2Jb\n").text, "a\\x1b[2Jb\\x0a");
    assert_string_equal(nj_shown("\xff\xc3").text, "\\xff\\xc3");
    assert_string_equal(nj_shown("\xe2\x80\xae").text, "\\xe2\\x80\\xae");
}

static void a_long_name_keeps_its_end(void **state)
{
    char name[1000];
    struct nj_shown shown;

    (void)state;
    for (size_t i = 0; i < sizeof(name); i++)
        name[i] = (char)('a' + i % 26);
    for (size_t len = 200; len < sizeof(name) - 1; len++) {
        name[len] = '\0';
        shown = nj_shown(name);
        if (len < NJ_SHOWN_MAX_BYTES) {
            assert_string_equal(shown.text, name);
        } else {
            assert_int_equal(strlen(shown.text), NJ_SHOWN_MAX_BYTES - 1);
            assert_int_equal(strncmp(shown.text, "...", 3), 0);
            assert_string_equal(shown.text + 3, name + len - (NJ_SHOWN_MAX_BYTES - 4));
        }
        name[len] = (char)('a' + len % 26);
    }
    memset(name, '\xff', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    shown = nj_shown(name);
    assert_in_range(strlen(shown.text), NJ_SHOWN_MAX_BYTES - 5, NJ_SHOWN_MAX_BYTES - 1);
}

static void all_of_a_name_can_be_appended(void **state)
{
    NJ_AUTO(nj_buf_done) struct nj_buf buf = {0};
    struct nj_error err = {0};

    (void)state;
    nj_buf_init(&buf, 16);
    assert_int_equal(nj_shown_append(&buf, "a\tb", &err), 0);
    assert_string_equal((char *)buf.data, "a\\x09b");
    assert_int_equal(nj_shown_append(&buf, "0123456789abc", &err), -NJ_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_names_stay),
        cmocka_unit_test(what_drives_a_terminal_or_is_no_text_is_escaped),
        cmocka_unit_test(a_long_name_keeps_its_end),
        cmocka_unit_test(all_of_a_name_can_be_appended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
