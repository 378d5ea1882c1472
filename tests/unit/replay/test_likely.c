/*
 * test_likely.c - what a difference looks like
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replay/likely.h"

#include "formats/base/banned.h"

static const struct {
    const char *recorded;
    const char *now;
    enum nj_likely likely;
} cases[] = {
    {"at 1795787021.563075444\n", "at 1795787083.865432861\n", NJ_LIKELY_TIME},
    {"1795787021563\n", "1795787083865\n", NJ_LIKELY_TIME},
    {"Fri Nov 27 13:43:41 UTC 2026", "Fri Nov 27 13:44:43 UTC 2026", NJ_LIKELY_TIME},
    {"day 2026-11-27 x", "day 2026-11-28 x", NJ_LIKELY_TIME},
    {"d7c8054f-9560-4f20-982f-be6ea5469d4d", "d04e47a1-5c20-407c-a587-5e434b92a5ba",
     NJ_LIKELY_RANDOMNESS},
    {"21511\n", "22957\n", NJ_LIKELY_RANDOMNESS},
    {"file /tmp/tmp.GJIdhFja5y", "file /tmp/tmp.uPq2nM3xQa", NJ_LIKELY_RANDOMNESS},
    {"<object at 0x7f31c2a4e0>", "<object at 0x7f9912b4e0>", NJ_LIKELY_ADDRESS},
    {"a\nb\nc\n", "b\na\nc\n", NJ_LIKELY_ORDER},
    {"done by worker 2\ndone by worker 1\n", "done by worker 1\ndone by worker 2\n",
     NJ_LIKELY_ORDER},
    {"yes\n", "no\n", NJ_LIKELY_UNKNOWN},
    {"abc", "abcd", NJ_LIKELY_UNKNOWN},
    {"", "x", NJ_LIKELY_UNKNOWN},
    {"12\n", "13\n", NJ_LIKELY_UNKNOWN},
    {"\xff\xfe", "\xff\xfd", NJ_LIKELY_UNKNOWN},
};

static void a_difference_is_told_by_its_looks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum nj_likely likely =
            nj_likely_source(nj_span_text(cases[i].recorded), nj_span_text(cases[i].now));

        if (likely != cases[i].likely)
            fail_msg("\"%s\", \"%s\": %s", cases[i].recorded, cases[i].now, nj_likely_text(likely));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_difference_is_told_by_its_looks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
