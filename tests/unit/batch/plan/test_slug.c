/*
 * test_slug.c - a session's key as a file name
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#include "batch/plan/slug.h"

static void keys_become_file_names(void **state)
{
    static const struct {
        const char *key;
        const char *slug;
    } cases[] = {
        {"invoice-7", "invoice-7"},
        {"Invoice 7", "invoice-7"},
        {"libstdc++6", "libstdc-6"},
        {"a.b_c", "a.b_c"},
        {"..", "session"},
        {"/etc/passwd", "etc-passwd"},
        {".hidden", "hidden"},
        {"-rf", "rf"},
        {"a/../b", "a-..-b"},
        {"Müller & Söhne", "m-ller-s-hne"},
        {"日本", "session"},
        {"a   b", "a-b"},
        {"trailing...", "trailing"},
        {"new\nline", "new-line"},
        {"x", "x"},
    };
    char slug[NJ_SLUG_MAX_BYTES + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        nj_slug(cases[i].key, false, slug);
        assert_string_equal(slug, cases[i].slug);
    }
}

static void every_key_makes_a_safe_name(void **state)
{
    char slug[NJ_SLUG_MAX_BYTES + 1];
    char key[200];

    (void)state;
    srand(7);
    for (int round = 0; round < 20000; round++) {
        size_t len = (size_t)rand() % (sizeof(key) - 1);

        for (size_t i = 0; i < len; i++)
            key[i] = (char)(1 + rand() % 255);
        key[len] = '\0';
        for (int clash = 0; clash < 2; clash++) {
            nj_slug(key, clash, slug);
            assert_in_range(strlen(slug), 1, NJ_SLUG_MAX_BYTES);
            assert_int_equal(strspn(slug, "abcdefghijklmnopqrstuvwxyz0123456789._-"), strlen(slug));
            assert_true((slug[0] >= 'a' && slug[0] <= 'z') || (slug[0] >= '0' && slug[0] <= '9'));
        }
    }
}

static void clashing_keys_are_told_apart(void **state)
{
    char a[NJ_SLUG_MAX_BYTES + 1];
    char b[NJ_SLUG_MAX_BYTES + 1];
    char longest[300];

    (void)state;
    nj_slug("Acme GmbH", false, a);
    nj_slug("acme-gmbh", false, b);
    assert_string_equal(a, b);
    nj_slug("Acme GmbH", true, a);
    nj_slug("acme-gmbh", true, b);
    assert_string_not_equal(a, b);
    assert_int_equal(strncmp(a, "acme-gmbh-", 10), 0);
    assert_int_equal(strlen(a), strlen("acme-gmbh-") + 16);

    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    nj_slug(longest, true, a);
    assert_int_equal(strlen(a), NJ_SLUG_MAX_BYTES);
    longest[sizeof(longest) - 2] = 'y'; /* differs behind the cut: only the digest sees it */
    nj_slug(longest, true, b);
    assert_string_not_equal(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_become_file_names),
        cmocka_unit_test(every_key_makes_a_safe_name),
        cmocka_unit_test(clashing_keys_are_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
