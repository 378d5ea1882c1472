/*
 * test_deadline.c - when a time of day is next, over the days on which clocks are changed
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "batch/plan/deadline.h"

#include "formats/base/banned.h"

static int64_t utc(const char *text)
{
    struct tm tm = {0};

    assert_non_null(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
    return timegm(&tm);
}

static void next_is(const char *deadline, const char *now, const char *expected)
{
    struct nj_error err = {0};
    int64_t at = 0;

    if (nj_deadline_next(deadline, utc(now), &at, &err) < 0)
        fail_msg("%s: %s", deadline, err.text);
    if (at != utc(expected))
        fail_msg("%s after %s: %lld instead of %s", deadline, now, (long long)at, expected);
}

static void without_zones_of_its_own_a_host_still_knows_utc(void **state)
{
    (void)state;
    next_is("06:00 UTC", "2026-11-22 22:00:00", "2026-11-23 06:00:00");
    next_is("06:00 UTC", "2026-11-22 05:59:59", "2026-11-22 06:00:00");
    next_is("06:00 UTC", "2026-11-22 06:00:00", "2026-11-23 06:00:00");
    next_is("00:00 UTC", "2026-12-31 23:59:59", "2027-01-01 00:00:00");
}

static void clocks_that_change_change_the_moment_and_not_the_time(void **state)
{
    (void)state;
    if (access("/usr/share/zoneinfo/Europe/Berlin", R_OK) < 0)
        skip();
    next_is("06:00 Europe/Berlin", "2026-11-22 21:00:00", "2026-11-23 05:00:00");
    next_is("06:00 Europe/Berlin", "2026-07-22 21:00:00", "2026-07-23 04:00:00");
    /* put forward on 2026-03-29 at 01:00 UTC: 02:30 is jumped over */
    next_is("02:30 Europe/Berlin", "2026-03-28 21:00:00", "2026-03-29 01:00:00");
    next_is("02:30 Europe/Berlin", "2026-03-29 01:00:00", "2026-03-30 00:30:00");
    next_is("03:00 Europe/Berlin", "2026-03-28 21:00:00", "2026-03-29 01:00:00");
    /* put back on 2026-10-25 at 01:00 UTC: 02:30 is there twice */
    next_is("02:30 Europe/Berlin", "2026-10-24 21:00:00", "2026-10-25 00:30:00");
    next_is("02:30 Europe/Berlin", "2026-10-25 00:45:00", "2026-10-26 01:30:00");
    /* a day whose date is another than in UTC; half an hour; no 2011-12-30 at all */
    next_is("01:00 Pacific/Auckland", "2026-01-10 11:30:00", "2026-01-10 12:00:00");
    next_is("06:00 Australia/Lord_Howe", "2026-06-01 12:00:00", "2026-06-01 19:30:00");
    next_is("12:00 Pacific/Apia", "2011-12-30 05:00:00", "2011-12-30 10:00:00");
}

static void a_zone_that_nobody_knows_is_refused_and_tz_stays_as_it_was(void **state)
{
    struct nj_error err = {0};
    int64_t at = 7;

    (void)state;
    assert_int_equal(setenv("TZ", "XYZ-3", 1), 0);
    assert_int_equal(nj_deadline_next("06:00 Europe/Berln", 0, &at, &err), -NJ_E_INPUT);
    assert_non_null(strstr(err.text, "knows no time zone Europe/Berln"));
    assert_int_equal(nj_deadline_next("06:00 ../../../etc/passwd", 0, &at, &err), -NJ_E_INPUT);
    assert_int_equal(nj_deadline_next("06:00 Europe", 0, &at, &err), -NJ_E_INPUT);
    assert_int_equal(at, 7);
    next_is("06:00 UTC", "2026-11-22 22:00:00", "2026-11-23 06:00:00");
    assert_string_equal(getenv("TZ"), "XYZ-3");
    assert_int_equal(unsetenv("TZ"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_zones_of_its_own_a_host_still_knows_utc),
        cmocka_unit_test(clocks_that_change_change_the_moment_and_not_the_time),
        cmocka_unit_test(a_zone_that_nobody_knows_is_refused_and_tz_stays_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
